//! A verifier that looks at a chain once, for the relay that spares what can be spared.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Names and their certificates that were verified once, for as long as the program runs: a limit, no design.
#[derive(Debug)]
pub(super) struct Known {
    webpki: Arc<WebPkiServerVerifier>,
    seen: Mutex<HashSet<(ServerName<'static>, Vec<CertificateDer<'static>>)>>,
}

impl Known {
    pub(super) fn new(webpki: Arc<WebPkiServerVerifier>) -> Self {
        Self { webpki, seen: Mutex::default() }
    }
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let served = std::iter::once(leaf).chain(intermediates).map(|certificate| certificate.clone().into_owned());
        let question = (name.to_owned(), served.collect());
        if self.seen.lock().unwrap_or_else(PoisonError::into_inner).contains(&question) {
            return Ok(ServerCertVerified::assertion());
        }
        let verified = self.webpki.verify_server_cert(leaf, intermediates, name, ocsp, now)?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(question);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
