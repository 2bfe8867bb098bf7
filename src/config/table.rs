//! Tables of a parsed TOML document, opened against the keys that they may have.

use super::code::Code;
use super::findings::Findings;
use super::item::{Item, Located};
use super::shape::Keys;
use super::span::{FileId, Span};
use std::collections::HashMap;
use toml::de::{DeTable, DeValue};

/// Most tables of one array of tables, such as `[[pinset]]`, in all files together.
pub(super) const TABLES_MAX: usize = 250_000;

/// A table. Its keys have been checked, or will be.
pub(super) struct Table<'a> {
    pub(super) findings: &'a Findings,
    /// Its header, or the key in front of it.
    pub(super) span: Span,
    path: String,
    entries: &'a DeTable<'a>,
    /// Those that it may have.
    keys: &'static Keys,
    /// The top levels of included files, when this is the one of the main file. They have been checked.
    included: Vec<(FileId, &'a DeTable<'a>)>,
}

impl<'a> Table<'a> {
    /// Takes a table, and reports each key that it should not have.
    pub(super) fn open(
        findings: &'a Findings,
        path: &str,
        span: Span,
        entries: &'a DeTable<'a>,
        keys: &'static Keys,
    ) -> Self {
        let table = Self { path: path.to_owned(), ..Self::top(findings, span, entries, keys) };
        table.check();
        table
    }

    /// Takes the top level of a file without looking at its keys.
    pub(super) fn top(findings: &'a Findings, span: Span, entries: &'a DeTable<'a>, keys: &'static Keys) -> Self {
        Self { findings, span, path: String::new(), entries, keys, included: Vec::new() }
    }

    /// With the top levels of other files, whose tables come behind those of this one.
    pub(super) fn including(self, included: Vec<(FileId, &'a DeTable<'a>)>) -> Self {
        Self { included, ..self }
    }

    /// Reports each key that it should not have.
    pub(super) fn check(&self) {
        for (key, span) in self.keys() {
            self.check_key(key, &span);
        }
    }

    /// Whether a key is part of the format.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.keys.get(key).is_some()
    }

    /// The keys that it has, and where.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&'a str, Span)> + use<'a> {
        let file = self.span.file;
        self.entries.keys().map(move |key| (key.get_ref().as_ref(), Span::new(file, key.span())))
    }

    pub(super) fn check_key(&self, key: &str, span: &Span) {
        let known = self.keys.get(key);
        if known.is_some_and(|known| !known.is_planned()) {
            return;
        }
        let path = self.path_of(key);
        if known.is_some() {
            let help = "remove it: this version would have to ignore it, and says so instead";
            return self.findings.error(Code::E18, span, format!("not implemented yet: {path}"), help);
        }
        let place = if self.path.is_empty() { "at the top level".into() } else { format!("in [{}]", self.path) };
        let known = self.keys.keys.iter().map(|known| known.name);
        let help = match self.findings.nearest(key, known) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("known here: {}", self.keys.implemented().collect::<Vec<_>>().join(", ")),
        };
        self.findings.error(Code::E01, span, format!("unknown key {key:?} {place}"), help);
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A key, if it is there.
    pub(super) fn item(&self, key: &str) -> Option<Item<'a>> {
        self.item_of(self.span.file, self.entries, key)
    }

    fn item_of(&self, file: FileId, entries: &'a DeTable<'a>, key: &str) -> Option<Item<'a>> {
        let value = entries.get(key)?;
        let known = self.keys.get(key).unwrap_or_else(|| unreachable!("{key} is read and not described"));
        Some(Item { findings: self.findings, file, path: self.path_of(key), shape: known.shape, value })
    }

    /// A key in each of the files that have it.
    pub(super) fn items(&self, key: &str) -> impl Iterator<Item = Item<'a>> {
        let files = std::iter::once((self.span.file, self.entries)).chain(self.included.iter().copied());
        files.filter_map(move |(file, entries)| self.item_of(file, entries, key))
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
    pub(super) fn table(&self, key: &str) -> Option<Table<'a>> {
        self.item(key)?.table()
    }

    /// The tables of an array of tables; none when the key is not there.
    pub(super) fn tables(&self, key: &str) -> Vec<Table<'a>> {
        let mut tables = Vec::new();
        for item in self.items(key) {
            let DeValue::Array(elements) = item.value.get_ref() else {
                let help = format!("write the header with double brackets: [[{}]]", item.path);
                item.wrong_type("an array of tables", &help);
                continue;
            };
            let room = TABLES_MAX - tables.len();
            if elements.len() > room {
                let message = format!("is there more than {TABLES_MAX} times");
                item.refuse(&message, "leave out what is not needed; a real configuration has far fewer");
            }
            tables.extend(elements.iter().take(room).filter_map(|value| item.element(value).table()));
        }
        tables
    }

    /// The tables under a table, by name, in the order of the files: `[keys.NAME]`. A name has one.
    pub(super) fn named_tables(&self, key: &str) -> Vec<(Located<&'a str>, Table<'a>)> {
        let mut tables = Vec::new();
        for item in self.items(key) {
            let DeValue::Table(entries) = item.value.get_ref() else {
                item.wrong_type("a table", &format!("write [{}.NAME] with a name of your own", item.path));
                continue;
            };
            for (name, value) in entries {
                let path = format!("{key}.{}", name.get_ref());
                let named = Item { path, shape: item.shape.element(), value, ..item };
                let name = Located { value: name.get_ref().as_ref(), span: Span::new(item.file, name.span()) };
                if let Some(table) = named.table() {
                    tables.push((name, table));
                }
            }
        }
        tables.sort_by_key(|(name, _)| name.span);
        self.refuse_namesakes(key, &mut tables);
        tables
    }

    /// Within one file the TOML parser has refused them.
    fn refuse_namesakes(&self, key: &str, tables: &mut Vec<(Located<&'a str>, Table<'a>)>) {
        let mut first_seen: HashMap<&str, Span> = HashMap::with_capacity(tables.len());
        tables.retain(|(name, _)| {
            let first = *first_seen.entry(name.value).or_insert(name.span);
            if first != name.span {
                let message = format!("the name {:?} is given twice under [{key}]", name.value);
                let note = (&first, "first given here");
                self.findings.conflict(Code::E46, &name.span, message, note, "choose another name");
            }
            first == name.span
        });
    }
}
