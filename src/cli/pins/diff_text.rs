//! A comparison for people.

use super::Rows;
use super::diff::Answer;
use crate::policy::compare::{Aspect, Change, Comparison, Difference, Direction, Finding, Kind, Verdicts};
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
        rows.line("\nFor every host, or those that no rule names");
        add_differences(&mut rows, &comparison.general);
    }
    for (kind, _, heading) in KINDS {
        let mut changes = comparison.changes.iter().filter(|change| change.kind == kind).peekable();
        if changes.peek().is_some() {
            rows.line(&format!("\n{heading}"));
        }
        changes.for_each(|change| add_change(&mut rows, change));
    }
    if let Some(observed) = &answer.observed {
        add_observed(&mut rows, observed);
    }
    rows.0
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
    items.iter().take(SHOWN_MAX).for_each(|item| rows.line(&line(item)));
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
        };
        let since = difference.since.map(|since| format!(", from {since} on")).unwrap_or_default();
        let (removed, added) = (signed('-', &difference.removed), signed('+', &difference.added));
        let words = difference.old.as_deref().zip(difference.new.as_deref());
        let words = words.map(|(old, new)| format!("{old} -> {new}{since}"));
        let since = since.strip_prefix(", ").filter(|_| words.is_none()).map(str::to_owned);
        let mut lines = words.into_iter().chain(since).chain(removed).chain(added);
        let first = lines.next().unwrap_or_default();
        rows.line(&detail(name(difference.aspect), direction, &first));
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

/// After the configuration, where it has a word.
const fn name(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Unpinned | Aspect::NewlyPinned | Aspect::Protection => "mode",
        Aspect::Clients => "clients",
        Aspect::Hold => "hold",
        Aspect::Trust => "trust",
        Aspect::TrustAnchors => "trust anchors",
        Aspect::VerifyName => "verify_name",
        Aspect::VerifyValidity => "verify_validity",
        Aspect::Pins => "pins",
        Aspect::Deny => "deny",
        Aspect::Plaintext => "plaintext",
        Aspect::UnpinnedHosts => "unpinned",
        Aspect::NameMismatch => "name_mismatch",
        Aspect::Blocklist => "blocklist",
    }
}

fn add_observed(rows: &mut Rows, observed: &Verdicts) {
    let undecided = match observed.undecided {
        0 => String::new(),
        count => format!("; {count} cannot be judged, because their hosts are pinned by certificate"),
    };
    rows.line(&format!("\nObserved chains: {}{undecided}", observed.chains));
    for (heading, findings) in
        [("newly refused", &observed.newly_refused), ("newly let through", &observed.newly_let_through)]
    {
        let chains: u64 = findings.iter().map(|finding| finding.chains).sum();
        rows.line(&format!("  {heading}: {chains}"));
        add_some(rows, findings, finding, "    ");
    }
}

fn finding(finding: &Finding) -> String {
    let Finding { host, chains, old_rule, old, new_rule, new, .. } = finding;
    let rules = if old_rule == new_rule { old_rule.clone() } else { format!("{old_rule} -> {new_rule}") };
    let example = finding.example.iter().map(|key| format!("\n        {key}")).collect::<String>();
    format!("    {host}  {chains} of this kind ({rules}): {old} -> {new}, as{example}")
}
