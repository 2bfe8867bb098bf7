//! `NO_PROXY`: what programs reach without the proxy. There is no standard for it; what most programs understand is a list of
//! names, which hold for all that is below them as well, and of addresses.

use crate::policy::host::Host;
use crate::policy::pattern::{HostPattern, Scope};
use ipnet::IpNet;
use std::net::IpAddr;

/// What is this machine: never worth a proxy, and out of reach of most.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A list of exceptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exceptions {
    entries: Vec<String>,
    /// Whether some of loopback goes through the proxy.
    loopback_is_proxied: bool,
}

impl Exceptions {
    /// What was excepted before, by a value of `NO_PROXY`, and loopback. Whoever writes a rule for a host of this machine, or
    /// for one below its name, wants it to count, so that what would except the hosts of `rules` is not added.
    pub fn of<'r>(before: &str, rules: impl IntoIterator<Item = &'r HostPattern>) -> Self {
        let separated = before.split([',', ' ', '\t']).map(str::trim).filter(|entry| !entry.is_empty());
        let mut entries: Vec<String> = separated.map(str::to_owned).collect();
        let scopes: Vec<_> = rules.into_iter().map(|pattern| &pattern.scope).collect();
        let mut loopback_is_proxied = false;
        for text in LOOPBACK {
            if scopes.iter().any(|scope| excepts(text, scope)) {
                loopback_is_proxied = true;
            } else if entries.iter().all(|entry| entry != text) {
                entries.push(text.to_owned());
            }
        }
        Self { entries, loopback_is_proxied }
    }

    /// As `NO_PROXY` has it.
    pub fn no_proxy(&self) -> String {
        self.entries.join(",")
    }

    /// As Java's property http.nonProxyHosts has it. Networks, ports and what it cannot express goes through the proxy. Java
    /// adds loopback to every list but the empty one, so the list is empty where some of loopback is to go through it.
    pub fn java(&self) -> String {
        if self.loopback_is_proxied {
            return String::new();
        }
        let patterns = self.entries.iter().filter_map(|entry| {
            let name = entry.trim_start_matches("*.").trim_start_matches('.');
            if let Ok(IpAddr::V6(address)) = name.parse() {
                return Some(format!("[{address}]"));
            }
            // What would be a pattern of another meaning, or would not be taken for a part of the option.
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if name == "*" {
                return Some("*".to_owned());
            }
            if name.is_empty() || !name.chars().all(plain) {
                return None;
            }
            let is_address = name.parse::<IpAddr>().is_ok();
            Some(if is_address { name.to_owned() } else { format!("{name}|*.{name}") })
        });
        patterns.collect::<Vec<_>>().join("|")
    }

    /// The entry by which hosts of a pattern, or some of them, are reached without the proxy.
    pub fn reaching(&self, pattern: &HostPattern) -> Option<&str> {
        self.entries.iter().map(String::as_str).find(|entry| excepts(entry, &pattern.scope))
    }
}

fn excepts(entry: &str, scope: &Scope) -> bool {
    if entry == "*" {
        return true;
    }
    let entry = entry.to_ascii_lowercase();
    if let Scope::Exact(Host::Address(address)) = scope {
        let network = entry.parse::<IpNet>().is_ok_and(|network| network.contains(address));
        return network || entry.parse::<IpAddr>().is_ok_and(|entry| entry == *address);
    }
    let name = match entry.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => name,
        _ => &entry,
    };
    let name = name.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.');
    let is_below = |lower: &str, upper: &str| {
        !upper.is_empty() && lower.strip_suffix(upper).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    match scope {
        Scope::Exact(host) => is_below(&host.to_string(), name),
        Scope::OneLabel(suffix) | Scope::Subtree(suffix) => {
            is_below(suffix.as_str(), name) || is_below(name, suffix.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_excepted() {
        let table: [(&str, &[&str], &str, &str); 12] = [
            ("", &[], "localhost,127.0.0.1,::1", "localhost|*.localhost|127.0.0.1|[::1]"),
            ("localhost, ::1", &[], "localhost,::1,127.0.0.1", "localhost|*.localhost|[::1]|127.0.0.1"),
            (".corp b.example", &["127.0.0.1"], ".corp,b.example,localhost,::1", ""),
            ("", &["localhost", "127.0.0.1", "[::1]"], "", ""),
            // An exception for a name is one for all that is below it.
            ("", &["app.localhost:8443"], "127.0.0.1,::1", ""),
            ("", &["**.localhost"], "127.0.0.1,::1", ""),
            ("", &["localhost.example"], "localhost,127.0.0.1,::1", "localhost|*.localhost|127.0.0.1|[::1]"),
            // What the caller has excepted is excepted, whatever the rules say.
            ("localhost", &["localhost"], "localhost,127.0.0.1,::1", ""),
            (".corp", &[], ".corp,localhost,127.0.0.1,::1", "corp|*.corp|localhost|*.localhost|127.0.0.1|[::1]"),
            (
                "10.0.0.0/8,a:80,a|b",
                &[],
                "10.0.0.0/8,a:80,a|b,localhost,127.0.0.1,::1",
                "localhost|*.localhost|127.0.0.1|[::1]",
            ),
            ("*", &[], "*,localhost,127.0.0.1,::1", "*|localhost|*.localhost|127.0.0.1|[::1]"),
            ("*.corp", &[], "*.corp,localhost,127.0.0.1,::1", "corp|*.corp|localhost|*.localhost|127.0.0.1|[::1]"),
        ];
        for (before, named, no_proxy, java) in table {
            let rules: Vec<_> = named.iter().map(|host| HostPattern::parse(host).unwrap()).collect();
            let exceptions = Exceptions::of(before, &rules);
            assert_eq!(exceptions.no_proxy(), no_proxy, "{before:?} {named:?}");
            assert_eq!(exceptions.java(), java, "{before:?} {named:?}");
        }
    }

    #[test]
    fn pinned_hosts_that_are_excepted() {
        let table = [
            ("api.bank.example", "api.bank.example", true),
            ("bank.example", "api.bank.example", true),
            (".Bank.Example", "api.bank.example", true),
            ("*.bank.example:443", "api.bank.example:443", true),
            ("ank.example", "api.bank.example", false),
            ("api.bank.example", "bank.example", false),
            ("api.bank.example", "*.bank.example", true),
            ("example", "**.bank.example", true),
            ("other.example", "**.bank.example", false),
            ("*", "192.0.2.7", true),
            ("192.0.2.0/24", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.8", "192.0.2.7", false),
            ("2001:db8::/32", "[2001:db8::1]", true),
            (".", "bank.example", false),
        ];
        for (entry, pattern, expected) in table {
            let pattern = HostPattern::parse(pattern).unwrap();
            let loopback = LOOPBACK.map(|host| {
                Scope::Exact(
                    host.parse().map_or_else(|_| Host::parse(host).unwrap(), |address: IpAddr| Host::from(address)),
                )
            });
            let rules = loopback.map(|scope| HostPattern { scope, port: None });
            let exceptions = Exceptions::of(entry, &rules);
            let expected = expected.then_some(entry);
            assert_eq!(exceptions.reaching(&pattern), expected, "{entry} {pattern}");
        }
    }
}
