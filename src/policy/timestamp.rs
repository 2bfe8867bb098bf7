//! Points in time as people and other programs write and read them.

use serde::{Serialize, Serializer};
use std::fmt;
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time whose text is that of RFC 3339, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub SystemTime);

impl Timestamp {
    /// Parses RFC 3339: a date, a time and the offset from UTC.
    pub fn parse(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().map(|time| Self(time.into()))
    }

    fn in_calendar(self) -> Option<String> {
        let nanoseconds = match self.0.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i128::try_from(after.as_nanos()).ok()?,
            Err(before) => -i128::try_from(before.duration().as_nanos()).ok()?,
        };
        OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?.format(&Rfc3339).ok()
    }
}

/// A time that RFC 3339 has no text for, as the year 10000, is called that.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.in_calendar().as_deref().unwrap_or("a time beyond the calendar"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_texts() {
        for text in [
            "",
            "now",
            "2027-01-11",
            "2027-01-11T00:00:00",
            "2027-01-11T24:00:00Z",
            "2027-02-30T00:00:00Z",
            "2027-13-01T00:00:00Z",
            "27-01-11T00:00:00Z",
            "2027-01-11T00:00:00Z ",
            "1799625600",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn texts() {
        let table = [
            ("2027-01-11T00:00:00Z", "2027-01-11T00:00:00Z"),
            ("2027-01-11T02:00:00+02:00", "2027-01-11T00:00:00Z"),
            ("2027-01-11T00:00:00.5Z", "2027-01-11T00:00:00.5Z"),
            ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59-23:59", "a time beyond the calendar"),
        ];
        for (text, expected) in table {
            assert_eq!(Timestamp::parse(text).map(|time| time.to_string()).as_deref(), Some(expected), "{text}");
        }
    }
}
