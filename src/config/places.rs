//! Where the parts of a configuration were written, for findings that come after reading: what its files hold, what
//! its hosts show.

use super::code::{Code, Severity};
use super::diagnostic::{ConfigErrors, Diagnostic, KEPT_OF_A_CODE_MAX, Note};
use super::model::Config;
use super::named::NamedFile;
use super::pinsets::PinsetDraft;
use super::roles::Role;
use super::span::{Source, Span};
use super::variables::{Untold, Variables};
use crate::files::Stamps;
use crate::policy::pin::Pin;
use crate::policy::pinset::Position;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What came of reading a configuration.
#[derive(Debug)]
pub struct Reading<T = Config> {
    /// What was read, and the warnings and infos about it in the order of the files; or everything that is wrong.
    pub outcome: Result<(T, Vec<Diagnostic>), ConfigErrors>,
    /// Where its parts were written, as far as they could be read.
    pub places: Places,
    /// Files that were read, and folders that were searched, for the text: those that trust anchors and revocation lists
    /// are read from are [`Places::named`].
    pub looked_at: Stamps,
}

/// Where the parts of a configuration were written.
pub struct Places {
    sources: Vec<Arc<Source>>,
    variables: RefCell<Variables>,
    marks: Marks,
}

/// A part of a configuration.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// The main file as a whole.
    File,
    /// Where a file is named.
    Named(&'a NamedFile),
    /// The pinset of this name.
    Pinset(&'a str),
    /// One of the `hosts` of a pinset.
    Host {
        /// The name of the pinset.
        pinset: &'a str,
        /// Its place among the hosts of the rule.
        index: usize,
    },
    /// A pin of a pinset; the pinset itself where it has the pin from another one.
    Pin {
        /// The name of the pinset.
        pinset: &'a str,
        /// The pin, which may stand in several of its lists.
        pin: Pin,
    },
}

/// A pin in a list of a pinset.
#[derive(Clone, Copy, Debug)]
pub struct WrittenPin {
    /// The pin.
    pub pin: Pin,
    /// Which certificates the list takes it from.
    pub position: Position,
    /// Whether it was declared to be the host's own.
    pub is_declared_leaf: bool,
    /// Why it is taken for that of a root, if so: its role, its certificate, or Mozilla's list.
    pub root_because: Option<&'static str>,
    /// Whether it stands under `backup`.
    pub is_backup: bool,
    span: Span,
}

/// The spans behind [`Places`].
#[derive(Default)]
pub(super) struct Marks {
    named: Vec<NamedFile>,
    ca_directory: Option<PathBuf>,
    pinsets: HashMap<Box<str>, PinsetMarks>,
    expiry_warning: Duration,
}

struct PinsetMarks {
    header: Span,
    hosts: Box<[Span]>,
    pins: Box<[WrittenPin]>,
}

impl Marks {
    /// Of what could be read.
    pub(super) fn of(
        config: &Config,
        pinsets: &[PinsetDraft],
        named: Vec<NamedFile>,
        expiry_warning: Duration,
    ) -> Self {
        let marks = pinsets.iter().filter_map(|draft| {
            let name = draft.pinset.as_ref()?.name.as_str().into();
            Some((name, PinsetMarks::of(draft)))
        });
        Self { named, ca_directory: config.ca.directory.clone(), pinsets: marks.collect(), expiry_warning }
    }
}

impl PinsetMarks {
    fn of(draft: &PinsetDraft) -> Self {
        let pins = draft.lists.iter().flat_map(|list| {
            let in_use = list.pins.len() - list.backups;
            list.pins.iter().enumerate().map(move |(index, listed)| WrittenPin {
                pin: listed.pin,
                position: list.position,
                is_declared_leaf: listed.role == Some(Role::Leaf),
                root_because: listed.root_because(),
                is_backup: index >= in_use,
                span: listed.span,
            })
        });
        Self { header: draft.span, hosts: draft.hosts.iter().map(|host| host.span).collect(), pins: pins.collect() }
    }
}

impl Places {
    pub(super) const fn new(sources: Vec<Arc<Source>>, variables: Variables, marks: Marks) -> Self {
        Self { sources, variables: RefCell::new(variables), marks }
    }

    /// How long before an end it is told (`[defaults] expiry_warning`).
    pub const fn expiry_warning(&self) -> Duration {
        self.marks.expiry_warning
    }

    /// The files that it names.
    pub fn named(&self) -> &[NamedFile] {
        &self.marks.named
    }

    /// The folder of the CA, where one is written.
    pub fn ca_directory(&self) -> Option<&Path> {
        self.marks.ca_directory.as_deref()
    }

    /// The pins that a pinset was written with, without those that it inherits.
    pub fn pins(&self, pinset: &str) -> &[WrittenPin] {
        self.marks.pinsets.get(pinset).map_or(&[], |marks| &marks.pins)
    }

    /// A finding about a part of the configuration. Where that part was not written, which is how defaults come about,
    /// it is about the main file as a whole.
    pub fn finding(&self, code: Code, at: At<'_>, message: impl Into<String>, help: impl Into<String>) -> Diagnostic {
        let (span, again) = self.spans(at);
        let mut variables = self.variables.borrow_mut();
        let tainted = [span, again].iter().flatten().any(|span| variables.is_in(span));
        let note = again.map(|span| Note { span, source: self.source(Some(span)), label: "and here" });
        Diagnostic {
            code,
            message: variables.redact(message.into(), tainted, Untold::Message),
            span,
            note,
            help: variables.redact(help.into(), tainted, Untold::Help),
            source: self.source(span),
            more: 0,
        }
    }

    /// A text without the values of environment variables.
    pub fn redacted(&self, text: impl Into<String>) -> String {
        self.variables.borrow_mut().redact(text.into(), false, Untold::Message)
    }

    /// The text at a place as it was written, where values of environment variables have come into it: what was made of
    /// them may look different, and must not be told either.
    pub fn written(&self, at: At<'_>) -> Option<String> {
        self.variables.borrow().written(&self.spans(at).0?).map(str::to_owned)
    }

    /// A text about what [`Places::written`] tells of, without the values and without pieces of them.
    pub fn redacted_whole(&self, text: impl Into<String>) -> String {
        self.variables.borrow_mut().redact(text.into(), true, Untold::Detail)
    }

    /// Findings of reading and later ones, in the order of the files. Of a code that is no error as many are kept as of
    /// reading; the rest is counted.
    pub fn in_order(&self, mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
        diagnostics.sort_by_key(|diagnostic| diagnostic.span);
        let mut kept: HashMap<Code, usize> = HashMap::new();
        // Of those that are no errors: those that go now, and those that have gone before.
        let mut left_out: HashMap<Code, usize> = HashMap::new();
        diagnostics.retain_mut(|diagnostic| {
            if diagnostic.severity() == Severity::Error {
                return true;
            }
            let (kept, left_out) =
                (kept.entry(diagnostic.code).or_default(), left_out.entry(diagnostic.code).or_default());
            *left_out += std::mem::take(&mut diagnostic.more);
            let is_kept = *kept < KEPT_OF_A_CODE_MAX;
            *(if is_kept { kept } else { left_out }) += 1;
            is_kept
        });
        for diagnostic in diagnostics.iter_mut().rev() {
            diagnostic.more = left_out.remove(&diagnostic.code).unwrap_or_default();
        }
        diagnostics
    }

    /// What is wrong with a text, and what was found besides.
    pub fn joined(&self, errors: ConfigErrors, found: Vec<Diagnostic>) -> ConfigErrors {
        let all = errors.diagnostics().iter().cloned().chain(found).collect();
        errors.with_all(self.in_order(all))
    }

    /// Where it stands, and a second place of the same pin.
    fn spans(&self, at: At<'_>) -> (Option<Span>, Option<Span>) {
        let marks = &self.marks;
        let of = |pinset: &str| marks.pinsets.get(pinset);
        let first = match at {
            At::File => None,
            At::Named(file) => Some(file.span),
            At::Pinset(pinset) => of(pinset).map(|marks| marks.header),
            At::Host { pinset, index } => of(pinset).and_then(|marks| marks.hosts.get(index).copied()),
            At::Pin { pinset, pin } => {
                let mut places = self.pins(pinset).iter().filter(|written| written.pin == pin).map(|pin| pin.span);
                let first = places.next().or_else(|| of(pinset).map(|marks| marks.header));
                return (first, places.next());
            }
        };
        (first, None)
    }

    fn source(&self, span: Option<Span>) -> Arc<Source> {
        Arc::clone(&self.sources[span.map_or(0, |span| span.file.0)])
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("pinsets", &self.marks.pinsets.len()).finish_non_exhaustive()
    }
}
