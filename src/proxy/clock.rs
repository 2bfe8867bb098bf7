//! What time it is, and whether the machine's clocks agree about it.

use crate::policy::moment::Moment;
use crate::report::date_time;
use rustix::time::{ClockId, clock_gettime};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// How far the wall clock may move against the steady clock, since the start of the proxy, before neither is believed
/// alone. Corrections by NTP and leap seconds stay far below.
pub(super) const CLOCK_JUMP_MAX: Duration = Duration::from_secs(60 * 60);

/// Tells the time. The system's in production; a test has its own.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// Since a fixed moment, whatever the wall clock is set to.
    steady: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// The clocks of the system. The steady one goes on while the machine sleeps: waking up is no jump.
    pub fn system() -> Self {
        Self::of(SystemTime::now, || {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            let id = ClockId::Boottime;
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            let id = ClockId::Monotonic;
            Duration::try_from(clock_gettime(id)).unwrap_or_default()
        })
    }

    /// A wall clock and a steady one.
    pub fn of(
        wall: impl Fn() -> SystemTime + Send + Sync + 'static,
        steady: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        Self { wall: Arc::new(wall), steady: Arc::new(steady) }
    }

    /// A clock that tells what a function says, and is never moved.
    pub fn from_fn(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        let now = Arc::new(now);
        let wall = Arc::clone(&now);
        Self::of(move || wall(), move || now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }

    /// What the wall clock says.
    pub fn now(&self) -> SystemTime {
        (self.wall)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}

/// Holds the wall clock against the steady one. What the wall clock said at the start, and the time that has passed
/// since, is as good a clock; when the two drift apart, one of them was moved, by accident or by an attacker, and what
/// loosens a rule waits until both agree that it is time.
#[derive(Debug)]
pub(super) struct Timekeeper {
    clock: Clock,
    started: SystemTime,
    steady_at_start: Duration,
    apart: AtomicBool,
    /// The latest time that was believed, in microseconds since 1970: what has come by it has come.
    reached: AtomicU64,
}

impl Timekeeper {
    pub(super) fn new(clock: Clock) -> Self {
        let (started, steady_at_start) = (clock.now(), (clock.steady)());
        let reached = AtomicU64::new(microseconds(started));
        Self { clock, started, steady_at_start, apart: AtomicBool::new(false), reached }
    }

    /// What the wall clock says.
    pub(super) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Time since the start, by the steady clock.
    pub(super) fn elapsed(&self) -> Duration {
        (self.clock.steady)().saturating_sub(self.steady_at_start)
    }

    /// Whether they were apart when they were last looked at.
    pub(super) fn is_apart(&self) -> bool {
        self.apart.load(Ordering::Relaxed)
    }

    /// The moment that rules are held against. Raises the alarm when the clocks come apart, and ends it when they agree
    /// again.
    pub(super) fn moment(&self) -> Moment {
        let wall = self.now();
        let steady = self.started.checked_add(self.elapsed()).unwrap_or(wall);
        let gap = wall.duration_since(steady).unwrap_or_else(|behind| behind.duration());
        let apart = gap > CLOCK_JUMP_MAX;
        if self.apart.swap(apart, Ordering::Relaxed) != apart {
            tell(apart, wall, steady);
        }
        if apart {
            // What the clock said while it was moved is not to be remembered.
            let reached = time_of(self.reached.load(Ordering::Relaxed));
            return Moment::between(wall, steady).including(reached);
        }
        let reached = self.reached.fetch_max(microseconds(wall), Ordering::Relaxed);
        Moment::at(wall).including(time_of(reached))
    }
}

pub(super) fn microseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn time_of(microseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(microseconds)
}

fn tell(apart: bool, wall: SystemTime, steady: SystemTime) {
    let (wall_says, steady_says) = (date_time(wall), date_time(steady));
    if apart {
        tracing::error!(
            "clock alarm: the wall clock says {wall_says}, but by the time passed since the start it is {steady_says}; \
             until they agree, nothing that loosens a rule takes effect, and certificates are held against the later \
             of the two. If the wall clock is right, restart pinproxy; if not, find out who set it"
        );
    } else {
        tracing::warn!("clock alarm over: the wall clock says {wall_says}, which agrees with the time passed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const HOUR: Duration = Duration::from_secs(60 * 60);
    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + 1_000_000 * HOUR
    }

    /// A timekeeper, and what its two clocks say: time after the start, and the time the wall clock is ahead of that.
    fn timekeeper() -> (Timekeeper, Arc<Mutex<(Duration, i64)>>) {
        let dial = Arc::new(Mutex::new((Duration::ZERO, 0_i64)));
        let (for_wall, for_steady) = (Arc::clone(&dial), Arc::clone(&dial));
        let wall = move || {
            let (passed, ahead) = *for_wall.lock().unwrap();
            let seconds = Duration::from_secs(ahead.unsigned_abs());
            let time = start() + passed;
            if ahead < 0 { time - seconds } else { time + seconds }
        };
        let clock = Clock::of(wall, move || 77 * HOUR + for_steady.lock().unwrap().0);
        (Timekeeper::new(clock), dial)
    }

    #[test]
    fn a_jump_of_more_than_an_hour_makes_two_readings() {
        let (keeper, dial) = timekeeper();
        let steady = start() + 5 * HOUR;
        let mut reached = start();
        for (ahead, apart) in [(0, false), (3_600, false), (3_601, true), (-3_600, false), (-3_601, true), (0, false)] {
            *dial.lock().unwrap() = (5 * HOUR, ahead);
            let (moment, wall) = (keeper.moment(), keeper.now());
            if !apart {
                reached = reached.max(wall);
            }
            let expected = if apart { Moment::between(wall, steady) } else { Moment::at(wall) }.including(reached);
            assert_eq!(moment, expected, "{ahead}");
            assert_eq!(keeper.apart.load(Ordering::Relaxed), apart, "{ahead}");
        }
        assert_eq!(reached, steady + HOUR, "a clock that is moved by more is not believed");
    }

    /// A log that can be read afterwards.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is logged while this runs.
    fn logged(work: impl FnOnce()) -> String {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(move || writer.clone());
        tracing::subscriber::with_default(subscriber.finish(), work);
        let octets = log.0.lock().unwrap().clone();
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn the_alarm_is_raised_once_and_ended_once() {
        let (keeper, dial) = timekeeper();
        let told = logged(|| {
            for ahead in [0, 7_200, 7_200, 10_000, 0, 0] {
                *dial.lock().unwrap() = (5 * HOUR, ahead);
                keeper.moment();
            }
        });
        let lines: Vec<_> = told.lines().collect();
        let [alarm, over] = lines.as_slice() else { panic!("{told}") };
        let expected = "ERROR pinproxy::proxy::clock: clock alarm: the wall clock says 2084-01-29T23:00:00.000Z, but by the \
                        time passed since the start it is 2084-01-29T21:00:00.000Z; until they agree, nothing that \
                        loosens a rule takes effect";
        assert!(alarm.trim_start().starts_with(expected), "{alarm}");
        assert!(over.contains("WARN") && over.contains("clock alarm over: "), "{over}");
    }

    #[test]
    fn small_steps_add_up() {
        let (keeper, dial) = timekeeper();
        for step in 1..=10_i64 {
            *dial.lock().unwrap() = (u32::try_from(step).unwrap() * HOUR, step * 400);
            assert_eq!(keeper.moment() == Moment::at(keeper.now()), step <= 9, "step {step}");
        }
    }

    /// An hour back is a correction and raises no alarm; what has come before it has come all the same.
    #[test]
    fn a_correction_takes_nothing_back() {
        let (keeper, dial) = timekeeper();
        *dial.lock().unwrap() = (10 * HOUR, 0);
        assert!(keeper.moment().tightens(start() + 10 * HOUR));
        *dial.lock().unwrap() = (10 * HOUR, -3_000);
        let moment = keeper.moment();
        assert!(moment.tightens(start() + 10 * HOUR) && !moment.loosens(start() + 10 * HOUR));
        assert!(!keeper.apart.load(Ordering::Relaxed));
    }

    #[test]
    fn a_clock_set_back_neither_revives_nor_ends() {
        let (keeper, dial) = timekeeper();
        *dial.lock().unwrap() = (10 * HOUR, -9 * 3_600);
        let moment = keeper.moment();
        assert!(moment.tightens(start() + 10 * HOUR), "an exemption that was over stays over");
        assert!(!moment.loosens(start() + 2 * HOUR), "an end that loosens has not come by the wall clock");
        assert_eq!(moment.latest(), start() + 10 * HOUR, "certificates that have expired stay expired");
    }

    #[test]
    fn a_clock_set_forward_loosens_nothing() {
        let (keeper, dial) = timekeeper();
        *dial.lock().unwrap() = (SECOND, 24 * 3_600);
        let moment = keeper.moment();
        assert!(!moment.loosens(start() + HOUR), "a pinset does not end early");
        assert!(moment.tightens(start() + HOUR), "enforcement may begin early");
    }

    #[test]
    fn the_systems_clocks_agree() {
        let keeper = Timekeeper::new(Clock::system());
        let moment = keeper.moment();
        assert_eq!(moment, Moment::at(moment.latest()));
    }
}
