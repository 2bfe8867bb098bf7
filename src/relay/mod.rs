//! Copies bytes between two sides, both ways at once. Knows no TLS, no host, no policy.
//!
//! Each direction reads what its source has buffered and writes it to its sink without a buffer of its own, so an idle
//! session costs nothing here. How a side ends is passed on: a clean end as a clean end, a cut as a cut.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

/// One side of a session.
pub trait Side: AsyncBufRead + AsyncWrite + Unpin {
    /// Ends the sending direction without saying that the data is complete, so that the peer sees a truncation (for
    /// TLS: without close_notify, RFC 8446 section 6.1).
    fn poll_cut(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// The time limits of a session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Silence in both directions after which the session ends.
    pub idle_timeout: Duration,
    /// Age at which it ends whatever happens.
    pub session_lifetime: Duration,
}

/// Payload bytes relayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// From the client to the upstream.
    pub upstream: u64,
    /// From the upstream to the client.
    pub client: u64,
}

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its source said that it was finished.
    Clean,
    /// Its source stopped without saying so.
    Cut,
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Both directions came to an end.
    Ended {
        /// How the client ended.
        client: End,
        /// How the upstream ended.
        upstream: End,
    },
    /// A connection failed while it was read from or written to.
    Failed {
        /// Which one.
        side: SideName,
        /// How.
        error: io::ErrorKind,
    },
    /// Nothing was said for the idle timeout.
    Idle,
    /// The session reached its lifetime.
    Lifetime,
    /// The proxy is shutting down.
    Shutdown,
}

/// The two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideName {
    /// The client.
    Client,
    /// The upstream.
    Upstream,
}

/// Where one direction stands.
#[derive(Clone, Copy, Debug)]
enum Flow {
    /// Bytes go from source to sink; `unflushed` when the sink may still hold some.
    Copying { unflushed: bool },
    /// The source has ended; the sink is being told.
    Ending(End),
    /// The sink has been told.
    Done(End),
}

/// What happened in one step of a direction, in terms of which end of it failed.
enum Fault {
    Source(io::Error),
    Sink(io::Error),
}

/// Steps of a session that never pauses between two looks at the shutdown.
const SHUTDOWN_STEPS: u32 = 64;

/// Relays until both directions have ended, a connection fails, a limit is reached or `shutdown` completes. `counters`
/// holds what was relayed so far at any time.
pub async fn relay<C: Side, U: Side>(
    mut client: C,
    mut upstream: U,
    limits: Limits,
    counters: &mut Counters,
    shutdown: impl Future<Output = ()>,
) -> Outcome {
    let mut shutdown = std::pin::pin!(shutdown);
    let started = Instant::now();
    let end_of_life = started + limits.session_lifetime;
    let mut last_progress = started;
    let mut timer = std::pin::pin!(sleep_until((started + limits.idle_timeout).min(end_of_life)));
    let (mut to_upstream, mut to_client) = (Flow::Copying { unflushed: false }, Flow::Copying { unflushed: false });
    let mut steps = 0_u32;
    poll_fn(|cx| {
        let before = *counters;
        let sent = step(cx, &mut to_upstream, Pin::new(&mut client), Pin::new(&mut upstream), &mut counters.upstream);
        let received = step(cx, &mut to_client, Pin::new(&mut upstream), Pin::new(&mut client), &mut counters.client);
        if let Some(outcome) = ended(sent, received) {
            return Poll::Ready(outcome);
        }
        let moved = *counters != before;
        if moved {
            last_progress = Instant::now();
        }
        // Asking whether to shut down may take a lock that all sessions share. It wakes this task, so it is asked when
        // no bytes were what woke it, and now and then where bytes never cease.
        if (!moved || steps.is_multiple_of(SHUTDOWN_STEPS)) && shutdown.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Outcome::Shutdown);
        }
        steps = steps.wrapping_add(1);
        poll_timer(cx, timer.as_mut(), last_progress + limits.idle_timeout, end_of_life)
    })
    .await
}

fn ended(sent: Poll<Result<End, Fault>>, received: Poll<Result<End, Fault>>) -> Option<Outcome> {
    use SideName::{Client, Upstream};
    let failed = |side, error: &io::Error| Some(Outcome::Failed { side, error: error.kind() });
    match (sent, received) {
        (Poll::Ready(Err(Fault::Source(error))), _) | (_, Poll::Ready(Err(Fault::Sink(error)))) => {
            failed(Client, &error)
        }
        (Poll::Ready(Err(Fault::Sink(error))), _) | (_, Poll::Ready(Err(Fault::Source(error)))) => {
            failed(Upstream, &error)
        }
        (Poll::Ready(Ok(client)), Poll::Ready(Ok(upstream))) => Some(Outcome::Ended { client, upstream }),
        _ => None,
    }
}

/// The timer is not moved with every byte: when it fires, it is set to what has become of the deadline meanwhile.
fn poll_timer(cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>, idle: Instant, end_of_life: Instant) -> Poll<Outcome> {
    loop {
        ready!(timer.as_mut().poll(cx));
        let now = Instant::now();
        if now >= end_of_life {
            return Poll::Ready(Outcome::Lifetime);
        }
        if now >= idle {
            return Poll::Ready(Outcome::Idle);
        }
        timer.as_mut().reset(idle.min(end_of_life));
    }
}

/// Moves one direction on as far as it goes without waiting.
fn step<S: Side, T: Side>(
    cx: &mut Context<'_>,
    flow: &mut Flow,
    mut source: Pin<&mut S>,
    mut sink: Pin<&mut T>,
    count: &mut u64,
) -> Poll<Result<End, Fault>> {
    loop {
        match flow {
            Flow::Copying { unflushed } => match source.as_mut().poll_fill_buf(cx) {
                Poll::Pending => {
                    if *unflushed {
                        ready!(sink.as_mut().poll_flush(cx)).map_err(Fault::Sink)?;
                        *unflushed = false;
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Ok([])) => *flow = Flow::Ending(End::Clean),
                Poll::Ready(Ok(bytes)) => {
                    let written = ready!(sink.as_mut().poll_write(cx, bytes)).map_err(Fault::Sink)?;
                    if written == 0 {
                        return Poll::Ready(Err(Fault::Sink(io::ErrorKind::WriteZero.into())));
                    }
                    *unflushed = true;
                    *count += written as u64;
                    source.as_mut().consume(written);
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    *flow = Flow::Ending(End::Cut);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Fault::Source(error))),
            },
            Flow::Ending(end) => {
                let end = *end;
                ready!(sink.as_mut().poll_flush(cx)).map_err(Fault::Sink)?;
                let told = match end {
                    End::Clean => ready!(sink.as_mut().poll_shutdown(cx)),
                    End::Cut => ready!(sink.as_mut().poll_cut(cx)),
                };
                // A peer that has closed already cannot be told, and need not be.
                if let Err(error) = told
                    && !matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::BrokenPipe)
                {
                    return Poll::Ready(Err(Fault::Sink(error)));
                }
                *flow = Flow::Done(end);
            }
            Flow::Done(end) => return Poll::Ready(Ok(*end)),
        }
    }
}
