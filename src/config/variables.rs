//! `${NAME}` in texts: environment variables go in, and their values do not come out again in what is told. The path of an
//! included file is told whatever it is made of: without it nobody would find the place of a finding.

use super::code::Code;
use super::findings::Findings;
use super::outside::Outside;
use super::span::{FileId, Span};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use ipnet::IpNet;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Most octets that environment variables put into the texts of a configuration.
pub const FILLED_IN_OCTETS_MAX: usize = 16 << 20;

/// Octets of a value that are kept secret wherever they occur. A shorter value is where it stands as a word.
const SECRET_OCTETS: usize = 4;

const UNTOLD_MESSAGE: &str = "this text cannot be used, and the reason would tell the value of an environment variable";
const UNTOLD_DETAIL: &str = "not told, for it would tell the value of an environment variable";
const UNTOLD_HELP: &str = "check what the environment variables in it hold; their values are never shown";

/// Puts the values of variables into every text of a table and of the tables in it.
pub(super) fn fill_in(table: &mut DeTable<'_>, file: FileId, findings: &Findings, outside: &dyn Outside) {
    Filler { file, findings, outside }.table(table);
}

struct Filler<'f> {
    file: FileId,
    findings: &'f Findings,
    outside: &'f dyn Outside,
}

impl Filler<'_> {
    fn table(&self, table: &mut DeTable<'_>) {
        for (_, value) in table.iter_mut() {
            self.value(value.span(), value.get_mut());
        }
    }

    /// How deep values are nested is bounded by the TOML parser.
    fn value(&self, octets: Range<usize>, value: &mut DeValue<'_>) {
        match value {
            DeValue::String(text) if text.contains("${") => {
                let span = Span::new(self.file, octets);
                let filled = self.text(text, &span);
                let mut variables = self.findings.variables.borrow_mut();
                if let Some(filled) = filled {
                    let written = std::mem::replace(text, filled.into());
                    variables.filled.insert(span, written.into_owned());
                } else {
                    variables.lacking.insert(span);
                }
            }
            DeValue::Array(elements) => {
                elements.iter_mut().for_each(|element| self.value(element.span(), element.get_mut()));
            }
            DeValue::Table(entries) => self.table(entries),
            _ => {}
        }
    }

    fn text(&self, text: &str, span: &Span) -> Option<String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, behind) = (&rest[..at], &rest[at + 2..]);
            if let Some(before) = before.strip_suffix('$') {
                filled.push_str(before);
                filled.push_str("${");
                rest = behind;
                continue;
            }
            filled.push_str(before);
            let name = behind.split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
            let Some(name) = name else {
                let help = "write ${NAME}, with the name of an environment variable, or $${ for the characters ${";
                self.findings.error(Code::E49, span, "${ without the name of a variable", help);
                return None;
            };
            self.push_value(&mut filled, name, span)?;
            rest = &behind[name.len() + 1..];
        }
        filled.push_str(rest);
        Some(filled)
    }

    fn push_value(&self, filled: &mut String, name: &str, span: &Span) -> Option<()> {
        let refuse = |message: String, help: String| self.findings.error(Code::E49, span, message, help);
        let known = self.findings.variables.borrow().values.get(name).cloned();
        let value = match known.map(Ok).or_else(|| self.outside.variable(name).map(std::ffi::OsString::into_string)) {
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                refuse(format!("the environment variable {name} is not UTF-8 text"), format!("set {name} to a text"));
                return None;
            }
            None => {
                let help = format!(
                    "set it for the process that reads this file; for the characters ${{{name}}} write $${{{name}}}"
                );
                refuse(format!("the environment variable {name} is not set"), help);
                return None;
            }
        };
        let mut variables = self.findings.variables.borrow_mut();
        variables.octets = variables.octets.saturating_add(value.len());
        if variables.octets > FILLED_IN_OCTETS_MAX {
            drop(variables);
            let limit = FILLED_IN_OCTETS_MAX >> 20;
            let message = format!("environment variables put more than {limit} MiB into the configuration");
            refuse(message, "write shorter values, or use them less often".into());
            return None;
        }
        filled.push_str(&value);
        variables.took(name, value);
        Some(())
    }
}

/// As shells name variables.
fn is_name(text: &str) -> bool {
    let mut octets = text.bytes();
    let first = octets.next().is_some_and(|octet| octet.is_ascii_alphabetic() || octet == b'_');
    first && octets.all(|octet| octet.is_ascii_alphanumeric() || octet == b'_')
}

/// The variables that were used. Has no `Debug`, which would tell their values.
#[derive(Default)]
pub(super) struct Variables {
    values: BTreeMap<String, String>,
    /// Texts that hold their values, as they were written.
    filled: HashMap<Span, String>,
    /// Texts that should, and do not.
    lacking: HashSet<Span>,
    octets: usize,
    /// Made when it is first needed.
    redactor: Option<Redactor>,
}

impl Variables {
    fn took(&mut self, name: &str, value: String) {
        if !value.is_empty() && self.values.insert(name.to_owned(), value).is_none() {
            self.redactor = None;
        }
    }

    /// Whether the text at this place could not be filled in, which has been reported.
    pub(super) fn lacks(&self, span: &Span) -> bool {
        self.lacking.contains(span)
    }

    /// Whether the text at this place holds the value of a variable.
    pub(super) fn is_in(&self, span: &Span) -> bool {
        self.filled.contains_key(span)
    }

    /// The text at this place before the values of variables came into it.
    pub(super) fn written(&self, span: &Span) -> Option<&str> {
        self.filled.get(span).map(String::as_str)
    }

    /// The one place where words for people lose the values of variables. Words about a text that holds such a value
    /// must not have pieces of it either, so that a value in another form (a name in lower case, a network without its
    /// host part) does not come out.
    pub(super) fn redact(&mut self, words: String, about_filled: bool, untold: Untold) -> String {
        if self.values.is_empty() {
            return words;
        }
        let redactor = self.redactor.get_or_insert_with(|| Redactor::new(&self.values));
        match redactor.replace(&words) {
            Some(words) if !about_filled || !redactor.is_told_by(&words) => words,
            _ => untold.words().to_owned(),
        }
    }
}

/// What stands in the place of words that would tell a value.
#[derive(Clone, Copy)]
pub(super) enum Untold {
    Message,
    Help,
    /// What somebody else has said or shown.
    Detail,
}

impl Untold {
    const fn words(self) -> &'static str {
        match self {
            Self::Message => UNTOLD_MESSAGE,
            Self::Help => UNTOLD_HELP,
            Self::Detail => UNTOLD_DETAIL,
        }
    }
}

/// Finds values and their pieces.
struct Redactor {
    /// Values that are replaced wherever they occur; absent when they are too many to be searched for.
    anywhere: Option<Search>,
    /// Values that are replaced as words.
    words: Option<Search>,
    /// All of [`SECRET_OCTETS`], in lower case.
    pieces: HashSet<Vec<u8>>,
    short: Vec<Vec<u8>>,
    /// Whether all values compare as octets without regard to case; of others every piece could look different.
    ascii: bool,
}

/// Texts and the names of the variables that they come from.
struct Search {
    texts: AhoCorasick,
    names: Vec<String>,
}

impl Redactor {
    fn new(values: &BTreeMap<String, String>) -> Self {
        let other: Vec<_> =
            values.iter().flat_map(|(name, value)| other_forms(value).map(move |form| (name, form))).collect();
        let told = values.iter().chain(other.iter().map(|(name, form)| (*name, form)));
        let (long, short): (Vec<_>, Vec<_>) = told.partition(|(_, value)| value.len() >= SECRET_OCTETS);
        let pieces = long.iter().flat_map(|(_, value)| {
            let octets = value.to_ascii_lowercase().into_bytes();
            octets.windows(SECRET_OCTETS).map(<[u8]>::to_vec).collect::<Vec<_>>()
        });
        Self {
            pieces: pieces.collect(),
            short: short.iter().map(|(_, value)| value.to_ascii_lowercase().into_bytes()).collect(),
            ascii: values.values().all(|value| value.is_ascii()),
            anywhere: Search::new(&long),
            words: Search::new(&short),
        }
    }

    /// With names in the place of values; nothing when that cannot be done.
    fn replace(&self, words: &str) -> Option<String> {
        let words = self.anywhere.as_ref()?.replace(words, |_| true);
        let stands_alone = |range: &Range<usize>| {
            let before = words[..range.start].chars().next_back();
            let behind = words[range.end..].chars().next();
            !before.into_iter().chain(behind).any(char::is_alphanumeric)
        };
        Some(self.words.as_ref()?.replace(&words, stands_alone))
    }

    /// Whether a piece of a value is left.
    fn is_told_by(&self, words: &str) -> bool {
        let octets = words.to_ascii_lowercase().into_bytes();
        let has = |value: &Vec<u8>| octets.windows(value.len()).any(|window| window == value);
        !self.ascii
            || octets.windows(SECRET_OCTETS).any(|window| self.pieces.contains(window))
            || self.short.iter().any(has)
    }
}

/// How an address is told, which need not have a piece in common with how it was written.
fn other_forms(value: &str) -> impl Iterator<Item = String> + use<> {
    let socket = value.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let network = value.parse::<IpNet>().ok().map(|network| network.network());
    let address = value.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let addresses = [socket, network, address].into_iter().flatten();
    let forms = addresses.flat_map(|address| [address.to_string(), address.to_canonical().to_string()]);
    let value = value.to_owned();
    forms.filter(move |form| *form != value)
}

impl Search {
    fn new(values: &[(&String, &String)]) -> Option<Self> {
        // Messages quote values, and quoting escapes what is special in them.
        let both = |(name, value): &(&String, &String)| {
            let quoted = value.escape_debug().to_string();
            [(String::clone(value), String::clone(name)), (quoted, String::clone(name))]
        };
        let (texts, names): (Vec<_>, Vec<_>) = values.iter().flat_map(both).unzip();
        let texts = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(AhoCorasickKind::NoncontiguousNFA))
            .build(texts)
            .ok()?;
        Some(Self { texts, names })
    }

    fn replace(&self, words: &str, wanted: impl Fn(&Range<usize>) -> bool) -> String {
        let mut replaced = String::with_capacity(words.len());
        let mut from = 0;
        for found in self.texts.find_iter(words).filter(|found| wanted(&found.range())) {
            replaced.push_str(&words[from..found.start()]);
            replaced.push_str("${");
            replaced.push_str(&self.names[found.pattern().as_usize()]);
            replaced.push('}');
            from = found.end();
        }
        replaced.push_str(&words[from..]);
        replaced
    }
}
