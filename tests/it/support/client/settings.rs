//! What a TLS client trusts, names and offers.

use std::sync::Arc;

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio_rustls::{TlsConnector, client::Connect};

use super::{RawClient, hello::take_hello};
use crate::support::{
    pki::{Ca, root_store},
    provider,
};

/// Which name the `ClientHello` carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sni {
    /// The name that is verified; none for an IP address.
    On,
    /// No name.
    Off,
    /// Another name than the one verified.
    Other(String),
}

/// What a client can verify in certificates that knows RSA alone.
const RSA_CERTIFICATES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256],
    mapping: &[(SignatureScheme::RSA_PKCS1_SHA256, &[webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256])],
};

/// A TLS client ready to connect, as often as one likes: clones and repeated uses share sessions and may resume them.
#[derive(Clone, Debug)]
pub(crate) struct ClientTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl ClientTls {
    /// Begins the settings of a client that verifies this name, host or IP address.
    pub(crate) fn to(name: &str) -> ClientTlsBuilder {
        ClientTlsBuilder {
            name: server_name(name),
            roots: None,
            sni: Sni::On,
            alpn: Vec::new(),
            versions: rustls::ALL_VERSIONS.to_vec(),
            rsa_only: false,
            rsa_chains: false,
            resumption: true,
        }
    }

    /// A handshake about to begin on this stream, and the `ClientHello` that is still to be sent there.
    pub(super) fn begin(&self, client: RawClient) -> (Connect<RawClient>, Vec<u8>) {
        let mut hello = Vec::new();
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let connect = connector.connect_with(self.name.clone(), client, |session| hello = take_hello(session));
        (connect, hello)
    }

    /// The `ClientHello` of a connection that goes no further.
    pub(crate) fn hello(&self) -> Vec<u8> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        take_hello(&mut session.expect("every client that can be built can begin"))
    }
}

/// The settings of a [`ClientTls`].
#[derive(Clone, Debug)]
#[must_use]
pub(crate) struct ClientTlsBuilder {
    name: ServerName<'static>,
    roots: Option<RootCertStore>,
    sni: Sni,
    alpn: Vec<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
    rsa_only: bool,
    rsa_chains: bool,
    resumption: bool,
}

impl ClientTlsBuilder {
    /// Trusts these authorities. Without this call the client takes any certificate, to look at what is presented.
    pub(crate) fn trusting<'a>(self, authorities: impl IntoIterator<Item = &'a Ca>) -> Self {
        self.roots(root_store(authorities))
    }

    /// Trusts these anchors.
    pub(crate) fn roots(mut self, roots: RootCertStore) -> Self {
        self.roots = Some(roots);
        self
    }

    /// Sends this instead of the verified name.
    pub(crate) fn sni(mut self, sni: Sni) -> Self {
        self.sni = sni;
        self
    }

    /// Offers these protocols; none leaves the extension out.
    pub(crate) fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    /// Speaks these TLS versions only.
    pub(crate) fn versions(mut self, versions: &[&'static SupportedProtocolVersion]) -> Self {
        self.versions = versions.to_vec();
        self
    }

    /// Accepts RSA as the only kind of signature in handshakes, and in TLS 1.2 only cipher suites with RSA.
    pub(crate) fn rsa_only(mut self) -> Self {
        self.rsa_only = true;
        self
    }

    /// Knows RSA alone, as a program without any code for elliptic curves' signatures: in certificates, too.
    pub(crate) fn rsa_alone(self) -> Self {
        Self { rsa_chains: true, ..self.rsa_only() }
    }

    /// Makes every handshake a full one.
    pub(crate) fn without_resumption(mut self) -> Self {
        self.resumption = false;
        self
    }

    /// Finishes the settings.
    pub(crate) fn build(self) -> ClientTls {
        let mut crypto = CryptoProvider::clone(&provider());
        if self.rsa_only {
            crypto.cipher_suites.retain(|suite| match suite {
                SupportedCipherSuite::Tls12(suite) => suite.sign.iter().copied().all(is_rsa),
                // In TLS 1.3 the suite says nothing about signatures.
                SupportedCipherSuite::Tls13(_) => true,
            });
        }
        let crypto = Arc::new(crypto);
        let mut for_chains = CryptoProvider::clone(&crypto);
        if self.rsa_chains {
            for_chains.signature_verification_algorithms = RSA_CERTIFICATES;
        }
        let chain = self.roots.map(|roots| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(for_chains))
                .build()
                .expect("a client that trusts anybody trusts somebody")
        });
        let verifier = Verifier::new(chain, self.name.clone(), self.rsa_only, &crypto);
        let mut config = ClientConfig::builder_with_provider(crypto)
            .with_protocol_versions(&self.versions)
            .expect("the provider speaks the versions asked for")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = self.alpn;
        config.enable_sni = self.sni != Sni::Off;
        if !self.resumption {
            config.resumption = Resumption::disabled();
        }
        let name = match self.sni {
            Sni::Other(other) => server_name(&other),
            Sni::On | Sni::Off => self.name,
        };
        ClientTls { config: Arc::new(config), name }
    }
}

fn server_name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).expect("a host name or an IP address")
}

fn is_rsa(scheme: SignatureScheme) -> bool {
    use SignatureScheme::{
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    };
    let rsa = [RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512];
    rsa.contains(&scheme)
}

/// Verifies as webpki does, but against the name of its own, whatever name the `ClientHello` carried; without anchors
/// it takes any certificate and still checks the handshake's signature.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    name: ServerName<'static>,
    schemes: Vec<SignatureScheme>,
    crypto: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(
        chain: Option<Arc<WebPkiServerVerifier>>,
        name: ServerName<'static>,
        rsa_only: bool,
        crypto: &Arc<CryptoProvider>,
    ) -> Self {
        let mut schemes = crypto.signature_verification_algorithms.supported_schemes();
        schemes.retain(|scheme| !rsa_only || is_rsa(*scheme));
        Self { chain, name, schemes, crypto: Arc::clone(crypto) }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name_in_hello: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.chain {
            Some(chain) => chain.verify_server_cert(end_entity, intermediates, &self.name, ocsp, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.crypto.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.crypto.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
