//! Chains that verify, or nearly, and are not the pinned ones.

use crate::support::bench::{Bench, Case, bank, judge, path};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Key, Leaf};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Verdict};
use pinproxy::policy::decision::FailureClass::{self};

/// The genuine hierarchy, and a rogue authority that is trusted as well.
struct World {
    root: Ca,
    issuing: Ca,
    genuine: Chain,
    rogue: Ca,
}

impl World {
    fn new() -> Self {
        let root = Ca::root("Bank Root");
        let issuing = root.intermediate("Bank Issuing");
        let genuine = Leaf::named(BANK).signed_by(&issuing);
        Self { root, issuing, genuine, rogue: Ca::root("Rogue") }
    }

    /// Every way to pin the genuine chain by its keys.
    fn rules(&self) -> [String; 4] {
        let (leaf, issuing, root) = (self.genuine.pin(), self.issuing.pin(), self.root.pin());
        [
            bank("leaf_pins", &[&leaf]),
            bank("ca_pins", &[&issuing]),
            bank("ca_pins", &[&root]),
            bank("pins", &[&leaf, &issuing, &root]),
        ]
    }

    /// Each rule refuses each chain with this verdict; the genuine chain and the rogue authority are both trusted.
    async fn judge(&self, chains: &[(&str, Chain)], expected: &Verdict) {
        let mut cases = Vec::new();
        for toml in self.rules() {
            for (what, chain) in chains {
                let (toml, chain, expected) = (toml.clone(), chain.clone(), expected.clone());
                cases.push(Case { what, toml, roots: vec![&self.root, &self.rogue], chain, expected });
            }
        }
        judge(cases).await;
    }
}

#[tokio::test]
async fn a_trusted_authority_that_is_not_the_pinned_one() {
    let world = World::new();
    let issuing = world.rogue.intermediate("Rogue Issuing");
    let forged = Leaf::named(BANK).signed_by(&issuing);
    let expected = Verdict::mismatch().seen(&path(&forged, &[&issuing, &world.rogue]));
    world.judge(&[("rogue", forged)], &expected).await;
    // The same hierarchy without a fault, so that it is the pins that refuse above.
    let roots = || vec![&world.root, &world.rogue];
    let passes = |toml: &str, position, pin: &str, above: &[&Ca]| Case {
        what: "genuine",
        toml: toml.to_owned(),
        roots: roots(),
        chain: world.genuine.clone(),
        expected: Verdict::matched(position, pin).seen(&path(&world.genuine, above)),
    };
    let above = [&world.issuing, &world.root];
    let pins = path(&world.genuine, &above);
    let positions = [(0, &pins[0]), (1, &pins[1]), (2, &pins[2]), (0, &pins[0])];
    judge(world.rules().iter().zip(positions).map(|(toml, (at, pin))| passes(toml, at, pin, &above))).await;
}

/// CVE-2016-2402: what is merely presented must not count.
#[tokio::test]
async fn the_pinned_certificates_appended_to_a_foreign_chain() {
    let world = World::new();
    let short = Leaf::named(BANK).signed_by(&world.rogue);
    let expected = Verdict::mismatch().seen(&path(&short, &[&world.rogue]));
    let genuine = || world.genuine.certificates.iter().chain([world.root.der()]);
    let chains = [
        ("in order", short.clone().append_all(genuine())),
        ("in reverse", short.clone().append_all(genuine().rev())),
        ("the leaf alone", short.clone().append(world.genuine.leaf())),
        ("the authorities alone", short.append(world.issuing.der()).append(world.root.der())),
    ];
    world.judge(&chains, &expected).await;
}

/// A certificate of the pinned authority without the right to sign, used to sign all the same.
#[tokio::test]
async fn a_signer_that_is_no_authority() {
    let world = World::new();
    let compromised = Leaf::named("shop.example").signed_by(&world.issuing);
    let forged = Leaf::named(BANK).signed_by_leaf(&compromised);
    assert_eq!(forged.certificates.len(), 3, "the forged leaf, its signer, the pinned issuer");
    let detail = "a certificate of the chain is signed by one that is no certificate authority";
    world.judge(&[("no other way up", forged)], &Verdict::refused(FailureClass::Chain, detail)).await;

    // The attackerSwitch of OkHttp: the same key is an authority below the rogue root, so there is one sound way up,
    // and a longer one through the pinned authority that must not be walked.
    let switch = Key::p256();
    let authority = Ca::builder("switch.example").key(&switch).signed_by(&world.rogue);
    let no_authority = Leaf::named("switch.example").key(&switch).signed_by(&world.issuing);
    let forged = Leaf::named(BANK).signed_by(&authority);
    let expected = Verdict::mismatch().seen(&path(&forged, &[&authority, &world.rogue]));
    let long = forged.clone().leaf_only().append_all(&no_authority.certificates).append(authority.der());
    let chains = [("short way first", forged.append_all(&no_authority.certificates)), ("long way first", long)];
    world.judge(&chains, &expected).await;
}

/// A path length that one side honours and the other does not (OkHttp 5.0 alpha).
#[tokio::test]
async fn an_authority_below_a_path_length_of_zero() {
    let root = Ca::root("Bank Root");
    let issuing = Ca::builder("Bank Issuing").path_len(0).signed_by(&root);
    let rogue = Ca::root("Rogue");
    let below = issuing.intermediate("Shop");
    let short = Ca::builder("Shop").key(below.key()).signed_by(&rogue);
    let forged = Leaf::named(BANK).signed_by(&below);
    let toml = bank("ca_pins", &[&issuing.pin()]);
    let refused =
        Verdict::refused(FailureClass::Chain, "the chain is longer than one of its certificate authorities allows");
    let switched = Verdict::mismatch().seen(&path(&forged, &[&short, &rogue]));
    let case = |what, chain, expected| Case { what, toml: toml.clone(), roots: vec![&root, &rogue], chain, expected };
    judge([
        case("no other way up", forged.clone(), refused),
        case("and an unpinned way up", forged.append(short.der()), switched),
    ])
    .await;
}

/// The certificate is public; only the key makes a server.
#[tokio::test]
async fn the_pinned_certificate_without_its_key() {
    let world = World::new();
    let stolen = world.genuine.clone().with_key(&Key::p256());
    let self_signed = Leaf::named(BANK).self_signed();
    let pin_only = bank("leaf_pins", &[&self_signed.pin()]) + "trust = \"pin-only\"\n";
    let cases = [(bank("leaf_pins", &[&world.genuine.pin()]), stolen), (pin_only, self_signed.with_key(&Key::p256()))];
    for (toml, chain) in cases {
        for version in rustls::ALL_VERSIONS {
            let proxy = ProxyBuilder::new(toml.as_str()).trusting([&world.root]);
            let mut bench = Bench::start(proxy, OriginConfig::new(chain.clone()).versions(&[version])).await;
            let outcome = bench.ask(BANK).await;
            let event = &outcome.told.event;
            assert_eq!((outcome.reply.status, event.failure_class), (502, Some(FailureClass::Chain)), "{event:?}");
            assert!(outcome.reply.header("proxy-status").unwrap().contains("error=tls_certificate_error"));
            let words =
                "the upstream did not prove that it has the key of its certificate: its signature does not fit the key";
            assert_eq!(event.detail.as_deref(), Some(words));
            assert_eq!(event.decision, pinproxy::report::Decided::Refuse);
            assert_eq!((event.matched_pin.as_ref(), event.bytes.upstream), (None, 0));
            assert!(outcome.told.violation.is_none());
            assert!(outcome.upstream.iter().all(|connection| connection.handshake.is_none()));
        }
    }
}
