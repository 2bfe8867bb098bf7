//! From when to when a leaf is valid. Pure arithmetic on whole seconds, as certificates have no others.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::{IssueError, LeafLifetimeError};

/// How long before the moment of issue a certificate begins, for clients whose clock is behind.
pub(super) const BACKDATE: Duration = Duration::from_secs(3600);

/// How long a leaf is valid, from its (backdated) first second to its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafLifetime(Duration);

impl LeafLifetime {
    /// The shortest lifetime: less would leave nothing behind the hour of backdating.
    pub const MIN: Self = Self(Duration::from_secs(2 * 3600));
    /// The longest lifetime, the backdated hour counted: with no revocation, this is how long a stolen leaf key serves.
    pub const MAX: Self = Self(Duration::from_secs(7 * 24 * 3600));

    /// Takes a lifetime between [`LeafLifetime::MIN`] and [`LeafLifetime::MAX`]; fractions of a second are dropped.
    pub fn new(lifetime: Duration) -> Result<Self, LeafLifetimeError> {
        match lifetime {
            short if short < Self::MIN.0 => Err(LeafLifetimeError::TooShort),
            long if long > Self::MAX.0 => Err(LeafLifetimeError::TooLong),
            fitting => Ok(Self(Duration::from_secs(fitting.as_secs()))),
        }
    }

    /// The lifetime.
    pub fn get(self) -> Duration {
        self.0
    }
}

/// First and last second of a certificate, in seconds since 1970; both belong to it (RFC 5280 section 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

impl Validity {
    /// The validity of a leaf issued `now`: backdated, at most `lifetime` long, inside the CA's validity (`self`), and
    /// ending no later than the upstream certificate, which the client would otherwise outlive without noticing.
    pub(super) fn of_leaf(
        self,
        now: SystemTime,
        lifetime: LeafLifetime,
        upstream_not_after: Option<SystemTime>,
    ) -> Result<Self, IssueError> {
        let now = unix_seconds(now);
        let upstream_not_after = upstream_not_after.map_or(i64::MAX, unix_seconds);
        if now < self.not_before {
            return Err(IssueError::CaNotYetValid(date_text(self.not_before)));
        }
        if now > self.not_after {
            return Err(IssueError::CaExpired(date_text(self.not_after)));
        }
        if now > upstream_not_after {
            return Err(IssueError::UpstreamExpired(date_text(upstream_not_after)));
        }
        let not_before = now.saturating_sub(seconds(BACKDATE)).max(self.not_before);
        // Both ends count, so a lifetime of n seconds ends n - 1 seconds after its first.
        let own_end = not_before.saturating_add(seconds(lifetime.0) - 1);
        Ok(Self { not_before, not_after: own_end.min(self.not_after).min(upstream_not_after) })
    }

    /// Whether `now` is between its first and its last second.
    pub(super) fn holds(self, now: SystemTime) -> bool {
        (self.not_before..=self.not_after).contains(&unix_seconds(now))
    }

    /// What of it is also in another one, for a certificate that is to end no later than its issuer. None if nothing is.
    pub(super) fn within(self, other: Self) -> Option<Self> {
        let not_before = self.not_before.max(other.not_before);
        let not_after = self.not_after.min(other.not_after);
        (not_before <= not_after).then_some(Self { not_before, not_after })
    }

    /// Whether a leaf of this validity still serves at `now`, given the validity that a fresh one would get. It does
    /// not when it would outlive the upstream certificate, and it is replaced in the last tenth of its life, unless a
    /// fresh leaf would end no later.
    pub(super) fn serves(self, now: SystemTime, upstream_not_after: Option<SystemTime>, fresh: Self) -> bool {
        let now = unix_seconds(now);
        let within = self.not_before <= now && now <= self.not_after;
        let capped = upstream_not_after.is_none_or(|cap| self.not_after <= unix_seconds(cap));
        let margin = (self.not_after - self.not_before) / 10;
        let young = self.not_after - now > margin;
        within && capped && (young || fresh.not_after <= self.not_after)
    }
}

/// Whole seconds since 1970, rounded down.
pub(super) fn unix_seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => seconds(after),
        Err(before) => {
            let before = before.duration();
            -seconds(before) - i64::from(before.subsec_nanos() > 0)
        }
    }
}

/// The time that many seconds after 1970.
pub(super) fn system_time(unix_seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(unix_seconds.unsigned_abs());
    if unix_seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

/// The date for rcgen. Certificates cannot say more than year 9999, and neither can this.
pub(super) fn date(unix_seconds: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(unix_seconds).ok()
}

/// The date for a reader, RFC 3339.
pub(super) fn date_text(unix_seconds: i64) -> String {
    date(unix_seconds)
        .and_then(|date| date.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{unix_seconds} seconds after 1970"))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;
    const NOW: i64 = 2_000 * DAY;
    const CA: Validity = Validity { not_before: NOW - 100 * DAY, not_after: NOW + 100 * DAY };

    fn leaf(ca: Validity, cap: Option<i64>) -> Result<Validity, IssueError> {
        ca.of_leaf(system_time(NOW), LeafLifetime::MAX, cap.map(system_time))
    }

    #[test]
    fn lifetimes_outside_the_bounds_are_refused() {
        assert_eq!(LeafLifetime::new(Duration::from_secs(7199)), Err(LeafLifetimeError::TooShort));
        assert_eq!(LeafLifetime::new(Duration::from_secs(7 * 86_400 + 1)), Err(LeafLifetimeError::TooLong));
        assert_eq!(LeafLifetime::new(Duration::from_secs(7 * 86_400)), Ok(LeafLifetime::MAX));
    }

    #[test]
    fn no_leaf_outside_the_life_of_ca_or_upstream() {
        let ended = Validity { not_after: NOW - 1, ..CA };
        assert!(matches!(leaf(ended, None), Err(IssueError::CaExpired(_))));
        let future = Validity { not_before: NOW + 1, ..CA };
        assert!(matches!(leaf(future, None), Err(IssueError::CaNotYetValid(_))));
        assert!(matches!(leaf(CA, Some(NOW - 1)), Err(IssueError::UpstreamExpired(_))));
        assert!(matches!(leaf(CA, Some(NOW - DAY)), Err(IssueError::UpstreamExpired(_))));
        // The last second counts, as it does for the verification of the upstream.
        assert_eq!(leaf(CA, Some(NOW)).unwrap().not_after, NOW);
        assert_eq!(leaf(Validity { not_after: NOW, ..CA }, None).unwrap().not_after, NOW);
    }

    #[test]
    fn a_leaf_is_backdated_one_hour_and_lives_seven_days_with_it() {
        let leaf = leaf(CA, None).unwrap();
        assert_eq!(leaf.not_before, NOW - 3600);
        assert_eq!(leaf.not_after - leaf.not_before + 1, 7 * DAY);
    }

    #[test]
    fn a_leaf_is_not_backdated_beyond_a_young_ca() {
        let young = Validity { not_before: NOW - 10, ..CA };
        assert_eq!(leaf(young, None).unwrap().not_before, NOW - 10);
    }

    #[test]
    fn a_leaf_ends_with_the_first_of_ca_and_upstream() {
        let ending = Validity { not_after: NOW + DAY, ..CA };
        assert_eq!(leaf(ending, None).unwrap().not_after, NOW + DAY);
        assert_eq!(leaf(CA, Some(NOW + 2 * DAY)).unwrap().not_after, NOW + 2 * DAY);
        assert_eq!(leaf(ending, Some(NOW + 2 * DAY)).unwrap().not_after, NOW + DAY);
        assert!(leaf(CA, Some(NOW + 90 * DAY)).unwrap().not_after < NOW + 7 * DAY);
    }

    #[test]
    fn a_cached_leaf_serves_until_its_last_tenth_unless_nothing_longer_can_be_had() {
        let cached = Validity { not_before: NOW - 1000, not_after: NOW + 1000 };
        let longer = Validity { not_before: NOW, not_after: NOW + 5000 };
        let serves = |at: i64, cap: Option<i64>, fresh| cached.serves(system_time(at), cap.map(system_time), fresh);
        assert!(serves(NOW, None, longer));
        assert!(!serves(NOW + 800, None, longer));
        assert!(serves(NOW + 800, None, cached));
        assert!(serves(NOW + 1000, None, cached));
        assert!(!serves(NOW + 1001, None, cached));
        assert!(!serves(NOW - 1001, None, longer), "the clock went back");
        assert!(serves(NOW, Some(NOW + 1000), longer));
        assert!(!serves(NOW, Some(NOW + 999), longer));
    }

    #[test]
    fn a_certificate_within_another_one() {
        let at = |not_before, not_after| Validity { not_before, not_after };
        let table = [
            (at(10, 20), at(0, 30), Some(at(10, 20))),
            (at(0, 30), at(10, 20), Some(at(10, 20))),
            (at(0, 15), at(10, 20), Some(at(10, 15))),
            (at(0, 10), at(10, 20), Some(at(10, 10))),
            (at(0, 9), at(10, 20), None),
        ];
        for (one, other, expected) in table {
            assert_eq!(one.within(other), expected, "{one:?} {other:?}");
            assert_eq!(other.within(one), expected, "{other:?} {one:?}");
        }
        let holds = |second| at(10, 20).holds(system_time(second));
        assert_eq!([9, 10, 20, 21].map(holds), [false, true, true, false]);
    }

    #[test]
    fn seconds_are_rounded_down_on_both_sides_of_1970() {
        let half = Duration::from_millis(500);
        assert_eq!(unix_seconds(UNIX_EPOCH + half), 0);
        assert_eq!(unix_seconds(UNIX_EPOCH - half), -1);
        assert_eq!(system_time(-5), UNIX_EPOCH - Duration::from_secs(5));
        assert_eq!(date_text(0), "1970-01-01T00:00:00Z");
    }
}
