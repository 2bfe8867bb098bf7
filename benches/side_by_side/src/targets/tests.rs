//! Targets are judged on figures that are made up.

use super::judge::rows;
use crate::modes::{MODES, Mode};
use crate::report::{Setting, Version};
use crate::rounds::{Occasion, Sample};
use crate::work::Figure;

/// Rounds of one figure: `None` is one that failed.
type Rounds = &'static [Option<f64>];

/// Mode, proxy, figure, and its rounds.
type Measured = (&'static str, &'static str, &'static str, Rounds);

/// A target, the modes and proxies that were chosen, what they gave, and what the row has to say.
type Case<T> = (&'static str, &'static [&'static str], &'static [&'static str], &'static [Measured], T);

fn setting(proxies: &[&'static str], open_files: u64) -> Setting {
    let mut setting = Setting::here();
    setting.proxies = proxies.iter().map(|name| Version::new(name, String::new(), None)).collect();
    setting.open_files = open_files;
    setting
}

fn samples(measured: &[Measured]) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    for &(mode, proxy, name, rounds) in measured {
        for (round, value) in rounds.iter().enumerate() {
            let occasion = Occasion { round, turn: 0 };
            let figure = value.map(|value| Figure { name, unit: "", value });
            let known = samples.iter_mut().find(|s| (s.occasion, s.mode, s.proxy) == (occasion, mode, proxy));
            match (known, figure) {
                (Some(known), figure) => known.figures.extend(figure),
                (None, figure) => {
                    let failure = figure.is_none().then(|| "it fell over".to_owned());
                    samples.push(Sample {
                        occasion,
                        mode,
                        proxy,
                        figures: figure.into_iter().collect(),
                        note: None,
                        failure,
                    });
                }
            }
        }
    }
    samples
}

/// What the row of a target says: measured, compared, rounds, met.
fn judged(
    target: &str,
    modes: &[&str],
    proxies: &[&'static str],
    open_files: u64,
    measured: &[Measured],
) -> Option<[String; 4]> {
    let modes: Vec<Mode> = MODES.iter().filter(|mode| modes.contains(&mode.key)).copied().collect();
    let rows = rows(&setting(proxies, open_files), &modes, &samples(measured));
    let row = rows.into_iter().find(|row| row.target == target)?;
    Some([row.measured, row.compared, row.rounds.to_string(), row.met])
}

const BOTH: &[&str] = &["pinproxy", "relay"];
const ALL: &[&str] = &["pinproxy", "relay", "hudsucker", "squid"];
const MANY: u64 = 1 << 20;

#[test]
fn what_failed_or_was_not_measured_is_never_met() {
    let cases: &[Case<&str>] = &[
        (
            "new session, warm",
            &["warm"],
            BOTH,
            &[("warm", "pinproxy", "cpu", &[Some(1.0), None, Some(1.0)]), ("warm", "relay", "cpu", &[Some(9.0); 3])],
            "no (failed: warm, round 2)",
        ),
        (
            "new session, warm",
            &["warm"],
            BOTH,
            &[("warm", "pinproxy", "cpu", &[Some(1.0)]), ("warm", "relay", "cpu", &[None])],
            "no (failed: relay, warm, round 1)",
        ),
        ("new session, warm", &["warm"], BOTH, &[], "no (failed: no figure)"),
        (
            "new session, warm",
            &["warm"],
            &["pinproxy"],
            &[("warm", "pinproxy", "cpu", &[Some(1.0)])],
            "not measured: --proxies relay",
        ),
        (
            "new session, warm",
            &["warm"],
            &["relay"],
            &[("warm", "relay", "cpu", &[Some(1.0)])],
            "not measured: --proxies pinproxy",
        ),
        (
            "new session, never-seen host, over warm",
            &["cold"],
            BOTH,
            &[("cold", "pinproxy", "cpu", &[Some(1.0)])],
            "not measured: --modes warm",
        ),
        (
            "new session, never-seen host, over warm",
            &["warm", "cold"],
            BOTH,
            &[("cold", "pinproxy", "cpu", &[Some(1.0)]), ("warm", "pinproxy", "cpu", &[None])],
            "no (failed: warm, round 1)",
        ),
        (
            "download, 1 tunnel, beside peers",
            &["down1"],
            BOTH,
            &[("down1", "pinproxy", "cpu", &[Some(1.0)]), ("down1", "relay", "cpu", &[Some(9.0)])],
            "not measured: --proxies all",
        ),
        (
            "download, 1 tunnel, beside peers",
            &["down1"],
            ALL,
            &[("down1", "pinproxy", "cpu", &[Some(1.0)]), ("down1", "squid", "cpu", &[None])],
            "no (failed: every peer, down1)",
        ),
    ];
    for (target, modes, proxies, measured, met) in cases {
        let row = judged(target, modes, proxies, MANY, measured);
        assert_eq!(row.map(|[.., told]| told).as_deref(), Some(*met), "{target}: {measured:?}");
    }
    assert_eq!(judged("new session, warm", &["h1"], BOTH, MANY, &[]), None, "a mode that nobody chose has no row");
}

#[test]
fn figures_are_compared_on_the_same_occasion() {
    let cases: &[Case<[&str; 4]>] = &[
        // Median against median would be 0.5.
        (
            "new session, warm",
            &["warm"],
            BOTH,
            &[
                ("warm", "pinproxy", "cpu", &[Some(8.0), Some(4.0), Some(1.0)]),
                ("warm", "relay", "cpu", &[Some(10.0), Some(5.0), Some(8.0)]),
            ],
            ["4.00 µs", "0.800 ×", "3", "no"],
        ),
        (
            "new session, never-seen host, over warm",
            &["warm", "cold"],
            BOTH,
            &[
                ("cold", "pinproxy", "cpu", &[Some(300.0), Some(400.0), Some(500.0)]),
                ("warm", "pinproxy", "cpu", &[Some(220.0), Some(319.0), Some(421.0)]),
            ],
            ["400 µs", "80.0 more", "3", "yes"],
        ),
        (
            "client that knows RSA alone, over warm",
            &["warm", "rsa-client"],
            BOTH,
            &[
                ("rsa-client", "pinproxy", "cpu", &[Some(900.0), Some(950.0)]),
                ("rsa-client", "pinproxy", "rsa signature", &[Some(600.0), Some(640.0)]),
                ("warm", "pinproxy", "cpu", &[Some(290.0), Some(300.0)]),
            ],
            ["925 µs", "630 more, rsa signature 620", "2", "no"],
        ),
        // squid's median is the smaller one, hudsucker comes off better round by round.
        (
            "download, 1 tunnel, beside peers",
            &["down1"],
            ALL,
            &[
                ("down1", "pinproxy", "cpu", &[Some(100.0), Some(300.0), Some(900.0)]),
                ("down1", "hudsucker", "cpu", &[Some(90.0), Some(310.0), Some(880.0)]),
                ("down1", "squid", "cpu", &[Some(200.0), Some(290.0), Some(1_800.0)]),
            ],
            ["300 ms/GB", "1.023 × (hudsucker, the least)", "3", "no"],
        ),
        (
            "reload of 100,000, on the longest session",
            &["reload"],
            BOTH,
            &[("reload", "pinproxy", "added to the longest", &[Some(0.5), Some(6.0), Some(-3.0)])],
            ["0.50 ms", "worst 6.00", "3", "no"],
        ),
        (
            "no 40 ms steps: new session at a low rate, p99",
            &["latency"],
            BOTH,
            &[("latency", "pinproxy", "p99", &[Some(2_000.0), Some(40_600.0), Some(2_000.0)])],
            ["2000 µs", "worst 40600", "3", "no"],
        ),
        // A peer that failed once is none; what is left does not speak for all.
        (
            "download, 1 tunnel, beside peers",
            &["down1"],
            ALL,
            &[
                ("down1", "pinproxy", "cpu", &[Some(100.0), Some(100.0)]),
                ("down1", "hudsucker", "cpu", &[Some(90.0), None]),
                ("down1", "squid", "cpu", &[Some(200.0), Some(200.0)]),
            ],
            ["100 ms/GB", "0.500 × (squid, the least)", "2", "yes, beside 1 of 4 peers"],
        ),
    ];
    for (target, modes, proxies, measured, expected) in cases {
        let row = judged(target, modes, proxies, MANY, measured);
        assert_eq!(row, Some(expected.map(str::to_owned)), "{target}");
    }
}

#[test]
fn fewer_tunnels_are_missed_unless_the_machine_allows_no_more() {
    const IDLE: &str = "20,000 idle tunnels";
    let held = "a minute after 5,000 tunnels";
    let cases: &[(&str, &str, u64, f64, f64, &str)] = &[
        (IDLE, "idle-20000", MANY, 20_000.0, 449.0, "yes"),
        (IDLE, "idle-20000", MANY, 20_000.0, 451.0, "no"),
        (IDLE, "idle-20000", MANY, 19_999.0, 449.0, "no"),
        (IDLE, "idle-20000", 40_400, 20_000.0, 449.0, "yes"),
        (IDLE, "idle-20000", 20_000, 9_800.0, 200.0, "– (40400 open files needed, the hard limit is 20000)"),
        (IDLE, "idle-20000", 20_000, 9_799.0, 200.0, "no"),
        (IDLE, "idle-20000", 20_000, 9_800.0, 451.0, "no"),
        (held, "held", MANY, 5_000.0, 24.0, "yes"),
        (held, "held", MANY, 4_000.0, 24.0, "no"),
        ("idle tunnel, of 5,000", "idle-5000", MANY, 4_999.0, 19.0, "no"),
    ];
    for (target, mode, open_files, open, value, met) in cases {
        let figure = if *mode == "idle-5000" { "pss each" } else { "pss" };
        let sample = |name, value| Figure { name, unit: "", value };
        let figures = vec![sample(figure, *value), sample("open", *open)];
        let occasion = Occasion { round: 0, turn: 0 };
        let sample = Sample { occasion, mode: "", proxy: "pinproxy", figures, note: None, failure: None };
        let mode: Mode = *MODES.iter().find(|known| known.key == *mode).unwrap();
        let rows = rows(&setting(BOTH, *open_files), &[mode], &[Sample { mode: mode.key, ..sample }]);
        let row = rows.iter().find(|row| row.target == *target).unwrap();
        assert_eq!(row.met, *met, "{target}, {open} tunnels, {value}");
    }
}
