//! From the text of files to a configuration, or to everything that is wrong with it.

use super::access::{ACCESS, read_access};
use super::admin::{ADMIN, read_admin};
use super::code::Code;
use super::diagnostic::{ConfigErrors, Diagnostic};
use super::findings::{Findings, Finished};
use super::include::{UTF8_HELP, check_included, is_includable, not_utf8, read_included};
use super::keys::{BLOCKLIST, KEY, KeyRing};
use super::lint::{Subject, lint};
use super::listeners::{LISTENER, addresses_of, read_listeners};
use super::model::{Config, RuleSet};
use super::named::NamedFiles;
use super::outside::{Nothing, Noting, Outside, System};
use super::pinsets::{DEFAULTS, Defaults, PINSET, Surroundings, read_defaults, read_pinsets};
use super::places::{Marks, Places, Reading};
use super::reports::{REPORTS, read_reports};
use super::rules::{EXEMPT, Holes, TUNNEL, join_rules};
use super::sections::{CA, LIMITS, LOG, UPSTREAM, read_ca, read_limits, read_log, read_upstream};
use super::shape::{ANY, Key, Keys, Shape};
use super::span::{FileId, Source, Span};
use super::table::Table;
use super::traces::{TRACES, read_traces};
use super::variables::{Variables, fill_in};
use crate::files::Stamps;
use crate::policy::rules;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Largest configuration file in octets.
pub const FILE_OCTETS_MAX: usize = 16 << 20;

/// Largest text in which every error of the syntax is looked for; of a larger one only the first is told. The parser keeps
/// each error that it finds.
const RECOVERED_OCTETS_MAX: usize = 1 << 20;

/// Most signs in one file that can stand between names and values. The parser makes a token of each, many times its size;
/// a file of the largest size with nothing but pinsets has about 4.5 million.
const SIGNS_MAX: usize = 5 << 20;

/// The only version of the format.
const SCHEMA: RangeInclusive<u64> = 1..=1;

/// The top level of the main file.
pub(super) const ROOT: Keys = Keys::new(&[
    Key::new("schema", Shape::Number(&SCHEMA), "The version of this format.").by_default("1"),
    Key::new(
        "include",
        Shape::List(&Shape::Text(ANY)),
        "Files with keys, pinsets, exemptions and blocked keys: paths, or patterns such as \"pinsets.d/*.toml\".",
    ),
    Key::new("watch", Shape::Flag, "Whether a change of the files is a reload, as SIGHUP is.").by_default("false"),
    Key::new("listener", Shape::Tables(&LISTENER), "Where clients connect.")
        .by_default("[{ address = \"127.0.0.1:8080\" }]"),
    Key::new("ca", Shape::Table(&CA), "The local certificate authority, which signs what clients see.")
        .by_default("{}"),
    Key::new("upstream", Shape::Table(&UPSTREAM), "Connections to upstreams.").by_default("{}"),
    Key::new("access", Shape::Table(&ACCESS), "Who may use the proxy, and to go where."),
    Key::new("limits", Shape::Table(&LIMITS), "Limits on what peers can make grow; none can be switched off.")
        .by_default("{}"),
    Key::new("defaults", Shape::Table(&DEFAULTS), "What holds for pinsets that do not say otherwise.").by_default("{}"),
    Key::new("keys", Shape::Named(&KEY), "Keys with names, for use in several pinsets."),
    Key::new("pinset", Shape::Tables(&PINSET), "Which keys hosts may show."),
    Key::new("exempt", Shape::Tables(&EXEMPT), "Holes in wider pinsets, each with a reason and an end."),
    Key::new("tunnel", Shape::Tables(&TUNNEL), "Hosts that are passed through without looking inside."),
    Key::new("blocklist", Shape::Tables(&BLOCKLIST), "Keys that no chain may contain, pinned or not."),
    Key::new("reports", Shape::Table(&REPORTS), "Reports of pin violations.").by_default("{}"),
    Key::new("log", Shape::Table(&LOG), "Logs.").by_default("{}"),
    Key::new("traces", Shape::Table(&TRACES), "Traces of sessions for a collector of OpenTelemetry.").by_default("{}"),
    Key::new("admin", Shape::Table(&ADMIN), "The doors for operators.").by_default("{}"),
    Key::planned("observe"),
]);

impl Config {
    /// Reads a file, and those that it includes. Gives the configuration and the warnings about it.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load(path: &Path, now: SystemTime) -> Result<(Self, Vec<Diagnostic>), ConfigErrors> {
        Self::load_from(&System, path, now)
    }

    /// The same, with the places where it was written, for findings about what it names.
    pub fn load_with_places(path: &Path, now: SystemTime) -> Reading {
        let outside = Noting::default();
        let reading = match read_main(&outside, path) {
            Ok(text) => read_text(text, path, now, &outside, true, |_, config| config),
            Err(errors) => unread(Source::new(path, String::new()), errors),
        };
        Reading { looked_at: outside.into_stamps(), ..reading }
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
        let text = read_main(outside, path)?;
        read_text(text, path, now, outside, false, |_, config| config).outcome
    }

    /// Reads the text of a file by itself; `path` is for the diagnostics and for relative paths. Looks at no other file
    /// and at no environment variable.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn parse(text: &str, path: &Path, now: SystemTime) -> Result<(Self, Vec<Diagnostic>), ConfigErrors> {
        read_text(text.to_owned(), path, now, &Nothing, false, |_, config| config).outcome
    }
}

/// The text of the main file.
pub(super) fn read_main(outside: &dyn Outside, path: &Path) -> Result<String, ConfigErrors> {
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

/// What is left of a file of which nothing could be read.
fn unread<T>(main: Source, errors: ConfigErrors) -> Reading<T> {
    let places = Places::new(vec![Arc::new(main)], Variables::default(), Marks::default());
    Reading { outcome: Err(errors), places, looked_at: Stamps::new() }
}

/// Reads a text and what it includes, and gives what is made of its top level and the configuration when there is no
/// error in it. The places are left empty unless they are wanted.
pub(super) fn read_text<T>(
    text: String,
    path: &Path,
    now: SystemTime,
    outside: &dyn Outside,
    with_places: bool,
    make: impl FnOnce(&Table<'_>, Config) -> T,
) -> Reading<T> {
    let main = Arc::new(Source::new(path, text));
    if main.text.len() > FILE_OCTETS_MAX {
        let message = format!("the file is larger than {} MiB", FILE_OCTETS_MAX >> 20);
        let help = "name a configuration file; a real one is far smaller";
        let errors = ConfigErrors::new(vec![Diagnostic::of_file(Code::E19, main, message, help)]);
        return unread(Source::new(path, String::new()), errors);
    }
    let findings = Findings::new(Arc::clone(&main));
    let (made, marks) = read_files(&main, &findings, now, outside, with_places, make).unzip();
    let Finished { found, sources, variables } = findings.finish();
    let places = Places::new(sources, variables, marks.unwrap_or_default());
    let outcome = found.map(|diagnostics| {
        let made = made.flatten().unwrap_or_else(|| unreachable!("what could not be read has been reported"));
        (made, diagnostics)
    });
    Reading { outcome, places, looked_at: Stamps::new() }
}

/// Nothing when the main file is no TOML. Where another one is missing or none, the rest is read for the errors in it.
fn read_files<T>(
    main: &Source,
    findings: &Findings,
    now: SystemTime,
    outside: &dyn Outside,
    with_places: bool,
    make: impl FnOnce(&Table<'_>, Config) -> T,
) -> Option<(Option<T>, Marks)> {
    let main_top = Top::parse(FileId::MAIN, &main.text, findings, outside);
    if !main_top.readable {
        return None;
    }
    let root = main_top.open(findings);
    root.check();
    let included = read_included(&root, main, outside);
    let files = included.files.iter();
    let mut tops: Vec<_> = files.map(|(file, source)| Top::parse(*file, &source.text, findings, outside)).collect();
    let mut complete = included.complete;
    for top in &mut tops {
        let root = top.open(findings);
        complete &= top.readable && check_included(&root);
        check_schema(&root);
        let refused: Vec<_> = root.keys().map(|(key, _)| key.to_owned()).filter(|key| !is_includable(key)).collect();
        for key in refused {
            top.table.get_mut().remove(key.as_str());
        }
    }
    check_schema(&root);
    let tables = tops.iter().filter(|top| top.readable).map(|top| (top.file, top.table.get_ref())).collect();
    if !complete {
        findings.expect_gaps();
    }
    let root = root.including(tables);
    let (config, marks) = read(&root, findings, now, outside, with_places);
    Some(((!findings.has_errors()).then(|| make(&root, config)), marks))
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
        if text.lines().any(|line| line.starts_with("-----BEGIN ")) {
            // Perhaps a private key: no line of it is shown.
            let help = "name a TOML file; keys and certificates are named by path, in pem, roots or extra_roots";
            findings.of_file(Code::E17, file, "the file is PEM, no configuration".to_owned(), None, help);
            return Self { file, table: Spanned::new(0..0, DeTable::new()), readable: false };
        }
        if let Some(at) = text.find('\0') {
            let help = "save the file as plain UTF-8 text; UTF-16 text has such bytes";
            findings.error(Code::E17, &Span::new(file, at..at + 1), "the file contains a NUL byte", help);
            return Self { file, table: Spanned::new(0..0, DeTable::new()), readable: false };
        }
        if text.bytes().filter(|octet| is_sign(*octet)).count() > SIGNS_MAX {
            let message = format!("the file has more than {SIGNS_MAX} brackets, commas, quotes, spaces and line ends");
            findings.of_file(Code::E19, file, message, None, "name a configuration file; a real one has far fewer");
            return Self { file, table: Spanned::new(0..0, DeTable::new()), readable: false };
        }
        let (mut table, errors) = if text.len() > RECOVERED_OCTETS_MAX {
            let empty = |error| (Spanned::new(0..0, DeTable::new()), vec![error]);
            DeTable::parse(text).map_or_else(empty, |table| (table, Vec::new()))
        } else {
            DeTable::parse_recoverable(text)
        };
        let mut readable = errors.is_empty() || text.len() <= RECOVERED_OCTETS_MAX;
        for error in errors {
            let octets = error.span().unwrap_or_default();
            let span = Span::new(file, octets);
            let message = error.message();
            if message == "duplicate key" {
                let source = findings.source(file);
                let key = source.shown(&span);
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
        Table::top(findings, Span::new(self.file, self.table.span()), self.table.get_ref(), &ROOT)
    }
}

/// Whether it ends a name or a value outside of texts and comments.
const fn is_sign(octet: u8) -> bool {
    matches!(octet, b'[' | b']' | b'{' | b'}' | b',' | b'=' | b'.' | b'"' | b'\'' | b' ' | b'\t' | b'\r' | b'\n')
}

/// Reads every section, whatever is wrong with the others.
fn read<'a>(
    root: &Table<'a>,
    findings: &'a Findings,
    now: SystemTime,
    outside: &dyn Outside,
    with_places: bool,
) -> (Config, Marks) {
    let named = NamedFiles::default();
    let listeners = read_listeners(root, &named);
    let addresses = addresses_of(&listeners);
    let access = read_access(root, &addresses);
    let ring = KeyRing::read(root, outside);
    let blocklist = ring.read_blocklist(root);
    let defaults = read_defaults(root);
    let around = Surroundings { ring: &ring, blocklist: &blocklist, defaults: &defaults, named: &named, now };
    let pinsets = read_pinsets(root, &around);
    ring.warn_unused();
    let holes = Holes::read(root, &defaults, now);
    let (upstream, reports, log) = (read_upstream(root, &addresses, &named), read_reports(root), read_log(root));
    let admin = read_admin(root, &addresses, &named);
    lint(&Subject {
        findings,
        drafts: &pinsets,
        holes: &holes,
        access: &access,
        upstream: &upstream,
        defaults: &defaults,
        reports: &reports,
        log: &log,
        now,
    });
    let (met, anchor_sets) = named.into_parts();
    let mut config = Config {
        listeners: listeners.into_iter().map(|listener| listener.value).collect(),
        ca: read_ca(root),
        upstream,
        access,
        limits: read_limits(root),
        rules: RuleSet::default(),
        anchor_sets,
        refusal: defaults.refusal,
        reports,
        log,
        admin,
        traces: read_traces(root),
        watch: root.item("watch").and_then(|item| item.flag()).unwrap_or_default(),
    };
    let marks = if with_places { Marks::of(&config, &pinsets, met, defaults.expiry_warning) } else { Marks::default() };
    let rules = join_rules(findings, pinsets, holes);
    if !findings.has_errors() {
        warn_of_no_pinsets(root);
        let blocklist = blocklist.into_iter().map(|(digest, (blocked, _))| (digest, blocked)).collect();
        let Defaults { unpinned, name_mismatch, .. } = defaults;
        let defaults = rules::Defaults { unpinned, name_mismatch };
        config.rules = RuleSet::new(rules, defaults, blocklist)
            .unwrap_or_else(|conflicts| unreachable!("E21 has refused {conflicts:?}"));
    }
    (config, marks)
}

/// Looked for where there is no error: otherwise the pinset may be what is misspelt.
fn warn_of_no_pinsets(root: &Table<'_>) {
    if root.items("pinset").all(|item| item.is_empty_list()) {
        let message = "nothing is pinned: there is no [[pinset]]".to_owned();
        let help = "write one, or include the file that has it";
        root.findings.of_file(Code::W20, FileId::MAIN, message, None, help);
    }
}

fn check_schema(root: &Table<'_>) {
    let Some(item) = root.item("schema") else { return };
    let known =
        matches!(item.value.get_ref(), DeValue::Integer(number) if number.to_string() == SCHEMA.start().to_string());
    if !known {
        let message = "this version does not read that schema";
        root.findings.error(Code::E02, &item.span(), message, format!("write schema = {}", SCHEMA.start()));
    }
}
