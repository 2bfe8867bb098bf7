//! The files that a configuration names: trust anchors and revocation lists.

use super::certificate::{Facts, day};
use super::pins;
use crate::config::{At, Code, Config, Diagnostic, Named, NamedFile, Places, Roots};
use crate::materials::{self, Materials};
use crate::tls::anchors::{AnchorError, TrustAnchors};
use crate::tls::revocation::{Revocation, RevocationMode};
use rustls::pki_types::CertificateDer;
use std::path::Path;
use std::time::SystemTime;

/// Certificates of a file that are told; of more there is a count.
const CERTIFICATES_TOLD_MAX: usize = 3;

/// Looks at each file that a text names by itself, so that each fault is told at its place, whatever else is wrong with
/// the text.
pub(super) fn inspect_files(places: &Places, ca: &[CertificateDer<'static>], now: SystemTime) -> Vec<Diagnostic> {
    let mut look = Look { places, ca, now, found: Vec::new() };
    for file in places.named() {
        match &file.what {
            Named::Anchors(roots) => look.source(roots, At::Named(file)),
            Named::ExtraAnchors(path) => look.source(&Roots::File(path.clone()), At::Named(file)),
            Named::RevocationList(path) => look.list(path, At::Named(file)),
        }
    }
    look.found
}

/// Loads all of it together, and looks at the pins that depend on it. No materials where something cannot be used.
pub(super) fn inspect_all(
    config: &Config,
    places: &Places,
    ca: &[CertificateDer<'static>],
    now: SystemTime,
) -> (Option<Materials>, Vec<Diagnostic>) {
    let mut look = Look { places, ca, now, found: Vec::new() };
    let materials = Materials::load(config, ca).ok();
    match &materials {
        Some(materials) => look.found = pins::inspect(config, places, materials),
        // What the text does not name has not been looked at.
        None if config.upstream.roots == Roots::System && !places.named().iter().any(NamedFile::is_system) => {
            look.source(&Roots::System, At::File);
        }
        None => {}
    }
    (materials, look.found)
}

struct Look<'a> {
    places: &'a Places,
    /// The proxy's CA.
    ca: &'a [CertificateDer<'static>],
    now: SystemTime,
    found: Vec<Diagnostic>,
}

impl Look<'_> {
    fn tell(&mut self, code: Code, at: At<'_>, message: impl Into<String>, help: &str) {
        self.found.push(self.places.finding(code, at, message, help));
    }

    fn source(&mut self, roots: &Roots, at: At<'_>) {
        match TrustAnchors::load(&materials::source(roots), &[], self.ca) {
            Ok(anchors) => {
                if let Roots::File(path) = roots {
                    self.unsuitable(path, &anchors, at);
                }
            }
            Err(error @ AnchorError::OwnCa { .. }) => {
                let help = "remove it; clients need the CA of the proxy, upstreams never do";
                self.tell(Code::E66, at, error.to_string(), help);
            }
            Err(error) => {
                let help = "name a PEM file with at least one certificate, which the user of the proxy can read";
                self.tell(Code::E65, at, error.to_string(), help);
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
        let facts: Vec<_> = anchors.records().iter().filter_map(|record| Facts::of(&record.certificate)).collect();
        let all_ended = facts.iter().all(|facts| self.now > facts.not_after);
        // Beside other anchors it takes nothing away.
        if let Some(last) = facts.iter().map(|facts| facts.not_after).max().filter(|_| all_ended)
            && !matches!(at, At::Named(NamedFile { what: Named::ExtraAnchors(_), .. }))
        {
            let (path, last) = (path.display(), day(last));
            let message = match facts.len() {
                1 => format!("the certificate in {path} ended on {last}: nothing verifies below it"),
                count => format!(
                    "all {count} certificates in {path} have ended, the last on {last}: nothing verifies below them"
                ),
            };
            return self.tell(Code::E65, at, message, "put the current roots into the file");
        }
        let path = path.display();
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

/// The first of what there is to tell, and how many more.
fn some_of(all: &[String]) -> String {
    let told = all[..all.len().min(CERTIFICATES_TOLD_MAX)].join("; ");
    match all.len().saturating_sub(CERTIFICATES_TOLD_MAX) {
        0 => told,
        more => format!("{told}; and {more} more"),
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
