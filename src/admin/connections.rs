//! Connections of operators: few, short, and never in the way of a session.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::UCred;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_service::Service as _;

/// Connections at a time; further ones wait in the queue of the system, and a scrape that waits too long gives up.
const CONNECTIONS_MAX: usize = 32;

/// Of these, for one address beyond this machine, or one /64 of IPv6: strangers who say nothing are not to keep probes
/// out. Further ones are closed.
const CONNECTIONS_PER_ADDRESS_MAX: usize = CONNECTIONS_MAX / 4;

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

    /// Where it comes from; none for this machine, whose processes and probes have one address.
    fn source(accepted: &Self::Accepted) -> Option<IpAddr>;

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

    fn source(_: &Self::Accepted) -> Option<IpAddr> {
        None
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

    fn source(stream: &Self::Accepted) -> Option<IpAddr> {
        stream.peer_addr().ok().and_then(source_of)
    }

    async fn greet(&self, stream: Self::Accepted) -> io::Result<(Self::Stream, Peer)> {
        Ok((stream, Peer::Network))
    }
}

/// What connections over a network are counted by.
pub(super) fn source_of(peer: SocketAddr) -> Option<IpAddr> {
    let address = peer.ip().to_canonical();
    if address.is_loopback() {
        return None;
    }
    Some(match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            // Whoever has one address of a /64 has all of them.
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    })
}

/// The places that are taken, by where those who have them come from.
#[derive(Default)]
struct Sources(HashMap<IpAddr, Arc<Semaphore>>);

impl Sources {
    /// None where there are no more.
    fn take(&mut self, source: IpAddr) -> Option<OwnedSemaphorePermit> {
        // Of those who have none any more, nothing is kept.
        self.0.retain(|_, places| places.available_permits() < CONNECTIONS_PER_ADDRESS_MAX);
        let places = self.0.entry(source).or_insert_with(|| Arc::new(Semaphore::new(CONNECTIONS_PER_ADDRESS_MAX)));
        Arc::clone(places).try_acquire_owned().ok()
    }
}

/// Serves a door until it is dropped.
pub async fn serve<D: Door>(door: D, router: Router) {
    let (door, mut sources) = (Arc::new(door), Sources::default());
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        // Those that have ended are not kept.
        while connections.try_join_next().is_some() {}
        match door.accept().await {
            Ok(accepted) => {
                let source = D::source(&accepted);
                let own = source.map(|source| sources.take(source));
                if matches!(own, Some(None)) {
                    tracing::debug!("{CONNECTIONS_PER_ADDRESS_MAX} operators from {source:?} are connected already");
                    continue;
                }
                let (door, router) = (Arc::clone(&door), router.clone());
                connections.spawn(async move {
                    // Who does not get an answer in time, or leaves, has only himself to tell.
                    drop(timeout(CONNECTION_TIMEOUT, attend(door, accepted, router)).await);
                    drop((place, own));
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::sync::Mutex;
    use tokio::sync::mpsc::{Receiver, Sender, channel};

    /// A network on which everybody can have every address.
    struct Network(Mutex<Receiver<(SocketAddr, DuplexStream)>>);

    impl Door for Network {
        type Accepted = (SocketAddr, DuplexStream);
        type Stream = DuplexStream;

        async fn accept(&self) -> io::Result<Self::Accepted> {
            match self.0.lock().await.recv().await {
                Some(accepted) => Ok(accepted),
                None => std::future::pending().await,
            }
        }

        fn source((peer, _): &Self::Accepted) -> Option<IpAddr> {
            source_of(*peer)
        }

        async fn greet(&self, (_, stream): Self::Accepted) -> io::Result<(Self::Stream, Peer)> {
            Ok((stream, Peer::Network))
        }
    }

    struct Site(Sender<(SocketAddr, DuplexStream)>);

    impl Site {
        async fn connect(&self, address: &str) -> DuplexStream {
            let (near, far) = duplex(4_096);
            self.0.send((SocketAddr::new(address.parse().unwrap(), 1), far)).await.unwrap();
            near
        }

        /// What comes back; nothing where the connection is closed.
        async fn asked(&self, address: &str) -> String {
            let mut stream = self.connect(address).await;
            let mut answer = Vec::new();
            // It may be closed before it is asked.
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ok();
            stream.read_to_end(&mut answer).await.ok();
            String::from_utf8(answer).unwrap()
        }
    }

    /// The time is not the real one: who says nothing is gone after five seconds of it, and of these nothing else passes any.
    #[tokio::test(start_paused = true)]
    async fn one_address_does_not_take_all_places() {
        let table = [
            (["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"], true),
            (["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::", "2001:db8:0:1::1"], true),
            (["127.0.0.1", "::ffff:127.0.0.1", "127.0.0.1", "192.0.2.1"], false),
        ];
        for (addresses, is_bounded) in table {
            let [first, alike, again, other] = addresses;
            let (sender, receiver) = channel(1);
            let router = Router::new().route("/", get(|| async { "here" }));
            let serving = tokio::spawn(serve(Network(Mutex::new(receiver)), router));
            let site = Site(sender);
            let mut silent = Vec::new();
            for number in 0..CONNECTIONS_PER_ADDRESS_MAX {
                silent.push(site.connect(if number % 2 == 0 { first } else { alike }).await);
            }
            let (refused, answered) = (site.asked(again).await, site.asked(other).await);
            assert_eq!(refused.is_empty(), is_bounded, "{again}: {refused}");
            assert!(answered.ends_with("here"), "{other}: {answered}");
            drop(silent);
            // Their places come back when the other end has seen that they are gone.
            while !site.asked(again).await.ends_with("here") {
                tokio::task::yield_now().await;
            }
            serving.abort();
        }
    }
}
