//! From the text of files to a configuration, or to everything that is wrong with it.

use super::access::read_access;
use super::code::Code;
use super::diagnostic::{ConfigErrors, Diagnostic};
use super::findings::{Findings, Finished};
use super::include::{UTF8_HELP, check_included, is_includable, not_utf8, read_included};
use super::keys::KeyRing;
use super::model::{Config, RuleSet};
use super::outside::{Nothing, Outside, System};
use super::pinsets::{Defaults, Surroundings, read_defaults, read_pinsets};
use super::places::{Loaded, Marks, Places};
use super::rules::read_rules;
use super::sections::{AnchorSets, read_ca, read_limits, read_listeners, read_log, read_reports, read_upstream};
use super::span::{FileId, Source, Span};
use super::table::{Keys, Table};
use super::variables::fill_in;
use crate::policy::rules;
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
        "include",
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
    planned: &["admin", "observe"],
};

impl Config {
    /// Reads a file, and those that it includes. Gives the configuration and the warnings about it.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load(path: &Path, now: SystemTime) -> Result<(Self, Vec<Diagnostic>), ConfigErrors> {
        Self::load_from(&System, path, now)
    }

    /// The same, with the places where it was written, for findings about what it names.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load_with_places(path: &Path, now: SystemTime) -> Result<Loaded, ConfigErrors> {
        let mut marks = Marks::default();
        let (config, finished) = read_text(read_main(&System, path)?, path, now, &System, Some(&mut marks))?;
        let Finished { diagnostics, sources, variables } = finished;
        Ok(Loaded { config, diagnostics, places: Places::new(sources, variables, marks) })
    }

    /// The same, with files and environment variables of this machine.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load_from(
        outside: &dyn Outside,
        path: &Path,
        now: SystemTime,
    ) -> Result<(Self, Vec<Diagnostic>), ConfigErrors> {
        let (config, finished) = read_text(read_main(outside, path)?, path, now, outside, None)?;
        Ok((config, finished.diagnostics))
    }

    /// Reads the text of a file by itself; `path` is for the diagnostics and for relative paths. Looks at no other file
    /// and at no environment variable.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn parse(text: &str, path: &Path, now: SystemTime) -> Result<(Self, Vec<Diagnostic>), ConfigErrors> {
        let (config, finished) = read_text(text.to_owned(), path, now, &Nothing, None)?;
        Ok((config, finished.diagnostics))
    }
}

fn read_main(outside: &dyn Outside, path: &Path) -> Result<String, ConfigErrors> {
    let refuse = |code, message, help| {
        let source = Arc::new(Source::new(path, String::new()));
        ConfigErrors::new(vec![Diagnostic::of_file(code, source, message, help)])
    };
    let octets = outside.read(path, FILE_OCTETS_MAX + 1).map_err(|error| {
        let help = "check the path and the permissions of the file";
        refuse(Code::E19, format!("cannot read the configuration: {error}"), help)
    })?;
    String::from_utf8(octets).map_err(|error| refuse(Code::E17, not_utf8(&error), UTF8_HELP))
}

fn read_text(
    text: String,
    path: &Path,
    now: SystemTime,
    outside: &dyn Outside,
    marks: Option<&mut Marks>,
) -> Result<(Config, Finished), ConfigErrors> {
    let main = Arc::new(Source::new(path, text));
    if main.text.len() > FILE_OCTETS_MAX {
        let message = format!("the file is larger than {} MiB", FILE_OCTETS_MAX >> 20);
        let help = "name a configuration file; a real one is far smaller";
        return Err(ConfigErrors::new(vec![Diagnostic::of_file(Code::E19, main, message, help)]));
    }
    let findings = Findings::new(Arc::clone(&main));
    let config = read_files(&main, &findings, now, outside, marks).unwrap_or_else(Config::builtin);
    findings.finish().map(|finished| (config, finished))
}

/// Nothing when a part of the files is missing or no TOML: what the rest says could then be an artefact of that.
fn read_files(
    main: &Source,
    findings: &Findings,
    now: SystemTime,
    outside: &dyn Outside,
    marks: Option<&mut Marks>,
) -> Option<Config> {
    let main_top = Top::parse(FileId::MAIN, &main.text, findings, outside);
    if !main_top.readable {
        return None;
    }
    let root = main_top.open(findings);
    root.check(&ROOT);
    let included = read_included(&root, main, outside);
    let files = included.files.iter();
    let mut tops: Vec<_> = files.map(|(file, source)| Top::parse(*file, &source.text, findings, outside)).collect();
    let mut complete = included.complete;
    for top in &mut tops {
        let root = top.open(findings);
        complete &= top.readable && check_included(&root, &ROOT);
        check_schema(&root);
        let refused: Vec<_> = root.keys().map(|(key, _)| key.to_owned()).filter(|key| !is_includable(key)).collect();
        for key in refused {
            top.table.get_mut().remove(key.as_str());
        }
    }
    check_schema(&root);
    let tables = tops.iter().map(|top| (top.file, top.table.get_ref())).collect();
    complete.then(|| read(&root.including(tables), findings, now, marks))
}

/// The top level of a file.
struct Top<'t> {
    file: FileId,
    table: Spanned<DeTable<'t>>,
    readable: bool,
}

impl<'t> Top<'t> {
    /// Reports every error of the syntax, and fills in the variables.
    fn parse(file: FileId, text: &'t str, findings: &Findings, outside: &dyn Outside) -> Self {
        if let Some(at) = text.find('\0') {
            let help = "save the file as plain UTF-8 text; UTF-16 text has such bytes";
            findings.error(Code::E17, &Span::new(file, at..at + 1), "the file contains a NUL byte", help);
            return Self { file, table: Spanned::new(0..0, DeTable::new()), readable: false };
        }
        let (mut table, errors) = DeTable::parse_recoverable(text);
        let mut readable = true;
        for error in errors {
            let octets = error.span().unwrap_or_default();
            let span = Span::new(file, octets.clone());
            let message = error.message();
            if message == "duplicate key" {
                let key = text.get(octets).unwrap_or_default();
                let help = "keep one of the two; the entries of a list of tables begin with double brackets";
                findings.error(Code::E17, &span, format!("the key {key} is given twice"), help);
            } else {
                readable = false;
                let help = "tables are written [name], lists of tables [[name]], and values key = value";
                findings.error(Code::E17, &span, message, help);
            }
        }
        if readable {
            fill_in(table.get_mut(), file, findings, outside);
        }
        Self { file, table, readable }
    }

    fn open<'a>(&'a self, findings: &'a Findings) -> Table<'a> {
        Table::top(findings, Span::new(self.file, self.table.span()), self.table.get_ref())
    }
}

/// Reads every section, whatever is wrong with the others. `marks` gets the places if there are no errors.
fn read<'a>(root: &Table<'a>, findings: &'a Findings, now: SystemTime, marks: Option<&mut Marks>) -> Config {
    let listeners = read_listeners(root);
    let access = read_access(root, &listeners);
    let ring = KeyRing::read(root);
    let blocklist = ring.read_blocklist(root);
    let defaults = read_defaults(root);
    let anchor_sets = AnchorSets::default();
    let around =
        Surroundings { ring: &ring, blocklist: &blocklist, defaults: &defaults, anchor_sets: &anchor_sets, now };
    let pinsets = read_pinsets(root, &around);
    ring.warn_unused();
    if let Some(marks) = marks.filter(|_| !findings.has_errors()) {
        *marks = Marks::of(root, &pinsets, defaults.expiry_warning);
    }
    let rules = read_rules(root, pinsets, &defaults, now);
    let mut config = Config {
        listeners: listeners.into_iter().map(|listener| listener.value).collect(),
        ca: read_ca(root),
        upstream: read_upstream(root),
        access,
        limits: read_limits(root),
        rules: RuleSet::default(),
        anchor_sets: anchor_sets.into_named(),
        refusal: defaults.refusal,
        reports: read_reports(root),
        log: read_log(root),
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
