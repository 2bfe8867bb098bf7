//! Collects diagnostics while files are read, so that all are told at once.

use super::code::{Class, Code, Severity};
use super::diagnostic::{ConfigErrors, Diagnostic, ERRORS_KEPT_MAX, KEPT_OF_A_CODE_MAX, Note};
use super::legible::shortened;
use super::span::{FileId, Source, Span};
use super::variables::{Untold, Variables};
use super::words;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Words for which a known one is looked for; each search compares with up to a thousand.
pub(super) const SUGGESTIONS_MAX: usize = 100;

/// Errors that may be for want of what stands in a file that could not be read: a key, a pinset around others.
const OF_THE_WHOLE: [Code; 3] = [Code::E10, Code::E26, Code::E47];

/// The files and the diagnostics so far.
pub(super) struct Findings {
    sources: RefCell<Vec<Arc<Source>>>,
    /// What was taken from the environment, and must not be told.
    pub(super) variables: RefCell<Variables>,
    list: RefCell<Vec<Diagnostic>>,
    errors: Cell<usize>,
    /// Of all errors, kept or not.
    worst: Cell<Option<Class>>,
    suggestions: Cell<usize>,
    has_gaps: Cell<bool>,
    /// How many there are of each code that is no error.
    advice: RefCell<HashMap<Code, usize>>,
}

impl Findings {
    pub(super) fn new(main: Arc<Source>) -> Self {
        let sources = RefCell::new(vec![main]);
        Self {
            sources,
            variables: RefCell::default(),
            list: RefCell::default(),
            errors: Cell::default(),
            worst: Cell::default(),
            suggestions: Cell::default(),
            has_gaps: Cell::default(),
            advice: RefCell::default(),
        }
    }

    /// From here on a part of the files is missing, which has been reported. What may be an artefact of that is not kept:
    /// advice, and errors about what hangs together.
    pub(super) fn expect_gaps(&self) {
        self.has_gaps.set(true);
    }

    /// Whether a part of the files is missing.
    pub(super) fn has_gaps(&self) -> bool {
        self.has_gaps.get()
    }

    /// Takes a file that is included.
    pub(super) fn add(&self, source: Arc<Source>) -> FileId {
        let mut sources = self.sources.borrow_mut();
        sources.push(source);
        FileId(sources.len() - 1)
    }

    pub(super) fn source(&self, file: FileId) -> Arc<Source> {
        Arc::clone(&self.sources.borrow()[file.0])
    }

    /// A path as a file gives it: a relative one starts at the folder of that file.
    pub(super) fn beside(&self, file: FileId, path: &str) -> PathBuf {
        let source = self.source(file);
        source.path.parent().unwrap_or(Path::new("")).join(path)
    }

    pub(super) fn error(&self, code: Code, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        debug_assert_eq!(code.severity(), Severity::Error, "{code}");
        self.push(code, Place::Span(*span), message.into(), help.into(), None);
    }

    pub(super) fn warning(&self, code: Code, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        debug_assert_eq!(code.severity(), Severity::Warning, "{code}");
        self.push(code, Place::Span(*span), message.into(), help.into(), None);
    }

    pub(super) fn info(&self, code: Code, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        debug_assert_eq!(code.severity(), Severity::Info, "{code}");
        self.push(code, Place::Span(*span), message.into(), help.into(), None);
    }

    /// A finding of two places, which may be in two files.
    pub(super) fn conflict(
        &self,
        code: Code,
        span: &Span,
        message: impl Into<String>,
        note: (&Span, &'static str),
        help: impl Into<String>,
    ) {
        self.push(code, Place::Span(*span), message.into(), help.into(), Some(note));
    }

    /// A finding of a whole file, and where that file was named.
    pub(super) fn of_file(&self, code: Code, file: FileId, message: String, named: Option<&Span>, help: &str) {
        let note = named.map(|span| (span, "included here"));
        self.push(code, Place::File(file), message, help.to_owned(), note);
    }

    fn push(&self, code: Code, place: Place, message: String, help: String, note: Option<(&Span, &'static str)>) {
        let hangs_together = code.severity() != Severity::Error || OF_THE_WHOLE.contains(&code);
        if hangs_together && self.has_gaps.get() {
            return;
        }
        if code.severity() == Severity::Error {
            self.errors.set(self.errors.get() + 1);
            self.worst.set(self.worst.get().max(Some(code.class())));
            if self.errors.get() > ERRORS_KEPT_MAX {
                return;
            }
        } else {
            let mut advice = self.advice.borrow_mut();
            let count = advice.entry(code).or_default();
            *count += 1;
            if *count > KEPT_OF_A_CODE_MAX {
                return;
            }
        }
        let (span, source) = match place {
            Place::Span(span) => (Some(span), self.source(span.file)),
            Place::File(file) => (None, self.source(file)),
        };
        let mut variables = self.variables.borrow_mut();
        let tainted = span.iter().chain(note.map(|(span, _)| span)).any(|span| variables.is_in(span));
        // Cut last: a piece of a value could not be told from other words.
        let message = shortened(variables.redact(message, tainted, Untold::Message));
        let help = shortened(variables.redact(help, tainted, Untold::Help));
        let note = note.map(|(span, label)| Note { span: *span, source: self.source(span.file), label });
        self.list.borrow_mut().push(Diagnostic { code, message, span, note, help, source, more: 0 });
    }

    pub(super) fn has_errors(&self) -> bool {
        self.errors.get() > 0
    }

    /// The known word that somebody may have meant. Nothing when a further error would only be counted, so that its
    /// words need no thought, or when there have been [`SUGGESTIONS_MAX`] searches.
    pub(super) fn nearest<'k>(&self, word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
        if self.errors.get() >= ERRORS_KEPT_MAX || self.suggestions.get() >= SUGGESTIONS_MAX {
            return None;
        }
        self.suggestions.set(self.suggestions.get() + 1);
        words::nearest(word, known)
    }

    /// The end of reading.
    pub(super) fn finish(self) -> Finished {
        let mut diagnostics = self.list.into_inner();
        diagnostics.sort_by_key(|d| d.span);
        for (code, count) in self.advice.into_inner() {
            let last = diagnostics.iter_mut().rev().find(|told| told.code == code);
            if let Some(last) = last {
                last.more = count.saturating_sub(KEPT_OF_A_CODE_MAX);
            }
        }
        let found = match self.errors.get() {
            0 => Ok(diagnostics),
            errors => {
                let left_out = errors.saturating_sub(ERRORS_KEPT_MAX);
                Err(ConfigErrors::new(diagnostics).leaving_out(left_out, self.worst.get()))
            }
        };
        Finished { found, sources: self.sources.into_inner(), variables: self.variables.into_inner() }
    }
}

/// What is left of reading.
pub(super) struct Finished {
    /// The warnings and infos, or everything when there is an error among it.
    pub(super) found: Result<Vec<Diagnostic>, ConfigErrors>,
    /// By [`FileId`].
    pub(super) sources: Vec<Arc<Source>>,
    pub(super) variables: Variables,
}

/// What a diagnostic is about.
#[derive(Clone, Copy)]
enum Place {
    Span(Span),
    File(FileId),
}
