//! `encoding.toml`: which texts are pins, and why the others are not.

use super::policy::codes;
use super::{Cases, read};
use pinproxy::policy::pin::Pin;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoding {
    refused: Vec<Refused>,
    accepted: Vec<Accepted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    text: String,
    #[serde(default)]
    origin: String,
    /// The whole sentence of the error.
    says: String,
    /// The code that the configuration gives it.
    code: String,
}

/// The ways to write one pin.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    pin: String,
    #[serde(default)]
    origin: String,
    texts: Vec<String>,
}

impl Cases for Encoding {
    fn names(&self) -> Vec<Vec<&str>> {
        let texts = self.accepted.iter().flat_map(|case| case.texts.iter().map(String::as_str));
        vec![
            self.refused.iter().map(|case| case.text.as_str()).collect(),
            self.accepted.iter().map(|case| case.pin.as_str()).collect(),
            texts.collect(),
        ]
    }
}

/// A configuration with this pin in a list.
fn pinset(list: &str, text: &str) -> String {
    let backup = "sha256/afwiKY3RxoMmLkuRW1l7QsPZTJPwDS2pdDROQjXw8ig=";
    let pin = toml_text(text);
    format!("[[pinset]]\nname = \"p\"\nhosts = [\"a.example\"]\n{list} = [{pin}]\nbackup = [\"{backup}\"]\n")
}

fn toml_text(text: &str) -> String {
    let characters = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", characters.collect::<String>())
}

/// F30, F31, F15: as a pin, and in every list of a configuration, where it never leaves an empty list behind.
#[test]
fn refused() {
    for Refused { text, origin, says, code } in read::<Encoding>("encoding.toml").refused {
        let error = Pin::parse(&text).expect_err(&text);
        assert_eq!(error.to_string(), says, "{text:?} {origin}");
        for list in ["pins", "leaf_pins", "ca_pins"] {
            assert_eq!(codes(&pinset(list, &text)), [code.as_str()], "{text:?} {origin}");
        }
    }
}

#[test]
fn accepted() {
    for Accepted { pin, origin, texts } in read::<Encoding>("encoding.toml").accepted {
        let parsed = Pin::parse(&pin).unwrap_or_else(|error| panic!("{pin}: {error}"));
        assert_eq!(parsed.to_string(), pin, "a pin is named by its canonical text");
        for text in texts {
            assert_eq!(Pin::parse(&text), Ok(parsed), "{text} {origin}");
            assert_eq!(codes(&pinset("pins", &text)), Vec::<String>::new(), "{text} {origin}");
        }
    }
}

#[test]
fn a_key_is_no_certificate() {
    let accepted = read::<Encoding>("encoding.toml").accepted;
    let pins: Vec<_> = accepted.iter().map(|case| Pin::parse(&case.pin).unwrap()).collect();
    let same_digest = |a: &Pin, b: &Pin| a != b && a.digest() == b.digest();
    assert!(pins.iter().any(|a| pins.iter().any(|b| same_digest(a, b))), "the table has one digest as both");
}
