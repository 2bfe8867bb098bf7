//! Several ways up from one leaf, and what hides among them.

use crate::support::bench::{Case, bank, bank_with, judge, path};
use crate::support::pki::{Ca, Chain, Key, Leaf, Validity};
use crate::support::verdict::{BANK, Verdict};

/// A root that another root has certified too, as happens when an authority is young.
struct Crossed {
    old: Ca,
    young: Ca,
    /// The young root certified by the old one.
    bridge: Ca,
    issuing: Ca,
    leaf: Chain,
}

impl Crossed {
    fn new() -> Self {
        let (old, young) = (Ca::root("Old Root"), Ca::root("Young Root"));
        let bridge = young.cross_sign(&old);
        let issuing = young.intermediate("Issuing");
        let leaf = Leaf::named(BANK).signed_by(&issuing);
        Self { old, young, bridge, issuing, leaf }
    }

    fn presented(&self) -> Chain {
        self.leaf.clone().append(self.bridge.der())
    }
}

/// Both roots are trusted, whichever path is found first; pinning either of them has to find its path.
#[tokio::test]
async fn either_of_two_cross_signed_roots_can_be_pinned() {
    let world = Crossed::new();
    let short = path(&world.leaf, &[&world.issuing, &world.young]);
    let long = path(&world.leaf, &[&world.issuing, &world.young, &world.old]);
    let mut cases = Vec::new();
    for roots in [vec![&world.old, &world.young], vec![&world.young, &world.old]] {
        let mut case = |what, pin: &str, expected| {
            let (toml, roots) = (bank("ca_pins", &[pin]), roots.clone());
            cases.push(Case { what, toml, roots, chain: world.presented(), expected });
        };
        case("young", &world.young.pin(), Verdict::matched(2, &world.young.pin()).seen(&short));
        case("old", &world.old.pin(), Verdict::matched(3, &world.old.pin()).seen(&long));
        // Neither: both ways are told, the shorter one as the validated chain.
        case("neither", &Key::p256().pin(), Verdict::mismatch().seen(&short).paths(2));
    }
    judge(cases).await;
}

/// brave/brave-browser#52059: an intermediate among the anchors ends the path before the pinned root.
#[tokio::test]
async fn an_intermediate_among_the_anchors() {
    let root = Ca::root("Root");
    let issuing = root.intermediate("Issuing");
    let twin = Ca::root("Root").rebuild().key(root.key()).self_signed();
    let chain = Leaf::named(BANK).signed_by(&issuing);
    let toml = || bank("ca_pins", &[&root.pin()]);
    let (short, long) = (path(&chain, &[&issuing]), path(&chain, &[&issuing, &root]));
    let found = Verdict::matched(2, &root.pin()).seen(&long);
    let both = vec![&issuing, &root];
    let case =
        |what, roots: &Vec<_>, chain, expected| Case { what, toml: toml(), roots: roots.clone(), chain, expected };
    let anchors_only = Verdict::mismatch().seen(&short);
    let stranger = bank("ca_pins", &[&Key::p256().pin()]);
    let refused = |paths, seen: &[String]| Verdict::mismatch().seen(seen).paths(paths);
    judge([
        case("intermediate presented", &both, chain.clone(), found.clone()),
        case("anchors are no intermediates", &both, chain.clone().leaf_only(), anchors_only),
        case("root presented too", &both, chain.clone().with_root(), found.clone()),
        case("two anchors with one key", &vec![&issuing, &twin, &root], chain.clone(), found),
        // What is turned down is counted once a way, also where the root is presented.
        Case { toml: stranger.clone(), ..case("counts", &both, chain.clone().with_root(), refused(2, &short)) },
        Case { toml: stranger, ..case("counts twins", &vec![&twin, &root], chain.with_root(), refused(2, &long)) },
    ])
    .await;
}

/// webpki tells one error of many branches, and a fault elsewhere outranks what the visitor says.
#[tokio::test]
async fn a_broken_branch_does_not_hide_a_pin_mismatch() {
    let root = Ca::root("Root");
    let issuing = root.intermediate("Issuing");
    let chain = Leaf::named(BANK).signed_by(&issuing);
    let seen = path(&chain, &[&issuing, &root]);
    let branches = [
        ("expired", issuing.rebuild().validity(Validity::expired()).signed_by(&root)),
        ("not yet valid", issuing.rebuild().validity(Validity::not_yet()).signed_by(&root)),
        ("no authority", issuing.rebuild().not_a_ca().signed_by(&root)),
        ("unknown root", issuing.rebuild().signed_by(&Ca::root("Unknown"))),
        ("excluded", issuing.rebuild().exclude_dns("example").signed_by(&root)),
    ];
    let mut cases = Vec::new();
    for (what, branch) in &branches {
        let behind = chain.clone().append(branch.der());
        let before = chain.clone().leaf_only().append(branch.der()).append(issuing.der());
        let pin = Key::p256().pin();
        for chain in [behind, before] {
            let mut case = |toml, expected| {
                cases.push(Case { what, toml, roots: vec![&root], chain: chain.clone(), expected });
            };
            case(bank("pins", &[&pin]), Verdict::mismatch().seen(&seen));
            case(bank_with("pins", &[&pin], "mode = \"report-only\""), Verdict::reported().seen(&seen));
            case(bank("ca_pins", &[&root.pin()]), Verdict::matched(2, &root.pin()).seen(&seen));
            case(String::new(), Verdict::passed().seen(&seen).under("unpinned", false));
        }
    }
    judge(cases).await;
}

/// Keys that some clients cannot hash or order must not break the search (TrustKit).
#[tokio::test]
async fn keys_of_every_kind_in_the_chain() {
    for key in [Key::p384(), Key::p521(), Key::ed25519(), Key::rsa2048()] {
        let root = Ca::builder("Root").key(&key).self_signed();
        let issuing = Ca::builder("Issuing").key(&key).signed_by(&root);
        for leaf in [Key::p256(), key.clone()] {
            let chain = Leaf::named(BANK).key(&leaf).signed_by(&issuing);
            let seen = path(&chain, &[&issuing, &root]);
            let case = |toml, expected| Case { what: "keys", toml, roots: vec![&root], chain: chain.clone(), expected };
            judge([
                case(bank("pins", &[&Key::p256().pin()]), Verdict::mismatch().seen(&seen)),
                case(bank("leaf_pins", &[&chain.pin()]), Verdict::matched(0, &chain.pin()).seen(&seen)),
                case(bank("ca_pins", &[&key.pin()]), Verdict::matched(1, &key.pin()).seen(&seen)),
            ])
            .await;
        }
    }
}

#[tokio::test]
async fn the_order_and_number_of_certificates_do_not_matter() {
    let root = Ca::root("Root");
    let (policy, stranger) = (root.intermediate("Policy"), Ca::root("Stranger"));
    let issuing = policy.intermediate("Issuing");
    let chain = Leaf::named(BANK).signed_by(&issuing);
    let seen = path(&chain, &[&issuing, &policy, &root]);
    let junk = rustls::pki_types::CertificateDer::from(b"no certificate".to_vec());
    let shapes = [
        ("in order", chain.clone()),
        ("root presented", chain.clone().with_root()),
        ("reversed", chain.clone().with_root().reverse_issuers()),
        ("doubles", chain.clone().reorder(&[0, 1, 1, 2, 2, 1])),
        ("the leaf again", chain.clone().reorder(&[0, 0, 1, 0, 2])),
        ("strangers between", chain.clone().append(stranger.der()).reorder(&[0, 3, 2, 1])),
        ("junk between", chain.append(&junk).reorder(&[0, 3, 2, 1])),
    ];
    let mut cases = Vec::new();
    for (what, chain) in shapes {
        let mut case = |toml, expected| {
            cases.push(Case { what, toml, roots: vec![&root], chain: chain.clone(), expected });
        };
        case(bank("pins", &[&Key::p256().pin()]), Verdict::mismatch().seen(&seen));
        case(bank("ca_pins", &[&policy.pin()]), Verdict::matched(2, &policy.pin()).seen(&seen));
        case(bank("ca_pins", &[&root.pin()]), Verdict::matched(3, &root.pin()).seen(&seen));
    }
    judge(cases).await;
}
