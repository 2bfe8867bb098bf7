//! Verification of an upstream's certificates, with the rule looking at every path that verifies.
//!
//! webpki builds paths and shows each one whose signatures, constraints and revocation state hold; the rule turns down
//! those that do not satisfy it and building goes on to the next (RFC 7469 section 2.6 asks whether *a* validated chain
//! holds a pin). Only paths that verified are ever judged: a pinned certificate that a server merely sends along counts
//! for nothing.

use super::anchors::{TrustAnchors, sha256};
use super::chain::{Attempt, VerifiedChain, after, system_time, whole_seconds};
use super::fault::rejection;
use super::provider::provider;
use super::revocation::Revocation;
use super::search::Search;
use super::served::{arrange, keys_beside};
use crate::policy::decision::{Candidate, FailureClass, Footing, Rejection};
use crate::policy::host::Host;
use crate::policy::moment::Circumstances;
use crate::policy::pinset::{Accepts, Demand, NameCheck, PathElement, ValidityCheck};
use crate::policy::rules::{Blocked, Policy, Rule};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::SystemTime;
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

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
            unchanged_until: self.unchanged_until(end_entity, others, now),
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
        let intermediates = arrange(&self.anchors, certificate, others, pins)?;
        let lists = self.revocation.lists();
        let revocation = self.revocation.options(&lists)?;
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

    /// The next moment at which a certificate that was served or an anchor begins or ends, or a binding list is out of date.
    /// Until then path building has the same to choose from. An anchor that the path does not end in counts as well: another
    /// path may, which is better than this one or was turned down before it.
    fn unchanged_until(
        &self,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> SystemTime {
        let served = std::iter::once(end_entity).chain(others).filter_map(|der| parse(der).ok());
        let bounds = served.flat_map(|certificate| {
            let validity = certificate.validity();
            [system_time(validity.not_before.timestamp()), after(system_time(validity.not_after.timestamp()))]
        });
        let bounds = bounds.chain(self.anchors.bounds()).chain(self.revocation.ends());
        // What cannot be reckoned is not known to last.
        bounds.filter(|bound| *bound > now).min().unwrap_or(now)
    }

    /// The entry that speaks against a path.
    pub(super) fn blocked(&self, path: &[PathElement]) -> Option<Arc<Blocked>> {
        self.policy.blocked_among(&self.rule, path, &[]).cloned()
    }
}

/// Why a bare end entity is turned down.
fn turned_down(path: Vec<PathElement>, blocked: Option<Arc<Blocked>>) -> Rejection {
    let mut rejection = match &blocked {
        Some(blocked) => Rejection::new(FailureClass::Blocklist, blocked.sentence(Footing::KeyOnly)),
        None => Rejection::new(FailureClass::Pin, "the upstream's certificate does not hold a pinned key"),
    };
    rejection.candidates.push(Candidate { path, blocked });
    rejection
}

/// Whether a second search without pins could end otherwise.
fn is_about_pins(rejection: &Rejection) -> bool {
    match rejection.class {
        FailureClass::Pin => true,
        FailureClass::Budget => !rejection.candidates.is_empty(),
        _ => false,
    }
}

pub(super) fn parse<'a>(
    der: &'a CertificateDer<'_>,
) -> Result<x509_parser::certificate::X509Certificate<'a>, Rejection> {
    match x509_parser::parse_x509_certificate(der) {
        // What is behind a certificate might be another one, which nobody has looked at.
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Rejection::new(FailureClass::Chain, "the upstream served something that is not a certificate")),
    }
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
