//! Diagnostics as a SARIF 2.1.0 log, which code review tools show in place.

use super::code::{Code, Severity};
use super::diagnostic::{Diagnostic, Place};
use super::listing::Listing;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Component, Path};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The folder that relative paths start at; tools put the root of the sources in its place.
const BASE: &str = "%SRCROOT%";

pub(super) fn sarif_log(listing: &Listing<'_>, base: &Path) -> Value {
    let results: Vec<_> = listing.diagnostics().iter().map(|d| result(d, listing.severity(d), base)).collect();
    let mut log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "pinproxy",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": Code::ALL.iter().copied().map(rule).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    if let Some(hosts) = listing.hosts() {
        // What is no result belongs into a property bag (section 3.8).
        log["runs"][0]["properties"] = json!({ "probed": hosts });
    }
    log
}

/// What is said about a code. Its place in the list is its place in [`Code::ALL`].
fn rule(code: Code) -> Value {
    let (consequence, fix) = (code.consequence(), code.fix());
    json!({
        "id": code.as_str(),
        "name": pascal_case(code.title()),
        "shortDescription": { "text": code.title() },
        "fullDescription": { "text": consequence },
        "help": { "text": fix, "markdown": format!("**If it stays:** {consequence}\n\n**Fix:** {fix}") },
        "defaultConfiguration": { "level": level(code.severity()) },
    })
}

fn result(diagnostic: &Diagnostic, severity: Severity, base: &Path) -> Value {
    let code = diagnostic.code();
    let related = diagnostic.related().enumerate().map(|(id, (place, label))| {
        json!({ "id": id, "message": { "text": label }, "physicalLocation": location(&place, base) })
    });
    // Code review tools show this text alone, so it holds all three parts.
    let text = format!("{}. {} To fix it: {}", diagnostic.message(), code.consequence(), diagnostic.help());
    json!({
        "ruleId": code.as_str(),
        "ruleIndex": Code::ALL.iter().position(|other| *other == code),
        "level": level(severity),
        "message": { "text": text },
        "locations": [{ "physicalLocation": location(&diagnostic.place(), base) }],
        "relatedLocations": related.collect::<Vec<_>>(),
    })
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn location(place: &Place, base: &Path) -> Value {
    let mut location = json!({ "artifactLocation": artifact(&place.file, base) });
    if let Some(region) = place.region {
        location["region"] = json!({
            "startLine": region.line,
            "startColumn": region.column,
            "endLine": region.end_line,
            "endColumn": region.end_column,
        });
    }
    location
}

/// Relative to the base where the file is below it.
fn artifact(file: &Path, base: &Path) -> Value {
    let inside = file.strip_prefix(base).unwrap_or(file);
    if inside.is_absolute() {
        return json!({ "uri": format!("file://{}", percent_encoded(inside)) });
    }
    json!({ "uri": percent_encoded(inside), "uriBaseId": BASE })
}

/// The path of a URI (RFC 3986 section 3.3): what is not unreserved is encoded, also the colon, which a relative
/// reference must not have in its first segment.
fn percent_encoded(path: &Path) -> String {
    let mut uri = String::new();
    for component in path.components().filter(|component| *component != Component::CurDir) {
        if !uri.is_empty() && !uri.ends_with('/') {
            uri.push('/');
        }
        for octet in component.as_os_str().as_encoded_bytes() {
            match octet {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(*octet as char),
                // Writing to a String cannot fail.
                _ => drop(write!(uri, "%{octet:02X}")),
            }
        }
    }
    uri
}

/// `One host in two rules` as `OneHostInTwoRules`.
fn pascal_case(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words
        .flat_map(|word| {
            let (first, rest) = word.split_at(1);
            [first.to_ascii_uppercase(), rest.to_owned()]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_of_files() {
        let base = Path::new("/home/ada/site");
        for (file, uri, relative) in [
            ("pinproxy.toml", "pinproxy.toml", true),
            ("./etc/./pinproxy.toml", "etc/pinproxy.toml", true),
            ("../pinproxy.toml", "../pinproxy.toml", true),
            ("/home/ada/site/etc/p.toml", "etc/p.toml", true),
            ("/home/ada/site2/p.toml", "file:///home/ada/site2/p.toml", false),
            ("/etc/pin proxy/é?#%.toml", "file:///etc/pin%20proxy/%C3%A9%3F%23%25.toml", false),
            ("c:d.toml", "c%3Ad.toml", true),
            ("a//b", "a/b", true),
        ] {
            let told = artifact(Path::new(file), base);
            assert_eq!(told["uri"], uri, "{file}");
            assert_eq!(told.get("uriBaseId").is_some(), relative, "{file}");
        }
    }

    #[test]
    fn names_of_rules() {
        assert_eq!(pascal_case("One host in two rules"), "OneHostInTwoRules");
        let mut names: Vec<_> = Code::ALL.iter().map(|code| pascal_case(code.title())).collect();
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric())), "{names:?}");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len(), "no two rules have one name");
    }
}
