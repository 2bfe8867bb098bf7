//! The header by which a load balancer says whose a connection is: the PROXY protocol, versions 1 and 2
//! (haproxy.org/download/2.8/doc/proxy-protocol.txt). Nothing behind it is read, so that nothing gets lost.

use crate::upstream::doors::canonical;
use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader};
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// Octets of a header of version 1, which is a line.
pub(super) const PREFACE_LINE_OCTETS_MAX: usize = 107;
/// Octets of a header of version 2. What is beside the addresses in it, certificates of clients for instance, is passed over.
pub(super) const PREFACE_OCTETS_MAX: usize = 4 << 10;

/// How a header of version 1 begins.
const LINE: &[u8] = b"PROXY ";
/// The shortest one: `PROXY UNKNOWN` and the end of the line.
const LINE_OCTETS_MIN: usize = 15;
/// How one of version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Its signature, its version and command, its protocol, the length of the rest.
const FIXED_OCTETS: usize = 16;

/// The two ends of a connection, as the peer in front of the proxy has seen them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// Who has made it.
    pub(super) client: SocketAddr,
    /// Where it was made to.
    pub(super) destination: SocketAddr,
}

/// Why there is no header. All but the first name the peer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrefaceError {
    #[error("the peer has said nothing")]
    Silent,
    #[error("the connection comes from {0}, which proxy_protocol_from names, and does not begin with a PROXY header")]
    Missing(IpAddr),
    #[error("no complete PROXY header came from {0} within the time allowed")]
    Slow(IpAddr),
    #[error("the PROXY header from {0} is malformed, or not of a TCP connection")]
    Malformed(IpAddr),
    #[error("the PROXY header from {0} is longer than {PREFACE_OCTETS_MAX} octets")]
    TooLong(IpAddr),
    #[error("{0} has closed the connection within its PROXY header")]
    Closed(IpAddr),
    #[error("the connection from {0} has failed within its PROXY header: {1}")]
    Io(IpAddr, io::Error),
}

/// Reads the header that a connection begins with. `None` where the peer speaks for itself, as health checks do, or does not
/// know whose the connection is.
pub(super) async fn read(stream: &mut TcpStream, peer: SocketAddr) -> Result<Option<Ends>, PrefaceError> {
    let mut reader =
        Reader { stream, peer: peer.ip().to_canonical(), octets: Vec::with_capacity(PREFACE_LINE_OCTETS_MAX) };
    reader.fill(LINE_OCTETS_MIN).await?;
    if reader.octets.starts_with(LINE) {
        reader.line().await?;
    } else {
        reader.fill(FIXED_OCTETS).await?;
        let length = match reader.octets.get(FIXED_OCTETS - 2..FIXED_OCTETS) {
            Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
            _ => 0,
        };
        if FIXED_OCTETS + length > PREFACE_OCTETS_MAX {
            return Err(PrefaceError::TooLong(reader.peer));
        }
        reader.fill(FIXED_OCTETS + length).await?;
    }
    parsed(&reader.octets).map_err(|()| PrefaceError::Malformed(reader.peer))
}

/// Who a whole header says the connection is between.
fn parsed(header: &[u8]) -> Result<Option<Ends>, ()> {
    let (parsed, length) =
        ProxyHeader::parse(header, ParseConfig { include_tlvs: false, ..ParseConfig::default() }).map_err(|_| ())?;
    if length != header.len() {
        return Err(());
    }
    match parsed.proxied_address() {
        None => Ok(None),
        Some(ProxiedAddress { protocol: Protocol::Stream, source, destination }) => {
            Ok(Some(Ends { client: canonical(*source), destination: canonical(*destination) }))
        }
        Some(_) => Err(()),
    }
}

/// What has been read of a header.
struct Reader<'s> {
    stream: &'s mut TcpStream,
    peer: IpAddr,
    octets: Vec<u8>,
}

impl Reader<'_> {
    /// Reads until there are so many octets, and gives up on what begins as no header does.
    async fn fill(&mut self, count: usize) -> Result<(), PrefaceError> {
        while self.octets.len() < count {
            let missing = count - self.octets.len();
            let read = (&mut *self.stream).take(missing as u64).read_buf(&mut self.octets).await;
            match read {
                Ok(0) if self.octets.is_empty() => return Err(PrefaceError::Silent),
                Ok(0) => return Err(PrefaceError::Closed(self.peer)),
                Ok(_) => {}
                Err(error) => return Err(PrefaceError::Io(self.peer, error)),
            }
            let begins = |known: &[u8]| known.iter().zip(&self.octets).all(|(known, octet)| known == octet);
            if !begins(LINE) && !begins(SIGNATURE) {
                return Err(PrefaceError::Missing(self.peer));
            }
        }
        Ok(())
    }

    /// Reads the rest of a line. What is looked at ahead is taken up to the end of the line and no further.
    async fn line(&mut self) -> Result<(), PrefaceError> {
        let mut ahead = [0; PREFACE_LINE_OCTETS_MAX];
        while self.octets.last() != Some(&b'\n') {
            let room = PREFACE_LINE_OCTETS_MAX.saturating_sub(self.octets.len());
            let seen = self.stream.peek(&mut ahead[..room]).await;
            let seen = seen.map_err(|error| PrefaceError::Io(self.peer, error))?;
            match ahead[..seen].iter().position(|octet| *octet == b'\n') {
                Some(end) => self.fill(self.octets.len() + end + 1).await?,
                None if seen == 0 && room > 0 => return Err(PrefaceError::Closed(self.peer)),
                None if seen == room => return Err(PrefaceError::Malformed(self.peer)),
                None => self.fill(self.octets.len() + seen).await?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    fn ends(client: &str, destination: &str) -> Ends {
        Ends { client: client.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn binary(command: u8, protocol: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, protocol], &length, rest].concat()
    }

    /// What comes of a header that is written in pieces of this length, and what is left of the connection behind it.
    async fn read_of(octets: &[u8], piece: usize) -> (Result<Option<Ends>, PrefaceError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let (mut stream, peer) = listener.accept().await.unwrap();
        let octets = octets.to_vec();
        let writing = async {
            for piece in octets.chunks(piece) {
                // Whoever gives up closes, and the rest cannot be written.
                if client.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            drop(client.shutdown().await);
        };
        let reading = async {
            let read = read(&mut stream, peer).await;
            let mut rest = Vec::new();
            if read.is_ok() {
                stream.read_to_end(&mut rest).await.unwrap();
            }
            drop(stream);
            (read, rest)
        };
        tokio::join!(writing, reading).1
    }

    #[tokio::test]
    async fn headers_end_where_they_end() {
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 1, 0xbb];
        let v6: Vec<u8> = [&[0x20, 1, 0xd, 0xb8], &[0; 11][..], &[1], &[0; 15], &[1, 0x30, 0x39, 1, 0xbb]].concat();
        let mapped: Vec<u8> =
            [&[0; 10], &[0xff, 0xff, 192, 0, 2, 7][..], &[0; 10], &[0xff, 0xff, 1, 1, 1, 1, 0, 9, 0, 8]].concat();
        let with_more = [&v4[..], &[0xee, 0, 3, 1, 2, 3]].concat();
        let four = Some(ends("192.0.2.7:12345", "198.51.100.1:443"));
        let table: Vec<(Vec<u8>, Option<Ends>)> = vec![
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n".to_vec(), four),
            (b"PROXY TCP6 2001:db8::1 ::1 12345 443\r\n".to_vec(), Some(ends("[2001:db8::1]:12345", "[::1]:443"))),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:1.1.1.1 9 8\r\n".to_vec(), Some(ends("192.0.2.7:9", "1.1.1.1:8"))),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN 192.0.2.7 198.51.100.1 12345 443\r\n".to_vec(), None),
            (binary(0x21, 0x11, &v4), four),
            (binary(0x21, 0x11, &with_more), four),
            (binary(0x21, 0x21, &v6), Some(ends("[2001:db8::1]:12345", "[::1]:443"))),
            (binary(0x21, 0x21, &mapped), Some(ends("192.0.2.7:9", "1.1.1.1:8"))),
            // LOCAL, with addresses that mean nothing and without.
            (binary(0x20, 0x11, &v4), None),
            (binary(0x20, 0, &[]), None),
            // A connection of no address, and one of a socket in the file system.
            (binary(0x21, 0, &[]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ];
        for (header, expected) in table {
            for (piece, behind) in [(1, &b"CONNECT"[..]), (7, b"\r\n"), (10_000, b""), (10_000, b"\x16\x03\x01")] {
                let (read, rest) = read_of(&[&header, behind].concat(), piece).await;
                let read = read.unwrap_or_else(|error| panic!("{header:?} by {piece}: {error}"));
                assert_eq!((read, rest.as_slice()), (expected, behind), "{header:?} by {piece}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
        let huge = binary(0x20, 0, &vec![0; PREFACE_OCTETS_MAX]);
        let table: [(&[u8], &str); 20] = [
            (b"", "has said nothing"),
            (b"G", "does not begin with"),
            (b"CONNECT bank.example:443 HTTP/1.1\r\n\r\n", "does not begin with"),
            (b"\x05\x01\x00", "does not begin with"),
            (b"\x16\x03\x01\x02\x00", "does not begin with"),
            (b"PROXYxTCP4 192.0.2.7 198.51.100.1 12345 443\r\n", "does not begin with"),
            (b"proxy TCP4 192.0.2.7 198.51.100.1 12345 443\r\n", "does not begin with"),
            (b"\r\n\r\n\0\r\nQUIT\r", "does not begin with"),
            (b"PRO", "closed the connection within"),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443", "closed the connection within"),
            (&binary(0x21, 0x11, &[1; 12])[..20], "closed the connection within"),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 12345\r\n", "is malformed"),
            (b"PROXY TCP4 2001:db8::1 ::1 12345 443\r\n", "is malformed"),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n", "is malformed"),
            (b"PROXY TCP5 192.0.2.7 198.51.100.1 12345 443\r\n", "is malformed"),
            (long.as_bytes(), "is malformed"),
            (&huge, "is longer than"),
            (&binary(0x31, 0x11, &[1; 12]), "is malformed"),
            (&binary(0x21, 0x11, &[1; 11]), "is malformed"),
            // UDP has no connections.
            (&binary(0x21, 0x12, &[1; 12]), "is malformed"),
        ];
        for (octets, says) in table {
            for piece in [1, 10_000] {
                let error = read_of(octets, piece).await.0.expect_err("no header").to_string();
                assert!(error.contains(says), "{:?} by {piece}: {error}", String::from_utf8_lossy(octets));
            }
        }
    }
}
