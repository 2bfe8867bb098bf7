//! Every code has an example that has it and one that has not, in `tests/vectors/lint`; the page of codes shows them.

use pinproxy::config::{Code, Diagnostic, Severity, lints_page};
use pinproxy::inspect::{CaDirectory, Synchronisation, World, check};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Codes that nothing gives yet. A code that is given has to leave the list, which is to become empty.
const PENDING: &[Code] = &[];

/// Codes that depend on what a host shows. Their examples say it in a comment; `program::probe` has hosts that have the
/// fault, and hosts that have not.
pub(crate) const PROBED: &[Code] = &[Code::E32, Code::E39, Code::W40, Code::W55];

/// What else a failing example may give, because it cannot be written without.
const COMPANIONS: &[(Code, &[Code])] = &[
    // The name that was meant is used by nobody.
    (Code::E10, &[Code::W11]),
    // Their subject is what public authorities alone can be.
    (Code::W40, &[Code::I35]),
    (Code::W41, &[Code::I35]),
    (Code::W43, &[Code::I35]),
    // Neither is done yet.
    (Code::W71, &[Code::I18]),
    // A key that only its owner can read cannot lie beside the examples.
    (Code::E86, &[Code::E87]),
    (Code::W87, &[Code::E87]),
    // Two certificates of one key are two certificates, and those are of the host.
    (Code::W32, &[Code::I33, Code::W42]),
];

/// 2026-11-21T00:00:00Z, as the page says.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/lint")
}

/// The codes that an example gives, and all of it as text.
fn found(code: Code, kind: &str) -> (BTreeSet<Code>, String) {
    let path = folder().join(format!("{code}.{kind}.toml"));
    // On a machine whose clock is what the examples of that code say.
    let clock = if code == Code::W59 { Synchronisation::Waiting } else { Synchronisation::Unknown };
    match check(&path, &World { now: now(), clock, ca_directory: CaDirectory::Usual(None) }) {
        Ok(checked) => {
            let told = checked.diagnostics;
            let text = told.iter().map(ToString::to_string).collect();
            (told.iter().map(Diagnostic::code).collect(), text)
        }
        Err(errors) => (errors.diagnostics().iter().map(Diagnostic::code).collect(), errors.to_string()),
    }
}

fn companions(code: Code) -> &'static [Code] {
    COMPANIONS.iter().find(|(other, _)| *other == code).map_or(&[], |(_, companions)| companions)
}

#[test]
fn failing_examples_have_their_code_and_no_other() {
    for code in Code::ALL {
        let (told, text) = found(*code, "bad");
        if PENDING.contains(code) {
            assert!(!told.contains(code), "{code} is given now: take it from the list\n{text}");
            continue;
        }
        if PROBED.contains(code) {
            assert!(!told.contains(code), "{code} is told without a probe\n{text}");
            let others: BTreeSet<_> = companions(*code).iter().copied().collect();
            assert!(told.is_subset(&others), "the text of {code} has {told:?}\n{text}");
            continue;
        }
        let allowed: BTreeSet<_> = companions(*code).iter().copied().chain([*code]).collect();
        assert!(
            told.contains(code) && told.is_subset(&allowed),
            "{code}, and perhaps {allowed:?}, but {told:?}\n{text}"
        );
    }
}

#[test]
fn passing_examples_have_no_error_and_not_their_code() {
    for code in Code::ALL {
        let (told, text) = found(*code, "good");
        assert!(!told.contains(code), "{code}\n{text}");
        let errors: Vec<_> = told.iter().filter(|told| told.severity() == Severity::Error).collect();
        assert!(PENDING.contains(code) || errors.is_empty(), "{code}: {errors:?}\n{text}");
    }
}

/// The compiler has found a file for every code; here nothing else lies beside them.
#[test]
fn every_example_belongs_to_a_code() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).expect("the folder of examples") {
        let name = entry.expect("an entry").file_name().into_string().expect("a plain name");
        if name != "files" {
            let code = name.strip_suffix(".bad.toml").or_else(|| name.strip_suffix(".good.toml"));
            let known = code.and_then(|code| code.parse::<Code>().ok());
            assert_eq!(known.map(|known| known.to_string()).as_deref(), code, "{name}");
            count += 1;
        }
    }
    assert_eq!(count, 2 * Code::ALL.len());
}

#[test]
fn the_page_is_what_the_program_prints() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/LINTS.md"));
    let same = page.is_ok_and(|page| page == lints_page());
    assert!(same, "run: cargo run -- config lints --markdown > config/LINTS.md");
}

/// What people copy first.
#[test]
fn the_examples_of_the_readme_have_no_error() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("it is there");
    let blocks: Vec<_> = readme.split("\n```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(blocks.len() >= 6, "{blocks:?}");
    for block in blocks {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pinproxy.toml");
        std::fs::write(&path, block).expect("it is written");
        let world = World { now: now(), clock: Synchronisation::Unknown, ca_directory: CaDirectory::Usual(None) };
        let told = check(&path, &world).unwrap_or_else(|errors| panic!("{block}\n{errors}")).diagnostics;
        assert!(told.iter().all(|told| told.severity() != Severity::Error), "{block}\n{told:?}");
    }
}
