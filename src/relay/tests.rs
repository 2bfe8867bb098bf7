//! Scripted sides: what one reads is given, what is written to the other is looked at.

mod saturation;

use super::copying::{GATHERED_MAX, PIECE_SMALL};
use super::*;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf};
use tokio::task::coop::poll_proceed;

/// What a side does when it is read from.
#[derive(Clone, Debug)]
enum Read {
    Bytes(Vec<u8>),
    Clean,
    Cut,
    Fails(io::ErrorKind),
    /// Nothing, ever.
    Silent,
    /// The same bytes again and again.
    Endless(Vec<u8>),
    /// The same, with all that is left of the budget of the task.
    Greedy,
}

/// A side whose reads are a script.
#[derive(Debug)]
struct Scripted {
    reads: VecDeque<Read>,
    read: usize,
    written: Vec<u8>,
    flushed: usize,
    /// Bytes that can still be written before the side takes no more.
    room: usize,
    /// Bytes taken by one write.
    bite: usize,
    write_error: Option<io::ErrorKind>,
    end_error: Option<io::ErrorKind>,
    ended: Option<End>,
    /// Whose bytes were written when, first letters alone, where several sides share it.
    log: Rc<RefCell<String>>,
}

impl Scripted {
    fn new(reads: impl IntoIterator<Item = Read>) -> Self {
        Self {
            reads: reads.into_iter().collect(),
            read: 0,
            written: Vec::new(),
            flushed: 0,
            room: usize::MAX,
            bite: usize::MAX,
            write_error: None,
            end_error: None,
            ended: None,
            log: Rc::default(),
        }
    }

    fn says(text: &str, end: Read) -> Self {
        Self::new([Read::Bytes(text.into()), end])
    }

    fn end(&mut self, how: End) -> Poll<io::Result<()>> {
        assert_eq!(self.flushed, self.written.len(), "what was written goes out before the end");
        assert_eq!(self.ended.replace(how), None, "a side is ended once");
        Poll::Ready(self.end_error.map_or(Ok(()), |error| Err(error.into())))
    }
}

impl AsyncRead for Scripted {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        unreachable!("the relay reads what is buffered")
    }
}

impl AsyncBufRead for Scripted {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        match Pin::get_mut(self).reads.front() {
            Some(Read::Bytes(bytes) | Read::Endless(bytes)) => Poll::Ready(Ok(bytes)),
            Some(Read::Greedy) => {
                while let Poll::Ready(spent) = poll_proceed(cx) {
                    spent.made_progress();
                }
                Poll::Ready(Ok(b"greedy"))
            }
            Some(Read::Clean) => Poll::Ready(Ok(&[])),
            Some(Read::Cut) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Some(Read::Fails(kind)) => Poll::Ready(Err((*kind).into())),
            Some(Read::Silent) | None => Poll::Pending,
        }
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.read += amount;
        if let Some(Read::Bytes(bytes)) = self.reads.front_mut() {
            bytes.drain(..amount);
            if bytes.is_empty() {
                self.reads.pop_front();
            }
        }
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        assert_eq!(self.ended, None, "nothing is written behind the end");
        if let Some(error) = self.write_error {
            return Poll::Ready(Err(error.into()));
        }
        let length = bytes.len().min(self.bite).min(self.room);
        if length == 0 && self.bite > 0 {
            return Poll::Pending;
        }
        self.room -= length;
        self.written.extend_from_slice(&bytes[..length]);
        self.log.borrow_mut().push(char::from(bytes[0]));
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushed = self.written.len();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::get_mut(self).end(End::Clean)
    }
}

impl Side for &mut Scripted {
    fn poll_cut(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::get_mut(self).end(End::Cut)
    }
}

const LONG: Limits = Limits { idle_timeout: Duration::from_secs(60), session_lifetime: Duration::from_secs(60) };
const SHORT: Duration = Duration::from_millis(30);

/// Relays between the two until an outcome, which must come before a deadline.
async fn run(client: &mut Scripted, upstream: &mut Scripted, limits: Limits) -> (Outcome, Counters) {
    let mut counters = Counters::default();
    let relaying = relay(client, upstream, limits, &mut counters, pending());
    let outcome = tokio::time::timeout(Duration::from_secs(10), relaying).await.expect("an outcome");
    (outcome, counters)
}

#[tokio::test]
async fn bytes_and_ends_pass_unchanged() {
    let ends = [(Read::Clean, End::Clean), (Read::Cut, End::Cut)];
    for (client_ends, client_end) in &ends {
        for (upstream_ends, upstream_end) in &ends {
            for bite in [1, 3, usize::MAX] {
                let mut client = Scripted::says("question", client_ends.clone());
                let mut upstream = Scripted::says("a longer answer", upstream_ends.clone());
                (client.bite, upstream.bite) = (bite, bite);
                let (outcome, counters) = run(&mut client, &mut upstream, LONG).await;
                assert_eq!(outcome, Outcome::Ended { client: *client_end, upstream: *upstream_end });
                assert_eq!(counters, Counters { upstream: 8, client: 15 });
                assert_eq!((client.written.as_slice(), client.ended), (&b"a longer answer"[..], Some(*upstream_end)));
                assert_eq!((upstream.written.as_slice(), upstream.ended), (&b"question"[..], Some(*client_end)));
            }
        }
    }
}

#[tokio::test]
async fn one_direction_may_end_long_before_the_other() {
    let mut client = Scripted::says("question", Read::Clean);
    let mut upstream = Scripted::says("still talking", Read::Silent);
    let limits = Limits { idle_timeout: SHORT, ..LONG };
    let (outcome, counters) = run(&mut client, &mut upstream, limits).await;
    assert_eq!(outcome, Outcome::Idle);
    assert_eq!(counters, Counters { upstream: 8, client: 13 });
    assert_eq!((client.ended, upstream.ended), (None, Some(End::Clean)));
    assert_eq!(client.flushed, 13, "a source that pauses lets what it said go out");
}

#[tokio::test]
async fn failures_name_their_side() {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, TimedOut, WriteZero};
    let quiet = || Scripted::new([Read::Silent]);
    let speaks = || Scripted::says("x", Read::Silent);
    let fails = |kind| Scripted::new([Read::Fails(kind)]);
    let refuses = |kind| Scripted { write_error: Some(kind), ..quiet() };
    let ends = |end, error| Scripted { end_error: error, ..Scripted::new([end]) };
    let (client, upstream) = (Some(SideName::Client), Some(SideName::Upstream));
    let table = [
        ("reading from the client", fails(ConnectionReset), quiet(), client, ConnectionReset),
        ("reading from the upstream", quiet(), fails(TimedOut), upstream, TimedOut),
        ("writing to the client", refuses(BrokenPipe), speaks(), client, BrokenPipe),
        ("writing to the upstream", speaks(), refuses(BrokenPipe), upstream, BrokenPipe),
        ("a write of nothing", speaks(), Scripted { bite: 0, ..quiet() }, upstream, WriteZero),
        ("ending the upstream", ends(Read::Clean, None), ends(Read::Silent, Some(TimedOut)), upstream, TimedOut),
        ("cutting the client", ends(Read::Silent, Some(TimedOut)), ends(Read::Cut, None), client, TimedOut),
        ("ending who is gone", ends(Read::Clean, None), ends(Read::Clean, Some(NotConnected)), None, NotConnected),
        ("cutting who is gone", ends(Read::Cut, None), ends(Read::Cut, Some(BrokenPipe)), None, BrokenPipe),
    ];
    for (name, mut client, mut upstream, failed, error) in table {
        let (outcome, _) = run(&mut client, &mut upstream, LONG).await;
        match failed {
            Some(side) => assert_eq!(outcome, Outcome::Failed { side, error: error.to_string() }, "{name}"),
            None => assert!(matches!(outcome, Outcome::Ended { .. }), "{name}: {outcome:?}"),
        }
    }
}

/// Whoever is cut off may answer with an alert, or be gone with a reset: that was begun by the other side.
#[tokio::test]
async fn a_failure_behind_a_cut_is_told_of_who_cut() {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    let cuts = || Scripted::new([Read::Cut]);
    let fails = || Scripted::new([Read::Fails(ConnectionReset)]);
    let ends = || Scripted::new([Read::Clean]);
    let speaks_to_nobody = || (Scripted { write_error: Some(BrokenPipe), ..cuts() }, Scripted::says("x", Read::Silent));
    let failed = |side, error: io::ErrorKind| Outcome::Failed { side, error: error.to_string() };
    let cut = |by| Outcome::Cut { by, error: ConnectionReset.to_string() };
    let (gone, speaks) = speaks_to_nobody();
    let table = [
        // A clean end excuses nobody, and who has cut the connection is to blame for what is not read there any more.
        (
            "the upstream fails behind the end of the client",
            ends(),
            fails(),
            failed(SideName::Upstream, ConnectionReset),
        ),
        ("the client fails behind the end of the upstream", fails(), ends(), failed(SideName::Client, ConnectionReset)),
        ("the client cuts and reads no more", gone, speaks, failed(SideName::Client, BrokenPipe)),
        ("the upstream fails behind the cut of the client", cuts(), fails(), cut(SideName::Client)),
        ("the client fails behind the cut of the upstream", fails(), cuts(), cut(SideName::Upstream)),
    ];
    for (name, mut client, mut upstream, expected) in table {
        let (outcome, _) = run(&mut client, &mut upstream, LONG).await;
        assert_eq!(outcome, expected, "{name}");
    }
}

#[tokio::test]
async fn a_sink_that_takes_no_more_stops_its_source() {
    // Small pieces are gathered before they are written: what did not fit is held, and no more is asked for.
    for (room, piece, held) in [(1_000, 64, STEP_READS * 64 - 1_000), (10_000, PIECE_SMALL, 0)] {
        let mut client = Scripted { room, ..Scripted::new([Read::Silent]) };
        let mut upstream = Scripted::new([Read::Endless(vec![b'x'; piece])]);
        let limits = Limits { idle_timeout: SHORT, ..LONG };
        let (outcome, counters) = run(&mut client, &mut upstream, limits).await;
        assert_eq!(outcome, Outcome::Idle, "a side that is full does not count as life");
        assert_eq!((upstream.read, client.written.len()), (room + held, room), "pieces of {piece}");
        assert!(held <= GATHERED_MAX);
        assert_eq!(counters, Counters { upstream: 0, client: room as u64 });
    }
}

/// Whatever the pieces, and however little the sink takes at a time: the same bytes in the same order, then the end.
#[tokio::test]
async fn small_pieces_are_written_together() {
    let bytes = |length: usize| (0..length).map(|n| u8::try_from(n % 251).expect("small")).collect::<Vec<_>>();
    // pieces, bytes taken by one write, writes
    for (pieces, bite, writes) in [
        (vec![1, 1, 1], usize::MAX, 1),
        (vec![1, 1, 1], 1, 3),
        (vec![100; 20], usize::MAX, 1),
        (vec![GATHERED_MAX - 1, 2], usize::MAX, 2),
        (vec![PIECE_SMALL - 1, PIECE_SMALL, 1], usize::MAX, 1),
        (vec![PIECE_SMALL - 1, PIECE_SMALL, 2], usize::MAX, 2),
        (vec![PIECE_SMALL, 1, 1], usize::MAX, 2),
        (vec![3_000; 6], 2_000, 10),
    ] {
        for end in [Read::Clean, Read::Cut] {
            let whole = bytes(pieces.iter().sum());
            let mut from = 0;
            let mut reads: Vec<_> = pieces
                .iter()
                .map(|length| {
                    from += length;
                    Read::Bytes(whole[from - length..from].to_vec())
                })
                .collect();
            reads.push(end.clone());
            let mut upstream = Scripted::new(reads);
            let mut client = Scripted { bite, ..Scripted::new([Read::Clean]) };
            client.log = Rc::default();
            let log = Rc::clone(&client.log);
            let (outcome, counters) = run(&mut client, &mut upstream, LONG).await;
            let upstream_end = if matches!(end, Read::Cut) { End::Cut } else { End::Clean };
            assert_eq!(outcome, Outcome::Ended { client: End::Clean, upstream: upstream_end }, "{pieces:?}");
            assert_eq!((client.written == whole, counters.client), (true, whole.len() as u64), "{pieces:?} by {bite}");
            assert_eq!(log.borrow().chars().count(), writes, "{pieces:?} by {bite}");
        }
    }
}

/// What a source said before it failed is written as far as the sink takes it.
#[tokio::test]
async fn small_pieces_before_a_failure() {
    let reset = io::ErrorKind::ConnectionReset;
    let said = |text: &str| Read::Bytes(text.into());
    let mut upstream = Scripted::new([said("la"), said("st"), Read::Fails(reset)]);
    let mut client = Scripted::new([Read::Silent]);
    let (outcome, counters) = run(&mut client, &mut upstream, LONG).await;
    assert_eq!(outcome, Outcome::Failed { side: SideName::Upstream, error: reset.to_string() });
    assert_eq!((client.written.as_slice(), counters.client), (b"last".as_slice(), 4));
}

#[tokio::test]
async fn the_lifetime_ends_a_session_whose_idle_time_is_longer() {
    let limits = Limits { session_lifetime: SHORT, ..LONG };
    let started = std::time::Instant::now();
    let (outcome, _) = run(&mut Scripted::new([Read::Silent]), &mut Scripted::new([Read::Silent]), limits).await;
    assert_eq!(outcome, Outcome::Lifetime);
    assert!(started.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_shutdown_keeps_the_count() {
    let (mut client, mut upstream) = (Scripted::says("question", Read::Silent), Scripted::new([Read::Silent]));
    let mut counters = Counters::default();
    let outcome = relay(&mut client, &mut upstream, LONG, &mut counters, async {}).await;
    assert_eq!(outcome, Outcome::Shutdown);
    assert_eq!((counters, upstream.written.as_slice()), (Counters { upstream: 8, client: 0 }, &b"question"[..]));
    assert_eq!(upstream.ended, None, "a session that is cut short does not end cleanly");
}

#[tokio::test(start_paused = true)]
async fn progress_in_one_direction_keeps_a_session_alive() {
    // In memory, and spoken to by the test: the idle time is many times the pause between two words.
    let (mut test, proxied) = tokio::io::duplex(64);
    let mut upstream = Scripted::new([Read::Silent]);
    let limits = Limits { idle_timeout: SHORT * 10, ..LONG };
    let talking = async {
        let mut pace = tokio::time::interval(SHORT);
        for _ in 0..15 {
            pace.tick().await;
            test.write_all(b"word").await.expect("the relay reads");
        }
        test.shutdown().await.expect("it ends");
    };
    let mut counters = Counters::default();
    let relaying = relay(tokio::io::BufReader::new(proxied), &mut upstream, limits, &mut counters, pending());
    let (outcome, ()) = tokio::join!(relaying, talking);
    assert_eq!(outcome, Outcome::Idle, "after the last word, and not between two");
    assert_eq!(counters.upstream, 60);
    assert_eq!(upstream.ended, Some(End::Clean));
}

/// Counts how often a task was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn endless(byte: u8) -> Scripted {
    Scripted::new([Read::Endless(vec![byte])])
}

#[test]
fn a_step_stops_at_its_bound_and_comes_back() {
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    let long = |rounds| Scripted::new(vec![Read::Bytes(vec![b'x'; PIECE_SMALL]); rounds]);
    for (mut source, written, woken) in [
        (endless(b'x'), STEP_READS, 1),
        (Scripted::new([Read::Endless(vec![b'x'; PIECE_SMALL])]), STEP_ROUNDS * PIECE_SMALL, 1),
        (long(STEP_ROUNDS + 1), STEP_ROUNDS * PIECE_SMALL, 1),
        (long(STEP_ROUNDS - 1), (STEP_ROUNDS - 1) * PIECE_SMALL, 0),
    ] {
        let (mut flow, mut count, mut sink) = (Flow::Copying(Copying::default()), 0, Scripted::new([]));
        wakes.0.store(0, Ordering::Relaxed);
        let stepped = step(&mut cx, &mut flow, Pin::new(&mut &mut source), Pin::new(&mut &mut sink), &mut count);
        assert!(stepped.is_pending());
        assert_eq!((sink.written.len(), count), (written, written as u64));
        assert_eq!(wakes.0.load(Ordering::Relaxed), woken, "who stopped early goes on, who waits is left alone");
    }
}

#[tokio::test]
async fn the_directions_take_turns_at_going_first() {
    let (mut client, mut upstream) = (endless(b'c'), endless(b'u'));
    upstream.log = Rc::clone(&client.log);
    let (log, mut counters) = (Rc::clone(&client.log), Counters::default());
    let mut relaying = std::pin::pin!(relay(&mut client, &mut upstream, LONG, &mut counters, pending()));
    for _ in 0..4 {
        assert!(relaying.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    // What is said in small pieces is written at once.
    assert_eq!(*log.borrow(), "cuuc".repeat(2));
}

#[tokio::test]
async fn a_direction_that_spends_the_budget_hides_no_limit_and_no_shutdown() {
    let greedy = || Scripted::new([Read::Greedy]);
    let limits = Limits { session_lifetime: SHORT, ..LONG };
    let (outcome, counters) = run(&mut greedy(), &mut greedy(), limits).await;
    assert_eq!(outcome, Outcome::Lifetime);
    assert!(counters.upstream > 0 && counters.client > 0, "{counters:?}");

    // The receiver of a channel spends of the budget, too.
    let (shut_down, asked) = tokio::sync::oneshot::channel::<()>();
    let (mut client, mut upstream, mut counters) = (greedy(), greedy(), Counters::default());
    let shutdown = async { drop(asked.await) };
    let relaying = relay(&mut client, &mut upstream, LONG, &mut counters, shutdown);
    let stopping = async {
        tokio::time::sleep(SHORT).await;
        shut_down.send(()).expect("the relay waits for it");
    };
    let both = async { tokio::join!(relaying, stopping) };
    let (outcome, ()) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("an outcome");
    assert_eq!(outcome, Outcome::Shutdown);
}

#[tokio::test]
async fn the_shutdown_is_polled_when_it_has_something_to_say() {
    let (mut client, mut upstream, mut counters) = (endless(b'c'), endless(b'u'), Counters::default());
    let asked = Cell::new(0);
    let shutdown = poll_fn(|cx| {
        asked.set(asked.get() + 1);
        // Woken twice without being ready.
        if asked.get() <= 2 {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    });
    let mut relaying = std::pin::pin!(relay(&mut client, &mut upstream, LONG, &mut counters, shutdown));
    poll_fn(|cx| {
        assert!((0..1_000).all(|_| relaying.as_mut().poll(cx).is_pending()));
        Poll::Ready(())
    })
    .await;
    assert_eq!(asked.get(), 3, "once at first and once for each time it woke the session, not with every byte");
}

#[tokio::test]
async fn a_shutdown_that_comes_with_the_last_byte_is_not_missed() {
    let (mut test, proxied) = tokio::io::duplex(64);
    let (mut upstream, mut counters) = (Scripted::new([Read::Silent]), Counters::default());
    let (shut_down, asked) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async { drop(asked.await) };
    let client = tokio::io::BufReader::new(proxied);
    let mut relaying = std::pin::pin!(relay(client, &mut upstream, LONG, &mut counters, shutdown));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(relaying.as_mut().poll(&mut cx).is_pending());
    test.write_all(b"last").await.expect("it is buffered");
    shut_down.send(()).expect("the relay waits for it");
    assert_eq!(relaying.as_mut().poll(&mut cx), Poll::Ready(Outcome::Shutdown));
}
