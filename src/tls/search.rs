//! The search for a path: what the rule says of each one that webpki has verified.

use super::anchors::{AnchorRecord, sha256};
use super::fault::{is_budget, rejection};
use super::verify::Question;
use crate::policy::decision::{Candidate, FailureClass, Footing, PIN_MISMATCH, Rejection};
use crate::policy::pinset::{Accepts, PathElement};
use rustls::pki_types::CertificateDer;
use std::cell::{Cell, RefCell};
use std::time::SystemTime;
use webpki::VerifiedPath;

/// The path that a search ended with.
pub(super) struct Accepted {
    pub(super) path: Vec<PathElement>,
    pub(super) exempts_pins: bool,
}

/// The search for a path, turned into webpki's visitor.
pub(super) struct Search<'a> {
    question: &'a Question,
    now: SystemTime,
    hash_certificates: bool,
    /// What it ended with.
    pub(super) accepted: Cell<Option<Accepted>>,
    /// The paths that verified and the rule turned down.
    pub(super) turned_down: RefCell<Vec<Candidate>>,
    /// The certificates of the first of them.
    pub(super) first_turned_down: RefCell<Vec<CertificateDer<'static>>>,
    /// What is wrong with an anchor's dates.
    anchor_out_of_date: Cell<Option<&'static str>>,
    not_an_issuer: Cell<bool>,
}

impl<'a> Search<'a> {
    pub(super) const fn new(question: &'a Question, now: SystemTime, hash_certificates: bool) -> Self {
        Self {
            question,
            now,
            hash_certificates,
            accepted: Cell::new(None),
            turned_down: RefCell::new(Vec::new()),
            first_turned_down: RefCell::new(Vec::new()),
            anchor_out_of_date: Cell::new(None),
            not_an_issuer: Cell::new(false),
        }
    }

    /// A path that webpki has verified, unless what webpki does not look at speaks against it.
    pub(super) fn read(&self, path: &VerifiedPath<'_>) -> Option<(Vec<PathElement>, &'a AnchorRecord)> {
        let anchor = self.question.anchors.record(path.anchor())?;
        // webpki never looks at an anchor's dates; OpenSSL, NSS and Go do.
        let out_of_date = if self.now > anchor.not_after {
            Some("the trust anchor of the chain has expired")
        } else if self.now < anchor.not_before {
            Some("the trust anchor of the chain is not valid yet")
        } else {
            None
        };
        if out_of_date.is_some() {
            self.anchor_out_of_date.set(out_of_date);
            return None;
        }
        let element = |der: &CertificateDer<'_>, spki: &[u8]| PathElement {
            spki: sha256(spki),
            certificate: self.hash_certificates.then(|| sha256(der)),
        };
        let end_entity = path.end_entity();
        let mut elements = Vec::with_capacity(4);
        elements.push(element(&end_entity.der(), &end_entity.subject_public_key_info()));
        for intermediate in path.intermediate_certificates() {
            if !may_sign_certificates(&intermediate.der()) {
                self.not_an_issuer.set(true);
                return None;
            }
            elements.push(element(&intermediate.der(), &intermediate.subject_public_key_info()));
        }
        elements.push(anchor.element);
        Some((elements, anchor))
    }

    /// webpki calls this with each path that verified; an error makes it look for another one.
    pub(super) fn visit(&self, path: &VerifiedPath<'_>, pins: Option<&Accepts>) -> Result<(), webpki::Error> {
        let go_on = Err(webpki::Error::UnknownIssuer);
        let Some((elements, anchor)) = self.read(path) else { return go_on };
        let blocked = self.question.blocked(&elements);
        let exempts_pins = anchor.exempts_pins;
        if blocked.is_none() && (exempts_pins || pins.is_none_or(|accepts| accepts.judge(&elements).is_some())) {
            self.accepted.set(Some(Accepted { path: elements, exempts_pins }));
            return Ok(());
        }
        let mut turned_down = self.turned_down.borrow_mut();
        if turned_down.is_empty() {
            *self.first_turned_down.borrow_mut() = certificates(path, anchor);
        }
        turned_down.push(Candidate { path: elements, blocked });
        go_on
    }

    /// Why no path was accepted. webpki merges the errors of all branches by rank, so its error says nothing about a
    /// path that the rule turned down; what the visitor recorded does.
    pub(super) fn classify(&self, error: &webpki::Error) -> Rejection {
        let candidates = self.turned_down.take();
        if is_budget(error) {
            return Rejection { candidates, ..rejection(error) };
        }
        let blocked: Option<Vec<_>> = candidates.iter().map(|candidate| candidate.blocked.as_ref()).collect();
        match (blocked.as_deref(), self.anchor_out_of_date.get()) {
            (Some([]), Some(words)) => Rejection::new(FailureClass::Validity, words),
            (Some([]), None) if self.not_an_issuer.get() => {
                Rejection::new(FailureClass::Chain, "an intermediate of the chain may not sign certificates (keyUsage)")
            }
            (Some([]), None) => rejection(error),
            (Some([first, ..]), _) => {
                let detail = first.sentence(Footing::Anchored);
                Rejection { candidates, ..Rejection::new(FailureClass::Blocklist, detail) }
            }
            (None, _) => Rejection { candidates, ..Rejection::new(FailureClass::Pin, PIN_MISMATCH) },
        }
    }
}

/// The certificates of a path, end entity first, the anchor's last.
pub(super) fn certificates(path: &VerifiedPath<'_>, anchor: &AnchorRecord) -> Vec<CertificateDer<'static>> {
    let intermediates = path.intermediate_certificates().map(|certificate| certificate.der().into_owned());
    let whole = std::iter::once(path.end_entity().der().into_owned()).chain(intermediates);
    whole.chain([anchor.certificate.clone()]).collect()
}

/// RFC 5280 section 4.2.1.3: where an issuer has a keyUsage, it says keyCertSign. webpki does not look.
fn may_sign_certificates(der: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else { return false };
    match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => false,
    }
}
