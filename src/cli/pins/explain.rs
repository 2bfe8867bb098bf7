//! `pinproxy pins explain`.

use super::super::{Exit, Failure};
use super::explain_text::text;
use super::{json, load, moment, now, print};
use crate::policy::explain::Grounds;
use crate::policy::host::Authority;
use crate::policy::pattern::{HostPattern, PatternError, Scope};
use crate::policy::timestamp::Timestamp;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

/// The port of `https`.
const HTTPS: NonZeroU16 = NonZeroU16::new(443).expect("443 is not 0");

/// Tell which rule a host falls under, and what follows from that
///
/// Which rule wins and why, which others match, what the rule accepts, and whether a client is enforced. Looks at the
/// configuration alone and connects to nothing: a rollout goes by its dates here, while a running proxy may have put it
/// on hold at an earlier step.
///
/// Exit codes: 0 as asked; 1 with --expect-enforced when it is not; 2 unusable arguments or configuration; 3 a file
/// cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pinproxy pins explain api.bank.example --config /etc/pinproxy/pinproxy.toml
  pinproxy pins explain api.bank.example:8443 --config pinproxy.toml --client 10.1.2.3
  pinproxy pins explain api.bank.example --config pinproxy.toml --at 2027-02-01T00:00:00Z
  pinproxy pins explain api.bank.example --config pinproxy.toml --expect-enforced")]
pub(super) struct Arguments {
    /// The host, with a port if it is not 443
    #[arg(value_name = "HOST[:PORT]", value_parser = authority)]
    host: Authority,
    /// The configuration file. Without one nothing is pinned, so it must be given
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tell what holds for the client of this address; otherwise, for how many percent of the clients
    #[arg(long, value_name = "ADDR", value_parser = client_address)]
    client: Option<IpAddr>,
    /// Tell what holds at this moment (RFC 3339) instead of now
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// End with exit code 1 unless the host has a pinset that refuses a mismatch to the client, or to all of them;
    /// anchors that exempt their chains (exempts_pins) are told and change nothing about that
    #[arg(long)]
    expect_enforced: bool,
}

pub(super) fn execute(arguments: &Arguments) -> Result<Exit, Failure> {
    let Some(path) = &arguments.config else {
        return Err(Failure::unusable(
            "say which configuration to look into, with --config FILE: without one the proxy pins nothing",
        ));
    };
    let at = arguments.at.unwrap_or_else(now);
    let (config, places) = load(path, at)?;
    let exempting = config.upstream.extra_roots.iter().filter(|extra| extra.exempts_pins);
    let exempting: Vec<_> = exempting.map(|extra| extra.file.display().to_string()).collect();
    let grounds = Grounds {
        policy: &config.policy(1),
        defaults: config.rules.defaults(),
        access: &config.access,
        exempting: &exempting,
        at,
        client: arguments.client,
    };
    let mut explanation = grounds.explain(&arguments.host);
    explanation.edit_texts(|text| *text = places.redacted(text.as_str()));
    print(&if arguments.json { json(&explanation)? } else { text(&explanation) });
    Ok(if arguments.expect_enforced && !explanation.enforced { Exit::NotAsItShouldBe } else { Exit::Done })
}

/// A host as an operator writes it, with or without a port.
fn authority(text: &str) -> Result<Authority, String> {
    const PATTERN: &str = "this is a pattern; name one host";
    match HostPattern::parse(text) {
        Ok(HostPattern { scope: Scope::Exact(host), port }) => Ok(Authority { host, port: port.unwrap_or(HTTPS) }),
        Ok(_) | Err(PatternError::Star | PatternError::NoSuffix | PatternError::WildcardAddress) => Err(PATTERN.into()),
        Err(error) => Err(error.to_string()),
    }
}

fn client_address(text: &str) -> Result<IpAddr, &'static str> {
    text.parse().map_err(|_| "write an IP address without a port, such as 10.1.2.3 or 2001:db8::1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let table = [
            ("", Err("the host is empty")),
            ("https://api.bank.example/", Err("this is a URL; write the host alone, or host:port")),
            ("user@bank.example", Err("this is a URL; write the host alone, or host:port")),
            ("bank.example:", Err("the port is missing; CONNECT takes host:port")),
            ("bank.example:0", Err("the port is not a number from 1 to 65535")),
            ("bank.example:65536", Err("the port is not a number from 1 to 65535")),
            ("bank..example", Err("the host has an empty label (two dots in a row, or a leading dot)")),
            ("2001:db8::1", Err("an IPv6 address is written in brackets, without a zone: [2001:db8::1]")),
            ("127.1", Err("the host ends in a number but is not an IPv4 address of four decimal parts")),
            ("*.bank.example", Err("this is a pattern; name one host")),
            ("**.bank.example", Err("this is a pattern; name one host")),
            ("*", Err("this is a pattern; name one host")),
            ("API.Bank.Example.", Ok("api.bank.example:443")),
            ("api.bank.example:8443", Ok("api.bank.example:8443")),
            ("b\u{fc}cher.example", Ok("xn--bcher-kva.example:443")),
            ("[2001:DB8::1]", Ok("[2001:db8::1]:443")),
            ("192.0.2.1:80", Ok("192.0.2.1:80")),
        ];
        for (text, expected) in table {
            let found = authority(text).map(|authority| format!("{}:{}", authority.host, authority.port));
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text:?}");
        }
    }
}
