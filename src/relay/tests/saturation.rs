//! Sources that never pause and sinks that take everything, on sockets of the loopback and driven by threads of their
//! own, so that only the relay can hold anything up.

use super::*;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream as Socket};
use std::thread::{JoinHandle, sleep, spawn};
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};

/// Between two bytes of a side that talks slowly.
const PACE: Duration = Duration::from_millis(10);
/// More than a busy machine with two cores takes to let everybody run.
const GAP: Duration = Duration::from_millis(250);
/// For an end to come about.
const PROMPT: Duration = Duration::from_millis(700);
/// What shows that a direction was saturated: many times what fits into the buffers of the sockets.
const FLOOD_BYTES: u64 = 32 * 1024 * 1024;

/// A connection: the end of the test and that of the relay.
async fn connection() -> (Socket, BufReader<TcpStream>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let socket = Socket::connect(listener.local_addr().expect("an address")).expect("it listens");
    let (accepted, _) = listener.accept().await.expect("a connection");
    (socket, BufReader::with_capacity(8 * 1024, accepted))
}

/// Sends without a pause until the relay is gone.
fn flood(socket: &Socket) -> JoinHandle<()> {
    let mut socket = socket.try_clone().expect("a socket");
    let bytes = vec![b'f'; 64 * 1024];
    spawn(move || while socket.write_all(&bytes).is_ok() {})
}

/// Sends one byte at a time until the relay is gone.
fn trickle(socket: &Socket) -> JoinHandle<()> {
    let mut socket = socket.try_clone().expect("a socket");
    spawn(move || {
        while socket.write_all(b"t").is_ok() {
            sleep(PACE);
        }
    })
}

/// Reads until the relay is gone, and tells the longest time without a byte.
fn drain(socket: &Socket) -> JoinHandle<Duration> {
    let mut socket = socket.try_clone().expect("a socket");
    spawn(move || {
        let (mut buffer, mut last, mut longest) = (vec![0; 64 * 1024], Instant::now(), Duration::ZERO);
        while socket.read(&mut buffer).is_ok_and(|length| length > 0) {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        longest
    })
}

/// What became of a relay between two sides that talk like this.
struct Relayed {
    outcome: Outcome,
    counters: Counters,
    duration: Duration,
    /// The longest time for which nothing came to the client, and to the upstream.
    gaps: [Duration; 2],
}

async fn relayed(
    client_talks: fn(&Socket) -> JoinHandle<()>,
    upstream_talks: fn(&Socket) -> JoinHandle<()>,
    session_lifetime: Duration,
    shutdown: impl Future<Output = ()>,
) -> Relayed {
    let ((client, client_side), (upstream, upstream_side)) = (connection().await, connection().await);
    let drains = [drain(&client), drain(&upstream)];
    let talks = [client_talks(&client), upstream_talks(&upstream)];
    let mut counters = Counters::default();
    let started = Instant::now();
    let outcome = relay(client_side, upstream_side, Limits { session_lifetime, ..LONG }, &mut counters, shutdown).await;
    let duration = started.elapsed();
    for talk in talks {
        talk.join().expect("a thread that talks");
    }
    Relayed { outcome, counters, duration, gaps: drains.map(|drain| drain.join().expect("a thread that reads")) }
}

#[tokio::test]
async fn a_saturated_upload_does_not_hold_up_the_download() {
    let relayed = relayed(flood, trickle, Duration::from_millis(1_500), pending()).await;
    assert!(relayed.counters.upstream > FLOOD_BYTES, "{:?}", relayed.counters);
    assert!(relayed.gaps[0] < GAP, "{:?}", relayed.gaps);
}

#[tokio::test]
async fn a_saturated_download_does_not_hold_up_the_upload() {
    let relayed = relayed(trickle, flood, Duration::from_millis(1_500), pending()).await;
    assert!(relayed.counters.client > FLOOD_BYTES, "{:?}", relayed.counters);
    assert!(relayed.gaps[1] < GAP, "{:?}", relayed.gaps);
}

#[tokio::test]
async fn the_lifetime_ends_a_session_that_is_saturated_both_ways() {
    let lifetime = Duration::from_millis(300);
    let relayed = relayed(flood, flood, lifetime, pending()).await;
    assert_eq!(relayed.outcome, Outcome::Lifetime);
    assert!((lifetime..lifetime + PROMPT).contains(&relayed.duration), "{:?}", relayed.duration);
    assert!(relayed.gaps.iter().all(|gap| *gap < GAP), "{:?}", relayed.gaps);
}

#[tokio::test]
async fn a_shutdown_ends_a_session_that_is_saturated_both_ways() {
    let delay = Duration::from_millis(300);
    let (shut_down, asked) = tokio::sync::oneshot::channel();
    let stopping = spawn(move || {
        sleep(delay);
        shut_down.send(()).expect("the relay waits for it");
    });
    let relayed = relayed(flood, flood, LONG.session_lifetime, async { asked.await.expect("a shutdown") }).await;
    stopping.join().expect("a thread that stops the relay");
    assert_eq!(relayed.outcome, Outcome::Shutdown);
    assert!(relayed.duration < delay + PROMPT, "{:?}", relayed.duration);
}
