//! What is wrong with a configuration: where it stands, what it is, and what to write instead.

use super::code::{Class, Code, Severity};
use super::legible::{legible, legible_line};
use super::listing::Listing;
use super::span::{Source, Span};
use annotate_snippets::{AnnotationKind, Element, Level, Origin, Renderer, Snippet, normalize_untrusted_str};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Errors that are kept; the rest is counted. A large file that is all wrong must not fill the memory.
pub const ERRORS_KEPT_MAX: usize = 1000;

/// Warnings and infos of one code that are kept; the rest is counted. One habit in a large file gives as many as there are
/// pinsets, and must not crowd out the others.
pub const KEPT_OF_A_CODE_MAX: usize = 200;

/// Octets of a line that is shown; of a longer one only the place is told.
const LINE_OCTETS_MAX: usize = 16 << 10;

/// A second place that belongs to a diagnostic.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) span: Span,
    /// The file of that place, which may be another one.
    pub(super) source: Arc<Source>,
    pub(super) label: &'static str,
}

/// One thing that is wrong, or that deserves a look.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    pub(super) code: Code,
    pub(super) message: String,
    /// Absent when the file as a whole is meant.
    pub(super) span: Option<Span>,
    pub(super) note: Option<Note>,
    pub(super) help: String,
    pub(super) source: Arc<Source>,
    /// Further ones of its code that were found and are not kept.
    pub(super) more: usize,
}

impl Diagnostic {
    /// Of the file as a whole.
    pub(super) fn of_file(code: Code, source: Arc<Source>, message: String, help: &str) -> Self {
        let help = help.to_owned();
        Self { code, message, span: None, note: None, help, source, more: 0 }
    }

    /// How much it matters.
    pub const fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// What it is about.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What is wrong, in one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to write instead.
    pub fn help(&self) -> &str {
        &self.help
    }

    /// Line and column, both counted from 1, the column in characters. Absent when the file as a whole is meant.
    pub fn position(&self) -> Option<(usize, usize)> {
        let excerpt = self.source.excerpt(self.span.as_ref()?);
        Some((excerpt.line, excerpt.column()))
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        self.source.located(self.span.as_ref())
    }

    /// Second places that belong to it, and what is there.
    pub fn related(&self) -> impl Iterator<Item = (Place, &'static str)> {
        self.note.iter().map(|note| (note.source.located(Some(&note.span)), note.label))
    }

    /// With file, line, column, the marked line, what goes wrong if it stays, and the fix; several lines, no line break
    /// at the end.
    pub fn render(&self, coloured: bool) -> String {
        self.render_as(self.severity(), true, coloured)
    }

    /// As if it had this severity; what goes wrong if it stays is said only where that has not been said before.
    pub(super) fn render_as(&self, severity: Severity, with_consequence: bool, coloured: bool) -> String {
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        let level = match severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Info => Level::INFO,
        };
        let path = legible(&self.source.path.display().to_string());
        let title = level.primary_title(legible(&self.message)).id(self.code.as_str());
        let mut group = match &self.span {
            Some(span) => title.element(marked(&self.source, &path, span, AnnotationKind::Primary, None)),
            None => title.element(Origin::path(path.as_str())),
        };
        let other = self.note.as_ref().map(|note| legible(&note.source.path.display().to_string())).unwrap_or_default();
        if let Some(note) = &self.note {
            let label = Some(note.label);
            group = group.element(marked(&note.source, &other, &note.span, AnnotationKind::Context, label));
        }
        if with_consequence {
            group = group.element(Level::NOTE.message(self.code.consequence()));
        }
        let help = normalize_untrusted_str(&legible(&self.help));
        renderer.render(&[group.element(Level::HELP.message(help))])
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Absent when the file as a whole is meant.
    pub region: Option<Region>,
}

/// A stretch of text. Lines and columns count from 1, columns in characters (Unicode code points); the end is the place
/// behind the last character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Region {
    /// Where it begins.
    pub line: usize,
    /// Where it begins.
    pub column: usize,
    /// Where it ends.
    pub end_line: usize,
    /// Where it ends.
    pub end_column: usize,
}

/// The marked line, or its number alone.
fn marked<'a>(
    source: &Source,
    path: &'a str,
    span: &Span,
    kind: AnnotationKind,
    label: Option<&'a str>,
) -> Element<'a> {
    let excerpt = source.excerpt(span);
    if excerpt.text.len() > LINE_OCTETS_MAX {
        return Origin::path(path).line(excerpt.line).char_column(excerpt.column()).into();
    }
    let (line, marked) = legible_line(excerpt.text, &excerpt.marked, source.concealed_in(&excerpt));
    let mark = kind.span(marked).label(label);
    Snippet::source(line).path(path).line_start(excerpt.line).annotation(mark).into()
}

/// Without colours.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Everything that is wrong with a configuration, in the order of the files. Holds at least one error.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    diagnostics: Vec<Diagnostic>,
    left_out: usize,
    /// Of all errors, also those that are left out.
    worst: Option<Class>,
}

impl ConfigErrors {
    /// At least one of the diagnostics is an error.
    pub(super) const fn new(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics, left_out: 0, worst: None }
    }

    /// With the number of errors that were found but not kept, and the worst class of all.
    pub(super) fn leaving_out(self, left_out: usize, worst: Option<Class>) -> Self {
        Self { left_out, worst, ..self }
    }

    /// With what was found besides; `diagnostics` is all of it, in the order of the files. Errors beyond
    /// [`ERRORS_KEPT_MAX`] are counted.
    pub(super) fn with_all(self, mut diagnostics: Vec<Diagnostic>) -> Self {
        let classes =
            diagnostics.iter().filter(|found| found.severity() == Severity::Error).map(|found| found.code.class());
        let worst = classes.max().max(self.worst);
        let mut errors = 0_usize;
        diagnostics.retain(|found| {
            errors += usize::from(found.severity() == Severity::Error);
            found.severity() != Severity::Error || errors <= ERRORS_KEPT_MAX
        });
        Self { diagnostics, left_out: self.left_out + errors.saturating_sub(ERRORS_KEPT_MAX), worst }
    }

    /// The errors, [`ERRORS_KEPT_MAX`] at most, and what else was found on the way.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether the file could not be read at all; otherwise its content is at fault.
    pub fn is_unreadable(&self) -> bool {
        self.diagnostics.iter().any(|d| d.code == Code::E19)
    }

    /// To be shown.
    pub fn listing(&self) -> Listing<'_> {
        Listing::new(&self.diagnostics).leaving_out(self.left_out, self.worst)
    }

    /// All of them, one after the other, and how many there are.
    pub fn render(&self, coloured: bool) -> String {
        self.listing().render(coloured)
    }
}

/// Without colours.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigErrors {}
