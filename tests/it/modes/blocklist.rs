//! Blocked keys: no rule and no mode lets a path through that holds one.

use crate::support::bench::{Case, STOLEN, STOLEN_SERVED, bank, bank_with, blocklist, every_rule, judge, path};
use crate::support::pki::{Ca, Chain, Key, Leaf, cert_sha256, hex};
use crate::support::verdict::{BANK, Verdict};
use pinproxy::policy::decision::FailureClass::{Blocklist, Chain as Untrusted};
use rustls::pki_types::CertificateDer;

#[tokio::test]
async fn no_rule_lets_a_blocked_key_through() {
    let root = Ca::root("Root");
    let issuing = root.intermediate("Issuing");
    let chain = Leaf::named(BANK).signed_by(&issuing);
    let seen = path(&chain, &[&issuing, &root]);
    let mut cases = Vec::new();
    for blocked in [&issuing, &root] {
        for (toml, rule, enforced) in every_rule(&chain.pin()) {
            let toml = toml + &blocklist(&blocked.pin());
            let refused = Verdict::refused_for(BANK, rule, Blocklist, STOLEN).under(rule, enforced).seen(&seen);
            cases.push(Case { what: "blocked", toml, roots: vec![&root], chain: chain.clone(), expected: refused });
        }
    }
    let refused = |rule, enforced| Verdict::refused_for(BANK, rule, Blocklist, STOLEN).under(rule, enforced);
    let case = |toml: String, expected: Verdict| {
        let toml = toml + &blocklist(&chain.pin());
        Case { what: "leaf blocked", toml, roots: vec![&root], chain: chain.clone(), expected: expected.seen(&seen) }
    };
    // A certificate pin names the very leaf whose key is blocked.
    let certificate = format!("cert:sha256:{}", hex(&cert_sha256(chain.leaf())));
    cases.push(case(bank("leaf_pins", &[&certificate]), refused("bank", true)));
    cases.push(case(bank("ca_pins", &[&root.pin()]), refused("bank", true)));
    cases.push(case(String::new(), refused("unpinned", false)));
    judge(cases).await;
}

#[tokio::test]
async fn a_pin_only_host_with_a_blocked_key() {
    let device = Leaf::named(BANK).self_signed();
    let certificate = format!("cert:sha256:{}", hex(&device.cert_sha256()));
    let toml = bank_with("leaf_pins", &[&certificate], "trust = \"pin-only\"") + &blocklist(&device.pin());
    let expected = Verdict::refused(Blocklist, STOLEN_SERVED).seen(&[device.pin()]);
    judge([Case { what: "pin-only", toml, roots: vec![&Ca::root("Root")], chain: device, expected }]).await;
}

/// No path is built that would tell which of the served certificates count, so that each of them does.
#[tokio::test]
async fn a_pin_only_host_that_serves_a_blocked_certificate() {
    let root = Ca::root("Root of the plant");
    let issuing = root.intermediate("Issuing");
    let stranger = Ca::root("Stranger");
    let whole = Leaf::named(BANK).signed_by(&issuing).with_root();
    let appended = Leaf::named(BANK).self_signed().append(stranger.der());
    let device =
        |chain: &Chain, more: &str| bank_with("leaf_pins", &[&chain.pin()], &format!("trust = \"pin-only\"\n{more}"));
    let skipping = "verify_name = \"skip\"\nverify_validity = \"ignore\"\n";
    let trusted = Ca::root("Root");
    let case = |what, toml: String, chain: &Chain, expected: Verdict| {
        let expected = expected.seen(&[chain.pin()]);
        Case { what, toml, roots: vec![&trusted], chain: chain.clone(), expected }
    };
    let stolen = || Verdict::refused(Blocklist, STOLEN_SERVED);
    let denied = Verdict::refused(Blocklist, "what is served holds the blocked key \"bank\" (its pinset denies it)");
    let junk = whole.clone().append(&CertificateDer::from(b"junk".to_vec()));
    let two = [&root.der()[..], &stranger.der()[..]].concat();
    let joined = whole.clone().append(&CertificateDer::from(two));
    let no_certificate = Verdict::refused(Untrusted, "the upstream served something that is not a certificate");
    let mut cases = vec![
        case("the issuer", device(&whole, "") + &blocklist(&issuing.pin()), &whole, stolen()),
        case("its root", device(&whole, "") + &blocklist(&root.pin()), &whole, stolen()),
        case("with nothing else checked", device(&whole, skipping) + &blocklist(&issuing.pin()), &whole, stolen()),
        case("denied by its pinset", device(&whole, &format!("deny = [\"{}\"]", issuing.pin())), &whole, denied),
        case("one that has issued nothing", device(&appended, "") + &blocklist(&stranger.pin()), &appended, stolen()),
        case(
            "another one is blocked",
            device(&whole, "") + &blocklist(&stranger.pin()),
            &whole,
            Verdict::matched(0, &whole.pin()),
        ),
    ];
    // What cannot be read cannot be held against the list.
    for (what, chain) in [("no certificate", junk), ("two certificates in one place", joined)] {
        let toml = device(&chain, "") + &blocklist(&stranger.pin());
        cases.push(Case { what, toml, roots: vec![&trusted], chain, expected: no_certificate.clone() });
    }
    judge(cases).await;
}

/// Of two ways up, one holds the blocked key. The other one decides alone.
#[tokio::test]
async fn a_clean_path_beside_a_blocked_one() {
    let (old, young) = (Ca::root("Old Root"), Ca::root("Young Root"));
    let bridge = young.cross_sign(&old);
    let issuing = young.intermediate("Issuing");
    let chain = Leaf::named(BANK).signed_by(&issuing).append(bridge.der());
    let clean = path(&chain, &[&issuing, &young]);
    let stolen_way = path(&chain, &[&issuing, &young, &old]);
    let other = Key::p256().pin();
    let case = |what, toml: String, blocked: &Ca, expected| {
        let toml = toml + &blocklist(&blocked.pin());
        Case { what, toml, roots: vec![&old, &young], chain: chain.clone(), expected }
    };
    let report_only = bank_with("pins", &[&other], "mode = \"report-only\"");
    let leaf = bank("leaf_pins", &[&chain.pin()]);
    let both_fail = Verdict::mismatch().paths(2).seen(&clean);
    let both_blocked = Verdict::refused(Blocklist, STOLEN).paths(2).seen(&clean);
    judge([
        case("enforced", leaf.clone(), &old, Verdict::matched(0, &chain.pin()).seen(&clean)),
        case("reported", report_only.clone(), &old, Verdict::reported().paths(2).seen(&clean)),
        case("unpinned", String::new(), &old, Verdict::passed().under("unpinned", false).seen(&clean)),
        case("pinned way blocked", bank("ca_pins", &[&old.pin()]).replace(&old.pin(), &other), &old, both_fail),
        case("shared key blocked", leaf, &issuing, both_blocked.clone()),
        case("shared key blocked, reported", report_only, &issuing, both_blocked.under("bank", false)),
    ])
    .await;
    assert_ne!(clean, stolen_way);
}
