//! Findings about what hosts showed.

use super::certificate::Facts;
use super::probe::{Sight, Target, Unseen};
use super::seen::{Outcome, Seen};
use crate::config::{At, Code, Diagnostic, Places, UNREACHED};
use crate::policy::decision::{FailureClass, Rejection};
use crate::policy::pin::Pin;
use crate::policy::pinset::{Accepts, Basis, PathElement, Pinset, ValidityCheck};
use crate::tls::survey::SurveyedPath;
use std::collections::HashSet;
use std::time::SystemTime;

/// A certificate with a key that nobody has, in the place of one that is to come.
const SUCCESSOR: PathElement = PathElement { spki: [0; 32], certificate: None };

/// Findings about what hosts showed.
#[derive(Debug)]
pub struct Findings<'a> {
    places: &'a Places,
    now: SystemTime,
    found: Vec<Diagnostic>,
    /// Backups that have been found in use, each with its pinset.
    backups: HashSet<(String, Pin)>,
    /// What the text alone says about hosts that have been seen now.
    superseded: Vec<Diagnostic>,
}

impl<'a> Findings<'a> {
    /// None so far.
    pub fn new(places: &'a Places, now: SystemTime) -> Self {
        Self { places, now, found: Vec::new(), backups: HashSet::new(), superseded: Vec::new() }
    }

    /// Judges what a host showed, and tells what it was.
    pub fn judge(&mut self, target: &Target, sight: &Sight) -> Seen {
        let leaf = sight.served.first().and_then(Facts::of);
        // The name is looked at last, so whether the certificate names an address is known only where all else holds.
        let is_known = match &sight.survey.decided {
            Ok(_) => true,
            Err(rejection) => rejection.class == FailureClass::Name,
        };
        if target.is_address() && is_known {
            self.superseded.push(self.places.finding(Code::W28, host(target), "", ""));
        }
        if let Some(pinset) = target.rule.pinset() {
            match &sight.survey.decided {
                Err(rejection) => self.refused(target, sight, rejection),
                Ok(_) => self.accepted(target, sight, pinset, leaf.as_ref()),
            }
            self.backups_in_use(target, sight);
        }
        Seen::of(target, sight, leaf.as_ref(), self.now)
    }

    /// Tells of a host that could not be looked at. That the access rules let nobody go there, on whatever port, is a
    /// finding: it shows only when the name is resolved.
    pub fn unseen(&mut self, target: &Target, unseen: &Unseen) -> Seen {
        let Some(error) = unseen.forbidden() else { return Seen::in_vain(target, Outcome::Unreachable, unseen) };
        if target.is_closed_by(error) {
            let message = format!("{UNREACHED} {}: {error}", self.authority(target));
            let help =
                "remove the pattern, or change [access]; if the proxy resolves the name otherwise, probe from there";
            self.tell(Code::W23, host(target), message, help);
        }
        Seen::in_vain(target, Outcome::Forbidden, unseen)
    }

    /// These, and those of the text that still hold, in the order of the files.
    pub fn with(self, diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let mut all = diagnostics;
        let same = |one: &Diagnostic, other: &Diagnostic| one.code() == other.code() && one.place() == other.place();
        all.retain(|told| told.code() != Code::W28 || !self.superseded.iter().any(|seen| same(seen, told)));
        // What the text has told of a host already is not told again; that other patterns decide is something else.
        let told_by =
            |found: &Diagnostic, told: &Diagnostic| same(found, told) && told.message().starts_with(UNREACHED);
        let is_new = |found: &Diagnostic| found.code() != Code::W23 || !all.iter().any(|told| told_by(found, told));
        let found: Vec<_> = self.found.into_iter().filter(is_new).collect();
        all.extend(found);
        self.places.in_order(all)
    }

    /// The host and port, or what stands in the file where a variable names them.
    fn authority(&self, target: &Target) -> String {
        self.places.written(host(target)).unwrap_or_else(|| target.authority.to_string())
    }

    fn tell(&mut self, code: Code, at: At<'_>, message: String, help: &str) {
        self.found.push(self.places.finding(code, at, message, help));
    }

    fn refused(&mut self, target: &Target, sight: &Sight, rejection: &Rejection) {
        let (authority, pinset) = (self.authority(target), target.pinset());
        if rejection.class == FailureClass::Pin {
            let keys = sight.survey.paths.first().map(keys).unwrap_or_default();
            let message = format!("no pin of {pinset:?} matches what {authority} shows: {keys}");
            let help = "compare these keys with the operator of the host through another channel, and pin them if they are right";
            return self.tell(Code::E39, host(target), message, help);
        }
        let message = format!("no client would be let through to {authority}: {}", rejection.detail);
        let help = "the pins are not at fault; correct what the host serves, or what is trusted here";
        self.tell(Code::E39, host(target), message, help);
        if rejection.class == FailureClass::Name && target.is_address() {
            let message = format!("the certificate of {authority} does not name the address");
            let help = "have the address put into its subjectAltName, or pin the host by a name that it has";
            self.tell(Code::W28, host(target), message, help);
        }
    }

    fn accepted(&mut self, target: &Target, sight: &Sight, pinset: &Pinset, leaf: Option<&Facts>) {
        let survey = &sight.survey;
        let passing: Vec<_> = survey.paths.iter().filter(|path| path.passes()).collect();
        let first = survey.paths.iter().position(|path| path.passes() && path.matched.is_some());
        let matched = first.and_then(|index| survey.paths[index].matched.map(|found| (index + 1, found)));
        if let Some((path, found)) = matched.filter(|_| passing.len() < survey.paths.len()) {
            let message = format!(
                "{} matches on {} of the {} paths to {}, first on path {path}",
                found.pin,
                passing.len(),
                survey.paths.len(),
                self.authority(target)
            );
            let help = "pin a key that stands in every path, or a root of each of them";
            let at = At::Pin { pinset: &pinset.name, pin: found.pin };
            self.tell(Code::W40, at, message, help);
        } else if !survey.complete {
            let message = format!(
                "{} can be verified in more ways than are looked at, so not all are known",
                self.authority(target)
            );
            let help = "have the operator of the host serve fewer certificates, or pin the host's own key";
            self.tell(Code::W40, host(target), message, help);
        }
        let depends = depends_on_leaf(pinset, &passing) && !self.has_successor(pinset);
        if let Some(leaf) = leaf.filter(|leaf| depends && self.ends_soon(leaf)) {
            let message = format!(
                "the certificate of {} ends {}, and the next one passes only if it, or its key, is pinned",
                self.authority(target),
                leaf.end(self.now)
            );
            let help = "ask the operator of the host which key comes next, and whether it is the backup";
            self.tell(Code::W55, host(target), message, help);
        }
    }

    fn ends_soon(&self, leaf: &Facts) -> bool {
        let left = leaf.not_after.duration_since(self.now).unwrap_or_default();
        left <= self.places.expiry_warning()
    }

    /// Whether a certificate has been issued for a backup: it is pinned itself.
    fn has_successor(&self, pinset: &Pinset) -> bool {
        let mut backups = self.places.pins(&pinset.name).iter().filter(|written| written.is_backup);
        backups.any(|backup| matches!(backup.pin, Pin::Certificate(_)))
    }

    fn backups_in_use(&mut self, target: &Target, sight: &Sight) {
        let pinset = target.pinset();
        let places = self.places;
        for backup in places.pins(pinset).iter().filter(|written| written.is_backup).map(|written| written.pin) {
            let paths = &sight.survey.paths;
            let position = paths.iter().find_map(|path| path.elements.iter().position(|e| backup.names(e)));
            let Some(position) = position else { continue };
            if self.backups.insert((pinset.to_owned(), backup)) {
                let message =
                    format!("the backup {backup} is in use: position {position} of {}", self.authority(target));
                let help = "pin a key that stands in no chain yet, and keep it offline";
                self.tell(Code::E32, At::Pin { pinset, pin: backup }, message, help);
            }
        }
    }
}

fn host(target: &Target) -> At<'_> {
    At::Host { pinset: target.pinset(), index: target.index }
}

/// The keys of a path, as pins.
fn keys(path: &SurveyedPath) -> String {
    let keys: Vec<_> = path.elements.iter().map(|element| Pin::Spki(element.spki).to_string()).collect();
    keys.join(", ")
}

/// Whether the pins would no longer be satisfied if the host's certificate had another key, with the same authorities
/// above it.
fn depends_on_leaf(pinset: &Pinset, passing: &[&SurveyedPath]) -> bool {
    let accepts: &Accepts = match &pinset.basis {
        Basis::PinOnly { validity: ValidityCheck::Ignore, .. } => return false,
        Basis::PinOnly { leaf, .. } => leaf,
        Basis::Chain { accepts, .. } => accepts,
    };
    !passing.iter().any(|path| {
        let renewed: Vec<_> = std::iter::once(SUCCESSOR).chain(path.elements.iter().skip(1).copied()).collect();
        path.exempts_pins || accepts.judge(&renewed).is_some()
    })
}
