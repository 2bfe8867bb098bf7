//! The places for connections of operators. Where all are taken, who has been idle longest leaves for whoever comes: a
//! probe always gets its place, and silence keeps nobody out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

/// Connections at a time.
pub(super) const CONNECTIONS_MAX: usize = 32;

/// Of these, for one address beyond this machine, or one /64 of IPv6: strangers are to end each other's connections
/// rather than those of probes.
pub(super) const CONNECTIONS_PER_ADDRESS_MAX: usize = CONNECTIONS_MAX / 4;

/// For a connection until it has asked something, and again from each answer on. Who waits for an answer waits as long as
/// it takes: a reload of a large configuration on a busy machine takes minutes, and ends by itself.
const IDLE_MAX: Duration = Duration::from_secs(120);

/// Who has come, or has had an answer, this long ago and asks nothing leaves for who comes. Many that come together, as
/// scrapers do, are to end none of each other.
pub(super) const GRACE: Duration = Duration::from_millis(100);

/// Who comes waits no longer than this for somebody who has been idle so long: there may be none for ever, where all ask
/// again and again.
const PATIENCE: Duration = Duration::from_millis(300);

/// Between two lines of the log that say that all places were taken.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What a connection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It has asked nothing since then.
    Idle(Instant),
    /// Its question is being answered.
    Answered,
    /// It leaves its place to another one.
    Over,
}

/// A place that is taken.
#[derive(Debug)]
pub(super) struct Place {
    source: Option<IpAddr>,
    turn: watch::Sender<Turn>,
    /// Hears that somebody is idle again.
    idle: Arc<Notify>,
}

impl Place {
    /// A question has arrived, all of it.
    pub(super) fn is_asked(&self) {
        self.go_on(Turn::Answered);
    }

    /// It has its answer.
    pub(super) fn is_answered(&self) {
        self.go_on(Turn::Idle(Instant::now()));
        self.idle.notify_one();
    }

    /// Unless it is over.
    fn go_on(&self, next: Turn) {
        self.turn.send_if_modified(|turn| {
            let goes_on = *turn != Turn::Over;
            if goes_on {
                *turn = next;
            }
            goes_on
        });
    }

    /// Completes when the connection has to end.
    pub(super) async fn is_over(&self) {
        let mut turn = self.turn.subscribe();
        loop {
            let now = *turn.borrow_and_update();
            let end = match now {
                Turn::Idle(since) => Some(since + IDLE_MAX),
                Turn::Answered => None,
                Turn::Over => return,
            };
            tokio::select! {
                // It does not fail: the sender is ours.
                _ = turn.changed() => {}
                () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return,
            }
        }
    }

    /// Since when nothing is asked; none while something is, or when it is over.
    fn idle_since(&self) -> Option<Instant> {
        match *self.turn.borrow() {
            Turn::Idle(since) => Some(since),
            Turn::Answered | Turn::Over => None,
        }
    }
}

/// What becomes of one who comes.
#[derive(Debug)]
pub(super) enum Seat {
    /// It has a place.
    Taken(Arc<Place>),
    /// All are asking or being answered; one of them is done soon.
    Later,
    /// So are all of its address, and it gets no place of others.
    Never,
}

/// All places of a door.
#[derive(Debug)]
pub(super) struct Places {
    taken: Vec<Arc<Place>>,
    idle: Arc<Notify>,
    /// Whose they are, for the log.
    door: &'static str,
    told: Option<Instant>,
}

impl Places {
    pub(super) fn of(door: &'static str) -> Self {
        Self { taken: Vec::new(), idle: Arc::default(), door, told: None }
    }

    /// A place for one that came at this time. Where there is none, the one that has been idle longest loses its own, of
    /// the same address if that has as many as it gets.
    pub(super) fn take(&mut self, source: Option<IpAddr>, came: Instant) -> Seat {
        // Nobody else holds the place of a connection that is gone.
        self.taken.retain(|place| Arc::strong_count(place) > 1);
        let of_source = |place: &Place| source.is_some() && place.source == source;
        if self.taken.iter().filter(|place| of_source(place)).count() >= CONNECTIONS_PER_ADDRESS_MAX {
            if !self.end_idlest(of_source, GRACE) {
                return Seat::Never;
            }
        } else if self.taken.len() >= CONNECTIONS_MAX {
            let grace = if came.elapsed() < PATIENCE { GRACE } else { Duration::ZERO };
            if !self.end_idlest(|_| true, grace) {
                return Seat::Later;
            }
        }
        let turn = watch::Sender::new(Turn::Idle(Instant::now()));
        let place = Arc::new(Place { source, turn, idle: Arc::clone(&self.idle) });
        self.taken.push(Arc::clone(&place));
        Seat::Taken(place)
    }

    /// Completes when there may be one that is idle, or has been for long enough.
    pub(super) async fn may_have_changed(&self) {
        let idlest = self.taken.iter().filter_map(|place| place.idle_since()).min();
        tokio::select! {
            () = self.idle.notified() => {}
            () = sleep_until(idlest.unwrap_or_else(Instant::now) + GRACE) => {}
        }
    }

    /// Whether there was one to end.
    fn end_idlest(&mut self, may_end: impl Fn(&Place) -> bool, grace: Duration) -> bool {
        let among = self.taken.iter().enumerate().filter(|(_, place)| may_end(place));
        let idle = among.filter_map(|(index, place)| Some((place.idle_since()?, index)));
        let Some((since, index)) = idle.min().filter(|(since, _)| since.elapsed() >= grace) else { return false };
        let ended = self.taken.swap_remove(index);
        // A question that has arrived since then is not answered: as if it had come a moment later.
        ended.turn.send_replace(Turn::Over);
        self.tell(since);
        true
    }

    fn tell(&mut self, since: Instant) {
        let now = Instant::now();
        if self.told.is_some_and(|told| now < told + TOLD_EVERY) {
            return;
        }
        self.told = Some(now);
        let (door, idle) = (self.door, now - since);
        tracing::warn!(
            "{door} has as many connections as it takes ({CONNECTIONS_MAX}, {CONNECTIONS_PER_ADDRESS_MAX} of one address \
             of others): the one that has been idle longest, for {idle:.1?}, is closed for a new one, and so are further \
             ones; look who opens them and asks nothing"
        );
    }
}
