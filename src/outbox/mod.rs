//! Reports on their way out of the house: to webhooks and to syslog.
//!
//! A session hands its violation to [`Outgoing`], which never makes it wait. A thread puts reports into the `spool`; from
//! then on they survive the end of the process. A task for each receiver sends them in their order (`delivery`), by
//! `webhook` or `syslog`, and none of them waits for another. What is lost on the way is counted and told.

mod delivery;
mod figures;
mod repeats;
mod spool;
mod syslog;
mod webhook;
mod writing;

pub use delivery::{AGE_IGNORED_FOR, REPORT_AGE_MAX, RETRY_AFTER_MAX, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};
pub use figures::{Figures, TargetFigures, Trouble, WHY_CHARACTERS_MAX};
pub use repeats::REPEATS_MAX;
pub use spool::{SPOOL_OCTETS_MAX, SpoolError};
pub use syslog::{SYSLOG_TIMEOUT, UDP_OCTETS_MAX, UNIX_OCTETS_MAX};
pub use webhook::{ANSWER_OCTETS_MAX, ANSWER_TIMEOUT, CONNECT_TIMEOUT, retry_after};

use crate::config::{ReportUrl, Reports};
use crate::policy::moment::Moment;
use crate::policy::pin::hex;
use crate::report::{Event, LAST_LINES_TIMEOUT, Naming, Queue, QueueGuard, Sink, Violation, Writing};
use crate::tls::anchors::TrustAnchors;
use crate::tls::ordinary::ordinary;
use delivery::{Moments, Receiver, Route, deliver};
use figures::{Count, Counts};
use repeats::{Repeats, sameness};
use sha2::{Digest as _, Sha256};
use spool::Spool;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use syslog::Syslog;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use webhook::Webhook;
use writing::{Fates, Spooler};

/// Reports that wait in memory for the spool, beside as many that are being written. A hostile upstream can make one of
/// about 100 KiB.
pub const UNSPOOLED_MAX: usize = 500;

/// How long a report that is being sent when the process ends may take. It is sent again by the next process otherwise.
const LAST_ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long [`Outbox::end`] takes at most.
pub const END_MAX: Duration = LAST_LINES_TIMEOUT.saturating_add(LAST_ANSWER_TIMEOUT);

/// Why reports cannot be sent. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The TLS library.
    #[error("TLS towards the receivers of reports cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The system gives no thread.
    #[error("the thread that writes reports cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// Sends reports. It is to be ended by [`Outbox::end`]; dropped, it stops where it is, and loses nothing that is in the
/// spool.
#[derive(Debug)]
pub struct Outbox {
    shared: Arc<Shared>,
    fates: Arc<Fates>,
    guard: QueueGuard,
    deliveries: JoinSet<()>,
    stop: CancellationToken,
}

/// The sink that reports leave by.
#[derive(Debug)]
pub struct Outgoing {
    shared: Arc<Shared>,
    naming: Naming,
}

/// Tells what becomes of reports; may be asked from anywhere, at any time.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Queue,
    spool: Arc<Spool>,
    fates: Arc<Fates>,
    repeats: Repeats,
    suppressed: Count,
    /// By target: how the log names it, and what became of its reports.
    targets: Vec<(String, Arc<Counts>)>,
}

impl Outbox {
    /// Opens the spool in this folder, and starts to send what is in it and what comes. Receivers by TLS are verified
    /// against these anchors. While another process has the spool, or its disk has no room, reports wait in memory: they are
    /// not worth keeping connections down. To be called within a runtime.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn start(
        reports: &Reports,
        spool: &Path,
        anchors: &TrustAnchors,
        naming: Naming,
        moments: impl Fn() -> Moment + Send + Sync + 'static,
    ) -> Result<(Self, Outgoing), OutboxError> {
        let moments: Moments = Arc::new(moments);
        // What comes while a clock is set back is not to be old when that is over.
        let latest = Arc::clone(&moments);
        let now: spool::Now = Arc::new(move || latest().latest());
        let syslog = reports.syslog.as_ref().map(ToString::to_string);
        let identities = reports.urls.iter().map(identity).chain(syslog.clone()).collect();
        let names = names(reports.urls.iter().map(ReportUrl::place)).into_iter().chain(syslog);
        let spool = Arc::new(Spool::new(spool, identities, reports.spool_max, Arc::clone(&now)));
        match spool.open() {
            Ok(()) => {}
            Err(error @ (SpoolError::Held { .. } | SpoolError::Full { .. })) => {
                tracing::error!("reports wait in memory: {error}");
            }
            Err(error) => return Err(error.into()),
        }
        let tls = ordinary(anchors)?;
        let fates = Arc::new(Fates::default());
        let spooler = Spooler { spool: Arc::clone(&spool), batch: Vec::new(), fates: Arc::clone(&fates) };
        let (queue, guard) = Queue::start("pinproxy-spool", UNSPOOLED_MAX, Writing::Lines, spooler)?;
        let shared = Arc::new(Shared {
            queue,
            spool,
            fates: Arc::clone(&fates),
            repeats: Repeats::new(reports.deduplicate_for),
            suppressed: Count::default(),
            targets: names.map(|name| (name, Arc::default())).collect(),
        });
        let outgoing = Outgoing { shared: Arc::clone(&shared), naming };
        let (deliveries, stop) = (JoinSet::new(), CancellationToken::new());
        let mut outbox = Self { shared, fates, guard, deliveries, stop };
        for url in &reports.urls {
            let receiver = Webhook::new(url, tls.clone(), Arc::clone(&now));
            outbox.deliver_to(receiver, reports.per_minute, &moments);
        }
        if let Some(address) = &reports.syslog {
            outbox.deliver_to(Syslog::new(address.clone()), reports.per_minute, &moments);
        }
        Ok((outbox, outgoing))
    }

    /// Starts the task of the next target.
    fn deliver_to(&mut self, receiver: impl Receiver, per_minute: usize, moments: &Moments) {
        let target = self.deliveries.len();
        let Some((name, counts)) = self.shared.targets.get(target) else { return };
        let route = Route {
            spool: Arc::clone(&self.shared.spool),
            target,
            name: name.clone(),
            counts: Arc::clone(counts),
            per_minute,
            moments: Arc::clone(moments),
            begun: tokio::time::Instant::now(),
            stop: self.stop.clone(),
        };
        self.deliveries.spawn(deliver(receiver, route));
    }

    /// Where its figures can be had by others.
    pub fn ledger(&self) -> Ledger {
        Ledger(Arc::clone(&self.shared))
    }

    /// What has become of the reports.
    pub fn figures(&self) -> Figures {
        self.shared.figures()
    }

    /// Puts into the spool what is on its way there, and lets reports that are being sent arrive. What is in the spool is
    /// sent by the next process.
    pub async fn end(self) {
        let Self { shared, fates, guard, mut deliveries, stop } = self;
        stop.cancel();
        fates.end();
        // It waits for the thread, but not for long.
        drop(tokio::task::spawn_blocking(move || drop(guard)).await);
        let sent = async { while deliveries.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_ANSWER_TIMEOUT, sent).await.is_err() {
            tracing::warn!("a report that was being sent has no answer yet; it is sent again at the next start");
        }
        let waiting = shared.spool.kept().reports;
        if waiting > 0 {
            tracing::info!("{waiting} reports wait in the spool for the next start");
        }
    }
}

impl Sink for Outgoing {
    fn take(&self, event: &Event, violation: Option<&Violation>) {
        let Some(violation) = violation else { return };
        let Shared { repeats, suppressed, queue, .. } = &*self.shared;
        let what = sameness(event, violation);
        let Some(before) = repeats.take(what, Instant::now()) else {
            suppressed.add(1);
            return;
        };
        let mut line = violation.json(event, &self.naming, before);
        line.push(b'\n');
        if !queue.push(&line) {
            repeats.forget(what, before);
        }
    }

    fn lost(&self) -> Option<(&str, u64)> {
        Some(("the spool of reports", self.shared.lost() + self.shared.fates.left_out.get()))
    }
}

impl Ledger {
    /// What has become of the reports.
    pub fn figures(&self) -> Figures {
        self.0.figures()
    }
}

impl Shared {
    fn lost(&self) -> u64 {
        self.queue.lost() + self.fates.lost.get()
    }

    fn figures(&self) -> Figures {
        let target = |(number, (name, counts)): (usize, &(String, Arc<Counts>))| TargetFigures {
            target: name.clone(),
            waiting: self.spool.waiting(number),
            sent: counts.sent.get(),
            refused: counts.refused.get(),
            too_old: counts.too_old.get(),
            failures: counts.failures.get(),
            trouble: counts.condition.trouble(),
        };
        let kept = self.spool.kept();
        Figures {
            suppressed: self.suppressed.get(),
            unspooled: self.queue.waiting() as u64,
            spooled: kept.reports,
            spooled_octets: kept.octets,
            oldest: kept.oldest,
            spool_trouble: self.spool.trouble(),
            lost: self.lost(),
            left_out: self.fates.left_out.get(),
            targets: self.targets.iter().enumerate().map(target).collect(),
        }
    }
}

/// How receivers are named in the log, in metrics and in the status: by host and port, which everybody may know, and by a
/// number where that stands for several.
fn names<'u>(places: impl Iterator<Item = &'u str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for place in places {
        let numbered = (2..).map(|number| format!("{place} ({number})"));
        let name = std::iter::once(place.to_owned()).chain(numbered).find(|name| !names.contains(name));
        names.extend(name);
    }
    names
}

/// How the spool knows a receiver again: by its address, whose path may be a secret.
fn identity(url: &ReportUrl) -> String {
    hex(&Sha256::digest(url.uri().to_string()))
}

#[cfg(test)]
mod tests;
