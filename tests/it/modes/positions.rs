//! Where in a path a pin has to stand, what a pin names, and how lists go together.

use crate::support::bench::{Case, bank, bank_with, judge, path};
use crate::support::pki::{Ca, Key, Leaf, cert_sha256, hex};
use crate::support::verdict::{BANK, Verdict};

fn certificate(der: &[u8]) -> String {
    format!("cert:sha256:{}", hex(&cert_sha256(der)))
}

#[tokio::test]
async fn a_key_counts_at_its_position_only() {
    let root = Ca::root("Root");
    let issuing = root.intermediate("Issuing");
    let chain = Leaf::named(BANK).signed_by(&issuing);
    let pins = path(&chain, &[&issuing, &root]);
    let [leaf, middle, top] = [&pins[0], &pins[1], &pins[2]];
    let other = Key::p256().pin();
    let two = |leaf: &str, ca: &str, combine: &str| {
        let spare = Key::p256().pin();
        bank_with("leaf_pins", &[leaf], &format!("ca_pins = [\"{ca}\", \"{spare}\"]\ncombine = \"{combine}\""))
    };
    let with_backup = |first: &str, backup: &str| bank_with("leaf_pins", &[first], &format!("backup = [\"{backup}\"]"));
    let refused = || Verdict::mismatch();
    let table = [
        ("CA keys as leaf", bank("leaf_pins", &[middle, top]), refused()),
        ("leaf key as CA", bank("ca_pins", &[leaf]), refused()),
        ("all, other leaf", two(&other, middle, "all"), refused()),
        ("all, other CA", two(leaf, &other, "all"), refused()),
        ("all, changed places", two(middle, leaf, "all"), refused()),
        ("any, changed places", two(middle, leaf, "any"), refused()),
        ("backup at the wrong place", with_backup(&other, middle), refused()),
        ("leaf", bank("leaf_pins", &[&other, leaf]), Verdict::matched(0, leaf)),
        ("intermediate", bank("ca_pins", &[&other, middle]), Verdict::matched(1, middle)),
        ("root", bank("ca_pins", &[top]), Verdict::matched(2, top)),
        ("anywhere", bank("pins", &[top]), Verdict::matched(2, top)),
        ("all", two(leaf, top, "all"), Verdict::matched(0, leaf)),
        ("any, leaf alone", two(leaf, &other, "any"), Verdict::matched(0, leaf)),
        ("any, CA alone", two(&other, top, "any"), Verdict::matched(2, top)),
        ("backup", with_backup(&other, leaf), Verdict::matched(0, leaf)),
    ];
    let case = |(what, toml, expected): (_, _, Verdict)| Case {
        what,
        toml,
        roots: vec![&root],
        chain: chain.clone(),
        expected: expected.seen(&pins),
    };
    judge(table.map(case)).await;
}

/// A certificate pin names one certificate; a renewal with the same key is another.
#[tokio::test]
async fn a_certificate_pin_names_one_certificate() {
    let root = Ca::root("Root");
    let issuing = root.intermediate("Issuing");
    let key = Key::p256();
    let chain = Leaf::named(BANK).key(&key).signed_by(&issuing);
    let renewed = Leaf::named(BANK).key(&key).signed_by(&issuing);
    let seen = path(&chain, &[&issuing, &root]);
    let [leaf, middle, top] = [chain.leaf(), issuing.der(), root.der()].map(|der| certificate(der));
    let reissued = certificate(issuing.cross_sign(&root).der());
    let stranger = Ca::root("Stranger");
    let refused = || Verdict::mismatch().seen(&seen);
    let matched = |at, pin: &str| Verdict::matched(at, pin).seen(&seen);
    let key_as_certificate = format!("cert:sha256:{}", hex(&key.spki_sha256()));
    let table = [
        ("renewed leaf", bank("leaf_pins", &[&leaf]), &renewed, refused()),
        ("intermediate issued anew", bank("ca_pins", &[&reissued]), &chain, refused()),
        ("the digest of a key", bank("leaf_pins", &[&key_as_certificate]), &chain, refused()),
        ("leaf among CAs", bank("ca_pins", &[&leaf]), &chain, refused()),
        ("presented only", bank("ca_pins", &[&certificate(stranger.der())]), &chain, refused()),
        ("leaf", bank("leaf_pins", &[&leaf]), &chain, matched(0, &leaf)),
        ("intermediate", bank("ca_pins", &[&middle]), &chain, matched(1, &middle)),
        ("root, never presented", bank("ca_pins", &[&top]), &chain, matched(2, &top)),
        ("renewed leaf under its key", bank("leaf_pins", &[&key.pin()]), &renewed, matched(0, &key.pin())),
    ];
    let case = |(what, toml, chain, expected): (_, _, &crate::support::pki::Chain, _)| {
        let chain = chain.clone().append(stranger.der());
        Case { what, toml, roots: vec![&root, &stranger], chain, expected }
    };
    judge(table.map(case)).await;
}
