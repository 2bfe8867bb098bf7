//! What a session came to, as one value: what its client was told, what its event says, what reached the origin.
//!
//! A test states the whole of it and compares once, so that nothing it does not speak of can go wrong unseen.

use super::client::{Reply, TlsFailure};
use super::origin::{Connection, End};
use super::proxy::Told;
use pinproxy::policy::decision::FailureClass;
use pinproxy::policy::pin::Pin;
use pinproxy::report::{Decided, Stage};
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;

/// The host of most tests.
pub(crate) const BANK: &str = "api.bank.example";
/// The detail of a pin mismatch on a verified chain.
pub(crate) const NO_PINNED_KEY: &str = "no verified path of the upstream's chain holds a pinned key";

/// The detail of a host that no rule names, where such hosts are denied.
pub(crate) fn unlisted(host: &str) -> String {
    format!("no pinset for {host}, and hosts without one are denied ([defaults] unpinned = \"deny\")")
}

/// The pins as configurations, replies and events write them.
pub(crate) fn texts(pins: &[Pin]) -> Vec<String> {
    pins.iter().map(ToString::to_string).collect()
}

/// Everything about one CONNECT that an operator, a client or an origin could notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Status and reason phrase of the reply.
    reply: (u16, String),
    /// The Proxy-Status header.
    proxy_status: Option<String>,
    /// The alert that ended the client's handshake.
    alert: Option<AlertDescription>,
    decision: Decided,
    class: Option<FailureClass>,
    detail: Option<String>,
    stage: Stage,
    /// The rule, and whether it was enforced.
    rule: (String, bool),
    /// Keys of the path that was judged.
    seen: Vec<String>,
    /// Paths that verified and were turned down.
    paths: u32,
    /// Position and pin of the match.
    matched: Option<(u32, String)>,
    /// The class of the violation report.
    violation: Option<FailureClass>,
    /// Request lines that reached the origin, or `nothing`.
    relayed: String,
    /// Handshakes that the origin finished.
    handshakes: usize,
}

/// What a session came to, with everything a test may look into beyond its [`Verdict`].
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The reply to the CONNECT.
    pub(crate) reply: Reply,
    /// What became of the client's handshake, if there was a 200.
    pub(crate) handshake: Option<Result<Session, TlsFailure>>,
    /// The event and the violation.
    pub(crate) told: Told,
    /// The connections that reached the origin.
    pub(crate) upstream: Vec<Connection>,
}

/// A client's session from its own side.
#[derive(Debug)]
pub(crate) struct Session {
    /// The certificates that were presented, end entity first.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// Whether it resumed an earlier one.
    pub(crate) resumed: bool,
    /// The answer to its one request.
    pub(crate) answer: String,
}

impl Outcome {
    /// All of it, to be compared.
    pub(crate) fn verdict(&self) -> Verdict {
        let Told { event, violation } = &self.told;
        let lines = self.upstream.iter().filter_map(|connection| {
            let text = String::from_utf8_lossy(&connection.data);
            text.lines().next().map(str::to_owned)
        });
        let lines: Vec<String> = lines.collect();
        Verdict {
            reply: (self.reply.status, self.reply.reason.clone()),
            proxy_status: self.reply.header("proxy-status").map(str::to_owned),
            alert: self.handshake.as_ref().and_then(|done| done.as_ref().err()).and_then(TlsFailure::alert),
            decision: event.decision,
            class: event.failure_class,
            detail: event.detail.as_deref().map(str::to_owned),
            stage: event.stage,
            rule: (event.pinset.as_deref().unwrap_or_default().to_owned(), event.enforced),
            seen: texts(&event.seen_pins),
            paths: event.candidate_paths,
            matched: event.matched_position.zip(event.matched_pin.map(|pin| pin.to_string())),
            violation: violation.as_ref().map(|violation| violation.class),
            relayed: if lines.is_empty() { "nothing".to_owned() } else { lines.join(", ") },
            handshakes: self.upstream.iter().filter(|connection| connection.handshake.is_some()).count(),
        }
    }

    /// The client's session.
    pub(crate) fn session(&self) -> &Session {
        match &self.handshake {
            Some(Ok(session)) => session,
            other => panic!("no session but {other:?} after {:?}", self.reply),
        }
    }

    /// Whether the origin shook hands by resuming an earlier session.
    pub(crate) fn resumed_upstream(&self) -> bool {
        self.upstream.iter().any(Connection::resumed)
    }

    /// Whether every connection to the origin that was set up ended as TLS wants it.
    pub(crate) fn closed_cleanly(&self) -> bool {
        let mut set_up = self.upstream.iter().filter(|connection| connection.handshake.is_some());
        set_up.all(|connection| connection.end == Some(End::PeerClosed))
    }
}

impl Verdict {
    /// The chain verified, and its rule has no pins to match.
    pub(crate) fn passed() -> Self {
        Self {
            reply: (200, "Connection established".to_owned()),
            proxy_status: None,
            alert: None,
            decision: Decided::Allow,
            class: None,
            detail: None,
            stage: Stage::Relay,
            rule: ("bank".to_owned(), true),
            seen: Vec::new(),
            paths: 0,
            matched: None,
            violation: None,
            relayed: "GET /balance HTTP/1.1".to_owned(),
            handshakes: 1,
        }
    }

    /// The chain verified, and this pin was found at this position.
    pub(crate) fn matched(position: u32, pin: &str) -> Self {
        Self { matched: Some((position, pin.to_owned())), ..Self::passed() }
    }

    /// Refused for its pins, on a chain that verified.
    pub(crate) fn mismatch() -> Self {
        Self::refused(FailureClass::Pin, NO_PINNED_KEY)
    }

    /// Let through, and reported as a pin mismatch.
    pub(crate) fn reported() -> Self {
        Self {
            decision: Decided::Report,
            class: Some(FailureClass::Pin),
            detail: Some(NO_PINNED_KEY.to_owned()),
            violation: Some(FailureClass::Pin),
            paths: 1,
            ..Self::passed()
        }
        .under("bank", false)
    }

    /// Refused by a status instead of the 200, over the upstream's certificates.
    pub(crate) fn refused(class: FailureClass, detail: &str) -> Self {
        Self::refused_for(BANK, "bank", class, detail)
    }

    /// The same for another host, under another rule.
    pub(crate) fn refused_for(host: &str, rule: &str, class: FailureClass, detail: &str) -> Self {
        let reason = match class {
            FailureClass::Pin => format!("Certificate pin mismatch for {host} (pinset {rule})"),
            FailureClass::Blocklist => format!("Blocked key in the certificate chain of {host}"),
            FailureClass::Name => format!("Certificate of {host} is for another name"),
            FailureClass::Validity => format!("Certificate of {host} is expired or not yet valid"),
            FailureClass::Budget => format!("Certificate chain of {host} is too expensive to verify"),
            FailureClass::Chain => format!("Certificate chain of {host} is not trusted"),
            other => panic!("{other:?} says nothing of certificates"),
        };
        let about_keys = matches!(class, FailureClass::Pin | FailureClass::Blocklist);
        let violation = (about_keys || class == FailureClass::Budget).then_some(class);
        let quoted = detail.replace('\\', "\\\\").replace('"', "\\\"");
        Self {
            reply: (502, reason),
            proxy_status: Some(format!("pinproxy; error=tls_certificate_error; details=\"{quoted}\"")),
            decision: Decided::Refuse,
            class: Some(class),
            detail: Some(detail.to_owned()),
            stage: if about_keys { Stage::Pin } else { Stage::UpstreamTls },
            paths: u32::from(about_keys),
            violation,
            relayed: "nothing".to_owned(),
            handshakes: 0,
            ..Self::passed()
        }
        .under(rule, true)
    }

    /// Refused before a byte went upstream, with this status, reason and error of RFC 9209.
    pub(crate) fn turned_away(status: u16, error: &str, class: FailureClass, stage: Stage, detail: &str) -> Self {
        let mut reason = detail.to_owned();
        reason[..1].make_ascii_uppercase();
        reason.truncate(160);
        let quoted = detail.replace('\\', "\\\\").replace('"', "\\\"");
        Self {
            reply: (status, reason),
            proxy_status: Some(format!("pinproxy; error={error}; details=\"{quoted}\"")),
            decision: Decided::Refuse,
            class: Some(class),
            detail: Some(detail.to_owned()),
            stage,
            relayed: "nothing".to_owned(),
            handshakes: 0,
            ..Self::passed()
        }
    }

    /// Refused without a look at the upstream: this pinset has ended, and its end is closed.
    pub(crate) fn expired(rule: &str) -> Self {
        let detail = format!("pinset {rule} has expired and is set to fail closed");
        let refused = Self::turned_away(502, "tls_certificate_error", FailureClass::Pin, Stage::Pin, &detail);
        Self { violation: Some(FailureClass::Pin), ..refused }.under(rule, true)
    }

    /// The same refusal behind the 200, as an alert.
    pub(crate) fn by_alert(self, alert: AlertDescription) -> Self {
        let Self { reply, proxy_status, .. } = Self::passed();
        Self { reply, proxy_status, alert: Some(alert), stage: Stage::ClientTls, ..self }
    }

    /// Under this rule, enforced or not.
    pub(crate) fn under(self, rule: &str, enforced: bool) -> Self {
        Self { rule: (rule.to_owned(), enforced), ..self }
    }

    /// With these keys on the path that was judged.
    pub(crate) fn seen<'a>(self, pins: impl IntoIterator<Item = &'a String>) -> Self {
        Self { seen: pins.into_iter().cloned().collect(), ..self }
    }

    /// With this many paths turned down.
    pub(crate) fn paths(self, paths: u32) -> Self {
        Self { paths, ..self }
    }

    /// With this rather than the usual detail.
    pub(crate) fn detail(self, detail: &str) -> Self {
        Self { detail: Some(detail.to_owned()), ..self }
    }

    /// Ended at this stage.
    pub(crate) fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    /// With this decision.
    pub(crate) fn decided(self, decision: Decided) -> Self {
        Self { decision, ..self }
    }

    /// Refused without having seen anything that could be reported.
    pub(crate) fn no_violation(self) -> Self {
        Self { violation: None, ..self }
    }

    /// With this many finished handshakes upstream.
    pub(crate) fn handshakes(self, handshakes: usize) -> Self {
        Self { handshakes, ..self }
    }

    /// With a pin that matched before something else refused.
    pub(crate) fn with_match(self, position: u32, pin: &str) -> Self {
        Self { matched: Some((position, pin.to_owned())), ..self }
    }
}
