//! Gradual enforcement: a pinset that begins as report-only and is enforced for more and more clients.

use super::moment::Moment;
use super::pin::Sha256;
use sha2::{Digest as _, Sha256 as Hasher};
use std::net::IpAddr;
use std::time::SystemTime;

/// Parts that all clients are divided into.
const PARTS: u16 = 10_000;

/// A part of all clients, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u16);

/// A part of the sessions, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u32);

/// From a moment on, a share of the clients is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// From this moment on.
    pub from: SystemTime,
    /// This part of the clients.
    pub share: Share,
}

/// Steps from nobody to everybody. The moments rise, the shares rise, and the last step is everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    steps: Vec<Step>,
    hold: Option<Rate>,
}

/// Why steps are no rollout. The texts are shown to operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolloutError {
    /// A step that does not come after the one before it.
    #[error("this step is not later than the one before it")]
    Order,
    /// A share that is not above the one before it.
    #[error("this step does not enforce for more clients than the one before it")]
    Share,
    /// A ramp that goes on when everybody is enforced.
    #[error("this step is not before enforce_from, when everybody is enforced")]
    AfterEnd,
}

/// The place of a client in the order in which a rollout takes clients in. It depends on the pinset and the client
/// alone, so that a client is always on the same side of the line, in every instance and after every restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lot(u16);

impl Share {
    /// Everybody.
    pub const ALL: Self = Self(PARTS);

    /// From percent, 0 to 100, as exact as a hundredth of a percent; `None` outside of that.
    pub fn from_percent(percent: f64) -> Option<Self> {
        let parts = percent * f64::from(PARTS / 100);
        let rounded = parts.round();
        if !(0.0..=f64::from(PARTS)).contains(&rounded) || (parts - rounded).abs() > 1e-6 {
            return None;
        }
        // Within 0..=10 000 and whole: nothing is cut off.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(Self(rounded as u16))
    }

    /// In percent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / f64::from(PARTS / 100)
    }

    fn holds(self, lot: Lot) -> bool {
        lot.0 < self.0
    }
}

impl Rate {
    const MILLION: u32 = 1_000_000;

    /// From a fraction, 0 to 1, as exact as a millionth; `None` outside of that.
    pub fn from_fraction(fraction: f64) -> Option<Self> {
        let parts = fraction * f64::from(Self::MILLION);
        let rounded = parts.round();
        if !(0.0..=f64::from(Self::MILLION)).contains(&rounded) || (parts - rounded).abs() > 1e-6 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(Self(rounded as u32))
    }

    /// As a fraction.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::MILLION)
    }

    /// Whether so many of so many are more than this rate.
    pub fn is_exceeded_by(self, violations: u64, sessions: u64) -> bool {
        u128::from(violations) * u128::from(Self::MILLION) > u128::from(sessions) * u128::from(self.0)
    }
}

impl Lot {
    /// Draws the lot of a client. Addresses of one IPv6 /64 are one client: machines change the rest of theirs daily.
    pub fn draw(pinset: &str, client: IpAddr) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(pinset.as_bytes());
        hasher.update([0]);
        match client.to_canonical() {
            IpAddr::V4(address) => hasher.update(address.octets()),
            IpAddr::V6(address) => hasher.update(&address.octets()[..8]),
        }
        let digest: Sha256 = hasher.finalize().into();
        let number = digest.iter().take(8).fold(0, |number: u64, octet| number << 8 | u64::from(*octet));
        Self(u16::try_from(number % u64::from(PARTS)).unwrap_or_default())
    }
}

impl Rollout {
    /// Steps of a ramp, then everybody.
    ///
    /// # Errors
    /// What is wrong, and with which step of the ramp, counted from 0.
    pub fn new(ramp: Vec<Step>, enforce_from: SystemTime, hold: Option<Rate>) -> Result<Self, (usize, RolloutError)> {
        let mut before = Step { from: SystemTime::UNIX_EPOCH, share: Share(0) };
        for (index, step) in ramp.iter().enumerate() {
            let wrong = if step.from >= enforce_from {
                Some(RolloutError::AfterEnd)
            } else if step.from <= before.from {
                Some(RolloutError::Order)
            } else if step.share <= before.share {
                Some(RolloutError::Share)
            } else {
                None
            };
            if let Some(wrong) = wrong {
                return Err((index, wrong));
            }
            before = *step;
        }
        let mut steps = ramp;
        steps.push(Step { from: enforce_from, share: Share::ALL });
        Ok(Self { steps, hold })
    }

    /// The steps; the last one is everybody.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The rate of violations at which no further step is taken.
    pub const fn hold(&self) -> Option<Rate> {
        self.hold
    }

    /// How many steps the dates have come to: 0 is none, and nobody is enforced. Enforcing is stricter, so a step comes
    /// with the first clock that says so.
    pub fn step_at(&self, moment: Moment) -> usize {
        self.steps.iter().take_while(|step| moment.tightens(step.from)).count()
    }

    /// How many steps the dates have come to by every clock.
    pub fn step_agreed(&self, moment: Moment) -> usize {
        self.steps.iter().take_while(|step| moment.loosens(step.from)).count()
    }

    /// The number of steps after which the share is nearest to this one; of two the smaller.
    pub fn step_nearest(&self, share: Share) -> usize {
        let distance = |steps: &usize| self.share(*steps).0.abs_diff(share.0);
        (0..=self.steps.len()).min_by_key(distance).unwrap_or_default()
    }

    /// The share that is enforced after so many steps.
    pub fn share(&self, steps_taken: usize) -> Share {
        let last = steps_taken.min(self.steps.len()).checked_sub(1);
        last.and_then(|index| self.steps.get(index)).map_or(Share(0), |step| step.share)
    }

    /// Whether a client with this lot is enforced after so many steps.
    pub fn enforces(&self, steps_taken: usize, lot: Lot) -> bool {
        self.share(steps_taken).holds(lot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    fn day(day: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(day * 24 * 60 * 60)
    }

    fn step(from: u64, percent: f64) -> Step {
        Step { from: day(from), share: Share::from_percent(percent).unwrap() }
    }

    #[test]
    fn refused_steps() {
        let table = [
            (vec![step(0, 5.0)], (0, RolloutError::Order)),
            (vec![step(1, 0.0)], (0, RolloutError::Share)),
            (vec![step(2, 5.0), step(2, 10.0)], (1, RolloutError::Order)),
            (vec![step(2, 5.0), step(1, 10.0)], (1, RolloutError::Order)),
            (vec![step(1, 10.0), step(2, 10.0)], (1, RolloutError::Share)),
            (vec![step(1, 10.0), step(2, 5.0)], (1, RolloutError::Share)),
            (vec![step(1, 10.0), step(9, 50.0)], (1, RolloutError::AfterEnd)),
            (vec![step(10, 10.0)], (0, RolloutError::AfterEnd)),
        ];
        for (ramp, expected) in table {
            assert_eq!(Rollout::new(ramp.clone(), day(9), None), Err(expected), "{ramp:?}");
        }
    }

    #[test]
    fn refused_numbers() {
        for percent in [-1.0, -0.01, 100.01, 0.005, 33.333, f64::NAN, f64::INFINITY] {
            assert_eq!(Share::from_percent(percent), None, "{percent}");
        }
        for fraction in [-0.1, 1.1, 0.000_000_5, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(Rate::from_fraction(fraction), None, "{fraction}");
        }
        assert_eq!(Share::from_percent(0.07).map(Share::percent), Some(0.07));
        assert_eq!(Rate::from_fraction(0.001).map(Rate::fraction), Some(0.001));
    }

    #[test]
    fn a_rate_is_exceeded_by_more_than_itself() {
        let rate = Rate::from_fraction(0.001).unwrap();
        let table = [(0, 0, false), (1, 1_000, false), (1, 999, true), (2, 1_000, true), (1, 1, true), (0, 1, false)];
        for (violations, sessions, exceeded) in table {
            assert_eq!(rate.is_exceeded_by(violations, sessions), exceeded, "{violations} of {sessions}");
        }
        assert!(Rate::from_fraction(0.0).unwrap().is_exceeded_by(1, u64::MAX));
        assert!(!Rate::from_fraction(1.0).unwrap().is_exceeded_by(u64::MAX, u64::MAX));
    }

    #[test]
    fn steps_are_taken_at_their_moment() {
        let rollout = Rollout::new(vec![step(1, 5.0), step(3, 50.0)], day(9), None).unwrap();
        let before = |day: SystemTime| day - Duration::from_nanos(1);
        let table = [
            (before(day(1)), 0, 0.0),
            (day(1), 1, 5.0),
            (before(day(3)), 1, 5.0),
            (day(3), 2, 50.0),
            (before(day(9)), 2, 50.0),
            (day(9), 3, 100.0),
            (day(999), 3, 100.0),
        ];
        for (time, steps, percent) in table {
            assert_eq!(rollout.step_at(Moment::at(time)), steps);
            assert!((rollout.share(steps).percent() - percent).abs() < f64::EPSILON, "{steps}");
        }
        // A wall clock that fell back does not take back what was enforced.
        assert_eq!(rollout.step_at(Moment::between(day(0), day(9))), 3);
    }

    #[test]
    fn whoever_is_enforced_stays_enforced() {
        let rollout = Rollout::new(vec![step(1, 5.0), step(2, 50.0), step(3, 99.99)], day(9), None).unwrap();
        for last_octet in 0..=255 {
            let lot = Lot::draw("partner", IpAddr::V4(Ipv4Addr::new(10, 0, 0, last_octet)));
            assert!(!rollout.enforces(0, lot) && rollout.enforces(4, lot) && rollout.enforces(5, lot));
            for steps in 1..4 {
                assert!(!rollout.enforces(steps, lot) || rollout.enforces(steps + 1, lot));
            }
        }
    }

    /// The numbers are part of the interface: another instance, or a later version, has to draw the same.
    #[test]
    fn lots_do_not_change() {
        let v6 = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last));
        let v4 = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let mapped = IpAddr::V6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped());
        assert_eq!(Lot::draw("partner", v4), Lot(LOT_OF_192_0_2_1));
        assert_eq!(Lot::draw("partner", mapped), Lot(LOT_OF_192_0_2_1));
        assert_ne!(Lot::draw("other", v4), Lot(LOT_OF_192_0_2_1));
        assert_eq!(Lot::draw("partner", v6(1)), Lot::draw("partner", v6(2)));
    }

    /// First eight octets of the SHA-256 of "partner", a zero octet and 192.0.2.1, modulo 10 000.
    const LOT_OF_192_0_2_1: u16 = 7_375;

    #[test]
    fn shares_are_shares_of_the_clients() {
        let clients = (0..=u16::MAX).map(|n| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + u32::from(n))));
        let share = Share::from_percent(5.0).unwrap();
        let enforced = clients.filter(|client| share.holds(Lot::draw("partner", *client))).count();
        assert!((3_000..3_550).contains(&enforced), "{enforced} of 65536 at 5 %");
    }
}
