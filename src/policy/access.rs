//! Who may use the proxy, and to go where. A listed deny always wins; then an explicit allow of an address; then the
//! denied classes.

use super::host::Authority;
use super::pattern::HostPattern;
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

/// A class of addresses that an operator denies by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// Everything that is not globally reachable (the IANA special-purpose registries): the three below, RFC 1918,
    /// shared (RFC 6598), unique local, site-local, multicast, broadcast, benchmarking, documentation and reserved
    /// addresses.
    Private,
    /// 127.0.0.0/8, ::1, and the unspecified addresses, which reach the local host too.
    Loopback,
    /// 169.254.0.0/16 and fe80::/10.
    LinkLocal,
    /// Where clouds serve credentials to whoever asks.
    Metadata,
}

/// Metadata services of clouds: AWS, Azure, GCP, Oracle and others (v4 and v6), Alibaba, Azure's wire server, and the
/// ECS task endpoint.
const METADATA: &[IpAddr] = &[
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

impl AddressClass {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata",
        }
    }

    /// Parses the name in the configuration.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Private, Self::Loopback, Self::LinkLocal, Self::Metadata]
            .into_iter()
            .find(|class| class.as_str() == text)
    }

    /// Whether the address, or an IPv4 address embedded in it, is of this class.
    pub fn holds(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.holds_plain(address)
            || matches!(address, IpAddr::V6(v6) if embedded_v4(v6).any(|v4| self.holds_plain(IpAddr::V4(v4))))
    }

    fn holds_plain(self, address: IpAddr) -> bool {
        match self {
            Self::Loopback => address.is_loopback() || address.is_unspecified() || in_zero_net(address),
            Self::LinkLocal => match address {
                IpAddr::V4(v4) => v4.is_link_local(),
                IpAddr::V6(v6) => v6.is_unicast_link_local(),
            },
            Self::Metadata => METADATA.contains(&address),
            Self::Private => {
                [Self::Loopback, Self::LinkLocal, Self::Metadata].iter().any(|class| class.holds_plain(address))
                    || match address {
                        IpAddr::V4(v4) => is_special_v4(v4),
                        IpAddr::V6(v6) => is_special_v6(v6),
                    }
            }
        }
    }
}

/// 0.0.0.0/8 is "this network" (RFC 1122); Linux connects 0.0.0.0 to the local host.
fn in_zero_net(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 0)
}

fn is_special_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || (a == 100 && (64..128).contains(&b)) // RFC 6598, carrier-grade NAT
        || (a == 198 && (18..20).contains(&b)) // RFC 2544, benchmarking
        || (a, b, c) == (192, 0, 0) // RFC 6890, protocol assignments
        || (a, b, c) == (192, 88, 99) // RFC 7526, 6to4 relays, withdrawn
        || address.is_documentation()
        || address.is_multicast()
        || a >= 240 // reserved, and broadcast
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    address.is_unique_local()
        || address.is_multicast()
        || (segments[0] & 0xffc0) == 0xfec0 // site-local, deprecated, still routed inside some networks
        || (segments[0], segments[1]) == (0x2001, 0xdb8) // documentation
        || (segments[0] == 0x3fff && segments[1] < 0x1000) // RFC 9637, documentation
        || (segments[0], segments[1], segments[2]) == (0x2001, 2, 0) // RFC 5180, benchmarking
        || (segments[0] == 0x2001 && (segments[1] & 0xfff0) == 0x10) // RFC 4843, ORCHID
        || segments[0] == 0x5f00 // RFC 9602, segment routing
        || (segments[0], segments[1..4].iter().all(|s| *s == 0)) == (0x100, true) // RFC 6666, discard
}

/// The IPv4 addresses that an IPv6 address stands for: translation (NAT64, RFC 6052 and RFC 8215), 6to4 (RFC 3056),
/// Teredo (RFC 4380, its server and its inverted client), ISATAP (RFC 5214), IPv4-translated (RFC 2765),
/// IPv4-compatible.
fn embedded_v4(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let octets = address.octets();
    let segments = address.segments();
    let at = |from: usize| Ipv4Addr::new(octets[from], octets[from + 1], octets[from + 2], octets[from + 3]);
    let inverted = |from: usize| Ipv4Addr::from(!u32::from(at(from)));
    let well_known_nat64 = segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    // 64:ff9b:1::/48 leaves the prefix length to the operator: the forms of RFC 6052 section 2.2 for /48, /56, /64, /96.
    let local_nat64 = segments[..3] == [0x64, 0xff9b, 1];
    let split = |a: usize, b: usize, c: usize, d: usize| Ipv4Addr::new(octets[a], octets[b], octets[c], octets[d]);
    let compatible = segments[..6] == [0; 6];
    let translated = segments[..6] == [0, 0, 0, 0, 0xffff, 0];
    let teredo = segments[..2] == [0x2001, 0];
    let isatap = matches!(segments[4..6], [0 | 0x200, 0x5efe]);
    [
        (well_known_nat64 || local_nat64 || compatible || translated || isatap).then(|| at(12)),
        local_nat64.then(|| split(6, 7, 9, 10)),
        local_nat64.then(|| split(7, 9, 10, 11)),
        local_nat64.then(|| split(9, 10, 11, 12)),
        (segments[0] == 0x2002).then(|| at(2)),
        teredo.then(|| at(4)),
        teredo.then(|| inverted(12)),
    ]
    .into_iter()
    .flatten()
}

/// An address, and the IPv4 addresses that translators on the way may take it to.
pub fn ends_of(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let address = address.to_canonical();
    let embedded = match address {
        IpAddr::V6(v6) => Some(embedded_v4(v6).map(IpAddr::V4)),
        IpAddr::V4(_) => None,
    };
    std::iter::once(address).chain(embedded.into_iter().flatten())
}

/// A listed deny.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deny {
    /// Addresses of a network.
    Network(IpNet),
    /// Hosts by name.
    Hosts(HostPattern),
    /// Addresses of a class.
    Class(AddressClass),
}

/// Which ports may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// These.
    Only(Vec<NonZeroU16>),
    /// All but 25: a proxy for web clients that relays mail is an open relay.
    AllButSmtp,
}

/// The access rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Networks that clients may come from.
    pub clients: Vec<IpNet>,
    /// Listed denies.
    pub deny: Vec<Deny>,
    /// Networks that are allowed although a denied class holds them.
    pub allow: Vec<IpNet>,
    /// Ports that may be reached.
    pub ports: Ports,
}

/// Why access is denied. The texts are shown to clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The client's address is in none of the networks.
    #[error("clients from {0} may not use this proxy ([access] clients)")]
    Client(IpAddr),
    /// The port is not among the allowed ones.
    #[error("port {0} may not be reached through this proxy ([access] ports_allow)")]
    Port(NonZeroU16),
    /// The host is denied by name.
    #[error("destination {0} may not be reached through this proxy ([access] destinations_deny lists {1})")]
    Host(Authority, HostPattern),
    /// 0.0.0.0 and the like are no destinations: the system connects them to itself, past every rule for 127.0.0.1.
    #[error("address {0} stands for this machine, not for a destination")]
    Unspecified(IpAddr),
    /// It leads back to this process. No rule opens that to clients.
    #[error("destination {asked} is {door}, which no client reaches through it, whatever the rules say")]
    Door {
        /// As the client has asked for it.
        asked: Authority,
        /// Where it leads.
        door: Door,
    },
    /// There are rules about addresses, and what this one's is nobody here knows.
    #[error(
        "nobody here knows the address of {0}, which a parent proxy has looked up, and [access] has rules about addresses"
    )]
    Unknown(Authority),
    /// Every address of the host is denied.
    #[error("address {address} may not be reached through this proxy ([access] destinations_deny lists {rule})")]
    Address {
        /// The address.
        address: IpAddr,
        /// The entry that denies it.
        rule: String,
    },
}

/// What of this process listens at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Where it tells operators about itself.
    Admin,
    /// Where it takes clients.
    Proxy,
}

/// As it is told to clients.
impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admin => "the admin address of this proxy",
            Self::Proxy => "the proxy itself",
        })
    }
}

/// No port for clients of the web.
pub(super) const SMTP: u16 = 25;

impl Access {
    /// What a listener on loopback without `[access]` allows: local clients, every destination, every port but 25.
    pub fn local() -> Self {
        let loopback_v4 = IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8);
        let loopback_v6 = IpNet::new_assert(IpAddr::V6(Ipv6Addr::LOCALHOST), 128);
        Self { clients: vec![loopback_v4, loopback_v6], deny: Vec::new(), allow: Vec::new(), ports: Ports::AllButSmtp }
    }

    /// Whether a client may use the proxy.
    pub fn check_client(&self, address: IpAddr) -> Result<(), AccessError> {
        let address = address.to_canonical();
        let known = self.clients.iter().any(|network| network.contains(&address));
        if known { Ok(()) } else { Err(AccessError::Client(address)) }
    }

    /// Whether a port may be reached.
    pub fn allows_port(&self, port: NonZeroU16) -> bool {
        match &self.ports {
            Ports::Only(ports) => ports.contains(&port),
            Ports::AllButSmtp => port.get() != SMTP,
        }
    }

    /// Whether a host and port may be asked for. The addresses behind the host are judged by
    /// [`Access::check_address`], on the one that is dialled.
    pub fn check_target(&self, target: &Authority) -> Result<(), AccessError> {
        if !self.allows_port(target.port) {
            return Err(AccessError::Port(target.port));
        }
        let denied = self.deny.iter().find_map(|deny| match deny {
            Deny::Hosts(pattern) if pattern.matches(target) => Some(pattern),
            _ => None,
        });
        denied.map_or(Ok(()), |pattern| Err(AccessError::Host(target.clone(), pattern.clone())))
    }

    /// Whether there is a rule about addresses: a network or a class that is denied.
    pub fn judges_addresses(&self) -> bool {
        self.deny.iter().any(|deny| matches!(deny, Deny::Network(_) | Deny::Class(_)))
    }

    /// Whether a host may be reached whose address is not known.
    pub fn check_unknown_address(&self, asked: &Authority) -> Result<(), AccessError> {
        if self.judges_addresses() { Err(AccessError::Unknown(asked.clone())) } else { Ok(()) }
    }

    /// Whether an address may be dialled. IPv4 addresses embedded in IPv6 ones count as themselves too.
    pub fn check_address(&self, address: IpAddr) -> Result<(), AccessError> {
        let address = address.to_canonical();
        let refuse = |rule: String| Err(AccessError::Address { address, rule });
        if address.is_unspecified() {
            return Err(AccessError::Unspecified(address));
        }
        let listed = self.deny.iter().find_map(|deny| match deny {
            Deny::Network(network) if network_holds(network, address) => Some(network),
            _ => None,
        });
        if let Some(network) = listed {
            return refuse(network.to_string());
        }
        if self.allow.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        let class = self.deny.iter().find_map(|deny| match deny {
            Deny::Class(class) if class.holds(address) => Some(*class),
            _ => None,
        });
        class.map_or(Ok(()), |class| refuse(class.as_str().to_owned()))
    }
}

fn network_holds(network: &IpNet, address: IpAddr) -> bool {
    network.contains(&address)
        || matches!(address, IpAddr::V6(v6) if embedded_v4(v6).any(|v4| network.contains(&IpAddr::V4(v4))))
}

/// As in the configuration.
impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(deny: &[&str], allow: &[&str]) -> Access {
        let deny = deny
            .iter()
            .map(|text| match (AddressClass::parse(text), text.parse()) {
                (Some(class), _) => Deny::Class(class),
                (None, Ok(network)) => Deny::Network(network),
                (None, Err(_)) => Deny::Hosts(HostPattern::parse(text).unwrap()),
            })
            .collect();
        let allow = allow.iter().map(|text| text.parse().unwrap()).collect();
        Access { deny, allow, ports: Ports::Only(vec![NonZeroU16::new(443).unwrap()]), ..Access::local() }
    }

    #[test]
    fn denied_addresses() {
        let table: &[(&str, &str)] = &[
            ("private", "10.1.2.3"),
            ("private", "172.31.255.255"),
            ("private", "192.168.0.1"),
            ("private", "100.64.0.1"),
            ("private", "127.0.0.1"),
            ("private", "0.1.2.3"),
            ("private", "169.254.169.254"),
            ("private", "168.63.129.16"),
            ("private", "198.18.0.1"),
            ("private", "224.0.0.1"),
            ("private", "255.255.255.255"),
            ("private", "::1"),
            ("private", "fe80::1"),
            ("private", "fec0::1"),
            ("private", "fd12::1"),
            ("private", "ff02::1"),
            ("private", "::ffff:10.0.0.1"),
            ("private", "::10.0.0.1"),
            ("private", "::ffff:0:10.0.0.1"),
            ("private", "192.88.99.1"),
            ("private", "64:ff9b::10.0.0.1"),
            ("private", "64:ff9b:1::10.0.0.1"),
            ("private", "64:ff9b:1:a00:0:100::"),
            ("private", "64:ff9b:1:0a:0:1::"),
            ("private", "64:ff9b:1:0:a:0:100:0"),
            ("private", "3fff:fff::1"),
            ("private", "2001:2::1"),
            ("private", "2001:10::1"),
            ("private", "2002:a00:1::1"),
            ("private", "2001:0:a00:1::"),
            ("private", "2001:0:1:2:3:4:f5ff:fffe"),
            ("private", "2001:db8:1:2:0:5efe:10.0.0.1"),
            ("loopback", "127.255.255.254"),
            ("loopback", "64:ff9b::127.0.0.1"),
            ("loopback", "::ffff:0:127.0.0.1"),
            ("link-local", "169.254.0.1"),
            ("link-local", "fe80::a9fe:a9fe"),
            ("metadata", "fd00:ec2::254"),
            ("metadata", "100.100.100.200"),
            ("metadata", "::ffff:169.254.169.254"),
            ("203.0.113.0/24", "203.0.113.9"),
            ("203.0.113.0/24", "64:ff9b::203.0.113.9"),
            ("2001:db8::/32", "2001:db8::1"),
        ];
        for (deny, address) in table {
            let refused = access(&[deny], &[]).check_address(address.parse().unwrap());
            assert!(matches!(refused, Err(AccessError::Address { .. })), "{deny} must hold {address}: {refused:?}");
        }
    }

    #[test]
    fn unspecified_addresses_are_no_destination_under_any_rules() {
        for rules in [Access::local(), access(&[], &["0.0.0.0/0", "::/0"]), access(&["127.0.0.0/8", "::1/128"], &[])] {
            for address in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
                let refused = rules.check_address(address.parse().unwrap());
                assert!(matches!(refused, Err(AccessError::Unspecified(_))), "{address}: {refused:?}");
            }
        }
    }

    #[test]
    fn public_addresses_pass() {
        let all = access(&["private", "loopback", "link-local", "metadata"], &[]);
        for address in
            ["192.0.1.1", "172.32.0.1", "100.128.0.1", "8.8.8.8", "2600::1", "64:ff9b::8.8.8.8", "2002:808:808::1"]
        {
            assert_eq!(all.check_address(address.parse().unwrap()), Ok(()), "{address}");
        }
    }

    #[test]
    fn an_allow_beats_a_class_and_never_a_listed_deny() {
        let rules = access(&["private", "10.2.0.0/16"], &["10.0.0.0/8"]);
        assert_eq!(rules.check_address("10.1.0.1".parse().unwrap()), Ok(()));
        assert!(rules.check_address("10.2.0.1".parse().unwrap()).is_err());
        assert!(rules.check_address("192.168.0.1".parse().unwrap()).is_err());
        assert!(rules.check_address("64:ff9b::10.1.0.1".parse().unwrap()).is_err(), "an allow is not translated");
    }

    #[test]
    fn targets_and_clients() {
        let rules = access(&["**.evil.example", "good.example:443"], &[]);
        let target = |text: &str| rules.check_target(&Authority::parse(text).unwrap());
        assert!(matches!(target("bank.example:22"), Err(AccessError::Port(_))));
        assert!(matches!(target("a.b.EVIL.example.:443"), Err(AccessError::Host(..))));
        assert!(matches!(target("good.example:443"), Err(AccessError::Host(..))));
        assert_eq!(target("bank.example:443"), Ok(()));
        let local = Access::local();
        assert!(matches!(local.check_target(&Authority::parse("mx.example:25").unwrap()), Err(AccessError::Port(_))));
        assert_eq!(local.check_target(&Authority::parse("a.example:24").unwrap()), Ok(()));
        assert!(local.check_client("192.0.2.1".parse().unwrap()).is_err());
        assert_eq!(local.check_client("::ffff:127.0.0.1".parse().unwrap()), Ok(()));
        assert_eq!(local.check_client("::1".parse().unwrap()), Ok(()));
    }
}
