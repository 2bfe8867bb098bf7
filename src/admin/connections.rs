//! Connections of operators: few, short, and never in the way of a session.

use super::exchange::{Answer, Question};
use super::places::{CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, Place, Places, Seat};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::UCred;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service as _;

/// Octets of a request head.
const HEAD_OCTETS_MAX: usize = 16 << 10;

/// Fields of a request head.
const FIELDS_MAX: usize = 50;

/// For a whole request head to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// For what comes before HTTP: the handshake of TLS.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after an error of accept(2).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A place where operators connect.
pub trait Door: Send + Sync + 'static {
    /// What it is, for the log.
    const NAME: &'static str;
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
    const NAME: &'static str = "the control socket";
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
    const NAME: &'static str = "the admin address";
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

/// Serves a door until it is dropped.
pub async fn serve<D: Door>(door: D, router: Router) {
    let (door, mut places) = (Arc::new(door), Places::of(D::NAME));
    let mut connections = JoinSet::new();
    loop {
        // Those that have ended are not kept.
        while connections.try_join_next().is_some() {}
        match door.accept().await {
            Ok(accepted) => {
                let Some(place) = place_for(D::source(&accepted), &mut places, &mut connections).await else {
                    continue;
                };
                let (door, router) = (Arc::clone(&door), router.clone());
                connections.spawn(async move {
                    let over = Arc::clone(&place);
                    // Who does not get an answer in time, or leaves, has only himself to tell.
                    tokio::select! {
                        () = attend(door, accepted, router, place) => {}
                        () = over.is_over() => {}
                    }
                });
            }
            Err(error) => {
                tracing::error!("cannot accept connections of operators: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// None where the connection is to be closed.
async fn place_for(source: Option<IpAddr>, places: &mut Places, connections: &mut JoinSet<()>) -> Option<Arc<Place>> {
    let came = Instant::now();
    let place = loop {
        match places.take(source, came) {
            Seat::Taken(place) => break place,
            Seat::Later => tokio::select! {
                () = places.may_have_changed() => {}
                _ = connections.join_next() => {}
            },
            Seat::Never => {
                tracing::debug!("{CONNECTIONS_PER_ADDRESS_MAX} operators from {source:?} are being answered already");
                return None;
            }
        }
    };
    // Of those that have lost their places, none is there any more.
    while connections.len() >= CONNECTIONS_MAX {
        connections.join_next().await;
    }
    Some(place)
}

async fn attend<D: Door>(door: Arc<D>, accepted: D::Accepted, router: Router, place: Arc<Place>) {
    match timeout(GREETING_TIMEOUT, door.greet(accepted)).await {
        Ok(Ok((stream, peer))) => answer(stream, peer, router, place).await,
        Ok(Err(error)) => tracing::debug!("a connection of an operator has failed before HTTP: {error}"),
        Err(_) => tracing::debug!("a connection of an operator has not come to HTTP within {GREETING_TIMEOUT:?}"),
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    place: Arc<Place>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(|content| Body::new(Question::of(content, Arc::clone(&place))));
        request.extensions_mut().insert(peer);
        let (answered, place) = (router.clone().call(request), Arc::clone(&place));
        async move { answered.await.map(|answer| answer.map(|content| Answer { content, place })) }
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
    use super::super::places::GRACE;
    use super::*;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::sync::Mutex;
    use tokio::sync::mpsc::{Receiver, Sender, channel};
    use tokio::task::JoinHandle;

    /// A network on which everybody can have every address.
    struct Network(Mutex<Receiver<(SocketAddr, DuplexStream)>>);

    impl Door for Network {
        const NAME: &'static str = "a network";
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

    fn serving() -> (JoinHandle<()>, Site) {
        let (sender, receiver) = channel(1);
        let slow = || async { sleep(HOURS).await };
        let long = || async { "x".repeat(1 << 20) };
        let router = Router::new().route("/", get(|| async { "here" })).route("/slow", get(slow));
        let router = router.route("/long", get(long)).route("/post", post(|content: String| async { content }));
        (tokio::spawn(serve(Network(Mutex::new(receiver)), router)), Site(sender))
    }

    /// Longer than any limit for who asks nothing.
    const HOURS: Duration = Duration::from_secs(3 * 60 * 60);

    async fn has_ended(stream: &mut DuplexStream) -> bool {
        // What is still there is given away; a connection that is open has nothing more to read.
        let mut octets = Vec::new();
        tokio::select! {
            biased;
            _ = stream.read_to_end(&mut octets) => true,
            () = tokio::task::yield_now() => false,
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
            let (serving, site) = serving();
            let mut strange = site.connect("198.51.100.1").await;
            let mut silent = Vec::new();
            for number in 0..CONNECTIONS_PER_ADDRESS_MAX {
                silent.push(site.connect(if number % 2 == 0 { first } else { alike }).await);
            }
            sleep(GRACE).await;
            for address in [again, other] {
                let answered = site.asked(address).await;
                assert!(answered.ends_with("here"), "{address}: {answered}");
            }
            // It has cost the address its own oldest connection, and nobody else's.
            assert!(!has_ended(&mut strange).await);
            for (number, stream) in silent.iter_mut().enumerate() {
                assert_eq!(has_ended(stream).await, is_bounded && number == 0, "{first}: {number}");
            }
            serving.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_idle_longest_leaves_for_who_comes() {
        let (serving, site) = serving();
        // In the order in which they become idle: one that sends no content, one that reads no answer, silent ones, and one
        // that has had an answer.
        let mut all = Vec::new();
        for request in
            ["POST /post HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n", "GET /long HTTP/1.1\r\nhost: x\r\n\r\n"]
        {
            let mut stream = site.connect("127.0.0.1").await;
            stream.write_all(request.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(1)).await;
            all.push(stream);
        }
        let mut answered = site.connect("127.0.0.1").await;
        while all.len() < CONNECTIONS_MAX - 1 {
            all.push(site.connect("127.0.0.1").await);
            sleep(Duration::from_millis(1)).await;
        }
        answered.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut octets = [0; 1_000];
        while !String::from_utf8_lossy(&octets).contains("here") {
            let _length = answered.read(&mut octets).await.unwrap();
        }
        all.push(answered);
        sleep(GRACE).await;
        for number in 0..CONNECTIONS_MAX {
            assert!(!has_ended(&mut all[number]).await || number < 2, "{number} has ended before its turn");
            let mut come = site.connect("127.0.0.1").await;
            come.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            sleep(Duration::from_millis(1)).await;
            assert!(has_ended(&mut all[number]).await, "{number} is still there");
            all.push(come);
        }
        // All are being answered now: who comes waits for one of them, and none of them ends.
        let waiting = tokio::spawn(async move { (site.asked("127.0.0.1").await, site) });
        sleep(Duration::from_secs(600)).await;
        assert!(!waiting.is_finished());
        for stream in &mut all[CONNECTIONS_MAX..] {
            assert!(!has_ended(stream).await);
        }
        drop(all.pop());
        let (answered, _site) = waiting.await.unwrap();
        assert!(answered.ends_with("here"), "{answered}");
        serving.abort();
    }

    /// Who comes together, and asks at once, is answered, though there are more of them than places.
    #[tokio::test(start_paused = true)]
    async fn many_that_come_together_end_none_of_each_other() {
        let (serving, site) = serving();
        let site = Arc::new(site);
        let mut asking = JoinSet::new();
        for _ in 0..CONNECTIONS_MAX * 10 {
            let site = Arc::clone(&site);
            asking.spawn(async move { site.asked("127.0.0.1").await });
        }
        while let Some(answered) = asking.join_next().await {
            assert!(answered.as_ref().unwrap().ends_with("here"), "{answered:?}");
        }
        serving.abort();
    }

    /// All places are those of clients that never stop asking, and who comes gets one.
    #[tokio::test(start_paused = true)]
    async fn questions_without_end_keep_nobody_out() {
        let (serving, site) = serving();
        let mut asking = JoinSet::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut stream = site.connect("127.0.0.1").await;
            asking.spawn(async move {
                while stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {
                    let mut octets = [0; 1_000];
                    if stream.read(&mut octets).await.is_ok_and(|length| length > 0) {
                        sleep(GRACE / 2).await;
                    }
                }
            });
        }
        sleep(GRACE).await;
        let begin = Instant::now();
        assert!(site.asked("127.0.0.1").await.ends_with("here"));
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        serving.abort();
    }

    /// As for a reload that somebody waits for.
    #[tokio::test(start_paused = true)]
    async fn an_answer_takes_as_long_as_it_takes_and_silence_does_not() {
        let (serving, site) = serving();
        let begin = Instant::now();
        let mut waiting = site.connect("127.0.0.1").await;
        waiting.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        waiting.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && begin.elapsed() >= HOURS, "{answer}");
        let unasked = ["", "GET / HTTP/1.1\r\nhost:", "POST /post HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc"];
        for request in unasked {
            let (begin, mut stream) = (Instant::now(), site.connect("127.0.0.1").await);
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
            assert!(begin.elapsed() <= Duration::from_secs(121), "{request}: {:?}", begin.elapsed());
        }
        serving.abort();
    }
}
