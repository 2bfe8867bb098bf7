//! Points in time and periods of validity.

use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use time::{OffsetDateTime, macros::datetime};

/// A fixed moment for tests that pass the time as an argument instead of living in the present.
pub(crate) const REFERENCE: OffsetDateTime = datetime!(2026-03-01 12:00:00 UTC);

/// The present, to the second: certificates cannot say it any finer.
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc().replace_nanosecond(0).expect("zero is a nanosecond")
}

/// The moment that lies `span` in the past.
pub(crate) fn ago(span: Duration) -> OffsetDateTime {
    now() - span
}

/// The moment that lies `span` in the future.
pub(crate) fn ahead(span: Duration) -> OffsetDateTime {
    now() + span
}

/// The same moment for an interface of the standard library.
pub(crate) fn system_time(moment: OffsetDateTime) -> SystemTime {
    moment.into()
}

/// The same moment for rustls and webpki; moments before 1970 do not exist there.
pub(crate) fn unix_time(moment: OffsetDateTime) -> UnixTime {
    let seconds = u64::try_from(moment.unix_timestamp()).expect("the moment is after 1970");
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
}

impl Validity {
    /// Exactly this period.
    pub(crate) fn between(not_before: OffsetDateTime, not_after: OffsetDateTime) -> Self {
        Self { not_before, not_after }
    }

    /// The default: since an hour ago, for 90 days to come.
    pub(crate) fn current() -> Self {
        Self::between(ago(HOUR), ahead(90 * DAY))
    }

    /// The default seen from another moment, e.g. [`REFERENCE`].
    pub(crate) fn around(moment: OffsetDateTime) -> Self {
        Self::between(moment - HOUR, moment + 90 * DAY)
    }

    /// Over since an hour.
    pub(crate) fn expired() -> Self {
        Self::between(ago(90 * DAY), ago(HOUR))
    }

    /// Begins in a day.
    pub(crate) fn not_yet() -> Self {
        Self::between(ahead(DAY), ahead(90 * DAY))
    }

    /// Valid now and over in `span`.
    pub(crate) fn ends_in(span: Duration) -> Self {
        Self::between(ago(HOUR), ahead(span))
    }
}
