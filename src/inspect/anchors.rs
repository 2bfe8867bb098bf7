//! The files that a configuration names: trust anchors and revocation lists.

use super::certificate::{Facts, day};
use super::fault::{Fault, Finding, anchor_set};
use super::pins;
use crate::config::{At, Code, Config, ExtraRoots, Named, Places, Roots};
use crate::materials::{self, Materials, MaterialsError};
use crate::policy::pinset::AnchorSet;
use crate::tls::anchors::{AnchorError, AnchorRecord, TrustAnchors};
use crate::tls::revocation::{Revocation, RevocationMode};
use rustls::pki_types::CertificateDer;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Certificates of a file that are told; of more there is a count.
const CERTIFICATES_TOLD_MAX: usize = 3;

const UNUSABLE_HELP: &str = "name a PEM file with at least one certificate, which the user of the proxy can read";

/// Looks at each file that a text names by itself, so that each fault is told at its place, whatever else is wrong with
/// the text.
pub(super) fn inspect_files(places: &Places, ca: &[CertificateDer<'static>], now: SystemTime) -> Vec<Finding> {
    let mut look = Look { places, ca, now, found: Vec::new() };
    for file in places.named() {
        match &file.what {
            Named::Anchors(roots) => look.common(roots, At::Named(file)),
            Named::ExtraAnchors(extra) => look.extra(extra, At::Named(file)),
            Named::OwnAnchors { name, roots } => look.own(name, roots, At::Named(file)),
            Named::RevocationList(path) => look.list(path, At::Named(file)),
            Named::OfAdmin { .. } | Named::OfClient { .. } | Named::OfListener { .. } | Named::Source(_) => {}
        }
    }
    look.found
}

/// Loads all of it together, and looks at what depends on the whole. No materials where something cannot be used;
/// `is_told` says whether that has been told.
pub(super) fn inspect_all(
    config: &Config,
    places: &Places,
    ca: &[CertificateDer<'static>],
    is_told: bool,
    now: SystemTime,
) -> (Option<Materials>, Vec<Finding>) {
    let mut look = Look { places, ca, now, found: Vec::new() };
    let materials = Materials::load(config, ca);
    match &materials {
        Ok(materials) => {
            let named = places.named().iter().find(|file| matches!(file.what, Named::Anchors(_)));
            look.ended(AnchorSet::Common, &materials.common, named.map_or(At::File, At::Named));
            look.blocked(config, materials);
            look.found.extend(pins::inspect(config, places, materials));
        }
        // What the text does not name, such as the list of the system, and what has changed meanwhile.
        Err(error) if !is_told => look.unloadable(error),
        Err(_) => {}
    }
    (materials.ok(), look.found)
}

struct Look<'a> {
    places: &'a Places,
    /// The proxy's CA.
    ca: &'a [CertificateDer<'static>],
    now: SystemTime,
    found: Vec<Finding>,
}

impl Look<'_> {
    fn tell(&mut self, code: Code, at: At<'_>, message: impl Into<String>, help: &str) {
        self.found.push(self.places.finding(code, at, message, help).into());
    }

    /// What a start puts up with.
    fn tell_fault(&mut self, fault: Fault, code: Code, at: At<'_>, message: String, help: &str) {
        self.found.push(Finding::about(self.places.finding(code, at, message, help), fault));
    }

    fn source(&mut self, roots: &Roots, at: At<'_>) -> Option<TrustAnchors> {
        self.usable(TrustAnchors::load(&materials::source(roots), &[], self.ca), at)
    }

    /// Whether anything is left of them is seen together with those that are added.
    fn common(&mut self, roots: &Roots, at: At<'_>) {
        if let (Some(anchors), Roots::File(path)) = (self.source(roots, at), roots) {
            self.unsuitable(path, &anchors, at);
        }
    }

    fn own(&mut self, name: &Arc<str>, roots: &Roots, at: At<'_>) {
        let Some(anchors) = self.source(roots, at) else { return };
        if !self.ended(AnchorSet::Own(Arc::clone(name)), &anchors, at)
            && let Roots::File(path) = roots
        {
            self.unsuitable(path, &anchors, at);
        }
    }

    fn extra(&mut self, extra: &ExtraRoots, at: At<'_>) {
        if let Some(anchors) = self.usable(TrustAnchors::load_extra(&materials::added(extra), self.ca), at) {
            self.unsuitable(&extra.file, &anchors, at);
        }
    }

    fn usable(&mut self, loaded: Result<TrustAnchors, AnchorError>, at: At<'_>) -> Option<TrustAnchors> {
        let error = match loaded {
            Ok(anchors) => return Some(anchors),
            Err(error) => error,
        };
        let help = match error {
            AnchorError::OwnCa { .. } => "remove it; clients need the CA of the proxy, upstreams never do",
            AnchorError::PublicExempt { .. } => "remove it from the file, or exempts_pins from the entry",
            _ => UNUSABLE_HELP,
        };
        self.tell(code_of(&error), at, error.to_string(), help);
        None
    }

    fn unloadable(&mut self, error: &MaterialsError) {
        let code = match error {
            MaterialsError::Anchors(error) => code_of(error),
            MaterialsError::Revocation(_) | MaterialsError::Tls(_) => Code::E65,
            MaterialsError::Identity(_) => Code::E87,
        };
        self.tell(code, At::File, error.to_string(), UNUSABLE_HELP);
    }

    /// Whether nothing is left in a set that a chain could end in, which is told.
    fn ended(&mut self, set: AnchorSet, anchors: &TrustAnchors, at: At<'_>) -> bool {
        let records = anchors.records();
        if records.is_empty() || records.iter().any(|record| is_fit(record, self.now)) {
            return false;
        }
        let last = records.iter().map(|record| record.not_after).max().filter(|last| self.now > *last);
        let message = match last {
            Some(last) => format!("every trust anchor here has ended, the last on {}: no chain verifies", day(last)),
            None => "no trust anchor here can be used: each has ended, is not valid yet, or has a key that cannot be \
                     verified with"
                .to_owned(),
        };
        self.tell_fault(Fault::Anchors(set), Code::E65, at, message, "put the current roots into the file");
        true
    }

    /// Pinsets under which no trust anchor is left that is not blocked.
    fn blocked(&mut self, config: &Config, materials: &Materials) {
        for rule in config.rules.rules() {
            let (Some(pinset), Some(anchors)) = (rule.pinset(), materials.anchors_of(rule)) else { continue };
            let is_blocked = |record: &AnchorRecord| config.rules.is_blocked(pinset, &record.element.spki);
            let Some(set) = anchor_set(pinset) else { continue };
            let records = anchors.records();
            if records.iter().any(is_blocked)
                && records.iter().all(|record| is_blocked(record) || !is_fit(record, self.now))
            {
                let message = format!(
                    "every trust anchor of {:?} is blocked or denied, or has ended: no chain passes",
                    pinset.name
                );
                let help = "remove the anchors from the blocklist or from deny, or name other roots";
                let fault = Fault::Pinset { pinset: pinset.name.clone(), anchors: set.clone() };
                self.tell_fault(fault, Code::E38, At::Pinset(&pinset.name), message, help);
            }
        }
    }

    fn list(&mut self, path: &Path, at: At<'_>) {
        // A list that cannot be read keeps the proxy from starting even where lists decide nothing.
        if let Err(error) = Revocation::load(RevocationMode::WhenAvailable, &[path.to_owned()]) {
            let help = "name a file with a revocation list, which the user of the proxy can read, or remove the entry";
            self.tell(Code::E65, at, error.to_string(), help);
        }
    }

    /// Certificates that no root store should hold.
    fn unsuitable(&mut self, path: &Path, anchors: &TrustAnchors, at: At<'_>) {
        let path = path.display();
        let facts: Vec<_> = anchors.records().iter().filter_map(|record| Facts::of(&record.certificate)).collect();
        let weak: Vec<_> = facts
            .iter()
            .filter_map(|facts| Some(format!("the key of {} {}", facts.subject, facts.weakness?)))
            .collect();
        if !weak.is_empty() {
            let message = format!("nothing verifies below an anchor in {path}: {}", some_of(&weak));
            let help = "put a root with a key that can be verified into the file: ECDSA P-256, P-384 or P-521, RSA of \
                        2048 to 8192 bits, or Ed25519";
            self.tell(Code::W45, at, message, help);
        }
        let faults: Vec<_> =
            facts.iter().filter_map(|facts| Some(format!("{} {}", facts.subject, fault(facts, self.now)?))).collect();
        if !faults.is_empty() {
            let message = format!("{path} is no file of current roots: {}", some_of(&faults));
            self.tell(Code::W64, at, message, "put the current roots into the file, and nothing else");
        }
    }
}

/// Whether a chain can end in an anchor at a moment.
pub(super) fn is_fit(record: &AnchorRecord, now: SystemTime) -> bool {
    let weakness = Facts::of(&record.certificate).and_then(|facts| facts.weakness);
    (record.not_before..=record.not_after).contains(&now) && weakness.is_none()
}

/// The first of what there is to tell, and how many more.
fn some_of(all: &[String]) -> String {
    let told = all[..all.len().min(CERTIFICATES_TOLD_MAX)].join("; ");
    match all.len().saturating_sub(CERTIFICATES_TOLD_MAX) {
        0 => told,
        more => format!("{told}; and {more} more"),
    }
}

const fn code_of(error: &AnchorError) -> Code {
    match error {
        AnchorError::OwnCa { .. } => Code::E66,
        _ => Code::E65,
    }
}

fn fault(facts: &Facts, now: SystemTime) -> Option<String> {
    if now > facts.not_after {
        Some(format!("ended on {}", day(facts.not_after)))
    } else if now < facts.not_before {
        Some(format!("is not valid before {}", day(facts.not_before)))
    } else if !facts.self_issued {
        Some(format!("is issued by {}, so it is no root", facts.issuer))
    } else if !facts.may_issue {
        Some("is no certificate authority (no CA:TRUE)".to_owned())
    } else {
        None
    }
}
