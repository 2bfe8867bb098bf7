use super::*;

/// A pinset that says this.
fn pinset_of(lines: &str) -> String {
    pinset(&format!("pins = [\"{K1}\"]\nbackup = [\"{K2}\"]\n{lines}\n"))
}

#[test]
fn ends_that_leave_hosts_open() {
    let end = |then: &str| pinset_of(&format!("[pinset.expiry]\nat = 2028-01-01\nthen = \"{then}\""));
    expect(Code::W52, &[(end("unpinned"), 1), (end("fail-closed"), 0), (end("report-only"), 0), (pinset_of(""), 0)]);
    assert_eq!(told(&end("unpinned"))[0].position(), Some((8, 8)));
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
            (since(soft, "2027-06-01"), 0),
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
fn reviews_of_long_ago() {
    let reviewed = |date: &str| pinset_of(&format!("reviewed = {date}"));
    let after = |days: &str, date: &str| format!("[defaults]\nreview_after = \"{days}\"\n{}", reviewed(date));
    expect(
        Code::W58,
        &[
            (reviewed("2025-12-31T23:59:59Z"), 1),
            (reviewed("2026-01-01"), 0),
            (reviewed("2027-01-02"), 0),
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
