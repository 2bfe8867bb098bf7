//! Verification of an upstream's certificates, with the rule looking at every path that verifies.
//!
//! webpki builds paths and shows each one whose signatures, constraints and revocation state hold; the rule turns down
//! those that do not satisfy it and building goes on to the next (RFC 7469 section 2.6 asks whether *a* validated chain
//! holds a pin). Only paths that verified are ever judged: a pinned certificate that a server merely sends along counts
//! for nothing.

use super::anchors::{AnchorRecord, TrustAnchors, sha256};
use super::chain::{Attempt, VerifiedChain, system_time, whole_seconds};
use super::fault::{is_budget, rejection};
use super::provider::provider;
use super::revocation::{Revocation, RevocationMode};
use crate::policy::decision::{Candidate, FailureClass, Footing, PIN_MISMATCH, Rejection};
use crate::policy::host::Host;
use crate::policy::moment::Circumstances;
use crate::policy::pin::Sha256;
use crate::policy::pinset::{Accepts, Demand, NameCheck, PathElement, ValidityCheck};
use crate::policy::rules::{Blocked, Policy, Rule};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath,
};

/// Certificates that an upstream may serve beside its own. A chain has rarely more than four.
pub const SERVED_CERTIFICATES_MAX: usize = 48;
/// Ways that lead, by the names of issuers, from the end entity through the served certificates. webpki's own budget of
/// 200 000 steps takes seconds, since it looks at every served certificate in each; a chain with all its cross-signs
/// has a few dozen.
pub const SERVED_WAYS_MAX: u64 = 1_000;
/// Intermediates in a path; webpki has the same limit (its MAX_SUB_CA_COUNT).
const PATH_INTERMEDIATES_MAX: usize = 6;

/// Everything that verification of one upstream depends on.
#[derive(Clone, Debug)]
pub struct Question {
    /// The trust anchors.
    pub anchors: Arc<TrustAnchors>,
    /// The revocation lists.
    pub revocation: Arc<Revocation>,
    /// The policy generation of the session.
    pub policy: Arc<Policy>,
    /// The rule selected for it.
    pub rule: Arc<Rule>,
    /// The host that the session is for.
    pub host: Host,
}

/// The path that a search ended with.
struct Accepted {
    path: Vec<PathElement>,
    exempts_pins: bool,
    anchor_not_after: SystemTime,
}

/// The search for a path, turned into webpki's visitor.
pub(super) struct Search<'a> {
    question: &'a Question,
    now: SystemTime,
    hash_certificates: bool,
    accepted: Cell<Option<Accepted>>,
    turned_down: RefCell<Vec<Candidate>>,
    first_turned_down: RefCell<Vec<CertificateDer<'static>>>,
    /// What is wrong with an anchor's dates.
    anchor_out_of_date: Cell<Option<&'static str>>,
    not_an_issuer: Cell<bool>,
}

impl Question {
    /// The name that the upstream is asked for and that has to be in its certificate.
    pub fn upstream_name(&self, circumstances: &Circumstances) -> &Host {
        self.rule.upstream_name(&self.host, circumstances)
    }

    /// Verifies what an upstream served and judges it by the rule. Certificates are held against the latest reading of
    /// the clock: a clock set back must not revive what has expired.
    pub fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        circumstances: &Circumstances,
    ) -> Attempt {
        let served = std::iter::once(end_entity).chain(others).map(|der| der.clone().into_owned()).collect();
        let mut validated = Vec::new();
        let demand = self.rule.demand(circumstances);
        let now = whole_seconds(circumstances.moment.latest());
        let result = match demand {
            Demand::Expired => Err(crate::policy::decision::expired()),
            Demand::PinOnly { leaf, name, validity } => {
                self.verify_key_only(end_entity, others, leaf, name, validity, now)
            }
            Demand::Chain => self.verify_anchored(end_entity, others, None, now, &mut validated),
            Demand::Pins { accepts, enforced } => {
                let pinned = self.verify_anchored(end_entity, others, Some(accepts), now, &mut validated);
                match pinned {
                    Err(rejection) if !enforced && is_about_pins(&rejection) => {
                        // Pins are softened, the rest is not: a second search without them decides alone.
                        self.verify_anchored(end_entity, others, None, now, &mut Vec::new())
                            .map(|chain| VerifiedChain { passed_over: rejection.candidates, ..chain })
                    }
                    decided => decided,
                }
            }
        };
        Attempt { result, served, validated }
    }

    pub(super) fn verify_anchored(
        &self,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        pins: Option<&Accepts>,
        now: SystemTime,
        validated: &mut Vec<CertificateDer<'static>>,
    ) -> Result<VerifiedChain, Rejection> {
        let certificate = EndEntityCert::try_from(end_entity).map_err(|error| rejection(&error))?;
        let search = Search::new(self, now, pins.is_some_and(Accepts::compares_certificates));
        let built = self.build(&certificate, others, pins, now, &|path| search.visit(path, pins))?;
        *validated = search.first_turned_down.take();
        let accepted = match built {
            Ok(()) => search.accepted.take().ok_or_else(|| {
                Rejection::new(FailureClass::Internal, "path building ended without showing the path it found")
            })?,
            Err(error) => return Err(search.classify(&error)),
        };
        check_name(&certificate, end_entity, &self.host)?;
        Ok(VerifiedChain {
            host: self.host.clone(),
            footing: Footing::Anchored,
            path: accepted.path,
            beside: Vec::new(),
            passed_over: search.turned_down.take(),
            leaf_not_after: Some(system_time(parse(end_entity)?.validity().not_after.timestamp())),
            exempts_pins: accepted.exempts_pins,
            unchanged_until: self.unchanged_until(end_entity, others, accepted.anchor_not_after, now),
        })
    }

    /// The chain that was verified before with this end entity, where it is for the host of this question, too.
    pub(super) fn verify_again(&self, known: &VerifiedChain, end_entity: &CertificateDer<'_>) -> Option<VerifiedChain> {
        let certificate = EndEntityCert::try_from(end_entity).ok()?;
        check_name(&certificate, end_entity, &self.host).ok()?;
        Some(VerifiedChain { host: self.host.clone(), ..known.clone() })
    }

    /// Shows every path that verifies to a visitor, until it takes one. The inner result is what webpki makes of it.
    pub(super) fn build(
        &self,
        certificate: &EndEntityCert<'_>,
        others: &[CertificateDer<'_>],
        pins: Option<&Accepts>,
        now: SystemTime,
        visit: &dyn Fn(&VerifiedPath<'_>) -> Result<(), webpki::Error>,
    ) -> Result<Result<(), webpki::Error>, Rejection> {
        let intermediates = self.arrange(certificate, others, pins)?;
        let lists = self.revocation.lists();
        let revocation = revocation_options(&lists, self.revocation.mode())?;
        let built = certificate.verify_for_usage(
            provider().signature_verification_algorithms.all,
            self.anchors.anchors(),
            &intermediates,
            UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()),
            KeyUsage::server_auth(),
            revocation,
            Some(visit),
        );
        Ok(built.map(|_| ()))
    }

    /// What the upstream sent beside the end entity, in the order path building should try it. Doubles and copies of
    /// root anchors are left out, since each costs signature checks of a bounded budget; certificates that the pins
    /// name come first. A served intermediate whose key is also an anchor stays: the way through it to its own root
    /// may be the pinned one.
    fn arrange<'a>(
        &self,
        end_entity: &EndEntityCert<'_>,
        others: &'a [CertificateDer<'a>],
        pins: Option<&Accepts>,
    ) -> Result<Vec<CertificateDer<'a>>, Rejection> {
        check_count(others)?;
        let mut seen = HashSet::with_capacity(others.len());
        let mut arranged = Vec::with_capacity(others.len());
        for der in others {
            if !seen.insert(&der[..]) {
                continue;
            }
            // What does not parse cannot become part of a path; webpki would pass over it as well.
            let Ok(certificate) = EndEntityCert::try_from(der) else { continue };
            let spki = sha256(&certificate.subject_public_key_info());
            let self_issued = certificate.issuer() == certificate.subject();
            if self_issued && self.anchors.holds_key(certificate.subject(), &spki) {
                continue;
            }
            let pinned = pins.is_some_and(|accepts| {
                let digest = accepts.compares_certificates().then(|| sha256(der));
                accepts.names(&PathElement { spki, certificate: digest })
            });
            arranged.push((!pinned, certificate, CertificateDer::from(der.as_ref())));
        }
        if ways(end_entity, &arranged) > SERVED_WAYS_MAX {
            let detail = "the certificates that the upstream served can be joined in too many ways";
            return Err(Rejection::new(FailureClass::Budget, detail));
        }
        arranged.sort_by_key(|(unpinned, ..)| *unpinned);
        Ok(arranged.into_iter().map(|(.., der)| der).collect())
    }

    /// The pin is the trust: no path is built, nothing becomes an anchor. The handshake's signature, checked by the
    /// caller with the key in this certificate, proves possession of the pinned key. What is served beside it is looked at
    /// for blocked keys alone.
    pub(super) fn verify_key_only(
        &self,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        leaf: &Accepts,
        name: &NameCheck,
        validity: ValidityCheck,
        now: SystemTime,
    ) -> Result<VerifiedChain, Rejection> {
        let certificate = parse(end_entity)?;
        let element = PathElement { spki: sha256(certificate.public_key().raw), certificate: Some(sha256(end_entity)) };
        let path = vec![element];
        let beside = keys_beside(others)?;
        let blocked = self.policy.blocked_among(&self.rule, &path, &beside).cloned();
        if blocked.is_some() || leaf.judge(&path).is_none() {
            return Err(turned_down(path, blocked));
        }
        let (not_before, not_after) = (certificate.validity().not_before, certificate.validity().not_after);
        let (from, to) = (system_time(not_before.timestamp()), system_time(not_after.timestamp()));
        if validity == ValidityCheck::Check && !(from..=to).contains(&now) {
            let detail = format!("the certificate is valid from {not_before} to {not_after} only");
            return Err(Rejection::new(FailureClass::Validity, detail));
        }
        if *name != NameCheck::Skip {
            let named = EndEntityCert::try_from(end_entity).map_err(|error| rejection(&error))?;
            check_name(&named, end_entity, if let NameCheck::As(other) = name { other } else { &self.host })?;
        }
        Ok(VerifiedChain {
            host: self.host.clone(),
            footing: Footing::KeyOnly,
            path,
            beside,
            passed_over: Vec::new(),
            leaf_not_after: (validity == ValidityCheck::Check).then_some(to),
            exempts_pins: false,
            unchanged_until: now,
        })
    }

    /// The next moment at which a certificate that was served begins or ends, the anchor ends, or a binding list is out of
    /// date. Until then path building has the same to choose from.
    fn unchanged_until(
        &self,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        anchor_not_after: SystemTime,
        now: SystemTime,
    ) -> SystemTime {
        let served = std::iter::once(end_entity).chain(others).filter_map(|der| parse(der).ok());
        let bounds = served.flat_map(|certificate| {
            let validity = certificate.validity();
            [system_time(validity.not_before.timestamp()), after(system_time(validity.not_after.timestamp()))]
        });
        let ends = bounds.chain([after(anchor_not_after)]).chain(self.revocation.ends());
        // What cannot be reckoned is not known to last.
        ends.filter(|bound| *bound > now).min().unwrap_or(now)
    }

    /// The entry that speaks against a path.
    pub(super) fn blocked(&self, path: &[PathElement]) -> Option<Arc<Blocked>> {
        self.policy.blocked_among(&self.rule, path, &[]).cloned()
    }
}

/// Why a bare end entity is turned down.
fn turned_down(path: Vec<PathElement>, blocked: Option<Arc<Blocked>>) -> Rejection {
    let mut rejection = match &blocked {
        Some(blocked) => Rejection::new(FailureClass::Blocklist, blocked.sentence()),
        None => Rejection::new(FailureClass::Pin, "the upstream's certificate does not hold a pinned key"),
    };
    rejection.candidates.push(Candidate { path, blocked });
    rejection
}

/// The keys of all that is served beside an end entity. What cannot be read might hold any key, so it is an error.
pub(super) fn keys_beside(others: &[CertificateDer<'_>]) -> Result<Vec<Sha256>, Rejection> {
    check_count(others)?;
    others.iter().map(|der| Ok(sha256(parse(der)?.public_key().raw))).collect()
}

fn check_count(others: &[CertificateDer<'_>]) -> Result<(), Rejection> {
    if others.len() <= SERVED_CERTIFICATES_MAX {
        return Ok(());
    }
    let detail = format!("the upstream served more than {SERVED_CERTIFICATES_MAX} certificates beside its own");
    Err(Rejection::new(FailureClass::Budget, detail))
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
    fn visit(&self, path: &VerifiedPath<'_>, pins: Option<&Accepts>) -> Result<(), webpki::Error> {
        let go_on = Err(webpki::Error::UnknownIssuer);
        let Some((elements, anchor)) = self.read(path) else { return go_on };
        let blocked = self.question.blocked(&elements);
        let (exempts_pins, anchor_not_after) = (anchor.exempts_pins, anchor.not_after);
        if blocked.is_none() && (exempts_pins || pins.is_none_or(|accepts| accepts.judge(&elements).is_some())) {
            self.accepted.set(Some(Accepted { path: elements, exempts_pins, anchor_not_after }));
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
    fn classify(&self, error: &webpki::Error) -> Rejection {
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
                let detail = first.sentence();
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

/// How many ways path building could take through the served certificates, going by the names of issuers as it does.
fn ways(end_entity: &EndEntityCert<'_>, served: &[(bool, EndEntityCert<'_>, CertificateDer<'_>)]) -> u64 {
    let issued_by = |issuer: &[u8]| served.iter().map(|(_, c, _)| u64::from(c.subject() == issuer)).collect::<Vec<_>>();
    // For each served certificate, the ways of the current length that end at it.
    let mut here = issued_by(end_entity.issuer());
    let mut all = 0_u64;
    for _ in 0..PATH_INTERMEDIATES_MAX {
        let mut next = vec![0_u64; served.len()];
        for (ways, (_, certificate, _)) in here.iter().zip(served).filter(|(ways, _)| **ways > 0) {
            all = all.saturating_add(*ways);
            for (sum, step) in next.iter_mut().zip(issued_by(certificate.issuer())) {
                *sum = sum.saturating_add(step.saturating_mul(*ways));
            }
        }
        here = next;
    }
    all
}

/// Whether a second search without pins could end otherwise.
fn is_about_pins(rejection: &Rejection) -> bool {
    match rejection.class {
        FailureClass::Pin => true,
        FailureClass::Budget => !rejection.candidates.is_empty(),
        _ => false,
    }
}

fn revocation_options<'a>(
    lists: &'a [&'a CertRevocationList<'static>],
    mode: RevocationMode,
) -> Result<Option<webpki::RevocationOptions<'a>>, Rejection> {
    let (unknown, stale) = match mode {
        RevocationMode::Off => return Ok(None),
        RevocationMode::WhenAvailable => (UnknownStatusPolicy::Allow, ExpirationPolicy::Ignore),
        RevocationMode::Require => (UnknownStatusPolicy::Deny, ExpirationPolicy::Enforce),
    };
    let Ok(builder) = RevocationOptionsBuilder::new(lists) else {
        // webpki wants a list, or does not look at all, which is not what `Require` asks for.
        return match mode {
            RevocationMode::Require => Err(rejection(&webpki::Error::UnknownRevocationStatus)),
            RevocationMode::Off | RevocationMode::WhenAvailable => Ok(None),
        };
    };
    let builder = builder.with_depth(RevocationCheckDepth::Chain).with_status_policy(unknown);
    Ok(Some(builder.with_expiration_policy(stale).build()))
}

/// RFC 5280 section 4.2.1.3: where an issuer has a keyUsage, it says keyCertSign. webpki does not look.
fn may_sign_certificates(der: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else { return false };
    match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => false,
    }
}

/// The second behind the last one of a validity.
fn after(not_after: SystemTime) -> SystemTime {
    not_after.checked_add(Duration::from_secs(1)).unwrap_or(not_after)
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<x509_parser::certificate::X509Certificate<'a>, Rejection> {
    let malformed = |_| Rejection::new(FailureClass::Chain, "the upstream served something that is not a certificate");
    x509_parser::parse_x509_certificate(der).map(|(_, certificate)| certificate).map_err(malformed)
}

fn server_name(host: &Host) -> Result<ServerName<'static>, Rejection> {
    super::name::server_name(host)
        .map_err(|_| Rejection::new(FailureClass::Name, format!("{host} cannot be the name in a certificate")))
}

fn check_name(certificate: &EndEntityCert<'_>, der: &CertificateDer<'_>, expected: &Host) -> Result<(), Rejection> {
    let name = server_name(expected)?;
    certificate.verify_is_valid_for_subject_name(&name).map_err(|_| wrong_name(der, expected))
}

/// The certificate is for other names than the one expected.
fn wrong_name(end_entity: &CertificateDer<'_>, expected: &Host) -> Rejection {
    let names = super::name::names_of(end_entity);
    Rejection::new(FailureClass::Name, format!("the certificate is not for {expected} but for {names}"))
}
