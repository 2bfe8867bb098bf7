//! Tables of a parsed TOML document, opened against the keys that they may have.

use super::code::Code;
use super::diagnostic::Span;
use super::findings::Findings;
use super::item::{Item, Located};
use super::words::nearest;
use toml::de::{DeTable, DeValue};

/// The keys of a kind of table.
pub(super) struct Keys {
    /// Those that are read.
    pub(super) known: &'static [&'static str],
    /// Those that are part of the format but not implemented yet: refused, never ignored.
    pub(super) planned: &'static [&'static str],
}

/// A table whose keys have been checked.
pub(super) struct Table<'a> {
    pub(super) findings: &'a Findings,
    /// Its header, or the key in front of it.
    pub(super) span: Span,
    path: String,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    /// Takes a table, and reports each key that it should not have.
    pub(super) fn open(findings: &'a Findings, path: &str, span: Span, entries: &'a DeTable<'a>, keys: &Keys) -> Self {
        let table = Self { findings, span, path: path.to_owned(), entries };
        for key in entries.keys() {
            table.check_key(key.get_ref(), &key.span(), keys);
        }
        table
    }

    fn check_key(&self, key: &str, span: &Span, keys: &Keys) {
        if keys.known.contains(&key) {
            return;
        }
        let path = self.path_of(key);
        if keys.planned.contains(&key) {
            let help = "remove it: this version would have to ignore it, and says so instead";
            return self.findings.error(Code::E18, span, format!("not implemented yet: {path}"), help);
        }
        let place = if self.path.is_empty() { "at the top level".into() } else { format!("in [{}]", self.path) };
        let known = keys.known.iter().chain(keys.planned).copied();
        let help = match nearest(key, known) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("known here: {}", keys.known.join(", ")),
        };
        self.findings.error(Code::E01, span, format!("unknown key {key:?} {place}"), help);
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A key, if it is there.
    pub(super) fn item(&self, key: &str) -> Option<Item<'a>> {
        let value = self.entries.get(key)?;
        Some(Item { findings: self.findings, path: self.path_of(key), value })
    }

    /// A key that has to be there.
    pub(super) fn required(&self, key: &str, code: Code, help: &str) -> Option<Item<'a>> {
        let item = self.item(key);
        if item.is_none() {
            self.findings.error(code, &self.span, format!("{} is missing", self.path_of(key)), help);
        }
        item
    }

    /// The table under a key, if it is there.
    pub(super) fn table(&self, key: &str, keys: &Keys) -> Option<Table<'a>> {
        self.item(key)?.table(keys)
    }

    /// The tables of an array of tables; none when the key is not there.
    pub(super) fn tables(&self, key: &str, keys: &Keys) -> Vec<Table<'a>> {
        let Some(item) = self.item(key) else { return Vec::new() };
        let DeValue::Array(elements) = item.value.get_ref() else {
            item.wrong_type("an array of tables", &format!("write the header with double brackets: [[{}]]", item.path));
            return Vec::new();
        };
        elements.iter().filter_map(|value| item.element(value).table(keys)).collect()
    }

    /// The tables under a table, by name, in the order of the file: `[keys.NAME]`.
    pub(super) fn named_tables(&self, key: &str, keys: &Keys) -> Vec<(Located<&'a str>, Table<'a>)> {
        let Some(item) = self.item(key) else { return Vec::new() };
        let DeValue::Table(entries) = item.value.get_ref() else {
            item.wrong_type("a table", &format!("write [{}.NAME] with a name of your own", item.path));
            return Vec::new();
        };
        let mut tables: Vec<_> = entries
            .iter()
            .filter_map(|(name, value)| {
                let item = Item { findings: self.findings, path: format!("{key}.{}", name.get_ref()), value };
                Some((Located { value: name.get_ref().as_ref(), span: name.span() }, item.table(keys)?))
            })
            .collect();
        tables.sort_by_key(|(name, _)| name.span.start);
        tables
    }
}
