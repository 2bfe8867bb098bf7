//! Real `ClientHello` messages as bytes, to be cut up.

use rustls::ClientConnection;

use super::settings::{ClientTls, Sni};

/// The records of a real `ClientHello` that names this host, or none, and offers these protocols.
pub(crate) fn client_hello_bytes(sni: Option<&str>, alpn: &[&str]) -> Vec<u8> {
    let (name, sni_option) = match sni {
        Some(name) => (name, Sni::On),
        None => ("unnamed.example", Sni::Off),
    };
    ClientTls::to(name).sni(sni_option).alpn(alpn).build().hello()
}

/// Takes the bytes that a new connection wants to send.
pub(super) fn take_hello(connection: &mut ClientConnection) -> Vec<u8> {
    let mut hello = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut hello).expect("a Vec takes every write");
    }
    hello
}

/// Splits the payload of each TLS record over records of at most `length` bytes; the handshake message within stays
/// the same. What is no complete record is passed on as it is.
pub(crate) fn refragment(records: &[u8], length: usize) -> Vec<Vec<u8>> {
    let mut fragments = Vec::new();
    let mut rest = records;
    while let [kind, major, minor, high, low, after @ ..] = rest {
        let declared = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((payload, next)) = after.split_at_checked(declared) else { break };
        for piece in payload.chunks(length) {
            let [high, low] = u16::try_from(piece.len()).expect("shorter than the record it is from").to_be_bytes();
            fragments.push([&[*kind, *major, *minor, high, low], piece].concat());
        }
        rest = next;
    }
    if !rest.is_empty() {
        fragments.push(rest.to_vec());
    }
    fragments
}

/// Cuts bytes into pieces of `length`, wherever records begin and end.
pub(crate) fn pieces(bytes: &[u8], length: usize) -> Vec<Vec<u8>> {
    bytes.chunks(length).map(<[u8]>::to_vec).collect()
}
