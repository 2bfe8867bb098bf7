//! The format as a JSON Schema, from which editors complete and check.

use super::document::ROOT;
use super::shape::{ANY, DURATION_TEXT, FILE_NAME, Key, Keys, OCTETS_TEXT, Pattern, Shape, Vocabulary};
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;

/// Any text may hold the name of an environment variable, whose value decides.
const VARIABLE: Pattern = r"\$\{";

/// The schema (draft 2020-12). It refuses nothing that this version takes; not everything that is wrong can be said in
/// it.
pub fn schema() -> Value {
    let mut schema = table(&ROOT);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "The configuration of pinproxy".into();
    schema
}

fn table(keys: &Keys) -> Value {
    let implemented = || keys.keys.iter().filter(|key| !key.is_planned());
    let properties: Map<_, _> = implemented().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<_> = implemented().filter(|key| key.required).map(|key| key.name).collect();
    let mut table = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        table["required"] = required.into();
    }
    if !keys.some_of.is_empty() {
        table["anyOf"] = keys.some_of.iter().map(|name| json!({ "required": [name] })).collect();
    }
    table
}

fn property(key: &Key) -> Value {
    let mut property = value(&key.shape);
    property["description"] = key.doc.into();
    if let Some(default) = key.default_value() {
        property["default"] =
            serde_json::to_value(default).unwrap_or_else(|error| unreachable!("{}: {error}", key.name));
    }
    property
}

fn value(shape: &Shape) -> Value {
    match shape {
        Shape::Text(pattern) | Shape::Address(pattern) => text(pattern),
        Shape::TextOrList(pattern) => {
            json!({ "anyOf": [text(pattern), { "type": "array", "items": text(pattern), "minItems": 1 }] })
        }
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Number(bounds) => number(bounds),
        Shape::Decimal(bounds) => json!({ "type": "number", "minimum": bounds.start(), "maximum": bounds.end() }),
        Shape::Octets(bounds) => json!({ "anyOf": [number(bounds), text(OCTETS_TEXT)] }),
        Shape::Duration(_) => text(DURATION_TEXT),
        Shape::Word(words) => json!({ "anyOf": [one_of(*words), { "type": "string", "pattern": VARIABLE }] }),
        Shape::WordOr(words, pattern) => json!({ "anyOf": [one_of(*words), text(pattern)] }),
        Shape::WordOrPath(words) => json!({ "anyOf": [one_of(*words), text(FILE_NAME)] }),
        Shape::Path => text(ANY),
        Shape::PathOr(keys) => json!({ "anyOf": [text(ANY), table(keys)] }),
        // TOML has dates, JSON has not: tools hand them over as text.
        Shape::Moment => json!({ "anyOf": [
            { "type": "string", "format": "date-time" },
            { "type": "string", "format": "date" },
        ] }),
        Shape::List(element) => json!({ "type": "array", "items": value(element) }),
        Shape::Filled(element) => json!({ "type": "array", "items": value(element), "minItems": 1 }),
        Shape::Table(keys) => table(keys),
        Shape::Tables(keys) => json!({ "type": "array", "items": table(keys) }),
        Shape::Named(keys) => json!({
            "type": "object",
            "propertyNames": { "pattern": super::shape::NAME },
            "additionalProperties": table(keys),
        }),
        Shape::Planned => json!(false),
    }
}

fn text(pattern: Pattern) -> Value {
    if pattern == ANY {
        return json!({ "type": "string", "minLength": 1 });
    }
    json!({ "type": "string", "pattern": format!("{pattern}|{VARIABLE}") })
}

fn number(bounds: &RangeInclusive<u64>) -> Value {
    json!({ "type": "integer", "minimum": bounds.start(), "maximum": bounds.end() })
}

fn one_of(words: &dyn Vocabulary) -> Value {
    json!({ "type": "string", "enum": words.words() })
}
