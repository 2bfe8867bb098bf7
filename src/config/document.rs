//! From the text of a file to a configuration, or to everything that is wrong with it.

use super::access::read_access;
use super::code::Code;
use super::diagnostic::{ConfigErrors, Diagnostic, Source, Span};
use super::findings::Findings;
use super::keys::KeyRing;
use super::model::{Config, RuleSet};
use super::pinsets::{Defaults, Surroundings, read_defaults, read_pinsets};
use super::rules::read_rules;
use super::sections::{AnchorSets, read_ca, read_limits, read_listeners, read_log, read_reports, read_upstream};
use super::table::{Keys, Table};
use crate::policy::rules;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Largest configuration file in octets.
pub const FILE_OCTETS_MAX: usize = 16 << 20;

/// The only version of the format.
const SCHEMA: &str = "1";

const ROOT: Keys = Keys {
    known: &[
        "schema",
        "listener",
        "ca",
        "upstream",
        "access",
        "limits",
        "defaults",
        "keys",
        "pinset",
        "exempt",
        "tunnel",
        "blocklist",
        "reports",
        "log",
    ],
    planned: &["include", "admin", "observe"],
};

impl Config {
    /// Reads a file. Gives the configuration and the warnings about it.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load(path: &Path, now: SystemTime) -> Result<(Self, Vec<Diagnostic>), ConfigErrors> {
        let refuse = |code, message, help| {
            let source = Arc::new(Source { path: path.to_owned(), text: String::new() });
            ConfigErrors::new(vec![Diagnostic::of_file(code, source, message, help)])
        };
        let mut octets = Vec::new();
        let limit = FILE_OCTETS_MAX as u64 + 1;
        let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut octets));
        if let Err(error) = read {
            let help = "check the path and the permissions of the file";
            return Err(refuse(Code::E19, format!("cannot read the configuration: {error}"), help));
        }
        let text = String::from_utf8(octets).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = valid.split(|b| *b == b'\n').count();
            let message = format!("the file is not UTF-8 text: line {line} has a byte that does not belong there");
            refuse(Code::E17, message, "save the file as UTF-8")
        })?;
        Self::parse(&text, path, now)
    }

    /// Reads the text of a file; `path` is for the diagnostics and for relative paths. Looks at no other file.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn parse(text: &str, path: &Path, now: SystemTime) -> Result<(Self, Vec<Diagnostic>), ConfigErrors> {
        let source = Arc::new(Source { path: path.to_owned(), text: text.to_owned() });
        if text.len() > FILE_OCTETS_MAX {
            let message = format!("the file is larger than {} MiB", FILE_OCTETS_MAX >> 20);
            let help = "name a configuration file; a real one is far smaller";
            return Err(ConfigErrors::new(vec![Diagnostic::of_file(Code::E19, source, message, help)]));
        }
        let findings = Findings::new(source);
        let (document, readable) = parse_toml(text, &findings);
        let config = if readable { read(&document, &findings, path, now) } else { Self::builtin() };
        findings.finish().map(|warnings| (config, warnings))
    }
}

/// Reports every error of the syntax; `false` when the rest could be an artefact of such an error.
fn parse_toml<'a>(text: &'a str, findings: &Findings) -> (Spanned<DeTable<'a>>, bool) {
    if let Some(at) = text.find('\0') {
        let help = "save the file as plain UTF-8 text; UTF-16 text has such bytes";
        findings.error(Code::E17, &(at..at + 1), "the file contains a NUL byte", help);
        return (Spanned::new(Span::default(), DeTable::new()), false);
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut readable = true;
    for error in errors {
        let span = error.span().unwrap_or_default();
        let message = error.message();
        if message == "duplicate key" {
            let key = text.get(span.clone()).unwrap_or_default();
            let help = "keep one of the two; the entries of a list of tables begin with double brackets";
            findings.error(Code::E17, &span, format!("the key {key} is given twice"), help);
        } else {
            readable = false;
            let help = "the file is TOML; https://toml.io shows how it is written";
            findings.error(Code::E17, &span, message, help);
        }
    }
    (document, readable)
}

/// Reads every section, whatever is wrong with the others.
fn read<'a>(document: &'a Spanned<DeTable<'a>>, findings: &'a Findings, path: &Path, now: SystemTime) -> Config {
    let folder = path.parent().unwrap_or(Path::new(""));
    let root = Table::open(findings, "", document.span(), document.get_ref(), &ROOT);
    check_schema(&root);
    let listeners = read_listeners(&root);
    let access = read_access(&root, &listeners);
    let ring = KeyRing::read(&root);
    let blocklist = ring.read_blocklist(&root);
    let defaults = read_defaults(&root);
    let anchor_sets = AnchorSets::new(folder);
    let around =
        Surroundings { ring: &ring, blocklist: &blocklist, defaults: &defaults, anchor_sets: &anchor_sets, now };
    let pinsets = read_pinsets(&root, &around);
    ring.warn_unused();
    let rules = read_rules(&root, pinsets, &defaults, now);
    let mut config = Config {
        listeners: listeners.into_iter().map(|listener| listener.value).collect(),
        ca: read_ca(&root, folder),
        upstream: read_upstream(&root, folder),
        access,
        limits: read_limits(&root),
        rules: RuleSet::default(),
        anchor_sets: anchor_sets.into_named(),
        refusal: defaults.refusal,
        reports: read_reports(&root, folder),
        log: read_log(&root, folder),
    };
    if !findings.has_errors() {
        let blocklist = blocklist.into_iter().map(|(digest, (blocked, _))| (digest, blocked)).collect();
        let Defaults { unpinned, name_mismatch, .. } = defaults;
        let defaults = rules::Defaults { unpinned, name_mismatch };
        config.rules = RuleSet::new(rules, defaults, blocklist)
            .unwrap_or_else(|conflicts| unreachable!("E21 has refused {conflicts:?}"));
    }
    config
}

fn check_schema(root: &Table<'_>) {
    let Some(item) = root.item("schema") else { return };
    let known = matches!(item.value.get_ref(), DeValue::Integer(number) if number.to_string() == SCHEMA);
    if !known {
        let message = "this version does not read that schema";
        root.findings.error(Code::E02, &item.span(), message, format!("write schema = {SCHEMA}"));
    }
}
