//! The CA that follows on another one, and whether it signs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::signer::Signer;
use super::validity::{date_text, unix_seconds};
use crate::policy::moment::Moment;

/// The CA that follows.
pub(super) struct Next {
    pub(super) signer: Signer,
    /// From when on it signs.
    pub(super) from: SystemTime,
    /// Whether it has begun to. It goes on then: a clock that somebody moves does not make the two take turns.
    has_taken_over: AtomicBool,
    /// Whether that has been told.
    is_told: AtomicBool,
}

impl Next {
    pub(super) fn new(signer: Signer, from: SystemTime) -> Self {
        Self { signer, from, has_taken_over: AtomicBool::new(false), is_told: AtomicBool::new(false) }
    }

    /// Whether it signs: when both clocks say that the date has come, since that is for good; or when the other CA has ended by
    /// either, and cannot.
    pub(super) fn signs(&self, moment: Moment, current_end: SystemTime) -> bool {
        if self.has_taken_over.load(Ordering::Relaxed) {
            return true;
        }
        if moment.loosens(self.from) {
            self.has_taken_over.store(true, Ordering::Relaxed);
            return true;
        }
        moment.latest() > current_end
    }

    /// A sentence that it signs, once.
    pub(super) fn news(&self) -> Option<String> {
        let is_news = !self.is_told.swap(true, Ordering::Relaxed);
        is_news.then(|| {
            let (from, fingerprint) = (date_text(unix_seconds(self.from)), self.signer.fingerprint());
            format!("the next CA signs, as it is to from {from} on: SHA-256 fingerprint {fingerprint}")
        })
    }
}
