//! The spool of this process: its lock, its file as it should be, and what is waiting in it.

use super::kept::delete_done;
use super::{FILE, Open, SPOOL_OCTETS_MAX, Spool, SpoolError};
use crate::files::{Access, AccessError, Role};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::sync::atomic::Ordering;
use std::time::Duration;

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

const LOCK: &str = "lock";
/// What SQLite writes before it changes the file, and to undo it.
const JOURNAL: &str = "reports.db-journal";
/// Octets that the journal has from the start, and keeps. Whoever deletes has to write: a disk that the spool itself has filled
/// would never be empty again without room that is kept back. It takes more than the pages of a transaction of
/// [`delete_done`], and those of an answer that is noted.
const RESERVE_OCTETS: u64 = 128 << 10;

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

impl Spool {
    pub(super) fn opened(&self) -> Result<Open, SpoolError> {
        self.judged(&Access::of_process().by_owner())?;
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
        self.reserve()?;
        delete_done(&connection).map_err(|source| self.error(source))?;
        let open = Open { connection, done, _lock: lock };
        self.count(&open).map_err(|source| self.error(source))?;
        Ok(open)
    }

    /// Makes the folder if there is none. Whoever can write to it could put links into it, and we would write to what they lead
    /// to. A sticky folder is not enough: names that are not there yet are everybody's.
    fn judged(&self, access: &Access) -> Result<(), SpoolError> {
        access.create_directory(&self.folder).map_err(|error| match error {
            AccessError::Folder { source, .. } => self.folder_error(source),
            other => SpoolError::Access(other),
        })?;
        let mode = std::fs::metadata(&self.folder).map_err(|e| self.folder_error(e))?.permissions().mode();
        if mode & OTHERS_WRITE != 0 {
            return Err(SpoolError::OthersWrite { path: self.folder.clone() });
        }
        // Those beside the file are of SQLite, which takes them for its own.
        for name in [LOCK, FILE, "reports.db-wal", "reports.db-shm", JOURNAL] {
            let path = self.folder.join(name);
            if std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
                return Err(SpoolError::Link { path });
            }
            access.judge(&path, Role::Public).map_err(SpoolError::Access)?;
        }
        Ok(())
    }

    /// The lock of the folder, which is made if there is none.
    fn locked(&self) -> Result<File, SpoolError> {
        let mut options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).to_owned();
        options.custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default());
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
        match written {
            // The number is for people, and the lock is taken.
            Err(source) if source.kind() != io::ErrorKind::StorageFull => Err(self.folder_error(source)),
            _ => Ok(lock),
        }
    }

    /// Gives the journal the room that is kept back. To be called when it was read: its first octets tell whether there is
    /// something to undo.
    fn reserve(&self) -> Result<(), SpoolError> {
        let journal = OpenOptions::new().append(true).create(true).mode(0o600).open(self.folder.join(JOURNAL));
        let reserved = journal.and_then(|mut journal| {
            let missing = RESERVE_OCTETS.saturating_sub(journal.metadata()?.len());
            io::copy(&mut io::repeat(0).take(missing), &mut journal)?;
            journal.sync_all()
        });
        reserved.map_err(|source| self.folder_error(source))
    }

    /// Makes the tables, and takes over what is waiting: a new target gets it all, one that is gone is forgotten.
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
            done.push(write.query_row("SELECT done FROM target WHERE name = ?1", [name], |row| row.get(0))?);
        }
        write.commit()?;
        Ok(done)
    }

    fn count(&self, open: &Open) -> rusqlite::Result<()> {
        let count = |after: i64| -> rusqlite::Result<u64> {
            let count = "SELECT count(*) FROM report WHERE number > ?1";
            let count: i64 = open.connection.query_row(count, [after], |row| row.get(0))?;
            Ok(u64::try_from(count).unwrap_or_default())
        };
        self.keeping.count(&open.connection)?;
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
    // Not a write-ahead log, which has to grow before anything can be deleted. The journal stays where it is between
    // transactions, and with it its room; each of them is synced before it counts.
    connection.pragma_update_and_check(None, "journal_mode", "PERSIST", |row| row.get::<_, String>(0))?;
    let reserve = i64::try_from(RESERVE_OCTETS).unwrap_or(i64::MAX);
    connection.pragma_update_and_check(None, "journal_size_limit", reserve, |row| row.get::<_, i64>(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    let pages = i64::try_from(SPOOL_OCTETS_MAX / PAGE_OCTETS).unwrap_or(i64::MAX);
    connection.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))?;
    Ok(Found::Layout(layout))
}
