//! What is in the spool, in numbers that are had without asking the file: who asks for them waits for no disk.

use super::time_of;
use rusqlite::{Connection, OptionalExtension as _};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::SystemTime;

/// Reports that a transaction deletes.
const DELETED_AT_ONCE_MAX: u32 = 4;

/// What is kept at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::outbox) struct Kept {
    pub(in crate::outbox) reports: u64,
    pub(in crate::outbox) octets: u64,
    /// When the first of them came.
    pub(in crate::outbox) oldest: Option<SystemTime>,
}

/// The same as it changes. Changed by whoever has the file.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    reports: AtomicU64,
    octets: AtomicU64,
    /// In milliseconds since 1970; counts where there is a report.
    oldest: AtomicI64,
}

/// What was taken away, and since when the first of the others waits.
pub(super) struct Deleted {
    reports: u64,
    octets: u64,
    oldest: Option<i64>,
}

impl Keeping {
    pub(super) fn now(&self) -> Kept {
        let reports = self.reports();
        let oldest = (reports > 0).then(|| time_of(self.oldest.load(Ordering::Relaxed)));
        Kept { reports, octets: self.octets.load(Ordering::Relaxed), oldest }
    }

    pub(super) fn reports(&self) -> u64 {
        self.reports.load(Ordering::Relaxed)
    }

    /// So many more with so many octets, which came now.
    pub(super) fn add(&self, reports: u64, octets: u64, at: i64) {
        if self.reports() == 0 {
            self.oldest.store(at, Ordering::Relaxed);
        }
        self.octets.fetch_add(octets, Ordering::Relaxed);
        self.reports.fetch_add(reports, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, Deleted { reports, octets, oldest }: Deleted) {
        // Somebody who looks into the file with other programs may have added to it.
        let less =
            |count: &AtomicU64, by| count.store(count.load(Ordering::Relaxed).saturating_sub(by), Ordering::Relaxed);
        less(&self.reports, reports);
        less(&self.octets, octets);
        if let Some(oldest) = oldest {
            self.oldest.store(oldest, Ordering::Relaxed);
        }
    }

    /// What the file has.
    pub(super) fn count(&self, connection: &Connection) -> rusqlite::Result<()> {
        let all = "SELECT count(*), coalesce(sum(length(body)), 0) FROM report";
        let (reports, octets): (i64, i64) = connection.query_row(all, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.oldest.store(oldest(connection)?.unwrap_or_default(), Ordering::Relaxed);
        self.octets.store(u64::try_from(octets).unwrap_or_default(), Ordering::Relaxed);
        self.reports.store(u64::try_from(reports).unwrap_or_default(), Ordering::Relaxed);
        Ok(())
    }
}

/// Deletes what every target is done with, few in a transaction: on a full disk its journal has the room that was kept back.
pub(super) fn delete_done(connection: &Connection) -> rusqlite::Result<Deleted> {
    let delete = "DELETE FROM report WHERE number IN (SELECT number FROM report
        WHERE number <= (SELECT min(done) FROM target) ORDER BY number LIMIT ?1) RETURNING length(body)";
    let mut delete = connection.prepare(delete)?;
    let (mut reports, mut octets) = (0_u64, 0);
    loop {
        let before = reports;
        let mut lengths = delete.query([DELETED_AT_ONCE_MAX])?;
        while let Some(row) = lengths.next()? {
            reports += 1;
            octets += u64::try_from(row.get::<_, i64>(0)?).unwrap_or_default();
        }
        if reports - before < u64::from(DELETED_AT_ONCE_MAX) {
            break;
        }
    }
    // What nobody is done with leaves the first where it was.
    let oldest = if reports > 0 { oldest(connection)? } else { None };
    Ok(Deleted { reports, octets, oldest })
}

fn oldest(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let first = "SELECT spooled FROM report ORDER BY number LIMIT 1";
    connection.query_row(first, [], |row| row.get(0)).optional()
}
