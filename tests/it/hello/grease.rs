//! Values that mean nothing (GREASE, RFC 8701), as Chromium sends them wherever a list may grow.

use super::told;
use crate::support::client::client_hello_bytes;
use crate::support::origin::Behaviour;
use crate::support::setting::{HOST, Setting};

const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;

/// What follows a length of this many bytes, and what follows that.
fn split(bytes: &[u8], width: usize) -> (&[u8], &[u8]) {
    let length = bytes[..width].iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
    bytes[width..].split_at(length)
}

/// The contents behind their length, in this many bytes.
fn counted(width: usize, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    [&length[length.len() - width..], contents].concat()
}

/// The list of this extension with a value that means nothing at its head.
fn extended(kind: u16, body: &[u8]) -> Vec<u8> {
    let (width, value): (_, &[u8]) = match kind {
        SUPPORTED_GROUPS => (2, &[0x1a, 0x1a]),
        SIGNATURE_ALGORITHMS => (2, &[0x2a, 0x2a]),
        SUPPORTED_VERSIONS => (1, &[0x3a, 0x3a]),
        KEY_SHARE => (2, &[0x1a, 0x1a, 0, 1, 0]),
        ALPN => (2, &[2, 0x4a, 0x4a]),
        _ => return body.to_vec(),
    };
    let (list, rest) = split(body, width);
    assert!(rest.is_empty(), "the extension {kind} is one list");
    counted(width, &[value, list].concat())
}

/// The one record of a real ClientHello, greased as Chromium does: a cipher suite, a group and its share, a version,
/// a signature scheme, a protocol, an empty extension first and one of a byte last.
fn greased(hello: &[u8]) -> Vec<u8> {
    let (message, rest) = split(&hello[3..], 2);
    assert!(rest.is_empty(), "the ClientHello is one record");
    let (body, _) = split(&message[1..], 3);
    let (fixed, body) = body.split_at(2 + 32);
    let (session, body) = split(body, 1);
    let (suites, body) = split(body, 2);
    let (compressions, body) = split(body, 1);
    let (mut extensions, _) = split(body, 2);
    let mut list = vec![0x5a, 0x5a, 0, 0];
    let mut seen = 0;
    while let [high, low, after @ ..] = extensions {
        let kind = u16::from_be_bytes([*high, *low]);
        let (body, next) = split(after, 2);
        let greased = extended(kind, body);
        seen += usize::from(greased != body);
        list.extend([&[*high, *low], counted(2, &greased).as_slice()].concat());
        extensions = next;
    }
    assert_eq!(seen, 5, "every list has got a value");
    list.extend([0x6a, 0x6a, 0, 1, 0]);
    let suites = [&[0x0a, 0x0a], suites].concat();
    let parts = [fixed.to_vec(), counted(1, session), counted(2, &suites), counted(1, compressions), counted(2, &list)];
    let message = [vec![1], counted(3, &parts.concat())].concat();
    [hello[..3].to_vec(), counted(2, &message)].concat()
}

#[tokio::test]
async fn a_greased_hello_is_understood() {
    let mut setting = Setting::start(Behaviour::Drain).await;
    let plain = client_hello_bytes(Some(HOST), &["h2", "http/1.1"]);
    for hello in [plain.clone(), greased(&plain)] {
        let mut client = setting.tunnel().await;
        client.send(&hello).await.unwrap();
        // A handshake record with a ServerHello; its client cannot go on, because it has no keys.
        let answer = client.read_exact(6).await.unwrap();
        assert_eq!((answer[0], answer[5]), (22, 2), "{answer:?}");
        drop(client);
        assert_eq!(told(&mut setting.proxy).await.sni.as_deref(), Some(HOST));
    }
}
