//! Certificates for upstreams that ask for one.

use super::*;
use pinproxy::materials::MaterialsError;
use pinproxy::proxy::Generation;
use rcgen::ExtendedKeyUsagePurpose::ClientAuth;
use rustls::version::{TLS12, TLS13};

/// Who may come to the bank: the authority, and somebody it has certified.
struct Clients {
    authority: Ca,
}

impl Clients {
    fn new() -> Self {
        Self { authority: Ca::root("the bank's clients") }
    }

    fn one(&self, name: &str) -> Chain {
        Leaf::named(name).extended_key_usages(&[ClientAuth]).signed_by(&self.authority.intermediate("branch"))
    }
}

fn certificate(hosts: &str, name: &str) -> String {
    format!("{{ hosts = [{hosts}], certificate = \"{name}.pem\", key = \"{name}.key\" }}")
}

fn with(builder: ProxyBuilder, name: &str, chain: &Chain) -> ProxyBuilder {
    builder.file(&format!("{name}.pem"), chain.pem()).file(&format!("{name}.key"), chain.key.private_pem())
}

async fn strict_origin(bank: &Bank, clients: &Clients, shape: impl FnOnce(OriginConfig) -> OriginConfig) -> Origin {
    let config = OriginConfig::new(bank.chain.clone()).behaviour(Behaviour::Http1);
    Origin::start(shape(config.client_certificates(&clients.authority))).await
}

/// Whether a request through the proxy is answered.
async fn is_answered(proxy: &mut TestProxy, origin: &Origin) -> bool {
    is_answered_at(proxy, origin, HOST).await
}

/// The same where something else is asked for than the ClientHello names.
async fn is_answered_at(proxy: &mut TestProxy, origin: &Origin, asked: &str) -> bool {
    let before = origin.tally().tcp_connections();
    let mut client = RawClient::connect(proxy.addr).await.expect("the proxy listens");
    let reply = client.connect_to(&format!("{asked}:{}", origin.port())).await.expect("a reply");
    let mut answered = false;
    if reply.status == 200
        && let Ok(mut client) = client.tls(&tls(proxy, HOST).build()).await
    {
        answered = client.get(HOST, "/").await.is_ok_and(|answer| answer.status == 200);
    }
    proxy.told().await;
    origin
        .until("it has ended", |tally| tally.tcp_connections() > before && tally.ended() == tally.tcp_connections())
        .await
        .expect("it ends");
    answered
}

#[tokio::test]
async fn it_is_shown_to_the_hosts_that_it_is_for_and_to_no_other() {
    let (bank, clients, others) = (Bank::new(), Clients::new(), Clients::new());
    let (known, stranger) = (clients.one("known"), others.one("stranger"));
    let table = [
        (certificate("\"api.bank.example\"", "known"), true),
        (certificate("\"*.bank.example\"", "known"), true),
        (certificate("\"other.bank.example\", \"api.bank.example:1\", \"bank.example\"", "known"), false),
        (certificate("\"api.bank.example\"", "stranger"), false),
        (
            format!("{}, {}", certificate("\"**.example\"", "stranger"), certificate("\"*.bank.example\"", "known")),
            true,
        ),
        (
            format!(
                "{}, {}",
                certificate("\"*.bank.example\"", "known"),
                certificate("\"api.bank.example\"", "stranger")
            ),
            false,
        ),
        (String::new(), false),
    ];
    for versions in [&TLS12, &TLS13] {
        let origin = strict_origin(&bank, &clients, |origin| origin.versions(&[versions])).await;
        for (certificates, expected) in &table {
            let builder =
                bank.builder(&format!("client_certificates = [{certificates}]"), "").name(HOST, &["127.0.0.1"]);
            let mut proxy = with(with(builder, "known", &known), "stranger", &stranger).start().await;
            assert_eq!(is_answered(&mut proxy, &origin).await, *expected, "{certificates}");
        }
        // A port that is named is a better match.
        let port = origin.port();
        let two = format!(
            "{}, {}",
            certificate("\"api.bank.example\"", "stranger"),
            certificate(&format!("\"api.bank.example:{port}\""), "known")
        );
        let builder = bank.builder(&format!("client_certificates = [{two}]"), "").name(HOST, &["127.0.0.1"]);
        let mut proxy = with(with(builder, "known", &known), "stranger", &stranger).start().await;
        assert!(is_answered(&mut proxy, &origin).await);
    }
}

/// Of a session with two names the one counts that the chain was judged for.
#[tokio::test]
async fn it_goes_by_the_name_that_was_judged() {
    let (bank, clients) = (Bank::new(), Clients::new());
    let origin = strict_origin(&bank, &clients, |origin| origin).await;
    for (hosts, expected) in [("\"127.0.0.1\"", false), ("\"api.bank.example\"", true)] {
        let upstream = format!("client_certificates = [{}]", certificate(hosts, "known"));
        let mut proxy = with(bank.builder(&upstream, ""), "known", &clients.one("known")).start().await;
        assert_eq!(is_answered_at(&mut proxy, &origin, "127.0.0.1").await, expected, "{hosts}");
    }
}

/// Who does not prove to be the host is shown nothing: the handshake ends before that.
#[tokio::test]
async fn it_is_not_shown_to_who_is_not_the_host() {
    let (bank, clients) = (Bank::new(), Clients::new());
    let forged = Leaf::named(HOST).signed_by(&Ca::root("somebody else"));
    let config = OriginConfig::new(forged).client_certificates(&clients.authority);
    let origin = Origin::start(config).await;
    let upstream = format!("client_certificates = [{}]", certificate("\"**.example\"", "known"));
    let builder = with(bank.builder(&upstream, "").name(HOST, &["127.0.0.1"]), "known", &clients.one("known"));
    let (reply, event) = asked(&mut builder.start().await, &format!("{HOST}:{}", origin.port())).await;
    assert_eq!((reply.status, event.failure_class), (502, Some(FailureClass::Chain)), "{event}");
    assert_eq!(origin.until_ended(1).await.unwrap().handshakes_finished(), 0);
}

/// With resumption, too: a session of another generation shows what that one has.
#[tokio::test]
async fn another_generation_shows_another_one() {
    let (bank, clients) = (Bank::new(), Clients::new());
    let origin = strict_origin(&bank, &clients, |origin| origin).await;
    let known = certificate("\"*.bank.example\"", "known");
    for resumption in [false, true] {
        let upstream = |certificates: &str| {
            format!("[upstream]\nresumption = {resumption}\nclient_certificates = [{certificates}]\n")
        };
        let builder = ProxyBuilder::new(upstream(&known)).trusting([&bank.root]);
        let mut proxy = with(builder, "known", &clients.one("known")).start().await;
        assert!(is_answered(&mut proxy, &origin).await && is_answered(&mut proxy, &origin).await);
        proxy.replace(&upstream(""), 2);
        assert!(!is_answered(&mut proxy, &origin).await, "it is not shown any more");
        proxy.replace(&upstream(&known), 3);
        assert!(is_answered(&mut proxy, &origin).await);
    }
}

#[tokio::test]
async fn files_that_do_not_go_together_are_not_loaded() {
    let (bank, clients) = (Bank::new(), Clients::new());
    let (known, other) = (clients.one("known"), clients.one("other"));
    let proxy = with(bank.builder("", ""), "known", &known).file("other.key", other.key.private_pem());
    let proxy = proxy.file("open.pem", known.key.private_pem()).file("empty.key", "").start().await;
    let table = [
        ("known.pem", "known.key", ""),
        ("known.pem", "other.key", "cannot be used together"),
        ("known.pem", "open.pem", "the key of the client certificate"),
        ("known.pem", "empty.key", "holds no private key"),
        ("known.pem", "none.key", "cannot read the client certificate's file"),
        ("none.pem", "known.key", "cannot read the client certificate's file"),
        ("known.key", "known.key", "holds no certificate"),
    ];
    for (certificate, key, words) in table {
        let toml = format!(
            "[upstream]\nclient_certificates = [{{ hosts = [\"a.example\"], certificate = \"{certificate}\", key = \"{key}\" }}]"
        );
        match Generation::load(&proxy.config(&toml), 2, &[]) {
            Ok(_) => assert_eq!(words, "", "{certificate} {key}"),
            Err(MaterialsError::Identity(error)) => {
                assert!(!words.is_empty() && error.to_string().contains(words), "{error}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}
