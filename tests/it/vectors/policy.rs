//! From what a case says to a policy, and the questions that cases put to it. What a rule and a verdict depend on
//! besides the host is passed here and nowhere else.

use pinproxy::config::{Config, ConfigErrors, Severity};
use pinproxy::policy::decision::{ChainProof, Decision, Rejection, evaluate};
use pinproxy::policy::host::{Authority, Host};
use pinproxy::policy::moment::Circumstances;
use pinproxy::policy::pin::{Pin, Sha256};
use pinproxy::policy::pinset::Demand;
use pinproxy::policy::rules::{Policy, Rule};
use sha2::Digest as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// When a case says nothing else: 2027-01-01T00:00:00Z.
pub(crate) fn new_year() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_798_761_600)
}

/// A moment with an offset from UTC.
pub(crate) fn moment(text: &str) -> SystemTime {
    OffsetDateTime::parse(text, &Rfc3339).unwrap_or_else(|error| panic!("{text}: {error}")).into()
}

/// The configuration of this text.
pub(crate) fn config(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, Path::new("vectors.toml"), new_year()).map(|(config, _)| config)
}

/// The policy of a configuration that has to be accepted.
pub(crate) fn policy(text: &str) -> Policy {
    config(text).unwrap_or_else(|errors| panic!("{text}\n{errors}")).policy(1)
}

/// The codes of the errors in a configuration; none when it is accepted.
pub(crate) fn codes(text: &str) -> Vec<String> {
    let Err(errors) = config(text) else { return Vec::new() };
    let errors = errors.diagnostics().iter().filter(|told| told.severity() == Severity::Error);
    errors.map(|told| told.code().to_string()).collect()
}

/// A target; port 443 where the text names none.
pub(crate) fn authority(text: &str) -> Authority {
    let whole = if text.contains(':') { text.to_owned() } else { format!("{text}:443") };
    Authority::parse(&whole).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The rule for a host and port at a moment.
pub(crate) fn select<'a>(policy: &'a Policy, authority: &Authority, at: SystemTime) -> &'a Arc<Rule> {
    policy.select(authority, at)
}

/// A client on this machine, at a moment.
fn circumstances(at: SystemTime) -> Circumstances {
    Circumstances::new(at, Ipv4Addr::LOCALHOST.into())
}

/// The name that an upstream is asked for at a moment.
pub(crate) fn upstream_name(rule: &Rule, host: &Host, at: SystemTime) -> String {
    rule.upstream_name(host, &circumstances(at)).to_string()
}

/// The verdict at a moment.
pub(crate) fn judge(
    policy: &Policy,
    rule: &Rule,
    at: SystemTime,
    chain: Result<&impl ChainProof, Rejection>,
) -> Decision {
    evaluate(policy, rule, &circumstances(at), chain)
}

/// What a rule demands at a moment, in a word.
pub(crate) fn demand(rule: &Rule, at: SystemTime) -> &'static str {
    match rule.demand(&circumstances(at)) {
        Demand::Chain => "chain",
        Demand::Pins { enforced: true, .. } => "enforced",
        Demand::Pins { enforced: false, .. } => "reported",
        Demand::PinOnly { .. } => "pin-only",
        Demand::Expired => "expired",
    }
}

/// The digest that stands for whatever has this name.
pub(crate) fn digest(name: &str) -> Sha256 {
    sha2::Sha256::digest(name.as_bytes()).into()
}

/// The text of the pin of the key with this name.
pub(crate) fn spki(name: &str) -> String {
    Pin::Spki(digest(name)).to_string()
}
