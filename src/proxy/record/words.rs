//! The words of an event: pins, versions and ends as they may be told.

use crate::policy::pattern::{HostPattern, Scope};
use crate::policy::pin::Pin;
use crate::policy::pinset::{PathElement, Position};
use crate::policy::rules::Rule;
use crate::relay::{End, Outcome, SideName};

/// The host that a pattern is noted under: the name behind its star, or the host itself.
pub(super) fn noted_host(pattern: &HostPattern) -> String {
    match &pattern.scope {
        Scope::Exact(host) => host.to_string(),
        Scope::OneLabel(suffix) | Scope::Subtree(suffix) => suffix.to_string(),
    }
}

pub(super) fn pins_of(path: &[PathElement]) -> Box<[Pin]> {
    path.iter().map(|element| Pin::Spki(element.spki)).collect()
}

/// The pins of a rule, each with where it has to stand.
pub(super) fn placed(rule: &Rule) -> impl Iterator<Item = (Position, Pin)> {
    let clauses = rule.pinset().into_iter().flat_map(|pinset| pinset.accepts().clauses());
    clauses.flat_map(|clause| clause.pins().iter().map(|pin| (clause.position(), *pin)))
}

/// A number of certificates or of paths; limits keep them far below what fits.
pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// `pin-sha256="…"` (RFC 7469 section 3); a certificate pin, which that RFC does not know, in our own form.
pub(super) fn rfc7469_pin(pin: &Pin) -> String {
    let text = pin.to_string();
    match text.strip_prefix("sha256/") {
        Some(digest) => format!("pin-sha256=\"{digest}\""),
        None => text,
    }
}

/// `None` for a version that no configuration of ours can come to.
pub(super) const fn tls_version(version: rustls::ProtocolVersion) -> Option<&'static str> {
    match version {
        rustls::ProtocolVersion::TLSv1_2 => Some("1.2"),
        rustls::ProtocolVersion::TLSv1_3 => Some("1.3"),
        _ => None,
    }
}

pub(super) fn ended(outcome: &Outcome) -> String {
    let side = |side| if side == SideName::Client { "client" } else { "upstream" };
    match outcome {
        Outcome::Ended { client: End::Clean, upstream: End::Clean } => "closed".to_owned(),
        Outcome::Ended { client: End::Clean, upstream: End::Cut } => "upstream closed without close_notify".to_owned(),
        Outcome::Ended { client: End::Cut, upstream: End::Clean } => "client closed without close_notify".to_owned(),
        Outcome::Ended { client: End::Cut, upstream: End::Cut } => "both closed without close_notify".to_owned(),
        Outcome::Cut { by: which, error } => {
            let other = if *which == SideName::Client { SideName::Upstream } else { SideName::Client };
            let (by, other) = (side(*which), side(other));
            format!("{by} closed without close_notify; the connection to the {other} failed then: {error}")
        }
        Outcome::Failed { side: which, error } => format!("connection to the {} failed: {error}", side(*which)),
        Outcome::Idle => "idle timeout".to_owned(),
        Outcome::Lifetime => "session lifetime".to_owned(),
        Outcome::Shutdown => "shutdown".to_owned(),
    }
}
