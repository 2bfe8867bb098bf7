//! What is wrong with the TLS of a peer, in words that say what to look at. The names that the library has for it are known
//! to those who know the library; they stand in the log at level debug.

use crate::policy::pin::{RSA_BITS_VERIFIED, rsa_bits};
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error, PeerIncompatible};
use x509_parser::public_key::PublicKey;

/// What a peer does, "it" being the peer.
pub fn words(error: &Error) -> String {
    let words = match error {
        Error::PeerIncompatible(why) => incompatible(why),
        Error::PeerMisbehaved(_) => "it does not keep to the rules of TLS",
        Error::InvalidMessage(_) => "it sent a message that cannot be read",
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "it sent another message than the one that is due"
        }
        Error::InvalidCertificate(CertificateError::BadSignature) => "its signature does not fit the key",
        Error::InvalidCertificate(_) => "it signs with a type of key, or in a way, that this version does not verify",
        Error::InvalidEncryptedClientHello(_) => "its encrypted ClientHello cannot be used",
        Error::NoCertificatesPresented => "it sent no certificate",
        Error::DecryptError => "it sent a message that cannot be decrypted",
        Error::PeerSentOversizedRecord => "it sent a record that is longer than records may be",
        Error::NoApplicationProtocol => "it speaks none of the application protocols of the other side (ALPN)",
        Error::AlertReceived(alert) => return format!("it sent the alert {alert:?}"),
        // What is left is about us, and has words of its own.
        other => return other.to_string(),
    };
    words.to_owned()
}

/// What is wrong with the certificate of a peer that is verified as any client does it, "it" being the peer.
pub const fn certificate_words(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => "no trust anchor has issued its certificate",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name"
        }
        CertificateError::Revoked => "its certificate is revoked",
        CertificateError::BadSignature => "a signature of its chain does not fit",
        _ => "its certificate cannot be accepted",
    }
}

/// What a peer lacks, or has too much of.
const fn incompatible(why: &PeerIncompatible) -> &'static str {
    use PeerIncompatible as P;
    match why {
        // TLS 1.2 brought the extension; who lacks it speaks, almost always, an older version only.
        P::SignatureAlgorithmsExtensionRequired => {
            "it says nothing of the signatures that it verifies, so it seems to speak TLS 1.1 or older only"
        }
        P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled
        | P::SupportedVersionsExtensionRequired
        | P::ServerDoesNotSupportTls12Or13
        | P::ServerTlsVersionIsDisabledByOurConfig => "it offers neither TLS 1.2 nor 1.3",
        P::NoCipherSuitesInCommon => "it offers no cipher suite that is safe and goes with the certificate",
        P::NoSignatureSchemesInCommon | P::NoCertificateRequestSignatureSchemesInCommon => {
            "it verifies no signature that the key of the certificate can make"
        }
        P::NoKxGroupsInCommon | P::NamedGroupsExtensionRequired | P::KeyShareExtensionRequired => {
            "it offers no way of exchanging keys that this version has"
        }
        P::EcPointsExtensionRequired | P::NoEcPointFormatsInCommon | P::UncompressedEcPointsRequired => {
            "it does not take points of elliptic curves as they are sent"
        }
        P::ExtendedMasterSecretExtensionRequired => "it lacks the extended master secret (RFC 7627)",
        P::NullCompressionRequired => "it insists on compression",
        _ => "it lacks something that TLS 1.2 and 1.3 need here, or insists on something that is not spoken",
    }
}

/// The length in bits of the RSA key in a certificate, where signatures with a key of that length are not verified.
pub fn rsa_bits_out_of_bounds(certificate: &CertificateDer<'_>) -> Option<usize> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    match certificate.public_key().parsed().ok()? {
        PublicKey::RSA(key) => Some(rsa_bits(key.modulus)).filter(|bits| !RSA_BITS_VERIFIED.contains(bits)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, InvalidMessage, PeerMisbehaved};

    /// The names in the library are of the form `NoSuchThing`.
    #[test]
    fn no_name_of_the_library_is_told() {
        let table = [
            Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon),
            Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic),
            Error::PeerMisbehaved(PeerMisbehaved::TooMuchEarlyDataReceived),
            Error::InvalidMessage(InvalidMessage::MissingKeyExchange),
            Error::InvalidCertificate(CertificateError::BadSignature),
            Error::InvalidCertificate(CertificateError::BadEncoding),
            Error::HandshakeNotComplete,
            Error::DecryptError,
        ];
        for error in table {
            let told = words(&error);
            let is_a_name =
                |word: &str| word.chars().skip(1).any(char::is_uppercase) && word.chars().any(char::is_lowercase);
            let names: Vec<_> = told.split(|c: char| !c.is_alphanumeric()).filter(|word| is_a_name(word)).collect();
            assert!(names.is_empty(), "{error:?}: {told}");
        }
        assert_eq!(words(&Error::AlertReceived(AlertDescription::UnknownCA)), "it sent the alert UnknownCA");
    }
}
