//! What webpki found wrong with a chain, as a class and in words.

use crate::policy::decision::{FailureClass, Rejection};
use rustls::pki_types::UnixTime;
use webpki::Error as E;

/// Whether the work allowed for path building was used up.
pub(super) const fn is_budget(error: &E) -> bool {
    matches!(
        error,
        E::MaximumSignatureChecksExceeded
            | E::MaximumPathBuildCallsExceeded
            | E::MaximumNameConstraintComparisonsExceeded
    )
}

/// The class and the words for an error of webpki.
pub(super) fn rejection(error: &E) -> Rejection {
    match error {
        E::CertExpired { not_after, .. } => {
            let detail = format!("a certificate of the chain expired on {}", date(*not_after));
            Rejection::new(FailureClass::Validity, detail)
        }
        E::CertNotValidYet { not_before, .. } => {
            let detail = format!("a certificate of the chain is not valid before {}", date(*not_before));
            Rejection::new(FailureClass::Validity, detail)
        }
        budget if is_budget(budget) => {
            Rejection::new(FailureClass::Budget, "the chain needs more work to verify than is allowed")
        }
        other => match words(other) {
            Some(words) => Rejection::new(FailureClass::Chain, words),
            None => Rejection::new(FailureClass::Chain, format!("the chain does not verify: {other}")),
        },
    }
}

/// The faults that an operator meets; webpki names the others well enough for a search.
const fn words(error: &E) -> Option<&'static str> {
    Some(match error {
        E::UnknownIssuer => "the chain does not lead to a trusted root",
        // The crypto provider does not tell which of the two.
        E::InvalidSignatureForPublicKey => {
            "a signature in the chain does not fit its issuer's key, or that is an RSA key below 2048 or above 8192 bits"
        }
        E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "a certificate of the chain is signed with a key of a type that this version does not verify, or of another \
             type than its issuer's"
        }
        E::UnsupportedSignatureAlgorithmContext(_) => {
            "a certificate of the chain is signed in a way that this version does not verify"
        }
        E::CertRevoked => "a certificate of the chain is revoked",
        E::CertDistrusted => "the chain holds a key that is publicly distrusted",
        E::UnknownRevocationStatus => "no revocation list says whether a certificate of the chain is revoked",
        E::CrlExpired { .. } => "the revocation list for a certificate of the chain is out of date",
        E::CaUsedAsEndEntity => "the upstream's certificate is that of a certificate authority",
        E::EndEntityUsedAsCa => "a certificate of the chain is signed by one that is no certificate authority",
        E::PathLenConstraintViolated => "the chain is longer than one of its certificate authorities allows",
        E::NameConstraintViolation => "a certificate authority of the chain may not certify this name",
        E::RequiredEkuNotFoundContext(_) => "a certificate of the chain is not for servers",
        E::UnsupportedCertVersion => "the upstream's certificate is not of X.509 version 3",
        E::UnsupportedCriticalExtension => "a certificate of the chain has a critical extension that is not known",
        _ => return None,
    })
}

fn date(moment: UnixTime) -> String {
    let seconds = i64::try_from(moment.as_secs()).unwrap_or(i64::MAX);
    match time::OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(moment) => moment.date().to_string(),
        Err(_) => "a date beyond reckoning".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::anchors::TrustAnchors;
    use super::super::provider::provider;
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SignatureAlgorithm};
    use webpki::{EndEntityCert, KeyUsage};

    const P256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    const P192: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x01];

    /// What is said of a chain below a root whose key is said to be on another curve, or is another one.
    fn words_below(signed_with: &'static SignatureAlgorithm, root_key: &KeyPair, curve: [u8; 8]) -> String {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut der = root.self_signed(root_key).unwrap().der().to_vec();
        let at = der.windows(P256.len()).position(|window| window == P256).unwrap();
        der[at..at + P256.len()].copy_from_slice(&curve);
        let anchors = TrustAnchors::from_certificates([der.into()]).unwrap();
        let issuer = Issuer::from_params(&root, KeyPair::generate_for(signed_with).unwrap());
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["a.example".into()]).unwrap().signed_by(&key, &issuer).unwrap();
        let algorithms = provider().signature_verification_algorithms.all;
        let moment = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_795_219_200));
        let end_entity = EndEntityCert::try_from(leaf.der()).unwrap();
        let usage = KeyUsage::server_auth();
        let found = end_entity.verify_for_usage(algorithms, anchors.anchors(), &[], moment, usage, None, None);
        rejection(&found.err().unwrap()).detail
    }

    #[test]
    fn keys_that_cannot_be_verified_are_told_from_forgery() {
        let key = KeyPair::generate().unwrap();
        let p256 = &rcgen::PKCS_ECDSA_P256_SHA256;
        let other_type = "signed with a key of a type that this version does not verify, or of another";
        assert!(words_below(p256, &key, P192).contains(other_type));
        assert!(words_below(&rcgen::PKCS_ED25519, &key, P256).contains(other_type));
        assert!(words_below(p256, &key, P256).contains("does not fit its issuer's key"));
    }
}
