//! TLS client configurations whose verifier is the rule of one session.

use super::chain::Attempt;
use super::identity::Identity;
use super::memory::ChainMemory;
use super::provider::provider;
use super::verify::Question;
use crate::policy::moment::Circumstances;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// Tickets kept for one client, rule and host when upstream resumption is on. TLS 1.3 tickets are used once.
const TICKETS_PER_CONFIG: usize = 4;

/// The verifier of one session: asks its [`Question`] of whatever the upstream presents.
#[derive(Debug)]
pub struct SessionVerifier {
    shared: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Absent once a verifier for one handshake has been used: a TLS 1.3 connection keeps its verifier for as long as it
    /// lives, and that is to keep no policy, anchors or memory of a generation that was replaced.
    asked: Option<Asked>,
    /// Those of the session; of the latest one, where several share the verifier for resumption.
    circumstances: Circumstances,
    /// Boxed, since the connection keeps the place of it.
    found: Option<Box<Attempt>>,
}

#[derive(Clone, Debug)]
struct Asked {
    question: Arc<Question>,
    memory: Option<Arc<ChainMemory>>,
}

impl Asked {
    fn verify(&self, first: &CertificateDer<'_>, rest: &[CertificateDer<'_>], under: &Circumstances) -> Attempt {
        match &self.memory {
            Some(memory) => memory.verify(&self.question, first, rest, under),
            None => self.question.verify(first, rest, under),
        }
    }
}

/// A refusal on its way through rustls, so that the handshake's error carries its cause.
#[derive(Debug)]
struct TurnedDown(Attempt);

impl fmt::Display for TurnedDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.result.as_ref().err().map_or("accepted", |rejection| rejection.detail.as_str()))
    }
}

impl std::error::Error for TurnedDown {}

impl SessionVerifier {
    /// A verifier for one handshake.
    pub const fn once(question: Arc<Question>, circumstances: Circumstances) -> Self {
        Self::new(Asked { question, memory: None }, circumstances, false)
    }

    /// A verifier for one handshake, with a memory of chains.
    pub const fn remembering(question: Arc<Question>, circumstances: Circumstances, memory: Arc<ChainMemory>) -> Self {
        Self::new(Asked { question, memory: Some(memory) }, circumstances, false)
    }

    /// A verifier for every handshake that may resume one another.
    pub const fn shared(question: Arc<Question>, circumstances: Circumstances) -> Self {
        Self::new(Asked { question, memory: None }, circumstances, true)
    }

    const fn new(asked: Asked, circumstances: Circumstances, shared: bool) -> Self {
        Self { shared, state: Mutex::new(State { asked: Some(asked), circumstances, found: None }) }
    }

    /// Tells a shared verifier of the session that uses it next.
    pub fn used_under(&self, circumstances: Circumstances) {
        self.state().circumstances = circumstances;
    }

    /// What the handshake found; a verifier for one handshake is of no use from then on. `None` where rustls did not ask,
    /// which is how it resumes a session, and for a shared verifier: then the chain of the connection has to be verified
    /// again.
    pub fn take(&self) -> Option<Attempt> {
        let mut state = self.state();
        if !self.shared {
            state.asked = None;
        }
        state.found.take().map(|found| *found)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What verification found, out of the error a handshake ended with. `None` for an error that is not about
/// certificates.
pub fn turned_down(error: &rustls::Error) -> Option<&Attempt> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
            cause.downcast_ref::<TurnedDown>().map(|turned_down| &turned_down.0)
        }
        _ => None,
    }
}

impl ServerCertVerifier for SessionVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (asked, circumstances) = {
            let state = self.state();
            (state.asked.clone(), state.circumstances)
        };
        // No known way leads here a second time; it fails closed.
        let asked = asked.ok_or_else(|| rustls::Error::General("the verifier of another handshake".to_owned()))?;
        let attempt = asked.verify(end_entity, intermediates, &circumstances);
        if attempt.result.is_err() {
            let cause = OtherError(Arc::new(TurnedDown(attempt)));
            return Err(rustls::Error::InvalidCertificate(CertificateError::Other(cause)));
        }
        if !self.shared {
            self.state().found = Some(Box::new(attempt));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        match version_1_key(certificate) {
            Some(key) => verify_with_key(message, &key, signature),
            None => rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        match version_1_key(certificate) {
            Some(key) => rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, signature, algorithms),
            None => rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The key of an X.509 version 1 certificate, which webpki does not parse. Such a certificate gets here only as a
/// pin-only end entity: no chain is ever built on one.
fn version_1_key(certificate: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    match webpki::EndEntityCert::try_from(certificate) {
        Err(webpki::Error::UnsupportedCertVersion) => {
            let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
            Some(SubjectPublicKeyInfoDer::from(parsed.public_key().raw.to_vec()))
        }
        _ => None,
    }
}

/// The signature of a TLS 1.2 handshake checked with a bare key; rustls offers this for TLS 1.3 only.
fn verify_with_key(
    message: &[u8],
    key: &SubjectPublicKeyInfoDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let bad = || rustls::Error::InvalidCertificate(CertificateError::BadSignature);
    let entity = webpki::RawPublicKeyEntity::try_from(key).map_err(|_| bad())?;
    let mapping = provider().signature_verification_algorithms.mapping;
    let algorithms = mapping.iter().find(|(scheme, _)| *scheme == signature.scheme).map(|(_, algorithms)| *algorithms);
    let mut candidates = algorithms.unwrap_or_default().iter();
    if candidates.any(|algorithm| entity.verify_signature(*algorithm, message, signature.signature()).is_ok()) {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(bad())
    }
}

/// A configuration for one handshake: no tickets are kept, so the verifier is asked every time. The identity is shown if the
/// upstream asks for one.
pub fn config(verifier: &Arc<SessionVerifier>, alpn: &[Vec<u8>], identity: Option<&Identity>) -> Arc<ClientConfig> {
    let mut config = template().clone();
    if let Some(identity) = identity {
        config.client_auth_cert_resolver = identity.resolver();
    }
    config.alpn_protocols = alpn.to_vec();
    config.dangerous().set_certificate_verifier(Arc::clone(verifier) as Arc<dyn ServerCertVerifier>);
    Arc::new(config)
}

/// A configuration whose handshakes may resume one another. rustls resumes only where the verifier is the same `Arc`,
/// so a new generation or another rule, which have verifiers of their own, never see these tickets; nor does another
/// identity.
pub fn resuming_config(
    verifier: &Arc<SessionVerifier>,
    alpn: &[Vec<u8>],
    identity: Option<&Identity>,
) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&config(verifier, alpn, identity));
    config.resumption = Resumption::in_memory_sessions(TICKETS_PER_CONFIG);
    Arc::new(config)
}

fn template() -> &'static ClientConfig {
    static TEMPLATE: LazyLock<ClientConfig> = LazyLock::new(|| {
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()));
        let builder = builder.with_protocol_versions(rustls::ALL_VERSIONS).unwrap_or_else(|error| {
            // The provider is compiled in; a test builds this very configuration.
            unreachable!("the provider has suites for TLS 1.2 and 1.3: {error}")
        });
        let mut config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        config.resumption = Resumption::disabled();
        config
    });
    &TEMPLATE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::host::Authority;
    use crate::policy::rules::{Policy, Unpinned};
    use crate::tls::anchors::TrustAnchors;
    use crate::tls::revocation::Revocation;
    use rustls::server::Acceptor;
    use rustls::{CipherSuite, ClientConnection, NamedGroup};
    use std::collections::HashMap;
    use std::time::SystemTime;

    fn question() -> Question {
        let policy = Arc::new(Policy::new(1, Vec::new(), Unpinned::Intercept, HashMap::new()).unwrap());
        let target = Authority::parse("bank.example:443").unwrap();
        let rule = Arc::clone(policy.select(&target, SystemTime::now()));
        Question {
            anchors: Arc::new(TrustAnchors::from_certificates([]).unwrap()),
            revocation: Arc::new(Revocation::off()),
            policy,
            rule,
            host: target.host,
        }
    }

    fn here() -> Circumstances {
        Circumstances::new(SystemTime::now(), std::net::Ipv4Addr::LOCALHOST.into())
    }

    /// What a connection keeps of it must be neither a key to another handshake nor a policy.
    #[test]
    fn a_used_verifier_verifies_nothing_and_keeps_nothing() {
        let question = Arc::new(question());
        let kept = Arc::downgrade(&question);
        let verifier = SessionVerifier::remembering(question, here(), Arc::default());
        let none = CertificateDer::from_slice(&[]);
        let name = ServerName::try_from("bank.example").unwrap();
        let verify = || verifier.verify_server_cert(&none, &[], &name, &[], UnixTime::now());
        assert!(turned_down(&verify().unwrap_err()).is_some(), "it is asked, and turns that down");
        assert!(kept.upgrade().is_some());
        assert!(verifier.take().is_none(), "nothing was accepted");
        assert!(kept.upgrade().is_none());
        let error = verify().unwrap_err();
        assert!(turned_down(&error).is_none() && matches!(error, rustls::Error::General(_)), "{error}");
    }

    #[test]
    fn what_is_offered_to_upstreams() {
        let question = Arc::new(question());
        let name = crate::tls::name::server_name(&question.host).unwrap();
        let verifier = Arc::new(SessionVerifier::once(question, here()));
        let offer = [b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut connection = ClientConnection::new(config(&verifier, &offer, None), name).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut bytes.as_slice()).unwrap();
        let accepted = acceptor.accept().unwrap().unwrap();
        let hello = accepted.client_hello();
        assert_eq!(hello.server_name(), Some("bank.example"));
        assert_eq!(hello.alpn().unwrap().collect::<Vec<_>>(), [b"h2".as_slice(), b"http/1.1"]);
        assert_eq!(hello.named_groups().unwrap().first(), Some(&NamedGroup::X25519MLKEM768));
        assert_eq!(hello.cipher_suites().first(), Some(&CipherSuite::TLS13_AES_128_GCM_SHA256));
        assert!(hello.cipher_suites().contains(&CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), "TLS 1.2 too");
        let weak = |suite: &CipherSuite| {
            let name = format!("{suite:?}");
            ["CBC", "RC4", "3DES", "NULL", "EXPORT", "_RSA_WITH_AES_128_GCM_SHA256"]
                .iter()
                .any(|w| name.contains(w) && !name.contains("ECDHE_RSA"))
        };
        assert!(!hello.cipher_suites().iter().any(weak), "{:?}", hello.cipher_suites());
    }
}
