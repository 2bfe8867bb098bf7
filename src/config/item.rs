//! Typed reading of the values of a parsed TOML document. Every reader returns what it could read and reports what it
//! could not, so that one pass finds all errors.

use super::code::Code;
use super::findings::Findings;
use super::shape::Shape;
use super::span::{FileId, Span};
use super::table::Table;
use super::words::{parse_octets, quoted};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use toml::Spanned;
use toml::de::{DeInteger, DeValue};
use toml::value::Datetime;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    /// The value.
    pub(super) value: T,
    /// Where it stands.
    pub(super) span: Span,
}

/// A key and its value.
pub(super) struct Item<'a> {
    pub(super) findings: &'a Findings,
    /// Where it is written.
    pub(super) file: FileId,
    /// As in `upstream.roots`.
    pub(super) path: String,
    /// What it should look like.
    pub(super) shape: Shape,
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

/// A word that a key may hold, and what it means; nothing when that is not implemented yet.
pub(super) type Word<T> = (&'static str, Option<T>);

impl<'a> Item<'a> {
    /// Where the value stands.
    pub(super) fn span(&self) -> Span {
        Span::new(self.file, self.value.span())
    }

    pub(super) fn element(&self, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { path: self.path.clone(), shape: self.shape.element(), value, ..*self }
    }

    fn at<T>(&self, value: T) -> Located<T> {
        Located { value, span: self.span() }
    }

    /// Reports that the value is out of bounds or malformed.
    pub(super) fn refuse(&self, message: &str, help: &str) {
        self.findings.error(Code::E16, &self.span(), format!("{} {message}", self.path), help);
    }

    pub(super) fn wrong_type(&self, expected: &str, help: &str) {
        let message = format!("{} takes {expected}, not {}", self.path, describe_type(self.value.get_ref()));
        self.findings.error(Code::E15, &self.span(), message, help);
    }

    /// A key that is read as something else than what it is described as: a fault of this program.
    fn misdescribed(&self) -> ! {
        unreachable!("{} is described as something else", self.path)
    }

    pub(super) fn table(&self) -> Option<Table<'a>> {
        let (Shape::Table(keys) | Shape::PathOr(keys)) = self.shape else { self.misdescribed() };
        if let DeValue::Table(entries) = self.value.get_ref() {
            return Some(Table::open(self.findings, &self.path, self.span(), entries, keys));
        }
        self.wrong_type("a table", &format!("write [{}], or {{ key = value }}", self.path));
        None
    }

    /// A text of one line, with the values of its variables.
    pub(super) fn text(&self) -> Option<Located<&'a str>> {
        let DeValue::String(text) = self.value.get_ref() else {
            self.wrong_type("a text", "put it between double quotes");
            return None;
        };
        if self.findings.variables.borrow().lacks(&self.span()) {
            return None;
        }
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            self.refuse(&format!("contains the control character {control:?}"), "write it on one line, without it");
            return None;
        }
        Some(self.at(text.as_ref()))
    }

    /// A text that says something.
    pub(super) fn words(&self) -> Option<Located<&'a str>> {
        let text = self.text()?;
        if text.value.trim().is_empty() {
            self.refuse("is empty", "write a few words, or leave the key out where it is optional");
            return None;
        }
        Some(text)
    }

    /// The elements of an array.
    pub(super) fn elements(&self) -> Option<Vec<Item<'a>>> {
        if let DeValue::Array(elements) = self.value.get_ref() {
            return Some(elements.iter().map(|value| self.element(value)).collect());
        }
        self.wrong_type("a list", "put it between brackets: [\"…\", \"…\"]");
        None
    }

    /// Whether it is a text.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::String(_))
    }

    /// Whether it is `[]`.
    pub(super) fn is_empty_list(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Array(elements) if elements.is_empty())
    }

    /// The elements of an array, which must have some.
    pub(super) fn some_elements(&self) -> Option<Vec<Item<'a>>> {
        let elements = self.elements()?;
        if elements.is_empty() {
            let help = "write at least one entry; an empty list never means \"all\"";
            self.findings.error(Code::E36, &self.span(), format!("{} is an empty list", self.path), help);
            return None;
        }
        Some(elements)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        if let DeValue::Boolean(flag) = self.value.get_ref() {
            return Some(*flag);
        }
        self.wrong_type("true or false", "write true or false, without quotes");
        None
    }

    /// A whole number within bounds.
    pub(super) fn number(&self) -> Option<u64> {
        let Shape::Number(bounds) = self.shape else { self.misdescribed() };
        let DeValue::Integer(integer) = self.value.get_ref() else {
            self.wrong_type("a whole number", "write digits, without quotes and without a point");
            return None;
        };
        self.within(to_u64(integer), bounds, ToString::to_string)
    }

    /// A number, with a point or without.
    pub(super) fn decimal(&self) -> Option<f64> {
        let number = match self.value.get_ref() {
            DeValue::Integer(integer) => to_u64(integer).map(|number| number.to_string()),
            DeValue::Float(float) => Some(float.as_str().to_owned()),
            _ => {
                self.wrong_type("a number", "write digits, without quotes");
                return None;
            }
        };
        let number = number.and_then(|number| number.parse().ok()).filter(|number: &f64| number.is_finite());
        if number.is_none() {
            self.refuse("is out of bounds", "write a number that is not negative");
        }
        number
    }

    /// A size in octets: a number, or a text with a unit.
    pub(super) fn octets(&self) -> Option<usize> {
        let Shape::Octets(bounds) = self.shape else { self.misdescribed() };
        let octets = if let DeValue::Integer(integer) = self.value.get_ref() {
            to_u64(integer)
        } else {
            let text = self.text()?.value;
            let Some(octets) = parse_octets(text) else {
                self.refuse(&format!("is not a size: {text:?}"), "write a number and B, KiB or MiB, as in \"64KiB\"");
                return None;
            };
            Some(octets)
        };
        let octets = self.within(octets, bounds, |n| format!("{}KiB", n / 1024))?;
        usize::try_from(octets).ok()
    }

    /// A duration: a text with units.
    pub(super) fn duration(&self) -> Option<Duration> {
        let Shape::Duration(bounds) = self.shape else { self.misdescribed() };
        let DeValue::String(_) = self.value.get_ref() else {
            self.wrong_type("a duration", "write a number and a unit between quotes, as in \"10s\", \"5m\", \"7d\"");
            return None;
        };
        let text = self.text()?.value;
        let duration = match humantime::parse_duration(text) {
            Ok(duration) => duration,
            Err(error) => {
                self.refuse(
                    &format!("is not a duration: {error}"),
                    "write a number and a unit: \"10s\", \"5m\", \"7d\"",
                );
                return None;
            }
        };
        if duration.is_zero() {
            self.refuse("is zero", "zero never means \"no limit\" here; write how long");
            return None;
        }
        self.within(Some(duration), bounds, |d| humantime::format_duration(*d).to_string())
    }

    /// `None` for a value is a number too large for any bounds.
    fn within<T: PartialOrd>(
        &self,
        value: Option<T>,
        bounds: &RangeInclusive<T>,
        write: impl Fn(&T) -> String,
    ) -> Option<T> {
        let value = value.filter(|value| bounds.contains(value));
        if value.is_none() {
            let range = format!("write a value from {} to {}", write(bounds.start()), write(bounds.end()));
            self.refuse("is out of bounds", &range);
        }
        value
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, words: &'static [Word<T>]) -> Option<T> {
        debug_assert!(self.shape.takes(words), "{} is described with other words", self.path);
        let text = self.text()?;
        match words.iter().find(|(word, _)| *word == text.value) {
            Some((_, Some(meaning))) => return Some(*meaning),
            Some((word, None)) => self.not_implemented(word, words),
            None => self.unknown_word(text.value, words.iter().map(|(word, _)| *word)),
        }
        None
    }

    /// Reports a word whose meaning is not implemented yet.
    pub(super) fn not_implemented<T>(&self, word: &str, words: &[Word<T>]) {
        let implemented: Vec<_> = words.iter().filter(|(_, meaning)| meaning.is_some()).map(|(w, _)| *w).collect();
        let message = format!("not implemented yet: {} = {word:?}", self.path);
        self.findings.error(Code::E18, &self.span(), message, format!("write {}", quoted(&implemented)));
    }

    /// Reports a word that means nothing here.
    pub(super) fn unknown_word(&self, word: &str, known: impl Iterator<Item = &'static str> + Clone) {
        let help = match self.findings.nearest(word, known.clone()) {
            Some(known) => format!("did you mean {known:?}?"),
            None => format!("write {}", quoted(&known.collect::<Vec<_>>())),
        };
        self.findings.error(Code::E01, &self.span(), format!("{} does not know {word:?}", self.path), help);
    }

    /// A path; a relative one starts at the folder of the file that it is written in.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let text = self.words()?;
        Some(self.beside(text.value))
    }

    pub(super) fn beside(&self, path: &str) -> PathBuf {
        self.findings.beside(self.file, path)
    }

    /// A point in time: with an offset from UTC, or a date, which begins at 00:00Z.
    pub(super) fn moment(&self) -> Option<Located<SystemTime>> {
        let DeValue::Datetime(datetime) = self.value.get_ref() else {
            self.wrong_type("a date", "write it without quotes: 2027-06-30, or 2027-06-30T12:00:00Z");
            return None;
        };
        match datetime {
            Datetime { date: None, .. } => self.no_offset("is a time without a date"),
            Datetime { time: Some(_), offset: None, .. } => self.no_offset("has no offset from UTC"),
            _ => {
                let moment = to_system_time(datetime);
                if moment.is_none() {
                    self.refuse("does not exist in the calendar", "write a date and time that exist");
                }
                return moment.map(|moment| self.at(moment));
            }
        }
        None
    }

    fn no_offset(&self, what: &str) {
        let help = "the machine's own time zone would decide; write 2027-06-30T12:00:00Z, or +02:00 in place of Z";
        self.findings.error(Code::E50, &self.span(), format!("{} {what}", self.path), help);
    }
}

fn describe_type(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn to_u64(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn to_system_time(datetime: &Datetime) -> Option<SystemTime> {
    let date = datetime.date?;
    let month = time::Month::try_from(date.month).ok()?;
    let date = time::Date::from_calendar_date(i32::from(date.year), month, date.day).ok()?;
    let time = match datetime.time {
        Some(t) => {
            time::Time::from_hms_nano(t.hour, t.minute, t.second.unwrap_or(0), t.nanosecond.unwrap_or(0)).ok()?
        }
        None => time::Time::MIDNIGHT,
    };
    let minutes = match datetime.offset {
        Some(toml::value::Offset::Custom { minutes }) => i32::from(minutes),
        Some(toml::value::Offset::Z) | None => 0,
    };
    let offset = time::UtcOffset::from_whole_seconds(minutes * 60).ok()?;
    Some(date.with_time(time).assume_offset(offset).into())
}
