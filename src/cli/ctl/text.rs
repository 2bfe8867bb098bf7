//! Answers of a proxy for people.

use super::super::rows::Rows;
use serde_json::Value;

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("?")
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn status(value: &Value) -> String {
    let mut rows = Rows::default();
    let draining = value.get("draining").and_then(Value::as_bool).unwrap_or_default();
    let state = if draining { "draining: no new sessions" } else { "running" };
    rows.line(&format!("pinproxy {}, process {}: {state}", text(value, "version"), number(value, "pid")));
    rows.row("started", text(value, "started"));
    rows.row("sessions", &format!("{} open", number(value, "open-sessions")));
    let (generation, rules) = (number(value, "generation"), number(value, "rules"));
    rows.row("generation", &format!("{generation} with {rules} rules, since {}", text(value, "generation-since")));
    if let Some(last) = value.get("last-reload").filter(|last| last.is_object()) {
        last_reload(&mut rows, last);
    }
    if let Some(ca) = value.get("ca") {
        rows.row("CA", &format!("{}, until {}", text(ca, "subject"), text(ca, "not-after")));
        rows.more(&format!("SHA-256 {}", text(ca, "fingerprint")));
        if let Some(rotation) = ca.get("rotation").filter(|rotation| rotation.is_object()) {
            rows.more(&rotation_line(rotation));
        }
    }
    for (sink, lost) in value.get("lost-events").and_then(Value::as_object).into_iter().flatten() {
        rows.row("lost", &format!("{lost} events for {sink}"));
    }
    if let Some(told) = value.get("reports").filter(|told| told.is_object()) {
        reports(&mut rows, told);
    }
    for given in list(value, "overrides") {
        rows.row("override", &override_line(given));
    }
    rows.into_text()
}

/// The other CA of a rotation.
fn rotation_line(told: &Value) -> String {
    let [from, fingerprint, end] = ["signs-from", "other-fingerprint", "other-not-after"].map(|name| text(told, name));
    let has_taken_over = told.get("has-taken-over").and_then(Value::as_bool).unwrap_or_default();
    let which = if has_taken_over { "it signs since" } else { "the next one signs from" };
    let other = if has_taken_over { "the one before" } else { "the next one" };
    format!("{which} {from}; {other}: SHA-256 {fingerprint}, until {end}")
}

/// One line, and one more for each thing that is wrong.
fn reports(rows: &mut Rows, told: &Value) {
    let waiting = number(told, "unspooled").saturating_add(number(told, "spooled"));
    let oldest = told.get("oldest").and_then(Value::as_str).map(|oldest| format!(", the oldest since {oldest}"));
    let lost = number(told, "lost-before-spool").saturating_add(number(told, "lost-over-spool-max"));
    rows.row("reports", &format!("{waiting} waiting{}; {lost} lost", oldest.unwrap_or_default()));
    if let Some(trouble) = told.get("spool-trouble").filter(|trouble| trouble.is_object()) {
        rows.more(&format!("the spool cannot be used since {}: {}", text(trouble, "since"), text(trouble, "why")));
    }
    for to in list(told, "receivers") {
        let Some(trouble) = to.get("trouble").filter(|trouble| trouble.is_object()) else { continue };
        let ([name, since, why], waiting) =
            ([text(to, "receiver"), text(trouble, "since"), text(trouble, "why")], number(to, "waiting"));
        rows.more(&format!("{name} has taken none since {since}, {waiting} waiting for it: {why}"));
    }
}

fn last_reload(rows: &mut Rows, last: &Value) {
    let (at, cause) = (text(last, "at"), text(last, "cause"));
    match last.get("refused").and_then(Value::as_str) {
        None => {
            rows.row("last reload", &format!("taken at {at} ({cause})"));
            let taken = last.get("taken").unwrap_or(&Value::Null);
            for fault in list(taken, "not-reopened").iter().filter_map(Value::as_str) {
                rows.more(&format!("ERROR: {fault}"));
            }
            for section in list(taken, "at-next-start").iter().filter_map(Value::as_str) {
                rows.more(&format!("{section} has changed; that takes effect at the next start"));
            }
        }
        Some(why) => {
            rows.row("last reload", &format!("REFUSED at {at} ({cause}); what was in force stays in force:"));
            why.lines().for_each(|line| rows.more(line));
        }
    }
}

pub(super) fn reloaded(value: &Value) -> String {
    let mut rows = Rows::default();
    rows.line(&format!("generation {} with {} rules is in force", number(value, "generation"), number(value, "rules")));
    let closed = number(value, "closed");
    if closed > 0 {
        rows.line(&format!("{closed} open sessions are closed: it refuses them"));
    }
    for line in list(value, "looser").iter().filter_map(Value::as_str) {
        rows.line(&format!("looser: {line}"));
    }
    for warning in list(value, "warnings").iter().filter_map(Value::as_str) {
        rows.line(&format!("warning: {warning}"));
    }
    for fault in list(value, "not-reopened").iter().filter_map(Value::as_str) {
        rows.line(&format!("ERROR: {fault}"));
    }
    for section in list(value, "at-next-start").iter().filter_map(Value::as_str) {
        rows.line(&format!("{section} has changed; that takes effect at the next start"));
    }
    rows.into_text()
}

pub(super) fn drained(_: &Value) -> String {
    "no new sessions; the proxy ends when the open ones have, or the drain timeout is over".to_owned()
}

pub(super) fn added(value: &Value) -> String {
    let (target, until) = (text(value, "target"), text(value, "until"));
    format!("the pins of {target} are reported instead of enforced until {until}, or until the proxy ends")
}

pub(super) fn removed(value: &Value) -> String {
    format!("the pins of {} are enforced again", text(value, "target"))
}

pub(super) fn overrides(value: &Value) -> String {
    let given = value.as_array().map(Vec::as_slice).unwrap_or_default();
    if given.is_empty() {
        return "nothing is overridden".to_owned();
    }
    let mut rows = Rows::default();
    for given in given {
        rows.line(&override_line(given));
    }
    rows.into_text()
}

fn override_line(given: &Value) -> String {
    let [target, until, by, reason] = ["target", "until", "by", "reason"].map(|name| text(given, name));
    let idle = given.get("idle").and_then(Value::as_str).map(|why| format!(" (without effect: {why})"));
    format!("{target} until {until}, by {by}: {reason}{}", idle.unwrap_or_default())
}
