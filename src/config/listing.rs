//! The diagnostics of a configuration together: counted, judged, and shown to people and to programs.

use super::code::{Class, Code, Severity};
use super::diagnostic::{Diagnostic, Region};
use super::sarif::sarif_log;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;

/// Diagnostics that a text shows, errors before others; the rest is counted in its last line.
pub const DIAGNOSTICS_SHOWN_MAX: usize = 100;

/// The version of the shape of [`Listing::json`]. Members may be added without a new one.
const JSON_FORMAT: u32 = 1;

/// Diagnostics, to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    diagnostics: &'a [Diagnostic],
    left_out: usize,
    /// The worst of the errors that are left out, or of all.
    worst: Option<Class>,
    strict: bool,
    probed: Option<&'a Value>,
}

impl<'a> Listing<'a> {
    /// Of these diagnostics, which are shown in their order.
    pub const fn new(diagnostics: &'a [Diagnostic]) -> Self {
        Self { diagnostics, left_out: 0, worst: None, strict: false, probed: None }
    }

    /// With the number of errors that were found and are not among the diagnostics, and the worst class among them.
    #[must_use]
    pub const fn leaving_out(self, left_out: usize, worst: Option<Class>) -> Self {
        Self { left_out, worst, ..self }
    }

    /// Whether warnings are taken for errors.
    #[must_use]
    pub const fn strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }

    /// With what the hosts showed, for programs.
    #[must_use]
    pub const fn probed(self, probed: Option<&'a Value>) -> Self {
        Self { probed, ..self }
    }

    pub(super) const fn hosts(&self) -> Option<&'a Value> {
        self.probed
    }

    /// Whether there is nothing to show.
    pub const fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// How many there are of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        let found = self.diagnostics.iter().filter(|d| self.severity(d) == severity).map(|d| 1 + d.more).sum();
        if severity == Severity::Error { found + self.left_out } else { found }
    }

    /// What keeps the configuration from being used: the worst of its errors.
    pub fn fault(&self) -> Option<Class> {
        let errors = self.diagnostics.iter().filter(|d| self.severity(d) == Severity::Error);
        errors.map(|d| d.code().class()).max().max(self.worst)
    }

    pub(super) fn severity(&self, diagnostic: &Diagnostic) -> Severity {
        match diagnostic.severity() {
            Severity::Warning if self.strict => Severity::Error,
            severity => severity,
        }
    }

    pub(super) const fn diagnostics(&self) -> &'a [Diagnostic] {
        self.diagnostics
    }

    /// One after the other, and in the last line how many there are. What goes wrong if it stays is said once for each
    /// code.
    pub fn render(&self, coloured: bool) -> String {
        let mut told = HashSet::new();
        let mut parts: Vec<_> =
            self.shown().into_iter().map(|d| d.render_as(self.severity(d), told.insert(d.code()), coloured)).collect();
        parts.push(self.summary());
        parts.join("\n\n")
    }

    /// Those that a text has room for: the most severe, in their order.
    fn shown(&self) -> Vec<&'a Diagnostic> {
        let mut places: Vec<_> = (0..self.diagnostics.len()).collect();
        places.sort_by_key(|place| self.severity(&self.diagnostics[*place]));
        places.truncate(DIAGNOSTICS_SHOWN_MAX);
        places.sort_unstable();
        places.into_iter().map(|place| &self.diagnostics[place]).collect()
    }

    fn summary(&self) -> String {
        let hidden = self.diagnostics.len().saturating_sub(DIAGNOSTICS_SHOWN_MAX) + self.unlisted();
        let hidden = if hidden > 0 { format!("{hidden} more are not shown; ") } else { String::new() };
        let counts: Vec<_> = [Severity::Error, Severity::Warning, Severity::Info]
            .map(|severity| (self.count(severity), severity.as_str()))
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
            .collect();
        let counts = if counts.is_empty() { "no findings".to_owned() } else { counts.join(", ") };
        format!("{hidden}{counts} in the configuration")
    }

    /// Findings that are not among the diagnostics.
    fn unlisted(&self) -> usize {
        self.left_out + self.diagnostics.iter().map(|d| d.more).sum::<usize>()
    }

    /// As a JSON object of one line; LINTS.md tells its shape.
    pub fn json(&self) -> String {
        let document = Document {
            format: JSON_FORMAT,
            strict: self.strict,
            fault: self.fault(),
            errors: self.count(Severity::Error),
            warnings: self.count(Severity::Warning),
            infos: self.count(Severity::Info),
            left_out: self.unlisted(),
            diagnostics: self.diagnostics.iter().map(|d| Finding::of(d, self.severity(d))).collect(),
            probed: self.probed,
        };
        serde_json::to_string(&document).unwrap_or_else(|error| unreachable!("texts and numbers: {error}"))
    }

    /// As a SARIF 2.1.0 log of one line. Paths below `base` are told relative to it.
    pub fn sarif(&self, base: &Path) -> String {
        sarif_log(self, base).to_string()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Document<'a> {
    format: u32,
    strict: bool,
    fault: Option<Class>,
    errors: usize,
    warnings: usize,
    infos: usize,
    left_out: usize,
    diagnostics: Vec<Finding<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probed: Option<&'a Value>,
}

#[derive(Serialize)]
struct Finding<'a> {
    code: Code,
    severity: Severity,
    class: Class,
    message: &'a str,
    consequence: &'static str,
    help: &'a str,
    file: String,
    #[serde(flatten)]
    region: Option<Region>,
    related: Vec<Related>,
}

#[derive(Serialize)]
struct Related {
    message: &'static str,
    file: String,
    #[serde(flatten)]
    region: Option<Region>,
}

impl<'a> Finding<'a> {
    fn of(diagnostic: &'a Diagnostic, severity: Severity) -> Self {
        let place = diagnostic.place();
        let related = diagnostic.related().map(|(place, message)| Related {
            message,
            file: place.file.display().to_string(),
            region: place.region,
        });
        Self {
            code: diagnostic.code(),
            severity,
            class: diagnostic.code().class(),
            message: diagnostic.message(),
            consequence: diagnostic.code().consequence(),
            help: diagnostic.help(),
            file: place.file.display().to_string(),
            region: place.region,
            related: related.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::diagnostic::ConfigErrors;
    use super::super::tests::nobodys;
    use super::*;
    use std::fmt::Write as _;
    use std::time::SystemTime;

    fn refused(text: &str) -> ConfigErrors {
        Config::parse(text, Path::new("c.toml"), SystemTime::UNIX_EPOCH).expect_err("it has errors")
    }

    /// Warnings (W11) for so many keys.
    fn unused(count: usize) -> String {
        (0..count).fold(String::new(), |mut text, n| {
            writeln!(text, "[keys.k{n}]\nspki = \"{}\"", nobodys(n)).unwrap();
            text
        })
    }

    #[test]
    fn a_consequence_is_told_once_for_each_code() {
        let text = "unheard = 1\n[limits]\nsessions = 0\nheader_bytes = 0\n[log]\nlevel = \"loud\"\n";
        let errors = refused(text);
        let rendered = errors.render(false);
        for (code, count) in [(Code::E01, 2), (Code::E16, 2)] {
            assert_eq!(rendered.matches(&format!("error[{code}]")).count(), count, "{rendered}");
            assert_eq!(rendered.matches(code.consequence()).count(), 1, "{rendered}");
        }
        let second = errors.diagnostics()[1].to_string();
        assert!(second.contains(Code::E16.consequence()), "alone it is whole: {second}");
        assert_eq!(rendered.matches("= help: ").count(), 4, "{rendered}");
    }

    #[test]
    fn errors_are_shown_before_warnings() {
        let text = unused(200) + "[log]\nlevel = \"loud\"\n";
        let errors = refused(&text);
        let rendered = errors.render(false);
        assert!(rendered.contains("error[E01]: log.level"), "{rendered}");
        assert_eq!(rendered.matches("warning[W11]").count(), DIAGNOSTICS_SHOWN_MAX - 1);
        assert!(rendered.ends_with("101 more are not shown; 1 error, 200 warnings in the configuration"), "{rendered}");
        let strict = errors.listing().strict(true).render(false);
        assert!(strict.ends_with("101 more are not shown; 201 errors in the configuration"), "{strict}");
    }

    #[test]
    fn what_was_left_out_is_counted() {
        let errors = refused("unheard = 1\n");
        let listing = errors.listing().leaving_out(7, None);
        assert_eq!(listing.count(Severity::Error), 8);
        assert!(listing.render(false).ends_with("7 more are not shown; 8 errors in the configuration"));
        assert!(listing.json().contains("\"errors\":8,\"warnings\":0,\"infos\":0,\"left-out\":7,"));
    }

    #[test]
    fn the_worst_error_is_the_fault() {
        let text = "[[tunnel]]\nreason = \"r\"\nhosts = [\"a.example\", \"a.example\"]\n";
        assert_eq!(refused(text).listing().fault(), Some(Class::Unsafe));
        assert_eq!(refused(&format!("unheard = 1\n{text}")).listing().fault(), Some(Class::Malformed));
        let (_, warnings) = Config::parse(&unused(1), Path::new("c.toml"), SystemTime::UNIX_EPOCH).unwrap();
        let listing = Listing::new(&warnings);
        assert_eq!((listing.fault(), listing.strict(true).fault()), (None, Some(Class::Unsafe)));
        assert!(listing.strict(true).render(false).contains("\n\nerror[W11]"));
    }

    /// A value may stretch over lines, and a character over octets; where a line ends by CR LF that is no column.
    #[test]
    fn regions() {
        let table = [
            ("ca = [\r\n \"é\",\r\n]\r\n", (1, 6, 3, 2)),
            ("# é\nca = \"éé\"", (2, 6, 2, 10)),
            ("ca = ", (1, 6, 1, 6)),
        ];
        for (text, expected) in table {
            let errors = refused(text);
            let place = errors.diagnostics()[0].place();
            let region = place.region.unwrap_or_else(|| panic!("{errors}"));
            assert_eq!(place.file, Path::new("c.toml"));
            assert_eq!((region.line, region.column, region.end_line, region.end_column), expected, "{errors}");
        }
    }
}
