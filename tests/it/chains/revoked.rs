//! Revocation lists, as the configuration names them. A rule of any kind leaves what they say as it is.

use crate::support::bench::{Bench, bank, every_rule};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Leaf, Validity, pem_block};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Verdict};
use pinproxy::policy::decision::FailureClass::Chain as Untrusted;

const REVOKED: &str = "a certificate of the chain is revoked";
const UNKNOWN: &str = "no revocation list says whether a certificate of the chain is revoked";
const STALE: &str = "the revocation list for a certificate of the chain is out of date";
const FORGED: &str = "the chain does not verify: InvalidCrlSignatureForPublicKey";

/// `[upstream]` with this mode (none: as it is by default) and this many lists.
fn upstream(mode: &str, lists: usize) -> String {
    let names: Vec<String> = (0..lists).map(|at| format!("{at}.crl")).collect();
    let mode = if mode.is_empty() { String::new() } else { format!("revocation = \"{mode}\"\n") };
    format!("[upstream]\n{mode}crls = {names:?}\n")
}

/// The mode, the lists, and how the chain is refused, if it is.
type Row<'a> = (&'a str, &'a [&'a Vec<u8>], Option<&'a str>);

async fn bench(toml: String, roots: &[&Ca], chain: &Chain, lists: &[&Vec<u8>]) -> Bench {
    let mut proxy = ProxyBuilder::new(toml).trusting(roots.iter().copied());
    for (at, list) in lists.iter().enumerate() {
        // By turns in either form.
        let bytes = if at % 2 == 0 { pem_block("X509 CRL", list).into_bytes() } else { Vec::clone(list) };
        proxy = proxy.file(&format!("{at}.crl"), bytes);
    }
    Bench::start(proxy, OriginConfig::new(chain.clone())).await
}

#[tokio::test]
async fn lists_decide_as_the_mode_says() {
    let root = Ca::root("Root");
    let issuing = root.intermediate("Issuing");
    let chain = Leaf::named(BANK).signed_by(&issuing);
    let (fresh, stale) = (Validity::current(), Validity::expired());
    let leaf_revoked = issuing.revokes(&[chain.leaf()], fresh);
    let leaf_revoked_stale = issuing.revokes(&[chain.leaf()], stale);
    let issuing_revoked = root.revokes(&[issuing.der()], fresh);
    let (none_of_issuing, none_of_root) = (issuing.revokes(&[], fresh), root.revokes(&[], fresh));
    let (stale_of_issuing, stale_of_root) = (issuing.revokes(&[], stale), root.revokes(&[], stale));
    let other = Leaf::named(BANK).signed_by(&issuing);
    let other_revoked = issuing.revokes(&[other.leaf()], fresh);
    // The same serial number of another authority, and the same authority by name alone.
    let strangers = Ca::root("Stranger").revokes(&[chain.leaf()], fresh);
    let forged = Ca::root("Issuing").revokes(&[], fresh);
    let table: &[Row<'_>] = &[
        ("when-available", &[&leaf_revoked], Some(REVOKED)),
        ("when-available", &[&issuing_revoked], Some(REVOKED)),
        ("when-available", &[&leaf_revoked_stale], Some(REVOKED)),
        ("when-available", &[&strangers, &none_of_root, &leaf_revoked], Some(REVOKED)),
        ("when-available", &[&forged], Some(FORGED)),
        ("when-available", &[&none_of_issuing, &none_of_root], None),
        ("when-available", &[&other_revoked], None),
        ("when-available", &[&strangers], None),
        ("when-available", &[&stale_of_issuing], None),
        ("when-available", &[], None),
        ("", &[&leaf_revoked], Some(REVOKED)),
        ("", &[&strangers], None),
        ("require", &[&leaf_revoked, &none_of_root], Some(REVOKED)),
        ("require", &[&none_of_issuing, &issuing_revoked], Some(REVOKED)),
        ("require", &[&none_of_root], Some(UNKNOWN)),
        ("require", &[&none_of_issuing], Some(UNKNOWN)),
        ("require", &[&strangers], Some(UNKNOWN)),
        ("require", &[&stale_of_issuing, &none_of_root], Some(STALE)),
        ("require", &[&none_of_issuing, &stale_of_root], Some(STALE)),
        ("require", &[&none_of_issuing, &none_of_root], None),
        ("require", &[&other_revoked, &none_of_root, &strangers], None),
        ("off", &[&leaf_revoked, &issuing_revoked], None),
        ("off", &[&stale_of_issuing, &forged], None),
        ("off", &[], None),
    ];
    let mut wrong = Vec::new();
    for (at, (mode, lists, refused)) in table.iter().enumerate() {
        for (rules, rule, enforced) in every_rule(&chain.pin()) {
            let toml = upstream(mode, lists.len()) + &rules;
            let outcome = bench(toml, &[&root], &chain, lists).await.ask(BANK).await;
            let is = outcome.verdict();
            let right = match refused {
                Some(detail) => is == Verdict::refused_for(BANK, rule, Untrusted, detail).under(rule, enforced),
                None => outcome.reply.status == 200 && !outcome.session().answer.is_empty(),
            };
            if !right {
                wrong.push(format!("row {at}, {mode:?}, expected {refused:?}\n{rules}\nis {is:?}\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What one root has revoked, another may vouch for: the pins then see that other way.
#[tokio::test]
async fn a_revoked_way_leaves_the_others() {
    let (old, young) = (Ca::root("Old Root"), Ca::root("Young Root"));
    let issuing = old.intermediate("Issuing");
    let crossed = issuing.cross_sign(&young);
    let chain = Leaf::named(BANK).signed_by(&issuing).append(crossed.der());
    let list = old.revokes(&[issuing.der()], Validity::current());
    for (pin, refused) in [(old.pin(), true), (young.pin(), false)] {
        let toml = upstream("when-available", 1) + &bank("ca_pins", &[&pin]);
        let outcome = bench(toml, &[&old, &young], &chain, &[&list]).await.ask(BANK).await;
        let seen = crate::support::bench::path(&chain, &[&issuing, &young]);
        let expected = if refused { Verdict::mismatch() } else { Verdict::matched(2, &pin) };
        assert_eq!(outcome.verdict(), expected.seen(&seen));
    }
}

/// Lists that come and go with a generation.
#[tokio::test]
async fn a_new_generation_reads_its_lists_anew() {
    let root = Ca::root("Root");
    let chain = Leaf::named(BANK).signed_by(&root);
    let (none, revoked) = (root.revokes(&[], Validity::current()), root.revokes(&[chain.leaf()], Validity::current()));
    let toml = upstream("require", 1);
    let mut bench = bench(toml.clone(), &[&root], &chain, &[&none]).await;
    assert_eq!(bench.ask(BANK).await.reply.status, 200);
    std::fs::write(bench.proxy.folder.path().join("0.crl"), revoked).unwrap();
    assert_eq!(bench.ask(BANK).await.reply.status, 200, "nobody asked for the file to be read");
    bench.proxy.replace(&toml, 2);
    let outcome = bench.ask(BANK).await;
    let refused = Verdict::refused_for(BANK, "unpinned", Untrusted, REVOKED).under("unpinned", false);
    assert_eq!(outcome.verdict(), refused);
}
