use super::*;

/// A pinset that says this.
fn pinset_of(lines: &str) -> String {
    pinset(&format!("pins = [\"{K1}\"]\nbackup = [\"{K2}\"]\n{lines}\n"))
}

#[test]
fn ends_that_leave_hosts_open() {
    let end = |then: &str| pinset_of(&format!("[pinset.expiry]\nat = 2028-01-01\nthen = \"{then}\""));
    expect(Code::W52, &[(end("unpinned"), 1), (end("fail-closed"), 0), (end("report-only"), 1), (pinset_of(""), 0)]);
    for then in ["unpinned", "report-only"] {
        assert_eq!(told(&end(then))[0].position(), Some((8, 8)));
    }
    let mode = |mode: &str, then: &str| end(then).replace("[pinset.expiry]", &format!("{mode}\n[pinset.expiry]"));
    let rollout = "rollout = { enforce_from = 2027-03-01 }\nmode = \"report-only\"";
    expect(
        Code::W52,
        &[
            (mode("mode = \"report-only\"", "unpinned"), 1),
            (mode(rollout, "report-only"), 1),
            // Nothing that is enforced, nothing that closes.
            (mode("mode = \"report-only\"", "fail-closed"), 1),
            (mode("mode = \"off\"", "fail-closed"), 1),
            (mode(rollout, "fail-closed"), 0),
            (mode("trust = \"pin-only\"", "fail-closed"), 0),
            // There is nothing to lose.
            (mode("mode = \"report-only\"", "report-only"), 0),
            (mode("mode = \"off\"", "report-only"), 0),
            // An error says more.
            (mode("trust = \"pin-only\"", "report-only"), 0),
        ],
    );
}

#[test]
fn ends_that_close_nothing() {
    for mode in ["report-only", "off"] {
        let text = pinset_of(&format!("mode = \"{mode}\"\n[pinset.expiry]\nat = 2028-01-01\nthen = \"fail-closed\""));
        let found = told(&text).into_iter().find(|told| told.code() == Code::W52).expect("it is told");
        let expected =
            format!("\"fail-closed\" refuses nobody: the pinset \"p\" is {mode}, and stays so after its end");
        assert_eq!((found.position(), found.message()), (Some((9, 8)), expected.as_str()));
    }
}

/// The clock of these tests says 2027-01-01T00:00:00Z, which is 90 days after 2026-10-03.
#[test]
fn report_only_for_long() {
    let since = |mode: &str, since: &str| pinset_of(&format!("{mode}\nsince = {since}"));
    let soft = "mode = \"report-only\"";
    let rollout = |enforce_from: &str| {
        pinset_of(&format!("{soft}\nsince = 2020-01-01\n[pinset.rollout]\nenforce_from = {enforce_from}"))
    };
    expect(
        Code::W57,
        &[
            (since(soft, "2026-10-02T23:59:59Z"), 1),
            (since(soft, "1970-01-01"), 1),
            (since(soft, "2026-10-03"), 0),
            (since(soft, "2026-12-31"), 0),
            (since(soft, "2027-01-02T00:00:00Z"), 0),
            (since(soft, "2027-01-02T00:00:01Z"), 1),
            (since(soft, "2072-01-01"), 1),
            (since("", "2072-01-01"), 0),
            (since("", "2020-01-01"), 0),
            (since("mode = \"off\"", "2020-01-01"), 0),
            (pinset_of(soft), 0),
            (rollout("2027-02-01"), 0),
            (rollout("2026-02-01"), 0),
        ],
    );
    let told = told(&since(soft, "2026-10-02"));
    assert!(told.iter().any(|told| told.message().contains("for 91 days")), "{told:?}");
}

#[test]
fn rollouts_that_protect_nobody() {
    let rollout = |steps: &[&str], enforce_from: &str, more: &str| {
        let ramp: Vec<_> =
            steps.iter().zip(1..).map(|(from, n)| format!("{{ from = {from}, percent = {n} }}")).collect();
        pinset_of(&format!(
            "mode = \"report-only\"\n[pinset.rollout]\nramp = [{}]\nenforce_from = {enforce_from}\n{more}",
            ramp.join(", ")
        ))
    };
    let ends = |at: &str| format!("[pinset.expiry]\nat = {at}\nthen = \"fail-closed\"");
    expect(
        Code::W57,
        &[
            (rollout(&[], "2027-04-01T00:00:01Z", ""), 1),
            (rollout(&[], "2072-02-01", ""), 1),
            (rollout(&["2027-05-01"], "2027-06-01", ""), 1),
            (rollout(&[], "2027-04-01", ""), 0),
            (rollout(&["2027-02-01"], "2028-01-02T00:00:01Z", ""), 1),
            (rollout(&["2026-12-01"], "2072-02-01", ""), 1),
            (rollout(&["2027-02-01"], "2028-01-02", ""), 0),
            (rollout(&["2026-12-01"], "2028-01-02", ""), 0),
            (rollout(&["2026-11-01"], "2026-12-01", ""), 0),
            // It ends before.
            (rollout(&[], "2027-03-01", &ends("2027-02-01")), 1),
            (rollout(&[], "2027-03-01", &ends("2027-03-01")), 1),
            (rollout(&["2027-02-01"], "2027-03-01", &ends("2027-02-15")), 1),
            (rollout(&["2027-02-01"], "2027-03-01", &ends("2027-02-01")), 1),
            (rollout(&[], "2028-03-01", &ends("2027-06-01")), 1),
            (rollout(&["2027-02-01"], "2027-03-01", &ends("2027-03-02")), 0),
            // W54 tells of what has ended.
            (rollout(&[], "2027-03-01", &ends("2027-01-01")), 0),
        ],
    );
    let of = |text: &str| {
        let told = told(text).into_iter().find(|told| told.code() == Code::W57).expect("it is told");
        (told.position(), told.message().to_owned())
    };
    let table = [
        (rollout(&["2027-05-01"], "2027-06-01", ""), (8, 8), "is report-only for everybody for 120 days more"),
        (rollout(&["2026-12-01"], "2028-06-01", ""), (9, 16), "is report-only for some clients for 517 days more"),
        (
            rollout(&["2027-02-01"], "2027-03-01", &ends("2027-02-01")),
            (8, 8),
            "ends on 2027-02-01T00:00:00Z, and its rollout enforces for nobody before 2027-02-01T00:00:00Z",
        ),
        (
            rollout(&["2027-02-01"], "2027-03-01", &ends("2027-02-15")),
            (9, 16),
            "ends on 2027-02-15T00:00:00Z, and its rollout enforces for everybody only from 2027-03-01T00:00:00Z on",
        ),
    ];
    for (text, place, message) in table {
        let (position, told) = of(&text);
        assert!(position == Some(place) && told.ends_with(message), "{position:?} {told}");
    }
}

/// The clock of these tests says 2027-01-01T00:00:00Z; 731 days later it is 2029-01-01.
#[test]
fn exemptions_without_a_real_end() {
    let exempt = |until: &str| {
        pinset_of("").replace("a.example", "**.a.example")
            + &format!("[[exempt]]\nhosts = [\"b.a.example\"]\nreason = \"r\"\nuntil = {until}\n")
    };
    expect(
        Code::W27,
        &[
            (exempt("9999-12-31"), 1),
            (exempt("2029-01-01T00:00:01Z"), 1),
            (exempt("2029-01-01"), 0),
            (exempt("2027-01-02"), 0),
            (exempt("2026-01-01"), 0),
        ],
    );
    let near = told(&exempt("2027-01-01T23:00:00Z"));
    assert_eq!(near.iter().map(Diagnostic::message).collect::<Vec<_>>(), ["the exemption ends in less than a day"]);
}

#[test]
fn reviews_of_long_ago() {
    let reviewed = |date: &str| pinset_of(&format!("reviewed = {date}"));
    let after = |days: &str, date: &str| format!("[defaults]\nreview_after = \"{days}\"\n{}", reviewed(date));
    expect(
        Code::W58,
        &[
            (reviewed("2025-12-31T23:59:59Z"), 1),
            (reviewed("2026-01-01"), 0),
            (reviewed("2027-01-02"), 0),
            (reviewed("2027-01-03"), 1),
            (reviewed("2072-01-01"), 1),
            (pinset_of(""), 0),
            (after("30d", "2026-12-01"), 1),
            (after("31d", "2026-12-01"), 0),
            (after("730d", "2025-06-01"), 0),
        ],
    );
    refuse_each(&[
        ("[defaults]\nreview_after = \"1h\"", &[(Code::E16, 2, 16, "from 1day")]),
        ("[defaults]\nreview_after = \"11y\"", &[(Code::E16, 2, 16, "out of bounds")]),
        ("[defaults]\nreview_after = 365", &[(Code::E15, 2, 16, "between quotes")]),
    ]);
}
