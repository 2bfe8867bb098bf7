//! What the keys of the format are and what they hold: read by the readers, and by the schema that editors use.

use super::item::Word;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The keys of a kind of table.
pub(super) struct Keys {
    /// In the order in which they are shown.
    pub(super) keys: &'static [Key],
    /// At least one of these has to be there; no demand when there are none.
    pub(super) some_of: &'static [&'static str],
}

impl Keys {
    pub(super) const fn new(keys: &'static [Key]) -> Self {
        Self { keys, some_of: &[] }
    }

    /// At least one of these has to be there.
    pub(super) const fn with_some_of(self, some_of: &'static [&'static str]) -> Self {
        Self { some_of, ..self }
    }

    /// What is known of a key.
    pub(super) fn get(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names of those that are read.
    pub(super) fn implemented(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().filter(|key| !key.is_planned()).map(|key| key.name)
    }
}

/// A key of the format.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// One sentence.
    pub(super) doc: &'static str,
    /// In TOML; only where it is the same whatever else the file says.
    pub(super) default: Option<&'static str>,
    pub(super) required: bool,
    /// Whether its value is never shown.
    pub(super) secret: bool,
}

impl Key {
    pub(super) const fn new(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self { name, shape, doc, default: None, required: false, secret: false }
    }

    /// Part of the format but not implemented yet: refused, never ignored.
    pub(super) const fn planned(name: &'static str) -> Self {
        Self::new(name, Shape::Planned, "Not implemented yet.")
    }

    /// With what holds when it is left out, in TOML.
    pub(super) const fn by_default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    pub(super) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// Never shown.
    pub(super) const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// What holds when it is left out.
    pub(super) fn default_value(&self) -> Option<toml::Value> {
        let text = format!("default = {}", self.default?);
        let mut table: toml::Table = text.parse().unwrap_or_else(|error| unreachable!("{}: {error}", self.name));
        table.remove("default")
    }

    pub(super) const fn is_planned(&self) -> bool {
        matches!(self.shape, Shape::Planned)
    }
}

/// What a value looks like.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A text in which this pattern is found. No pattern refuses what the reader takes.
    Text(Pattern),
    /// The same for a URL whose path and query may let in whoever knows them: shown are its scheme and host.
    Address(Pattern),
    /// Such a text, or a list of some.
    TextOrList(Pattern),
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number(&'static RangeInclusive<u64>),
    /// A number, with a point or without.
    Decimal(&'static RangeInclusive<f64>),
    /// A size in octets: a number, or a text with a unit.
    Octets(&'static RangeInclusive<u64>),
    /// A text with units of time.
    Duration(&'static RangeInclusive<Duration>),
    /// One of a few words.
    Word(&'static dyn Vocabulary),
    /// One of a few words, or a text in which the pattern is found.
    WordOr(&'static dyn Vocabulary, Pattern),
    /// One of a few words, or the path of a file, which has a character that no word has.
    WordOrPath(&'static dyn Vocabulary),
    /// The path of a file or a folder.
    Path,
    /// The path of a file, or a table that says more about it.
    PathOr(&'static Keys),
    /// A date, or a date with time and offset.
    Moment,
    /// A list, which may be empty.
    List(&'static Shape),
    /// A list of one element at least.
    Filled(&'static Shape),
    /// A table.
    Table(&'static Keys),
    /// Any number of tables in double brackets.
    Tables(&'static Keys),
    /// Tables with names that the user chooses.
    Named(&'static Keys),
    /// Refused as not implemented yet.
    Planned,
}

/// A regular expression in the syntax that JSON Schema shares with most others.
pub(super) type Pattern = &'static str;

/// Any text that is not empty.
pub(super) const ANY: Pattern = ".";
/// Letters, digits and a few signs, as names of keys and pinsets have.
pub(super) const NAME: Pattern = "^[A-Za-z0-9._-]{1,64}$";
/// No URL, and stars in front only.
pub(super) const HOST: Pattern = r"^(\*\*?\.)?[^*/?#\\@]+$";
/// An address and a port.
pub(super) const SOCKET_ADDRESS: Pattern = r"^[0-9A-Fa-f.:\[\]%]+:[0-9]+$";
/// An address.
pub(super) const ADDRESS: Pattern = "^[0-9A-Fa-f.:]+$";
/// A URL of a proxy.
pub(super) const PARENT: Pattern = "^(https?|socks5)://[^/?#]+:[0-9]+/?$";
/// A pin of a key.
pub(super) const SPKI: Pattern = concat!(
    "^(sha256/{0,2}|pin-sha256=\")?[A-Za-z0-9+/]{43}=\"?$|",
    "^(sha256:)?([0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31})$"
);
/// A pin of a certificate.
pub(super) const CERTIFICATE: Pattern = "^(cert:)?(sha256:)?([0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31})$";
/// The name of a key, or a pin.
pub(super) const PIN_OR_NAME: Pattern = concat!(
    "^[A-Za-z0-9._-]{1,64}$|^(sha256/{0,2}|pin-sha256=\")?[A-Za-z0-9+/]{43}=\"?$|",
    "^(cert:)?sha256:([0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31})$"
);
/// No word has one of these characters.
pub(super) const FILE_NAME: Pattern = r"[./\\]";
/// Digits and units.
pub(super) const DURATION_TEXT: Pattern = r"^\s*[0-9][0-9.\s]*[A-Za-zµ][0-9.A-Za-zµ\s]*$";
/// Digits and a unit.
pub(super) const OCTETS_TEXT: Pattern = r"^[0-9]+\s*(B|KiB|MiB)$";

/// Words, whatever they mean.
pub(super) trait Vocabulary {
    /// Those that are implemented.
    fn words(&self) -> Vec<&'static str>;
}

impl<T> Vocabulary for &'static [Word<T>] {
    fn words(&self) -> Vec<&'static str> {
        self.iter().filter(|(_, meaning)| meaning.is_some()).map(|(word, _)| *word).collect()
    }
}

impl Shape {
    /// Of an element of a list, or of a table among several.
    pub(super) const fn element(&self) -> Self {
        match self {
            Self::List(shape) | Self::Filled(shape) => **shape,
            Self::TextOrList(pattern) => Self::Text(pattern),
            Self::Tables(keys) | Self::Named(keys) => Self::Table(keys),
            other => *other,
        }
    }

    /// Of the table that it is.
    pub(super) const fn keys(&self) -> Option<&'static Keys> {
        match self {
            Self::Table(keys) | Self::PathOr(keys) => Some(keys),
            _ => None,
        }
    }

    /// Whether these are the words that it takes.
    pub(super) fn takes<T>(&self, words: &'static [Word<T>]) -> bool {
        matches!(self, Self::Word(own) | Self::WordOr(own, _) | Self::WordOrPath(own) if own.words() == words.words())
    }
}
