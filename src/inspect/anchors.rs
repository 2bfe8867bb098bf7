//! The files that a configuration names: trust anchors, revocation lists, and the pins that depend on them.

use super::certificate::{Facts, day};
use crate::config::{At, Code, Config, Diagnostic, Named, NamedFile, Places, Roots, WrittenPin};
use crate::materials::{self, Materials};
use crate::policy::pin::Pin;
use crate::policy::pinset::{AnchorSet, Basis};
use crate::policy::rules::Rule;
use crate::tls::anchors::{AnchorError, AnchorSource, TrustAnchors};
use crate::tls::revocation::{Revocation, RevocationMode};
use rustls::pki_types::CertificateDer;
use std::cell::LazyCell;
use std::collections::{HashMap, HashSet};
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
        Some(materials) => look.pins(config, materials),
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
        let faults: Vec<_> =
            facts.into_iter().filter_map(|facts| Some((fault(&facts, self.now)?, facts.subject))).collect();
        if faults.is_empty() {
            return;
        }
        let told: Vec<_> =
            faults.iter().take(CERTIFICATES_TOLD_MAX).map(|(fault, subject)| format!("{subject} {fault}")).collect();
        let more = faults.len() - told.len();
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let message = format!("{} is no file of current roots: {}{more}", path.display(), told.join("; "));
        self.tell(Code::W64, at, message, "put the current roots into the file, and nothing else");
    }

    /// Pins of roots that no chain can end in.
    fn pins(&mut self, config: &Config, materials: &Materials) {
        let mozilla = LazyCell::new(|| TrustAnchors::load(&AnchorSource::Mozilla, &[], &[]).ok().map(|set| pins(&set)));
        let common = pins(&materials.common);
        let own: HashMap<_, _> = materials.own.iter().map(|(name, anchors)| (name, pins(anchors))).collect();
        for pinset in config.rules.rules().iter().filter_map(Rule::pinset) {
            let Basis::Chain { anchors, .. } = &pinset.basis else { continue };
            let in_use = match anchors {
                AnchorSet::Common => Some(&common),
                AnchorSet::Own(name) => own.get(name),
            };
            let Some(in_use) = in_use else { continue };
            let mut told = HashSet::new();
            let missing = self.places.pins(&pinset.name).iter().filter(|written| !in_use.contains(&written.pin));
            for WrittenPin { pin, root_because, .. } in missing {
                let public = mozilla.as_ref().is_some_and(|mozilla| mozilla.contains(pin));
                let because = if public { Some("a root of Mozilla's list") } else { *root_because };
                let Some(because) = because.filter(|_| told.insert(*pin)) else { continue };
                let message = format!("{pin} is {because}, and not among the trust anchors of {:?}", pinset.name);
                let help = "add the root to the trust anchors if it is to be trusted, or remove the pin; \
                            write role = \"intermediate\" if another root has signed its key";
                let at = At::Pin { pinset: &pinset.name, pin: *pin };
                self.found.push(self.places.finding(Code::W41, at, message, help));
            }
        }
    }
}

/// The pins that name an anchor of a set.
fn pins(anchors: &TrustAnchors) -> HashSet<Pin> {
    let of = |record: &crate::tls::anchors::AnchorRecord| {
        let element = record.element;
        std::iter::once(Pin::Spki(element.spki)).chain(element.certificate.map(Pin::Certificate))
    };
    anchors.records().iter().flat_map(of).collect()
}

fn fault(facts: &Facts, now: SystemTime) -> Option<String> {
    if now > facts.not_after {
        Some(format!("ended on {}", day(facts.not_after)))
    } else if !facts.self_issued {
        Some(format!("is issued by {}, so it is no root", facts.issuer))
    } else if !facts.may_issue {
        Some("is no certificate authority (no CA:TRUE)".to_owned())
    } else {
        None
    }
}
