//! What a certificate says about itself.

use crate::config::weakness;
use crate::policy::printable;
use rustls::pki_types::CertificateDer;
use std::fmt;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::{X509Name, X509Version};

/// Characters of a name that are told. Names in certificates can have thousands.
const NAME_CHARACTERS_MAX: usize = 120;

/// What a certificate says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    /// Whether subject and issuer are one (RFC 5280 section 3.2).
    pub(super) self_issued: bool,
    /// Whether it may be a certificate authority: CA:TRUE, or of a version that cannot say.
    pub(super) may_issue: bool,
    /// Why signatures with its key are not checked, if so.
    pub(super) weakness: Option<&'static str>,
}

impl Facts {
    /// `None` for what is not a certificate.
    pub(super) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(Self {
            subject: words(certificate.subject()),
            issuer: words(certificate.issuer()),
            not_before: moment(certificate.validity().not_before.timestamp()),
            not_after: moment(certificate.validity().not_after.timestamp()),
            self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
            may_issue: may_issue(&certificate),
            weakness: weakness(certificate.public_key()),
        })
    }

    /// How far away its end is.
    pub(super) fn end(&self, now: SystemTime) -> End {
        const DAY: u64 = 24 * 60 * 60;
        let days = |length: Duration| i64::try_from(length.as_secs() / DAY).unwrap_or(i64::MAX);
        match self.not_after.duration_since(now) {
            Ok(left) => End { ended: false, days_left: days(left) },
            Err(over) => End { ended: true, days_left: -days(over.duration()) },
        }
    }
}

/// How far away the end of a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) ended: bool,
    /// Whole days; 0 within a day of it, and negative beyond.
    pub(super) days_left: i64,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ended, self.days_left.unsigned_abs()) {
            (false, 0) => f.write_str("in less than a day"),
            (false, 1) => f.write_str("in 1 day"),
            (false, days) => write!(f, "in {days} days"),
            (true, 0) => f.write_str("less than a day ago"),
            (true, 1) => f.write_str("1 day ago"),
            (true, days) => write!(f, "{days} days ago"),
        }
    }
}

fn may_issue(certificate: &X509Certificate<'_>) -> bool {
    let says_so = certificate.basic_constraints().is_ok_and(|basic| basic.is_some_and(|basic| basic.value.ca));
    says_so || certificate.version() != X509Version::V3
}

/// A name of a certificate.
fn words(name: &X509Name<'_>) -> String {
    tellable(&name.to_string())
}

fn tellable(text: &str) -> String {
    if text.is_empty() { "(no name)".to_owned() } else { printable::tellable(text, NAME_CHARACTERS_MAX) }
}

fn moment(timestamp: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(timestamp).unwrap_or(0))
}

/// The day of a moment, in UTC.
pub(super) fn day(moment: SystemTime) -> String {
    let seconds = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let date = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    date.map_or_else(|| "a date beyond reckoning".to_owned(), |date| date.date().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_away_an_end_is() {
        let now = moment(1_795_219_200);
        let table = [
            (-4 * 86_400 + 1, -3, "3 days ago"),
            (-3 * 86_400, -3, "3 days ago"),
            (-2 * 86_400 + 1, -1, "1 day ago"),
            (-86_400, -1, "1 day ago"),
            (-86_399, 0, "less than a day ago"),
            (-1, 0, "less than a day ago"),
            (0, 0, "in less than a day"),
            (86_399, 0, "in less than a day"),
            (86_400, 1, "in 1 day"),
            (2 * 86_400, 2, "in 2 days"),
        ];
        for (seconds, days, words) in table {
            let name = || "CN=a".to_owned();
            let not_after = moment(1_795_219_200 + seconds);
            let (subject, issuer) = (name(), name());
            let not_before = now;
            let (self_issued, may_issue, weakness) = (true, false, None);
            let facts = Facts { subject, issuer, not_before, not_after, self_issued, may_issue, weakness };
            let end = facts.end(now);
            assert_eq!((end.days_left, end.to_string().as_str()), (days, words), "{seconds}");
        }
    }

    #[test]
    fn names_that_anybody_may_have_written() {
        let table = [
            ("CN=bank\r\nok.example", "CN=bank\u{fffd}\u{fffd}ok.example".to_owned()),
            ("CN=\u{1b}[2Jbank", "CN=\u{fffd}[2Jbank".to_owned()),
            ("CN=\u{202e}elpmaxe.knab", "CN=\u{fffd}elpmaxe.knab".to_owned()),
            ("CN=ba\u{200b}nk\u{2066}", "CN=ba\u{fffd}nk\u{fffd}".to_owned()),
            ("", "(no name)".to_owned()),
            (&"é".repeat(120), "é".repeat(120)),
            (&"é".repeat(121), "é".repeat(120) + "…"),
        ];
        for (text, expected) in table {
            assert_eq!(tellable(text), expected, "{text:?}");
        }
    }
}
