//! What the keys are described as, against what is read.

use super::super::concealed::{ADDRESS_KEYS, SECRET_KEYS};
use super::super::document::ROOT;
use super::super::shape::{Key, Keys, Shape};
use super::*;

/// Each kind of table, by the path that leads to it.
fn tables() -> Vec<(String, &'static Keys)> {
    fn below(path: &str, keys: &'static Keys, into: &mut Vec<(String, &'static Keys)>) {
        into.push((path.to_owned(), keys));
        for key in keys.keys {
            let mut shape = key.shape.element();
            if let Shape::PathOr(inner) = shape {
                shape = Shape::Table(inner);
            }
            if let Shape::Table(inner) = shape {
                below(&format!("{path}/{}", key.name), inner, into);
            }
        }
    }
    let mut all = Vec::new();
    below("", &ROOT, &mut all);
    all
}

#[test]
fn every_key_says_what_it_is() {
    let mut count = 0;
    for (path, keys) in tables() {
        for key in keys.keys {
            let name = format!("{path}/{}", key.name);
            assert!(key.doc.len() > 3 && key.doc.ends_with('.') && !key.doc.ends_with(".."), "{name}");
            assert_eq!(keys.keys.iter().filter(|other| other.name == key.name).count(), 1, "{name}");
            assert!(!(key.required && key.default.is_some()), "{name}");
            // Its lines are masked wherever they are shown.
            assert!(!key.secret || SECRET_KEYS.contains(&key.name), "{name}");
            let is_address = matches!(key.shape.element(), Shape::Address(_)) || matches!(key.shape, Shape::Address(_));
            assert!(!is_address || ADDRESS_KEYS.contains(&key.name), "{name}");
            count += 1;
        }
        for name in keys.some_of {
            assert!(keys.get(name).is_some_and(|key| !key.required), "{path}/{name}");
        }
    }
    assert!(count > 80, "{count}");
}

/// A text for a table that holds what is required and this.
fn with(path: &str, line: &str) -> String {
    let pins = format!("pins = [\"{X1}\", \"{X2}\"]");
    match path {
        "" => line.to_owned(),
        "/pinset" => pinset(&format!("{pins}\n{line}")),
        "/pinset/rollout" | "/pinset/expiry" => {
            let name = path.trim_start_matches("/pinset/");
            pinset(&format!("{pins}\nmode = \"report-only\"\n[pinset.{name}]\n{line}"))
        }
        "/pinset/rollout/ramp" => with("/pinset/rollout", &format!("ramp = [{{ {line} }}]")),
        "/upstream/extra_roots" => format!("[[upstream.extra_roots]]\nfile = \"a.pem\"\n{line}"),
        "/upstream/client_certificates" => {
            format!(
                "[[upstream.client_certificates]]\nhosts = [\"a.example\"]\ncertificate = \"c\"\nkey = \"k\"\n{line}"
            )
        }
        "/listener" => format!("[[listener]]\naddress = \"127.0.0.1:8080\"\n{line}"),
        _ => format!("[{}]\n{line}", path.trim_start_matches('/').replace('/', ".")),
    }
}

#[test]
fn described_defaults_are_the_defaults() {
    let mut count = 0;
    for (path, keys) in tables() {
        for Key { name, default, .. } in keys.keys {
            let Some(default) = default else { continue };
            let text = with(&path, &format!("{name} = {default}"));
            assert_eq!(config(&text), config(&with(&path, "")), "{text}");
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

/// A value of a shape that nothing else would take, or of the wrong type.
#[test]
fn every_key_is_read() {
    for (path, keys) in tables() {
        for key in keys.keys.iter().filter(|key| !key.is_planned()) {
            let wrong = match key.shape {
                Shape::Flag => "1",
                Shape::Table(_) | Shape::Tables(_) | Shape::Named(_) => "true",
                _ => "false",
            };
            let line = format!("{} = {wrong}", key.name);
            let text = match path.as_str() {
                "" => line,
                "/keys" => format!("[keys.k]\n{line}"),
                "/pinset" if keys.some_of.contains(&key.name) => format!("[[pinset]]\n{line}"),
                "/pinset" => format!("[[pinset]]\npins = [\"{X1}\"]\n{line}"),
                "/upstream/extra_roots" => format!("[upstream]\nextra_roots = [{{ {line} }}]"),
                "/upstream/client_certificates" => format!("[upstream]\nclient_certificates = [{{ {line} }}]"),
                "/listener/tls" => format!("[[listener]]\n[listener.tls]\n{line}"),
                "/listener" | "/exempt" | "/tunnel" | "/blocklist" => format!("[[{}]]\n{line}", &path[1..]),
                _ => with(&path, &line),
            };
            let errors = parse(&text).err().unwrap_or_else(|| panic!("{text}"));
            let types = errors.diagnostics().iter().filter(|d| matches!(d.code(), Code::E15 | Code::E02));
            assert_eq!(
                types.filter(|d| d.message().contains(key.name) || d.code() == Code::E02).count(),
                1,
                "{text}\n{errors}"
            );
        }
    }
}
