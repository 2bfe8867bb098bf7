//! What is told at the start.

use crate::authority::{CertificateAuthority, NEXT_CERTIFICATE_FILE, Provenance};
use crate::config::{Config, Listener, ListenerKind};
use crate::policy::moment::Moment;
use crate::policy::protection::Protection;
use crate::policy::timestamp::Timestamp;
use crate::trust::stores::quoted;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

/// What is told at the start: where, which CA, and what to paste.
pub(super) fn greeting(
    config: &Config,
    authority: &CertificateAuthority,
    provenance: Provenance,
    listeners: &[Listener],
    told_at: Option<&str>,
) -> String {
    let mut text = format!("pinproxy {}\n", env!("CARGO_PKG_VERSION"));
    for listener in listeners {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  listening   {}{}", listener.address, manner(listener));
    }
    if let Some(url) = told_at {
        let _ = writeln!(text, "  admin       {url}");
    }
    let ca = authority.certificate_path();
    let ca = std::path::absolute(ca).unwrap_or_else(|_| ca.to_owned());
    let made = if provenance == Provenance::Created { " (made now)" } else { "" };
    let _ = writeln!(text, "  CA          {}{made}", ca.display());
    let _ = writeln!(text, "  CA SHA-256  {}", authority.fingerprint_sha256());
    if let Some(other) = authority.standing(Moment::at(SystemTime::now())).rotation {
        let state = if other.has_taken_over { "signs since" } else { "signs from" };
        let next = ca.with_file_name(NEXT_CERTIFICATE_FILE);
        let _ = writeln!(text, "  next CA     {}, {state} {}", next.display(), Timestamp(other.from));
    }
    let _ = writeln!(text, "  pinsets     {}", pinsets(config, SystemTime::now()));
    if let Some(listener) = listeners.iter().find(|listener| listener.kind == ListenerKind::Forward) {
        let _ = writeln!(text, "Paste this into a shell to send its programs through the proxy:");
        let _ = writeln!(text, "  {}", paste(listener, &ca));
    }
    text
}

/// What clients speak there, where it is not CONNECT in the clear.
fn manner(listener: &Listener) -> String {
    match (listener.kind, &listener.tls) {
        (ListenerKind::Forward, None) => String::new(),
        (ListenerKind::Forward, Some(_)) => " (by TLS)".to_owned(),
        (kind, None) => format!(" ({})", kind.as_str()),
        (kind, Some(_)) => format!(" ({} by TLS)", kind.as_str()),
    }
}

/// A rollout that has not come to every client is told apart: for whom it enforces depends on who asks.
fn pinsets(config: &Config, now: SystemTime) -> String {
    let policy = config.policy(1);
    let pinned = policy.rules().iter().filter(|rule| rule.pinset().is_some());
    let protections: Vec<_> = pinned.map(|rule| Protection::of(rule, Moment::at(now))).collect();
    let enforced = protections.iter().filter(|protection| protection.is_enforced()).count();
    let partly = protections.iter().filter(|protection| matches!(protection, Protection::Partly(_))).count();
    match (protections.len(), partly) {
        (0, _) => "none: chains are verified, nothing is pinned; see config/pinproxy.toml".to_owned(),
        (count, 0) => format!("{count}, {enforced} of them enforced"),
        (count, _) => format!("{count}, {enforced} of them enforced, {partly} for some clients"),
    }
}

/// Variables that most clients on a Unix read: the proxy, and the CA in place of their own roots, which is right as
/// long as every https connection of theirs goes through the proxy.
fn paste(listener: &Listener, ca: &Path) -> String {
    let address = listener.address;
    let scheme = if listener.tls.is_some() { "https" } else { "http" };
    let reachable = if address.ip().is_unspecified() {
        SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port())
    } else {
        address
    };
    let ca = quoted(&ca.display().to_string());
    let variables = ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO"];
    let bundles = variables.map(|name| format!("{name}={ca}")).join(" ");
    format!("export https_proxy={scheme}://{reachable} HTTPS_PROXY={scheme}://{reachable} {bundles}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_much_is_enforced() {
        let pinset = |name: &str, more: &str| {
            format!(
                "[[pinset]]\nname = \"{name}\"\nhosts = [\"{name}.example\"]\n\
                 pins = [\"sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=\", \
                 \"sha256/diGVwiVYbubAI3RW4hB9xU8e/CH2GnkuvVFZE8zmgzI=\"]\n{more}"
            )
        };
        let rollout = |percent: &str| {
            let ramp = format!("ramp = [{{ from = 1980-01-01, percent = {percent} }}]\nenforce_from = 2999-01-01\n");
            pinset("c", &format!("mode = \"report-only\"\n[pinset.rollout]\n{ramp}"))
        };
        let (enforced, reported) = (pinset("a", ""), pinset("b", "mode = \"report-only\"\n"));
        let table = [
            (String::new(), "none: chains are verified, nothing is pinned; see config/pinproxy.toml"),
            (format!("{enforced}{reported}"), "2, 1 of them enforced"),
            // Whatever the lot of a client on this machine.
            (format!("{enforced}{reported}{}", rollout("0.01")), "3, 1 of them enforced, 1 for some clients"),
            (format!("{enforced}{reported}{}", rollout("99.99")), "3, 1 of them enforced, 1 for some clients"),
        ];
        for (text, expected) in table {
            let parsed = Config::parse(&text, Path::new("test.toml"), SystemTime::now());
            let (config, _) = parsed.unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(pinsets(&config, SystemTime::now()), expected, "{text}");
        }
    }
}
