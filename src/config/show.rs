//! The effective configuration as one file: includes and defaults written out, secrets masked.

use super::diagnostic::{ConfigErrors, Diagnostic};
use super::document::{ROOT, read_main, read_text};
use super::item::Item;
use super::model::Config;
use super::outside::{Nothing, Outside, System};
use super::shape::{Key, Keys, Shape};
use super::span::FileId;
use super::table::Table;
use std::path::Path;
use std::time::SystemTime;
use toml::Value;
use toml::de::DeValue;

/// Stands in the place of a secret.
const MASK: &str = "***";

impl Config {
    /// Reads a file as [`Config::load`] does, and writes what is in effect: one file that gives the same configuration.
    /// Environment variables stay as they are written, for their values may be secrets; passwords in URLs are masked, and of
    /// addresses for reports and traces what is behind the host.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn show(path: &Path, now: SystemTime) -> Result<(String, Vec<Diagnostic>), ConfigErrors> {
        Self::show_from(&System, path, now)
    }

    /// The same, with files and environment variables of this machine.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn show_from(
        outside: &dyn Outside,
        path: &Path,
        now: SystemTime,
    ) -> Result<(String, Vec<Diagnostic>), ConfigErrors> {
        read_text(read_main(outside, path)?, path, now, outside, false, |root, _| write(root)).outcome
    }

    /// What is in effect without a file.
    pub fn show_builtin() -> String {
        let shown =
            read_text(String::new(), Path::new(""), SystemTime::UNIX_EPOCH, &Nothing, false, |root, _| write(root));
        shown.outcome.unwrap_or_else(|errors| unreachable!("an empty file is one: {errors}")).0
    }
}

/// A configuration without errors.
fn write(root: &Table<'_>) -> String {
    let mut table = toml::Table::new();
    for key in ROOT.keys.iter().filter(|key| !key.is_planned() && key.name != "include") {
        for item in root.items(key.name) {
            join(&mut table, key.name, shown(&item, key.secret));
        }
    }
    let table = completed(table, &ROOT);
    toml::to_string_pretty(&table).unwrap_or_else(|error| unreachable!("what was read can be written: {error}"))
}

/// Puts the tables of several files into one.
fn join(table: &mut toml::Table, key: &str, value: Value) {
    match (table.get_mut(key), value) {
        (Some(Value::Array(before)), Value::Array(more)) => before.extend(more),
        (Some(Value::Table(before)), Value::Table(more)) => before.extend(more),
        (_, value) => drop(table.insert(key.to_owned(), value)),
    }
}

/// A value as it is written.
pub(super) fn shown(item: &Item<'_>, secret: bool) -> Value {
    match item.value.get_ref() {
        DeValue::String(text) => Value::String(if secret { MASK.to_owned() } else { shown_text(item, text) }),
        DeValue::Integer(number) => {
            // A number that does not fit is out of every bound, and has been refused.
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX))
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(datetime) => Value::Datetime(*datetime),
        DeValue::Array(elements) => {
            Value::Array(elements.iter().map(|element| shown(&item.element(element), secret)).collect())
        }
        DeValue::Table(entries) => {
            let entries = entries.iter().map(|(name, value)| {
                let name: &str = name.get_ref();
                let key = item.shape.keys().and_then(|keys| keys.get(name));
                let shape = key.map_or_else(|| item.shape.element(), |key| key.shape);
                let secret = secret || key.is_some_and(|key| key.secret);
                let entry = Item { path: format!("{}.{name}", item.path), shape, value, ..*item };
                (name.to_owned(), shown(&entry, secret))
            });
            Value::Table(entries.collect())
        }
    }
}

fn shown_text(item: &Item<'_>, text: &str) -> String {
    let written = item.findings.variables.borrow().written(&item.span()).unwrap_or(text).to_owned();
    let is_path = match item.shape {
        Shape::Path | Shape::PathOr(_) => true,
        Shape::WordOrPath(words) => !words.words().contains(&text),
        _ => false,
    };
    if !is_path || item.file == FileId::MAIN || Path::new(text).is_absolute() {
        let written = without_passwords(&written);
        return if matches!(item.shape, Shape::Address(_)) { without_path(&written) } else { written };
    }
    // A path beside an included file becomes one beside the main file.
    let (main, own) = (item.findings.beside(FileId::MAIN, ""), item.findings.beside(item.file, ""));
    let folder = own.strip_prefix(&main).unwrap_or(&own).to_string_lossy().replace("${", "$${");
    Path::new(&folder).join(written).to_string_lossy().into_owned()
}

/// With the password of each `scheme://user:password@` masked, unless it is a variable as a whole.
fn without_passwords(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + "://".len());
        masked.push_str(before);
        let authority = &behind[..behind.find(['/', '?', '#', ' ']).unwrap_or(behind.len())];
        let password = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
        rest = behind;
        if let Some((user, password)) = password.filter(|(_, password)| !is_variable(password)) {
            masked.push_str(user);
            masked.push(':');
            masked.push_str(MASK);
            rest = &behind[user.len() + 1 + password.len()..];
        }
    }
    masked.push_str(rest);
    masked
}

/// With path and query of a URL masked, unless they are a variable as a whole: whoever knows them may be let in by them.
fn without_path(url: &str) -> String {
    let authority = url.find("://").map_or(0, |scheme| scheme + "://".len());
    // What is in front of a scheme that is not there may be a variable, which holds the scheme.
    let Some(length) = url[authority..].find(['/', '?']) else { return url.to_owned() };
    let (host, path) = url.split_at(authority + length);
    let plain = path.strip_prefix('/').unwrap_or(path);
    if is_variable(plain) { url.to_owned() } else { format!("{host}/{MASK}") }
}

/// Whether this is `${NAME}` and nothing else. Nothing at all is no secret either.
fn is_variable(text: &str) -> bool {
    let name = text.strip_prefix("${").and_then(|text| text.strip_suffix('}'));
    text.is_empty() || name.is_some_and(|name| !name.contains(['$', '{', '}']))
}

/// In the order of the descriptions, and with the defaults of what is left out.
fn completed(mut table: toml::Table, keys: &Keys) -> toml::Table {
    let mut complete = toml::Table::new();
    for Key { name, shape, .. } in keys.keys {
        let default = || keys.get(name).and_then(Key::default_value);
        let Some(value) = table.remove(*name).or_else(default) else { continue };
        complete.insert((*name).to_owned(), completed_value(value, shape));
    }
    complete
}

fn completed_value(value: Value, shape: &Shape) -> Value {
    match (value, shape) {
        (Value::Table(table), Shape::Named(keys)) => {
            let tables = table.into_iter();
            Value::Table(tables.map(|(name, value)| (name, completed_value(value, &Shape::Table(keys)))).collect())
        }
        (Value::Table(table), shape) => match shape.keys() {
            Some(keys) => Value::Table(completed(table, keys)),
            None => Value::Table(table),
        },
        (Value::Array(elements), shape) => {
            let element = shape.element();
            Value::Array(elements.into_iter().map(|value| completed_value(value, &element)).collect())
        }
        (value, _) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls() {
        let table = [
            ("", ""),
            ("a:b@c", "a:b@c"),
            ("http://proxy.example:3128/a:b@c", "http://proxy.example:3128/a:b@c"),
            ("http://ada@proxy.example", "http://ada@proxy.example"),
            ("http://ada:@proxy.example", "http://ada:@proxy.example"),
            ("http://ada:s3cret@proxy.example:3128", "http://ada:***@proxy.example:3128"),
            ("socks5://ada:p@ss:w@proxy.example", "socks5://ada:***@proxy.example"),
            ("http://:s3cret@proxy.example?a:b@c", "http://:***@proxy.example?a:b@c"),
            ("x http://a:b@c y http://d:e@f", "x http://a:***@c y http://d:***@f"),
            ("http://ada:${PASSWORD}@proxy.example", "http://ada:${PASSWORD}@proxy.example"),
            ("http://ada:x${PASSWORD}@proxy.example", "http://ada:***@proxy.example"),
            ("http://ada:${A}${B}@proxy.example", "http://ada:***@proxy.example"),
            ("http://ada:$${A}@proxy.example", "http://ada:***@proxy.example"),
        ];
        for (text, expected) in table {
            assert_eq!(without_passwords(text), expected);
        }
    }

    #[test]
    fn paths_of_addresses() {
        let table = [
            ("https://h.example", "https://h.example"),
            ("https://h.example/", "https://h.example/"),
            ("https://h.example:1/a/b?c", "https://h.example:1/***"),
            ("https://h.example?c", "https://h.example/***"),
            ("https://h.example/${PATH}", "https://h.example/${PATH}"),
            ("https://h.example/a/${PATH}", "https://h.example/***"),
            ("${URL}", "${URL}"),
            ("${HOST}/a", "${HOST}/***"),
            ("https://${HOST}/a", "https://${HOST}/***"),
        ];
        for (text, expected) in table {
            assert_eq!(without_path(text), expected);
        }
    }
}
