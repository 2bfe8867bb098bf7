//! From the queue into the spool.

use super::figures::Count;
use super::spool::{SPOOL_PAUSE, Spool};
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Takes the lines of a queue, and puts those of a batch into the spool at once. While the spool takes nothing, they stay
/// here and in the queue.
#[derive(Debug)]
pub(super) struct Spooler {
    pub(super) spool: Arc<Spool>,
    pub(super) batch: Vec<Vec<u8>>,
    pub(super) fates: Arc<Fates>,
}

/// What has become of what came out of the queue.
#[derive(Debug, Default)]
pub(super) struct Fates {
    /// The spool was full.
    pub(super) left_out: Count,
    /// The spool took nothing, and the process ended.
    pub(super) lost: Count,
    last: Last,
}

/// Whether there will be no further attempt.
#[derive(Debug, Default)]
struct Last {
    comes: Mutex<bool>,
    changed: Condvar,
}

impl Fates {
    /// From now on each batch is tried once.
    pub(super) fn end(&self) {
        *self.last.comes.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.last.changed.notify_all();
    }

    /// Waits for the next attempt; tells whether there is one.
    fn wait(&self) -> bool {
        let comes = self.last.comes.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.last.changed.wait_timeout_while(comes, SPOOL_PAUSE, |comes| !*comes);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Spooler {
    fn keep(&mut self) {
        let mut refused = false;
        loop {
            match self.spool.append(&self.batch) {
                Ok(left_out) => {
                    if refused {
                        tracing::warn!("the spool takes reports again");
                    }
                    self.tell_left_out(left_out);
                    break;
                }
                Err(error) => {
                    if !refused {
                        tracing::error!("reports wait in memory, and are lost when there are too many: {error}");
                        refused = true;
                    }
                    if !self.fates.wait() {
                        self.fates.lost.add(self.batch.len() as u64);
                        break;
                    }
                }
            }
        }
        self.batch.clear();
    }

    /// Loud at the first, and whenever there are twice as many.
    fn tell_left_out(&self, more: u64) {
        let all = self.fates.left_out.add(more);
        if all.checked_ilog2() != (all - more).checked_ilog2() {
            tracing::error!("the spool has all the reports that [reports] spool_max allows; {all} are lost so far");
        }
    }
}

/// One call for each line, and a flush behind each batch.
impl Write for Spooler {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.batch.push(line.trim_ascii_end().to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.keep();
        Ok(())
    }
}
