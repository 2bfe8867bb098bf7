//! First flights that lead nowhere: what the client is told, and that the upstream hears nothing of it.

use super::told;
use crate::support::client::{ClientTls, Fault, RawClient, Sni, TlsFailure, client_hello_bytes};
use crate::support::origin::Behaviour;
use crate::support::pki::Ca;
use crate::support::setting::{HOST, Setting};
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::{Decided, Stage};
use rustls::AlertDescription;
use std::time::{Duration, Instant};

/// What comes back until the end. A reset ends it too: the proxy may close with bytes of the client unread.
async fn rest(client: &mut RawClient) -> Vec<u8> {
    match client.read_some().await {
        Ok(bytes) => bytes,
        Err(Fault::Eof { got }) => got,
        Err(Fault::Io { .. }) => Vec::new(),
        Err(fault) => panic!("{fault}"),
    }
}

/// A fatal alert in the clear.
const fn alert(number: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, number]
}

/// A ClientHello of TLS 1.0 or 1.1, with these extensions.
fn old_hello(minor: u8, extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0xc0, 0x13, 0, 0x2f, 1, 0]);
    body.extend(extensions);
    let mut message = vec![1, 0, 0, u8::try_from(body.len()).expect("a short one")];
    message.extend(body);
    [&[22, 3, 1, 0, u8::try_from(message.len()).expect("a short one")], message.as_slice()].concat()
}

#[tokio::test]
async fn bytes_that_are_no_hello() {
    const NOT_TLS: &str = "the client sent something that is not TLS through the tunnel";
    const INVALID: &str = "the client's ClientHello cannot be accepted: ";
    const OLD: &str = "the client's ClientHello cannot be accepted: it says nothing of the signatures that it verifies, so \
                       it seems to speak TLS 1.1 or older only";
    let sslv2 = [&[0x80, 0x1f, 1, 0, 2, 0, 6, 0, 0, 0, 16, 1, 0, 0x80, 5, 0, 0x80], [7; 16].as_slice()].concat();
    let long_record = [&[22, 3, 1, 0xff, 0xff], [1; 64].as_slice()].concat();
    // signature_algorithms with ecdsa_secp256r1_sha256, which some clients send although it came with TLS 1.2.
    let signatures = [0, 8, 0, 13, 0, 4, 0, 2, 4, 3];
    let (tls_1_0, tls_1_1, late_1_1) = (old_hello(1, &[]), old_hello(2, &[]), old_hello(2, &signatures));
    let table: &[(&str, &[u8], &[u8], &str)] = &[
        ("HTTP", b"GET / HTTP/1.1\r\nHost: bank.example\r\n\r\n", b"", NOT_TLS),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", b"", NOT_TLS),
        ("one zero", b"\0", b"", NOT_TLS),
        ("SSLv2", &sslv2, b"", NOT_TLS),
        ("an alert", &alert(0), b"", NOT_TLS),
        ("application data", &[23, 3, 3, 0, 1, 0], b"", NOT_TLS),
        ("an empty hello", &[22, 3, 1, 0, 4, 1, 0, 0, 0], &alert(50), INVALID),
        ("a ServerHello", &[22, 3, 1, 0, 4, 2, 0, 0, 0], &alert(50), INVALID),
        ("another handshake message", &[22, 3, 1, 0, 4, 14, 0, 0, 0], b"", INVALID),
        ("a record longer than records are", &long_record, &alert(50), INVALID),
        ("a record of another protocol", &[22, 9, 9, 0, 4, 1, 0, 0, 0], &alert(50), INVALID),
        ("TLS 1.0", &tls_1_0, &alert(40), OLD),
        ("TLS 1.1", &tls_1_1, &alert(40), OLD),
        (
            "TLS 1.1 of a modern library",
            &late_1_1,
            &alert(70),
            "the client's TLS handshake failed: it offers neither TLS 1.2 nor 1.3",
        ),
    ];
    for (name, bytes, answer, detail) in table {
        let mut setting = Setting::start(Behaviour::Drain).await;
        let mut client = setting.tunnel().await;
        client.send(bytes).await.unwrap();
        let got = rest(&mut client).await;
        let event = told(&mut setting.proxy).await;
        assert_eq!(got, *answer, "{name}: {event}");
        assert_eq!((event.stage, event.failure_class), (Stage::ClientTls, Some(FailureClass::Client)), "{name}");
        assert_eq!(event.client_tls, None, "{name}");
        assert!(event.detail.as_deref().unwrap().starts_with(detail), "{name}: {event}");
        assert_eq!(setting.origin.until_ended(1).await.unwrap().received(), 0, "{name}");
    }
}

/// The version is at fault, and not the kind of key that leaves have.
#[tokio::test]
async fn an_old_version_is_no_matter_of_the_leaf_key() {
    const WORDS: &str = "the client's TLS handshake failed: it offers neither TLS 1.2 nor 1.3";
    // signature_algorithms with ecdsa_secp256r1_sha256, and with rsa_pkcs1_sha256.
    for (kind, scheme) in [("rsa2048", [4, 3]), ("p256", [4, 1])] {
        let toml = format!("[ca]\nleaf_key = \"{kind}\"\n");
        let mut setting = Setting::with(&toml, |origin| origin.behaviour(Behaviour::Drain)).await;
        let mut client = setting.tunnel().await;
        let signatures = [&[0, 8, 0, 13, 0, 4, 0, 2], scheme.as_slice()].concat();
        client.send(&old_hello(2, &signatures)).await.unwrap();
        assert_eq!(rest(&mut client).await, alert(70), "{kind}");
        assert_eq!(told(&mut setting.proxy).await.detail.as_deref(), Some(WORDS), "{kind}");
    }
}

#[tokio::test]
async fn silence_behind_the_200_ends_in_time() {
    let hello = client_hello_bytes(Some(HOST), &[]);
    let toml = "[limits]\nclient_hello_timeout = \"200ms\"\n";
    let mut setting = Setting::with(toml, |origin| origin.behaviour(Behaviour::Drain)).await;
    for begun in [&[][..], &hello[..1], &hello[..5], &hello[..hello.len() - 1]] {
        let started = Instant::now();
        let mut client = setting.tunnel().await;
        client.send(begun).await.unwrap();
        assert_eq!(rest(&mut client).await, b"", "{} bytes", begun.len());
        assert!(started.elapsed() < Duration::from_secs(5));
        let event = told(&mut setting.proxy).await;
        assert_eq!((event.stage, event.failure_class), (Stage::ClientTls, Some(FailureClass::Timeout)));
        assert_eq!(event.detail.as_deref(), Some("the client sent no complete ClientHello within 200ms"));
    }
    assert_eq!(setting.origin.until_ended(4).await.unwrap().received(), 0);
}

#[tokio::test]
async fn a_drip_of_bytes_does_not_stretch_the_time_for_a_hello() {
    let toml = "[limits]\nclient_hello_timeout = \"200ms\"\n";
    let mut setting = Setting::with(toml, |origin| origin.behaviour(Behaviour::Drain)).await;
    let hello = client_hello_bytes(Some(HOST), &[]);
    let mut client = setting.tunnel().await;
    let mut drip = tokio::time::interval(Duration::from_millis(20));
    for byte in &hello {
        drip.tick().await;
        if client.send(&[*byte]).await.is_err() {
            break;
        }
    }
    let event = told(&mut setting.proxy).await;
    assert_eq!(event.failure_class, Some(FailureClass::Timeout));
    assert!(event.duration < Duration::from_secs(5), "{event}");
}

#[tokio::test]
async fn a_hello_has_a_limit_in_bytes_however_it_arrives() {
    let toml = "[limits]\nclient_hello_bytes = 1_024\n";
    let mut setting = Setting::with(toml, |origin| origin.behaviour(Behaviour::Drain)).await;
    // One message that says to be longer than the limit, in records that each are short.
    let record = [&[22, 3, 1, 0, 200][..], &[1, 0, 0x40, 0], &[0; 196]].concat();
    let further = [&[22, 3, 1, 0, 200][..], &[0; 200]].concat();
    let endless = [record, further.repeat(20)].concat();
    for (name, hello) in [("one write", &endless[..]), ("exactly the limit", &endless[..1_024])] {
        let mut client = setting.tunnel().await;
        client.send(hello).await.unwrap();
        rest(&mut client).await;
        let event = told(&mut setting.proxy).await;
        assert_eq!((event.stage, event.failure_class), (Stage::ClientTls, Some(FailureClass::Client)), "{name}");
        assert_eq!(event.detail.as_deref(), Some("the client's ClientHello is longer than 1024 bytes"), "{name}");
    }
    assert_eq!(setting.origin.until_ended(2).await.unwrap().received(), 0);
}

/// What a client offers is remembered, so it has a limit of its own.
#[tokio::test]
async fn more_protocols_than_any_client_has_are_refused() {
    let names = |count: usize, octets: usize| -> Vec<String> { (0..count).map(|n| format!("{n:0octets$}")).collect() };
    for (offer, refused) in [(names(33, 2), true), (names(3, 200), true), (names(32, 16), false)] {
        let mut setting = Setting::start(Behaviour::Drain).await;
        let offer: Vec<&str> = offer.iter().map(String::as_str).collect();
        let mut client = setting.tunnel().await;
        client.send(&client_hello_bytes(Some(HOST), &offer)).await.unwrap();
        if refused {
            assert_eq!(rest(&mut client).await, [21, 3, 3, 0, 2, 2, 50], "decode_error");
            let event = told(&mut setting.proxy).await;
            let detail = "the client offers more than 32 application protocols, or more than 512 bytes of them";
            assert_eq!((event.failure_class, event.detail.as_deref()), (Some(FailureClass::Client), Some(detail)));
        } else {
            let answer = client.read_some().await.unwrap();
            assert_eq!(answer.first(), Some(&22), "a ServerHello");
        }
    }
}

#[tokio::test]
async fn another_server_name_than_the_connect_host_is_an_unrecognized_name() {
    let mut setting = Setting::start(Behaviour::Drain).await;
    for other in ["bank.example", "x.api.bank.example", "api.bank.example.evil.example", "localhost"] {
        let client = setting.tunnel().await;
        let tls = setting.tls().sni(Sni::Other(other.to_owned())).build();
        let failure = client.tls(&tls).await.unwrap_err();
        assert_eq!(failure.alert(), Some(AlertDescription::UnrecognisedName), "{other}: {failure}");
        let event = told(&mut setting.proxy).await;
        assert_eq!((event.stage, event.failure_class), (Stage::ClientTls, Some(FailureClass::Client)), "{other}");
        assert_eq!((event.decision, event.sni.as_deref()), (Decided::Refuse, Some(other)));
        assert_eq!((event.hostname.as_deref(), event.leaf_serial), (Some(HOST), None), "{other}");
        let detail = format!("the client asked for {HOST} by CONNECT and for {other} in its ClientHello");
        assert_eq!(event.detail.as_deref(), Some(detail.as_str()));
    }
    assert_eq!(setting.origin.until_ended(4).await.unwrap().received(), 0);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_ca_is_told_apart() {
    let stranger = Ca::root("stranger");
    let mut setting = Setting::start(Behaviour::Drain).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = setting.tunnel().await;
        let tls = ClientTls::to(HOST).trusting([&stranger]).versions(&[version]).build();
        let failure = client.tls(&tls).await.unwrap_err();
        assert!(matches!(failure, TlsFailure::Refused(rustls::Error::InvalidCertificate(_))), "{failure}");
        let event = told(&mut setting.proxy).await;
        assert_eq!((event.stage, event.failure_class), (Stage::ClientTls, Some(FailureClass::Client)), "{event}");
        let detail = "the client ended the TLS handshake with the alert UnknownCA: it does not trust the proxy's CA \
                      certificate";
        assert_eq!(event.detail.as_deref(), Some(detail));
    }
    assert_eq!(setting.origin.until_ended(2).await.unwrap().received(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_handshake() {
    let hello = client_hello_bytes(Some(HOST), &[]);
    let mut setting = Setting::start(Behaviour::Drain).await;
    for (sent, detail) in [
        (&hello[..100], "the client closed the connection before its ClientHello was complete"),
        (&hello[..], "the client closed the connection during the TLS handshake; it may not trust the proxy's CA"),
    ] {
        let mut client = setting.tunnel().await;
        client.send(sent).await.unwrap();
        client.shutdown().await.unwrap();
        let event = told(&mut setting.proxy).await;
        assert_eq!((event.stage, event.failure_class), (Stage::ClientTls, Some(FailureClass::Client)));
        assert_eq!(event.detail.as_deref(), Some(detail));
    }
    assert_eq!(setting.origin.until_ended(2).await.unwrap().received(), 0);
}
