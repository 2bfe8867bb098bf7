//! Overrides: an operator's word that the pins of one host are reported instead of enforced, for a few hours.
//!
//! It is the way out for a host that has changed its keys without a word. It softens pins and nothing else: chain, name,
//! dates and blocked keys refuse as ever, and so does a host whose pin is all that makes it trusted. It is part of no file
//! and ends with the process.

use super::host::{Authority, Host, HostError};
use super::moment::Moment;
use super::pinset::Basis;
use super::printable::is_invisible;
use super::protection::Protection;
use super::rules::Policy;
use std::num::NonZeroU16;
use std::time::{Duration, SystemTime};

/// Longest time for which an override is given; who needs it longer gives it again, or changes the pins.
pub const OVERRIDE_LIFETIME_MAX: Duration = Duration::from_secs(4 * 60 * 60);

/// Overrides at a time. Whoever needs more wants `mode = "report-only"`.
pub const OVERRIDES_MAX: usize = 100;

/// How much is told of a target that is none.
const TARGET_CHARACTERS_TOLD: usize = 100;

/// Longest text of a reason or a name, in octets.
pub const OVERRIDE_TEXT_MAX: usize = 200;

/// One override.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The host and port.
    pub target: Authority,
    /// When it was given.
    pub since: SystemTime,
    /// From this moment on it is there no more.
    pub until: SystemTime,
    /// Nor is it once the proxy has run for so long, by the clock that nobody sets: `until` may come from a clock that was
    /// wrong and has been corrected since.
    pub until_running: Duration,
    /// Why.
    pub reason: String,
    /// Who gave it, as they say themselves.
    pub by: String,
}

/// The overrides in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    list: Vec<Override>,
}

/// Why there can be no such override. The texts are shown to operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// It would last too long, or no time.
    #[error(
        "an override lasts longer than nothing and at most 4 hours; give it again when it ends, or change the pins"
    )]
    Lifetime,
    /// A text is missing, too long, or has characters that no line of a log should have.
    #[error(
        "{what} has to be said, in at most {OVERRIDE_TEXT_MAX} octets without control and format characters; this one {fault}"
    )]
    Text {
        /// What the text is.
        what: &'static str,
        /// What is wrong with it.
        fault: TextFault,
    },
    /// What it is to be for is no host.
    #[error("{told}: {fault}")]
    Target {
        /// As it was written, or its beginning.
        told: String,
        /// What is wrong with it.
        fault: HostError,
    },
    /// There is nothing to soften.
    #[error("nothing is enforced for {0}: an override would change nothing")]
    NotEnforced(Authority),
    /// There would be nothing left.
    #[error(
        "{target} has trust = \"pin-only\" (pinset {pinset}): without its pin nothing is left to go by, so that its pins have to be changed"
    )]
    PinOnly {
        /// The host and port.
        target: Authority,
        /// Its pinset.
        pinset: String,
    },
    /// There are [`OVERRIDES_MAX`] of them.
    #[error("there are {OVERRIDES_MAX} overrides already; remove one, or set the mode of a pinset to report-only")]
    TooMany,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// Nothing is in it but blanks.
    #[error("is blank")]
    Blank,
    /// It has so many octets.
    #[error("has {0} octets")]
    Long(usize),
    /// It would not be seen as it is.
    #[error("has U+{code:04X} as character {place}", code = u32::from(*.found))]
    Character {
        /// The first such character.
        found: char,
        /// The first one of the text is 1.
        place: usize,
    },
}

impl Overrides {
    /// Whether the pins of this host are reported instead of enforced. `running` is for how long the proxy has run.
    pub fn cover(&self, host: &Host, port: NonZeroU16, moment: Moment, running: Duration) -> bool {
        let covers = |given: &Override| given.target.host == *host && given.target.port == port;
        self.list.iter().any(|given| covers(given) && given.is_in_force(moment, running))
    }

    /// With one more, in place of an earlier one for the same host. What has ended is left out.
    ///
    /// # Errors
    /// [`OverrideError`].
    pub fn with(
        &self,
        given: Override,
        policy: &Policy,
        moment: Moment,
        running: Duration,
    ) -> Result<Self, OverrideError> {
        let by_date = given.until.duration_since(given.since).unwrap_or_default();
        let lifetimes = [by_date, given.until_running.saturating_sub(running)];
        if lifetimes.iter().any(|lifetime| lifetime.is_zero() || *lifetime > OVERRIDE_LIFETIME_MAX) {
            return Err(OverrideError::Lifetime);
        }
        check_text("a reason", &given.reason)?;
        check_text("who gives it", &given.by)?;
        check_enforced(&given.target, policy, moment)?;
        let others =
            self.list.iter().filter(|other| other.target != given.target && other.is_in_force(moment, running));
        let mut list: Vec<_> = others.cloned().collect();
        if list.len() >= OVERRIDES_MAX {
            return Err(OverrideError::TooMany);
        }
        list.push(given);
        Ok(Self { list })
    }

    /// Without that of this host, and the one taken away; `None` when there is none.
    pub fn without(&self, target: &Authority) -> Option<(Self, Override)> {
        let mut list = self.list.clone();
        let place = list.iter().position(|given| given.target == *target)?;
        let removed = list.remove(place);
        Some((Self { list }, removed))
    }

    /// Those that are in force, and those that have ended.
    pub fn divided(&self, moment: Moment, running: Duration) -> (Self, Vec<Override>) {
        let (list, ended) = self.list.iter().cloned().partition(|given| given.is_in_force(moment, running));
        (Self { list }, ended)
    }

    /// Why one of them has no effect under these rules; none where it has.
    pub fn idle(given: &Override, policy: &Policy, moment: Moment) -> Option<OverrideError> {
        check_enforced(&given.target, policy, moment).err()
    }

    /// All of them, the earliest first.
    pub fn list(&self) -> &[Override] {
        &self.list
    }
}

impl Override {
    /// It ends with the first clock that says so.
    fn is_in_force(&self, moment: Moment, running: Duration) -> bool {
        !moment.tightens(self.until) && running < self.until_running
    }
}

/// Whether a text can stand in the audit.
///
/// # Errors
/// [`OverrideError::Text`].
pub fn check_text(what: &'static str, text: &str) -> Result<(), OverrideError> {
    let hidden = || text.chars().zip(1..).find(|(c, _)| is_invisible(*c));
    let fault = if text.trim().is_empty() {
        Some(TextFault::Blank)
    } else if text.len() > OVERRIDE_TEXT_MAX {
        Some(TextFault::Long(text.len()))
    } else {
        hidden().map(|(found, place)| TextFault::Character { found, place })
    };
    fault.map_or(Ok(()), |fault| Err(OverrideError::Text { what, fault }))
}

/// A host, with a port or without: then it is that of HTTPS.
///
/// # Errors
/// [`OverrideError::Target`].
pub fn parse_target(text: &str) -> Result<Authority, OverrideError> {
    let target = match Authority::parse(text) {
        Err(HostError::NoPort) => Authority::parse(&format!("{text}:443")),
        parsed => parsed,
    };
    target.map_err(|fault| {
        let begin: String = text.chars().take(TARGET_CHARACTERS_TOLD).collect();
        let more = if begin.len() < text.len() { "…" } else { "" };
        OverrideError::Target { told: format!("{begin:?}{more}"), fault }
    })
}

/// Whether there is something that an override softens.
fn check_enforced(target: &Authority, policy: &Policy, moment: Moment) -> Result<(), OverrideError> {
    let rule = policy.select(target, moment);
    let Some(pinset) = rule.pinset() else { return Err(OverrideError::NotEnforced(target.clone())) };
    if matches!(pinset.basis, Basis::PinOnly { .. }) {
        return Err(OverrideError::PinOnly { target: target.clone(), pinset: pinset.name.clone() });
    }
    match Protection::of(rule, moment) {
        Protection::Partly(_) | Protection::Enforced | Protection::Refused => Ok(()),
        Protection::Tunnel | Protection::Chain | Protection::Reported => {
            Err(OverrideError::NotEnforced(target.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::moment::Circumstances;
    use crate::policy::pinset::{
        AfterExpiry, Combine, Demand, Expiry, Mode, NameCheck, Pinset, Position, Stance, ValidityCheck,
    };
    use crate::policy::tests_support::{
        accepts, authority, day, exempt, intercepting, pinset, rule, tunnel, with_stance,
    };

    const HOUR: Duration = Duration::from_secs(60 * 60);
    /// For how long the proxy has run on day 0.
    const START: Duration = Duration::from_secs(77);

    fn pin_only() -> Pinset {
        let leaf = accepts(Combine::Any, &[(Position::Leaf, &[1])]);
        let basis = Basis::PinOnly { leaf, name: NameCheck::San, validity: ValidityCheck::Check };
        Pinset { basis, ..pinset("plant") }
    }

    fn given(target: &str, lifetime: Duration) -> Override {
        let (reason, by) = ("CHG-1".to_owned(), "ann".to_owned());
        let until_running = START + lifetime;
        Override { target: authority(target), since: day(0), until: day(0) + lifetime, until_running, reason, by }
    }

    fn rules() -> Policy {
        let ended = Expiry { at: day(0), then: AfterExpiry::FailClosed };
        intercepting(vec![
            rule(pinset("bank"), "bank.example **.bank.example 192.0.2.1"),
            rule(with_stance("crm", Stance::Fixed(Mode::ReportOnly)), "crm.example"),
            rule(with_stance("off", Stance::Fixed(Mode::Off)), "off.example"),
            rule(Pinset { expiry: Some(ended), ..pinset("event") }, "event.example"),
            rule(pin_only(), "plc.example"),
            rule(exempt(), "old.bank.example"),
            rule(tunnel(), "updates.example"),
        ])
    }

    #[test]
    fn what_cannot_be_overridden() {
        let now = Moment::at(day(0));
        let nothing = |target: &str| OverrideError::NotEnforced(authority(target));
        let pin_only = OverrideError::PinOnly { target: authority("plc.example:443"), pinset: "plant".into() };
        let table = [
            (given("bank.example:443", Duration::ZERO), Err(OverrideError::Lifetime)),
            (given("bank.example:443", 4 * HOUR + Duration::from_nanos(1)), Err(OverrideError::Lifetime)),
            (Override { until: day(0) - HOUR, ..given("bank.example:443", HOUR) }, Err(OverrideError::Lifetime)),
            (Override { until_running: START, ..given("bank.example:443", HOUR) }, Err(OverrideError::Lifetime)),
            (
                Override { until_running: START + 5 * HOUR, ..given("bank.example:443", HOUR) },
                Err(OverrideError::Lifetime),
            ),
            (
                Override { reason: " ".into(), ..given("bank.example:443", HOUR) },
                Err(OverrideError::Text { what: "a reason", fault: TextFault::Blank }),
            ),
            (
                Override { reason: "x".repeat(201), ..given("bank.example:443", HOUR) },
                Err(OverrideError::Text { what: "a reason", fault: TextFault::Long(201) }),
            ),
            (
                Override { by: "a\nb".into(), ..given("bank.example:443", HOUR) },
                Err(OverrideError::Text {
                    what: "who gives it",
                    fault: TextFault::Character { found: '\n', place: 2 },
                }),
            ),
            (given("plc.example:443", HOUR), Err(pin_only)),
            (given("crm.example:443", HOUR), Err(nothing("crm.example:443"))),
            (given("off.example:443", HOUR), Err(nothing("off.example:443"))),
            (given("old.bank.example:443", HOUR), Err(nothing("old.bank.example:443"))),
            (given("updates.example:443", HOUR), Err(nothing("updates.example:443"))),
            (given("other.example:443", HOUR), Err(nothing("other.example:443"))),
            (given("bank.example:443", 4 * HOUR), Ok(())),
            (given("a.bank.example:8443", HOUR), Ok(())),
            (given("192.0.2.1:443", HOUR), Ok(())),
            (given("event.example:443", HOUR), Ok(())),
        ];
        for (given, expected) in table {
            let found = Overrides::default().with(given.clone(), &rules(), now, START);
            assert_eq!(found.map(|overrides| overrides.list), expected.map(|()| vec![given]));
        }
    }

    #[test]
    fn texts_that_nobody_would_see_as_they_are() {
        let long = "x".repeat(100_000);
        let table = [
            ("", Some("is blank")),
            ("\t \u{3000}", Some("is blank")),
            (&long, Some("has 100000 octets")),
            ("\u{7f}a", Some("has U+007F as character 1")),
            ("é\u{9b}1m", Some("has U+009B as character 2")),
            ("CHG\u{202e}1", Some("has U+202E as character 4")),
            ("a\u{202a}", Some("has U+202A as character 2")),
            ("\u{2066}a\u{2069}", Some("has U+2066 as character 1")),
            ("é\u{200e}", Some("has U+200E as character 2")),
            ("\u{200f}a", Some("has U+200F as character 1")),
            ("\u{61c}a", Some("has U+061C as character 1")),
            ("a\u{200b}b", Some("has U+200B as character 2")),
            ("a\u{feff}", Some("has U+FEFF as character 2")),
            ("a\u{fff9}", Some("has U+FFF9 as character 2")),
            ("a\u{e0041}", Some("has U+E0041 as character 2")),
            ("CHG-4711: \u{645}\u{635}\u{631}, cafe\u{301} \u{1f6a7}", None),
            (&long[..OVERRIDE_TEXT_MAX], None),
        ];
        for (text, expected) in table {
            let told = check_text("a reason", text).map_err(|error| error.to_string());
            let begin =
                "a reason has to be said, in at most 200 octets without control and format characters; this one ";
            let expected = expected.map_or(Ok(()), |fault| Err(format!("{begin}{fault}")));
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn targets_with_a_port_and_without() {
        assert_eq!(parse_target("bank.example"), Ok(authority("bank.example:443")));
        assert_eq!(parse_target("[2001:db8::1]:8443"), Ok(authority("[2001:db8::1]:8443")));
        let table = [
            ("", "\"\": the host is empty"),
            ("a..b", "\"a..b\": the host has an empty label"),
            ("a\u{202e}b:443", "\"a\\u{202e}b:443\": the "),
        ];
        for (text, begin) in table {
            let error = parse_target(text).unwrap_err().to_string();
            assert!(error.starts_with(begin), "{error}");
        }
        let error = parse_target(&"x".repeat(100_000)).unwrap_err().to_string();
        assert_eq!(error, format!("\"{}\"…: the host is longer than 253 octets", "x".repeat(100)));
    }

    #[test]
    fn it_covers_one_host_and_ends_with_the_first_clock() {
        let overrides =
            Overrides::default().with(given("bank.example:443", HOUR), &rules(), Moment::at(day(0)), START).unwrap();
        let (end, until_running) = (day(0) + HOUR, START + HOUR);
        let nearly_over = until_running.checked_sub(Duration::from_nanos(1)).unwrap();
        let table = [
            ("bank.example:443", Moment::at(day(0)), START, true),
            ("bank.example:443", Moment::at(end - Duration::from_nanos(1)), START, true),
            ("bank.example:443", Moment::at(end), START, false),
            ("bank.example:443", Moment::between(day(0), end), START, false),
            ("bank.example:443", Moment::at(day(0)), nearly_over, true),
            ("bank.example:443", Moment::at(day(0)), until_running, false),
            ("bank.example:443", Moment::at(day(0) - 9_000 * HOUR), until_running, false),
            ("bank.example:8443", Moment::at(day(0)), START, false),
            ("a.bank.example:443", Moment::at(day(0)), START, false),
            ("192.0.2.1:443", Moment::at(day(0)), START, false),
        ];
        for (target, moment, running, expected) in table {
            let Authority { host, port } = authority(target);
            assert_eq!(overrides.cover(&host, port, moment, running), expected, "{target} {moment:?} {running:?}");
        }
        let all = overrides.list().to_vec();
        assert_eq!(overrides.divided(Moment::at(day(0)), START), (overrides.clone(), Vec::new()));
        assert_eq!(overrides.divided(Moment::at(end), START), (Overrides::default(), all.clone()));
        assert_eq!(overrides.divided(Moment::at(day(0)), until_running), (Overrides::default(), all));
    }

    #[test]
    fn one_for_each_host_and_not_too_many() {
        let now = Moment::at(day(0));
        let mut overrides = Overrides::default();
        for number in 0..OVERRIDES_MAX {
            overrides =
                overrides.with(given(&format!("{number}.bank.example:443"), HOUR), &rules(), now, START).unwrap();
        }
        let one_more = given("x.bank.example:443", HOUR);
        assert_eq!(overrides.with(one_more, &rules(), now, START), Err(OverrideError::TooMany));
        let longer = given("7.bank.example:443", 2 * HOUR);
        let overrides = overrides.with(longer.clone(), &rules(), now, START).unwrap();
        assert_eq!((overrides.list().len(), overrides.list().last()), (OVERRIDES_MAX, Some(&longer)));
        let (fewer, removed) = overrides.without(&longer.target).unwrap();
        assert_eq!((fewer.list().len(), removed), (OVERRIDES_MAX - 1, longer.clone()));
        assert_eq!(fewer.without(&longer.target), None);
        // Those that have ended make room.
        let (later, running) = (Moment::at(day(0) + HOUR), START + HOUR);
        let (since, until) = (day(0) + HOUR, day(0) + 2 * HOUR);
        let fresh = Override { since, until, ..given("x.bank.example:443", 2 * HOUR) };
        assert_eq!(overrides.with(fresh.clone(), &rules(), later, running).unwrap().list(), [longer, fresh]);
    }

    #[test]
    fn it_softens_what_is_enforced_and_nothing_else() {
        let client = std::net::Ipv4Addr::LOCALHOST.into();
        let demanded = |target: &str, overridden| {
            let policy = rules();
            let circumstances = Circumstances { overridden, ..Circumstances::new(day(1), client) };
            match policy.select(&authority(target), day(1)).demand(&circumstances) {
                Demand::Chain => "chain",
                Demand::Pins { enforced: true, .. } => "enforced",
                Demand::Pins { enforced: false, .. } => "reported",
                Demand::PinOnly { .. } => "pin-only",
                Demand::Expired => "expired",
            }
        };
        let table = [
            ("bank.example:443", "enforced", "reported"),
            ("event.example:443", "expired", "reported"),
            ("crm.example:443", "reported", "reported"),
            ("off.example:443", "chain", "chain"),
            ("plc.example:443", "pin-only", "pin-only"),
            ("other.example:443", "chain", "chain"),
        ];
        for (target, before, then) in table {
            assert_eq!([false, true].map(|overridden| demanded(target, overridden)), [before, then], "{target}");
        }
    }
}
