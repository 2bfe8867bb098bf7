//! Handshakes between the client and an origin: what is negotiated, resumed, refused, and how it reads on both sides.

use rustls::{
    AlertDescription, ProtocolVersion,
    version::{TLS12, TLS13},
};

use super::Outcome;
use crate::support::{
    client::{ClientTls, RawClient, Sni, TlsFailure, client_hello_bytes, pieces, refragment},
    origin::{Behaviour, Origin, OriginConfig},
    pki::{Ca, Key, Leaf},
};

const HOST: &str = "api.bank.example";

#[tokio::test]
async fn both_sides_tell_what_was_negotiated() -> Outcome {
    let root = Ca::root("Root");
    let chain = Leaf::named(HOST).signed_by(&root.intermediate("Issuing"));
    let origin = Origin::start(OriginConfig::new(chain.clone()).alpn(&["h2", "http/1.1"])).await;
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let tls = ClientTls::to(HOST).trusting([&root]).alpn(&["http/1.1", "h2"]).versions(&[version]).build();
        let client = RawClient::connect(origin.addr()).await?.tls(&tls).await?;
        assert_eq!(client.alpn().as_deref(), Some("h2"), "the origin's order decides");
        assert_eq!(client.version(), Some(expected));
        assert_eq!(client.peer_certificates(), chain.certificates);
        assert!(!client.resumed());
        let tally = origin.until("it is done", |tally| tally.connections.last().is_some_and(|c| c.version.is_some()));
        let seen = tally.await?.connections.pop().expect("this connection");
        assert_eq!(seen.version, Some(expected));
        assert_eq!(seen.sni.as_deref(), Some(HOST));
        assert_eq!(seen.alpn_offered_text(), ["http/1.1", "h2"]);
        assert_eq!(seen.alpn.as_deref(), Some(&b"h2"[..]));
    }
    Ok(())
}

#[tokio::test]
async fn the_hello_may_name_nobody_or_somebody_else() -> Outcome {
    let root = Ca::root("Root");
    let origin = Origin::start(OriginConfig::new(Leaf::named(HOST).signed_by(&root))).await;
    let tls = |sni| ClientTls::to(HOST).trusting([&root]).sni(sni).build();
    RawClient::connect(origin.addr()).await?.tls(&tls(Sni::Off)).await?;
    RawClient::connect(origin.addr()).await?.tls(&tls(Sni::Other("front.example".to_owned()))).await?;
    let tally = origin.until_ended(2).await?;
    assert_eq!(tally.connections[0].sni, None);
    assert_eq!(tally.connections[1].sni.as_deref(), Some("front.example"));

    let wrong = ClientTls::to("other.example").trusting([&root]).sni(Sni::Other(HOST.to_owned())).build();
    let failure = RawClient::connect(origin.addr()).await?.tls(&wrong).await.expect_err("another name is verified");
    assert!(matches!(failure, TlsFailure::Refused(rustls::Error::InvalidCertificate(_))), "{failure}");
    Ok(())
}

#[tokio::test]
async fn ip_addresses_are_names_too() -> Outcome {
    let root = Ca::root("Root");
    let origin = Origin::start(OriginConfig::new(Leaf::named("127.0.0.1").signed_by(&root))).await;
    let tls = ClientTls::to("127.0.0.1").trusting([&root]).build();
    RawClient::connect(origin.addr()).await?.tls(&tls).await?;
    assert_eq!(origin.until_ended(1).await?.connections[0].sni, None);
    Ok(())
}

#[tokio::test]
async fn sessions_resume_on_both_versions_unless_told_otherwise() -> Outcome {
    let root = Ca::root("Root");
    let [first, second] = [1, 2].map(|_| Leaf::named(HOST).signed_by(&root));
    for version in [&TLS12, &TLS13] {
        for (tickets, shared) in [(true, true), (true, false), (false, true)] {
            let config = OriginConfig::new(first.clone()).then(second.clone()).tickets(tickets);
            let origin = Origin::start(config).await;
            let tls = ClientTls::to(HOST).trusting([&root]).versions(&[version]);
            let tls = if shared { tls.build() } else { tls.without_resumption().build() };
            for round in 0..2 {
                let mut client = RawClient::connect(origin.addr()).await?.tls(&tls).await?;
                client.send(b"ping").await?;
                assert_eq!(client.read_exact(4).await?, b"ping");
                let expected = round == 1 && tickets && shared;
                assert_eq!(client.resumed(), expected, "{version:?} tickets={tickets} shared={shared}");
                let presented = if round == 1 && !expected { &second } else { &first };
                assert_eq!(&client.peer_certificates()[0], presented.leaf(), "chains alternate per connection");
                client.shutdown().await?;
            }
            let tally = origin.until_ended(2).await?;
            assert_eq!(tally.resumptions(), usize::from(tickets && shared));
            assert_eq!((tally.handshakes_finished(), tally.clean_closes()), (2, 2));
        }
    }
    Ok(())
}

#[tokio::test]
async fn alerts_are_told_apart_on_both_sides() -> Outcome {
    let root = Ca::root("Root");
    let chain = Leaf::named(HOST).signed_by(&root);
    let origin = Origin::start(OriginConfig::new(chain.clone()).alpn(&["h2"])).await;
    let tls = ClientTls::to(HOST).trusting([&root]).alpn(&["http/1.1"]).build();
    let failure = RawClient::connect(origin.addr()).await?.tls(&tls).await.expect_err("no protocol in common");
    assert_eq!(failure.alert(), Some(AlertDescription::NoApplicationProtocol));
    let tally = origin.until_ended(1).await?;
    assert_eq!(tally.handshakes_failed(), 1);
    assert_eq!(tally.connections[0].alpn_offered_text(), ["http/1.1"], "noted although refused");

    let origin = Origin::start(OriginConfig::new(chain)).await;
    let tls = ClientTls::to(HOST).trusting([&Ca::root("Stranger")]).build();
    let failure = RawClient::connect(origin.addr()).await?.tls(&tls).await.expect_err("an unknown root");
    assert!(matches!(failure, TlsFailure::Refused(_)), "{failure}");
    let seen = origin.until_handshake_failed().await?;
    assert_eq!(seen.alert, Some(AlertDescription::UnknownCA), "{}", seen.text);
    Ok(())
}

#[tokio::test]
async fn a_client_that_only_knows_rsa_needs_an_rsa_certificate() -> Outcome {
    let root = Ca::root("Root");
    let ecdsa = Origin::start(OriginConfig::new(Leaf::named(HOST).signed_by(&root))).await;
    let rsa = Origin::start(OriginConfig::new(Leaf::named(HOST).key(&Key::rsa2048()).signed_by(&root))).await;
    for version in [&TLS12, &TLS13] {
        let tls = ClientTls::to(HOST).trusting([&root]).versions(&[version]).rsa_only().build();
        RawClient::connect(rsa.addr()).await?.tls(&tls).await?;
        let failure = RawClient::connect(ecdsa.addr()).await?.tls(&tls).await.expect_err("ECDSA only");
        assert_eq!(failure.alert(), Some(AlertDescription::HandshakeFailure), "{failure}");
    }
    Ok(())
}

#[tokio::test]
async fn every_kind_of_key_can_serve() -> Outcome {
    let root = Ca::root("Root");
    for key in [Key::p256(), Key::p384(), Key::p521(), Key::ed25519(), Key::rsa2048()] {
        let origin = Origin::start(OriginConfig::new(Leaf::named(HOST).key(&key).signed_by(&root))).await;
        RawClient::connect(origin.addr()).await?.tls(&ClientTls::to(HOST).trusting([&root]).build()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hello_arrives_in_any_number_of_pieces() -> Outcome {
    let root = Ca::root("Root");
    let origin = Origin::start(OriginConfig::new(Leaf::named(HOST).signed_by(&root))).await;
    let tls = ClientTls::to(HOST).trusting([&root]).build();
    RawClient::connect(origin.addr()).await?.tls_delivering(&tls, |hello| refragment(&hello, 7)).await?;
    RawClient::connect(origin.addr()).await?.tls_delivering(&tls, |hello| pieces(&hello, 1)).await?;
    assert_eq!(origin.until_ended(2).await?.handshakes_finished(), 2);

    let hello = client_hello_bytes(Some(HOST), &["h2"]);
    assert_eq!(hello[..2], [22, 3], "a handshake record");
    assert!(hello.windows(HOST.len()).any(|window| window == HOST.as_bytes()));
    let fragments = refragment(&hello, 100);
    assert!(fragments.iter().all(|record| record.len() <= 105 && record[0] == 22));
    let joined: Vec<u8> = fragments.iter().flat_map(|record| record[5..].to_vec()).collect();
    assert_eq!(joined, hello[5..]);

    let mut client = RawClient::connect(origin.addr()).await?;
    client.send_in_pieces(&fragments.concat(), 11).await?;
    assert_eq!(client.read_exact(1).await?, [22], "the origin answers with its own handshake");
    let nameless = client_hello_bytes(None, &[]);
    assert!(!nameless.windows(7).any(|window| window == b"example"));
    Ok(())
}

#[tokio::test]
async fn peers_without_tls_are_failures_and_no_panics() -> Outcome {
    let root = Ca::root("Root");
    let chain = Leaf::named(HOST).signed_by(&root);
    let tls = ClientTls::to(HOST).trusting([&root]).build();
    let text = Behaviour::PlainText(b"220 mail.example ESMTP\r\n".to_vec());
    let origin = Origin::start(OriginConfig::new(chain.clone()).behaviour(text)).await;
    let failure = RawClient::connect(origin.addr()).await?.tls(&tls).await.expect_err("clear text");
    assert!(matches!(failure, TlsFailure::Refused(rustls::Error::InvalidMessage(_))), "{failure}");

    let origin = Origin::start(OriginConfig::new(chain).behaviour(Behaviour::CloseAtOnce)).await;
    let failure = RawClient::connect(origin.addr()).await?.tls(&tls).await.expect_err("nobody there");
    assert!(matches!(failure, TlsFailure::Eof | TlsFailure::Fault(_)), "{failure}");
    assert_eq!(origin.until_ended(1).await?.handshakes_finished(), 0);
    Ok(())
}
