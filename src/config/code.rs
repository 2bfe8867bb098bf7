//! The codes of diagnostics.

use std::fmt;

/// What a diagnostic is about. The names are stable: scripts and documents may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// An unknown key, table, or word.
    E01,
    /// A schema number that this version does not read.
    E02,
    /// A pin over a hash other than SHA-256.
    E03,
    /// A pin of the wrong length.
    E04,
    /// A pin that is no pin, or whose base64 or hexadecimal is broken.
    E05,
    /// A pin that cannot belong to a key: a placeholder or an example.
    E06,
    /// One pin under two names, or twice in one list.
    E09,
    /// A key name that `[keys]` does not define.
    E10,
    /// A key that no pinset uses.
    W11,
    /// One digest given both as a key and as a certificate.
    E12,
    /// A key in a list that its role contradicts.
    E13,
    /// A required key is missing.
    E14,
    /// A value of the wrong type.
    E15,
    /// A value of the right type that is out of bounds or malformed.
    E16,
    /// The text is not TOML.
    E17,
    /// Known, but not implemented yet.
    E18,
    /// The file cannot be read.
    E19,
    /// A host pattern that is none.
    E20,
    /// One host pattern in two rules, or twice in one.
    E21,
    /// An exemption without reason or end, or one that exempts nothing.
    E26,
    /// An exemption that is over.
    W26,
    /// A tunnel that opens a hole in a pinset.
    E27,
    /// An empty list, or a pinset without pins.
    E36,
    /// Several lists of pins, and nothing that says how they go together.
    E37,
    /// A pin that is both accepted and blocked.
    E38,
    /// A name given twice.
    E46,
    /// An `include` that cannot be followed: no pattern, a circle, too many files.
    E47,
    /// An `include` that no file matches.
    W47,
    /// A key in an included file that belongs into the main file.
    E48,
    /// An environment variable that is not set or is no text, or a `${` without a name.
    E49,
    /// A point in time without an offset from UTC.
    E50,
    /// An end that does not say what happens then.
    E51,
    /// An end that is near.
    W53,
    /// A pinset that has ended.
    W54,
    /// Pins of authorities where no chain is built.
    E60,
    /// Revocation that cannot be checked.
    E68,
    /// Settings of trust that contradict each other.
    E69,
    /// A listener that others can reach, and no rule for who may use it.
    E80,
}

/// As in the documents: the letter and two digits.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
