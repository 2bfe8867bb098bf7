//! Texts of peers, as they may be told.

use crate::policy::printable::is_printable;
use serde::Serialize;
use std::fmt;
use std::ops::Deref;

/// How much of a target is told; a valid one has at most 259.
const TARGET_CHARACTERS_MAX: usize = 300;

/// A text that a peer wrote, or that has words of one in it, in the form in which logs, files and replies may hold it:
/// printable, so that nothing in it can break a line or steer a terminal. Only the constructors make one, so that a field
/// of this type holds nothing that has not gone through one of them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Told(Box<str>);

impl Told {
    /// A target: without userinfo, path and query, which may hold secrets, and ASCII.
    pub fn target(target: &str) -> Self {
        let (scheme, rest) = target.split_once("://").map_or(("", target), |(scheme, rest)| (scheme, rest));
        // Userinfo first, up to the last @: a password may contain what would end an authority.
        let (userinfo, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("...@", rest));
        let (host, cut) = rest.find(['/', '?', '#']).map_or((rest, ""), |end| (&rest[..end], "/..."));
        let separator = if scheme.is_empty() { "" } else { "://" };
        let shown = scheme.chars().chain(separator.chars()).chain(userinfo.chars()).chain(host.chars());
        let mut printable = String::with_capacity(rest.len());
        for c in shown.take(TARGET_CHARACTERS_MAX) {
            if is_visible_ascii(c) {
                printable.push(c);
            } else {
                printable.extend(c.escape_default());
            }
        }
        Self((printable + cut).into())
    }

    /// A sentence or a name; what is not printable is escaped. Not for URLs: it leaves nothing out.
    pub fn words(text: impl Into<String>) -> Self {
        let text = text.into();
        // As nearly every text is, and quickly seen.
        let is_ascii = text.bytes().all(|octet| octet == b' ' || octet.is_ascii_graphic());
        if is_ascii || text.chars().all(is_printable) {
            return Self(text.into());
        }
        let mut printable = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            if is_printable(c) {
                printable.push(c);
            } else {
                printable.extend(c.escape_default());
            }
        }
        Self(printable.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_visible_ascii(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic()
}

impl Deref for Told {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// As of the text.
impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl PartialEq<str> for Told {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Told {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl PartialEq<String> for Told {
    fn eq(&self, other: &String) -> bool {
        *self.0 == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_line_breaks_are_not_told() {
        let table = [
            ("user:secret@bank.example:443", "...@bank.example:443"),
            ("http://user:secret@bank.example/path?token=1#f", "http://...@bank.example/..."),
            ("user:se/cret@bank.example:443", "...@bank.example:443"),
            ("http://bank.example?token=1", "http://bank.example/..."),
            ("bank.example:443/path", "bank.example:443/..."),
            ("/path?token=1", "/..."),
            ("bank.example:443\r\nx: y", "bank.example:443\\r\\nx: y"),
            ("b\u{fc}cher.example\u{202e}:443", "b\\u{fc}cher.example\\u{202e}:443"),
            ("bank.example:443", "bank.example:443"),
        ];
        for (target, expected) in table {
            assert_eq!(Told::target(target), expected);
        }
        assert!(Told::target(&"a".repeat(10_000)).len() <= 300);
    }

    #[test]
    fn words_are_printable() {
        let table = [
            ("", ""),
            ("it's \"quoted\" and C:\\ stays", "it's \"quoted\" and C:\\ stays"),
            ("b\u{fc}cher, \u{8a3c}\u{660e}\u{66f8}", "b\u{fc}cher, \u{8a3c}\u{660e}\u{66f8}"),
            ("a\r\nb\tc\0", "a\\r\\nb\\tc\\u{0}"),
            ("\u{1b}[31m\u{9b}1m\u{7f}", "\\u{1b}[31m\\u{9b}1m\\u{7f}"),
            ("a\u{202e}b\u{200b}c\u{2028}d\u{feff}e\u{e0001}", "a\\u{202e}b\\u{200b}c\\u{2028}d\\u{feff}e\\u{e0001}"),
        ];
        for (text, expected) in table {
            assert_eq!(Told::words(text), expected);
            assert_eq!(format!("{:?}", Told::words(text)), format!("{expected:?}"));
        }
    }
}
