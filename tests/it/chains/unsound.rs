//! Chains that no rule lets through, whether it pins, reports, exempts or says nothing: pins come on top of what a
//! verified chain is, and softening them softens nothing else.

use crate::support::bench::{Bench, Case, bank_with, every_rule, judge};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Leaf, Validity, now, system_time};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Verdict};
use pinproxy::policy::decision::FailureClass::{self, Chain as Untrusted, Name, Validity as Dates};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyUsagePurpose};
use std::time::Duration;

/// An authority whose every certificate can be made wrong.
struct World {
    root: Ca,
    issuing: Ca,
}

/// What is wrong, what is presented, and how it is refused.
type Unsound = (&'static str, Chain, FailureClass, String);

impl World {
    fn new() -> Self {
        let root = Ca::root("Root");
        let issuing = root.intermediate("Issuing");
        Self { root, issuing }
    }

    async fn judge(&self, table: Vec<Unsound>) {
        let mut cases = Vec::new();
        for (what, chain, class, detail) in table {
            for (toml, rule, enforced) in every_rule(&chain.pin()) {
                let expected = Verdict::refused_for(BANK, rule, class, &detail).under(rule, enforced);
                cases.push(Case { what, toml, roots: vec![&self.root], chain: chain.clone(), expected });
            }
        }
        judge(cases).await;
    }
}

fn ended() -> String {
    format!("a certificate of the chain expired on {}", Validity::expired().not_after.date())
}

fn to_come() -> String {
    format!("a certificate of the chain is not valid before {}", Validity::not_yet().not_before.date())
}

#[tokio::test]
async fn dates() {
    let world = World::new();
    let below = |validity| Ca::builder("Issuing").validity(validity).signed_by(&world.root);
    let leaf = |validity| Leaf::named(BANK).validity(validity).signed_by(&world.issuing);
    world
        .judge(vec![
            ("leaf expired", leaf(Validity::expired()), Dates, ended()),
            ("leaf not yet valid", leaf(Validity::not_yet()), Dates, to_come()),
            ("issuer expired", Leaf::named(BANK).signed_by(&below(Validity::expired())), Dates, ended()),
            ("issuer not yet valid", Leaf::named(BANK).signed_by(&below(Validity::not_yet())), Dates, to_come()),
        ])
        .await;
}

/// webpki does not look at the dates of an anchor.
#[tokio::test]
async fn an_expired_root() {
    let root = Ca::builder("Root").validity(Validity::expired()).self_signed();
    let issuing = root.intermediate("Issuing");
    let chain = Leaf::named(BANK).signed_by(&issuing);
    let detail = "the trust anchor of the chain has expired".to_owned();
    World { root, issuing }.judge(vec![("root expired", chain, Dates, detail)]).await;
}

/// Nor at their beginning.
#[tokio::test]
async fn a_root_that_is_not_valid_yet() {
    let root = Ca::builder("Root").validity(Validity::not_yet()).self_signed();
    let issuing = root.intermediate("Issuing");
    let chain = Leaf::named(BANK).signed_by(&issuing);
    let detail = "the trust anchor of the chain is not valid yet".to_owned();
    World { root, issuing }.judge(vec![("root not yet valid", chain, Dates, detail)]).await;
}

/// A pin is no substitute for the name (Spinner, ACSAC 2017).
#[tokio::test]
async fn names() {
    let world = World::new();
    let but_for = |names: &str| format!("the certificate is not for {BANK} but for {names}");
    let named = |names: &[&str]| {
        let leaf = Leaf::nameless().common_name(BANK);
        names.iter().fold(leaf, |leaf, name| leaf.dns(name)).signed_by(&world.issuing)
    };
    let parent = named(&["bank.example", "www.bank.example"]);
    let addresses = ["192.0.2.7", "2001:db8::7"].map(|text| text.parse().unwrap());
    let addressed = addresses.into_iter().fold(Leaf::nameless().dns("*.test"), Leaf::ip).signed_by(&world.issuing);
    let mail = rcgen::SanType::Rfc822Name("ada@bank.example".try_into().unwrap());
    let mailed = Leaf::nameless().with_params(|params| params.subject_alt_names.push(mail)).signed_by(&world.issuing);
    world
        .judge(vec![
            ("no name but a CN", named(&[]), Name, but_for("no valid DNS name")),
            ("another host", named(&["pay.bank.example"]), Name, but_for("pay.bank.example")),
            ("the domain above", parent, Name, but_for("bank.example, www.bank.example")),
            ("a wildcard one label too high", named(&["*.example"]), Name, but_for("*.example")),
            ("a wildcard one label too low", named(&["*.api.bank.example"]), Name, but_for("*.api.bank.example")),
            ("one name of every kind", addressed, Name, but_for("*.test, 192.0.2.7, 2001:db8::7")),
            ("nothing but addresses of mail", mailed, Name, but_for("no valid DNS name")),
            ("a name that nobody can have", named(&["bank example"]), Name, but_for("bank?example")),
            ("a name that begins the same", named(&["api.bank.example.evil"]), Name, but_for("api.bank.example.evil")),
        ])
        .await;
}

#[tokio::test]
async fn leaves() {
    let world = World::new();
    let usages =
        |usages: &[ExtendedKeyUsagePurpose]| Leaf::named(BANK).extended_key_usages(usages).signed_by(&world.issuing);
    let client = usages(&[ExtendedKeyUsagePurpose::ClientAuth]);
    let authority = Leaf::named(BANK).ca_bit().signed_by(&world.issuing);
    let untrusted = || "the chain does not lead to a trusted root".to_owned();
    let no_leaf = || "the upstream's certificate is that of a certificate authority".to_owned();
    let for_clients = "a certificate of the chain is not for servers".to_owned();
    world
        .judge(vec![
            ("self-signed", Leaf::named(BANK).self_signed(), Untrusted, untrusted()),
            ("self-signed authority", Leaf::named(BANK).ca_bit().self_signed(), Untrusted, no_leaf()),
            ("an authority as leaf", authority, Untrusted, no_leaf()),
            ("for clients only", client, Untrusted, for_clients),
        ])
        .await;
}

#[tokio::test]
async fn issuers() {
    let world = World::new();
    let root = &world.root;
    let leaf = || Leaf::named(BANK);
    let elsewhere = leaf().signed_by(&Ca::root("Unknown").intermediate("Issuing of Unknown"));
    let impostor = leaf().signed_by(&Ca::root("Root").intermediate("Issuing of another Root"));
    let no_authority = leaf().signed_by(&Ca::builder("No authority").not_a_ca().signed_by(root));
    let says_nothing = leaf().signed_by(&Ca::builder("Says nothing").no_basic_constraints().signed_by(root));
    let no_usage = |params: &mut CertificateParams| params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let may_not_sign = leaf().signed_by(&Ca::builder("May not sign").with_params(no_usage).signed_by(root));
    let lists = |params: &mut CertificateParams| params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let lists_only = Ca::builder("Signs lists").with_params(lists).signed_by(root).intermediate("Issuing of lists");
    let no_cert_sign = || "an intermediate of the chain may not sign certificates (keyUsage)".to_owned();
    let clients = [ExtendedKeyUsagePurpose::ClientAuth];
    let for_clients = leaf().signed_by(&Ca::builder("Clients").extended_key_usages(&clients).signed_by(root));
    let excluded = leaf().signed_by(&Ca::builder("Excluded").exclude_dns("bank.example").signed_by(root));
    let elsewhere_only = leaf().signed_by(&Ca::builder("Elsewhere").permit_dns("shop.example").signed_by(root));
    let deep = Ca::builder("Deep").path_len(0).signed_by(root).intermediate("Deeper");
    let untrusted = || "the chain does not lead to a trusted root".to_owned();
    let no_authority_signed =
        || "a certificate of the chain is signed by one that is no certificate authority".to_owned();
    let not_servers = "a certificate of the chain is not for servers".to_owned();
    let forged = "a signature in the chain does not fit its issuer's key, or that is an RSA key below 2048 or above \
                  8192 bits"
        .to_owned();
    let constrained = || "a certificate authority of the chain may not certify this name".to_owned();
    let too_long = "the chain is longer than one of its certificate authorities allows".to_owned();
    world
        .judge(vec![
            ("unknown root", elsewhere.clone(), Untrusted, untrusted()),
            ("unknown root, presented", elsewhere.with_root(), Untrusted, untrusted()),
            ("a root of the same name", impostor, Untrusted, forged),
            ("issuer missing", leaf().signed_by(&world.issuing).leaf_only(), Untrusted, untrusted()),
            ("issuer is no authority", no_authority, Untrusted, no_authority_signed()),
            ("issuer says nothing of being one", says_nothing, Untrusted, no_authority_signed()),
            ("issuer may not sign", may_not_sign, Untrusted, no_cert_sign()),
            ("issuer of the issuer may not sign", leaf().signed_by(&lists_only), Untrusted, no_cert_sign()),
            ("issuer for clients only", for_clients, Untrusted, not_servers),
            ("name excluded", excluded, Untrusted, constrained()),
            ("name not permitted", elsewhere_only, Untrusted, constrained()),
            ("path too long", leaf().signed_by(&deep), Untrusted, too_long),
        ])
        .await;
}

/// A validity ends with its last second, not with the beginning of it.
#[tokio::test]
async fn the_last_second() {
    let end = now() + Duration::from_secs(60 * 60);
    let ends = Validity::between(now() - Duration::from_secs(60 * 60), end);
    let root = Ca::builder("Root").validity(ends).self_signed();
    let chain = Leaf::named(BANK).signed_by(&root);
    let device = Leaf::named(BANK).validity(ends).self_signed();
    let lasting = Ca::root("Lasting Root");
    let short = Leaf::named(BANK).validity(ends).signed_by(&lasting);
    let pin_only = bank_with("leaf_pins", &[&device.pin()], "trust = \"pin-only\"");
    for (toml, chain) in [(String::new(), &chain), (pin_only, &device), (String::new(), &short)] {
        let proxy =
            ProxyBuilder::new(toml).trusting([&root, &lasting]).at(system_time(end + Duration::from_millis(999)));
        let mut bench = Bench::start(proxy, OriginConfig::new(chain.clone())).await;
        assert_eq!(bench.ask(BANK).await.reply.status, 200);
        bench.proxy.set_time(system_time(end + Duration::from_secs(1)));
        let outcome = bench.ask(BANK).await;
        assert_eq!((outcome.reply.status, outcome.told.event.failure_class), (502, Some(Dates)));
    }
}
