//! What a proxy answers looks like: any server says 200, and none of them is to be taken for a proxy.

use http::StatusCode;
use serde_json::Value;

/// Whether a value is what stands under a name.
type Test = fn(&Value) -> bool;

/// What a proxy says when it has done what it was asked to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    status: StatusCode,
    content: Content,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Nothing,
    /// An object with these fields, and perhaps others.
    Object(&'static [(&'static str, Test)]),
    /// A list of such objects.
    List(&'static [(&'static str, Test)]),
}

/// What later versions may leave out, or make something else, is not asked for.
pub(super) const STATUS: Shape = Shape::of(Content::Object(&[
    ("version", Value::is_string),
    ("pid", Value::is_u64),
    ("started", Value::is_string),
    ("draining", Value::is_boolean),
    ("open-sessions", Value::is_u64),
    ("generation", Value::is_u64),
    ("rules", Value::is_u64),
]));

pub(super) const RELOADED: Shape = Shape::of(Content::Object(&[
    ("generation", Value::is_u64),
    ("rules", Value::is_u64),
    ("closed", Value::is_u64),
    ("looser", Value::is_array),
    ("warnings", Value::is_array),
]));

/// It has begun, and goes on behind the answer.
pub(super) const DRAINED: Shape = Shape { status: StatusCode::ACCEPTED, content: Content::Nothing };

const OVERRIDE_FIELDS: &[(&str, Test)] = &[
    ("target", Value::is_string),
    ("until", Value::is_string),
    ("by", Value::is_string),
    ("reason", Value::is_string),
];

pub(super) const OVERRIDE: Shape = Shape::of(Content::Object(OVERRIDE_FIELDS));

pub(super) const OVERRIDES: Shape = Shape::of(Content::List(OVERRIDE_FIELDS));

impl Shape {
    const fn of(content: Content) -> Self {
        Self { status: StatusCode::OK, content }
    }

    /// Why this is no answer of a proxy, if it is none.
    pub(super) fn check(self, status: StatusCode, value: &Value) -> Result<(), String> {
        if status != self.status {
            return Err(format!("{status} where a proxy says {}", self.status));
        }
        match self.content {
            Content::Nothing if value.is_null() => Ok(()),
            Content::Nothing => Err("content where a proxy sends none".to_owned()),
            Content::Object(fields) => has(fields, value),
            Content::List(fields) => {
                let list = value.as_array().ok_or("no list")?;
                list.iter().try_for_each(|value| has(fields, value))
            }
        }
    }
}

fn has(fields: &[(&str, Test)], value: &Value) -> Result<(), String> {
    match fields.iter().find(|(name, is)| !value.get(name).is_some_and(is)) {
        Some((name, _)) => Err(format!("no {name:?} in it, or not as it should be")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_of_others() {
        let (ok, accepted, none) = (StatusCode::OK, StatusCode::ACCEPTED, StatusCode::NO_CONTENT);
        let status = json!({ "version": "1", "pid": 7, "started": "x", "draining": false, "open-sessions": 0,
            "generation": 1, "rules": 0, "more": 1 });
        let mut without_number = status.clone();
        without_number["pid"] = json!("7");
        let reloaded = json!({ "generation": 2, "rules": 0, "closed": 0, "looser": [], "warnings": [] });
        let given = json!({ "target": "a:443", "until": "x", "by": "ann", "reason": "y" });
        let table = [
            (STATUS, ok, Value::Null, Some("no \"version\" in it")),
            (STATUS, ok, json!({}), Some("no \"version\" in it")),
            (STATUS, ok, json!([]), Some("no \"version\" in it")),
            (STATUS, ok, json!("pinproxy"), Some("no \"version\" in it")),
            (STATUS, ok, json!({ "version": "1" }), Some("no \"pid\" in it")),
            (STATUS, ok, without_number, Some("no \"pid\" in it")),
            (STATUS, none, Value::Null, Some("204 No Content where a proxy says 200 OK")),
            (STATUS, accepted, status.clone(), Some("202 Accepted where a proxy says 200 OK")),
            (STATUS, ok, status, None),
            (RELOADED, ok, json!({ "generation": 2, "rules": 0 }), Some("no \"closed\" in it")),
            (RELOADED, ok, reloaded, None),
            (DRAINED, ok, Value::Null, Some("200 OK where a proxy says 202 Accepted")),
            (DRAINED, accepted, json!({}), Some("content where a proxy sends none")),
            (DRAINED, accepted, Value::Null, None),
            (OVERRIDE, ok, json!({ "target": "a:443" }), Some("no \"until\" in it")),
            (OVERRIDE, ok, given.clone(), None),
            (OVERRIDES, ok, Value::Null, Some("no list")),
            (OVERRIDES, ok, given.clone(), Some("no list")),
            (OVERRIDES, ok, json!([given, {}]), Some("no \"target\" in it")),
            (OVERRIDES, ok, json!([given]), None),
            (OVERRIDES, ok, json!([]), None),
        ];
        for (shape, status, value, why) in table {
            let found = shape.check(status, &value).err();
            let is_expected = match (&found, why) {
                (None, None) => true,
                (Some(found), Some(why)) => found.starts_with(why),
                (Some(_), None) | (None, Some(_)) => false,
            };
            assert!(is_expected, "{status} {value}: {found:?}, not {why:?}");
        }
    }
}
