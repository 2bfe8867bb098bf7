//! The event of a session while the session runs. It is emitted exactly once: by `finish`, or, when a session is
//! dropped before that, because its client went away.

mod words;

use super::error::SessionError;
use super::reply::ExpectedPin;
use super::standing::{Refused, Refusing};
use crate::policy::decision::{Candidate, ChainProof as _, Decision, FailureClass, Rejection};
use crate::policy::host::{Authority, Host};
use crate::policy::moment::Circumstances;
use crate::policy::pattern::{HostPattern, Scope};
use crate::policy::pinset::Demand;
use crate::policy::rules::Rule;
use crate::relay::{Counters, Outcome};
use crate::report::{Asked, Bytes, CLOSED_BY_POLICY, Client, Decided, Event, Reporter, Stage, Told, Violation};
use crate::tls::chain::Attempt;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use words::{count, ended, noted_host, pins_of, placed, rfc7469_pin, tls_version};

/// An event in the making.
#[derive(Debug)]
pub(super) struct Record {
    reporter: Arc<Reporter>,
    started: Instant,
    event: Event,
    violation: Option<Box<Violation>>,
    finished: bool,
}

impl Record {
    /// Opens the record of a session that has just begun. Boxed: it goes through every future of the session.
    pub(super) fn open(reporter: &Arc<Reporter>, session: Box<str>, client: SocketAddr, now: SystemTime) -> Box<Self> {
        let event = Event {
            date_time: now,
            session,
            client: Client(client),
            connect_authority: Told::default(),
            hostname: None,
            port: None,
            sni: None,
            stage: Stage::Request,
            decision: Decided::Failed,
            failure_class: None,
            detail: None,
            status: None,
            pinset: None,
            enforced: false,
            overridden: false,
            asked: None,
            policy_generation: 0,
            matched_position: None,
            matched_pin: None,
            seen_pins: Box::default(),
            exempted: false,
            candidate_paths: 0,
            upstream_address: None,
            parent: None,
            upstream_tls: None,
            client_tls: None,
            alpn: None,
            upstream_certificate: None,
            upstream_not_after: None,
            leaf_serial: None,
            bytes: Bytes::default(),
            ended: None,
            upstream_handshake: None,
            client_handshake: None,
            duration: Duration::ZERO,
            stages: reporter.wants_stages().then(Box::default),
        };
        Box::new(Self {
            reporter: Arc::clone(reporter),
            started: Instant::now(),
            event,
            violation: None,
            finished: false,
        })
    }

    /// It counts from this moment on: whoever sends no head in time has been waited for since.
    pub(super) const fn begun(&mut self, started: Instant) {
        self.started = started;
    }

    /// The event as it stands.
    pub(super) const fn event(&self) -> &Event {
        &self.event
    }

    /// The pins that the rule would accept, where pins were what failed.
    pub(super) fn expected_pins(&self) -> Vec<ExpectedPin> {
        self.violation.iter().flat_map(|violation| &violation.expected).map(ExpectedPin::from).collect()
    }

    /// The session has come to this stage.
    pub(super) fn at(&mut self, stage: Stage) {
        self.event.stage = stage;
        if let Some(stages) = &mut self.event.stages {
            stages.enter(stage, self.started.elapsed());
        }
    }

    /// What the client asked for, as far as it may be told.
    pub(super) fn asked_for(&mut self, target: &str) {
        self.event.connect_authority = Told::target(target);
    }

    pub(super) fn target(&mut self, target: &Authority, generation: u64) {
        self.event.connect_authority = Told::words(target.to_string());
        self.event.hostname = Some(Told::words(target.host.to_string()));
        self.event.port = Some(target.port.get());
        self.event.policy_generation = generation;
    }

    pub(super) fn rule(&mut self, rule: &Rule, circumstances: &Circumstances) {
        self.event.pinset = Some(rule.label().into());
        self.judged_under(rule, circumstances);
    }

    /// The circumstances that the verdict is taken under: a rollout may have taken a step since the rule was found.
    pub(super) fn judged_under(&mut self, rule: &Rule, circumstances: &Circumstances) {
        let demand = rule.demand(circumstances);
        self.event.overridden = circumstances.overridden;
        self.event.enforced =
            matches!(demand, Demand::Pins { enforced: true, .. } | Demand::PinOnly { .. } | Demand::Expired);
        self.event.asked = Some(match demand {
            Demand::Chain => Asked::Chain,
            Demand::Pins { enforced: true, .. } => Asked::Enforce,
            Demand::Pins { enforced: false, .. } if circumstances.overridden => Asked::Overridden,
            Demand::Pins { enforced: false, .. } => Asked::ReportOnly,
            Demand::PinOnly { .. } => Asked::PinOnly,
            Demand::Expired => Asked::Expired,
        });
    }

    pub(super) fn server_name(&mut self, name: &Host) {
        self.event.sni = Some(Told::words(name.to_string()));
    }

    /// The host that is judged, when it is not the one of the CONNECT.
    pub(super) fn judged_as(&mut self, host: &Host) {
        self.event.hostname = Some(Told::words(host.to_string()));
    }

    pub(super) fn dialled(&mut self, address: Option<SocketAddr>, parent: Option<Arc<String>>) {
        self.event.upstream_address = address;
        self.event.parent = parent;
    }

    pub(super) fn upstream_tls(&mut self, version: Option<rustls::ProtocolVersion>, alpn: Option<&[u8]>) {
        self.event.upstream_tls = version.and_then(tls_version);
        self.event.alpn = alpn.map(|protocol| Told::words(String::from_utf8_lossy(protocol)));
    }

    /// How long the handshake with the upstream took.
    pub(super) const fn upstream_handshake(&mut self, took: Duration) {
        self.event.upstream_handshake = Some(took);
    }

    /// The end of the certificate that was accepted.
    pub(super) const fn upstream_not_after(&mut self, end: Option<SystemTime>) {
        self.event.upstream_not_after = end;
    }

    /// How long the handshake with the client took.
    pub(super) const fn client_handshake(&mut self, took: Duration) {
        self.event.client_handshake = Some(took);
    }

    pub(super) fn client_tls(&mut self, version: Option<rustls::ProtocolVersion>, leaf_serial: Arc<str>) {
        self.event.client_tls = version.and_then(tls_version);
        self.event.leaf_serial = Some(leaf_serial);
    }

    pub(super) const fn tunnelled(&mut self) {
        self.event.decision = Decided::Tunnel;
    }

    /// The verdict, and what it rests on. A session whose upstream was dialled twice has two: the event tells the last,
    /// and keeps the violation of a first that was let through.
    pub(super) fn decided(&mut self, decision: &Decision, attempt: &Attempt, rule: &Rule) {
        self.event.upstream_certificate = attempt.leaf_sha256();
        self.event.matched_position = None;
        self.event.matched_pin = None;
        self.event.seen_pins = Box::default();
        self.event.candidate_paths = 0;
        if let Ok(chain) = &attempt.result {
            self.event.seen_pins = pins_of(chain.path());
        }
        match decision {
            Decision::Allowed { matched, violation: None, exempted, .. } => {
                self.at(Stage::Pin);
                self.event.exempted = *exempted;
                self.event.matched_position = matched.map(|matched| count(matched.position));
                self.event.matched_pin = matched.map(|matched| matched.pin);
                if self.violation.is_none() {
                    self.event.decision = Decided::Allow;
                }
            }
            Decision::Allowed { violation: Some(violation), .. } => {
                self.at(Stage::Pin);
                self.event.decision = Decided::Report;
                self.event.failure_class = Some(violation.class);
                self.event.detail = Some(Told::words(&violation.detail));
                self.violated(violation, attempt, rule);
            }
            Decision::Refused(rejection) => {
                self.event.decision = Decided::Refuse;
                self.violated(rejection, attempt, rule);
            }
        }
    }

    fn violated(&mut self, rejection: &Rejection, attempt: &Attempt, rule: &Rule) {
        self.event.candidate_paths = count(rejection.candidates.len());
        if let Some(Candidate { path, .. }) = rejection.candidates.first() {
            self.event.seen_pins = pins_of(path);
        }
        if matches!(rejection.class, FailureClass::Pin | FailureClass::Blocklist | FailureClass::Budget) {
            let der = |chain: &[CertificateDer<'_>]| chain.iter().map(|der| der.to_vec()).collect();
            let violation = self.violation(rejection.class, der(&attempt.served), der(&attempt.validated), rule);
            self.violation = Some(Box::new(violation));
        }
    }

    /// The session falls under a pinset that has ended and fails closed.
    pub(super) fn pinset_expired(&mut self, rule: &Rule) {
        self.violation = Some(Box::new(self.violation(FailureClass::Pin, Vec::new(), Vec::new(), rule)));
    }

    fn violation(&self, class: FailureClass, served: Vec<Vec<u8>>, validated: Vec<Vec<u8>>, rule: &Rule) -> Violation {
        let noted = self.noted_pattern(rule);
        Violation {
            class,
            served,
            validated,
            known_pins: rule.expected_pins().iter().map(rfc7469_pin).collect(),
            expected: placed(rule).collect(),
            include_subdomains: noted.as_ref().is_some_and(|pattern| !matches!(pattern.scope, Scope::Exact(_))),
            noted_hostname: noted.map(|pattern| noted_host(&pattern)),
            expires: rule.pinset().and_then(|pinset| pinset.expiry).map(|expiry| expiry.at),
        }
    }

    fn noted_pattern(&self, rule: &Rule) -> Option<HostPattern> {
        let (host, port) = (self.event.hostname.as_deref()?, self.event.port?);
        let target = Authority::parse(&format!("{host}:{port}")).ok()?;
        rule.hosts.iter().find(|pattern| pattern.matches(&target)).cloned()
    }

    /// Ends the session with an error.
    pub(super) fn fail(&mut self, error: &SessionError) {
        self.at(error.stage().unwrap_or(self.event.stage));
        self.event.failure_class = Some(error.class());
        self.event.detail = Some(Told::words(error.to_string()));
        if error.is_refusal() {
            self.event.decision = Decided::Refuse;
        }
    }

    pub(super) fn replied(&mut self, status: http::StatusCode) {
        self.event.status = Some(status.as_u16());
    }

    /// Ends the session with what became of its relay.
    pub(super) fn relayed(&mut self, outcome: &Outcome, counters: Counters) {
        self.event.bytes = Bytes { upstream: counters.upstream, client: counters.client };
        self.event.ended = Some(Told::words(ended(outcome)));
    }

    /// A later generation refuses what was let through.
    pub(super) fn refused_later(&mut self, refused: &Refused) {
        let Refused { generation, rejection, rule } = refused;
        self.event.decision = Decided::Refuse;
        self.event.failure_class = Some(rejection.class);
        let detail = format!("closed: generation {generation} refuses it now: {}", rejection.detail);
        self.event.detail = Some(Told::words(detail));
        (self.event.matched_position, self.event.matched_pin) = (None, None);
        self.event.policy_generation = *generation;
        self.event.ended = Some(Told::words(CLOSED_BY_POLICY));
        if let Some(Refusing { rule, circumstances, attempt }) = rule {
            self.rule(rule, circumstances);
            if let Some(attempt) = attempt {
                self.violated(rejection, attempt, rule);
            }
        }
    }

    /// Emits the event.
    pub(super) fn finish(mut self: Box<Self>) {
        self.emit();
    }

    fn emit(&mut self) {
        self.finished = true;
        self.event.duration = self.started.elapsed();
        self.reporter.emit(&self.event, self.violation.as_deref());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.finished {
            if std::thread::panicking() {
                self.event.failure_class = Some(FailureClass::Internal);
                self.event.detail = Some(Told::words("the session ended in a panic"));
            } else {
                // Wherever it was, there is nobody left to tell.
                self.event.failure_class = Some(SessionError::Gone.class());
                self.event.detail = Some(Told::words(SessionError::Gone.to_string()));
            }
            self.emit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_idle_tunnel_keeps_one_and_the_next_size_of_the_allocator_is_a_quarter_more() {
        assert!(size_of::<Record>() <= 512, "{}", size_of::<Record>());
    }
}
