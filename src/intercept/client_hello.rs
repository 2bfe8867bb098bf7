//! The first flight of a client: read whole, whatever the fragments it comes in, within limits, before anything is
//! answered.

use crate::authority::KeyFamily;
use crate::policy::host::{Host, HostError};
use crate::tls::provider::provider;
use crate::tls::words::words;
use rustls::server::{Accepted, AcceptedAlert, Acceptor as RustlsAcceptor};
use rustls::{AlertDescription, CipherSuite, SignatureScheme};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// Limits on a ClientHello.
#[derive(Clone, Copy, Debug)]
pub struct HelloLimits {
    /// Bytes read until it is complete, record headers included.
    pub bytes: usize,
    /// Time from the first wait for it until it is complete.
    pub timeout: Duration,
}

/// A complete ClientHello, not answered yet.
pub struct ClientHello {
    pub(super) accepted: Accepted,
    /// Everything read so far, so that it can be relayed as it came.
    pub raw: Vec<u8>,
    /// Bytes read behind the ClientHello that rustls has not taken.
    pub(super) rest: Vec<u8>,
    /// The application protocols offered, in the client's order (RFC 7301), within [`ALPN_NAMES_MAX`] and
    /// [`ALPN_BYTES_MAX`].
    pub alpn: Vec<Vec<u8>>,
    server_name: Option<String>,
    takes_ecdsa: bool,
    only_family: Option<KeyFamily>,
    prefers_chacha: bool,
}

/// What a client sent first through a blind tunnel.
#[derive(Debug)]
pub struct Opening {
    /// Everything read, to be relayed as it came.
    pub raw: Vec<u8>,
    /// The server name, where it is a ClientHello that has one.
    pub server_name: Option<Result<Host, HostError>>,
}

/// Why there is no ClientHello.
#[derive(Debug, thiserror::Error)]
pub enum ClientHelloError {
    /// The first byte is not that of a TLS handshake record.
    #[error("the client sent something that is not TLS through the tunnel")]
    NotTls,
    /// The limit on bytes is reached.
    #[error("the client's ClientHello is longer than {0} bytes")]
    TooLong(usize),
    /// More application protocols than any client has use for; they are remembered, so they are bounded.
    #[error(
        "the client offers more than {ALPN_NAMES_MAX} application protocols, or more than {ALPN_BYTES_MAX} bytes of them"
    )]
    LongAlpn,
    /// The limit on time is reached.
    #[error("the client sent no complete ClientHello within {0:?}")]
    Timeout(Duration),
    /// The client closed the connection.
    #[error("the client closed the connection before its ClientHello was complete")]
    Closed,
    /// The bytes are no ClientHello, or one that asks for what is not offered.
    #[error("the client's ClientHello cannot be accepted: {}", words(.0))]
    Invalid(rustls::Error),
    /// The connection failed.
    #[error("the connection to the client failed: {0}")]
    Io(io::Error),
}

/// Application protocols in a ClientHello. Browsers offer two or three.
pub const ALPN_NAMES_MAX: usize = 32;
/// Bytes of their names, all together.
pub const ALPN_BYTES_MAX: usize = 512;

/// ContentType handshake (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// One read; a ClientHello with a post-quantum key share fits.
const READ_BYTES: usize = 4_096;

/// Reads a ClientHello. A client whose bytes are no acceptable ClientHello is sent the alert that TLS has for it.
pub async fn read_client_hello<S>(stream: &mut S, limits: HelloLimits) -> Result<ClientHello, ClientHelloError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut raw = Vec::new();
    let (accepted, rest) = match timeout(limits.timeout, read(stream, limits.bytes, &mut raw)).await {
        Err(_) => return Err(ClientHelloError::Timeout(limits.timeout)),
        Ok(Ok(read)) => read,
        Ok(Err((error, alert))) => {
            let mut bytes = Vec::new();
            if alert.is_some_and(|mut alert| alert.write_all(&mut bytes).is_ok()) {
                // The session has failed; whether the client hears why does not change that.
                drop(stream.write_all(&bytes).await);
            }
            return Err(error);
        }
    };
    ClientHello::new(accepted, raw, rest)
}

/// Reads what a client sends first through a blind tunnel: a ClientHello whole, of anything else the beginning.
/// Nothing is answered. What begins as TLS and does not end within the limits is an error: its server name would stay
/// unread.
pub async fn read_opening<S>(stream: &mut S, limits: HelloLimits) -> Result<Opening, ClientHelloError>
where
    S: AsyncRead + Unpin,
{
    let mut raw = Vec::new();
    let read = timeout(limits.timeout, read(stream, limits.bytes, &mut raw)).await;
    let server_name = match read {
        Ok(Ok((accepted, _))) => accepted.client_hello().server_name().map(Host::parse),
        Ok(Err((error @ ClientHelloError::TooLong(_), _))) => return Err(error),
        Err(_) if !raw.is_empty() => return Err(ClientHelloError::Timeout(limits.timeout)),
        // Not TLS, or not TLS as we speak it: what a tunnel is for.
        Ok(Err(_)) | Err(_) => None,
    };
    Ok(Opening { raw, server_name })
}

/// Reads into `raw` until rustls has a ClientHello; returns it with the bytes behind it that rustls has not taken.
async fn read<S>(
    stream: &mut S,
    bytes_max: usize,
    raw: &mut Vec<u8>,
) -> Result<(Accepted, Vec<u8>), (ClientHelloError, Option<AcceptedAlert>)>
where
    S: AsyncRead + Unpin,
{
    let plain = |error| (error, None);
    let mut acceptor = RustlsAcceptor::default();
    loop {
        let from = raw.len();
        if from >= bytes_max {
            return Err(plain(ClientHelloError::TooLong(bytes_max)));
        }
        let room = READ_BYTES.min(bytes_max - from);
        raw.reserve(room);
        let read = (&mut *stream).take(room as u64).read_buf(raw).await;
        if read.map_err(|error| plain(ClientHelloError::Io(error)))? == 0 {
            return Err(plain(ClientHelloError::Closed));
        }
        if raw.first() != Some(&HANDSHAKE_RECORD) {
            return Err(plain(ClientHelloError::NotTls));
        }
        let mut fresh = &raw[from..];
        while !fresh.is_empty() {
            acceptor.read_tls(&mut fresh).map_err(|error| plain(ClientHelloError::Io(error)))?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => return Ok((accepted, fresh.to_vec())),
                Err((error, alert)) => return Err((ClientHelloError::Invalid(error), Some(alert))),
            }
        }
    }
}

impl ClientHello {
    fn new(accepted: Accepted, raw: Vec<u8>, rest: Vec<u8>) -> Result<Self, ClientHelloError> {
        let hello = accepted.client_hello();
        let mut alpn = Vec::new();
        let mut alpn_bytes = 0;
        for name in hello.alpn().into_iter().flatten() {
            alpn_bytes += name.len();
            if alpn.len() == ALPN_NAMES_MAX || alpn_bytes > ALPN_BYTES_MAX {
                return Err(ClientHelloError::LongAlpn);
            }
            alpn.push(name.to_vec());
        }
        let server_name = hello.server_name().map(str::to_owned);
        let takes_ecdsa = hello.signature_schemes().contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
            && hello.cipher_suites().iter().any(|suite| is_for_ecdsa(*suite));
        let only_family = only_family(hello.signature_schemes());
        let prefers_chacha =
            hello.cipher_suites().iter().find(|suite| is_ours(**suite)).is_some_and(|suite| is_chacha(*suite));
        Ok(Self { accepted, raw, rest, alpn, server_name, takes_ecdsa, only_family, prefers_chacha })
    }

    /// The host that the client asks for by SNI (RFC 6066 section 3), canonical; `None` when it sent none.
    ///
    /// # Errors
    /// [`HostError`] for a name without canonical form.
    pub fn server_name(&self) -> Result<Option<Host>, HostError> {
        self.server_name.as_deref().map(Host::parse).transpose()
    }

    /// Whether a leaf with a P-256 key is of use to the client.
    pub const fn takes_ecdsa(&self) -> bool {
        self.takes_ecdsa
    }

    /// The one of both families of signatures that the client offers to verify; `None` when it offers both or neither. This
    /// is its `signature_algorithms`: rustls does not show `signature_algorithms_cert` (RFC 8446 section 4.2.3), in which a
    /// client may take more for certificates than for handshakes, so it says what can be wrong, not what is.
    pub const fn only_family(&self) -> Option<KeyFamily> {
        self.only_family
    }

    /// Whether its first choice is ChaCha20, which says that it has no hardware for AES.
    pub const fn prefers_chacha(&self) -> bool {
        self.prefers_chacha
    }
}

fn only_family(schemes: &[SignatureScheme]) -> Option<KeyFamily> {
    let offers = |family| schemes.iter().any(|scheme| family_of(*scheme) == Some(family));
    match (offers(KeyFamily::Ecdsa), offers(KeyFamily::Rsa)) {
        (true, false) => Some(KeyFamily::Ecdsa),
        (false, true) => Some(KeyFamily::Rsa),
        (true, true) | (false, false) => None,
    }
}

const fn family_of(scheme: SignatureScheme) -> Option<KeyFamily> {
    use SignatureScheme as S;
    match scheme {
        S::ECDSA_SHA1_Legacy | S::ECDSA_NISTP256_SHA256 | S::ECDSA_NISTP384_SHA384 | S::ECDSA_NISTP521_SHA512 => {
            Some(KeyFamily::Ecdsa)
        }
        S::RSA_PKCS1_SHA1
        | S::RSA_PKCS1_SHA256
        | S::RSA_PKCS1_SHA384
        | S::RSA_PKCS1_SHA512
        | S::RSA_PSS_SHA256
        | S::RSA_PSS_SHA384
        | S::RSA_PSS_SHA512 => Some(KeyFamily::Rsa),
        _ => None,
    }
}

fn is_ours(suite: CipherSuite) -> bool {
    provider().cipher_suites.iter().any(|own| own.suite() == suite)
}

const fn is_chacha(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

/// Whether a suite that we support can go with an ECDSA leaf: all of TLS 1.3, and those of TLS 1.2 that say so.
fn is_for_ecdsa(suite: CipherSuite) -> bool {
    provider().cipher_suites.iter().find(|own| own.suite() == suite).is_some_and(|own| match own {
        rustls::SupportedCipherSuite::Tls13(_) => true,
        rustls::SupportedCipherSuite::Tls12(own) => own.sign.contains(&SignatureScheme::ECDSA_NISTP256_SHA256),
    })
}

/// Ends a connection whose ClientHello was read but not answered, with an alert. At this point nothing is encrypted,
/// so the alert is a record of its own (RFC 8446 section 6).
pub async fn refuse<S: AsyncWrite + Unpin>(stream: &mut S, alert: AlertDescription) {
    const ALERT_RECORD: u8 = 21;
    const FATAL: u8 = 2;
    let record = [ALERT_RECORD, 3, 3, 0, 2, FATAL, u8::from(alert)];
    // The session has failed; whether the client hears why does not change that.
    drop(stream.write_all(&record).await);
    drop(stream.shutdown().await);
}

impl std::fmt::Debug for ClientHello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("ClientHello");
        shown.field("server_name", &self.server_name).field("alpn", &self.alpn).finish_non_exhaustive()
    }
}
