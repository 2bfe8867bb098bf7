//! A comparison for people.

use super::Rows;
use super::diff::Answer;
use crate::policy::compare::{Change, Comparison, Difference, Direction, Finding, Kind, Undecided, Verdicts};
use crate::policy::explain::Told;

/// Of more hosts, chains or keys than this in one place only the number is told.
const SHOWN_MAX: usize = 20;

const KINDS: [(Kind, &str, &str); 6] = [
    (Kind::Unpinned, "unpinned", "UNPINNED: pins were judged and are not any more"),
    (Kind::Looser, "looser", "LOOSER: something passes that was refused"),
    (Kind::Changed, "changed", "CHANGED: something passes that was refused, and something is refused that passed"),
    (Kind::NewlyPinned, "newly pinned", "Newly pinned"),
    (Kind::Stricter, "stricter", "Stricter: something is refused that passed"),
    (Kind::Renamed, "renamed", "Another rule to the same effect"),
];

/// The whole of it; the first line is the answer.
pub(super) fn text(answer: &Answer) -> String {
    let comparison = &answer.comparison;
    let mut rows = Rows::default();
    rows.line(&summary(answer.looser, comparison));
    if !comparison.general.is_empty() {
        rows.line("");
        rows.line("For every host, or those that no rule names");
        add_differences(&mut rows, &comparison.general);
    }
    for (kind, _, heading) in KINDS {
        let mut changes = comparison.changes.iter().filter(|change| change.kind == kind).peekable();
        if changes.peek().is_some() {
            rows.line("");
            rows.line(heading);
        }
        changes.for_each(|change| add_change(&mut rows, change));
    }
    if let Some(observed) = &answer.observed {
        add_observed(&mut rows, observed);
    }
    rows.into_text()
}

fn summary(looser: bool, comparison: &Comparison) -> String {
    let count = |kind| -> usize {
        let changes = comparison.changes.iter().filter(|change| change.kind == kind);
        changes.map(|change| change.hosts.len()).sum()
    };
    let counts = KINDS.iter().map(|(kind, name, _)| (count(*kind), *name)).filter(|(count, _)| *count > 0);
    let mut counts: Vec<_> = counts.map(|(count, name)| format!("{count} {name}")).collect();
    if counts.is_empty() && comparison.general.is_empty() {
        return format!("nothing changes: {} host patterns", comparison.unchanged);
    }
    counts.push(format!("{} unchanged", comparison.unchanged));
    let answer = if looser { "something becomes looser" } else { "nothing becomes looser" };
    format!("{answer}; host patterns: {}", counts.join(", "))
}

fn add_change(rows: &mut Rows, change: &Change) {
    add_some(rows, &change.hosts, |host| format!("  {host}"), "  ");
    let (old, new) = (rule(&change.old), rule(&change.new));
    rows.line(&detail("rule", "", &if old == new { old } else { format!("{old} -> {new}") }));
    add_differences(rows, &change.differences);
}

/// As many lines as are shown, and how many are not.
fn add_some<T>(rows: &mut Rows, items: &[T], line: impl Fn(&T) -> String, indent: &str) {
    for item in items.iter().take(SHOWN_MAX) {
        rows.line(&line(item));
    }
    add_hidden(rows, items, indent);
}

fn add_hidden<T>(rows: &mut Rows, items: &[T], indent: &str) {
    let hidden = items.len().saturating_sub(SHOWN_MAX);
    if hidden > 0 {
        rows.line(&format!("{indent}and {hidden} more; --json lists them"));
    }
}

fn detail(name: &str, direction: &str, text: &str) -> String {
    format!("      {name:<16}{direction:<10}{text}")
}

fn add_differences(rows: &mut Rows, differences: &[Difference]) {
    for difference in differences {
        let direction = match difference.direction {
            Direction::Looser => "looser",
            Direction::Stricter => "stricter",
            Direction::Both => "both",
            Direction::Undecided => "changed",
        };
        let since = difference.since.map(|since| format!(", from {since} on")).unwrap_or_default();
        let (removed, added) = (signed('-', &difference.removed), signed('+', &difference.added));
        let words = difference.old.as_deref().zip(difference.new.as_deref());
        let words = words.map(|(old, new)| format!("{old} -> {new}{since}"));
        let since = since.strip_prefix(", ").filter(|_| words.is_none()).map(str::to_owned);
        let mut lines = words.into_iter().chain(since).chain(removed).chain(added);
        let first = lines.next().unwrap_or_default();
        rows.line(&detail(difference.aspect.name(), direction, &first));
        add_some(rows, &lines.collect::<Vec<_>>(), |line| detail("", "", line), &detail("", "", ""));
    }
}

fn signed(sign: char, texts: &[String]) -> impl Iterator<Item = String> {
    texts.iter().map(move |text| format!("{sign} {text}"))
}

fn rule(told: &Told) -> String {
    match told {
        Told::Pinset { name } => format!("pinset \"{name}\""),
        Told::Exempt { reason, until } => format!("exemption until {until} ({reason})"),
        Told::Tunnel { reason } => format!("tunnel ({reason})"),
        Told::Default { unpinned } => format!("no rule (unpinned = \"{unpinned}\")"),
    }
}

fn add_observed(rows: &mut Rows, observed: &Verdicts) {
    rows.line("");
    rows.line(&format!("Observed chains: {}", observed.chains));
    for (heading, findings) in
        [("newly refused", &observed.newly_refused), ("newly let through", &observed.newly_let_through)]
    {
        let chains: u64 = findings.iter().map(|finding| finding.chains).sum();
        rows.line(&format!("  {heading}: {chains}"));
        for finding in findings.iter().take(SHOWN_MAX) {
            add_finding(rows, finding);
        }
        add_hidden(rows, findings, "    ");
    }
    add_undecided(rows, &observed.undecided);
}

/// Only the keys of the chains were observed.
fn add_undecided(rows: &mut Rows, undecided: &Undecided) {
    let Undecided { by_certificate, anchors_differ, may_be_exempt, by_what_is_served } = *undecided;
    if undecided.total() > 0 {
        rows.line(&format!("  cannot be judged by their keys: {}", undecided.total()));
    }
    for (chains, why) in [
        (by_certificate, "their hosts are pinned by certificate"),
        (anchors_differ, "OLD and NEW trust different anchors for their hosts (roots of a pinset)"),
        (may_be_exempt, "without a pinned key; may end in an anchor of extra_roots with exempts_pins"),
        (by_what_is_served, "pin-only refuses for a blocked key in whatever is served, which was not observed"),
    ] {
        if chains > 0 {
            rows.line(&format!("    {chains}  {why}"));
        }
    }
}

fn add_finding(rows: &mut Rows, finding: &Finding) {
    let Finding { host, chains, old_rule, old, new_rule, new, example } = finding;
    let rules = if old_rule == new_rule { old_rule.clone() } else { format!("{old_rule} -> {new_rule}") };
    rows.line(&format!("    {host}  {chains} of this kind ({rules}): {old} -> {new}, as"));
    for key in example {
        rows.line(&format!("        {key}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::compare::{Judge, Side, Tally, compare};
    use crate::policy::rules::{Rule, Unpinned};
    use crate::policy::tests_support::{at, intercepting, pinset, policy, rule};

    fn told(old: Vec<Rule>, new: Vec<Rule>, blocked: &[u8]) -> String {
        let (old, new) = (intercepting(old), policy(new, Unpinned::Intercept, blocked));
        let side = |policy| Side { policy, defaults: Unpinned::Intercept.into() };
        let comparison = compare(side(&old), side(&new), at(0)).unwrap();
        let judge = |policy| Judge { policy, exempts_pins: false };
        let observed = Some(Tally::new(judge(&old), judge(&new), at(0)).finish());
        text(&Answer { looser: comparison.loosens(), comparison, observed })
    }

    #[test]
    fn long_lists_are_cut_short() {
        let hosts: Vec<_> = (100..125).map(|number| format!("h{number}.example")).collect();
        let keys: Vec<_> = (1..=22).collect();
        let text = told(vec![rule(pinset("p"), &hosts.join(" "))], Vec::new(), &keys);
        assert_eq!(text.matches(".example\n").count(), SHOWN_MAX, "{text}");
        assert!(text.contains("  h119.example\n  and 5 more; --json lists them\n      rule "), "{text}");
        // The first key stands in the row of its name.
        assert_eq!(text.matches("+ sha256/").count(), SHOWN_MAX + 1, "{text}");
        assert!(text.contains("                                and 1 more; --json lists them\n"), "{text}");
    }

    #[test]
    fn what_changes_for_every_host_is_a_change() {
        let text = told(Vec::new(), Vec::new(), &[1]);
        let expected = "\
nothing becomes looser; host patterns: 0 unchanged

For every host, or those that no rule names
      blocklist       stricter  + sha256/AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE= (key-1)

Observed chains: 0
  newly refused: 0
  newly let through: 0
";
        assert_eq!(text, expected);
    }
}
