//! One direction while its source has more to say.

use super::{End, Fault, Side};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Pieces below this size are gathered: each write is a record of its own with TLS, and a system call.
pub(super) const PIECE_SMALL: usize = 8 << 10;

/// Most octets that are gathered, the plaintext of one TLS record (RFC 8446 section 5.1).
pub(super) const GATHERED_MAX: usize = 16 << 10;

thread_local! {
    /// Empty between two rounds of any session: a session that cannot write what it has gathered keeps it for itself.
    static GATHERING: RefCell<Box<[u8]>> = RefCell::new(vec![0; GATHERED_MAX].into());
}

/// What stands between a source and its sink.
#[derive(Debug, Default)]
pub(super) struct Copying {
    /// The sink may hold octets that it has not sent.
    unflushed: bool,
    /// What was gathered and not written, because the sink takes no more for now.
    held: Vec<u8>,
    /// How the source ended behind what is held.
    ended: Option<End>,
}

impl Copying {
    /// One write at most. Gives how the source has ended, once everything before is written.
    pub(super) fn poll_round<S: Side, T: Side>(
        &mut self,
        cx: &mut Context<'_>,
        mut source: Pin<&mut S>,
        mut sink: Pin<&mut T>,
        count: &mut u64,
        reads: &mut usize,
    ) -> Poll<Result<Option<End>, Fault>> {
        if !self.held.is_empty() {
            let written = ready!(write(cx, sink.as_mut(), &self.held, count))?;
            self.unflushed = true;
            self.held.drain(..written);
            if self.held.is_empty() {
                self.held = Vec::new();
            }
            return Poll::Ready(Ok(None));
        }
        if let Some(end) = self.ended.take() {
            return Poll::Ready(Ok(Some(end)));
        }
        *reads = reads.saturating_sub(1);
        match source.as_mut().poll_fill_buf(cx) {
            Poll::Pending => {
                if self.unflushed {
                    ready!(sink.poll_flush(cx)).map_err(Fault::Sink)?;
                    self.unflushed = false;
                }
                Poll::Pending
            }
            Poll::Ready(Ok(bytes)) if bytes.len() >= PIECE_SMALL => {
                let written = ready!(write(cx, sink, bytes, count))?;
                self.unflushed = true;
                source.consume(written);
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Ok([])) => Poll::Ready(Ok(Some(End::Clean))),
            Poll::Ready(Ok(first)) => {
                let filled = first.len();
                GATHERING.with_borrow_mut(|room| room[..filled].copy_from_slice(first));
                source.as_mut().consume(filled);
                Poll::Ready(GATHERING.with_borrow_mut(|room| {
                    let gathered = gather(cx, source, room, filled, reads);
                    self.write_gathered(cx, sink, gathered, count, room).map(|()| None)
                }))
            }
            Poll::Ready(Err(error)) => Poll::Ready(end_of(error).map(Some)),
        }
    }

    /// Writes what was gathered, and keeps what does not fit.
    fn write_gathered<T: Side>(
        &mut self,
        cx: &mut Context<'_>,
        sink: Pin<&mut T>,
        Gathered { filled, ended }: Gathered,
        count: &mut u64,
        room: &[u8],
    ) -> Result<(), Fault> {
        let gathered = &room[..filled];
        let written = match write(cx, sink, gathered, count) {
            Poll::Ready(written) => written?,
            // Its waker is the sink's by now; the next round asks again.
            Poll::Pending => 0,
        };
        self.unflushed = true;
        self.held = gathered[written..].to_vec();
        // A source that has failed has nothing more to say, and what it said before is written as far as it can be.
        self.ended = ended?;
        Ok(())
    }
}

/// What a source had to say without waiting.
struct Gathered {
    filled: usize,
    /// How it ended behind that, if it did.
    ended: Result<Option<End>, Fault>,
}

/// Takes from the source what is there without waiting, as far as there is room behind what is `filled`.
fn gather<S: Side>(
    cx: &mut Context<'_>,
    mut source: Pin<&mut S>,
    room: &mut [u8],
    mut filled: usize,
    reads: &mut usize,
) -> Gathered {
    while filled < room.len() && *reads > 0 {
        *reads -= 1;
        match source.as_mut().poll_fill_buf(cx) {
            Poll::Pending => break,
            Poll::Ready(Ok([])) => return Gathered { filled, ended: Ok(Some(End::Clean)) },
            Poll::Ready(Ok(bytes)) => {
                let taken = bytes.len().min(room.len() - filled);
                room[filled..filled + taken].copy_from_slice(&bytes[..taken]);
                source.as_mut().consume(taken);
                filled += taken;
            }
            Poll::Ready(Err(error)) => return Gathered { filled, ended: end_of(error).map(Some) },
        }
    }
    Gathered { filled, ended: Ok(None) }
}

fn write<T: Side>(
    cx: &mut Context<'_>,
    sink: Pin<&mut T>,
    bytes: &[u8],
    count: &mut u64,
) -> Poll<Result<usize, Fault>> {
    let written = ready!(sink.poll_write(cx, bytes)).map_err(Fault::Sink)?;
    if written == 0 {
        return Poll::Ready(Err(Fault::Sink(io::ErrorKind::WriteZero.into())));
    }
    *count += written as u64;
    Poll::Ready(Ok(written))
}

/// How a source has ended, unless it has failed.
fn end_of(error: io::Error) -> Result<End, Fault> {
    if error.kind() == io::ErrorKind::UnexpectedEof { Ok(End::Cut) } else { Err(Fault::Source(error)) }
}
