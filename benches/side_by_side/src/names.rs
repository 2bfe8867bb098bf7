//! The names below bench.test: which origin each stands for, and a DNS server that says so.
//!
//! A line in a hosts file for each of thousands of names would be searched from the top for every look-up, and the
//! measurement would be one of that search.

use crate::Result;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::UdpSocket;

/// Where the DNS server answers. The namespace is private, so the port is free.
pub(crate) const DNS_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);

/// What the names begin with that have a certificate of their own.
const OWN: &str = "own";

/// What kind of key an origin has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// ECDSA with P-256.
    Ecdsa,
    /// RSA with 2048 bits.
    Rsa,
}

/// The one version of TLS that an origin speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

/// An origin: each has an address and a zone of its own, and all names of the zone lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) key: Key,
    pub(crate) version: Version,
}

impl Site {
    /// The usual case.
    pub(crate) const MODERN: Self = Self { key: Key::Ecdsa, version: Version::Tls13 };
    pub(crate) const ALL: [Self; 4] = [
        Self::MODERN,
        Self { key: Key::Ecdsa, version: Version::Tls12 },
        Self { key: Key::Rsa, version: Version::Tls13 },
        Self { key: Key::Rsa, version: Version::Tls12 },
    ];

    /// What all its names end with.
    pub(crate) const fn zone(self) -> &'static str {
        match (self.key, self.version) {
            (Key::Ecdsa, Version::Tls13) => "ecdsa13.bench.test",
            (Key::Ecdsa, Version::Tls12) => "ecdsa12.bench.test",
            (Key::Rsa, Version::Tls13) => "rsa13.bench.test",
            (Key::Rsa, Version::Tls12) => "rsa12.bench.test",
        }
    }

    /// Where it listens.
    pub(crate) const fn address(self) -> Ipv4Addr {
        let last = match (self.key, self.version) {
            (Key::Ecdsa, Version::Tls13) => 1,
            (Key::Ecdsa, Version::Tls12) => 2,
            (Key::Rsa, Version::Tls13) => 3,
            (Key::Rsa, Version::Tls12) => 4,
        };
        Ipv4Addr::new(127, 0, 1, last)
    }

    /// One of its names.
    pub(crate) fn host(self, label: &str) -> String {
        format!("{label}.{}", self.zone())
    }

    /// One of its names that have a certificate of their own.
    pub(crate) fn own_host(self, number: usize) -> String {
        self.host(&format!("{OWN}{number}"))
    }
}

/// Whether a name may be shown no certificate that others share.
pub(crate) fn has_own_certificate(host: &str) -> bool {
    host.starts_with(OWN)
}

/// The address of a name; none for a name of no origin.
pub(crate) fn address_of(host: &str) -> Option<Ipv4Addr> {
    let (_, zone) = host.split_once('.')?;
    Site::ALL.into_iter().find(|site| site.zone().eq_ignore_ascii_case(zone)).map(Site::address)
}

/// Answers queries for as long as the harness runs.
pub(crate) async fn serve() -> Result<()> {
    let socket = UdpSocket::bind(SocketAddr::from((DNS_SERVER, 53))).await?;
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut query).await {
            if let Some(answer) = answer(&query[..length]) {
                // A resolver that has gone away asks again or not at all.
                drop(socket.send_to(&answer, peer).await);
            }
        }
    });
    Ok(())
}

/// The answer to a query (RFC 1035 section 4): an address for A, nothing for other types, NXDOMAIN for other names.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const TYPE_A: u16 = 1;
    const ANSWERED: [u8; 2] = [0x81, 0x80];
    const NO_SUCH_NAME: [u8; 2] = [0x81, 0x83];
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(std::str::from_utf8(query.get(at..at + length)?).ok()?);
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(HEADER..at + 4)?;
    let address = address_of(&labels.join("."));
    let record = address.filter(|_| kind == TYPE_A);
    let mut answer = query[..2].to_vec();
    answer.extend(if address.is_some() { ANSWERED } else { NO_SUCH_NAME });
    answer.extend([0, 1, 0, u8::from(record.is_some()), 0, 0, 0, 0]);
    answer.extend(question);
    if let Some(record) = record {
        // The name of the question, A, IN, a minute, four octets.
        answer.extend([0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(record.octets());
    }
    Some(answer)
}
