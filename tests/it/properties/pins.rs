//! Texts of pins.

use super::fragments;
use pinproxy::policy::pin::Pin;
use proptest::prelude::*;

const FRAGMENTS: &[&str] = &[
    "sha256/",
    "sha256//",
    "sha256:",
    "pin-sha256=",
    "\"",
    "cert:",
    "sha1/",
    "SHA1:",
    "md5/",
    "sha384/",
    "sha512:",
    "=",
    "==",
    "/",
    "//",
    ":",
    "-",
    "_",
    "+",
    "A",
    "AAAA",
    "0b",
    "0b:9f",
    "C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M",
    "C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8N",
    "0b9fa5a59eed715c26c1020c711b4f6ec42d58b0015e14337a39dad301c5afc3",
    "\u{fc}",
    "\0",
    " ",
    "\n",
];

fn hex(digest: &[u8], separator: &str) -> String {
    digest.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(separator)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// No text panics; what is accepted is named by a text that is accepted and is the same pin.
    #[test]
    fn any_text_is_a_pin_or_an_error(text in prop_oneof![1 => any::<String>(), 4 => fragments(FRAGMENTS, 6)]) {
        match Pin::parse(&text) {
            Ok(pin) => prop_assert_eq!(Pin::parse(&pin.to_string()), Ok(pin)),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn every_form_of_a_digest_is_one_pin(digest in any::<[u8; 32]>()) {
        let canonical = Pin::Spki(digest).to_string();
        let base64 = canonical.strip_prefix("sha256/").unwrap();
        let forms = [
            canonical.clone(),
            format!("sha256//{base64}"),
            format!("pin-sha256=\"{base64}\""),
            format!("sha256:{}", hex(&digest, "")),
            format!("sha256:{}", hex(&digest, ":").to_uppercase()),
        ];
        for form in forms {
            prop_assert_eq!(Pin::parse(&form), Ok(Pin::Spki(digest)), "{}", form);
        }
        // Alone it is a pin too, unless it begins like the name of a hash (one in sixteen million does).
        if !base64.contains("/") {
            prop_assert_eq!(Pin::parse(base64), Ok(Pin::Spki(digest)));
        }
        for form in [format!("cert:sha256:{}", hex(&digest, "")), format!("cert:sha256:{}", hex(&digest, ":"))] {
            prop_assert_eq!(Pin::parse(&form), Ok(Pin::Certificate(digest)), "{}", form);
        }
    }

    /// A pin with one character changed, lost or doubled is never taken for the same pin, and a lost or doubled one is
    /// never taken for any.
    #[test]
    fn no_slip_goes_unnoticed(digest in any::<[u8; 32]>(), at in any::<prop::sample::Index>(), other in "[ -~]") {
        let text = Pin::Spki(digest).to_string();
        let at = at.index(text.len());
        let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
        prop_assert!(changed == text || Pin::parse(&changed) != Ok(Pin::Spki(digest)), "{}", changed);
        let lost = format!("{}{}", &text[..at], &text[at + 1..]);
        prop_assert!(Pin::parse(&lost).is_err(), "{}", lost);
        let doubled = format!("{}{}", &text[..=at], &text[at..]);
        // Two slashes are the form of curl. Before a digest that begins with a slash itself, 45 characters are that form
        // of another digest, and nothing tells the two apart.
        let curl = doubled == text.replacen('/', "//", 1) || text.starts_with("sha256//");
        prop_assert!(Pin::parse(&doubled).is_err() || curl, "{}", doubled);
    }
}
