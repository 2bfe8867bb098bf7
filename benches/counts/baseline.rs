//! The file of instructions by part, and what is wrong with new figures beside it.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The file, from the root of the checkout.
pub(crate) const FILE: &str = "benches/counts/baseline.toml";
/// How it is written anew, from there.
pub(crate) const RENEW: &str = "cargo bench --profile counts --bench counts -- --renew";
/// Percent by which a part may differ from it. Keys, nonces and the seeds of hash tables are random, which is little more than
/// one; what is wanted to be seen is more.
const TOLERANCE: f64 = 3.0;
/// The same where the programs are others than those of the baseline: a new compiler alone moves parts by so much, and is
/// no reason to stop a change that has nothing to do with it.
const TOLERANCE_OF_OTHERS: f64 = 25.0;

/// What was counted, and what it was counted with.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Baseline {
    /// The machine's architecture and the versions of programs: with others, the same sources have other counts.
    pub counted_with: BTreeMap<String, String>,
    /// Instructions by part.
    pub instructions: BTreeMap<String, u64>,
}

/// Percent by which a figure is more than that of the baseline.
#[expect(clippy::cast_precision_loss, reason = "for readers; below 2^53 it is exact")]
pub(crate) fn change(figure: u64, baseline: u64) -> f64 {
    (figure as f64 - baseline as f64) * 100.0 / baseline as f64
}

impl Baseline {
    /// Percent by which a part may differ where it is counted with these programs.
    pub(crate) fn tolerance(&self, here: &BTreeMap<String, String>) -> f64 {
        if self.others(here).is_empty() { TOLERANCE } else { TOLERANCE_OF_OTHERS }
    }

    /// What is wrong with the figure of a part, of which so many percent are allowed, and what to do about it.
    pub(crate) fn fault(&self, part: &str, figure: u64, tolerance: f64) -> Option<String> {
        let Some(&baseline) = self.instructions.get(part) else {
            return Some(format!("{part} is not in {FILE}; add it with: {RENEW}"));
        };
        let change = change(figure, baseline);
        let beside = format!("{figure} instructions, {:.1} %", change.abs());
        if change > tolerance {
            return Some(format!(
                "{part} takes {beside} more than the {baseline} of {FILE}, of which {tolerance} % are allowed. Find out \
                 why; if it is what the change is worth, renew the file: {RENEW}"
            ));
        }
        // Otherwise what was won could be lost again unseen.
        (change < -tolerance).then(|| {
            format!(
                "{part} takes {beside} less than the {baseline} of {FILE}; so that it stays so, renew the file: {RENEW}"
            )
        })
    }

    /// What the baseline counts and no part is any more.
    pub(crate) fn gone<'a>(&'a self, parts: &'a [&str]) -> impl Iterator<Item = String> + 'a {
        let gone = self.instructions.keys().filter(|name| !parts.contains(&name.as_str()));
        gone.map(|name| format!("{name} is in {FILE}, but there is no such part; renew the file: {RENEW}"))
    }

    /// The programs whose versions are others than those that the baseline was counted with.
    pub(crate) fn others(&self, here: &BTreeMap<String, String>) -> Vec<String> {
        let differ = here.iter().filter(|(what, version)| self.counted_with.get(*what) != Some(version));
        let told = |(what, version): (&String, &String)| {
            let there = self.counted_with.get(what).map_or("nothing", String::as_str);
            format!("{what}: {version} here, {there} there")
        };
        differ.map(told).collect()
    }
}

/// The text of the file, parts in the order given.
pub(crate) fn text(counted_with: &BTreeMap<String, String>, figures: &[(&str, u64)]) -> String {
    let mut text =
        format!("# Instructions of the parts of a session. Not to be edited; written by: {RENEW}\n\n[counted-with]\n");
    let mut line = |line: String| writeln!(text, "{line}").expect("a String takes every write");
    for (what, version) in counted_with {
        line(format!("{what} = {}", toml::Value::from(version.as_str())));
    }
    line("\n[instructions]".to_owned());
    for (part, figure) in figures {
        line(format!("{part} = {figure}"));
    }
    text
}
