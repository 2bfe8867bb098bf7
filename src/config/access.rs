//! `[access]`: who may use the proxy, and to go where.

use super::code::Code;
use super::item::{Item, Located};
use super::shape::{ANY, Key, Keys, Shape};
use super::table::Table;
use super::words::{nearest, quoted};
use crate::policy::access::{Access, AddressClass, Deny, Ports};
use crate::policy::host::Host;
use crate::policy::pattern::{HostPattern, Scope};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::ops::RangeInclusive;

pub(super) const ACCESS: Keys = Keys::new(&[
    Key::new(
        "clients",
        Shape::Filled(&Shape::Text(ANY)),
        "Networks or addresses that clients may come from; a listener beyond loopback has no default.",
    )
    .by_default("[\"127.0.0.0/8\", \"::1\"]"),
    Key::new(
        "destinations_deny",
        Shape::List(&Shape::Text(ANY)),
        "Where clients may not go: networks, host patterns, or private, loopback, link-local, metadata.",
    )
    .by_default("[\"private\"]"),
    Key::new(
        "destinations_allow",
        Shape::List(&Shape::Text(ANY)),
        "Networks that open a hole in a denied class, never in a denied network or host.",
    )
    .by_default("[]"),
    Key::new("ports_allow", Shape::Filled(&Shape::Number(&PORTS)), "Ports that may be reached.")
        .by_default("[443, 8443, 80]"),
    Key::planned("users"),
]);

const PORTS: RangeInclusive<u64> = 1..=u16::MAX as u64;

/// Ports of web servers: what may be reached when `[access]` names none.
const DEFAULT_PORTS: [u16; 3] = [443, 8443, 80];

const CLASSES: [AddressClass; 4] =
    [AddressClass::Private, AddressClass::Loopback, AddressClass::LinkLocal, AddressClass::Metadata];

const EVERY_IPV4: IpNet = IpNet::new_assert(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
/// Global unicast (RFC 4291 section 2.4): no other address comes from afar.
const EVERY_IPV6: IpNet = IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0)), 3);

const NETWORK_HELP: &str = "write a network or an address: \"10.0.0.0/8\", \"192.0.2.7\", \"2001:db8::/32\"";

pub(super) fn read_access(root: &Table<'_>, listeners: &[Located<SocketAddr>]) -> Access {
    let table = root.table("access");
    let clients = table.as_ref().and_then(|table| table.item("clients"));
    if clients.is_none() {
        demand_clients(root, listeners);
    }
    let mut access = Access::local();
    let Some(table) = table else { return access };
    if let Some(item) = &clients
        && let Some(networks) = item.some_elements()
    {
        access.clients = networks.iter().filter_map(read_network).collect();
        warn_of_everybody(item, &access.clients, listeners);
    }
    access.deny = match table.item("destinations_deny") {
        Some(item) => item.elements().unwrap_or_default().iter().filter_map(read_deny).collect(),
        None => vec![Deny::Class(AddressClass::Private)],
    };
    if let Some(networks) = table.item("destinations_allow").and_then(|item| item.elements()) {
        access.allow = networks.iter().filter_map(read_network).collect();
    }
    access.ports = Ports::Only(match table.item("ports_allow") {
        Some(item) => item.some_elements().unwrap_or_default().iter().filter_map(read_port).collect(),
        None => DEFAULT_PORTS.into_iter().filter_map(NonZeroU16::new).collect(),
    });
    access
}

/// Those that others can reach.
fn reachable(listeners: &[Located<SocketAddr>]) -> impl Iterator<Item = &Located<SocketAddr>> {
    listeners.iter().filter(|listener| is_reachable(listener.value))
}

fn is_reachable(listener: SocketAddr) -> bool {
    !listener.ip().to_canonical().is_loopback()
}

/// A rule that lets in everybody who gets to a listener is as good as none; written by hand it may be meant.
fn warn_of_everybody(item: &Item<'_>, clients: &Vec<IpNet>, listeners: &[Located<SocketAddr>]) {
    let open = Openness::of(clients);
    let found = listeners.iter().find_map(|listener| Some((listener, open.warning(listener.value)?)));
    if let Some((listener, message)) = found {
        let note = (&listener.span, "others can reach it here");
        item.findings.conflict(Code::W80, &item.span(), message, note, OPEN_HELP);
    }
}

/// What helps with a listener that is open to everybody.
pub const OPEN_HELP: &str = "write the networks of your clients; keep it if a firewall says who gets to the listener";

/// Who is everybody that may come, by the version of addresses.
#[derive(Debug)]
pub struct Openness {
    everybody: Vec<(&'static str, IpNet)>,
}

impl Openness {
    /// Of these clients.
    pub fn of(clients: &Vec<IpNet>) -> Self {
        let whole = [("IPv4", EVERY_IPV4), ("global IPv6", EVERY_IPV6)];
        let joined = IpNet::aggregate(clients);
        let held = whole.into_iter().filter(|(_, all)| joined.iter().any(|network| network.contains(all)));
        Self { everybody: held.collect() }
    }

    /// What is to be told of a listener that everybody can use.
    pub fn warning(&self, listener: SocketAddr) -> Option<String> {
        let mut everybody = self.everybody.iter().filter(|_| is_reachable(listener));
        let (version, _) = everybody.find(|(_, all)| accepts_from(listener.ip(), all))?;
        Some(format!("access.clients lets every {version} address use {listener}"))
    }
}

/// Whether clients of this version get to a listener: those of IPv4 to `[::]`, too.
fn accepts_from(listener: IpAddr, all: &IpNet) -> bool {
    match listener.to_canonical() {
        IpAddr::V4(_) => matches!(all, IpNet::V4(_)),
        IpAddr::V6(address) => matches!(all, IpNet::V6(_)) || address.is_unspecified(),
    }
}

/// A listener that others can reach needs a rule for who may use it.
fn demand_clients(root: &Table<'_>, listeners: &[Located<SocketAddr>]) {
    for listener in reachable(listeners) {
        let message = format!("{} can be reached from other machines, and nothing says who may use it", listener.value);
        let help = "write [access] with clients = [\"10.0.0.0/8\"] (your networks), or listen on 127.0.0.1";
        root.findings.error(Code::E80, &listener.span, message, help);
    }
}

/// A network, or an address as the network that holds it alone.
pub(super) fn read_network(item: &Item<'_>) -> Option<IpNet> {
    let text = item.text()?.value;
    if let Some(network) = parse_network(text) {
        return check_network(item, network);
    }
    let message = match (AddressClass::parse(text), HostPattern::parse(text)) {
        (Some(_), _) => format!("takes networks and addresses, not the class {text:?}"),
        (None, Ok(_)) => format!("takes networks and addresses, not the host {text:?}"),
        (None, Err(_)) => format!("holds {text:?}, which is no network"),
    };
    item.refuse(&message, NETWORK_HELP);
    None
}

pub(super) fn parse_network(text: &str) -> Option<IpNet> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical())).or_else(|_| text.parse()).ok()
}

/// Addresses are compared in canonical form, so a network must be written in it, or it would never match.
fn check_network(item: &Item<'_>, network: IpNet) -> Option<IpNet> {
    if network.trunc() != network {
        let message = format!("holds {network}, an address inside a network");
        item.refuse(&message, &format!("write the network, \"{}\", or the address alone", network.trunc()));
        return None;
    }
    if matches!(network, IpNet::V6(v6) if v6.prefix_len() > 0 && v6.addr().to_ipv4_mapped().is_some()) {
        item.refuse("holds a network of IPv4-mapped addresses", "write it as an IPv4 network");
        return None;
    }
    Some(network)
}

fn read_deny(item: &Item<'_>) -> Option<Deny> {
    let text = item.text()?.value;
    if let Some(class) = AddressClass::parse(text) {
        return Some(Deny::Class(class));
    }
    if let Some(network) = parse_network(text) {
        return check_network(item, network).map(Deny::Network);
    }
    let pattern = match HostPattern::parse(text) {
        Ok(pattern) => pattern,
        Err(_) if text.contains('/') => {
            item.refuse(&format!("holds {text:?}, which is no network"), NETWORK_HELP);
            return None;
        }
        Err(error) => {
            let help = "write a host pattern, a network, or private, loopback, link-local, metadata";
            item.findings.error(Code::E20, &item.span(), format!("{text:?} is no host pattern: {error}"), help);
            return None;
        }
    };
    if let Scope::Exact(Host::Address(_)) = pattern.scope {
        item.refuse("cannot deny one port of an address", "deny the address, without the port");
        return None;
    }
    refuse_misspelt_class(item, text)?;
    Some(Deny::Hosts(pattern))
}

/// A misspelt class would be the pattern of a host that does not exist, and deny nothing.
fn refuse_misspelt_class(item: &Item<'_>, text: &str) -> Option<()> {
    let names = CLASSES.map(AddressClass::as_str);
    if text.contains(['.', ':']) {
        return Some(());
    }
    let Some(class) = nearest(&text.replace('_', "-"), names.into_iter()) else { return Some(()) };
    let message = format!("{} does not know the class {text:?}", item.path);
    let help = format!(
        "did you mean {class:?}? The classes are {}; a host of that name is written {text:?} with a dot at the end",
        quoted(&names)
    );
    item.findings.error(Code::E01, &item.span(), message, help);
    None
}

fn read_port(item: &Item<'_>) -> Option<NonZeroU16> {
    let port = item.number()?;
    u16::try_from(port).ok().and_then(NonZeroU16::new)
}
