//! TLS with this program itself, whose certificate is at hand as a file.

use super::provider::provider;
use crate::files;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Octets of a file with certificates.
const PEM_OCTETS_MAX: usize = 1 << 20;

/// Why there is nobody to talk to.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the certificate {path}: {why}", path = .path.display())]
pub struct OwnError {
    path: PathBuf,
    why: String,
}

/// A client that talks to whoever has the key of the first certificate in this PEM file, whatever its name, dates and
/// issuer, and to nobody else.
///
/// # Errors
/// When the file cannot be used.
pub fn config_for_exactly(path: &Path) -> Result<ClientConfig, OwnError> {
    let failed = |error: &dyn ToString| OwnError { path: path.to_owned(), why: error.to_string() };
    let octets = files::read(path, PEM_OCTETS_MAX).map_err(|error| failed(&error))?;
    let certificate = CertificateDer::from_pem_slice(&octets).map_err(|error| failed(&error))?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    let verifier = Arc::new(Exactly(certificate));
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[derive(Debug)]
struct Exactly(CertificateDer<'static>);

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.0 {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
