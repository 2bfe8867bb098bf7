//! One piece of data from an upstream to its client: the TLS of both sides as sessions have it, and the relay between them.
//! Instead of sockets there is memory, and the relay is polled by hand, once a piece.

use super::HOST;
use pinproxy::relay::{Counters, Limits, relay};
use pinproxy::tls::provider::provider;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use std::io;
use std::io::Write as _;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Pieces that are counted.
pub(super) const PIECES: usize = 50;
const LIMITS: Limits = Limits { idle_timeout: Duration::from_secs(600), session_lifetime: Duration::from_secs(6_000) };

/// What has come over a connection, and what is to go.
#[derive(Debug, Default)]
struct Octets {
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

/// A connection that is memory. Nobody is woken: who waits is polled again.
#[derive(Clone, Debug, Default)]
struct Wire(Arc<Mutex<Octets>>);

impl Wire {
    fn octets(&self) -> MutexGuard<'_, Octets> {
        self.0.lock().expect("one thread")
    }

    /// Hands the peer what has gone out, and takes what it says.
    fn exchange(&self, peer: &mut Connection) {
        let mut octets = self.octets();
        let gone = std::mem::take(&mut octets.outgoing);
        let mut gone = gone.as_slice();
        while !gone.is_empty() {
            peer.read_tls(&mut gone).expect("memory is read");
            peer.process_new_packets().expect("the peer agrees");
        }
        while peer.wants_write() {
            peer.write_tls(&mut octets.incoming).expect("memory is written");
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut octets = self.octets();
        if octets.incoming.is_empty() {
            return Poll::Pending;
        }
        let taken = octets.incoming.len().min(buffer.remaining());
        buffer.put_slice(&octets.incoming[..taken]);
        octets.incoming.drain(..taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.octets().outgoing.extend_from_slice(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls a handshake until it is done, and sees to it that its last words arrive.
fn shaken<S>(handshake: impl Future<Output = io::Result<S>>, wire: &Wire, peer: &mut Connection) -> S {
    let mut handshake = pin!(handshake);
    loop {
        let polled = handshake.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        wire.exchange(peer);
        if let Poll::Ready(stream) = polled {
            return stream.expect("a handshake");
        }
    }
}

/// The settings of both ends of a connection.
fn settings() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("an anchor");
    let client = ClientConfig::builder_with_provider(Arc::clone(provider()));
    let client = client.with_protocol_versions(&[&rustls::version::TLS13]).expect("TLS 1.3");
    let server = ServerConfig::builder_with_provider(Arc::clone(provider()));
    let server = server.with_protocol_versions(&[&rustls::version::TLS13]).expect("TLS 1.3").with_no_client_auth();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let server = server.with_single_cert(vec![made.cert.der().clone()], key).expect("the key fits");
    (Arc::new(client.with_root_certificates(roots).with_no_client_auth()), Arc::new(server))
}

/// A piece of so many octets each round. That the upstream encrypts it is not counted, nor that the client decrypts it.
pub(super) fn prepare(octets: usize) -> Box<dyn FnMut(usize)> {
    let (to_server, to_client) = settings();
    let name = ServerName::try_from(HOST).expect("a name");
    let (upstream_wire, client_wire) = (Wire::default(), Wire::default());
    let mut upstream = ServerConnection::new(Arc::clone(&to_client)).expect("a server").into();
    let mut client = ClientConnection::new(Arc::clone(&to_server), name.clone()).expect("a client").into();
    let connecting = TlsConnector::from(to_server).connect(name, upstream_wire.clone());
    let upstream_side = shaken(connecting, &upstream_wire, &mut upstream);
    client_wire.exchange(&mut client);
    let accepting = TlsAcceptor::from(to_client).accept(client_wire.clone());
    let client_side = shaken(accepting, &client_wire, &mut client);
    let piece = vec![0x5e; octets];
    let records: Vec<Vec<u8>> = (0..=PIECES)
        .map(|_| {
            let mut record = Vec::new();
            upstream.writer().write_all(&piece).expect("memory is written");
            upstream.write_tls(&mut record).expect("memory is written");
            assert!(record.len() > octets && !upstream.wants_write(), "one record");
            record
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let mut relaying = Box::pin(async move {
        let mut counters = Counters::default();
        relay(client_side, upstream_side, LIMITS, &mut counters, std::future::pending()).await
    });
    Box::new(move |round| {
        upstream_wire.octets().incoming.extend_from_slice(&records[round]);
        let _entered = runtime.enter();
        assert!(relaying.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "it goes on");
        let mut sent = client_wire.octets();
        assert!(sent.outgoing.len() > octets, "it has arrived");
        sent.outgoing.clear();
    })
}
