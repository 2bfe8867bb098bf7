//! Certificate and key of the CA, judged together: what comes out of here can sign leaves that clients accept.

use std::path::Path;
use std::time::SystemTime;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_KEY_IDENTIFIER;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};
use zeroize::Zeroize;

use super::error::CaError;
use super::issue::Issuer;
use super::validity::{Validity, date_text, unix_seconds};

/// A CA whose certificate and key belong together.
pub(super) struct CaPair {
    /// All certificates of the file: the issuing CA, then its parents if they are there.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// Those of them that a server sends behind its leaf.
    pub(super) sent: Vec<CertificateDer<'static>>,
    /// The subject of the issuing CA, for readers.
    pub(super) subject: String,
    pub(super) issuer: Issuer,
}

/// Where the two halves come from, for the texts of errors.
#[derive(Clone, Copy)]
pub(super) struct PairPaths<'a> {
    pub(super) certificate: &'a Path,
    pub(super) key: &'a Path,
}

impl CaPair {
    /// Parses both PEM texts and checks all that makes a CA usable at `now`.
    pub(super) fn parse(
        paths: PairPaths<'_>,
        certificate_pem: &[u8],
        key_pem: &[u8],
        now: SystemTime,
    ) -> Result<Self, CaError> {
        let certificates = parse_certificates(paths.certificate, certificate_pem)?;
        let mut parsed = Vec::with_capacity(certificates.len());
        for (index, certificate) in certificates.iter().enumerate() {
            parsed.push(parse_certificate(paths.certificate, index + 1, certificate)?);
        }
        let key = parse_key(paths.key, key_pem)?;
        let ca = &parsed[0];
        if key.subject_public_key_info() != ca.public_key().raw {
            let (certificate, key) = (paths.certificate.to_owned(), paths.key.to_owned());
            return Err(CaError::KeyMismatch { certificate, key });
        }
        verify_order(paths.certificate, &parsed)?;
        verify_purpose(paths.certificate, ca)?;
        let validity = verify_validity(paths.certificate, ca, now)?;
        let key_identifier = key_identifier(paths.certificate, ca)?;
        let subject_der = ca.subject().as_raw().to_vec();
        // A self-issued CA is the trust anchor: clients have it, or they would not accept the leaf (RFC 8446 section
        // 4.4.2 lets it be left out).
        let sent = parsed
            .iter()
            .zip(&certificates)
            .filter(|(parsed, _)| parsed.issuer().as_raw() != parsed.subject().as_raw())
            .map(|(_, certificate)| certificate.clone())
            .collect();
        let subject = ca.subject().to_string();
        Ok(Self { sent, subject, issuer: Issuer::new(key, subject_der, key_identifier, validity), certificates })
    }
}

/// Reads the certificates of the file; there is at least one.
pub(super) fn parse_certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let refused = |reason: String| CaError::CertificatePem { path: path.to_owned(), reason };
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        // The reader quotes the line it stumbled over, which could be one of a private key put here by mistake.
        .map_err(|_| refused("a section is cut short or damaged".into()))?;
    if certificates.is_empty() {
        return Err(refused("there is no CERTIFICATE section in it".into()));
    }
    Ok(certificates)
}

fn parse_certificate<'a>(path: &Path, position: usize, der: &'a [u8]) -> Result<X509Certificate<'a>, CaError> {
    let refused = |reason: String| CaError::CertificateDer { path: path.to_owned(), position, reason };
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| refused(error.to_string()))?;
    if !rest.is_empty() {
        return Err(refused(format!("{} octets follow the certificate", rest.len())));
    }
    Ok(certificate)
}

fn parse_key(path: &Path, pem: &[u8]) -> Result<KeyPair, CaError> {
    // Not rcgen's reader, which takes the first section, whatever it is: `openssl ecparam -genkey` writes the
    // parameters of the curve first.
    let mut der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| CaError::KeyPem { path: path.to_owned() })?;
    let parsed = KeyPair::try_from(&der);
    der.zeroize();
    let unsupported = || CaError::KeyUnsupported { path: path.to_owned() };
    let mut key = parsed.map_err(|_| unsupported())?;
    // rcgen keeps the encoded key beside the parsed one; nobody here needs it.
    key.zeroize();
    // rcgen reads Ed25519 and P-521 too, but browsers and TLS stacks of systems accept no signatures of theirs.
    let supported = [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_RSA_SHA256];
    if supported.contains(&PublicKeyData::algorithm(&key)) { Ok(key) } else { Err(unsupported()) }
}

fn verify_order(path: &Path, certificates: &[X509Certificate<'_>]) -> Result<(), CaError> {
    for (index, link) in certificates.windows(2).enumerate() {
        if link[0].issuer().as_raw() != link[1].subject().as_raw() {
            return Err(CaError::ChainOrder { path: path.to_owned(), position: index + 2 });
        }
    }
    Ok(())
}

fn verify_purpose(path: &Path, ca: &X509Certificate<'_>) -> Result<(), CaError> {
    let path = || path.to_owned();
    let undecodable = |error: x509_parser::error::X509Error| CaError::CertificateDer {
        path: path(),
        position: 1,
        reason: error.to_string(),
    };
    if !ca.basic_constraints().map_err(undecodable)?.is_some_and(|constraints| constraints.value.ca) {
        return Err(CaError::NotCa { path: path() });
    }
    if !ca.key_usage().map_err(undecodable)?.is_some_and(|usage| usage.value.key_cert_sign()) {
        return Err(CaError::NoKeyCertSign { path: path() });
    }
    // Not for CAs in RFC 5280, but clients take it as a restriction of all that the CA issues.
    if ca.extended_key_usage().map_err(undecodable)?.is_some_and(|uses| !uses.value.any && !uses.value.server_auth) {
        return Err(CaError::NoServerAuth { path: path() });
    }
    Ok(())
}

fn verify_validity(path: &Path, ca: &X509Certificate<'_>, now: SystemTime) -> Result<Validity, CaError> {
    let path = path.to_owned();
    let now = unix_seconds(now);
    let validity =
        Validity { not_before: ca.validity().not_before.timestamp(), not_after: ca.validity().not_after.timestamp() };
    if now < validity.not_before {
        return Err(CaError::NotYetValid { path, not_before: date_text(validity.not_before), now: date_text(now) });
    }
    if now >= validity.not_after {
        return Err(CaError::Expired { path, not_after: date_text(validity.not_after), now: date_text(now) });
    }
    Ok(validity)
}

pub(super) fn key_identifier(path: &Path, ca: &X509Certificate<'_>) -> Result<Vec<u8>, CaError> {
    let extension = ca.get_extension_unique(&OID_X509_EXT_SUBJECT_KEY_IDENTIFIER).ok().flatten();
    match extension.map(x509_parser::prelude::X509Extension::parsed_extension) {
        Some(ParsedExtension::SubjectKeyIdentifier(identifier)) if !identifier.0.is_empty() => {
            Ok(identifier.0.to_vec())
        }
        _ => Err(CaError::NoSubjectKeyIdentifier { path: path.to_owned() }),
    }
}
