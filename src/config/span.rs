//! Places in the files of a configuration.

use super::concealed::concealed;
use super::diagnostic::{Place, Region};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// One of the files, in the order in which they were read: the main one is the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileId(pub(super) usize);

impl FileId {
    /// The file that was named, not one that it includes.
    pub(super) const MAIN: Self = Self(0);
}

/// Octets of a file, from and to. Ordered as the files were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) file: FileId,
    start: usize,
    end: usize,
}

impl Span {
    pub(super) const fn new(file: FileId, octets: Range<usize>) -> Self {
        Self { file, start: octets.start, end: octets.end }
    }
}

/// A file that diagnostics point into.
#[derive(Debug)]
pub(super) struct Source {
    /// As it was named.
    pub(super) path: PathBuf,
    /// Empty when it could not be read.
    pub(super) text: String,
    /// Where its lines begin. Made when the first place is looked up.
    lines: OnceLock<Vec<usize>>,
    /// What is not shown of the text. Made when the first line is shown.
    concealed: OnceLock<Vec<Range<usize>>>,
}

/// The first line of a span.
pub(super) struct Excerpt<'a> {
    pub(super) line: usize,
    /// Where it begins in the file.
    start: usize,
    pub(super) text: &'a str,
    /// Within `text`, on character boundaries.
    pub(super) marked: Range<usize>,
}

impl Excerpt<'_> {
    /// From 1, in characters.
    pub(super) fn column(&self) -> usize {
        self.text[..self.marked.start].chars().count() + 1
    }
}

impl Source {
    pub(super) fn new(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), text, lines: OnceLock::new(), concealed: OnceLock::new() }
    }

    /// Of a span of this file.
    pub(super) fn excerpt(&self, span: &Span) -> Excerpt<'_> {
        let start = self.character_at(span.start);
        let end = self.character_at(span.end.max(start));
        let lines = self.lines.get_or_init(|| {
            let breaks = self.text.bytes().enumerate().filter(|(_, octet)| *octet == b'\n');
            std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect()
        });
        let line = lines.partition_point(|begins| *begins <= start);
        let from = lines[line - 1];
        let text = self.text[from..].lines().next().unwrap_or_default();
        // A span may end on a later line, and may begin at the line break itself.
        let start = (start - from).min(text.len());
        let end = (end - from).min(text.len());
        Excerpt { line, start: from, text, marked: start..end }
    }

    /// What is not shown of a line of this file, within its text.
    pub(super) fn concealed_in(&self, excerpt: &Excerpt<'_>) -> impl Iterator<Item = Range<usize>> {
        let concealed = self.concealed.get_or_init(|| concealed(&self.text));
        let (from, to) = (excerpt.start, excerpt.start + excerpt.text.len());
        let first = concealed.partition_point(move |range| range.end <= from);
        let here = concealed[first..].iter().take_while(move |range| range.start < to);
        here.map(move |range| range.start.max(from) - from..range.end.min(to) - from)
    }

    /// The text of a span of this file, or stars.
    pub(super) fn shown(&self, span: &Span) -> &str {
        let excerpt = self.excerpt(span);
        let is_open = self
            .concealed_in(&excerpt)
            .all(|range| range.end <= excerpt.marked.start || excerpt.marked.end <= range.start);
        if is_open { &excerpt.text[excerpt.marked] } else { "***" }
    }

    /// What others are told of a span of this file, or of the file as a whole.
    pub(super) fn located(&self, span: Option<&Span>) -> Place {
        let region = span.map(|span| {
            let end = Span { start: span.end.max(span.start), ..*span };
            let (start, end) = (self.excerpt(span), self.excerpt(&end));
            Region { line: start.line, column: start.column(), end_line: end.line, end_column: end.column() }
        });
        Place { file: self.path.clone(), region }
    }

    /// The nearest octet before this one, or itself, at which a character begins.
    fn character_at(&self, octet: usize) -> usize {
        (0..=octet.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0)
    }
}
