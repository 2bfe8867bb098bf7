//! The reports on disk: an SQLite file, where what was taken survives the end of the process, however that comes.
//!
//! SQLite because a disk that is full, a file that is damaged and a process that is killed are what it is tested against,
//! and each of them is an error that it gives, not a panic; and because `sqlite3` shows an operator what is waiting.

use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Octets that the file may have. What does not fit is treated as a full disk: one report is 100 KiB at most.
pub const SPOOL_OCTETS_MAX: u64 = 1 << 30;

/// How long somebody who looks into the file with other programs may hold it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Memory for pages of the file, in KiB.
const CACHE_KIB: i64 = 512;
/// Octets of a page, as SQLite has it.
const PAGE_OCTETS: u64 = 4096;
/// The layout of the file; another one was written by another version.
const LAYOUT: i64 = 1;

/// Of the mode of a file: the group and everybody may write to it.
const OTHERS_WRITE: u32 = 0o022;

const FILE: &str = "reports.db";
const LOCK: &str = "lock";

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS report (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        spooled INTEGER NOT NULL, -- milliseconds since 1970
        body BLOB NOT NULL
    );
    CREATE TABLE IF NOT EXISTS target (
        name TEXT PRIMARY KEY,
        done INTEGER NOT NULL -- the last report that it has, or never gets
    ) WITHOUT ROWID;";

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
    kept: AtomicU64,
    waiting: Vec<AtomicU64>,
    arrived: watch::Sender<()>,
}

struct Open {
    connection: Connection,
    /// The last report that each target is done with.
    done: Vec<i64>,
    /// Held until the end of the process, which the system lets go of it.
    _lock: File,
}

/// What stands in the way. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder, or the lock in it.
    #[error(
        "the folder for reports, {path}, cannot be used: {source}; [reports] spool has to be a folder that the user of the \
         proxy can write to"
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could take reports away, or put another file in the place of the spool.
    #[error(
        "others can write to the folder for reports, {path}; run `chmod go-w {path}`, or name a folder in it, which is made"
    )]
    OthersWrite {
        /// The folder.
        path: PathBuf,
    },
    /// Another process has it.
    #[error(
        "the spool {path} belongs to another process{holder}. At a rolling restart that is as it should be: it is taken \
         over when that one ends. Two proxies that both stay need a [reports] spool each"
    )]
    Held {
        /// The folder.
        path: PathBuf,
        /// Its number, where it has written it down.
        holder: String,
    },
    /// The file is not what it was.
    #[error(
        "the spool {path} is damaged ({detail}). Move it away and start again; what can be read of it is shown by \
         `sqlite3 FILE .recover`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// No room.
    #[error("there is no room for the spool {path}: the disk is full, or the spool has come to 1 GiB")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Another layout.
    #[error(
        "the spool {path} was written by another version of pinproxy (layout {found}); let that version send it, or move it away"
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: i64,
    },
    /// Anything else.
    #[error("the spool {path} cannot be used: {source}")]
    Store {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
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
            kept: AtomicU64::new(0),
            arrived: watch::channel(()).0,
        }
    }

    /// Opens it, unless it is.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub(super) fn open(&self) -> Result<(), SpoolError> {
        self.with(|_, _| Ok(()))
    }

    /// Keeps reports, all or none; when this returns they survive the end of the process. Gives how many there was no
    /// place for.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub(super) fn append(&self, bodies: &[Vec<u8>]) -> Result<u64, SpoolError> {
        let at = milliseconds((self.now)());
        let kept = self.with(|open, kept| {
            let room = usize::try_from(self.reports_max.saturating_sub(kept)).unwrap_or(usize::MAX);
            let fitting = bodies.get(..room).unwrap_or(bodies);
            let write = open.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for body in fitting {
                write.execute("INSERT INTO report (spooled, body) VALUES (?1, ?2)", params![at, body])?;
            }
            write.commit()?;
            // Before anybody else can take one of them away again.
            let kept = fitting.len() as u64;
            self.kept.fetch_add(kept, Ordering::Relaxed);
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
        self.with(|open, _| {
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
        self.with(|open, _| {
            let write = open.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            write.execute("UPDATE target SET done = ?1 WHERE name = ?2", params![number, name])?;
            let deleted = delete_done(&write)?;
            write.commit()?;
            if let Some(done) = open.done.get_mut(target) {
                *done = number;
            }
            self.kept.fetch_sub(deleted, Ordering::Relaxed);
            if let Some(waiting) = self.waiting.get(target) {
                waiting.fetch_sub(1, Ordering::Relaxed);
            }
            Ok(())
        })
    }

    /// Reports that are kept.
    pub(super) fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
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

    /// Does something with the file and how many reports are kept, after opening it if it is not.
    fn with<T>(&self, work: impl FnOnce(&mut Open, u64) -> rusqlite::Result<T>) -> Result<T, SpoolError> {
        let mut guard: MutexGuard<'_, Option<Open>> = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match &mut *guard {
            Some(open) => open,
            closed => closed.insert(self.opened()?),
        };
        work(open, self.kept()).map_err(|source| self.error(source))
    }

    fn opened(&self) -> Result<Open, SpoolError> {
        let lock = self.locked()?;
        let path = self.folder.join(FILE);
        // Made here, since SQLite would let others read it; the files beside it take after it.
        let made = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        made.map_err(|source| self.folder_error(source))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags).map_err(|source| self.error(source))?;
        let found = set_up(&connection).map_err(|source| self.error(source))?;
        match found {
            Found::Layout(0 | LAYOUT) => {}
            Found::Layout(found) => return Err(SpoolError::OtherVersion { path, found }),
            Found::Damage(detail) => return Err(SpoolError::Damaged { path, detail }),
        }
        let done = self.adopt(&mut connection).map_err(|source| self.error(source))?;
        let open = Open { connection, done, _lock: lock };
        self.count(&open).map_err(|source| self.error(source))?;
        Ok(open)
    }

    /// The lock of the folder, which is made if there is none.
    fn locked(&self) -> Result<File, SpoolError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(|e| self.folder_error(e))?;
        let mode = std::fs::metadata(&self.folder).map_err(|e| self.folder_error(e))?.permissions().mode();
        if mode & OTHERS_WRITE != 0 {
            return Err(SpoolError::OthersWrite { path: self.folder.clone() });
        }
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).to_owned();
        let mut lock = options.open(self.folder.join(LOCK)).map_err(|source| self.folder_error(source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(source)) => return Err(self.folder_error(source)),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // For people; a holder that has written nothing is none that could be named.
                drop((&lock).take(20).read_to_string(&mut holder));
                let number = holder.trim().parse::<u32>();
                let holder = number.map(|number| format!(" (process {number})")).unwrap_or_default();
                return Err(SpoolError::Held { path: self.folder.clone(), holder });
            }
        }
        let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(|source| self.folder_error(source))?;
        Ok(lock)
    }

    /// Makes the tables, and takes over what is waiting: a new target gets it all, one that is gone is forgotten. It always
    /// writes, so that a disk without room is told at once.
    fn adopt(&self, connection: &mut Connection) -> rusqlite::Result<Vec<i64>> {
        let write = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        write.execute_batch(TABLES)?;
        write.pragma_update(None, "user_version", LAYOUT)?;
        let mut known: Vec<String> = Vec::new();
        {
            let mut read = write.prepare("SELECT name FROM target")?;
            let mut rows = read.query([])?;
            while let Some(row) = rows.next()? {
                known.push(row.get(0)?);
            }
        }
        for gone in known.iter().filter(|name| !self.targets.contains(name)) {
            write.execute("DELETE FROM target WHERE name = ?1", [gone])?;
        }
        let mut done = Vec::with_capacity(self.targets.len());
        for name in &self.targets {
            write.execute("INSERT OR IGNORE INTO target (name, done) VALUES (?1, 0)", [name])?;
            write.execute("UPDATE target SET done = done WHERE name = ?1", [name])?;
            done.push(write.query_row("SELECT done FROM target WHERE name = ?1", [name], |row| row.get(0))?);
        }
        delete_done(&write)?;
        write.commit()?;
        Ok(done)
    }

    fn count(&self, open: &Open) -> rusqlite::Result<()> {
        let count = |after: i64| -> rusqlite::Result<u64> {
            let count = "SELECT count(*) FROM report WHERE number > ?1";
            let count: i64 = open.connection.query_row(count, [after], |row| row.get(0))?;
            Ok(u64::try_from(count).unwrap_or_default())
        };
        self.kept.store(count(0)?, Ordering::Relaxed);
        for (waiting, done) in self.waiting.iter().zip(&open.done) {
            waiting.store(count(*done)?, Ordering::Relaxed);
        }
        Ok(())
    }

    fn folder_error(&self, source: io::Error) -> SpoolError {
        match source.kind() {
            io::ErrorKind::StorageFull => SpoolError::Full { path: self.folder.clone() },
            _ => SpoolError::Folder { path: self.folder.clone(), source },
        }
    }

    fn error(&self, source: rusqlite::Error) -> SpoolError {
        let path = self.folder.join(FILE);
        // The index beside the file is made as large as it has to be, and fails in a way of its own.
        let full = source.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE);
        match source.sqlite_error_code() {
            _ if full => SpoolError::Full { path },
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
        write!(f, "Spool({}, {} reports)", self.folder.display(), self.kept())
    }
}

/// What a file turned out to be.
enum Found {
    Layout(i64),
    Damage(String),
}

fn set_up(connection: &Connection) -> rusqlite::Result<Found> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Ok(Found::Damage(sound));
    }
    let layout = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if !matches!(layout, 0 | LAYOUT) {
        return Ok(Found::Layout(layout));
    }
    // A batch is one append to the log, and synced before it counts.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    let pages = i64::try_from(SPOOL_OCTETS_MAX / PAGE_OCTETS).unwrap_or(i64::MAX);
    connection.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))?;
    Ok(Found::Layout(layout))
}

/// Deletes what every target is done with.
fn delete_done(connection: &Connection) -> rusqlite::Result<u64> {
    let deleted = connection.execute("DELETE FROM report WHERE number <= (SELECT min(done) FROM target)", [])?;
    Ok(deleted as u64)
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
