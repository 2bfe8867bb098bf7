//! Patterns by themselves: wildcards that hold the hosts of strangers, addresses, names that look like others.

use super::super::code::Code;
use super::super::findings::Findings;
use super::super::item::Located;
use super::authorities::is_public_root;
use super::{Read, Subject};
use crate::policy::host::{DnsName, Host};
use crate::policy::pattern::{HostPattern, Scope};
use crate::policy::pinset::{Basis, NameCheck, Position};
use psl::{Psl as _, Type};
use std::collections::HashSet;
use unicode_security::{MixedScript as _, RestrictionLevel, RestrictionLevelDetection as _};

/// Owners that one pinset may be for. Two is a firm and its provider, or a name and its successor.
const OWNERS_MAX: usize = 2;

pub(super) fn lint(subject: &Subject<'_>) {
    for host in subject.drafts.iter().flat_map(|draft| &draft.hosts).chain(subject.holes.hosts()) {
        refuse_suffix(subject.findings, host);
    }
    for pinset in subject.pinsets() {
        warn_of_addresses(subject.findings, &pinset);
        warn_of_strangers(subject.findings, &pinset);
    }
}

/// Below which kind of name everybody can have hosts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shared {
    /// By registries: `com`, `co.uk`.
    Registry,
    /// By a provider among its customers: `github.io`.
    Provider,
    /// By nobody known: `internal`, `corp`. It may be the operator's own name space, or a slip.
    Nobody,
}

/// Whether names directly below this one belong to different people, as far as the Public Suffix List knows.
pub(super) fn shared(name: &DnsName) -> Option<Shared> {
    let text = name.as_str();
    if !text.contains('.') {
        let kind = psl::List.suffix(text.as_bytes()).and_then(|suffix| suffix.typ());
        return Some(if kind.is_some() { Shared::Registry } else { Shared::Nobody });
    }
    // `*.kawasaki.jp` is a suffix in the list, and then it is no matter that `kawasaki.jp` is none.
    let below = format!("a.{text}");
    let found = [text, below.as_str()].into_iter().find_map(|probe| {
        let suffix = psl::List.suffix(probe.as_bytes())?;
        (suffix.as_bytes() == probe.as_bytes()).then(|| suffix.typ()).flatten()
    });
    found.map(|kind| match kind {
        Type::Icann => Shared::Registry,
        Type::Private => Shared::Provider,
    })
}

/// Whether the Public Suffix List has entries below this name, as `blob.core.windows.net` below `windows.net`.
///
/// The list does not tell its entries. But it is searched from the last label on, and asks for one more label only where
/// it has longer entries. `psl` promises that nowhere; `wildcards_over_what_providers_share_out` fails when it ends.
fn has_suffixes_below(name: &DnsName) -> bool {
    let mut asked_for_more = false;
    let end = std::iter::from_fn(|| {
        asked_for_more = true;
        None
    });
    psl::List.find(name.as_str().rsplit('.').map(str::as_bytes).chain(end));
    asked_for_more
}

fn refuse_suffix(findings: &Findings, host: &Located<HostPattern>) {
    let (Scope::OneLabel(suffix) | Scope::Subtree(suffix)) = &host.value.scope else { return };
    match shared(suffix) {
        Some(Shared::Registry) => {
            let message = format!("{} holds the hosts of everybody who has a name below {suffix}", host.value);
            let help = format!("name the domain that is meant: \"**.bank.{suffix}\"");
            findings.error(Code::E22, &host.span, message, help);
        }
        Some(Shared::Provider) => {
            let message = format!("{} holds the hosts of all customers who have a name below {suffix}", host.value);
            findings.warning(Code::W22, &host.span, message, "name your own hosts below it");
        }
        Some(Shared::Nobody) => {
            let message = format!("{} holds every host below {suffix}, which no registry knows", host.value);
            let help = "keep it if the whole name space is yours; otherwise name the domain that is meant";
            findings.warning(Code::W22, &host.span, message, help);
        }
        // One label does not get to what customers have below the suffix.
        None if matches!(host.value.scope, Scope::Subtree(_)) && has_suffixes_below(suffix) => {
            let message = format!("{} holds hosts of strangers: names below {suffix} are shared out", host.value);
            findings.warning(Code::W22, &host.span, message, "name the hosts that are meant, or your own name there");
        }
        None => {}
    }
}

fn warn_of_addresses(findings: &Findings, pinset: &Read<'_>) {
    let help = match pinset.basis {
        Basis::PinOnly { name: NameCheck::San, .. } => {
            "look at the certificate; write verify_name = \"as:NAME\" with a name that it has, or \"skip\""
        }
        Basis::Chain { .. } => "look at the certificate; if it names hosts alone, let clients ask for the host by name",
        Basis::PinOnly { .. } => return,
    };
    for host in &pinset.draft.hosts {
        if let Scope::Exact(Host::Address(_)) = &host.value.scope {
            let message = format!("{} is refused unless its certificate names the address", host.value);
            findings.warning(Code::W28, &host.span, message, help);
        }
    }
}

/// The hosts of one pinset pass with each other's keys, unless all its keys are those of authorities.
fn warn_of_strangers(findings: &Findings, pinset: &Read<'_>) {
    let mut owners = HashSet::new();
    for host in &pinset.draft.hosts {
        let (Scope::Exact(Host::Name(name)) | Scope::OneLabel(name) | Scope::Subtree(name)) = &host.value.scope else {
            continue;
        };
        owners.extend(owner(name));
        if owners.len() > OWNERS_MAX {
            break;
        }
    }
    let clauses = || pinset.accepts().clauses();
    let authorities =
        || clauses().all(|clause| clause.position() == Position::Ca || clause.pins().iter().all(is_public_root));
    if let Some(first) = pinset.draft.hosts.first().filter(|_| owners.len() > OWNERS_MAX && !authorities()) {
        let message = format!("the hosts of {:?} lie in more than {OWNERS_MAX} domains without relation", pinset.name);
        let help = "write a pinset for each owner; named keys can be used in several";
        findings.warning(Code::W44, &first.span, message, help);
    }
}

/// The label that its owner has chosen: `bank.example` and `bank.co.uk` may well be of one.
fn owner(name: &DnsName) -> Option<&str> {
    let suffix = psl::List.suffix(name.as_str().as_bytes())?.as_bytes().len();
    let rest = name.as_str().get(..name.as_str().len().checked_sub(suffix + 1)?)?;
    rest.rsplit('.').next()
}

/// Reports a label written in several scripts, other than those that one language mixes (UTS 39, Highly Restrictive).
pub(in super::super) fn refuse_mixed_scripts(findings: &Findings, text: &Located<&str>) {
    // The dots of UTS 46 section 4.
    let mut labels = text.value.split(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}']);
    let mixed =
        |label: &&str| !label.is_single_script() && !label.check_restriction_level(RestrictionLevel::HighlyRestrictive);
    if let Some(label) = labels.find(mixed) {
        let message = format!("{label:?} mixes letters of several scripts");
        let help = "compare it with the operator of the host, and write the ASCII form (xn--…)";
        findings.error(Code::E29, &text.span, message, help);
    }
}
