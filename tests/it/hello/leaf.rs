//! The leaf that a client is shown.

use super::told;
use crate::support::client::{RawClient, Sni, TlsClient};
use crate::support::origin::{Behaviour, Origin, OriginConfig};
use crate::support::pki::{Ca, Leaf, Validity};
use crate::support::proxy::ProxyBuilder;
use crate::support::setting::{HOST, Setting, tls};
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::Stage;
use rustls::AlertDescription;
use std::time::Duration;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

fn is_rsa(client: &TlsClient) -> bool {
    matches!(leaf(client).public_key().parsed(), Ok(PublicKey::RSA(key)) if key.key_size() == 2048)
}

/// The leaf that a client was shown.
fn leaf(client: &TlsClient) -> X509Certificate<'_> {
    X509Certificate::from_der(&client.peer_certificates()[0]).expect("a certificate").1
}

fn names<'a>(leaf: &'a X509Certificate<'_>) -> Vec<GeneralName<'a>> {
    let names = leaf.subject_alternative_name().expect("a valid extension").expect("the extension");
    names.value.general_names.clone()
}

#[tokio::test]
async fn without_sni_the_leaf_is_for_the_connect_host() {
    let mut setting = Setting::start(Behaviour::Http1).await;
    let client = setting.tunnel().await;
    let mut client = client.tls(&setting.tls().sni(Sni::Off).build()).await.unwrap();
    assert_eq!(names(&leaf(&client)), [GeneralName::DNSName(HOST)]);
    assert_eq!(client.get("h", "/").await.unwrap().status, 200);
    client.shutdown().await.unwrap();
    let event = told(&mut setting.proxy).await;
    assert_eq!((event.sni, event.hostname.as_deref()), (None, Some(HOST)));
}

#[tokio::test]
async fn the_leaf_names_the_host_asked_for_and_no_other() {
    let root = Ca::root("root");
    let generous = Leaf::named(HOST).dns("*.bank.example").dns("evil.example").ip([127, 0, 0, 1].into());
    let origin = Origin::start(OriginConfig::new(generous.signed_by(&root)).behaviour(Behaviour::Drain)).await;
    let proxy = ProxyBuilder::new("").trusting([&root]).start().await;
    let ip = GeneralName::IPAddress(&[127, 0, 0, 1]);
    let table = [
        (HOST, GeneralName::DNSName(HOST)),
        ("www.bank.example", GeneralName::DNSName("www.bank.example")),
        ("evil.example", GeneralName::DNSName("evil.example")),
        ("127.0.0.1", ip),
    ];
    for (host, name) in table {
        let mut client = RawClient::connect(proxy.addr).await.unwrap();
        let reply = client.connect_to(&format!("{host}:{}", origin.port())).await.unwrap();
        assert_eq!(reply.status, 200, "{host}: {}", reply.reason);
        let client = client.tls(&tls(&proxy, host).build()).await.unwrap();
        let leaf = leaf(&client);
        assert_eq!(names(&leaf), [name], "{host}");
        assert!(!leaf.is_ca(), "{host}");
        let key = leaf.public_key().raw;
        let (_, ca) = X509Certificate::from_der(&proxy.ca).unwrap();
        assert_ne!(key, ca.public_key().raw, "the key of the CA signs and does nothing else");
    }
}

#[tokio::test]
async fn the_leaf_ends_no_later_than_the_upstreams() {
    let root = Ca::root("root");
    for hours in [1, 2, 24, 24 * 90] {
        let validity = Validity::ends_in(Duration::from_secs(hours * 60 * 60));
        let chain = Leaf::named(HOST).validity(validity).signed_by(&root);
        let origin = Origin::start(OriginConfig::new(chain).behaviour(Behaviour::Drain)).await;
        let proxy = ProxyBuilder::new("").trusting([&root]).start().await;
        let mut client = RawClient::connect(proxy.addr).await.unwrap();
        assert_eq!(client.connect_to(&format!("{HOST}:{}", origin.port())).await.unwrap().status, 200);
        let client = client.tls(&tls(&proxy, HOST).build()).await.unwrap();
        let end = leaf(&client).validity().not_after.to_datetime();
        assert!(end <= validity.not_after, "{hours} hours: {end}");
        assert!(end > crate::support::pki::now(), "{hours} hours: {end}");
    }
}

#[tokio::test]
async fn the_key_of_the_leaf_is_one_the_client_can_take() {
    let mut setting = Setting::start(Behaviour::Http1).await;
    for (rsa_only, versions) in [(false, rustls::ALL_VERSIONS), (true, rustls::ALL_VERSIONS)] {
        for version in versions {
            let settings = setting.tls().versions(&[version]);
            let settings = if rsa_only { settings.rsa_only() } else { settings };
            let client = setting.tunnel().await;
            let mut client = client.tls(&settings.build()).await.unwrap();
            assert_eq!(is_rsa(&client), rsa_only, "{version:?}");
            assert_eq!(client.get("h", "/").await.unwrap().status, 200);
            client.shutdown().await.unwrap();
            assert!(told(&mut setting.proxy).await.leaf_serial.is_some());
        }
    }
}

/// `[ca] leaf_key` leaves no choice: a client that cannot take that kind gets an alert.
#[tokio::test]
async fn the_key_of_the_leaf_is_the_one_configured() {
    for (kind, rsa) in [("p256", false), ("rsa2048", true)] {
        let toml = format!("[ca]\nleaf_key = \"{kind}\"\n");
        let mut setting = Setting::with(&toml, |origin| origin.behaviour(Behaviour::Http1)).await;
        for version in rustls::ALL_VERSIONS {
            let tunnel = setting.tunnel().await;
            let mut client = tunnel.tls(&setting.tls().versions(&[version]).build()).await.unwrap();
            assert_eq!(is_rsa(&client), rsa, "{kind}, {version:?}");
            assert_eq!(client.get("h", "/").await.unwrap().status, 200);
            client.shutdown().await.unwrap();
            told(&mut setting.proxy).await;

            let tunnel = setting.tunnel().await;
            let result = tunnel.tls(&setting.tls().versions(&[version]).rsa_only().build()).await;
            let taken = result.map(|client| is_rsa(&client)).map_err(|failure| failure.alert());
            let event = told(&mut setting.proxy).await;
            if rsa {
                assert_eq!(taken, Ok(true), "{version:?}");
            } else {
                assert_eq!(taken, Err(Some(AlertDescription::HandshakeFailure)), "{version:?}");
                let failed = (event.failure_class, event.stage);
                assert_eq!(failed, (Some(FailureClass::Client), Stage::ClientTls), "{event}");
            }
        }
    }
}
