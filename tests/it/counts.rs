//! What `benches/counts` says of figures, held against a file that it has written itself.

#[path = "../../benches/counts/baseline.rs"]
mod baseline;

use baseline::{Baseline, FILE, RENEW, change, text};
use std::collections::BTreeMap;

fn versions(rustc: &str) -> BTreeMap<String, String> {
    [("machine", "x86_64"), ("rustc", rustc)].map(|(what, version)| (what.to_owned(), version.to_owned())).into()
}

fn written() -> Baseline {
    toml::from_str(&text(&versions("rustc \"1\""), &[("part", 1_000), ("other-part", 7)]))
        .expect("it reads what it wrote")
}

#[test]
fn a_figure_that_differs_by_more_than_the_tolerance_is_a_fault() {
    let baseline = written();
    let tolerance = baseline.tolerance(&versions("rustc \"1\""));
    for (figure, words) in [
        (1_000, None),
        (1_030, None),
        (970, None),
        (1_031, Some("part takes 1031 instructions, 3.1 % more than the 1000 of ")),
        (2_000, Some("part takes 2000 instructions, 100.0 % more than the 1000 of ")),
        (969, Some("part takes 969 instructions, 3.1 % less than the 1000 of ")),
    ] {
        let fault = baseline.fault("part", figure, tolerance);
        assert_eq!(fault.is_some(), words.is_some(), "{figure}: {fault:?}");
        let (fault, words) = (fault.unwrap_or_default(), words.unwrap_or_default());
        assert!(fault.starts_with(words), "{fault}");
        assert!(fault.is_empty() || (fault.contains(FILE) && fault.ends_with(RENEW)), "{fault}");
    }
    assert!((change(1_010, 1_000) - 1.0).abs() < 1e-9);
}

#[test]
fn parts_that_come_and_go_are_faults() {
    let baseline = written();
    assert_eq!(baseline.gone(&["part", "other-part", "new-part"]).count(), 0);
    let gone: Vec<_> = baseline.gone(&["part"]).collect();
    assert!(gone.len() == 1 && gone[0].starts_with("other-part is in "), "{gone:?}");
    let new = baseline.fault("new-part", 1, 3.0).expect("a fault");
    assert!(new.starts_with("new-part is not in ") && new.ends_with(RENEW), "{new}");
}

#[test]
fn other_programs_are_told() {
    let baseline = written();
    assert!(baseline.others(&versions("rustc \"1\"")).is_empty());
    assert_eq!(baseline.others(&versions("rustc 2")), ["rustc: rustc 2 here, rustc \"1\" there"]);
    // They are no reason for a fault as small as that, and none not to see a large one.
    let tolerance = baseline.tolerance(&versions("rustc 2"));
    assert_eq!((baseline.fault("part", 1_250, tolerance), baseline.fault("part", 750, tolerance)), (None, None));
    let fault = baseline.fault("part", 1_251, tolerance).expect("a fault");
    assert!(fault.contains("of which 25 % are allowed"), "{fault}");
    let more = BTreeMap::from([("valgrind".to_owned(), "3".to_owned())]);
    assert_eq!(baseline.others(&more), ["valgrind: 3 here, nothing there"]);
}
