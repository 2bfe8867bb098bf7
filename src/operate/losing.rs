//! A configuration without faults is not put in force when it takes protection from so many hosts: that is more often half
//! a file, or a folder of includes that was emptied, than what somebody wants.

use crate::policy::compare::{Comparison, Left, Loss, Losses, TooManyWitnesses};
use std::collections::BTreeMap;

/// A reload that takes protection from one pinned host pattern of so many, or more, is refused unless it is forced; so is
/// one that takes it from one enforced host pattern of so many, however many others there are.
const ONE_LOST_OF: usize = 3;

/// So many host patterns may be exempt, relayed blindly or reported from a reload on: each of that somebody has written, and at
/// a rotation that nobody told of it has to be quick, in a small configuration, too. A pinset that is gone nobody has written.
const WRITTEN_MAX: usize = 2;

/// Host patterns that a refusal names, for each way in which they lose.
const LOST_SHOWN_MAX: usize = 5;

const REMEDY: &str = "if that is meant, force it: pinproxy ctl reload --force";

/// Why it is not put in force unless that is forced.
pub(super) fn check_losses(compared: &Result<Comparison, TooManyWitnesses>) -> Result<(), String> {
    let Losses { pinned, enforced, lost } = match compared {
        Ok(compared) => &compared.losses,
        Err(error) => return Err(format!("nobody can tell which hosts would lose protection: {error}; {REMEDY}")),
    };
    let written = lost.iter().filter(|loss| is_written(loss.left)).count();
    let lost: Vec<_> = lost.iter().filter(|loss| written > WRITTEN_MAX || !is_written(loss.left)).collect();
    let of_enforced: Vec<_> = lost.iter().copied().filter(|loss| loss.was_enforced).collect();
    let (lost, all, what) = if is_much(lost.len(), *pinned) {
        (lost, *pinned, "pinned")
    } else if is_much(of_enforced.len(), *enforced) {
        (of_enforced, *enforced, "enforced")
    } else {
        return Ok(());
    };
    let count = lost.len();
    let told = told(lost);
    Err(format!("{count} of {all} {what} host patterns would lose protection: {told}; {REMEDY}"))
}

const fn is_written(left: Left) -> bool {
    match left {
        Left::Exempt | Left::Tunnel | Left::ReportOnly | Left::FewerClients => true,
        Left::NoRule | Left::Off => false,
    }
}

const fn is_much(lost: usize, all: usize) -> bool {
    lost > 0 && lost.saturating_mul(ONE_LOST_OF) >= all
}

fn told(lost: Vec<&Loss>) -> String {
    let mut ways: BTreeMap<Left, Vec<&str>> = BTreeMap::new();
    for Loss { host, left, .. } in lost {
        ways.entry(*left).or_default().push(host);
    }
    let way = |(left, hosts): (Left, Vec<&str>)| {
        let (count, more) = (hosts.len(), hosts.len().saturating_sub(LOST_SHOWN_MAX));
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let shown: Vec<_> = hosts.into_iter().take(LOST_SHOWN_MAX).collect();
        format!("{count} {left} ({}{more})", shown.join(", "))
    };
    let ways: Vec<_> = ways.into_iter().map(way).collect();
    ways.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::compare::{Side, compare};
    use crate::policy::pinset::{Mode, Stance};
    use crate::policy::rules::{Policy, Rule, Unpinned};
    use crate::policy::tests_support::{
        at, exempt, intercepting, policy, rollout, rule, tunnel, with_expiry, with_stance,
    };

    fn checked(old: &Policy, new: &Policy) -> Result<(), String> {
        let side = |policy| Side { policy, defaults: Unpinned::Intercept.into() };
        check_losses(&compare(side(old), side(new), at(1)))
    }

    fn fixed(name: &str, mode: Mode, hosts: &str) -> Rule {
        rule(with_stance(name, Stance::Fixed(mode)), hosts)
    }

    fn enforced(name: &str, hosts: &str) -> Rule {
        fixed(name, Mode::Enforce, hosts)
    }

    #[test]
    fn what_takes_protection_away() {
        let ten = |mode| -> Vec<_> {
            ('a'..='j').map(|name| fixed(&name.to_string(), mode, &format!("{name}.test"))).collect()
        };
        let five = "a.test, b.test, c.test, d.test, e.test and 5 more";
        let tree = || enforced("tree", "**.good.test");
        let ramp = |percent| with_stance("a", rollout(&[(0, percent)], 9, None));
        let table: Vec<(Vec<Rule>, Vec<Rule>, String)> = vec![
            (ten(Mode::Enforce), vec![], format!("10 of 10 pinned: 10 without a rule ({five})")),
            (ten(Mode::ReportOnly), vec![], format!("10 of 10 pinned: 10 without a rule ({five})")),
            (ten(Mode::Enforce), ten(Mode::Off), format!("10 of 10 pinned: 10 with pins that are not judged ({five})")),
            (ten(Mode::Enforce), ten(Mode::ReportOnly), format!("10 of 10 pinned: 10 report-only ({five})")),
            // Few that are enforced among many that are not.
            (
                [ten(Mode::ReportOnly), vec![enforced("x", "x.test y.test z.test")]].concat(),
                [ten(Mode::ReportOnly), vec![fixed("x", Mode::ReportOnly, "x.test y.test z.test")]].concat(),
                "3 of 3 enforced: 3 report-only (x.test, y.test, z.test)".to_owned(),
            ),
            // Below a wildcard, which is one more.
            (
                vec![tree()],
                vec![tree(), rule(exempt(), "a.good.test b.good.test"), rule(tunnel(), "c.good.test")],
                "3 of 4 pinned: 2 exempt (a.good.test, b.good.test), 1 in a tunnel (c.good.test)".to_owned(),
            ),
            (
                vec![tree()],
                vec![tree(), fixed("off", Mode::Off, "a.good.test")],
                "1 of 2 pinned: 1 with pins that are not judged (a.good.test)".to_owned(),
            ),
            (
                vec![enforced("a", "a.test b.test c.test d.test")],
                vec![rule(exempt(), "a.test d.test"), rule(tunnel(), "b.test")],
                "4 of 4 pinned: 1 without a rule (c.test), 2 exempt (a.test, d.test), 1 in a tunnel (b.test)"
                    .to_owned(),
            ),
            // What is written for two stands; the third is gone.
            (
                vec![enforced("a", "a.test b.test c.test")],
                vec![rule(exempt(), "a.test"), rule(tunnel(), "b.test")],
                "1 of 3 pinned: 1 without a rule (c.test)".to_owned(),
            ),
            (
                vec![enforced("a", "a.test b.test c.test")],
                vec![rule(ramp(5.0), "a.test b.test c.test")],
                "3 of 3 pinned: 3 enforced for fewer clients (a.test, b.test, c.test)".to_owned(),
            ),
            (
                vec![rule(ramp(50.0), "a.test b.test c.test")],
                vec![rule(ramp(5.0), "a.test b.test c.test")],
                "3 of 3 pinned: 3 enforced for fewer clients (a.test, b.test, c.test)".to_owned(),
            ),
        ];
        for (old, new, says) in table {
            let found = checked(&intercepting(old.clone()), &intercepting(new.clone()));
            let says = says.replacen(": ", " host patterns would lose protection: ", 1);
            assert_eq!(found, Err(format!("{says}; {REMEDY}")), "{old:?} {new:?}");
        }
    }

    #[test]
    fn what_takes_none_away_or_little() {
        use crate::policy::pinset::AfterExpiry::{FailClosed, ReportOnly};
        let one = |mode| fixed("a", mode, "a.test");
        let four = "a.test b.test c.test d.test";
        let ended = |then| rule(with_expiry("a", 1, then), "a.test");
        let table: Vec<(Vec<Rule>, Vec<Rule>)> = vec![
            (vec![], vec![one(Mode::Enforce)]),
            (vec![one(Mode::Off)], vec![]),
            (vec![one(Mode::ReportOnly)], vec![one(Mode::Enforce)]),
            (vec![rule(exempt(), "a.test")], vec![]),
            (vec![enforced("a", four)], vec![enforced("a", "a.test b.test c.test")]),
            // What an operator does for one host or two.
            (vec![one(Mode::Enforce)], vec![one(Mode::ReportOnly)]),
            (vec![one(Mode::Enforce)], vec![rule(exempt(), "a.test")]),
            (vec![enforced("a", "**.test")], vec![enforced("a", "**.test"), rule(exempt(), "a.test b.test")]),
            // A wider rule keeps them.
            (vec![enforced("a", four)], vec![enforced("b", "**.test")]),
            // What time has done is on both sides.
            (vec![ended(ReportOnly)], vec![ended(ReportOnly)]),
            (vec![ended(ReportOnly)], vec![one(Mode::ReportOnly)]),
            // Refused whatever it shows, and now judged.
            (vec![ended(FailClosed)], vec![one(Mode::Enforce)]),
        ];
        for (old, new) in table {
            assert_eq!(checked(&intercepting(old.clone()), &intercepting(new.clone())), Ok(()), "{old:?} {new:?}");
        }
        let denied = policy(Vec::new(), Unpinned::Deny, &[]);
        assert_eq!(checked(&intercepting(vec![one(Mode::Enforce)]), &denied), Ok(()), "everything is refused");
    }

    #[test]
    fn what_nobody_can_tell_is_refused() {
        let told = check_losses(&Err(TooManyWitnesses)).unwrap_err();
        assert!(told.starts_with("nobody can tell") && told.ends_with(REMEDY), "{told}");
    }
}
