//! What is wrong with a configuration: where it stands, what it is, and what to write instead.

use super::code::{Code, Severity};
use super::listing::Listing;
use annotate_snippets::{AnnotationKind, Element, Level, Origin, Renderer, Snippet, normalize_untrusted_str};
use serde::Serialize;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Octets of the file, from and to.
pub(super) type Span = Range<usize>;

/// Octets of a line that is shown; of a longer one only the place is told.
const LINE_OCTETS_MAX: usize = 16 << 10;

/// The file that diagnostics point into.
#[derive(Debug)]
pub(super) struct Source {
    /// As it was named.
    pub(super) path: PathBuf,
    /// Empty when it could not be read.
    pub(super) text: String,
}

/// A second place that belongs to a diagnostic.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) span: Span,
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
}

impl Diagnostic {
    /// Of the file as a whole.
    pub(super) fn of_file(code: Code, source: Arc<Source>, message: String, help: &str) -> Self {
        let help = help.to_owned();
        Self { code, message, span: None, note: None, help, source }
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
        self.note.iter().map(|note| (self.source.located(Some(&note.span)), note.label))
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
        let path = self.source.path.display().to_string();
        let title = level.primary_title(self.message.as_str()).id(self.code.as_str());
        let mut group = match &self.span {
            Some(span) => title.element(self.source.place(&path, span, AnnotationKind::Primary, None)),
            None => title.element(Origin::path(path.as_str())),
        };
        if let Some(note) = &self.note {
            group = group.element(self.source.place(&path, &note.span, AnnotationKind::Context, Some(note.label)));
        }
        if with_consequence {
            group = group.element(Level::NOTE.message(self.code.consequence()));
        }
        let help = normalize_untrusted_str(&self.help);
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

/// The first line of a span.
struct Excerpt<'a> {
    line: usize,
    text: &'a str,
    /// Within `text`, on character boundaries.
    span: Span,
}

impl Excerpt<'_> {
    /// From 1, in characters.
    fn column(&self) -> usize {
        self.text[..self.span.start].chars().count() + 1
    }
}

impl Source {
    fn excerpt(&self, span: &Span) -> Excerpt<'_> {
        let start = self.character_at(span.start);
        let end = self.character_at(span.end.max(start));
        let before = &self.text[..start];
        let from = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let text = self.text[from..].lines().next().unwrap_or_default();
        // A span may end on a later line, and may begin at the line break itself.
        let start = (start - from).min(text.len());
        let end = (end - from).min(text.len());
        Excerpt { line, text, span: start..end }
    }

    fn located(&self, span: Option<&Span>) -> Place {
        let region = span.map(|span| {
            let (start, end) = (self.excerpt(span), self.excerpt(&(span.end.max(span.start)..span.end)));
            Region { line: start.line, column: start.column(), end_line: end.line, end_column: end.column() }
        });
        Place { file: self.path.clone(), region }
    }

    /// The nearest octet before this one, or itself, at which a character begins.
    fn character_at(&self, octet: usize) -> usize {
        (0..=octet.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0)
    }

    /// The marked line, or its number alone.
    fn place<'a>(&'a self, path: &'a str, span: &Span, kind: AnnotationKind, label: Option<&'a str>) -> Element<'a> {
        let excerpt = self.excerpt(span);
        if excerpt.text.len() > LINE_OCTETS_MAX {
            return Origin::path(path).line(excerpt.line).char_column(excerpt.column()).into();
        }
        let mark = kind.span(excerpt.span).label(label);
        Snippet::source(excerpt.text).path(path).line_start(excerpt.line).annotation(mark).into()
    }
}

/// Without colours.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Everything that is wrong with a configuration, in the order of the file. Holds at least one error.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    diagnostics: Vec<Diagnostic>,
}

impl ConfigErrors {
    /// At least one of the diagnostics is an error.
    pub(super) const fn new(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics }
    }

    /// The errors, and the warnings found on the way.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Whether the file could not be read at all; otherwise its content is at fault.
    pub fn is_unreadable(&self) -> bool {
        self.diagnostics.iter().any(|d| d.code == Code::E19)
    }

    /// To be shown.
    pub fn listing(&self) -> Listing<'_> {
        Listing::new(&self.diagnostics)
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
