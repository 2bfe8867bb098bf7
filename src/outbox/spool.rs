//! The reports on disk: an SQLite file, where what was taken survives the end of the process, however that comes.
//!
//! SQLite because a disk that is full, a file that is damaged and a process that is killed are what it is tested against,
//! and each of them is an error that it gives, not a panic; and because `sqlite3` shows an operator what is waiting.

mod error;
mod kept;
mod opening;

pub use error::SpoolError;

use super::figures::{Condition, Trouble};
use kept::{Keeping, Kept, delete_done};
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Octets that the file may have. What does not fit is treated as a full disk: one report is 100 KiB at most.
pub const SPOOL_OCTETS_MAX: u64 = 1 << 30;

/// How long those who use it wait before they ask it again when it has refused.
pub(super) const SPOOL_PAUSE: Duration = Duration::from_secs(1);

/// The file in the folder.
const FILE: &str = "reports.db";

/// Tells the time.
pub(super) type Now = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// A report as it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spooled {
    /// Rises with each report; never given twice.
    pub(super) number: i64,
    /// When it was taken.
    pub(super) at: SystemTime,
    /// JSON.
    pub(super) body: Vec<u8>,
}

/// The spool of one process. Another one that has the same folder waits until this one ends.
pub(super) struct Spool {
    folder: PathBuf,
    targets: Vec<String>,
    reports_max: u64,
    now: Now,
    open: Mutex<Option<Open>>,
    keeping: Keeping,
    reading: Condition,
    writing: Condition,
    waiting: Vec<AtomicU64>,
    arrived: watch::Sender<()>,
}

/// What is done with the file. They fail apart: a disk that is full can be read.
#[derive(Clone, Copy)]
enum Access {
    Reading,
    Writing,
}

struct Open {
    connection: Connection,
    /// The last report that each target is done with.
    done: Vec<i64>,
    /// Held until the end of the process, which the system lets go of it.
    _lock: File,
}

impl Spool {
    /// The spool in this folder, for receivers of these names. It is opened when it is first used.
    pub(super) fn new(folder: &Path, targets: Vec<String>, reports_max: u64, now: Now) -> Self {
        Self {
            folder: folder.to_owned(),
            waiting: targets.iter().map(|_| AtomicU64::new(0)).collect(),
            targets,
            reports_max,
            now,
            open: Mutex::new(None),
            keeping: Keeping::default(),
            reading: Condition::default(),
            writing: Condition::default(),
            arrived: watch::channel(()).0,
        }
    }

    /// Opens it, unless it is.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub(super) fn open(&self) -> Result<(), SpoolError> {
        self.with(Access::Reading, |_| Ok(()))
    }

    /// Keeps reports, all or none; when this returns they survive the end of the process. Gives how many there was no
    /// place for.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub(super) fn append(&self, bodies: &[Vec<u8>]) -> Result<u64, SpoolError> {
        let at = milliseconds((self.now)());
        let kept = self.with(Access::Writing, |open| {
            let room = self.reports_max.saturating_sub(self.keeping.reports());
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let fitting = bodies.get(..room).unwrap_or(bodies);
            let write = open.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for body in fitting {
                write.execute("INSERT INTO report (spooled, body) VALUES (?1, ?2)", params![at, body])?;
            }
            write.commit()?;
            // Before anybody else can take one of them away again.
            let kept = fitting.len() as u64;
            self.keeping.add(kept, fitting.iter().map(|body| body.len() as u64).sum(), at);
            for waiting in &self.waiting {
                waiting.fetch_add(kept, Ordering::Relaxed);
            }
            Ok(kept)
        })?;
        self.arrived.send_replace(());
        Ok(bodies.len() as u64 - kept)
    }

    /// The first report that this target is not done with.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub(super) fn next(&self, target: usize) -> Result<Option<Spooled>, SpoolError> {
        self.with(Access::Reading, |open| {
            let after = open.done.get(target).copied().unwrap_or(i64::MAX);
            let mut read = open
                .connection
                .prepare("SELECT number, spooled, body FROM report WHERE number > ?1 ORDER BY number LIMIT 1")?;
            let mut rows = read.query([after])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            Ok(Some(Spooled { number: row.get(0)?, at: time_of(row.get(1)?), body: row.get(2)? }))
        })
    }

    /// This target is done with everything up to this report. A report that every target is done with is deleted.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub(super) fn done(&self, target: usize, number: i64) -> Result<(), SpoolError> {
        let name = self.targets.get(target).map_or("", String::as_str);
        self.with(Access::Writing, |open| {
            let write = open.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            write.execute("UPDATE target SET done = ?1 WHERE name = ?2", params![number, name])?;
            write.commit()?;
            // What could not be deleted before is noted already.
            if let (Some(done), Some(waiting)) = (open.done.get_mut(target), self.waiting.get(target))
                && *done < number
            {
                *done = number;
                waiting.fetch_sub(1, Ordering::Relaxed);
            }
            self.keeping.remove(delete_done(&open.connection)?);
            Ok(())
        })
    }

    /// What is kept. Asks nobody who may be busy with the file.
    pub(super) fn kept(&self) -> Kept {
        self.keeping.now()
    }

    /// What is wrong with it, if anything is.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.writing.trouble().or_else(|| self.reading.trouble())
    }

    /// Reports that wait for this target.
    pub(super) fn waiting(&self, target: usize) -> u64 {
        self.waiting.get(target).map_or(0, |waiting| waiting.load(Ordering::Relaxed))
    }

    /// Changes with each report that arrives.
    pub(super) fn arrivals(&self) -> watch::Receiver<()> {
        self.arrived.subscribe()
    }

    /// The time.
    pub(super) fn now(&self) -> SystemTime {
        (self.now)()
    }

    /// Does something with the file, after opening it if it is not, and notes whether that works.
    fn with<T>(&self, access: Access, work: impl FnOnce(&mut Open) -> rusqlite::Result<T>) -> Result<T, SpoolError> {
        let mut guard: MutexGuard<'_, Option<Open>> = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match &mut *guard {
            Some(open) => Ok(open),
            closed => self.opened().map(|open| {
                // To open it takes both.
                self.writing.works();
                closed.insert(open)
            }),
        };
        let done = open.and_then(|open| work(open).map_err(|source| self.error(source)));
        let condition = match access {
            Access::Reading => &self.reading,
            Access::Writing => &self.writing,
        };
        match &done {
            Ok(_) => condition.works(),
            Err(error) => condition.fails((self.now)(), &error.to_string()),
        }
        done
    }

    fn error(&self, source: rusqlite::Error) -> SpoolError {
        let path = self.folder.join(FILE);
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => SpoolError::Full { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                SpoolError::Damaged { path, detail: source.to_string() }
            }
            _ => SpoolError::Store { path, source },
        }
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spool({}, {} reports)", self.folder.display(), self.keeping.reports())
    }
}

fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn time_of(milliseconds: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
