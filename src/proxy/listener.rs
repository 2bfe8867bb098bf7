//! Accepts connections, lets each in by its way, and ends them all in order.

use super::Proxy;
use super::capacity::{Place, Room};
use super::entrance::{Entrance, Manner};
use super::error::SessionError;
use super::preface::{self, PrefaceError};
use super::refusing::{refuse, send_last};
use super::wire::Wire;
use super::{connect, greeting, socks, transparent};
use crate::config::ListenerKind;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

/// Pause after an error of accept(2), most often a lack of file descriptors, which ending sessions will give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Sessions that are told to end at the end of the drain have this long to write their event.
pub(super) const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Fields of a request head.
pub(super) const HEADER_FIELDS_MAX: usize = 100;
/// Clients that are told at one time why they are not let in; further ones are told less patiently.
pub(super) const REFUSALS_MAX: usize = 256;
/// A connection on which nothing was said for so long is not waited for when the proxy drains.
pub(super) const FRESH: Duration = Duration::from_secs(1);
/// How often lost events are looked for and told.
const LOSS_INTERVAL: Duration = Duration::from_secs(10);

/// How often the dates of the policy and the clocks are looked at. Sessions look for themselves.
const DATES_INTERVAL: Duration = Duration::from_secs(1);

/// A connection that was let in, and has not asked for anything yet.
pub(super) struct Caller {
    pub(super) proxy: Arc<Proxy>,
    pub(super) manner: Arc<Manner>,
    /// Who is judged.
    pub(super) client: SocketAddr,
    pub(super) accepted: Instant,
}

/// Serves the entrances until `shutdown` completes; then takes no new connections, gives open sessions the drain
/// timeout (or until [`Proxy::end`]), ends the rest, and returns.
pub async fn serve(entrances: Vec<Entrance>, proxy: Arc<Proxy>, shutdown: impl Future<Output = ()>) {
    for entrance in entrances {
        proxy.sessions.spawn(accept(entrance, Arc::clone(&proxy)));
    }
    let losses = tokio::spawn(watch_losses(Arc::clone(&proxy)));
    let dates = tokio::spawn(watch_dates(Arc::clone(&proxy)));
    shutdown.await;
    // Whoever asks hears it first, so that nobody is sent here any more when the listeners close.
    proxy.leaving.cancel();
    tokio::select! {
        () = sleep(proxy.limits.drain_delay) => {}
        () = proxy.ending.cancelled() => {}
    }
    proxy.stopping.cancel();
    proxy.sessions.close();
    let drain_timeout = proxy.limits.drain_timeout;
    let drained = tokio::select! {
        drained = timeout(drain_timeout, proxy.sessions.wait()) => drained.is_ok(),
        () = proxy.ending.cancelled() => false,
    };
    if !drained {
        let waited = if proxy.ending.is_cancelled() { String::new() } else { format!(" after {drain_timeout:?}") };
        // What is left may be clients that are told why they were refused, or a listener about to close.
        let open = proxy.open_sessions();
        if open > 0 {
            tracing::warn!("{open} sessions are still open{waited}; ending them");
        }
        proxy.end();
        let ended = timeout(END_TIMEOUT, proxy.sessions.wait()).await;
        let open = proxy.open_sessions();
        if ended.is_err() && open > 0 {
            tracing::error!("{open} sessions did not end in time; their events are lost");
        }
    }
    losses.abort();
    dates.abort();
}

/// Sees to the dates of the policy.
async fn watch_dates(proxy: Arc<Proxy>) {
    let (mut is_due, mut judging) = (false, None);
    let mut ticks = interval(DATES_INTERVAL);
    loop {
        ticks.tick().await;
        is_due |= proxy.keep_time();
        if is_due && judging.as_ref().is_none_or(JoinHandle::is_finished) {
            judging = judge_by_date(&proxy);
            is_due = judging.is_none();
        }
    }
}

/// Judges open sessions again since a date has come. On a thread: a task would wait for it, and others for the task.
fn judge_by_date(proxy: &Arc<Proxy>) -> Option<JoinHandle<()>> {
    let proxy = Arc::clone(proxy);
    let judging = thread::Builder::new().name("pinproxy-dates".to_owned()).spawn(move || {
        let closed = proxy.judge_open_sessions();
        if closed > 0 {
            tracing::warn!("{closed} open sessions are closed: a date has come, and the rules refuse them now");
        }
    });
    judging.map_err(|error| tracing::error!("open sessions could not be judged again yet: {error}")).ok()
}

/// Says how many events were lost since the start, if any were.
pub fn tell_losses(proxy: &Proxy) {
    for (sink, lost) in proxy.reporter.lost().filter(|(_, lost)| *lost > 0) {
        tracing::error!("{lost} events were not written to {sink} since the start: it is too slow, or full");
    }
}

async fn accept(entrance: Entrance, proxy: Arc<Proxy>) {
    let Entrance { listener, manner } = entrance;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = proxy.stopping.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => arrive(&proxy, &manner, stream, peer),
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                tracing::error!("cannot accept connections: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Errors of accept(2) that concern the one connection, which is gone (see its manual page).
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted)
}

/// A connection that was accepted: told apart by whose it may be.
fn arrive(proxy: &Arc<Proxy>, manner: &Arc<Manner>, stream: TcpStream, peer: SocketAddr) {
    // Nagle's algorithm against delayed acknowledgements costs 40 ms with the small writes of handshakes.
    drop(stream.set_nodelay(true));
    if manner.names(peer.ip()) {
        match proxy.capacity.room() {
            Ok(room) => drop(proxy.sessions.spawn(behind(Arc::clone(proxy), Arc::clone(manner), stream, peer, room))),
            Err(error) => turn_away(proxy, manner, stream, peer, Instant::now(), &error),
        }
        return;
    }
    // Who may not use the proxy takes no place in it.
    let generation = proxy.generation();
    let admitted = generation.access.check_client(peer.ip()).map_err(SessionError::from);
    match admitted.and_then(|()| proxy.capacity.take(peer.ip())) {
        Ok(place) if manner.is_plain() => {
            let served = connect::serve(Arc::clone(proxy), Wire::Tcp(stream), peer, Instant::now(), place);
            proxy.sessions.spawn(served);
        }
        Ok(place) => {
            let caller = Caller::new(proxy, manner, peer);
            proxy.sessions.spawn(serve_caller(caller, stream, None, place));
        }
        Err(error) => turn_away(proxy, manner, stream, peer, Instant::now(), &error),
    }
}

/// Refuses a connection of which nothing that the client says has been read.
fn turn_away(
    proxy: &Arc<Proxy>,
    manner: &Manner,
    stream: TcpStream,
    client: SocketAddr,
    accepted: Instant,
    error: &SessionError,
) {
    let words = refuse(proxy, manner.speech(), client, accepted, "", error);
    match Arc::clone(&proxy.refusals).try_acquire_owned() {
        Ok(place) => {
            proxy.sessions.spawn(async move {
                send_last(stream, &words).await;
                drop(place);
            });
        }
        // A write that fits the buffer of a fresh socket, or is lost with it.
        Err(_) => drop(stream.try_write(&words)),
    }
}

/// A connection from a peer that says whose it is.
async fn behind(proxy: Arc<Proxy>, manner: Arc<Manner>, mut stream: TcpStream, peer: SocketAddr, room: Room) {
    let accepted = Instant::now();
    let read = tokio::select! {
        read = timeout(proxy.limits.header_timeout, preface::read(&mut stream, peer)) => {
            read.unwrap_or(Err(PrefaceError::Slow(peer.ip())))
        }
        () = proxy.waits_no_longer(accepted) => return,
    };
    let ends = match read {
        Ok(ends) => ends,
        // It has said nothing at all, as probes of the peer do.
        Err(PrefaceError::Silent) => return,
        Err(error) => {
            let words = refuse(&proxy, manner.speech(), peer, accepted, "", &error.into());
            return send_last(stream, &words).await;
        }
    };
    // A peer that speaks for itself is judged when it asks for something: most often it looks whether somebody listens.
    let client = ends.map_or(peer, |ends| ends.client);
    let admitted = match ends {
        Some(_) => proxy.generation().access.check_client(client.ip()).map_err(SessionError::from),
        None => Ok(()),
    };
    match admitted.and_then(|()| room.of(client.ip())) {
        Ok(place) => {
            tracing::debug!("a connection of {client} comes from {peer}");
            let caller = Caller { accepted, ..Caller::new(&proxy, &manner, client) };
            serve_caller(caller, stream, ends.map(|ends| ends.destination), place).await;
        }
        // Its room is given back, so that it takes a place of those that are turned away.
        Err(error) => turn_away(&proxy, &manner, stream, client, accepted, &error),
    }
}

/// By the way that it has come in. `destination` is where it was made to, as the peer in front of the proxy says.
async fn serve_caller(caller: Caller, stream: TcpStream, destination: Option<SocketAddr>, place: Place) {
    let Some(wire) = Box::pin(greeting::greet(&caller, stream)).await else { return };
    // Boxed: each of them is as large as a session at its largest.
    match caller.manner.kind {
        ListenerKind::Forward => {
            let Caller { proxy, client, accepted, .. } = caller;
            Box::pin(connect::serve(proxy, wire, client, accepted, place)).await;
        }
        ListenerKind::Socks5 => Box::pin(socks::serve(caller, wire, place)).await,
        ListenerKind::Transparent(redirect) => {
            Box::pin(transparent::serve(caller, wire, redirect, destination, place)).await;
        }
    }
}

impl Caller {
    fn new(proxy: &Arc<Proxy>, manner: &Arc<Manner>, client: SocketAddr) -> Self {
        Self { proxy: Arc::clone(proxy), manner: Arc::clone(manner), client, accepted: Instant::now() }
    }
}

impl Proxy {
    /// Completes when a client that was accepted then and has not asked yet is not waited for any more.
    pub(super) async fn waits_no_longer(&self, accepted: Instant) {
        self.stopping.cancelled().await;
        // Who has just connected is about to ask, and would have to be told to ask again.
        tokio::select! {
            () = sleep_until(accepted + FRESH) => {}
            () = self.ending.cancelled() => {}
        }
    }
}

async fn watch_losses(proxy: Arc<Proxy>) {
    let mut told = 0;
    let mut ticks = interval(LOSS_INTERVAL);
    loop {
        ticks.tick().await;
        let lost: u64 = proxy.reporter.lost().map(|(_, lost)| lost).sum();
        if lost > told {
            tell_losses(&proxy);
            told = lost;
        }
    }
}
