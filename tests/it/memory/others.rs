//! What is known of one chain under one rule of one generation is known of no other.

use super::*;

use pinproxy::policy::host::Host;

/// The verdict of one rule, generation, host or set of anchors is never that of another.
#[test]
fn what_something_else_ends() {
    let scene = Scene::usual();
    let (certificates, pin) = (&scene.chain.certificates, scene.chain.pin());
    let bank = |more: &str| pinset("bank", "\"bank.example\"", &pin, more);
    let blocked = format!(
        "{}[[blocklist]]\nname = \"lost\"\nreason = \"lost\"\nspki = [\"{}\"]\n",
        bank(""),
        scene.intermediate.pin()
    );
    let denied = bank(&format!("deny = [\"{}\"]", scene.intermediate.pin()));
    let (pins, chain) = (Err(FailureClass::Pin), Err(FailureClass::Chain));
    let elsewhere = pinset("other", "\"bank.example:8443\"", &Key::p256().pin(), "");
    let other_root = Arc::new(TrustAnchors::from_certificates([Ca::root("root").der().clone()]).expect("sound"));
    let revoked =
        |list| Question { revocation: lists(RevocationMode::WhenAvailable, [list]), ..scene.question.clone() };
    let leaf_revoked = revoked(scene.intermediate.revokes(&[scene.chain.leaf()], until(90)));
    let intermediate_revoked = revoked(scene.root.revokes(&[scene.intermediate.der()], until(90)));
    let question = &scene.question;
    let table = [
        ("an equal policy of another generation", scene.asked(&bank(""), "bank.example:443"), Ok(())),
        ("a blocked key", scene.asked(&blocked, "bank.example:443"), Err(FailureClass::Blocklist)),
        ("a denied key", scene.asked(&denied, "bank.example:443"), Err(FailureClass::Blocklist)),
        (
            "other pins",
            scene.asked(&pinset("bank", "\"bank.example\"", &Key::p256().pin(), ""), "bank.example:443"),
            pins,
        ),
        ("no pins", scene.asked("", "bank.example:443"), Ok(())),
        ("another rule of the host", scene.asked(&format!("{}{elsewhere}", bank("")), "bank.example:8443"), pins),
        ("other anchors", Question { anchors: other_root, ..question.clone() }, chain),
        ("another list of the intermediate", leaf_revoked, chain),
        ("another list of the root", intermediate_revoked, chain),
    ];
    for (what, question, expected) in table {
        scene.then(what, &question, certificates, at(0), expected, false);
    }
}

/// Two rules of one policy that the same chain is served under: neither answers for the other, and neither drives out what
/// is known under the other.
#[test]
fn two_rules_of_one_policy() {
    let scene = Scene::usual();
    let certificates = &scene.chain.certificates;
    let (satisfied, other) = (scene.chain.pin(), Key::p256().pin());
    let text = pinset("one", "\"bank.example:443\"", &satisfied, "")
        + &pinset("two", "\"bank.example:8443\"", &scene.intermediate.pin(), "")
        + &pinset("three", "\"bank.example:9443\"", &other, "");
    let policy = policy(&text);
    let asked = |port: u16| scene.under(&policy, &format!("bank.example:{port}"), at(0));
    let (one, two, three) = (asked(443), asked(8443), asked(9443));
    for round in 0..3 {
        assert_eq!(scene.verify(&one, certificates, at(0)), Ok(()));
        assert_eq!(scene.verify(&two, certificates, at(0)), Ok(()));
        assert_eq!(scene.verify(&three, certificates, at(0)), Err(FailureClass::Pin));
        assert_eq!((scene.memory.answered(), scene.memory.entries()), (2 * round, 2));
    }
}

/// The path of a certificate for several names is one; whether it is for the name is looked at each time.
#[test]
fn other_names() {
    let scene = Scene::usual();
    let table = [
        ("a.many.example", Ok(()), true),
        ("a.b.many.example", Err(FailureClass::Name), false),
        ("a.bank.example", Err(FailureClass::Name), false),
        ("many.example", Err(FailureClass::Name), false),
        ("192.0.2.1", Err(FailureClass::Name), false),
    ];
    for (host, expected, remembered) in table {
        let host = Host::parse(host).expect("sound");
        let question = Question { host, ..scene.question.clone() };
        scene.then(&question.host.to_string(), &question, &scene.chain.certificates, at(0), expected, remembered);
    }
}

/// The same certificates in another order, and others, are looked up as what they are.
#[test]
fn other_certificates() {
    let scene = Scene::usual();
    let certificates = &scene.chain.certificates;
    let with_root: Vec<_> = certificates.iter().chain([scene.root.der()]).cloned().collect();
    let turned = [with_root[0].clone(), with_root[2].clone(), with_root[1].clone()];
    let upside_down: Vec<_> = certificates.iter().rev().cloned().collect();
    let mut spoilt = certificates.clone();
    let mut octets = spoilt[0].to_vec();
    *octets.last_mut().expect("sound") ^= 1;
    spoilt[0] = CertificateDer::from(octets);
    let renewed = Leaf::named(HOST).validity(until(1_000)).signed_by(&scene.intermediate);
    let table = [
        ("the root as well", with_root.clone(), Ok(())),
        ("in another order", turned.to_vec(), Ok(())),
        ("upside down", upside_down, Err(FailureClass::Chain)),
        ("a signature with one wrong bit", spoilt, Err(FailureClass::Chain)),
        ("without the intermediate", vec![certificates[0].clone()], Err(FailureClass::Chain)),
        ("another leaf", renewed.certificates, Err(FailureClass::Pin)),
    ];
    for (what, certificates, expected) in table {
        scene.then(what, &scene.question, &certificates, at(0), expected, false);
    }
}
