//! What is not remembered, and how much is.

use super::*;

use pinproxy::tls::memory::CHAIN_MEMORY_OCTETS_MAX;

/// What was refused is never remembered: the next one asks again.
#[test]
fn refusals_are_not_remembered() {
    let scene = Scene::usual();
    let question = scene.asked(&pinset("bank", "\"bank.example\"", &Key::p256().pin(), ""), "bank.example:443");
    for _ in 0..3 {
        assert_eq!(scene.verify(&question, &scene.chain.certificates, at(0)), Err(FailureClass::Pin));
    }
    assert_eq!((scene.memory.answered(), scene.memory.entries()), (0, 0));
    // What is only reported is let through, and told each time.
    let soft = scene
        .asked(&pinset("bank", "\"bank.example\"", &Key::p256().pin(), "mode = \"report-only\""), "bank.example:443");
    for answered in 0..3 {
        assert_eq!(scene.verify(&soft, &scene.chain.certificates, at(0)), Ok(()));
        assert_eq!(scene.memory.answered(), answered);
    }
    // A pinned key without a chain takes no path building, and is not remembered either.
    let key_only = scene
        .asked(&pinset("bank", "\"bank.example\"", &scene.chain.pin(), "trust = \"pin-only\""), "bank.example:443");
    for _ in 0..2 {
        assert_eq!(scene.verify(&key_only, &scene.chain.certificates, at(0)), Ok(()));
    }
    assert_eq!((scene.memory.answered(), scene.memory.entries()), (2, 1));
}

#[test]
fn it_is_bounded() {
    let scene = Scene::usual();
    let (leaf, others) = scene.chain.certificates.split_first().expect("sound");
    let circumstances = Circumstances::new(at(0), Ipv4Addr::LOCALHOST.into());
    let most = usize::try_from(CHAIN_MEMORY_OCTETS_MAX / 1_024).expect("sound");
    for n in 0..most + most / 4 {
        // What is no certificate leads nowhere, but makes the list another one.
        let more: Vec<_> = others.iter().cloned().chain([CertificateDer::from(n.to_be_bytes().to_vec())]).collect();
        assert!(scene.memory.verify(&scene.question, leaf, &more, &circumstances).result.is_ok());
    }
    let entries = scene.memory.entries();
    assert!(entries <= most && entries > most / 2, "{entries} of {most}");
}

/// More chains than there is room for: each is verified as before, whether it is remembered still or not.
#[test]
fn more_chains_than_there_is_room_for() {
    let mut scene = Scene::usual();
    scene.memory = ChainMemory::holding(32 << 10);
    let other = pinset("bank", "\"bank.example\"", &Key::p256().pin(), "");
    let refused = scene.asked(&other, "bank.example:443");
    let chains: Vec<Vec<_>> = (0..100_u64)
        .map(|n| scene.chain.certificates.iter().cloned().chain([n.to_be_bytes().to_vec().into()]).collect())
        .collect();
    for round in 0..3 {
        for (n, certificates) in chains.iter().enumerate() {
            assert_eq!(scene.verify(&scene.question, certificates, at(0)), Ok(()), "{n} in round {round}");
            assert_eq!(scene.verify(&refused, certificates, at(0)), Err(FailureClass::Pin), "{n} in round {round}");
            assert!(scene.memory.entries() <= 32, "{} entries", scene.memory.entries());
        }
    }
    assert!(scene.memory.answered() < 2 * chains.len() as u64, "most of them had to go");
}

/// A chain that takes up too much with what its report is to hold is verified each time, to the same end.
#[test]
fn a_chain_too_large_to_be_remembered() {
    let mut scene = Scene::usual();
    let large = |octets| {
        let extension = rcgen::CustomExtension::from_oid_content(&[2, 999, 1], vec![0; octets]);
        let leaf = Leaf::named(HOST).with_params(|params| params.custom_extensions.push(extension));
        leaf.validity(until(100_000)).signed_by(&scene.intermediate)
    };
    let (small, large) = (large(100), large(10_000));
    let soft = pinset("bank", "\"bank.example\"", &Key::p256().pin(), "mode = \"report-only\"");
    let table = [
        // Nothing was turned down, so there is no report that would need it.
        ("large, without a report", "", &large, [false, true, true]),
        ("small, with a report", &soft, &small, [false, true, true]),
        ("large, with a report", &soft, &large, [false, false, false]),
    ];
    for (what, text, chain, remembered) in table {
        scene.memory = ChainMemory::holding(16 << 10);
        let question = scene.asked(text, "bank.example:443");
        for remembered in remembered {
            let before = scene.memory.answered();
            assert_eq!(scene.verify(&question, &chain.certificates, at(0)), Ok(()), "{what}");
            assert_eq!(scene.memory.answered() - before, u64::from(remembered), "{what}");
        }
        assert_eq!(scene.memory.entries(), usize::from(remembered[1]), "{what}");
    }
}
