//! Lines on their way to something slow: a bounded queue, and a thread that writes them out.
//!
//! Who adds a line never waits for the writer, and wakes it at most once in [`BATCH`]: at a thousand sessions a second a
//! thread that is woken for each line costs more than the lines.

use rustix::fs::FileType;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long the writer lets lines gather once there is one.
const BATCH: Duration = Duration::from_millis(10);

/// Room for lines that is kept between batches, in octets; what a burst needed beyond is given back.
const ROOM_KEPT: usize = 64 << 10;

/// How long the last lines of a queue may take to be written, when the program ends.
pub const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(1);

/// How the lines of a batch are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// All with one call: for a regular file, where what two processes append does not mix within a call.
    Batches,
    /// Each with one call: for everything else. Of a pipe, lines of up to 4 KiB do not mix.
    Lines,
}

/// The end of the queue that takes lines. Clones take them for the same writer.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Shared>);

/// Writes out what is queued, and ends the thread, when it is dropped.
#[derive(Debug)]
pub struct QueueGuard {
    queue: Queue,
    ended: Receiver<()>,
}

#[derive(Debug)]
struct Shared {
    lines_max: usize,
    waiting: Mutex<Waiting>,
    changed: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    octets: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
    /// Lines that are being written.
    in_hand: usize,
    /// Nothing is written any more but what is there.
    closed: bool,
}

impl Writing {
    /// What suits this file.
    pub fn to(file: impl AsFd) -> Self {
        match rustix::fs::fstat(file) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => Self::Batches,
            _ => Self::Lines,
        }
    }
}

impl Queue {
    /// A queue for so many lines, beside as many that are being written, and the thread of this name that writes them.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        name: &str,
        lines_max: usize,
        writing: Writing,
        writer: impl Write + Send + 'static,
    ) -> io::Result<(Self, QueueGuard)> {
        let shared = Shared { lines_max, waiting: Mutex::default(), changed: Condvar::new(), lost: AtomicU64::new(0) };
        let queue = Self(Arc::new(shared));
        let (last, ended) = channel();
        let shared = Arc::clone(&queue.0);
        let work = move || {
            write_out(&shared, writing, writer);
            // Nobody waits for it where the program did not end in order.
            drop(last);
        };
        thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok((queue.clone(), QueueGuard { queue, ended }))
    }

    /// Takes a line, with its line break, and tells whether it did. Returns at once: a line that there is no room for is
    /// lost, and counted.
    pub fn push(&self, line: &[u8]) -> bool {
        let mut waiting = self.0.waiting();
        if waiting.closed || waiting.ends.len() >= self.0.lines_max {
            drop(waiting);
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let was_empty = waiting.ends.is_empty();
        waiting.octets.extend_from_slice(line);
        let end = waiting.octets.len();
        waiting.ends.push(end);
        drop(waiting);
        if was_empty {
            self.0.changed.notify_one();
        }
        true
    }

    /// Lines that wait to be written, those that are being written included.
    pub fn waiting(&self) -> usize {
        let waiting = self.0.waiting();
        waiting.ends.len() + waiting.in_hand
    }

    /// Lines that were lost since the start: there was no room for them, or the writer did not take them.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Drop for QueueGuard {
    fn drop(&mut self) {
        self.queue.0.waiting().closed = true;
        self.queue.0.changed.notify_one();
        // The thread sends nothing; it is heard when it ends. One that hangs in a write is left behind, with its lines.
        if self.ended.recv_timeout(LAST_LINES_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            let waiting = self.queue.0.waiting();
            self.queue.0.lost.fetch_add((waiting.ends.len() + waiting.in_hand) as u64, Ordering::Relaxed);
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_out(shared: &Shared, writing: Writing, mut writer: impl Write) {
    let (mut octets, mut ends) = (Vec::new(), Vec::new());
    loop {
        let empty = |waiting: &mut Waiting| waiting.ends.is_empty() && !waiting.closed;
        let waiting = shared.changed.wait_while(shared.waiting(), empty).unwrap_or_else(PoisonError::into_inner);
        if !waiting.closed {
            drop(waiting);
            thread::sleep(BATCH);
        } else if waiting.ends.is_empty() {
            return;
        } else {
            drop(waiting);
        }
        let mut waiting = shared.waiting();
        std::mem::swap(&mut octets, &mut waiting.octets);
        std::mem::swap(&mut ends, &mut waiting.ends);
        waiting.in_hand = ends.len();
        drop(waiting);
        let unwritten = write_batch(&mut writer, writing, &octets, &ends);
        shared.lost.fetch_add(unwritten, Ordering::Relaxed);
        shared.waiting().in_hand = 0;
        octets.clear();
        octets.shrink_to(ROOM_KEPT);
        ends.clear();
        ends.shrink_to(ROOM_KEPT / size_of::<usize>());
    }
}

/// Writes a batch; gives how many of its lines were not written.
fn write_batch(writer: &mut impl Write, writing: Writing, octets: &[u8], ends: &[usize]) -> u64 {
    let mut lost = 0;
    match writing {
        Writing::Batches => {
            if let Err(written) = write_counting(writer, octets) {
                lost = ends.iter().filter(|end| **end > written).count() as u64;
            }
        }
        Writing::Lines => {
            let mut from = 0;
            for end in ends {
                lost += u64::from(writer.write_all(&octets[from..*end]).is_err());
                from = *end;
            }
        }
    }
    // What a flush cannot write was counted as written; nothing here buffers.
    drop(writer.flush());
    lost
}

/// As `write_all`, but tells how many octets were written before the error.
fn write_counting(writer: &mut impl Write, octets: &[u8]) -> Result<(), usize> {
    let mut written = 0;
    while written < octets.len() {
        match writer.write(&octets[written..]) {
            Ok(0) => return Err(written),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(written),
        }
    }
    Ok(())
}

/// For `tracing_subscriber`, which writes a whole line with one call.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::Sender;

    /// Takes so many octets, then refuses; tells the calls.
    #[derive(Clone, Debug)]
    struct Limited {
        calls: Arc<Mutex<Vec<Vec<u8>>>>,
        room: usize,
    }

    impl Limited {
        fn new(room: usize) -> Self {
            Self { calls: Arc::default(), room }
        }

        fn calls(&self) -> Vec<String> {
            let calls = self.calls.lock().unwrap();
            calls.iter().map(|call| String::from_utf8(call.clone()).unwrap()).collect()
        }
    }

    impl Write for Limited {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let taken = octets.len().min(self.room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= taken;
            self.calls.lock().unwrap().push(octets[..taken].to_vec());
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_written_and_what_is_lost() {
        let ends = [2, 4, 6];
        // how, room of the writer, calls, lines lost of "a\nb\nc\n"
        let table: [(Writing, usize, &[&str], u64); 8] = [
            (Writing::Batches, 0, &[], 3),
            (Writing::Batches, 3, &["a\nb"], 2),
            (Writing::Batches, 4, &["a\nb\n"], 1),
            (Writing::Batches, 6, &["a\nb\nc\n"], 0),
            (Writing::Lines, 0, &[], 3),
            (Writing::Lines, 3, &["a\n", "b"], 2),
            (Writing::Lines, 4, &["a\n", "b\n"], 1),
            (Writing::Lines, 6, &["a\n", "b\n", "c\n"], 0),
        ];
        for (writing, room, calls, lost) in table {
            let mut writer = Limited::new(room);
            assert_eq!(write_batch(&mut writer, writing, b"a\nb\nc\n", &ends), lost, "{writing:?}, room for {room}");
            assert_eq!(writer.calls(), calls, "{writing:?}, room for {room}");
        }
    }

    #[test]
    fn lines_are_written_in_their_order_and_the_last_ones_at_the_end() {
        let writer = Limited::new(usize::MAX);
        let (queue, guard) = Queue::start("test", usize::MAX, Writing::Batches, writer.clone()).unwrap();
        let lines: Vec<_> = (0..10_000).map(|n| format!("{n}\n")).collect();
        for line in &lines {
            queue.push(line.as_bytes());
        }
        drop(guard);
        assert_eq!(writer.calls().concat(), lines.concat());
        assert_eq!(queue.lost(), 0);
        // What comes later is not written, and counted.
        queue.push(b"late\n");
        assert_eq!((writer.calls().concat(), queue.lost()), (lines.concat(), 1));
    }

    /// A writer that hangs is not waited for, and what it had and what waits for it is counted.
    #[test]
    fn what_a_writer_that_hangs_has_not_written_is_counted() {
        /// Tells that it was called, and waits until it may go on.
        struct Hanging(Sender<()>, Receiver<()>);
        impl Write for Hanging {
            fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
                self.0.send(()).unwrap();
                let _gone = self.1.recv();
                Ok(octets.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let ((called, calls), (go_on, goes_on)) = (channel(), channel());
        let (queue, guard) = Queue::start("test", 10, Writing::Batches, Hanging(called, goes_on)).unwrap();
        queue.push(b"a\n");
        calls.recv().unwrap();
        queue.push(b"b\n");
        queue.push(b"c\n");
        assert_eq!(queue.lost(), 0);
        drop(guard);
        assert_eq!(queue.lost(), 3);
        drop(go_on);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let (queue, guard) = Queue::start("test", 0, Writing::Batches, Limited::new(100)).unwrap();
        queue.push(b"a\n");
        queue.push(b"b\n");
        assert_eq!(queue.lost(), 2);
        drop(guard);
    }
}
