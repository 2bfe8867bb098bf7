//! Connections of operators: few, short, and never in the way of a session.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::UCred;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_service::Service as _;

/// Connections at a time; further ones wait in the queue of the system, and a scrape that waits too long gives up.
const CONNECTIONS_MAX: usize = 32;

/// Octets of a request head.
const HEAD_OCTETS_MAX: usize = 16 << 10;

/// Fields of a request head.
const FIELDS_MAX: usize = 50;

/// For a whole request head to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// For what comes before HTTP: the handshake of TLS.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// For a connection as a whole, with all its requests. A reload of a large configuration takes seconds.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// Pause after an error of accept(2).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A place where operators connect.
pub trait Door: Send + Sync + 'static {
    /// A connection that has just been accepted.
    type Accepted: Send + 'static;
    /// One that speaks HTTP.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Accepted>> + Send;

    /// What comes before HTTP, and who is at the other end as far as that is known. Nobody else waits for it.
    fn greet(&self, accepted: Self::Accepted) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// A process of this machine.
    Process(Option<UCred>),
    /// Somebody on a network.
    Network,
    /// Somebody on a network who has shown a certificate from an authority that the operator trusts for this.
    Certified,
}

/// For the audit.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(Some(process)) => {
                write!(f, " (user {}, process {})", process.uid(), process.pid().unwrap_or_default())
            }
            Self::Process(None) => f.write_str(" (by a process that the system does not name)"),
            Self::Network | Self::Certified => f.write_str(" (over the network)"),
        }
    }
}

impl Door for UnixListener {
    type Accepted = tokio::net::UnixStream;
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<Self::Accepted> {
        Ok(UnixListener::accept(self).await?.0)
    }

    async fn greet(&self, stream: Self::Accepted) -> io::Result<(Self::Stream, Peer)> {
        let process = Peer::Process(stream.peer_cred().ok());
        Ok((stream, process))
    }
}

impl Door for TcpListener {
    type Accepted = tokio::net::TcpStream;
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<Self::Accepted> {
        Ok(TcpListener::accept(self).await?.0)
    }

    async fn greet(&self, stream: Self::Accepted) -> io::Result<(Self::Stream, Peer)> {
        Ok((stream, Peer::Network))
    }
}

/// Serves a door until it is dropped.
pub async fn serve(door: impl Door, router: Router) {
    let door = Arc::new(door);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        // Those that have ended are not kept.
        while connections.try_join_next().is_some() {}
        match door.accept().await {
            Ok(accepted) => {
                let (door, router) = (Arc::clone(&door), router.clone());
                connections.spawn(async move {
                    // Who does not get an answer in time, or leaves, has only himself to tell.
                    drop(timeout(CONNECTION_TIMEOUT, attend(door, accepted, router)).await);
                    drop(place);
                });
            }
            Err(error) => {
                tracing::error!("cannot accept connections of operators: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn attend<D: Door>(door: Arc<D>, accepted: D::Accepted, router: Router) {
    match timeout(GREETING_TIMEOUT, door.greet(accepted)).await {
        Ok(Ok((stream, peer))) => answer(stream, peer, router).await,
        Ok(Err(error)) => tracing::debug!("a connection of an operator has failed before HTTP: {error}"),
        Err(_) => tracing::debug!("a connection of an operator has not come to HTTP within {GREETING_TIMEOUT:?}"),
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer, router: Router) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_OCTETS_MAX)
        .max_headers(FIELDS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!("a connection of an operator has failed: {error}");
    }
}
