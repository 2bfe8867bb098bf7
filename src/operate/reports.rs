//! What is told of reports on their way to others. The names of the fields are part of the interface.

use crate::outbox::{Figures, TargetFigures, Trouble};
use crate::report::{Told, serialize_date_time, serialize_maybe_date_time};
use serde::Serialize;
use std::time::SystemTime;

/// What has become of the reports since the start. There are as many receivers as the configuration may name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusOfReports {
    /// Reports in memory, on their way to the spool.
    pub unspooled: u64,
    /// Reports in the spool.
    pub spooled: u64,
    /// The octets that they have.
    pub spooled_bytes: u64,
    /// When the oldest of them came.
    #[serde(serialize_with = "serialize_maybe_date_time")]
    pub oldest: Option<SystemTime>,
    /// What is wrong with the spool.
    pub spool_trouble: Option<StatusOfTrouble>,
    /// Violations for which no report was sent, because the like was reported before.
    pub suppressed: u64,
    /// Reports that were lost because the spool took none, and there was no room in memory or no time left.
    pub lost_before_spool: u64,
    /// Reports that were lost because the spool has all that it may keep.
    pub lost_over_spool_max: u64,
    /// Who gets them.
    pub receivers: Vec<StatusOfReceiver>,
}

/// What has become of the reports for one receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusOfReceiver {
    /// Host and port, or the address of syslog: no credentials and no path of a URL.
    pub receiver: String,
    /// Reports that wait for it.
    pub waiting: u64,
    /// Reports that it has taken.
    pub taken: u64,
    /// Reports that it refuses, and that are not sent to it again.
    pub refused: u64,
    /// Reports that have become too old to be sent to it.
    pub expired: u64,
    /// Attempts that have failed and are made again.
    pub failed: u64,
    /// Why it has taken none since a time; nothing where its last answer was that it takes one.
    pub trouble: Option<StatusOfTrouble>,
}

/// Something does not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusOfTrouble {
    /// Since when.
    #[serde(serialize_with = "serialize_date_time")]
    pub since: SystemTime,
    /// What was said at the last attempt.
    pub why: Told,
}

impl StatusOfReports {
    /// Reports that somebody has not got yet.
    pub fn waiting(&self) -> u64 {
        self.unspooled + self.spooled
    }

    /// Reports that nobody gets whom they were not sent to before.
    pub fn lost(&self) -> u64 {
        self.lost_before_spool + self.lost_over_spool_max
    }
}

impl From<Figures> for StatusOfReports {
    fn from(figures: Figures) -> Self {
        Self {
            unspooled: figures.unspooled,
            spooled: figures.spooled,
            spooled_bytes: figures.spooled_octets,
            oldest: figures.oldest,
            spool_trouble: figures.spool_trouble.map(StatusOfTrouble::from),
            suppressed: figures.suppressed,
            lost_before_spool: figures.lost,
            lost_over_spool_max: figures.left_out,
            receivers: figures.targets.into_iter().map(StatusOfReceiver::from).collect(),
        }
    }
}

impl From<TargetFigures> for StatusOfReceiver {
    fn from(figures: TargetFigures) -> Self {
        Self {
            receiver: figures.target,
            waiting: figures.waiting,
            taken: figures.sent,
            refused: figures.refused,
            expired: figures.too_old,
            failed: figures.failures,
            trouble: figures.trouble.map(StatusOfTrouble::from),
        }
    }
}

impl From<Trouble> for StatusOfTrouble {
    fn from(Trouble { since, why }: Trouble) -> Self {
        Self { since, why }
    }
}
