//! `time.toml`: what ends, when, and what holds then.

use super::policy::{authority, codes, demand, moment, policy, select, spki};
use super::{Cases, read};
use serde::Deserialize;

const HOST: &str = "tickets.event.example";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Time {
    refused: Vec<Refused>,
    moments: Vec<Moment>,
    course: Vec<Course>,
}

/// Lines of `[pinset.expiry]` or of an `[[exempt]]` that are no end.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    name: String,
    #[serde(default)]
    origin: String,
    expiry: Option<String>,
    exempt: Option<String>,
    #[serde(default)]
    pinset: String,
    codes: Vec<String>,
}

/// A date as the file has it, and the moment it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Moment {
    text: String,
    is: String,
}

/// What a host is under as time goes by.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Course {
    name: String,
    #[serde(default)]
    origin: String,
    /// More lines of the pinset for the host.
    #[serde(default)]
    pinset: String,
    expiry: Option<String>,
    /// Lines of an `[[exempt]]` for the host.
    exempt: Option<String>,
    /// Whether a wider pinset stands around that of the host.
    #[serde(default)]
    parent: bool,
    /// Moments, with the label of the rule and what it demands.
    at: Vec<(String, String)>,
}

impl Cases for Time {
    fn names(&self) -> Vec<Vec<&str>> {
        vec![
            self.refused.iter().map(|case| case.name.as_str()).collect(),
            self.moments.iter().map(|case| case.text.as_str()).collect(),
            self.course.iter().map(|case| case.name.as_str()).collect(),
        ]
    }
}

fn configuration(lines: &str, expiry: Option<&str>, exempt: Option<&str>, parent: bool) -> String {
    let (pin, backup) = (spki("key"), spki("spare"));
    let lists = format!("pins = [{pin:?}]\nbackup = [{backup:?}]\n");
    let mut text = format!("[[pinset]]\nname = \"event\"\nhosts = [\"*.event.example\"]\n{lists}{lines}\n");
    text += &expiry.map(|lines| format!("[pinset.expiry]\n{lines}\n")).unwrap_or_default();
    if parent {
        text += &format!("[[pinset]]\nname = \"parent\"\nhosts = [\"**.event.example\"]\n{lists}");
    }
    text + &exempt.map(|lines| format!("[[exempt]]\nhosts = [\"{HOST}\"]\n{lines}\n")).unwrap_or_default()
}

/// F17: an end that cannot be read is an error, never no end.
#[test]
fn refused() {
    for Refused { name, origin, expiry, exempt, pinset, codes: expected } in read::<Time>("time.toml").refused {
        let text = configuration(&pinset, expiry.as_deref(), exempt.as_deref(), false);
        assert!(!expected.is_empty(), "{name}: nothing refuses it");
        assert_eq!(codes(&text), expected, "{name} {origin}\n{text}");
    }
}

/// The demand at a moment, and a nanosecond before it.
#[test]
fn moments() {
    for Moment { text, is } in read::<Time>("time.toml").moments {
        let policy = policy(&configuration("", Some(&format!("at = {text}\nthen = \"unpinned\"")), None, false));
        let rule = policy.rules().first().expect("a pinset");
        let (at, nanosecond) = (moment(&is), std::time::Duration::from_nanos(1));
        assert_eq!([demand(rule, at - nanosecond), demand(rule, at)], ["enforced", "chain"], "{text}");
    }
}

#[test]
fn courses() {
    for Course { name, origin, pinset, expiry, exempt, parent, at } in read::<Time>("time.toml").course {
        let policy = policy(&configuration(&pinset, expiry.as_deref(), exempt.as_deref(), parent));
        assert!(at.len() > 1, "{name}: a course has at least two moments");
        for (text, expected) in at {
            let now = moment(&text);
            let rule = select(&policy, &authority(HOST), now);
            let told = format!("{} {}", rule.label(), demand(rule, now));
            assert_eq!(told, expected, "{name} {origin} at {text}");
        }
    }
}
