//! Pin-only hosts: the pin is the trust. No chain is built, nothing becomes an anchor, and what is checked beyond the
//! pin is what the pinset says.

use crate::support::bench::{Bench, Case, bank_with, judge};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Key, Leaf, Validity, hex, now, v1_self_signed};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Verdict};
use pinproxy::policy::decision::FailureClass::{Chain as Untrusted, Name, Pin, Validity as Dates};

const SKIP: &str = "verify_name = \"skip\"\n";
const IGNORE: &str = "verify_validity = \"ignore\"\n";
const NOT_PINNED: &str = "the upstream's certificate does not hold a pinned key";

fn device(pin: &str, more: &str) -> String {
    bank_with("leaf_pins", &[pin], &format!("trust = \"pin-only\"\n{more}"))
}

fn certificate_pin(chain: &Chain) -> String {
    format!("cert:sha256:{}", hex(&chain.cert_sha256()))
}

/// Each chain under its rule; the root that is trusted has nothing to do with any of them unless a case says so.
async fn judge_devices(root: &Ca, table: Vec<(&str, String, Chain, Verdict)>) {
    let case = |(what, toml, chain, expected)| Case { what, toml, roots: vec![root], chain, expected };
    judge(table.into_iter().map(case)).await;
}

fn matched(pin: &str, chain: &Chain) -> Verdict {
    Verdict::matched(0, pin).seen(&[chain.pin()])
}

fn not_pinned(chain: &Chain) -> Verdict {
    Verdict::refused(Pin, NOT_PINNED).seen(&[chain.pin()])
}

#[tokio::test]
async fn the_key_decides() {
    let root = Ca::root("Root");
    let key = Key::p256();
    let leaf = || Leaf::named(BANK).key(&key);
    let (first, renewed) = (leaf().self_signed(), leaf().self_signed());
    let other = Leaf::named(BANK).self_signed();
    let authority = leaf().ca_bit().self_signed();
    let trusted = Leaf::named(BANK).signed_by(&root);
    // What the pinned certificate vouches for is nothing to a rule that looks at the end entity alone.
    let below = Leaf::named(BANK).signed_by_leaf(&first);
    let appended = other.clone().append(first.leaf());
    let (pin, certificate) = (key.pin(), certificate_pin(&first));
    let table = vec![
        ("wrong key", device(&pin, ""), other.clone(), not_pinned(&other)),
        ("wrong key under a trusted root", device(&pin, ""), trusted.clone(), not_pinned(&trusted)),
        ("wrong key, everything else ignored", device(&pin, SKIP) + IGNORE, other.clone(), not_pinned(&other)),
        ("signed by the pinned key", device(&pin, ""), below.clone(), not_pinned(&below)),
        ("the pinned certificate appended", device(&pin, ""), appended.clone(), not_pinned(&appended)),
        ("same key, another certificate", device(&certificate, ""), renewed.clone(), not_pinned(&renewed)),
        ("self-signed", device(&pin, ""), first.clone(), matched(&pin, &first)),
        ("renewed with its key", device(&pin, ""), renewed.clone(), matched(&pin, &renewed)),
        ("the very certificate", device(&certificate, ""), first.clone(), matched(&certificate, &first)),
        ("of an authority", device(&pin, ""), authority.clone(), matched(&pin, &authority)),
        ("under a trusted root", device(&trusted.pin(), ""), trusted.clone(), matched(&trusted.pin(), &trusted)),
    ];
    judge_devices(&root, table).await;
}

/// A pin-only certificate is trusted for its own hosts and nothing else.
#[tokio::test]
async fn nothing_becomes_an_anchor() {
    let root = Ca::root("Root");
    let authority = Leaf::named("plc7.plant.example").ca_bit().self_signed();
    let forged = Leaf::named(BANK).signed_by_leaf(&authority).append(authority.leaf());
    let toml = device(&authority.pin(), "").replace(BANK, "plc7.plant.example");
    let untrusted = "the chain does not lead to a trusted root";
    let expected = Verdict::refused_for(BANK, "unpinned", Untrusted, untrusted).under("unpinned", false);
    judge_devices(&root, vec![("another host", toml, forged, expected)]).await;
}

#[tokio::test]
async fn the_name_and_the_dates_are_checked_unless_said_otherwise() {
    let root = Ca::root("Root");
    let stranger = Leaf::named("plc7.plant.example").self_signed();
    let nameless = Leaf::nameless().common_name(BANK).self_signed();
    let old = Leaf::named(BANK).validity(Validity::expired()).self_signed();
    let early = Leaf::named(BANK).validity(Validity::not_yet()).self_signed();
    let name = |names: &str| Verdict::refused(Name, &format!("the certificate is not for {BANK} but for {names}"));
    let dates = |chain: &Chain| {
        let (_, parsed) = x509_parser::parse_x509_certificate(chain.leaf()).unwrap();
        let (from, to) = (parsed.validity().not_before, parsed.validity().not_after);
        Verdict::refused(Dates, &format!("the certificate is valid from {from} to {to} only"))
    };
    let rule = |chain: &Chain, more: &str| device(&chain.pin(), more);
    let matched = |chain: &Chain| matched(&chain.pin(), chain);
    let table = vec![
        ("another name", rule(&stranger, ""), stranger.clone(), name("plc7.plant.example")),
        ("another name, dates ignored", rule(&stranger, IGNORE), stranger.clone(), name("plc7.plant.example")),
        ("a CN is no name", rule(&nameless, ""), nameless.clone(), name("no valid DNS name")),
        ("expired", rule(&old, ""), old.clone(), dates(&old)),
        ("expired, name skipped", rule(&old, SKIP), old.clone(), dates(&old)),
        ("not yet valid", rule(&early, ""), early.clone(), dates(&early)),
        ("another name, skipped", rule(&stranger, SKIP), stranger.clone(), matched(&stranger)),
        ("no name, skipped", rule(&nameless, SKIP), nameless.clone(), matched(&nameless)),
        ("expired, ignored", rule(&old, IGNORE), old.clone(), matched(&old)),
        ("not yet valid, ignored", rule(&early, IGNORE), early.clone(), matched(&early)),
    ];
    judge_devices(&root, table).await;
}

/// The name that a device has is asked of it and checked; the client gets a leaf for the host that it asked for.
#[tokio::test]
async fn a_device_that_has_another_name() {
    const PLC: &str = "plc7.plant.example";
    let root = Ca::root("Root");
    let (device, other) = (Leaf::named(PLC).self_signed(), Leaf::named(BANK).self_signed());
    let rule = |chain: &Chain| self::device(&chain.pin(), &format!("verify_name = \"as:{PLC}\""));
    let wrong = Verdict::refused(Name, &format!("the certificate is not for {PLC} but for {BANK}"));
    let table = vec![
        ("the name of the CONNECT does not count", rule(&other), other.clone(), wrong),
        ("the name that was said", rule(&device), device.clone(), matched(&device.pin(), &device)),
    ];
    judge_devices(&root, table).await;
    let proxy = ProxyBuilder::new(rule(&device)).trusting([&root]);
    let mut bench = Bench::start(proxy, OriginConfig::new(device)).await;
    let outcome = bench.ask(BANK).await;
    assert_eq!(outcome.upstream[0].sni.as_deref(), Some(PLC));
    let (_, leaf) = x509_parser::parse_x509_certificate(&outcome.session().certificates[0]).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    assert_eq!(names, [x509_parser::extensions::GeneralName::DNSName(BANK)]);
}

/// A client of an expired device still gets a certificate that is valid for the host it asked for.
#[tokio::test]
async fn an_expired_device_with_dates_ignored_gets_a_leaf_that_is_valid() {
    let old = Leaf::named("plc7.plant.example").validity(Validity::expired()).self_signed();
    let proxy = ProxyBuilder::new(device(&old.pin(), SKIP) + IGNORE).trusting([&Ca::root("Root")]);
    let mut bench = Bench::start(proxy, OriginConfig::new(old)).await;
    let outcome = bench.ask(BANK).await;
    let (_, leaf) = x509_parser::parse_x509_certificate(&outcome.session().certificates[0]).unwrap();
    assert!(leaf.validity().not_after.timestamp() > now().unix_timestamp(), "{}", leaf.validity().not_after);
}

/// Version 1 certificates have no names and are read by no path builder; the handshake's signature is still checked.
#[tokio::test]
async fn version_1() {
    let root = Ca::root("Root");
    let version_3 = "the upstream's certificate is not of X.509 version 3";
    for key in [Key::p256(), Key::rsa2048(), Key::ed25519()] {
        let chain = v1_self_signed(BANK, &key, Validity::current());
        let old = v1_self_signed(BANK, &key, Validity::expired());
        let other = v1_self_signed(BANK, &Key::p256(), Validity::current());
        let stolen = chain.clone().with_key(&Key::p256());
        for version in rustls::ALL_VERSIONS {
            let ask = async |toml: String, chain: &Chain| {
                let origin = OriginConfig::new(chain.clone()).versions(&[version]);
                Bench::start(ProxyBuilder::new(toml).trusting([&root]), origin).await.ask(BANK).await
            };
            let skip = device(&key.pin(), SKIP);
            assert_eq!(ask(skip.clone(), &other).await.verdict(), not_pinned(&other));
            let refused = Verdict::refused(Untrusted, version_3);
            assert_eq!(ask(device(&key.pin(), ""), &chain).await.verdict(), refused);
            let unpinned = Verdict::refused_for(BANK, "unpinned", Untrusted, version_3).under("unpinned", false);
            assert_eq!(ask(String::new(), &chain).await.verdict(), unpinned);
            assert_eq!(ask(skip.clone(), &old).await.told.event.failure_class, Some(Dates));
            let bad = ask(skip.clone(), &stolen).await;
            assert_eq!((bad.reply.status, bad.told.event.bytes.upstream), (502, 0), "{version:?}: {:?}", bad.told);
            assert_eq!(ask(skip, &chain).await.verdict(), matched(&key.pin(), &chain), "{version:?} {key:?}");
        }
    }
}
