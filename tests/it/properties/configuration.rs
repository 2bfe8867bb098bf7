//! Texts of configuration files.

use super::fragments;
use crate::vectors::policy::config;
use proptest::prelude::*;

const LINES: &[&str] = &[
    "schema = 1\n",
    "schema = ",
    "[defaults]\nunpinned = \"tunnel\"\n",
    "[defaults]\nmode = \"off\"\n",
    "[[listener]]\naddress = \"[::]:3128\"\n",
    "[access]\nclients = [\"10.0.0.0/8\"]\n",
    "[keys.leaf]\nspki = \"sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=\"\nrole = \"leaf\"\n",
    "[keys.cert]\ncert = \"sha256:18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4\"\n",
    "[keys.\u{fc}]\n",
    "[[pinset]]\n",
    "[[pinset]]\nname = \"a\"\nhosts = [\"a.example\", \"**.b.example:8443\"]\n",
    "[[pinset]]\nname = \"b\"\nhosts = [\"A.Example.\", \"b\u{fc}cher.example\"]\n",
    "pins = [\"leaf\"]\n",
    "leaf_pins = [\"leaf\", \"cert\"]\n",
    "ca_pins = [\"sha256/diGVwiVYbubAI3RW4hB9xU8e/CH2GnkuvVFZE8zmgzI=\"]\n",
    "backup = [\"sha256/hxqRlPTu1bMS/0DITB1SSu0vd4u/8l8TjPgfaAp63Gc=\"]\n",
    "combine = \"any\"\n",
    "mode = \"report-only\"\n",
    "trust = \"pin-only\"\n",
    "verify_name = \"as:b.example\"\n",
    "[pinset.expiry]\nat = 2027-01-02\nthen = \"fail-closed\"\n",
    "[pinset.rollout]\nramp = [{ from = 2027-01-11T00:00:00Z, percent = 5 }]\nenforce_from = 2027-02-08\n",
    "[[exempt]]\nhosts = [\"c.b.example:8443\"]\nreason = \"r\"\nuntil = 2027-03-01\n",
    "[[tunnel]]\nhosts = [\"t.example\"]\nreason = \"r\"\n",
    "[[blocklist]]\nname = \"x\"\nreason = \"r\"\nspki = [\"leaf\"]\n",
    "include = [\"*.toml\"]\n",
    "hosts = [\"*.\"]\n",
    "pins = []\n",
    "reason = \"${NAME}\"\n",
    "\"\\u0000\" = 1\n",
    "# \u{1f600}\r\n",
    "name = '''\n",
    "[[",
    "]",
    "{",
    "}",
    "=",
    "\"",
    "\0",
    "\u{feff}",
    "\u{202e}",
];

/// Reads a text, and shows everything that is wrong with it.
fn read(text: &str) {
    match config(text) {
        Ok(config) => assert_eq!(config.policy(1).rules().len(), config.rules.rules().len()),
        Err(errors) => {
            assert!(!errors.diagnostics().is_empty());
            assert!(errors.render(true).len() > errors.to_string().len());
            for told in errors.diagnostics() {
                assert!(!told.message().is_empty() && !told.help().is_empty(), "{told:?}");
                assert!(told.to_string().contains("vectors.toml"), "{told}");
                let lines = text.lines().count();
                assert!(told.position().is_none_or(|(line, column)| line <= lines + 1 && column > 0), "{told}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_a_configuration_or_told_why_not(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn fragments_in_any_order_are_read(text in fragments(LINES, 12)) {
        read(&text);
    }

    /// A file that was cut off, or lost a piece, or got one twice.
    #[test]
    fn damaged_files_are_read(from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), twice: bool) {
        let whole = include_str!("../../../config/pinproxy.toml");
        let boundary = |index: &prop::sample::Index| {
            let at = index.index(whole.len() + 1);
            (0..=at).rev().find(|at| whole.is_char_boundary(*at)).unwrap()
        };
        let (from, to) = (boundary(&from), boundary(&to));
        let (from, to) = (from.min(to), from.max(to));
        read(&whole[..from]);
        let kept = if twice { &whole[from..to] } else { "" };
        read(&format!("{}{kept}{}", &whole[..to], &whole[to..]));
        read(&format!("{}{kept}{}", &whole[..from], &whole[to..]));
    }
}
