//! Where this process listens. Clients of the proxy do not get there through it, whatever the rules say. Who is let in where it
//! tells operators about itself is decided by where the question comes from, and through the proxy every question would come
//! from this machine. And a proxy that is its own upstream makes many sessions of one, all of them this machine's.

use crate::policy::access::{AccessError, Door, ends_of};
use crate::policy::host::Authority;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Addresses that are never dialled for a client.
#[derive(Debug, Default)]
pub struct Doors(Vec<(Door, SocketAddr)>);

impl Doors {
    /// With these of one kind, too; an unspecified address stands for every one of this machine.
    #[must_use]
    pub fn and(mut self, kind: Door, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.0.extend(addresses.into_iter().map(|address| (kind, canonical(address))));
        self
    }

    /// Whether one of them has this port.
    pub fn have_port(&self, port: u16) -> bool {
        self.0.iter().any(|(_, door)| door.port() == port)
    }

    /// Whether an address may be dialled for a client, who has asked for this.
    ///
    /// # Errors
    /// When it is one of these.
    pub fn check(&self, dialled: SocketAddr, asked: &Authority) -> Result<(), AccessError> {
        let leads = |(_, door): &&(Door, SocketAddr)| {
            door.port() == dialled.port() && ends_of(dialled.ip()).any(|end| is_at(*door, end))
        };
        match self.0.iter().find(leads) {
            Some((door, _)) => Err(AccessError::Door { asked: asked.clone(), door: *door }),
            None => Ok(()),
        }
    }
}

/// An IPv4 address within an IPv6 one as what it is.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn is_at(door: SocketAddr, dialled: IpAddr) -> bool {
    door.ip() == dialled || dialled.is_unspecified() || (door.ip().is_unspecified() && is_of_this_machine(dialled))
}

/// The system knows its addresses, and they come and go: a socket can be bound to those that it has. Nothing is sent. Where
/// it does not say, the answer is yes.
pub fn is_of_this_machine(address: IpAddr) -> bool {
    let bound = UdpSocket::bind((address, 0));
    !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same for both kinds, and it is told what was asked for.
    fn refused(door: &str, dialled: &str) -> bool {
        let asked = Authority::parse("name.example:9090").unwrap();
        let [admin, proxy] = [Door::Admin, Door::Proxy].map(|kind| {
            let elsewhere = if kind == Door::Admin { Door::Proxy } else { Door::Admin };
            let doors = Doors::default().and(elsewhere, ["192.0.2.99:1".parse().unwrap()]);
            let doors = doors.and(kind, [door.parse().unwrap()]);
            let refused = doors.check(dialled.parse().unwrap(), &asked);
            assert!(refused.is_ok() || refused == Err(AccessError::Door { asked: asked.clone(), door: kind }));
            refused.is_err()
        });
        assert_eq!(admin, proxy);
        admin
    }

    #[test]
    fn what_leads_to_a_door_is_refused() {
        let table = [
            ("127.0.0.1:9090", "127.0.0.1:9090"),
            ("127.0.0.1:9090", "[::ffff:127.0.0.1]:9090"),
            ("127.0.0.1:9090", "[64:ff9b::7f00:1]:9090"),
            ("127.0.0.1:9090", "[::127.0.0.1]:9090"),
            ("127.0.0.1:9090", "0.0.0.0:9090"),
            ("127.0.0.1:9090", "[::]:9090"),
            ("[::ffff:127.0.0.1]:9090", "127.0.0.1:9090"),
            ("[::1]:9090", "[::1]:9090"),
            ("[::1]:9090", "0.0.0.0:9090"),
            ("192.0.2.7:9090", "192.0.2.7:9090"),
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("0.0.0.0:9090", "127.255.1.2:9090"),
            ("0.0.0.0:9090", "[::ffff:127.0.0.1]:9090"),
            ("[::]:9090", "127.0.0.1:9090"),
            ("[::]:9090", "0.0.0.0:9090"),
        ];
        for (door, dialled) in table {
            assert!(refused(door, dialled), "{dialled} leads to {door}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        let table = [
            ("127.0.0.1:9090", "127.0.0.1:9091"),
            ("127.0.0.1:9090", "127.0.0.2:9090"),
            ("127.0.0.1:9090", "192.0.2.7:9090"),
            ("0.0.0.0:9090", "127.0.0.1:443"),
            // For documentation: no machine has it.
            ("0.0.0.0:9090", "192.0.2.7:9090"),
            ("[::]:9090", "198.51.100.7:9090"),
        ];
        for (door, dialled) in table {
            assert!(!refused(door, dialled), "{dialled} does not lead to {door}");
        }
        let asked = Authority::parse("127.0.0.1:9090").unwrap();
        assert_eq!(Doors::default().check("127.0.0.1:9090".parse().unwrap(), &asked), Ok(()));
    }
}
