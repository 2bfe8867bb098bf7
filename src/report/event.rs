//! The event of a session.

use super::stages::StageTimes;
use super::told::Told;
use crate::policy::decision::FailureClass;
use crate::policy::pin::{Pin, Sha256, hex};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// How a relay ended that new rules have refused.
pub const CLOSED_BY_POLICY: &str = "policy";

/// The stages of a session, in order. Code, log, metrics and documents share this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The request is parsed and judged by the access rules.
    Request,
    /// The upstream is resolved and dialled.
    Dial,
    /// The TLS handshake with the upstream, chain verification included.
    UpstreamTls,
    /// The verdict on the pins.
    Pin,
    /// The TLS handshake with the client.
    ClientTls,
    /// Bytes are relayed.
    Relay,
}

/// The verdict on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decided {
    /// It did not get as far as a verdict.
    Failed,
    /// The chain satisfied its rule.
    Allow,
    /// The pins were not satisfied, and the rule is not enforced.
    Report,
    /// Relayed blindly, as its rule says.
    Tunnel,
    /// Refused by a rule: access, chain or pins.
    Refuse,
}

/// What the rule of a session asked of its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// A pin, on a chain that verifies; a mismatch refuses.
    Enforce,
    /// The same; a mismatch is reported.
    ReportOnly,
    /// It would be enforced, and an operator has overridden that for this host.
    Overridden,
    /// A pinned key; no chain.
    PinOnly,
    /// What nothing satisfies any more: the pinset has ended.
    Expired,
    /// That it verifies; no pin.
    Chain,
}

/// Who asked. Serialised plain in the access log, which is the operator's own record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client(pub SocketAddr);

/// Payload relayed, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bytes {
    /// From the client to the upstream.
    pub upstream: u64,
    /// From the upstream to the client.
    pub client: u64,
}

/// Everything that is told about one session. Serialised with the names of a violation report where they are the
/// same thing (RFC 7469 section 3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// When the request came.
    #[serde(serialize_with = "serialize_date_time")]
    pub date_time: SystemTime,
    /// Number of the session, unique within the life of the process; replies name it too.
    pub session: Box<str>,
    /// Who asked.
    pub client: Client,
    /// The target as the client wrote it, without userinfo, path and query, and as far as it is printable.
    pub connect_authority: Told,
    /// The canonical host that was judged: the CONNECT host, or the SNI of a CONNECT to an address.
    pub hostname: Option<Told>,
    /// The port.
    pub port: Option<u16>,
    /// The server name in the ClientHello.
    pub sni: Option<Told>,
    /// The last stage that the session came to.
    pub stage: Stage,
    /// The verdict.
    pub decision: Decided,
    /// The class of the failure that ended the session, or of the violation that was let through.
    pub failure_class: Option<FailureClass>,
    /// The failure or violation in words.
    pub detail: Option<Told>,
    /// Status of the reply to the CONNECT.
    pub status: Option<u16>,
    /// The rule: the name of a pinset, `exempt`, `tunnel` or `unpinned`.
    pub pinset: Option<Box<str>>,
    /// Whether a pin mismatch would have refused the session.
    pub enforced: bool,
    /// Whether an operator has overridden the enforcement for this host.
    pub overridden: bool,
    /// What the rule asked of the chain.
    pub asked: Option<Asked>,
    /// The policy generation it was judged by.
    pub policy_generation: u64,
    /// Position of the certificate that matched: 0 is the end entity.
    pub matched_position: Option<u32>,
    /// The pin that matched.
    pub matched_pin: Option<Pin>,
    /// Pins were demanded, none matched, and the trust anchor exempts its chains from them.
    pub exempted: bool,
    /// Keys of the verified path that was judged, end entity first, as pins.
    pub seen_pins: Box<[Pin]>,
    /// Paths that verified and were turned down.
    pub candidate_paths: u32,
    /// The address that was dialled, or that a parent proxy was asked for.
    pub upstream_address: Option<SocketAddr>,
    /// The parent proxy that the upstream was reached through: scheme, host and port.
    pub parent: Option<Arc<String>>,
    /// TLS version with the upstream.
    pub upstream_tls: Option<&'static str>,
    /// TLS version with the client.
    pub client_tls: Option<&'static str>,
    /// The application protocol that the upstream chose.
    pub alpn: Option<Told>,
    /// SHA-256 of the upstream's certificate; told in hexadecimal.
    #[serde(serialize_with = "serialize_hex")]
    pub upstream_certificate: Option<Sha256>,
    /// The end of the upstream's certificate, where it was accepted.
    #[serde(serialize_with = "serialize_maybe_date_time")]
    pub upstream_not_after: Option<SystemTime>,
    /// Serial number of the leaf shown to the client.
    pub leaf_serial: Option<Arc<str>>,
    /// Payload relayed.
    pub bytes: Bytes,
    /// How the relay ended.
    pub ended: Option<Told>,
    /// The TLS handshake with the upstream, verification included; the last one where there were two.
    #[serde(serialize_with = "serialize_maybe_milliseconds", rename = "upstream-handshake-ms")]
    pub upstream_handshake: Option<Duration>,
    /// The TLS handshake with the client, from its ClientHello on.
    #[serde(serialize_with = "serialize_maybe_milliseconds", rename = "client-handshake-ms")]
    pub client_handshake: Option<Duration>,
    /// From the request to the end.
    #[serde(serialize_with = "serialize_milliseconds", rename = "duration-ms")]
    pub duration: Duration,
    /// When it came to its stages; only where a sink wants it. In no line.
    #[serde(skip)]
    pub stages: Option<Box<StageTimes>>,
}

/// A moment as RFC 3339 in UTC, always with three digits of milliseconds.
pub fn date_time(moment: SystemTime) -> String {
    const FORM: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from(moment).format(FORM).unwrap_or_default()
}

/// As [`date_time`], for serde.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_date_time<S: Serializer>(moment: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&date_time(*moment))
}

fn serialize_milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(duration.as_millis())
}

/// The same where there may be none. Takes a reference to the field, as serde hands it over.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_maybe_date_time<S: Serializer>(moment: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    moment.map(date_time).serialize(serializer)
}

/// Takes a reference to the field, as serde hands it over.
#[expect(clippy::ref_option)]
fn serialize_maybe_milliseconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_millis()).serialize(serializer)
}

/// Takes a reference to the field, as serde hands it over.
#[expect(clippy::ref_option)]
fn serialize_hex<S: Serializer>(digest: &Option<Sha256>, serializer: S) -> Result<S::Ok, S::Error> {
    match digest {
        Some(digest) => serializer.serialize_some(&hex(digest)),
        None => serializer.serialize_none(),
    }
}

impl Serialize for Client {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.ip().to_canonical())
    }
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [Self::Request, Self::Dial, Self::UpstreamTls, Self::Pin, Self::ClientTls, Self::Relay];

    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Dial => "dial",
            Self::UpstreamTls => "upstream_tls",
            Self::Pin => "pin",
            Self::ClientTls => "client_tls",
            Self::Relay => "relay",
        }
    }
}

impl Asked {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Enforce, Self::ReportOnly, Self::Overridden, Self::PinOnly, Self::Expired, Self::Chain];

    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::ReportOnly => "report-only",
            Self::Overridden => "overridden",
            Self::PinOnly => "pin-only",
            Self::Expired => "expired",
            Self::Chain => "chain",
        }
    }
}

impl Decided {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Failed, Self::Allow, Self::Report, Self::Tunnel, Self::Refuse];

    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Allow => "allow",
            Self::Report => "report",
            Self::Tunnel => "tunnel",
            Self::Refuse => "refuse",
        }
    }
}

impl Event {
    /// Whether it was open and ended by rules that refuse it.
    pub fn was_closed_by_policy(&self) -> bool {
        self.ended.as_deref() == Some(CLOSED_BY_POLICY)
    }
}

/// One line for people: verdict and target first, then what explains it.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = if self.connect_authority.is_empty() { "(no target)" } else { self.connect_authority.as_str() };
        write!(f, "{} {target}", self.decision.as_str())?;
        if let Some(pinset) = &self.pinset {
            write!(f, " pinset={pinset}")?;
        }
        if self.overridden {
            f.write_str(" overridden")?;
        }
        if let (Some(pin), Some(position)) = (&self.matched_pin, self.matched_position) {
            write!(f, " matched={pin}@{position}")?;
        }
        if let Some(class) = self.failure_class {
            write!(f, " class={} stage={}", class.as_str(), self.stage.as_str())?;
        }
        if let Some(detail) = &self.detail {
            write!(f, " detail={detail:?}")?;
        }
        if self.failure_class.is_some() && !self.seen_pins.is_empty() {
            for (position, pin) in self.seen_pins.iter().enumerate() {
                write!(f, "{}{pin}", if position == 0 { " seen=" } else { "," })?;
            }
        }
        write!(f, " client={} session={}", self.client.0.ip().to_canonical(), self.session)?;
        if let Some(ended) = &self.ended {
            write!(f, " sent={} received={} ended={ended:?}", self.bytes.upstream, self.bytes.client)?;
        }
        write!(f, " ms={}", self.duration.as_millis())
    }
}

#[cfg(test)]
pub(crate) mod tests_support {
    use super::*;

    /// The event of a session that was refused for its pins.
    pub(crate) fn event() -> Event {
        Event {
            date_time: SystemTime::UNIX_EPOCH,
            session: "00000000-7".into(),
            client: Client(SocketAddr::from(([127, 0, 0, 1], 50_000))),
            connect_authority: Told::target("bank.example:443"),
            hostname: Some(Told::words("bank.example")),
            port: Some(443),
            sni: None,
            stage: Stage::Pin,
            decision: Decided::Refuse,
            failure_class: Some(FailureClass::Pin),
            detail: Some(Told::words("no verified path of the upstream's chain holds a pinned key")),
            status: Some(502),
            pinset: Some("bank".into()),
            enforced: true,
            overridden: false,
            asked: None,
            policy_generation: 1,
            matched_position: None,
            matched_pin: None,
            exempted: false,
            seen_pins: [Pin::Spki([7; 32]), Pin::Spki([8; 32])].into(),
            candidate_paths: 1,
            upstream_address: Some(SocketAddr::from(([192, 0, 2, 7], 443))),
            parent: None,
            upstream_tls: Some("1.3"),
            client_tls: None,
            alpn: None,
            upstream_certificate: Some([9; 32]),
            upstream_not_after: None,
            leaf_serial: None,
            bytes: Bytes::default(),
            ended: None,
            upstream_handshake: None,
            client_handshake: None,
            duration: Duration::from_millis(42),
            stages: None,
        }
    }
}
