//! Each end of what is known of a chain: dates of certificates, anchors, lists and rules.

use super::*;

use pinproxy::tls::memory::CHAIN_MEMORY_LIFETIME;

/// Each certificate, each list that is binding, and the lifetime of the memory itself.
#[test]
fn what_time_ends() {
    use RevocationMode::{Off, Require, WhenAvailable};
    let lifetime = i64::try_from(CHAIN_MEMORY_LIFETIME.as_secs()).expect("sound");
    let (long, ended) = (100_000, Err(FailureClass::Validity));
    // ends of leaf, intermediate and root, lists, the moment, how it ends, out of memory
    let table = [
        ((long, long, long), Off, lifetime - 1, Ok(()), true),
        ((long, long, long), Off, lifetime, Ok(()), false),
        ((70, long, long), Off, 70, Ok(()), true),
        ((70, long, long), Off, 71, ended, false),
        ((long, 70, long), Off, 70, Ok(()), true),
        ((long, 70, long), Off, 71, ended, false),
        ((long, long, 70), Off, 70, Ok(()), true),
        ((long, long, 70), Off, 71, ended, false),
        // Where nothing depends on them, lists do not end anything.
        ((long, long, long), Off, 60, Ok(()), true),
        ((long, long, long), WhenAvailable, 60, Ok(()), true),
        ((long, long, long), WhenAvailable, 90, Ok(()), true),
        ((long, long, long), Require, 59, Ok(()), true),
        ((long, long, long), Require, 60, Err(FailureClass::Chain), false),
        // It is not known what was before.
        ((long, long, long), Off, -1, Ok(()), false),
        ((long, long, long), Off, -3_601, ended, false),
    ];
    for ((leaf, intermediate, root), mode, seconds, expected, remembered) in table {
        let scene = Scene::ending(leaf, intermediate, root, mode);
        let what = format!("{leaf} {intermediate} {root} {mode:?} at {seconds}");
        scene.then(&what, &scene.question, &scene.chain.certificates, at(seconds), expected, remembered);
    }
}

/// Of two clocks the later one counts, for what is remembered too.
#[test]
fn a_clock_that_is_doubted() {
    let scene = Scene::ending(70, 100_000, 100_000, RevocationMode::Off);
    let both = |one, other| Moment::between(at(one), at(other));
    let certificates = &scene.chain.certificates;
    scene.then("both within", &scene.question, certificates, both(0, 70), Ok(()), true);
    scene.then("one beyond", &scene.question, certificates, both(0, 71), Err(FailureClass::Validity), false);
}

/// A certificate beside the path that begins: path building has more to choose from.
#[test]
fn a_served_certificate_that_begins() {
    let scene = Scene::usual();
    let later = Validity::between(REFERENCE + time::Duration::seconds(50), REFERENCE + time::Duration::days(1));
    let other = Ca::builder("other").validity(later).signed_by(&scene.root);
    let certificates: Vec<_> = scene.chain.certificates.iter().chain([other.der()]).cloned().collect();
    assert_eq!(scene.verify(&scene.question, &certificates, at(0)), Ok(()));
    for (seconds, answered) in [(49, 1), (50, 1), (51, 2)] {
        assert_eq!(scene.verify(&scene.question, &certificates, at(seconds)), Ok(()));
        assert_eq!(scene.memory.answered(), answered, "at {seconds}");
    }
}

/// Whichever list is the first to run out ends it, and a list of nobody on the path does no harm but to be looked at.
#[test]
fn the_first_list_that_runs_out() {
    let stale = Err(FailureClass::Chain);
    // nextUpdate of the root's list, of the intermediate's, of a stranger's; moments, how they end, out of memory
    let table: [(i64, i64, i64, &[Step]); 3] = [
        (60, 90, 100, &[(59, Ok(()), true), (60, stale, false), (61, stale, false)]),
        (90, 60, 100, &[(59, Ok(()), true), (60, stale, false), (61, stale, false)]),
        (90, 100, 60, &[(59, Ok(()), true), (60, Ok(()), false), (89, Ok(()), true), (90, stale, false)]),
    ];
    for (of_root, of_intermediate, of_stranger, steps) in table {
        let scene = Scene::usual();
        let all = [
            scene.root.revokes(&[], until(of_root)),
            scene.intermediate.revokes(&[], until(of_intermediate)),
            Ca::root("stranger").revokes(&[], until(of_stranger)),
        ];
        let question = Question { revocation: lists(RevocationMode::Require, all), ..scene.question.clone() };
        let what = format!("{of_root} {of_intermediate} {of_stranger}");
        follow(&scene, &what, steps, &scene.chain.certificates, |_| question.clone());
    }
}

/// How a question ends at a moment, and whether out of memory.
type Step = (i64, Result<(), FailureClass>, bool);

/// Asks at the reference and then at each moment, all in one memory.
fn follow(
    scene: &Scene,
    what: &str,
    steps: &[Step],
    certificates: &[CertificateDer<'static>],
    question: impl Fn(SystemTime) -> Question,
) {
    assert_eq!(scene.verify(&question(at(0)), certificates, at(0)), Ok(()), "{what}");
    for &(seconds, expected, remembered) in steps {
        let before = scene.memory.answered();
        assert_eq!(scene.verify(&question(at(seconds)), certificates, at(seconds)), expected, "{what} at {seconds}");
        assert_eq!(scene.memory.answered() - before, u64::from(remembered), "{what} at {seconds}");
    }
}

/// An anchor that begins or ends while a chain is remembered opens or closes a path, whether the remembered one ends in it
/// or not. Two authorities of the same name and key: one below the old root, the other below the young one.
#[test]
fn anchors_that_begin_and_end() {
    let beginning = |seconds| Validity::between(REFERENCE + time::Duration::seconds(seconds), until(100_000).not_after);
    let (always, begins, ends) = (until(100_000), beginning(50), until(49));
    let change: &[Step] = &[(49, Ok(()), true), (50, Ok(()), false), (51, Ok(()), true)];
    let nobody = Key::p256().pin();
    // validity of the old root, the young one and one of nobody; whose key is pinned, and how
    let table = [
        ("reported until the pinned root begins", [always, begins, always], "young", false),
        ("reported of fewer paths when one ends", [always, ends, always], "nobody", false),
        ("reported of more paths when one begins", [begins, always, always], "nobody", false),
        ("reported from when the pinned root ends", [always, ends, always], "young", false),
        ("the other path when the one ends", [ends, always, always], "leaf", true),
        ("the other path when the other one ends", [always, ends, always], "leaf", true),
        ("a root of another chain that begins", [always, always, begins], "leaf", true),
    ];
    for (what, [old, young, other], pinned, enforced) in table {
        let scene = Scene::usual();
        let old = Ca::builder("old").validity(old).self_signed();
        let young = Ca::builder("young").validity(young).self_signed();
        let other = Ca::builder("other").validity(other).self_signed();
        let issuing = Ca::builder("issuing").validity(always).signed_by(&old);
        let leaf = Leaf::named(HOST).validity(always).signed_by(&issuing);
        let chain = leaf.append(issuing.rebuild().validity(always).signed_by(&young).der());
        let pin = match pinned {
            "young" => young.pin(),
            "leaf" => chain.pin(),
            _ => nobody.clone(),
        };
        let mode = if enforced { "" } else { "mode = \"report-only\"" };
        let roots = [&old, &young, &other].map(|root| root.der().clone());
        let question = Question {
            anchors: Arc::new(TrustAnchors::from_certificates(roots).expect("sound")),
            ..scene.asked(&pinset("bank", "\"bank.example\"", &pin, mode), "bank.example:443")
        };
        follow(&scene, what, change, &chain.certificates, |_| question.clone());
    }
}

/// Dates of the policy: what the rule asks for from then on is asked anew, and what was found before is not its answer.
#[test]
fn the_dates_of_a_rule() {
    let mut scene = Scene::usual();
    let (shown, other) = (scene.chain.pin(), Key::p256().pin());
    let expiry = |then: &str| format!("[pinset.expiry]\nat = 2026-03-01T12:01:00Z\nthen = \"{then}\"");
    let bank = |pin: &str, more: &str| pinset("bank", "\"bank.example\"", pin, more);
    let soft = |then: &str| format!("mode = \"report-only\"\n{}", expiry(then));
    let exempted = |pin: &str| {
        let exempt = "[[exempt]]\nhosts = [\"bank.example\"]\nreason = \"test\"\nuntil = 2026-03-01T12:01:00Z\n";
        pinset("bank", "\"**.example\"", pin, "") + exempt
    };
    let rollout = "mode = \"report-only\"\n[pinset.rollout]\nenforce_from = 2026-03-01T12:01:00Z";
    let pins = Err(FailureClass::Pin);
    let same: &[Step] = &[(59, Ok(()), true), (60, Ok(()), true), (61, Ok(()), true)];
    let softer: &[Step] = &[(59, Ok(()), true), (60, Ok(()), false), (61, Ok(()), true), (59, Ok(()), true)];
    let closed: &[Step] = &[(59, Ok(()), true), (60, pins, false), (61, pins, false), (59, Ok(()), true)];
    let table = [
        ("a pinset that ends closed", bank(&shown, &expiry("fail-closed")), closed),
        ("one that is only reported", bank(&other, &soft("fail-closed")), same),
        ("a pinset that is reported from its end", bank(&shown, &expiry("report-only")), softer),
        ("one that is reported already", bank(&other, &soft("report-only")), same),
        ("a pinset that ends in none", bank(&shown, &expiry("unpinned")), softer),
        ("the same of one that is reported", bank(&other, &soft("unpinned")), softer),
        ("an exemption of a chain without the pin", exempted(&other), closed),
        ("an exemption of a chain with the pin", exempted(&shown), softer),
        ("enforcement of a chain without the pin", bank(&other, rollout), closed),
        ("enforcement of a chain with the pin", bank(&shown, rollout), softer),
    ];
    for (what, text, steps) in table {
        scene.memory = ChainMemory::default();
        let policy = policy(&text);
        let question = |moment| scene.under(&policy, "bank.example:443", moment);
        follow(&scene, what, steps, &scene.chain.certificates, question);
    }
}

/// A rollout that grows: what is reported for one client is no answer for another, for whom it is enforced, nor for the same
/// one once it is enforced for it; nor what a hold lets through once it is lifted.
#[test]
fn the_steps_of_a_rollout() {
    let scene = Scene::usual();
    let steps = "{ from = 2026-03-01T12:01:00Z, percent = 5 }, { from = 2026-03-01T12:02:00Z, percent = 50 }";
    let rollout = format!(
        "mode = \"report-only\"\n[pinset.rollout]\nramp = [{steps}]\nenforce_from = 2026-03-01T12:03:00Z\n\
         hold_if_violations_over = 0.5"
    );
    let text = pinset("bank", "\"bank.example\"", &Key::p256().pin(), &rollout);
    let question = scene.asked(&text, "bank.example:443");
    let of = |seconds, client: Ipv4Addr| Circumstances::new(at(seconds), client.into());
    let [first, second, last] = clients_of(&question.rule, [at(60), at(120), at(180)]);
    let pins = Err(FailureClass::Pin);
    // moment, client, the step that a hold does not let it pass, how it ends, out of memory
    let table = [
        (0, first, None, Ok(()), false),
        (0, second, None, Ok(()), true),
        (59, first, None, Ok(()), true),
        (60, last, None, Ok(()), true),
        (60, first, None, pins, false),
        (60, second, None, Ok(()), true),
        (60, first, Some(0), Ok(()), true),
        (119, second, None, Ok(()), true),
        (120, second, None, pins, false),
        (120, second, Some(1), Ok(()), true),
        (120, first, Some(1), pins, false),
        (120, second, Some(2), pins, false),
        (179, last, None, Ok(()), true),
        (180, last, None, pins, false),
        (180, last, Some(2), Ok(()), true),
        (180, last, Some(3), pins, false),
    ];
    for (seconds, client, hold, expected, remembered) in table {
        let before = scene.memory.answered();
        let circumstances = Circumstances { hold, ..of(seconds, client) };
        let what = format!("{client} at {seconds} with {hold:?}");
        assert_eq!(scene.verify_under(&question, &scene.chain.certificates, &circumstances), expected, "{what}");
        assert_eq!(scene.memory.answered() - before, u64::from(remembered), "{what}");
    }
}
