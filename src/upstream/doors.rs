//! Where this process tells operators about itself. Clients of the proxy do not get there through it, whatever the rules
//! say: who is let in at such an address is decided by where the question comes from, and through the proxy every question
//! would come from this machine.

use crate::policy::access::{AccessError, ends_of};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Addresses that are never dialled for a client.
#[derive(Debug, Default)]
pub struct Doors(Vec<SocketAddr>);

impl Doors {
    /// At the addresses of listeners; an unspecified one stands for every address of this machine.
    pub fn at(listeners: impl IntoIterator<Item = SocketAddr>) -> Self {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Self(listeners.into_iter().map(canonical).collect())
    }

    /// Whether an address may be dialled for a client.
    ///
    /// # Errors
    /// When it is one of these.
    pub fn check(&self, dialled: SocketAddr) -> Result<(), AccessError> {
        let leads =
            |door: &SocketAddr| door.port() == dialled.port() && ends_of(dialled.ip()).any(|end| is_at(*door, end));
        if self.0.iter().any(leads) { Err(AccessError::Door(dialled)) } else { Ok(()) }
    }
}

fn is_at(door: SocketAddr, dialled: IpAddr) -> bool {
    door.ip() == dialled || dialled.is_unspecified() || (door.ip().is_unspecified() && is_of_this_machine(dialled))
}

/// The system knows its addresses, and they come and go: a socket can be bound to those that it has. Nothing is sent. Where
/// it does not say, the answer is yes.
fn is_of_this_machine(address: IpAddr) -> bool {
    let bound = UdpSocket::bind((address, 0));
    !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(door: &str, dialled: &str) -> bool {
        let doors = Doors::at([door.parse().unwrap()]);
        let refused = doors.check(dialled.parse().unwrap());
        assert!(refused.is_ok() || refused == Err(AccessError::Door(dialled.parse().unwrap())));
        refused.is_err()
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
        assert_eq!(Doors::default().check("127.0.0.1:9090".parse().unwrap()), Ok(()));
    }
}
