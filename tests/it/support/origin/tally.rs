//! What an origin has seen, readable at any time and awaitable.

use std::io;

use rustls::{AlertDescription, HandshakeKind, ProtocolVersion};
use tokio::sync::watch;

/// How many decrypted bytes of one connection are kept.
const KEPT: usize = 1024 * 1024;

/// Everything an origin has seen, one entry per TCP connection in the order of arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: Vec<Connection>,
}

/// One TCP connection as the origin saw it.
#[derive(Clone, Default)]
pub(crate) struct Connection {
    /// The host name in the `ClientHello`; `None` before it arrived or when it named none.
    pub(crate) sni: Option<String>,
    /// The peer's ALPN offer in its order; `None` when it made none.
    pub(crate) alpn_offered: Option<Vec<Vec<u8>>>,
    /// The protocol chosen.
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) version: Option<ProtocolVersion>,
    /// Full or resumed; present once the handshake has finished.
    pub(crate) handshake: Option<HandshakeKind>,
    /// How many decrypted bytes the peer has sent.
    pub(crate) received: u64,
    /// The first of those bytes, up to 1 MiB.
    pub(crate) data: Vec<u8>,
    /// How it ended; `None` while it is open.
    pub(crate) end: Option<End>,
}

/// How a connection ended, from the origin's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer sent `close_notify`.
    PeerClosed,
    /// The peer's TCP stream ended without `close_notify`.
    PeerTruncated,
    /// The TLS handshake did not finish.
    HandshakeFailed(Failure),
    /// Reading or writing failed after the handshake: an alert, a reset.
    Failed(Failure),
    /// The peer's TCP stream ended at an origin that speaks no TLS.
    WithoutTls,
    /// The origin hung up.
    Closed,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The error in the words of rustls or of the system.
    pub(crate) text: String,
    /// The alert that the peer sent, if that was it.
    pub(crate) alert: Option<AlertDescription>,
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Self {
        let alert = match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
            _ => None,
        };
        Self { text: error.to_string(), alert }
    }
}

impl Connection {
    /// Whether the handshake finished by resuming an earlier session.
    pub(crate) fn resumed(&self) -> bool {
        self.handshake == Some(HandshakeKind::Resumed)
    }

    /// The peer's ALPN offer as text.
    pub(crate) fn alpn_offered_text(&self) -> Vec<String> {
        let offered = self.alpn_offered.iter().flatten();
        offered.map(|protocol| String::from_utf8_lossy(protocol).into_owned()).collect()
    }
}

// By hand, so that a failing assertion does not print up to 1 MiB of data per connection.
impl std::fmt::Debug for Connection {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Connection")
            .field("sni", &self.sni)
            .field("alpn_offered", &self.alpn_offered_text())
            .field("alpn", &self.alpn.as_deref().map(String::from_utf8_lossy))
            .field("version", &self.version)
            .field("handshake", &self.handshake)
            .field("received", &self.received)
            .field("data", &String::from_utf8_lossy(&self.data[..self.data.len().min(256)]))
            .field("end", &self.end)
            .finish()
    }
}

impl Tally {
    /// TCP connections accepted.
    pub(crate) fn tcp_connections(&self) -> usize {
        self.connections.len()
    }

    /// TLS handshakes that finished.
    pub(crate) fn handshakes_finished(&self) -> usize {
        self.count(|connection| connection.handshake.is_some())
    }

    /// TLS handshakes that failed.
    pub(crate) fn handshakes_failed(&self) -> usize {
        self.handshake_failures().count()
    }

    /// How they failed, in the order of their connections.
    pub(crate) fn handshake_failures(&self) -> impl Iterator<Item = &Failure> {
        self.connections.iter().filter_map(|connection| match &connection.end {
            Some(End::HandshakeFailed(failure)) => Some(failure),
            _ => None,
        })
    }

    /// Decrypted bytes received on all connections.
    pub(crate) fn received(&self) -> u64 {
        self.connections.iter().map(|connection| connection.received).sum()
    }

    /// Connections that ended, in whatever way.
    pub(crate) fn ended(&self) -> usize {
        self.count(|connection| connection.end.is_some())
    }

    /// Connections that the peer ended with `close_notify`.
    pub(crate) fn clean_closes(&self) -> usize {
        self.count(|connection| connection.end == Some(End::PeerClosed))
    }

    /// Connections that the peer ended without `close_notify`.
    pub(crate) fn truncations(&self) -> usize {
        self.count(|connection| connection.end == Some(End::PeerTruncated))
    }

    /// Connections that resumed a session.
    pub(crate) fn resumptions(&self) -> usize {
        self.count(Connection::resumed)
    }

    fn count(&self, condition: impl Fn(&Connection) -> bool) -> usize {
        self.connections.iter().filter(|connection| condition(connection)).count()
    }
}

/// The pen: clones write to, and read from, the same tally.
#[derive(Clone, Debug)]
pub(super) struct Log(watch::Sender<Tally>);

impl Default for Log {
    fn default() -> Self {
        Self(watch::Sender::new(Tally::default()))
    }
}

impl Log {
    pub(super) fn tally(&self) -> Tally {
        self.0.borrow().clone()
    }

    pub(super) async fn until(&self, condition: impl FnMut(&Tally) -> bool) -> Tally {
        let mut changes = self.0.subscribe();
        let satisfied = changes.wait_for(condition).await.expect("this value holds a sender");
        satisfied.clone()
    }

    /// Begins an entry and tells its position.
    pub(super) fn opened(&self) -> usize {
        let mut index = 0;
        self.0.send_modify(|tally| {
            index = tally.connections.len();
            tally.connections.push(Connection::default());
        });
        index
    }

    pub(super) fn note(&self, index: usize, change: impl FnOnce(&mut Connection)) {
        self.0.send_modify(|tally| change(&mut tally.connections[index]));
    }

    pub(super) fn received(&self, index: usize, bytes: &[u8]) {
        self.note(index, |connection| {
            connection.received += bytes.len() as u64;
            let room = KEPT.saturating_sub(connection.data.len());
            connection.data.extend_from_slice(&bytes[..bytes.len().min(room)]);
        });
    }

    pub(super) fn ended(&self, index: usize, end: End) {
        self.note(index, |connection| connection.end = Some(end));
    }
}
