//! `name_mismatch = "allow"`: a client may name another host in its ClientHello than in its CONNECT, where no rule is
//! about either of them.

use crate::support::bench::{Bench, exempt, pinset};
use crate::support::client::Sni;
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Key, Leaf};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Outcome, Verdict, texts};
use pinproxy::policy::decision::FailureClass::{Access, Client, Name};
use pinproxy::report::{Decided, Stage};
use rustls::AlertDescription::{AccessDenied, UnrecognisedName};

const ASKED: &str = "front.example";
const ALLOW: &str = "[defaults]\nname_mismatch = \"allow\"\n";

/// CONNECT to [`ASKED`], ClientHello for [`BANK`], by an origin whose certificate is for these names.
async fn asked_and_named(toml: &str, names: &[&str]) -> Outcome {
    let root = Ca::root("Root");
    let leaf = names.iter().fold(Leaf::nameless(), |leaf, name| leaf.dns(name));
    let proxy = ProxyBuilder::new(toml).trusting([&root]);
    let mut bench = Bench::start(proxy, OriginConfig::new(leaf.signed_by(&root))).await;
    let tls = bench.client(BANK).sni(Sni::Other(BANK.to_owned())).build();
    bench.ask_with(ASKED, &tls).await
}

#[tokio::test]
async fn a_rule_about_either_name_refuses() {
    let pins = [&Key::p256().pin()[..], &Key::p256().pin()];
    let soft = "mode = \"report-only\"";
    let detail = format!("the client asked for {ASKED} by CONNECT and for {BANK} in its ClientHello");
    let tunnel = |host: &str| format!("[[tunnel]]\nhosts = [{host:?}]\nreason = \"test\"\n");
    let table = [
        ("not allowed", String::new(), "unpinned"),
        ("the SNI is pinned", pinset("bank", BANK, "pins", &pins, soft), "unpinned"),
        (
            "the SNI is below a pinned name",
            pinset("bank", "**.bank.example", "pins", &pins, "mode = \"off\""),
            "unpinned",
        ),
        (
            "the SNI is exempt",
            pinset("bank", "**.bank.example", "pins", &pins, "") + &exempt("2100-01-01T00:00:00Z"),
            "unpinned",
        ),
        ("the SNI is tunnelled", tunnel(BANK), "unpinned"),
    ];
    for (what, rules, rule) in table {
        let toml = if what == "not allowed" { rules } else { format!("{ALLOW}{rules}") };
        let outcome = asked_and_named(&toml, &[ASKED, BANK]).await;
        let refused = Verdict::turned_away(0, "", Client, Stage::ClientTls, &detail).by_alert(UnrecognisedName);
        let seen = texts(&outcome.told.event.seen_pins);
        assert_eq!(outcome.verdict(), refused.under(rule, false).seen(&seen).handshakes(1), "{what}");
    }
    let outcome =
        asked_and_named(&format!("{ALLOW}{}", pinset("front", ASKED, "pins", &pins, soft)), &[ASKED, BANK]).await;
    assert_eq!(outcome.told.event.failure_class, Some(Client), "the CONNECT host is pinned: {:?}", outcome.told);
    assert_eq!(outcome.told.event.bytes.upstream, 0);
}

/// The upstream is asked for the name in the ClientHello, and has to prove that one.
#[tokio::test]
async fn the_name_in_the_client_hello_is_the_one_verified_and_certified() {
    let outcome = asked_and_named(ALLOW, &[ASKED, BANK]).await;
    let seen = texts(&outcome.told.event.seen_pins);
    assert_eq!(outcome.verdict(), Verdict::passed().under("unpinned", false).seen(&seen).handshakes(2));
    let names: Vec<_> = outcome.upstream.iter().filter_map(|connection| connection.sni.clone()).collect();
    assert_eq!(names, [ASKED, BANK], "first what the CONNECT named, then what the client asked for");
    let event = &outcome.told.event;
    assert_eq!((event.hostname.as_deref(), event.sni.as_deref()), (Some(BANK), Some(BANK)));
    assert!(event.connect_authority.starts_with(ASKED));
    let (_, leaf) = x509_parser::parse_x509_certificate(&outcome.session().certificates[0]).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    assert_eq!(names, [x509_parser::extensions::GeneralName::DNSName(BANK)]);
}

#[tokio::test]
async fn an_upstream_that_is_not_the_named_host_is_refused() {
    let outcome = asked_and_named(ALLOW, &[ASKED]).await;
    let detail = format!("the certificate is not for {BANK} but for {ASKED}");
    let refused = Verdict::refused_for(BANK, "unpinned", Name, &detail).by_alert(AccessDenied).under("unpinned", false);
    let seen = texts(&outcome.told.event.seen_pins);
    assert_eq!(outcome.verdict(), refused.at(Stage::UpstreamTls).seen(&seen).handshakes(1));
}

/// The access rules hold for the name in the ClientHello, too.
#[tokio::test]
async fn a_name_that_may_not_be_asked_for_is_refused() {
    let root = Ca::root("Root");
    let chain = Leaf::nameless().dns(ASKED).dns(BANK).signed_by(&root);
    let rules = |port| format!("{ALLOW}[access]\ndestinations_deny = [{BANK:?}]\nports_allow = [{port}]\n");
    let proxy = |port| ProxyBuilder::new(rules(port)).trusting([&root]);
    let mut bench = Bench::with_port(OriginConfig::new(chain), proxy).await;
    let tls = bench.client(BANK).sni(Sni::Other(BANK.to_owned())).build();
    let outcome = bench.ask_with(ASKED, &tls).await;
    let event = &outcome.told.event;
    assert_eq!((event.failure_class, event.bytes.upstream), (Some(Access), 0), "{event:?}");
    assert_eq!(outcome.verdict(), outcome.verdict().by_alert(AccessDenied));
}

/// Where hosts without a rule are tunnelled blindly, so is this one.
#[tokio::test]
async fn a_default_tunnel_takes_both_names() {
    let root = Ca::root("Root");
    let chain = Leaf::named(BANK).signed_by(&root);
    let toml = "[defaults]\nname_mismatch = \"allow\"\nunpinned = \"tunnel\"\n";
    let mut bench = Bench::start(ProxyBuilder::new(toml), OriginConfig::new(chain)).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.der().to_vec().into()).unwrap();
    let tls = bench.client(BANK).roots(roots).sni(Sni::Other(BANK.to_owned())).build();
    let outcome = bench.ask_with(ASKED, &tls).await;
    assert_eq!(outcome.told.event.decision, Decided::Tunnel, "{:?}", outcome.told);
    assert_eq!(outcome.told.event.hostname.as_deref(), Some(BANK));
}
