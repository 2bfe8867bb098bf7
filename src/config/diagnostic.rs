//! What is wrong with a configuration: where it stands, what it is, and what to write instead.

use super::code::Code;
use super::span::{Source, Span};
use annotate_snippets::{AnnotationKind, Element, Level, Origin, Renderer, Snippet, normalize_untrusted_str};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Diagnostics that a rendering shows; the rest is counted in its last line.
pub const DIAGNOSTICS_SHOWN_MAX: usize = 100;

/// Errors that are kept; the rest is counted. A large file that is all wrong must not fill the memory.
pub const ERRORS_KEPT_MAX: usize = 1000;

/// Octets of a line that is shown; of a longer one only the place is told.
const LINE_OCTETS_MAX: usize = 16 << 10;

/// Whether a diagnostic keeps the configuration from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but somebody should look.
    Warning,
}

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
    pub(super) severity: Severity,
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
        Self { severity: Severity::Error, code, message, span: None, note: None, help, source }
    }

    /// Whether it keeps the configuration from being used.
    pub const fn severity(&self) -> Severity {
        self.severity
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

    /// The file that the position is in, as it was named.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// A second place that belongs to it: file, line and column, and what is there.
    pub fn related(&self) -> Option<(&Path, (usize, usize), &'static str)> {
        let note = self.note.as_ref()?;
        let excerpt = note.source.excerpt(&note.span);
        Some((&note.source.path, (excerpt.line, excerpt.column()), note.label))
    }

    /// With file, line, column, the marked line and the fix; several lines, no line break at the end.
    pub fn render(&self, coloured: bool) -> String {
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let path = self.source.path.display().to_string();
        let title = level.primary_title(self.message.as_str()).id(self.code.to_string());
        let mut group = match &self.span {
            Some(span) => title.element(place(&self.source, &path, span, AnnotationKind::Primary, None)),
            None => title.element(Origin::path(path.as_str())),
        };
        let other = self.note.as_ref().map(|note| note.source.path.display().to_string()).unwrap_or_default();
        if let Some(note) = &self.note {
            group = group.element(place(&note.source, &other, &note.span, AnnotationKind::Context, Some(note.label)));
        }
        let help = normalize_untrusted_str(&self.help);
        renderer.render(&[group.element(Level::HELP.message(help))])
    }
}

/// The marked line, or its number alone.
fn place<'a>(
    source: &'a Source,
    path: &'a str,
    span: &Span,
    kind: AnnotationKind,
    label: Option<&'a str>,
) -> Element<'a> {
    let excerpt = source.excerpt(span);
    if excerpt.text.len() > LINE_OCTETS_MAX {
        return Origin::path(path).line(excerpt.line).char_column(excerpt.column()).into();
    }
    let mark = kind.span(excerpt.marked).label(label);
    Snippet::source(excerpt.text).path(path).line_start(excerpt.line).annotation(mark).into()
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
}

impl ConfigErrors {
    /// At least one of the diagnostics is an error.
    pub(super) const fn new(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics, left_out: 0 }
    }

    /// With the number of errors that were found but not kept.
    pub(super) fn leaving_out(self, left_out: usize) -> Self {
        Self { left_out, ..self }
    }

    /// The errors, [`ERRORS_KEPT_MAX`] at most, and the warnings found on the way.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// How many errors there are beyond those that were kept.
    pub const fn left_out(&self) -> usize {
        self.left_out
    }

    /// Whether the file could not be read at all; otherwise its content is at fault.
    pub fn is_unreadable(&self) -> bool {
        self.diagnostics.iter().any(|d| d.code == Code::E19)
    }

    /// All of them, one after the other, and how many there are.
    pub fn render(&self, coloured: bool) -> String {
        let errors = self.diagnostics.iter().filter(|d| d.severity == Severity::Error).count() + self.left_out;
        let hidden = self.diagnostics.len().saturating_sub(DIAGNOSTICS_SHOWN_MAX) + self.left_out;
        let mut parts: Vec<_> =
            self.diagnostics.iter().take(DIAGNOSTICS_SHOWN_MAX).map(|d| d.render(coloured)).collect();
        let hidden = if hidden > 0 { format!("{hidden} more are not shown; ") } else { String::new() };
        let plural = if errors == 1 { "" } else { "s" };
        parts.push(format!("{hidden}{errors} error{plural} in the configuration"));
        parts.join("\n\n")
    }
}

/// Without colours.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigErrors {}
