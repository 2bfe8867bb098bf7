//! Collects diagnostics while a file is read, so that all are told at once.

use super::code::{Code, Severity};
use super::diagnostic::{ConfigErrors, Diagnostic, Note, Source, Span};
use std::cell::RefCell;
use std::sync::Arc;

/// The diagnostics so far.
#[derive(Debug)]
pub(super) struct Findings {
    source: Arc<Source>,
    list: RefCell<Vec<Diagnostic>>,
}

impl Findings {
    pub(super) fn new(source: Arc<Source>) -> Self {
        Self { source, list: RefCell::default() }
    }

    pub(super) fn error(&self, code: Code, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        debug_assert_eq!(code.severity(), Severity::Error, "{code}");
        self.push(code, span, message.into(), help.into(), None);
    }

    pub(super) fn warning(&self, code: Code, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        debug_assert_eq!(code.severity(), Severity::Warning, "{code}");
        self.push(code, span, message.into(), help.into(), None);
    }

    pub(super) fn info(&self, code: Code, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        debug_assert_eq!(code.severity(), Severity::Info, "{code}");
        self.push(code, span, message.into(), help.into(), None);
    }

    /// A finding of two places.
    pub(super) fn conflict(
        &self,
        code: Code,
        span: &Span,
        message: impl Into<String>,
        (other, label): (&Span, &'static str),
        help: impl Into<String>,
    ) {
        let note = Note { span: other.clone(), label };
        self.push(code, span, message.into(), help.into(), Some(note));
    }

    fn push(&self, code: Code, span: &Span, message: String, help: String, note: Option<Note>) {
        let span = Some(span.clone());
        let source = Arc::clone(&self.source);
        self.list.borrow_mut().push(Diagnostic { code, message, span, note, help, source });
    }

    pub(super) fn has_errors(&self) -> bool {
        self.list.borrow().iter().any(|d| d.severity() == Severity::Error)
    }

    /// The warnings, or everything when there is an error among it.
    pub(super) fn finish(self) -> Result<Vec<Diagnostic>, ConfigErrors> {
        let failed = self.has_errors();
        let mut diagnostics = self.list.into_inner();
        diagnostics.sort_by_key(|d| d.span.as_ref().map(|span| span.start));
        if failed { Err(ConfigErrors::new(diagnostics)) } else { Ok(diagnostics) }
    }
}
