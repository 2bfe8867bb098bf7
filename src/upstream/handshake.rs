//! The TLS handshake with an upstream, ended by what verification found.

use super::wire::Wire;
use crate::policy::decision::Permit;
use crate::policy::moment::Circumstances;
use crate::policy::pin::RSA_BITS_VERIFIED;
use crate::tls::chain::Attempt;
use crate::tls::client::{SessionVerifier, turned_down};
use crate::tls::name::server_name;
use crate::tls::verify::Question;
use crate::tls::words::{rsa_bits_out_of_bounds, words};
use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, ClientConfig, HandshakeKind, ProtocolVersion};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A TLS connection to an upstream, with what its verification found. The stream comes out against a permit only.
#[derive(Debug)]
pub struct Upstream {
    stream: Box<TlsStream<Wire>>,
    /// The protocol the upstream chose of those offered; `None` when it chose none.
    pub alpn: Option<Vec<u8>>,
    /// The TLS version.
    pub version: Option<ProtocolVersion>,
    /// Whether the session was resumed from a ticket.
    pub resumed: bool,
}

/// Why a handshake failed without a word about certificates.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The upstream shares none of the application protocols offered (RFC 7301 section 3.2).
    #[error("the upstream speaks none of the application protocols offered (ALPN)")]
    NoApplicationProtocol,
    /// The upstream ended the handshake with an alert.
    #[error("the upstream ended the TLS handshake with the alert {0:?}")]
    Alert(AlertDescription),
    /// The upstream closed the connection.
    #[error("the upstream closed the connection during the TLS handshake")]
    Closed,
    /// The upstream did not prove that it has the key of its certificate.
    #[error("the upstream did not prove that it has the key of its certificate: {}", words(.0))]
    Key(rustls::Error),
    /// Whether the upstream has the key of its certificate cannot be known: signatures with it are not verified.
    #[error(
        "the upstream's certificate has an RSA key of {bits} bits, and signatures are verified with keys of {} to {} bits \
         only",
        RSA_BITS_VERIFIED.start(), RSA_BITS_VERIFIED.end()
    )]
    KeySize {
        /// The length of the key.
        bits: usize,
    },
    /// The upstream does not speak TLS, or not the versions and suites that are safe.
    #[error("the upstream does not speak TLS 1.2 or 1.3 as it should: {}", words(.0))]
    Protocol(rustls::Error),
    /// The connection failed.
    #[error("the connection to the upstream failed during the TLS handshake: {0}")]
    Io(io::Error),
    /// The handshake took longer than the limit.
    #[error("the TLS handshake with the upstream took longer than {0:?}")]
    Timeout(Duration),
    /// The host is a name that DNS knows and certificates do not.
    #[error("the host cannot be named in a TLS handshake")]
    Name,
}

/// What a handshake came to: the connection when the chain was accepted, and in either case what verification found.
#[derive(Debug)]
pub struct Handshake {
    /// The connection; `None` when the chain was turned down.
    pub upstream: Option<Upstream>,
    /// What verification found.
    pub attempt: Attempt,
}

/// Shakes hands on a fresh connection with a verifier that asks this question under these circumstances.
///
/// # Errors
/// [`HandshakeError`] for everything that is not about certificates.
pub async fn handshake(
    stream: Wire,
    config: Arc<ClientConfig>,
    verifier: &SessionVerifier,
    question: &Question,
    circumstances: &Circumstances,
    limit: Duration,
) -> Result<Handshake, HandshakeError> {
    let name = server_name(question.upstream_name(circumstances)).map_err(|_| HandshakeError::Name)?;
    let connecting = TlsConnector::from(config).connect(name, stream);
    let stream = match timeout(limit, connecting).await {
        Err(_) => return Err(HandshakeError::Timeout(limit)),
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let attempt = failed(error, verifier)?;
            return Ok(Handshake { upstream: None, attempt });
        }
    };
    let (_, connection) = stream.get_ref();
    // rustls asks the verifier in a full handshake only. A resumed one is judged anew by the chain of its ticket.
    let attempt = verifier.take().unwrap_or_else(|| {
        let (end_entity, others) = connection
            .peer_certificates()
            .and_then(<[_]>::split_first)
            .map_or((CertificateDer::from_slice(&[]), [].as_slice()), |(first, rest)| (first.clone(), rest));
        question.verify(&end_entity, others, circumstances)
    });
    let alpn = connection.alpn_protocol().map(<[u8]>::to_vec);
    let version = connection.protocol_version();
    let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
    let upstream = attempt.result.is_ok().then_some(Upstream { stream: Box::new(stream), alpn, version, resumed });
    Ok(Handshake { upstream, attempt })
}

/// What verification found, if the handshake failed over it.
fn failed(error: io::Error, verifier: &SessionVerifier) -> Result<Attempt, HandshakeError> {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return Err(match error.kind() {
            io::ErrorKind::UnexpectedEof => HandshakeError::Closed,
            _ => HandshakeError::Io(error),
        });
    };
    if let Some(attempt) = turned_down(tls) {
        return Ok(attempt.clone());
    }
    tracing::debug!(?tls, "the TLS handshake with an upstream failed");
    Err(match tls {
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => HandshakeError::NoApplicationProtocol,
        rustls::Error::AlertReceived(alert) => HandshakeError::Alert(*alert),
        bad @ rustls::Error::InvalidCertificate(_) => {
            let served = verifier.take().map(|attempt| attempt.served).unwrap_or_default();
            let bits = served.first().and_then(rsa_bits_out_of_bounds);
            bits.map_or_else(|| HandshakeError::Key(bad.clone()), |bits| HandshakeError::KeySize { bits })
        }
        other => HandshakeError::Protocol(other.clone()),
    })
}

impl Upstream {
    /// The stream, for relaying.
    #[must_use]
    pub fn into_stream(self, _permit: &Permit) -> Box<TlsStream<Wire>> {
        self.stream
    }
}
