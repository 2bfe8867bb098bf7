//! The TLS side of the client: handshakes and what they end in, streams and how they end.

use std::{error::Error, fmt, io};

use rustls::{AlertDescription, HandshakeKind, ProtocolVersion, pki_types::CertificateDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::client::{Connect, TlsStream};

use super::{Fault, RawClient, Reply, http, step};
use crate::support::within_deadline;

/// Why there is no TLS connection.
#[derive(Debug)]
pub(crate) enum TlsFailure {
    /// The peer sent this alert.
    Alert(AlertDescription),
    /// This client refused what the peer sent, e.g. its certificate.
    Refused(rustls::Error),
    /// The TCP stream ended in the middle of the handshake.
    Eof,
    /// The system's error or the deadline.
    Fault(Fault),
}

impl TlsFailure {
    /// The alert that the peer sent, if that was it.
    pub(crate) fn alert(&self) -> Option<AlertDescription> {
        if let Self::Alert(alert) = self { Some(*alert) } else { None }
    }
}

impl From<Fault> for TlsFailure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for TlsFailure {
    fn from(error: io::Error) -> Self {
        match tls_error(&error) {
            Some(rustls::Error::AlertReceived(alert)) => Self::Alert(*alert),
            Some(refusal) => Self::Refused(refusal.clone()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Eof,
            None => Self::Fault(Fault::Io { during: "shake hands", error }),
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(alert) => write!(out, "the peer sent the alert {alert:?}"),
            Self::Refused(error) => write!(out, "refused: {error}"),
            Self::Eof => out.write_str("end of file in the handshake"),
            Self::Fault(fault) => fault.fmt(out),
        }
    }
}

impl Error for TlsFailure {}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// How the peer's direction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With `close_notify`.
    Clean,
    /// The TCP stream ended without `close_notify`.
    Truncated,
    /// With this alert.
    Alert(AlertDescription),
    /// With this error, e.g. a reset.
    Failed(String),
}

/// Finishes a handshake within the deadline.
pub(super) async fn finish(connect: Connect<RawClient>) -> Result<TlsClient, TlsFailure> {
    match within_deadline(connect).await {
        Some(result) => Ok(TlsClient { stream: result?, ahead: Vec::new() }),
        None => Err(Fault::Timeout { during: "shake hands" }.into()),
    }
}

/// A TLS connection. Dropping it ends the TCP stream without `close_notify`, and with a reset if something had arrived
/// and was never read, such as a session ticket; [`TlsClient::truncate`] ends it the same way every time.
#[derive(Debug)]
pub(crate) struct TlsClient {
    stream: TlsStream<RawClient>,
    /// Bytes received after those that a step has consumed.
    ahead: Vec<u8>,
}

impl TlsClient {
    /// The protocol chosen.
    pub(crate) fn alpn(&self) -> Option<String> {
        let chosen = self.stream.get_ref().1.alpn_protocol();
        chosen.map(|protocol| String::from_utf8_lossy(protocol).into_owned())
    }

    /// The TLS version; present after every handshake.
    pub(crate) fn version(&self) -> Option<ProtocolVersion> {
        self.stream.get_ref().1.protocol_version()
    }

    /// What the peer presented, leaf first; after a resumption what it presented originally.
    pub(crate) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.stream.get_ref().1.peer_certificates().unwrap_or_default()
    }

    /// Full or resumed; present after every handshake.
    pub(crate) fn handshake(&self) -> Option<HandshakeKind> {
        self.stream.get_ref().1.handshake_kind()
    }

    /// Whether the handshake resumed an earlier session.
    pub(crate) fn resumed(&self) -> bool {
        self.handshake() == Some(HandshakeKind::Resumed)
    }

    /// Sends these bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let work = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        step("send", work).await
    }

    /// Reads the head and the body of one HTTP reply and keeps what follows.
    pub(crate) async fn read_reply(&mut self) -> Result<Reply, Fault> {
        http::read_reply(&mut self.stream, &mut self.ahead).await
    }

    /// Sends an HTTP/1.1 GET for this path and reads the reply.
    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Result<Reply, Fault> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
        self.read_reply().await
    }

    /// Reads exactly `length` bytes; a clean close before that is [`Fault::Eof`], a truncation [`Fault::Io`].
    pub(crate) async fn read_exact(&mut self, length: usize) -> Result<Vec<u8>, Fault> {
        while self.ahead.len() < length {
            if step("read", self.stream.read_buf(&mut self.ahead)).await? == 0 {
                return Err(Fault::Eof { got: std::mem::take(&mut self.ahead) });
            }
        }
        let rest = self.ahead.split_off(length);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    /// Reads until the peer's direction ends, and tells how it did. The deadline is for the whole of it.
    pub(crate) async fn read_to_end(&mut self) -> Result<(Vec<u8>, Ending), Fault> {
        let mut bytes = std::mem::take(&mut self.ahead);
        let Some(result) = within_deadline(self.stream.read_to_end(&mut bytes)).await else {
            return Err(Fault::Timeout { during: "read to end" });
        };
        let ending = match result {
            Ok(_) => Ending::Clean,
            Err(error) => match tls_error(&error) {
                Some(rustls::Error::AlertReceived(alert)) => Ending::Alert(*alert),
                None if error.kind() == io::ErrorKind::UnexpectedEof => Ending::Truncated,
                _ => Ending::Failed(error.to_string()),
            },
        };
        Ok((bytes, ending))
    }

    /// Sends these bytes and reads exactly `length` bytes, both at once, so that neither waits for the other.
    pub(crate) async fn exchange(&mut self, bytes: &[u8], length: usize) -> Result<Vec<u8>, Fault> {
        let mut received = vec![0; length];
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        let send = async {
            writer.write_all(bytes).await?;
            writer.flush().await
        };
        let both = async { tokio::try_join!(send, reader.read_exact(&mut received)).map(drop) };
        step("exchange", both).await?;
        Ok(received)
    }

    /// Ends the sending direction with `close_notify`; reading goes on.
    pub(crate) async fn shutdown(&mut self) -> Result<(), Fault> {
        step("shut down", self.stream.shutdown()).await
    }

    /// Ends the sending direction of the TCP stream without `close_notify`; reading goes on.
    pub(crate) async fn truncate(&mut self) -> Result<(), Fault> {
        self.stream.get_mut().0.shutdown().await
    }

    /// Sends a fatal alert, as a client does that finds fault after its handshake: here with a record that nobody can
    /// decrypt (`bad_record_mac`), since rustls has no way to send an alert of one's choice.
    pub(crate) async fn fatal_alert(&mut self) -> Result<(), Fault> {
        let (tcp, session) = self.stream.get_mut();
        let mut garbage: &[u8] = &[&[23, 3, 3, 0, 32][..], &[0; 32]].concat();
        session.read_tls(&mut garbage).expect("a slice gives its bytes");
        session.process_new_packets().expect_err("nobody can decrypt this");
        let mut bytes = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut bytes).expect("a Vec takes every write");
        }
        tcp.send(&bytes).await
    }

    /// Ends the TCP connection with a reset.
    pub(crate) fn reset(self) -> Result<(), Fault> {
        self.stream.into_inner().0.reset()
    }
}
