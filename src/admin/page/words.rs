//! Words of the page.

use crate::overview::{ExpectedKey, Outcome, PinsetNow, SeenFrom, SeenKey, Violated};
use crate::policy::decision::FailureClass;
use crate::policy::pin::Pin;
use crate::policy::pinset::Position;
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

pub(super) fn outcome(violated: &Violated) -> &'static str {
    match violated.outcome {
        Outcome::Refused => "refused",
        Outcome::Reported => "let through, reported",
        Outcome::Overridden => "let through, overridden",
    }
}

pub(super) fn outcome_class(violated: &Violated) -> &'static str {
    if violated.outcome == Outcome::Refused { "bad" } else { "warn" }
}

pub(super) fn seen_from(violated: &Violated) -> &'static str {
    match violated.seen_from {
        SeenFrom::Judged => "in the path that was judged",
        SeenFrom::Served => "among what was served",
        SeenFrom::Nothing => "",
    }
}

pub(super) fn place(violated: &Violated, key: &SeenKey) -> String {
    let is_last = |at: usize| at + 1 == violated.seen.len() && violated.seen_from == SeenFrom::Judged;
    match key.position {
        0 => "0: end entity".to_owned(),
        at if is_last(at) => format!("{at}: trust anchor"),
        at => format!("{at}: authority"),
    }
}

/// Whether the pinset names a key that was seen.
pub(super) fn standing(violated: &Violated, key: &SeenKey) -> &'static str {
    match (key.pinned, violated.class) {
        (false, _) => "not pinned",
        // It stands at another place than it should, or lacks another key beside it.
        (true, FailureClass::Pin) => "pinned, but not enough",
        (true, _) => "pinned",
    }
}

pub(super) fn wanted_at(key: &ExpectedKey) -> &'static str {
    match key.position {
        Position::Leaf => "as the end entity",
        Position::Ca => "as an authority",
        Position::Anywhere => "anywhere in the path",
    }
}

pub(super) fn compares_certificates(violated: &Violated) -> bool {
    violated.expected.iter().any(|key| matches!(key.pin, Pin::Certificate(_)))
}

pub(super) fn count(count: Option<u64>) -> String {
    count.map_or_else(|| "–".to_owned(), |count| count.to_string())
}

pub(super) fn is_some(count: Option<u64>) -> bool {
    count.is_some_and(|count| count > 0)
}

pub(super) fn has_trouble(pinset: &PinsetNow) -> bool {
    is_some(pinset.violations) || is_some(pinset.refusals)
}

/// A moment of the status, to the second.
pub(super) fn moment(text: &str) -> String {
    parsed(text).map_or_else(|| text.to_owned(), to_the_second)
}

pub(super) fn parsed(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

pub(super) fn to_the_second(moment: SystemTime) -> String {
    const FORM: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    OffsetDateTime::from(moment).format(FORM).unwrap_or_default()
}
