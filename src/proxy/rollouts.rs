//! How far each rollout has come, and which of them are on hold.
//!
//! The dates say which step a rollout should be at. Where it has a limit for violations, each step is taken only while
//! the sessions of the last hour keep it; a step that was taken is never taken back.

use crate::policy::moment::Moment;
use crate::policy::pinset::Pinset;
use crate::policy::rollout::Rollout;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Sessions are counted by the minute, for an hour.
const MINUTES: u64 = 60;

/// The rollouts of the policy in force.
#[derive(Debug, Default)]
pub(super) struct Rollouts {
    /// By the name of their pinset.
    known: Mutex<HashMap<String, Progress>>,
    /// Steps that were taken since the start, by whom ever.
    steps: AtomicU64,
    /// How many of them there were when [`Rollouts::advance`] last looked.
    seen: AtomicU64,
}

#[derive(Debug)]
struct Progress {
    rollout: Rollout,
    taken: usize,
    held: bool,
    hour: Hour,
}

/// Sessions and violations of the last hour.
#[derive(Debug, Default)]
struct Hour {
    /// Minute since the start, sessions, violations; in the order of time, at most [`MINUTES`].
    minutes: Vec<(u64, u64, u64)>,
}

impl Hour {
    fn count(&mut self, now: Duration, violated: bool) {
        let minute = now.as_secs() / 60;
        self.forget(minute);
        match self.minutes.last_mut() {
            Some((last, sessions, violations)) if *last == minute => {
                *sessions += 1;
                *violations += u64::from(violated);
            }
            _ => self.minutes.push((minute, 1, u64::from(violated))),
        }
    }

    fn forget(&mut self, minute: u64) {
        self.minutes.retain(|(counted, ..)| *counted + MINUTES > minute);
    }

    /// Sessions, and how many of them violated the pins.
    fn sum(&mut self, now: Duration) -> (u64, u64) {
        self.forget(now.as_secs() / 60);
        self.minutes.iter().fold((0, 0), |(s, v), (_, sessions, violations)| (s + sessions, v + violations))
    }
}

impl Progress {
    /// A rollout that begins where its dates say.
    fn new(rollout: &Rollout, moment: Moment) -> Self {
        Self { rollout: rollout.clone(), taken: rollout.step_agreed(moment), held: false, hour: Hour::default() }
    }

    /// Another rollout of the same pinset: it begins at the share that this one has come to, and with its counts, so that
    /// nobody lifts a hold by changing a date.
    fn changed_to(self, rollout: &Rollout) -> Self {
        let taken = rollout.step_nearest(self.rollout.share(self.taken));
        Self { rollout: rollout.clone(), taken, held: false, hour: self.hour }
    }

    /// In percent, the share of the clients that is enforced.
    fn percent(&self, moment: Moment) -> f64 {
        let by_date = self.rollout.step_at(moment);
        let steps = if self.rollout.hold().is_some() { by_date.min(self.taken) } else { by_date };
        self.rollout.share(steps).percent()
    }

    /// Takes the steps whose dates have come, unless too many sessions violate the pins. Gives what has to be told. A step
    /// is never taken back, so it is taken only when every clock says that its date has come.
    fn advance(&mut self, name: &str, moment: Moment, now: Duration) -> Option<String> {
        let due = self.rollout.step_agreed(moment);
        if due <= self.taken {
            return None;
        }
        let (sessions, violations) = self.hour.sum(now);
        let percent = |steps| self.rollout.share(steps).percent();
        if self.rollout.hold().is_some_and(|limit| limit.is_exceeded_by(violations, sessions)) {
            let text = (!self.held).then(|| {
                format!(
                    "the rollout of pinset {name} is on hold at {} % of the clients instead of {} %: {violations} of \
                     its {sessions} sessions in the last hour showed no pinned key",
                    percent(self.taken),
                    percent(due)
                )
            });
            self.held = true;
            return text;
        }
        let text = format!("the rollout of pinset {name} now enforces for {} % of the clients", percent(due));
        (self.taken, self.held) = (due, false);
        Some(text)
    }
}

impl Rollouts {
    /// Goes over to the pinsets of a new policy. A rollout keeps its counts and how far it has come; one that was not there
    /// before begins where its dates say.
    pub(super) fn enter<'a>(&self, pinsets: impl Iterator<Item = &'a Pinset>, moment: Moment) {
        // Sessions wait for the lock, and who is here may be made to wait by all others: as little as can be is done under it.
        let rolling: Vec<_> = pinsets.filter_map(|pinset| Some((pinset, pinset.rollout()?))).collect();
        let (mut entered, mut changes) = (HashMap::with_capacity(rolling.len()), Vec::new());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (pinset, rollout) in rolling {
            let progress = match known.remove(&pinset.name) {
                None => Progress::new(rollout, moment),
                Some(progress) if progress.rollout == *rollout => progress,
                Some(progress) => {
                    let before = progress.percent(moment);
                    let changed = progress.changed_to(rollout);
                    changes.push((&pinset.name, changed.percent(moment), before));
                    changed
                }
            };
            entered.insert(pinset.name.clone(), progress);
        }
        let gone = std::mem::replace(&mut *known, entered);
        drop(known);
        drop(gone);
        for (name, after, before) in changes {
            tracing::warn!(
                "the rollout of pinset {name} has changed: it enforces for {after} % of the clients, before for {before} %"
            );
        }
    }

    /// The step that this pinset must not pass; `None` where it goes by its dates.
    pub(super) fn limit(&self, pinset: &Pinset, moment: Moment, now: Duration) -> Option<usize> {
        let rollout = held(pinset)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A session of an earlier generation may have a rollout that is gone, or another one now, whose steps are not
        // its own: it goes by its dates.
        let progress = known.get_mut(&pinset.name).filter(|progress| progress.rollout == *rollout)?;
        self.step(&pinset.name, progress, moment, now);
        Some(progress.taken)
    }

    /// In percent, the share of the clients that the rollout of this pinset enforces for, and whether it is on hold.
    pub(super) fn reached(&self, pinset: &Pinset, moment: Moment) -> Option<(f64, bool)> {
        let rollout = pinset.rollout()?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = known.get(&pinset.name).filter(|progress| progress.rollout == *rollout)?;
        Some((progress.percent(moment), progress.held))
    }

    /// Counts a session whose chain was judged.
    pub(super) fn count(&self, pinset: &Pinset, violated: bool, now: Duration) {
        let Some(rollout) = held(pinset) else { return };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(progress) = known.get_mut(&pinset.name).filter(|progress| progress.rollout == *rollout) {
            progress.hour.count(now, violated);
        }
    }

    /// Takes the steps that are due, whether or not there are sessions, and tells of them. Whether any was taken since the
    /// last time, by this or by a session.
    pub(super) fn advance(&self, moment: Moment, now: Duration) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, progress) in &mut *known {
            self.step(name, progress, moment, now);
        }
        let steps = self.steps();
        self.seen.swap(steps, Ordering::Relaxed) != steps
    }

    /// How many steps were taken: another number when a rule has changed so.
    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    fn step(&self, name: &str, progress: &mut Progress, moment: Moment, now: Duration) {
        let before = progress.taken;
        if let Some(text) = progress.advance(name, moment, now) {
            tracing::warn!("{text}");
        }
        if progress.taken != before {
            self.steps.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The rollout of a pinset, if violations can hold it.
fn held(pinset: &Pinset) -> Option<&Rollout> {
    pinset.rollout().filter(|rollout| rollout.hold().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::pin::Pin;
    use crate::policy::pinset::{Accepts, AnchorSet, Basis, Clause, Combine, Plaintext, Position, Stance};
    use crate::policy::rollout::{Rate, Share, Step};
    use std::time::SystemTime;

    const MINUTE: Duration = Duration::from_secs(60);

    fn day(day: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(day * 24 * 60 * 60)
    }

    fn pinset(hold: Option<f64>) -> Pinset {
        rolled_out(&[(1, 5.0), (2, 50.0)], 3, hold)
    }

    /// Steps by day and percent, the day of the end, the limit for violations.
    fn rolled_out(ramp: &[(u64, f64)], end: u64, hold: Option<f64>) -> Pinset {
        let step =
            |(from, percent): &(u64, f64)| Step { from: day(*from), share: Share::from_percent(*percent).unwrap() };
        let hold = hold.map(|fraction| Rate::from_fraction(fraction).unwrap());
        let rollout = Rollout::new(ramp.iter().map(step).collect(), day(end), hold).unwrap();
        let clause = Clause::new(Position::Anywhere, vec![Pin::Spki([1; 32])]).unwrap();
        let accepts = Accepts::new(vec![clause], Combine::All).unwrap();
        Pinset {
            name: "partner".into(),
            basis: Basis::Chain { accepts, stance: Stance::Rollout(rollout), anchors: AnchorSet::Common },
            deny: None,
            plaintext: Plaintext::Deny,
            expiry: None,
        }
    }

    fn entered(pinset: &Pinset, at: SystemTime) -> Rollouts {
        let rollouts = Rollouts::default();
        rollouts.enter(std::iter::once(pinset), Moment::at(at));
        rollouts
    }

    #[test]
    fn too_many_violations_hold_the_step_and_fewer_release_it() {
        let pinset = pinset(Some(0.1));
        let rollouts = entered(&pinset, day(1));
        let limit = |at, now| rollouts.limit(&pinset, Moment::at(at), now);
        assert_eq!(limit(day(1), MINUTE), Some(1), "where it began");
        for session in 0..10 {
            rollouts.count(&pinset, session < 2, MINUTE);
        }
        assert_eq!(limit(day(2), 2 * MINUTE), Some(1), "2 of 10 are more than a tenth");
        assert_eq!(limit(day(3), 2 * MINUTE), Some(1), "and the next step is held too");
        assert_eq!(rollouts.reached(&pinset, Moment::at(day(3))), Some((5.0, true)));
        for _ in 0..10 {
            rollouts.count(&pinset, false, 3 * MINUTE);
        }
        assert_eq!(limit(day(3), 3 * MINUTE), Some(3), "2 of 20 are a tenth, not more");
        assert_eq!(rollouts.reached(&pinset, Moment::at(day(3))), Some((100.0, false)));
        for _ in 0..100 {
            rollouts.count(&pinset, true, 4 * MINUTE);
        }
        assert_eq!(limit(day(3), 4 * MINUTE), Some(3), "a step taken is never taken back");
        assert_eq!(limit(day(1), 4 * MINUTE), Some(3), "nor by a clock that goes back");
    }

    /// Who judges open sessions again hears of each step once, whoever took it, and of nothing else.
    #[test]
    fn a_step_is_news_whoever_takes_it() {
        let (pinset, off_hold) = (pinset(Some(0.1)), 100 * MINUTE);
        let rollouts = entered(&pinset, day(1));
        rollouts.count(&pinset, true, MINUTE);
        let news = |at, now| (rollouts.advance(Moment::at(at), now), rollouts.steps());
        assert_eq!(news(day(1), MINUTE), (false, 0), "nothing is due");
        assert_eq!(news(day(2), MINUTE), (false, 0), "a hold is no step");
        assert_eq!(rollouts.limit(&pinset, Moment::at(day(2)), off_hold), Some(2), "a session takes it");
        assert_eq!(news(day(2), off_hold), (true, 1));
        assert_eq!(news(day(2), off_hold), (false, 1), "once");
        assert_eq!(news(day(3), off_hold), (true, 2), "taken without a session");
        assert_eq!(news(day(3), off_hold), (false, 2), "once");
    }

    #[test]
    fn an_hour_later_nothing_is_left_of_a_violation() {
        let pinset = pinset(Some(0.0));
        let rollouts = entered(&pinset, day(0));
        rollouts.count(&pinset, true, 5 * MINUTE);
        assert_eq!(rollouts.limit(&pinset, Moment::at(day(1)), 64 * MINUTE), Some(0));
        assert_eq!(rollouts.limit(&pinset, Moment::at(day(1)), 65 * MINUTE), Some(1));
    }

    #[test]
    fn without_a_limit_the_dates_decide() {
        let pinset = pinset(None);
        let rollouts = entered(&pinset, day(0));
        rollouts.count(&pinset, true, MINUTE);
        assert_eq!(rollouts.limit(&pinset, Moment::at(day(1)), MINUTE), None);
    }

    #[test]
    fn a_new_policy_lifts_no_hold() {
        // The rollout after a reload, in the middle of a hold at the first of the steps 5 %, 50 %, 100 %; the step that it
        // stays at.
        let usual = [(1, 5.0), (2, 50.0)];
        let table = [
            ("unchanged", pinset(Some(0.1)), Some(1)),
            ("a higher limit", pinset(Some(0.2)), Some(1)),
            ("a lower limit", pinset(Some(0.05)), Some(1)),
            ("a limit that is kept", pinset(Some(1.0)), Some(3)),
            ("no limit", pinset(None), None),
            ("a later end", rolled_out(&usual, 4, Some(0.1)), Some(1)),
            ("another share", rolled_out(&[(1, 6.0), (2, 50.0)], 3, Some(0.1)), Some(1)),
            ("a step more", rolled_out(&[(1, 1.0), (2, 4.0)], 3, Some(0.1)), Some(2)),
            ("no ramp", rolled_out(&[], 3, Some(0.1)), Some(0)),
        ];
        for (what, changed, expected) in table {
            let held = pinset(Some(0.1));
            let rollouts = entered(&held, day(1));
            rollouts.count(&held, true, MINUTE);
            assert_eq!(rollouts.limit(&held, Moment::at(day(3)), MINUTE), Some(1));
            rollouts.enter(std::iter::once(&changed), Moment::at(day(3)));
            assert_eq!(rollouts.limit(&changed, Moment::at(day(3)), MINUTE), expected, "{what}");
            rollouts.enter(std::iter::empty(), Moment::at(day(3)));
            assert_eq!(rollouts.limit(&changed, Moment::at(day(3)), MINUTE), None, "gone");
        }
    }

    /// A wall clock that was set forward for a moment does not take steps that are never taken back.
    #[test]
    fn a_step_needs_every_clock() {
        let pinset = pinset(Some(0.1));
        let rollouts = entered(&pinset, day(1));
        assert_eq!(rollouts.limit(&pinset, Moment::between(day(1), day(9)), MINUTE), Some(1));
        assert_eq!(rollouts.limit(&pinset, Moment::at(day(2)), MINUTE), Some(2));
        // Nor does a reload in that moment.
        let rollouts = Rollouts::default();
        rollouts.enter(std::iter::once(&pinset), Moment::between(day(1), day(9)));
        assert_eq!(rollouts.limit(&pinset, Moment::between(day(1), day(9)), MINUTE), Some(1));
    }

    /// A session keeps the rules that it began with. Steps of another rollout would say nothing about its own.
    #[test]
    fn a_session_of_an_earlier_policy_neither_takes_nor_gives() {
        let (old, new) = (pinset(Some(0.1)), pinset(Some(0.2)));
        let rollouts = entered(&old, day(2));
        rollouts.enter(std::iter::once(&new), Moment::at(day(0)));
        assert_eq!(rollouts.limit(&old, Moment::at(day(2)), MINUTE), None, "it is not taken back to the new beginning");
        rollouts.count(&old, true, MINUTE);
        assert_eq!(rollouts.limit(&new, Moment::at(day(2)), MINUTE), Some(2), "its violation does not count");
    }

    #[test]
    fn what_is_told_is_told_once() {
        let pinset = pinset(Some(0.1));
        let mut progress =
            Progress { rollout: pinset.rollout().unwrap().clone(), taken: 1, held: false, hour: Hour::default() };
        progress.hour.count(MINUTE, true);
        let told = progress.advance("partner", Moment::at(day(2)), MINUTE).unwrap();
        let expected = "the rollout of pinset partner is on hold at 5 % of the clients instead of 50 %: 1 of its 1 \
                        sessions in the last hour showed no pinned key";
        assert_eq!(told, expected);
        assert_eq!(progress.advance("partner", Moment::at(day(2)), MINUTE), None);
        let told = progress.advance("partner", Moment::at(day(2)), 100 * MINUTE);
        assert_eq!(told.as_deref(), Some("the rollout of pinset partner now enforces for 50 % of the clients"));
        assert_eq!(progress.advance("partner", Moment::at(day(2)), 100 * MINUTE), None);
    }

    #[test]
    fn the_count_of_an_hour_is_bounded() {
        let mut hour = Hour::default();
        for minute in 0..10_000 {
            hour.count(minute * MINUTE, minute % 2 == 0);
        }
        assert_eq!((hour.minutes.len(), hour.sum(9_999 * MINUTE)), (60, (60, 30)));
    }
}
