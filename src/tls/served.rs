//! What an upstream serves beside its own certificate, made ready for path building and kept within bounds.

use super::anchors::{TrustAnchors, sha256};
use super::verify::parse;
use crate::policy::decision::{FailureClass, Rejection};
use crate::policy::pin::Sha256;
use crate::policy::pinset::{Accepts, PathElement};
use rustls::pki_types::CertificateDer;
use std::collections::HashSet;
use webpki::EndEntityCert;

/// Certificates that an upstream may serve beside its own. A chain has rarely more than four.
pub const SERVED_CERTIFICATES_MAX: usize = 48;
/// Ways that lead, by the names of issuers, from the end entity through the served certificates. webpki's own budget of
/// 200 000 steps takes seconds, since it looks at every served certificate in each; a chain with all its cross-signs
/// has a few dozen.
pub const SERVED_WAYS_MAX: u64 = 1_000;
/// Intermediates in a path; webpki has the same limit (its MAX_SUB_CA_COUNT).
const PATH_INTERMEDIATES_MAX: usize = 6;

/// What the upstream sent beside the end entity, in the order path building should try it. Doubles and copies of
/// root anchors are left out, since each costs signature checks of a bounded budget; certificates that the pins
/// name come first. A served intermediate whose key is also an anchor stays: the way through it to its own root
/// may be the pinned one.
pub(super) fn arrange<'a>(
    anchors: &TrustAnchors,
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
        if self_issued && anchors.holds_key(certificate.subject(), &spki) {
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
