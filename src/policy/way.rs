//! Which way out an upstream is reached by: through the parent proxy or past it, and from which of our addresses.

use super::host::{Authority, Host};
use super::pattern::HostPattern;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Upstreams that are reached past the parent proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exception {
    /// Hosts as they are asked for.
    Hosts(HostPattern),
    /// Addresses that are asked for as such. A name is not looked up for this.
    Network(IpNet),
}

impl Exception {
    /// Whether it is for this host and port.
    pub fn holds(&self, target: &Authority) -> bool {
        match (self, &target.host) {
            (Self::Hosts(pattern), _) => pattern.matches(target),
            (Self::Network(network), Host::Address(address)) => network.contains(&address.to_canonical()),
            (Self::Network(_), Host::Name(_)) => false,
        }
    }
}

/// The addresses of ours that connections go out from. With none, the system chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Towards IPv4 addresses.
    pub v4: Option<Ipv4Addr>,
    /// Towards IPv6 addresses.
    pub v6: Option<Ipv6Addr>,
}

/// Where a connection goes out from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From where the system chooses.
    Any,
    /// From this address.
    Fixed(IpAddr),
    /// From nowhere: there is an address for the other family alone, and the system's choice would not be it.
    None,
}

impl Sources {
    /// With this one for its family. Gives the one that was there.
    pub const fn set(&mut self, address: IpAddr) -> Option<IpAddr> {
        match address {
            IpAddr::V4(v4) => match self.v4.replace(v4) {
                Some(first) => Some(IpAddr::V4(first)),
                None => None,
            },
            IpAddr::V6(v6) => match self.v6.replace(v6) {
                Some(first) => Some(IpAddr::V6(first)),
                None => None,
            },
        }
    }

    /// Where a connection to this address goes out from.
    pub fn towards(&self, address: IpAddr) -> Source {
        let own = match address {
            IpAddr::V4(_) => self.v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.v6.map(IpAddr::V6),
        };
        match own {
            Some(own) => Source::Fixed(own),
            None if *self == Self::default() => Source::Any,
            None => Source::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_excepted() {
        let hosts = |text: &str| Exception::Hosts(HostPattern::parse(text).unwrap());
        let network = |text: &str| Exception::Network(text.parse().unwrap());
        let table = [
            (hosts("*.corp.example"), "a.corp.example:443", true),
            (hosts("*.corp.example"), "corp.example:443", false),
            (hosts("*.corp.example"), "a.b.corp.example:443", false),
            (hosts("**.corp.example"), "corp.example:443", true),
            (hosts("a.example:8443"), "a.example:443", false),
            (hosts("10.1.2.3"), "10.1.2.3:443", true),
            (network("10.0.0.0/8"), "10.1.2.3:443", true),
            (network("10.0.0.0/8"), "[::ffff:10.1.2.3]:443", true),
            (network("10.0.0.0/8"), "11.1.2.3:443", false),
            (network("0.0.0.0/0"), "a.example:443", false),
            (network("2001:db8::/32"), "[2001:db8::1]:443", true),
        ];
        for (exception, target, expected) in table {
            assert_eq!(exception.holds(&Authority::parse(target).unwrap()), expected, "{exception:?} {target}");
        }
    }

    #[test]
    fn where_connections_go_out_from() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let of = |texts: &[&str]| {
            let mut sources = Sources::default();
            for text in texts {
                assert_eq!(sources.set(address(text)), None);
            }
            sources
        };
        let (v4, v6) = (address("192.0.2.7"), address("2001:db8::7"));
        let table = [
            (of(&[]), Source::Any, Source::Any),
            (of(&["192.0.2.7"]), Source::Fixed(v4), Source::None),
            (of(&["2001:db8::7"]), Source::None, Source::Fixed(v6)),
            (of(&["2001:db8::7", "192.0.2.7"]), Source::Fixed(v4), Source::Fixed(v6)),
        ];
        for (mut sources, to_v4, to_v6) in table {
            assert_eq!((sources.towards(address("1.1.1.1")), sources.towards(address("2600::1"))), (to_v4, to_v6));
            let before = sources.v4.map(IpAddr::V4);
            assert_eq!(sources.set(address("198.51.100.1")), before);
        }
    }
}
