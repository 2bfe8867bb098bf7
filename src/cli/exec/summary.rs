//! What a run has seen: hosts, verdicts, violations.

use super::super::rows::Rows;
use crate::policy::decision::FailureClass;
use crate::policy::pin::Pin;
use crate::report::{Decided, Event, Sink, Told, Violation};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Hosts that are told one by one. Sessions of further ones are counted.
const HOSTS_TOLD_MAX: usize = 1_000;

/// Pins of a host that are shown to people; the file has all of them.
const PINS_SHOWN_MAX: usize = 4;

/// Gathers what sessions tell at their end.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed(Arc<Mutex<Summary>>);

#[derive(Debug)]
struct Observing(Observed);

/// What a run has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Sessions that violated pins or the blocklist, refused or not.
    pub(super) violations: u64,
    sessions: u64,
    /// By what was asked for.
    hosts: BTreeMap<Box<str>, Seen>,
    /// Sessions of hosts that there was no room for.
    other_sessions: u64,
}

/// What became of the sessions with one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Seen {
    hostname: Option<Told>,
    port: Option<u16>,
    /// The rule of the last one.
    pinset: Option<Box<str>>,
    sessions: u64,
    allowed: u64,
    reported: u64,
    tunnelled: u64,
    refused: u64,
    failed: u64,
    violations: u64,
    /// Of the last one that did not go well.
    failure_class: Option<FailureClass>,
    detail: Option<Told>,
    expected_pins: Vec<String>,
    #[serde(rename = "seen-pins")]
    shown: Box<[Pin]>,
}

impl Observed {
    /// Takes the events.
    pub(super) fn sink(&self) -> Box<dyn Sink> {
        Box::new(Observing(self.clone()))
    }

    /// What there is by now.
    pub(super) fn summary(&self) -> Summary {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sink for Observing {
    fn take(&self, event: &Event, violation: Option<&Violation>) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).add(event, violation);
    }
}

impl Summary {
    fn add(&mut self, event: &Event, violation: Option<&Violation>) {
        self.sessions += 1;
        self.violations += u64::from(violation.is_some());
        let asked_for = event.connect_authority.as_str();
        if !self.hosts.contains_key(asked_for) && self.hosts.len() == HOSTS_TOLD_MAX {
            self.other_sessions += 1;
            return;
        }
        self.hosts.entry(asked_for.into()).or_default().add(event, violation);
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut rows = Rows::default();
        let hosts = counted(self.hosts.len() as u64, "host");
        let more = if self.other_sessions == 0 { "" } else { ", and more" };
        let sessions = counted(self.sessions, "connection");
        let violations = match self.violations {
            0 => "no violation of pins".to_owned(),
            count => counted(count, "violation") + " of pins",
        };
        rows.line(&format!("pinproxy: {hosts}{more}, {sessions}, {violations}"));
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        hosts.sort_by_key(|(_, seen)| seen.rank());
        for (asked_for, seen) in hosts {
            seen.tell(asked_for, &mut rows);
        }
        if self.other_sessions > 0 {
            let others = counted(self.other_sessions, "connection");
            rows.row("", &format!("{others} with further hosts; only the first {HOSTS_TOLD_MAX} are told"));
        }
        rows.into_text()
    }

    /// For programs: one object.
    pub(super) fn json(&self, exit_code: u8) -> String {
        let hosts: Vec<_> = self.hosts.values().collect();
        let summary = serde_json::json!({
            "exit-code": exit_code,
            "sessions": self.sessions,
            "violations": self.violations,
            "hosts": hosts,
            "sessions-of-other-hosts": self.other_sessions,
        });
        format!("{summary:#}\n")
    }
}

impl Seen {
    fn add(&mut self, event: &Event, violation: Option<&Violation>) {
        self.hostname.clone_from(&event.hostname);
        self.port = event.port;
        self.pinset.clone_from(&event.pinset);
        self.sessions += 1;
        *match event.decision {
            // A session that was allowed may still have failed, as by a client that does not trust the CA.
            Decided::Allow if event.failure_class.is_some() => &mut self.failed,
            Decided::Allow => &mut self.allowed,
            Decided::Report => &mut self.reported,
            Decided::Tunnel => &mut self.tunnelled,
            Decided::Refuse => &mut self.refused,
            Decided::Failed => &mut self.failed,
        } += 1;
        self.violations += u64::from(violation.is_some());
        // What a violation tells is not covered by what comes after it.
        if event.failure_class.is_some() && (violation.is_some() || self.violations == 0) {
            self.failure_class = event.failure_class;
            self.detail.clone_from(&event.detail);
            let expected = violation.map(|violation| &violation.expected);
            self.expected_pins = expected.into_iter().flatten().map(|(_, pin)| pin.to_string()).collect();
            self.shown.clone_from(&event.seen_pins);
        }
    }

    /// What matters most comes first.
    const fn rank(&self) -> u8 {
        match (self.refused, self.reported, self.failed, self.allowed) {
            (1.., ..) => 0,
            (0, 1.., ..) => 1,
            (0, 0, 1.., _) => 2,
            (0, 0, 0, 1..) => 3,
            (0, 0, 0, 0) => 4,
        }
    }

    fn tell(&self, asked_for: &str, rows: &mut Rows) {
        let verdict = ["refused", "reported", "failed", "allowed", "tunnelled"][usize::from(self.rank())];
        let pinned = match self.pinset.as_deref() {
            None => String::new(),
            Some("unpinned") => ", not pinned".to_owned(),
            Some(rule @ ("exempt" | "tunnel")) => format!(", {rule}"),
            Some(pinset) => format!(", pinset {pinset}"),
        };
        let kinds = [
            (self.refused, "refused"),
            (self.reported, "let through in violation of pins"),
            (self.failed, "failed"),
            (self.allowed, "allowed"),
            (self.tunnelled, "tunnelled"),
        ];
        let some: Vec<_> =
            kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}")).collect();
        let sessions = counted(self.sessions, "connection");
        let apart = if some.len() > 1 { format!(" ({})", some.join(", ")) } else { String::new() };
        rows.row(verdict, &format!("{asked_for}  {sessions}{apart}{pinned}"));
        if let Some(detail) = &self.detail {
            rows.more(detail);
        }
        if self.violations > 0 {
            rows.more(&format!("expected  {}", shown(self.expected_pins.iter())));
            rows.more(&format!("seen      {}", shown(self.shown.iter())));
        }
    }
}

fn shown<P: ToString>(pins: impl ExactSizeIterator<Item = P>) -> String {
    let more = pins.len().saturating_sub(PINS_SHOWN_MAX);
    let mut shown: Vec<_> = pins.take(PINS_SHOWN_MAX).map(|pin| pin.to_string()).collect();
    shown.extend((more > 0).then(|| format!("and {more} more")));
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
}

fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::pinset::Position;
    use crate::report::tests_support::event;

    fn violation() -> Violation {
        Violation {
            class: FailureClass::Pin,
            served: Vec::new(),
            validated: Vec::new(),
            known_pins: Vec::new(),
            expected: (0..6).map(|key| (Position::Anywhere, Pin::Spki([key; 32]))).collect(),
            noted_hostname: None,
            include_subdomains: false,
            expires: None,
        }
    }

    fn allowed(host: &str) -> Event {
        Event {
            connect_authority: Told::target(host),
            decision: Decided::Allow,
            failure_class: None,
            detail: None,
            seen_pins: Box::default(),
            ..event()
        }
    }

    #[test]
    fn nothing_was_asked_for() {
        let summary = Observed::default().summary();
        assert_eq!(summary.text(), "pinproxy: 0 hosts, 0 connections, no violation of pins\n");
        assert_eq!(summary.violations, 0);
    }

    #[test]
    fn the_worst_comes_first_and_stays() {
        let observed = Observed::default();
        let sink = observed.sink();
        sink.take(&allowed("a.example:443"), None);
        sink.take(&event(), Some(&violation()));
        sink.take(&allowed("bank.example:443"), None);
        let failed = Event { failure_class: Some(FailureClass::Timeout), ..event() };
        sink.take(&Event { decision: Decided::Failed, detail: Some(Told::words("late")), ..failed }, None);
        let tunnelled = Event { decision: Decided::Tunnel, pinset: Some("tunnel".into()), ..allowed("t.example:443") };
        sink.take(&tunnelled, None);
        let summary = observed.summary();
        let text = summary.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "pinproxy: 3 hosts, 5 connections, 1 violation of pins");
        assert_eq!(
            lines[1],
            "  refused     bank.example:443  3 connections (1 refused, 1 failed, 1 allowed), pinset bank"
        );
        assert_eq!(lines[2].trim(), "no verified path of the upstream's chain holds a pinned key");
        assert!(lines[3].trim().starts_with("expected  sha256/AAAA") && lines[3].ends_with(", and 2 more"), "{text}");
        assert!(lines[4].trim().starts_with("seen      sha256/BwcH"), "{text}");
        assert_eq!(lines[5], "  allowed     a.example:443  1 connection, pinset bank");
        assert_eq!(lines[6], "  tunnelled   t.example:443  1 connection, tunnel");
        assert_eq!(lines.len(), 7, "{text}");

        let json: serde_json::Value = serde_json::from_str(&summary.json(1)).unwrap();
        assert_eq!((json["exit-code"].as_u64(), json["violations"].as_u64()), (Some(1), Some(1)));
        let bank = &json["hosts"][1];
        assert_eq!(bank["hostname"], "bank.example");
        assert_eq!((bank["sessions"].as_u64(), bank["refused"].as_u64()), (Some(3), Some(1)));
        assert_eq!(bank["failure-class"], "pin");
        assert_eq!(bank["expected-pins"].as_array().unwrap().len(), 6);
    }

    #[test]
    fn hosts_beyond_the_limit_are_counted() {
        let observed = Observed::default();
        let sink = observed.sink();
        for number in 0..HOSTS_TOLD_MAX + 3 {
            sink.take(&allowed(&format!("h{number}.example:443")), None);
        }
        sink.take(&event(), Some(&violation()));
        let summary = observed.summary();
        assert_eq!((summary.hosts.len(), summary.other_sessions, summary.violations), (HOSTS_TOLD_MAX, 4, 1));
        assert!(summary.text().contains("4 connections with further hosts"), "{}", summary.text());
    }
}
