//! What a change of the access rules lets through, list by list.

use super::{Aspect, Difference, Direction};
use crate::policy::access::{Access, AddressClass, Deny, Ports, SMTP};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};

/// What is different, a list each, with what it does where nothing else changes.
pub fn access_differences(old: &Access, new: &Access) -> Vec<Difference> {
    let lists = [
        ("clients", clients(old, new), texts(&old.clients), texts(&new.clients)),
        ("destinations_deny", denied(old, new), deny_texts(&old.deny), deny_texts(&new.deny)),
        ("destinations_allow", holes(old, new), texts(&old.allow), texts(&new.allow)),
        ("ports_allow", ports(&old.ports, &new.ports), port_texts(&old.ports), port_texts(&new.ports)),
    ];
    let told = lists.into_iter().filter_map(|(list, direction, old, new)| {
        let without = |one: &[String], other: &[String]| -> Vec<String> {
            one.iter().filter(|entry| !other.contains(entry)).map(|entry| format!("{list} {entry}")).collect()
        };
        Some(Difference::lists(Aspect::Access, direction?, without(&old, &new), without(&new, &old)))
    });
    told.collect()
}

/// From what came and what went, each with what it does.
fn of_all(directions: impl Iterator<Item = Direction>) -> Option<Direction> {
    directions.reduce(|one, other| match (one, other) {
        (Direction::Undecided, _) | (_, Direction::Undecided) => Direction::Undecided,
        (one, other) if one == other => one,
        _ => Direction::Both,
    })
}

fn if_any(is_any: bool, direction: Direction) -> Option<Direction> {
    is_any.then_some(direction)
}

/// Whether one of these is held by none of those, nor by several of them together.
fn is_more(these: &[IpNet], those: &Vec<IpNet>) -> bool {
    let joined = IpNet::aggregate(those);
    these.iter().any(|network| !joined.iter().any(|wider| wider.contains(network)))
}

fn clients(old: &Access, new: &Access) -> Option<Direction> {
    let looser = if_any(is_more(&new.clients, &old.clients), Direction::Looser);
    let stricter = if_any(is_more(&old.clients, &new.clients), Direction::Stricter);
    of_all(looser.into_iter().chain(stricter))
}

fn ports(old: &Ports, new: &Ports) -> Option<Direction> {
    let is_more = |these: &Ports, those: &Ports| match (these, those) {
        (Ports::Only(these), Ports::Only(those)) => these.iter().any(|port| !those.contains(port)),
        (Ports::Only(these), Ports::AllButSmtp) => these.iter().any(|port| port.get() == SMTP),
        (Ports::AllButSmtp, Ports::Only(_)) => true,
        (Ports::AllButSmtp, Ports::AllButSmtp) => false,
    };
    let looser = if_any(is_more(new, old), Direction::Looser);
    let stricter = if_any(is_more(old, new), Direction::Stricter);
    of_all(looser.into_iter().chain(stricter))
}

/// A hole lets through what a class denied.
fn holes(old: &Access, new: &Access) -> Option<Direction> {
    if classes(old).next().is_none() || classes(new).next().is_none() {
        // Nothing was denied that a hole could be in, or nothing is any more.
        return None;
    }
    let came = new.allow.iter().filter(|network| is_more(&[**network], &old.allow));
    let came = came.map(|network| judged_by(network.network(), old, new));
    of_all(came.chain(if_any(is_more(&old.allow, &new.allow), Direction::Stricter)))
}

fn denied(old: &Access, new: &Access) -> Option<Direction> {
    let went = old.deny.iter().filter(|deny| !is_denied(deny, new)).map(|deny| match deny {
        Deny::Hosts(_) => Direction::Looser,
        Deny::Network(network) => judged_by(network.network(), old, new),
        Deny::Class(class) => judged_by(one_of(*class), old, new),
    });
    let is_stricter = new.deny.iter().any(|deny| !is_denied(deny, old));
    of_all(went.chain(if_any(is_stricter, Direction::Stricter)))
}

/// Classes, networks and holes overlap. Where one address is let through that was not, something is; where it is not, others
/// may be.
fn judged_by(address: IpAddr, old: &Access, new: &Access) -> Direction {
    let comes_through = old.check_address(address).is_err() && new.check_address(address).is_ok();
    if comes_through { Direction::Looser } else { Direction::Undecided }
}

/// An address that is of no other class but the wider one.
const fn one_of(class: AddressClass) -> IpAddr {
    IpAddr::V4(match class {
        AddressClass::Private => Ipv4Addr::new(10, 0, 0, 1),
        AddressClass::Loopback => Ipv4Addr::LOCALHOST,
        AddressClass::LinkLocal => Ipv4Addr::new(169, 254, 0, 1),
        AddressClass::Metadata => Ipv4Addr::new(100, 100, 100, 200),
    })
}

/// Whether an entry of the same kind holds all of it.
fn is_denied(deny: &Deny, by: &Access) -> bool {
    match deny {
        Deny::Class(class) => classes(by).any(|wider| wider == *class || wider == AddressClass::Private),
        Deny::Network(network) => !is_more(&[*network], &networks(by).collect()),
        Deny::Hosts(pattern) => {
            let wider = pattern.wider();
            by.deny.iter().any(|deny| matches!(deny, Deny::Hosts(held) if held == pattern || wider.contains(held)))
        }
    }
}

fn classes(access: &Access) -> impl Iterator<Item = AddressClass> {
    access.deny.iter().filter_map(|deny| match deny {
        Deny::Class(class) => Some(*class),
        Deny::Network(_) | Deny::Hosts(_) => None,
    })
}

fn networks(access: &Access) -> impl Iterator<Item = IpNet> {
    access.deny.iter().filter_map(|deny| match deny {
        Deny::Network(network) => Some(*network),
        Deny::Class(_) | Deny::Hosts(_) => None,
    })
}

fn texts(entries: &[IpNet]) -> Vec<String> {
    entries.iter().map(ToString::to_string).collect()
}

fn deny_texts(entries: &[Deny]) -> Vec<String> {
    let text = |deny: &Deny| match deny {
        Deny::Network(network) => network.to_string(),
        Deny::Hosts(pattern) => pattern.to_string(),
        Deny::Class(class) => class.to_string(),
    };
    entries.iter().map(text).collect()
}

fn port_texts(ports: &Ports) -> Vec<String> {
    match ports {
        Ports::Only(ports) => ports.iter().map(ToString::to_string).collect(),
        Ports::AllButSmtp => vec!["all but 25".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::pattern::HostPattern;

    fn networks_of(list: &str) -> Vec<IpNet> {
        list.split_whitespace().map(|text| text.parse().unwrap()).collect()
    }

    /// Clients, denied destinations, holes and ports, with spaces between them; `-` for all ports but 25.
    fn access([clients, deny, allow, ports]: [&str; 4]) -> Access {
        let deny = deny.split_whitespace().map(|text| match (AddressClass::parse(text), text.parse()) {
            (Some(class), _) => Deny::Class(class),
            (None, Ok(network)) => Deny::Network(network),
            (None, Err(_)) => Deny::Hosts(HostPattern::parse(text).unwrap()),
        });
        let ports = match ports {
            "-" => Ports::AllButSmtp,
            ports => Ports::Only(ports.split_whitespace().map(|port| port.parse().unwrap()).collect()),
        };
        Access { clients: networks_of(clients), deny: deny.collect(), allow: networks_of(allow), ports }
    }

    fn told(old: [&str; 4], new: [&str; 4]) -> Vec<String> {
        let tell = |difference: Difference| {
            let lists = [("-", difference.removed), ("+", difference.added)];
            let all =
                lists.into_iter().flat_map(|(sign, list)| list.into_iter().map(move |entry| format!("{sign}{entry}")));
            format!("{:?} {}", difference.direction, all.collect::<Vec<_>>().join(" "))
        };
        access_differences(&access(old), &access(new)).into_iter().map(tell).collect()
    }

    /// Old, new, what it is, and what the way back is.
    type Row<'a> = ([&'a str; 4], [&'a str; 4], &'a [&'a str], &'a [&'a str]);

    #[test]
    fn list_by_list() {
        let table: &[Row<'_>] = &[
            (["10.0.0.0/8", "private", "", "443"], ["10.0.0.0/8", "private", "", "443"], &[], &[]),
            // Only written otherwise.
            (["10.0.0.0/9 10.128.0.0/9", "", "", "443 80"], ["10.0.0.0/8", "", "", "80 443"], &[], &[]),
            (
                ["10.0.0.0/8", "", "", "443"],
                ["10.1.0.0/16", "", "", "443"],
                &["Stricter -clients 10.0.0.0/8 +clients 10.1.0.0/16"],
                &["Looser -clients 10.1.0.0/16 +clients 10.0.0.0/8"],
            ),
            (
                ["10.0.0.0/8", "", "", "443"],
                ["192.168.0.0/16", "", "", "443"],
                &["Both -clients 10.0.0.0/8 +clients 192.168.0.0/16"],
                &["Both -clients 192.168.0.0/16 +clients 10.0.0.0/8"],
            ),
            (["", "", "", "443 80"], ["", "", "", "443"], &["Stricter -ports_allow 80"], &["Looser +ports_allow 80"]),
            (
                ["", "", "", "443"],
                ["", "", "", "-"],
                &["Looser -ports_allow 443 +ports_allow all but 25"],
                &["Stricter -ports_allow all but 25 +ports_allow 443"],
            ),
            (
                ["", "", "", "-"],
                ["", "", "", "25"],
                &["Both -ports_allow all but 25 +ports_allow 25"],
                &["Both -ports_allow 25 +ports_allow all but 25"],
            ),
            // One list wider and one narrower.
            (
                ["10.0.0.0/8", "", "", "443 80"],
                ["0.0.0.0/0", "", "", "443"],
                &["Looser -clients 10.0.0.0/8 +clients 0.0.0.0/0", "Stricter -ports_allow 80"],
                &["Stricter -clients 0.0.0.0/0 +clients 10.0.0.0/8", "Looser +ports_allow 80"],
            ),
            (
                ["", "a.test", "", "443"],
                ["", "", "", "443"],
                &["Looser -destinations_deny a.test"],
                &["Stricter +destinations_deny a.test"],
            ),
            (
                ["", "a.test", "", "443"],
                ["", "**.test", "", "443"],
                &["Stricter -destinations_deny a.test +destinations_deny **.test"],
                &["Looser -destinations_deny **.test +destinations_deny a.test"],
            ),
            // A part of the other one.
            (["", "private loopback", "", "443"], ["", "private", "", "443"], &[], &[]),
            (
                ["", "private", "", "443"],
                ["", "loopback", "", "443"],
                &["Looser -destinations_deny private +destinations_deny loopback"],
                &["Stricter -destinations_deny loopback +destinations_deny private"],
            ),
            (
                ["", "private 9.9.9.0/24", "", "443"],
                ["", "private", "", "443"],
                &["Looser -destinations_deny 9.9.9.0/24"],
                &["Stricter +destinations_deny 9.9.9.0/24"],
            ),
            // What the class holds, too.
            (
                ["", "private 10.0.0.0/8", "", "443"],
                ["", "private", "", "443"],
                &["Undecided -destinations_deny 10.0.0.0/8"],
                &["Stricter +destinations_deny 10.0.0.0/8"],
            ),
            (
                ["", "private", "", "443"],
                ["", "10.0.0.0/8", "", "443"],
                &["Undecided -destinations_deny private +destinations_deny 10.0.0.0/8"],
                &["Undecided -destinations_deny 10.0.0.0/8 +destinations_deny private"],
            ),
            (
                ["", "private", "", "443"],
                ["", "private", "10.0.0.0/8", "443"],
                &["Looser +destinations_allow 10.0.0.0/8"],
                &["Stricter -destinations_allow 10.0.0.0/8"],
            ),
            // No hole in a listed network, and none where nothing is denied.
            (
                ["", "private 10.0.0.0/8", "", "443"],
                ["", "private 10.0.0.0/8", "10.1.0.0/16", "443"],
                &["Undecided +destinations_allow 10.1.0.0/16"],
                &["Stricter -destinations_allow 10.1.0.0/16"],
            ),
            (["", "10.0.0.0/8", "", "443"], ["", "10.0.0.0/8", "10.1.0.0/16", "443"], &[], &[]),
        ];
        for (old, new, there, back) in table {
            assert_eq!((told(*old, *new), told(*new, *old)), (to_texts(there), to_texts(back)), "{old:?} {new:?}");
        }
    }

    fn to_texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }
}
