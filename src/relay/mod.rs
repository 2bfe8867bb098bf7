//! Copies bytes between two sides, both ways at once. Knows no TLS, no host, no policy.
//!
//! Each direction reads what its source has buffered and writes it to its sink without a buffer of its own, so an idle
//! session costs nothing here. Small pieces that are there at one time are written together, by way of a buffer that all
//! sessions of a thread share. How a side ends is passed on: a clean end as a clean end, a cut as a cut.
//!
//! No direction can starve the other one, the limits or the shutdown: each time the session is polled, both directions
//! move a bounded amount, they take turns at going first, and everything else is looked at.

mod bell;
mod copying;

use bell::Bell;
use copying::Copying;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// One side of a session.
pub trait Side: AsyncBufRead + AsyncWrite + Unpin {
    /// Ends the sending direction without saying that the data is complete, so that the peer sees a truncation (for
    /// TLS: without close_notify, RFC 8446 section 6.1).
    fn poll_cut(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl<S: Side + ?Sized> Side for Box<S> {
    fn poll_cut(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut **self).poll_cut(cx)
    }
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
        /// How, in the words of whoever noticed: for TLS, the alert that was received.
        error: String,
    },
    /// A side stopped without saying so, and the connection to the other one failed over that.
    Cut {
        /// Who stopped.
        by: SideName,
        /// How the other connection failed.
        error: String,
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
#[derive(Debug)]
enum Flow {
    /// Bytes go from source to sink.
    Copying(Copying),
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

/// Rounds of a direction, each with one write at most, before it is the turn of the rest of the session: with TLS, up
/// to 128 KiB. What both directions spend on that stays below the budget that tokio gives a task for one poll, beyond
/// which nothing is ready any more.
const STEP_ROUNDS: usize = 8;

/// Times that a direction asks its source for more before it is the turn of the rest.
const STEP_READS: usize = 32;

/// Relays until both directions have ended, a connection fails, a limit is reached or `shutdown` completes. `counters`
/// holds what was relayed so far at any time.
pub async fn relay<C: Side, U: Side>(
    client: C,
    upstream: U,
    limits: Limits,
    counters: &mut Counters,
    shutdown: impl Future<Output = ()>,
) -> Outcome {
    let started = Instant::now();
    let mut relaying = Relaying {
        client,
        upstream,
        to_upstream: Flow::Copying(Copying::default()),
        to_client: Flow::Copying(Copying::default()),
        upload_first: true,
        counters,
        bell: Bell::default(),
        idle_timeout: limits.idle_timeout,
        end_of_life: started + limits.session_lifetime,
        last_progress: started,
    };
    // Neither shutdown nor timer is hidden by what the directions have left of the task's budget.
    let mut shutdown = std::pin::pin!(unconstrained(shutdown));
    let mut timer = std::pin::pin!(sleep_until((started + limits.idle_timeout).min(relaying.end_of_life)));
    poll_fn(|cx| relaying.poll(cx, shutdown.as_mut(), timer.as_mut())).await
}

/// A relay as far as it has come. One value, since a future keeps a pointer to each that it uses, in every idle session.
struct Relaying<'c, C, U> {
    client: C,
    upstream: U,
    to_upstream: Flow,
    to_client: Flow,
    upload_first: bool,
    counters: &'c mut Counters,
    bell: Bell,
    idle_timeout: Duration,
    end_of_life: Instant,
    last_progress: Instant,
}

impl<C: Side, U: Side> Relaying<'_, C, U> {
    fn poll<F: Future>(
        &mut self,
        cx: &mut Context<'_>,
        shutdown: Pin<&mut F>,
        timer: Pin<&mut Sleep>,
    ) -> Poll<Outcome> {
        let before = *self.counters;
        let (mut sent, mut received) = (Poll::Pending, Poll::Pending);
        for upload in [self.upload_first, !self.upload_first] {
            let (client, upstream) = (Pin::new(&mut self.client), Pin::new(&mut self.upstream));
            if upload {
                sent = step(cx, &mut self.to_upstream, client, upstream, &mut self.counters.upstream);
            } else {
                received = step(cx, &mut self.to_client, upstream, client, &mut self.counters.client);
            }
        }
        self.upload_first = !self.upload_first;
        if let Some(outcome) = ended(sent, received) {
            return Poll::Ready(outcome);
        }
        if *self.counters != before {
            self.last_progress = Instant::now();
        }
        // Asking may take a lock that all sessions share, so it is not done for every piece of data.
        if self.bell.poll_if_rung(cx, shutdown).is_ready() {
            return Poll::Ready(Outcome::Shutdown);
        }
        poll_timer(cx, timer, self.last_progress + self.idle_timeout, self.end_of_life)
    }
}

fn ended(sent: Poll<Result<End, Fault>>, received: Poll<Result<End, Fault>>) -> Option<Outcome> {
    use SideName::{Client, Upstream};
    let failed = |side, error: &io::Error| Some(Outcome::Failed { side, error: error.to_string() });
    match (sent, received) {
        // Being cut, many a TLS stack answers with a fatal alert; it is not to blame.
        (Poll::Ready(Ok(End::Cut)), Poll::Ready(Err(Fault::Source(error)))) => {
            Some(Outcome::Cut { by: Client, error: error.to_string() })
        }
        (Poll::Ready(Err(Fault::Source(error))), Poll::Ready(Ok(End::Cut))) => {
            Some(Outcome::Cut { by: Upstream, error: error.to_string() })
        }
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
        ready!(Pin::new(&mut unconstrained(timer.as_mut())).poll(cx));
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

/// Moves one direction on as far as it goes without waiting, but no further than [`STEP_ROUNDS`]. Where that cuts it
/// short, it is pending and has woken the task.
fn step<S: Side, T: Side>(
    cx: &mut Context<'_>,
    flow: &mut Flow,
    mut source: Pin<&mut S>,
    mut sink: Pin<&mut T>,
    count: &mut u64,
) -> Poll<Result<End, Fault>> {
    let mut reads = STEP_READS;
    for _ in 0..STEP_ROUNDS {
        match flow {
            Flow::Copying(copying) => {
                if let Some(end) = ready!(copying.poll_round(cx, source.as_mut(), sink.as_mut(), count, &mut reads))? {
                    *flow = Flow::Ending(end);
                }
                if reads == 0 {
                    break;
                }
            }
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
    cx.waker().wake_by_ref();
    Poll::Pending
}

#[cfg(test)]
mod tests;
