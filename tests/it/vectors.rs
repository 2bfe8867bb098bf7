//! The tables of `tests/vectors`: what a policy makes of names, pins, chains and moments, as data. One file a topic, and
//! one runner a file.

mod encoding;
mod hosts;
mod judgement;
pub(crate) mod policy;
mod targets;
mod time;

pub(crate) use targets::{Target, Targets};

use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files that a runner of this folder reads.
const FILES: &[&str] = &["encoding.toml", "hosts.toml", "judgement.toml", "targets.toml", "time.toml"];

/// The tables of one file. Types that implement it refuse unknown fields.
pub(crate) trait Cases: DeserializeOwned {
    /// What the cases of each table are called.
    fn names(&self) -> Vec<Vec<&str>>;
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// Reads a file of `tests/vectors`; a table without cases and a case that stands twice are faults, as is an unknown
/// field.
pub(crate) fn read<T: Cases>(file: &str) -> T {
    assert!(FILES.contains(&file), "{file} is not in the list");
    let text = fs::read_to_string(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    parse(&text).unwrap_or_else(|fault| panic!("{file}: {fault}"))
}

fn parse<T: Cases>(text: &str) -> Result<T, String> {
    let cases: T = toml::from_str(text).map_err(|error| error.to_string())?;
    for table in cases.names() {
        let mut seen = BTreeSet::new();
        if table.is_empty() {
            return Err("a table has no cases".into());
        }
        if let Some(twice) = table.into_iter().find(|name| !seen.insert(*name)) {
            return Err(format!("the case {twice:?} stands twice"));
        }
    }
    Ok(cases)
}

#[test]
fn files_that_would_test_nothing_are_refused() {
    let case = "{ target = \"a\", error = \"NoPort\" }";
    let table = [
        (String::new(), "missing field `refused`"),
        ("refused = []".into(), "no cases"),
        (format!("refused = [{case}, {case}]"), "the case \"a\" stands twice"),
        (format!("refused = [{case}]\naccepted = []"), "unknown field `accepted`"),
        ("refused = [{ target = \"a\", eror = \"NoPort\" }]".into(), "unknown field `eror`"),
        ("refused = [{ target = \"a\" }]".into(), "missing field `error`"),
    ];
    for (text, part) in table {
        let fault = parse::<Targets>(&text).err().unwrap_or_else(|| panic!("accepted: {text}"));
        assert!(fault.contains(part), "{text}: {fault}");
    }
    assert_eq!(parse::<Targets>(&format!("refused = [{case}]")).map(|targets| targets.refused.len()), Ok(1));
}

#[test]
fn every_file_has_a_runner() {
    let entries = fs::read_dir(folder()).expect("tests/vectors").map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name().into_string().unwrap());
    let found: BTreeSet<_> = files.collect();
    assert_eq!(found, FILES.iter().map(ToString::to_string).collect());
}
