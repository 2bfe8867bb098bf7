//! One receiver, one report after the other, in their order: sent until it is taken or refused.

use super::figures::{Count, Counts};
use super::spool::{SPOOL_PAUSE, Spool, SpoolError, Spooled};
use crate::policy::moment::Moment;
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The pause behind the first attempt that has failed; each further one is twice as long, and up to this much longer by
/// chance, so that many proxies do not come back all at once.
pub const RETRY_PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10 * 60);
/// The longest pause that a receiver can ask for (Retry-After).
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);
/// Reports that have waited longer are not sent any more: nobody can act on them.
pub const REPORT_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// For so long after the start no report is too old: a clock that is wrong when the machine starts would drop them all, and is
/// set right meanwhile, by which it comes apart from the steady one.
pub const AGE_IGNORED_FOR: Duration = Duration::from_secs(60 * 60);

/// What `per_minute` counts over.
const MINUTE: Duration = Duration::from_secs(60);

/// Tells the time as far as it is known.
pub(super) type Moments = Arc<dyn Fn() -> Moment + Send + Sync>;

/// Somebody who takes reports.
pub(super) trait Receiver: Send + 'static {
    /// Sends one report, and tells what came of it.
    fn send(&mut self, report: &Spooled) -> impl Future<Output = Answer> + Send;
}

/// What came of sending a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has it.
    Taken,
    /// It does not want it, and will not want it tomorrow.
    Refused(String),
    /// It may want it later.
    Failed {
        /// Why it did not now.
        why: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
}

/// What a delivery is made of beside its receiver.
pub(super) struct Route {
    pub(super) spool: Arc<Spool>,
    /// Its place among the targets of the spool.
    pub(super) target: usize,
    /// For the log and the figures.
    pub(super) name: String,
    pub(super) counts: Arc<Counts>,
    pub(super) per_minute: usize,
    pub(super) moments: Moments,
    /// When it began, by a clock that nobody sets.
    pub(super) begun: Instant,
    /// No further report is sent when this is cancelled.
    pub(super) stop: CancellationToken,
}

/// Delivers until it is told to stop.
pub(super) async fn deliver(mut receiver: impl Receiver, route: Route) {
    let mut arrivals = route.spool.arrivals();
    let (mut schedule, mut pace) = (Schedule::new(), Pace::new(route.per_minute));
    let (mut answered, mut troubled) = (None, false);
    while !route.stop.is_cancelled() {
        arrivals.mark_unchanged();
        let pause = match route.next().await {
            Ok(None) => {
                // Ends only with the spool, which this task has a share of.
                route.unless_stopped(async { drop(arrivals.changed().await) }).await;
                continue;
            }
            Ok(Some(report)) => {
                // A spool that cannot note an answer is no reason to send its report again.
                let settled = if answered == Some(report.number) {
                    ControlFlow::Continue(())
                } else {
                    route.attempt(&mut receiver, &report, &mut schedule, &mut pace).await
                };
                match settled {
                    ControlFlow::Break(pause) => pause,
                    ControlFlow::Continue(()) => {
                        answered = Some(report.number);
                        let noted = route.done(&report).await;
                        noted.err().map(|error| route.tell_trouble(&mut troubled, &error))
                    }
                }
            }
            // The writer says it, too, as soon as it has something to write.
            Err(error) => Some(route.tell_trouble(&mut troubled, &error)),
        };
        match pause {
            None => troubled = false,
            Some(pause) => route.unless_stopped(sleep(pause)).await,
        }
    }
}

impl Route {
    async fn next(&self) -> Result<Option<Spooled>, SpoolError> {
        let target = self.target;
        in_thread(&self.spool, move |spool| spool.next(target)).await
    }

    async fn done(&self, report: &Spooled) -> Result<(), SpoolError> {
        let (target, number) = (self.target, report.number);
        in_thread(&self.spool, move |spool| spool.done(target, number)).await
    }

    async fn unless_stopped(&self, what: impl Future<Output = ()>) {
        tokio::select! {
            () = what => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// One attempt. It breaks off where the report is not done with, and gives the pause before the next one, if there is to
    /// be one.
    async fn attempt(
        &self,
        receiver: &mut impl Receiver,
        report: &Spooled,
        schedule: &mut Schedule,
        pace: &mut Pace,
    ) -> ControlFlow<Option<Duration>> {
        let name = &self.name;
        if self.is_too_old(report) {
            self.tell(&self.counts.too_old, "are too old to be sent");
            return ControlFlow::Continue(());
        }
        self.unless_stopped(pace.turn()).await;
        if self.stop.is_cancelled() {
            return ControlFlow::Break(None);
        }
        match receiver.send(report).await {
            Answer::Taken => {
                self.counts.sent.add(1);
                self.counts.condition.works();
                if let Some(attempts) = schedule.succeeded() {
                    tracing::warn!("{name} takes reports again, after {attempts} attempts that failed");
                }
                ControlFlow::Continue(())
            }
            Answer::Refused(why) => {
                self.counts.condition.fails(self.spool.now(), &why);
                self.tell(&self.counts.refused, &format!("were refused and are not sent again; the last one: {why}"));
                schedule.succeeded();
                ControlFlow::Continue(())
            }
            Answer::Failed { why, retry_after } => {
                self.counts.failures.add(1);
                self.counts.condition.fails(self.spool.now(), &why);
                let (attempt, pause) = schedule.failed(retry_after);
                if attempt == 1 {
                    tracing::error!("{name} takes no reports, which wait in the spool; it is tried again: {why}");
                } else {
                    tracing::debug!("{name}: attempt {attempt} has failed: {why}");
                }
                ControlFlow::Break(Some(pause))
            }
        }
    }

    /// Whether nobody can act on it any more. Where the clocks are apart nobody knows how long it has waited.
    fn is_too_old(&self, report: &Spooled) -> bool {
        let (moment, end) = ((self.moments)(), report.at.checked_add(REPORT_AGE_MAX));
        let is_known = moment.is_certain() && self.begun.elapsed() >= AGE_IGNORED_FOR;
        is_known && end.is_some_and(|end| moment.loosens(end))
    }

    /// Counts a report that is not sent. Loud at the first, and whenever there are twice as many.
    fn tell(&self, count: &Count, what: &str) {
        let count = count.add(1);
        if count.is_power_of_two() {
            tracing::error!("{}: {count} reports so far {what}", self.name);
        }
    }

    /// Says once that the spool cannot be used; gives the pause before it is asked again.
    fn tell_trouble(&self, troubled: &mut bool, error: &SpoolError) -> Duration {
        // Who holds it has been told at the start, and may do so for as long as it likes.
        if !*troubled && !matches!(error, SpoolError::Held { .. }) {
            tracing::error!("{}: nothing is sent: {error}", self.name);
        }
        *troubled = true;
        SPOOL_PAUSE
    }
}

/// A disk may take its time, and sessions do not wait for it.
async fn in_thread<T: Send + 'static>(
    spool: &Arc<Spool>,
    work: impl FnOnce(&Spool) -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    let spool = Arc::clone(spool);
    match tokio::task::spawn_blocking(move || work(&spool)).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// When a failed report is tried again.
#[derive(Debug)]
struct Schedule {
    failed: u32,
    pauses: ExponentialBackoff,
}

impl Schedule {
    fn new() -> Self {
        Self { failed: 0, pauses: pauses() }
    }

    /// Which attempt in a row has failed, and the pause before the next one.
    fn failed(&mut self, retry_after: Option<Duration>) -> (u32, Duration) {
        self.failed = self.failed.saturating_add(1);
        let pause = self.pauses.next().unwrap_or(RETRY_PAUSE_MAX);
        (self.failed, pause.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX)))
    }

    /// How many attempts had failed before, if any had.
    fn succeeded(&mut self) -> Option<u32> {
        let failed = std::mem::replace(self, Self::new()).failed;
        (failed > 0).then_some(failed)
    }
}

/// Chance at most doubles a pause.
fn pauses() -> ExponentialBackoff {
    let builder = ExponentialBuilder::new().with_min_delay(RETRY_PAUSE_MIN).with_max_delay(RETRY_PAUSE_MAX / 2);
    builder.with_factor(2.0).with_jitter().without_max_times().build()
}

/// No more than so many reports in any minute.
#[derive(Debug)]
struct Pace {
    per_minute: usize,
    sent: VecDeque<Instant>,
}

impl Pace {
    fn new(per_minute: usize) -> Self {
        Self { per_minute, sent: VecDeque::new() }
    }

    /// Waits until one more may be sent, which counts as sent then.
    async fn turn(&mut self) {
        if self.sent.len() >= self.per_minute
            && let Some(oldest) = self.sent.front()
        {
            tokio::time::sleep_until(*oldest + MINUTE).await;
            self.sent.pop_front();
        }
        self.sent.push_back(Instant::now());
    }
}

#[cfg(test)]
mod tests;
