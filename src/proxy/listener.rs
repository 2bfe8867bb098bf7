//! Accepts connections, gives each to HTTP, and ends them all in order.

use super::Proxy;
use super::error::SessionError;
use super::head::{Ended, Head, Progress, Unparsed};
use super::record::Record;
use super::reply::Refusal;
use super::{capacity::Place, session};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

/// Pause after an error of accept(2), most often a lack of file descriptors, which ending sessions will give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Sessions that are told to end at the end of the drain have this long to write their event.
pub(super) const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Fields of a request head.
pub(super) const HEADER_FIELDS_MAX: usize = 100;
/// Clients that are told at one time why they are not let in; further ones are told less patiently.
pub(super) const REFUSALS_MAX: usize = 256;
/// How long a refused client may take to read its refusal and close.
const LINGER: Duration = Duration::from_secs(2);
/// What a refused client may still send meanwhile.
const LINGER_BYTES_MAX: u64 = 1024 * 1024;
/// A connection on which nothing was said for so long is not waited for when the proxy drains.
const FRESH: Duration = Duration::from_secs(1);
/// How often lost events are looked for and told.
const LOSS_INTERVAL: Duration = Duration::from_secs(10);

/// How often the dates of the policy and the clocks are looked at. Sessions look for themselves.
const DATES_INTERVAL: Duration = Duration::from_secs(1);

/// Serves the listeners until `shutdown` completes; then takes no new connections, gives open sessions the drain
/// timeout (or until [`Proxy::end`]), ends the rest, and returns.
pub async fn serve(listeners: Vec<TcpListener>, proxy: Arc<Proxy>, shutdown: impl Future<Output = ()>) {
    for listener in listeners {
        proxy.sessions.spawn(accept(listener, Arc::clone(&proxy)));
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

async fn accept(listener: TcpListener, proxy: Arc<Proxy>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = proxy.stopping.cancelled() => return,
        };
        match accepted {
            Ok((stream, client)) => admit(&proxy, stream, client),
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

fn admit(proxy: &Arc<Proxy>, stream: TcpStream, client: SocketAddr) {
    // Nagle's algorithm against delayed acknowledgements costs 40 ms with the small writes of handshakes.
    drop(stream.set_nodelay(true));
    // Who may not use the proxy takes no place in it.
    let generation = proxy.generation();
    let admitted = generation.access.check_client(client.ip()).map_err(SessionError::from);
    match admitted.and_then(|()| proxy.capacity.take(client.ip())) {
        Ok(place) => {
            proxy.sessions.spawn(speak_http(Arc::clone(proxy), stream, client, place));
        }
        Err(error) => {
            let refusal = refuse(proxy, client, Instant::now(), "", &error);
            match Arc::clone(&proxy.refusals).try_acquire_owned() {
                Ok(place) => {
                    proxy.sessions.spawn(async move {
                        // The session has failed; whether the client hears why does not change that.
                        drop(timeout(LINGER, send_last(stream, &refusal)).await);
                        drop(place);
                    });
                }
                // A write that fits the buffer of a fresh socket, or is lost with it.
                Err(_) => drop(stream.try_write(&refusal)),
            }
        }
    }
}

/// One request a connection: CONNECT turns it into a tunnel, everything else is refused and ends it.
async fn speak_http(proxy: Arc<Proxy>, stream: TcpStream, client: SocketAddr, place: Place) {
    let accepted = Instant::now();
    let progress = Arc::new(Progress::default());
    let place = Arc::new(place);
    let ended = parse_and_serve(&proxy, stream, client, &place, &progress).await;
    let Some(Unparsed { stream, target, error }) = progress.unparsed(&ended, proxy.limits.header_bytes) else { return };
    // Without a connection there is nobody to be told, and the event has no status.
    let Some(stream) = stream else { return failed(&proxy, client, accepted, &target, &error).finish() };
    let refusal = refuse(&proxy, client, accepted, &target, &error);
    // The session has failed; whether the client hears why does not change that.
    drop(timeout(LINGER, send_last(stream, &refusal)).await);
}

/// HTTP by hyper, and how it ended. When this returns, the connection belongs to a session, or is closed, or is left in
/// `progress`.
async fn parse_and_serve(
    proxy: &Arc<Proxy>,
    stream: TcpStream,
    client: SocketAddr,
    place: &Arc<Place>,
    progress: &Arc<Progress>,
) -> Ended {
    let head = Head::new(stream, Arc::clone(progress), proxy.limits.header_bytes);
    let service = service_fn(|request| {
        progress.parsed();
        // Opened here and not in the future, which is dropped without a poll when the client has left already.
        let record = Record::open(&proxy.reporter, proxy.session_name(), client, proxy.time.now());
        let session = session::open(Arc::clone(proxy), client, Arc::clone(place), request, record);
        async { Ok::<_, Infallible>(session.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(proxy.limits.header_timeout)
        .max_buf_size(proxy.limits.header_bytes)
        .max_headers(HEADER_FIELDS_MAX)
        // Some old clients choke on any header in the reply to a CONNECT.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(head), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let accepted = Instant::now();
    tokio::select! {
        ended = connection.as_mut() => return ended.map_or_else(Ended::Http, |()| Ended::Closed),
        () = proxy.stopping.cancelled() => {}
    }
    // Who has just connected is about to ask, and would have to be told to ask again.
    tokio::select! {
        ended = connection.as_mut() => return ended.map_or_else(Ended::Http, |()| Ended::Closed),
        () = sleep_until(accepted + FRESH) => connection.as_mut().graceful_shutdown(),
        () = proxy.ending.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = connection.as_mut() => return ended.map_or_else(Ended::Http, |()| Ended::Closed),
        () = proxy.ending.cancelled() => {}
    }
    // A session ends itself, and answers.
    if progress.is_parsed() { connection.await.map_or_else(Ended::Http, |()| Ended::Closed) } else { Ended::Shutdown }
}

/// Refuses a client outside of HTTP; emits the event.
fn refuse(proxy: &Proxy, client: SocketAddr, accepted: Instant, target: &str, error: &SessionError) -> Vec<u8> {
    let mut record = failed(proxy, client, accepted, target, error);
    let refusal = Refusal::new(error, record.event(), Vec::new());
    record.replied(refusal.status());
    record.finish();
    refusal.to_bytes()
}

/// The record of a session that failed before there was a request.
fn failed(proxy: &Proxy, client: SocketAddr, accepted: Instant, target: &str, error: &SessionError) -> Box<Record> {
    let mut record = Record::open(&proxy.reporter, proxy.session_name(), client, proxy.time.now());
    record.begun(accepted);
    record.asked_for(target);
    record.fail(error);
    record
}

/// Sends the last bytes of a connection and waits for the client to close: to close first, with bytes of the client
/// unread, would reset the connection and could take the refusal with it (RFC 9112 section 9.6).
async fn send_last(mut stream: TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
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
