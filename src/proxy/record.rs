//! The event of a session while the session runs. It is emitted exactly once: by `finish`, or, when a session is
//! dropped before that, because its client went away.

use super::error::SessionError;
use super::reply::ExpectedPin;
use crate::policy::decision::{Candidate, ChainProof as _, Decision, FailureClass, Rejection};
use crate::policy::host::{Authority, Host};
use crate::policy::moment::Circumstances;
use crate::policy::pattern::{HostPattern, Scope};
use crate::policy::pin::Pin;
use crate::policy::pinset::{Clause, Demand, PathElement};
use crate::policy::rules::Rule;
use crate::relay::{Counters, End, Outcome, SideName};
use crate::report::{Bytes, Client, Decided, Event, Reporter, Stage, Violation};
use crate::tls::chain::Attempt;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::Instant;

/// How much of a target is told; a valid one has at most 259.
const TARGET_CHARACTERS_MAX: usize = 300;

/// An event in the making.
#[derive(Debug)]
pub(super) struct Record {
    reporter: Arc<Reporter>,
    started: Instant,
    event: Event,
    violation: Option<Box<Violation>>,
    expected_pins: Vec<ExpectedPin>,
    finished: bool,
}

impl Record {
    /// Opens the record of a session that has just begun. Boxed: it goes through every future of the session.
    pub(super) fn open(reporter: &Arc<Reporter>, session: String, client: SocketAddr, now: SystemTime) -> Box<Self> {
        let event = Event {
            date_time: now,
            session,
            client: Client(client),
            connect_authority: String::new(),
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
            policy_generation: 0,
            matched_position: None,
            matched_pin: None,
            seen_pins: Vec::new(),
            exempted: false,
            candidate_paths: 0,
            upstream_address: None,
            upstream_tls: None,
            client_tls: None,
            alpn: None,
            upstream_certificate: None,
            leaf_serial: None,
            bytes: Bytes::default(),
            ended: None,
            duration: std::time::Duration::ZERO,
        };
        Box::new(Self {
            reporter: Arc::clone(reporter),
            started: Instant::now(),
            event,
            violation: None,
            expected_pins: Vec::new(),
            finished: false,
        })
    }

    /// The event as it stands.
    pub(super) const fn event(&self) -> &Event {
        &self.event
    }

    /// The pins that the rule would accept, where pins were what failed.
    pub(super) fn expected_pins(&self) -> Vec<ExpectedPin> {
        self.expected_pins.clone()
    }

    /// The session has come to this stage.
    pub(super) const fn at(&mut self, stage: Stage) {
        self.event.stage = stage;
    }

    /// What the client asked for, as far as it may be told.
    pub(super) fn asked_for(&mut self, target: &str) {
        self.event.connect_authority = tellable(target);
    }

    pub(super) fn target(&mut self, target: &Authority, generation: u64) {
        self.event.connect_authority = target.to_string();
        self.event.hostname = Some(target.host.to_string());
        self.event.port = Some(target.port.get());
        self.event.policy_generation = generation;
    }

    pub(super) fn rule(&mut self, rule: &Rule, circumstances: &Circumstances) {
        self.event.pinset = Some(rule.label().to_owned());
        self.judged_under(rule, circumstances);
    }

    /// The circumstances that the verdict is taken under: a rollout may have taken a step since the rule was found.
    pub(super) fn judged_under(&mut self, rule: &Rule, circumstances: &Circumstances) {
        let demand = rule.demand(circumstances);
        self.event.enforced =
            matches!(demand, Demand::Pins { enforced: true, .. } | Demand::PinOnly { .. } | Demand::Expired);
    }

    pub(super) fn server_name(&mut self, name: &Host) {
        self.event.sni = Some(name.to_string());
    }

    /// The host that is judged, when it is not the one of the CONNECT.
    pub(super) fn judged_as(&mut self, host: &Host) {
        self.event.hostname = Some(host.to_string());
    }

    pub(super) const fn dialled(&mut self, address: SocketAddr) {
        self.event.upstream_address = Some(address);
    }

    pub(super) fn upstream_tls(&mut self, version: Option<rustls::ProtocolVersion>, alpn: Option<&[u8]>) {
        self.event.upstream_tls = version.and_then(tls_version);
        self.event.alpn = alpn.map(|protocol| String::from_utf8_lossy(protocol).into_owned());
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
        self.event.seen_pins.clear();
        self.event.candidate_paths = 0;
        if let Ok(chain) = &attempt.result {
            self.event.seen_pins = pins_of(chain.path());
        }
        match decision {
            Decision::Allowed { matched, violation: None, exempted, .. } => {
                self.event.stage = Stage::Pin;
                self.event.exempted = *exempted;
                self.event.matched_position = matched.map(|matched| matched.position);
                self.event.matched_pin = matched.map(|matched| matched.pin);
                if self.violation.is_none() {
                    self.event.decision = Decided::Allow;
                }
            }
            Decision::Allowed { violation: Some(violation), .. } => {
                self.event.stage = Stage::Pin;
                self.event.decision = Decided::Report;
                self.event.failure_class = Some(violation.class);
                self.event.detail = Some(violation.detail.clone());
                self.violated(violation, attempt, rule);
            }
            Decision::Refused(rejection) => {
                self.event.decision = Decided::Refuse;
                self.violated(rejection, attempt, rule);
            }
        }
    }

    fn violated(&mut self, rejection: &Rejection, attempt: &Attempt, rule: &Rule) {
        self.event.candidate_paths = rejection.candidates.len();
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

    fn violation(
        &mut self,
        class: FailureClass,
        served: Vec<Vec<u8>>,
        validated: Vec<Vec<u8>>,
        rule: &Rule,
    ) -> Violation {
        self.expected_pins = expected(rule);
        let noted = self.noted_pattern(rule);
        Violation {
            class,
            served,
            validated,
            known_pins: rule.expected_pins().iter().map(rfc7469_pin).collect(),
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
        self.event.stage = error.stage().unwrap_or(self.event.stage);
        self.event.failure_class = Some(error.class());
        self.event.detail = Some(error.to_string());
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
        self.event.ended = Some(ended(outcome));
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
                self.event.detail = Some("the session ended in a panic".to_owned());
            } else {
                // Wherever it was, there is nobody left to tell.
                self.event.failure_class = Some(SessionError::Gone.class());
                self.event.detail = Some(SessionError::Gone.to_string());
            }
            self.emit();
        }
    }
}

/// The host that a pattern is noted under: the name behind its star, or the host itself.
fn noted_host(pattern: &HostPattern) -> String {
    match &pattern.scope {
        Scope::Exact(host) => host.to_string(),
        Scope::OneLabel(suffix) | Scope::Subtree(suffix) => suffix.to_string(),
    }
}

/// A target for logs and replies: without userinfo, path and query, which may hold secrets, and printable, so that
/// nothing a client sends can break a line.
fn tellable(target: &str) -> String {
    let (scheme, rest) = target.split_once("://").map_or(("", target), |(scheme, rest)| (scheme, rest));
    // Userinfo first, up to the last @: a password may contain what would end an authority.
    let (userinfo, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("...@", rest));
    let (host, cut) = rest.find(['/', '?', '#']).map_or((rest, ""), |end| (&rest[..end], "/..."));
    let separator = if scheme.is_empty() { "" } else { "://" };
    let shown = scheme.chars().chain(separator.chars()).chain(userinfo.chars()).chain(host.chars());
    let mut printable = String::with_capacity(rest.len());
    for c in shown.take(TARGET_CHARACTERS_MAX) {
        if c == ' ' || c.is_ascii_graphic() {
            printable.push(c);
        } else {
            printable.extend(c.escape_default());
        }
    }
    printable + cut
}

fn pins_of(path: &[PathElement]) -> Vec<Pin> {
    path.iter().map(|element| Pin::Spki(element.spki)).collect()
}

/// The pins of a rule, each with where it has to stand.
fn expected(rule: &Rule) -> Vec<ExpectedPin> {
    let clauses = rule.pinset().into_iter().flat_map(|pinset| pinset.accepts().clauses());
    let told = |clause: &Clause| {
        let pins = clause.pins().iter().map(|pin| ExpectedPin { pin: pin.to_string(), position: clause.position() });
        pins.collect()
    };
    clauses.flat_map::<Vec<ExpectedPin>, _>(told).collect()
}

/// `pin-sha256="…"` (RFC 7469 section 3); a certificate pin, which that RFC does not know, in our own form.
fn rfc7469_pin(pin: &Pin) -> String {
    let text = pin.to_string();
    match text.strip_prefix("sha256/") {
        Some(digest) => format!("pin-sha256=\"{digest}\""),
        None => text,
    }
}

/// `None` for a version that no configuration of ours can come to.
const fn tls_version(version: rustls::ProtocolVersion) -> Option<&'static str> {
    match version {
        rustls::ProtocolVersion::TLSv1_2 => Some("1.2"),
        rustls::ProtocolVersion::TLSv1_3 => Some("1.3"),
        _ => None,
    }
}

fn ended(outcome: &Outcome) -> String {
    let side = |side| if side == SideName::Client { "client" } else { "upstream" };
    match outcome {
        Outcome::Ended { client: End::Clean, upstream: End::Clean } => "closed".to_owned(),
        Outcome::Ended { client: End::Clean, upstream: End::Cut } => "upstream closed without close_notify".to_owned(),
        Outcome::Ended { client: End::Cut, upstream: End::Clean } => "client closed without close_notify".to_owned(),
        Outcome::Ended { client: End::Cut, upstream: End::Cut } => "both closed without close_notify".to_owned(),
        Outcome::Failed { side: which, error } => format!("connection to the {} failed: {error}", side(*which)),
        Outcome::Idle => "idle timeout".to_owned(),
        Outcome::Lifetime => "session lifetime".to_owned(),
        Outcome::Shutdown => "shutdown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::tellable;

    #[test]
    fn secrets_and_line_breaks_are_not_told() {
        let table = [
            ("user:secret@bank.example:443", "...@bank.example:443"),
            ("http://user:secret@bank.example/path?token=1#f", "http://...@bank.example/..."),
            ("user:se/cret@bank.example:443", "...@bank.example:443"),
            ("http://bank.example?token=1", "http://bank.example/..."),
            ("bank.example:443/path", "bank.example:443/..."),
            ("/path?token=1", "/..."),
            ("bank.example:443\r\nx: y", "bank.example:443\\r\\nx: y"),
            ("b\u{fc}cher.example\u{202e}:443", "b\\u{fc}cher.example\\u{202e}:443"),
            ("bank.example:443", "bank.example:443"),
        ];
        for (target, expected) in table {
            assert_eq!(tellable(target), expected);
        }
        assert!(tellable(&"a".repeat(10_000)).len() <= 300);
    }
}
