//! What a running proxy tells about itself. The names of the fields are part of the interface.

use super::Operator;
use super::reload::{Cause, Last, Reloaded};
use super::reports::StatusOfReports;
use crate::authority::{Known, Other, Standing};
use crate::policy::overrides::{Override, Overrides};
use crate::report::date_time;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// A running proxy at a moment. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Of the program.
    pub version: &'static str,
    /// Of the process.
    pub pid: u32,
    /// When it started.
    pub started: String,
    /// Whether it lets open sessions end and takes no new ones.
    pub draining: bool,
    /// Connections and tunnels open now.
    pub open_sessions: usize,
    /// The generation of rules in force.
    pub generation: u64,
    /// When it came into force.
    pub generation_since: String,
    /// How many rules it has.
    pub rules: usize,
    /// The last reload, if there was one.
    pub last_reload: Option<LastReload>,
    /// Enforcement that is overridden now.
    pub overrides: Vec<StatusOfOverride>,
    /// The CA that signs what clients see.
    pub ca: StatusOfCa,
    /// Events that were lost since the start, by where they should have gone. Empty when there are none.
    pub lost_events: BTreeMap<String, u64>,
    /// Reports on their way to others; nothing where they are sent to nobody.
    pub reports: Option<StatusOfReports>,
}

/// How the last reload ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LastReload {
    /// When.
    pub at: String,
    /// Who wanted it.
    pub cause: Cause,
    /// What came of it.
    pub taken: Option<Reloaded>,
    /// Why nothing did.
    pub refused: Option<String>,
}

/// An override.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusOfOverride {
    /// The host and port.
    pub target: String,
    /// When it was given.
    pub since: String,
    /// When it ends, by the clock as it was when it was given. Where somebody has moved that since, it ends when the time it
    /// was given for is over, if that is earlier.
    pub until: String,
    /// Why.
    pub reason: String,
    /// Who gave it.
    pub by: String,
    /// Why it changes nothing under the rules in force; null where it does.
    pub idle: Option<String>,
}

/// A CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusOfCa {
    /// Its subject.
    pub subject: String,
    /// SHA-256 of its certificate.
    pub fingerprint: String,
    /// When it ends.
    pub not_after: String,
    /// The rotation, while one runs.
    pub rotation: Option<StatusOfRotation>,
}

/// The CA of a rotation that does not sign now: the next one until its date, the one that was from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusOfRotation {
    /// From when on the next CA signs.
    pub signs_from: String,
    /// Whether it does.
    pub has_taken_over: bool,
    /// The subject of the other CA.
    pub other_subject: String,
    /// SHA-256 of its certificate.
    pub other_fingerprint: String,
    /// When it ends.
    pub other_not_after: String,
}

impl Operator {
    /// What there is to tell now.
    pub fn status(&self) -> Status {
        let (proxy, generation) = (&self.proxy, self.proxy.generation());
        let overrides = proxy.overrides();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            started: date_time(self.started),
            draining: proxy.is_draining(),
            open_sessions: proxy.open_sessions(),
            generation: generation.policy.generation(),
            generation_since: date_time(self.generation_since()),
            rules: generation.policy.rules().len(),
            last_reload: self.reloads.last().map(LastReload::from),
            overrides: overrides.list().iter().map(|given| self.told(given)).collect(),
            ca: proxy.authority().standing(proxy.moment()).into(),
            lost_events: proxy.lost_events(),
            reports: self.reports(),
        }
    }

    /// An override, and whether it changes anything.
    pub fn told(&self, given: &Override) -> StatusOfOverride {
        let Override { target, since, until, reason, by, .. } = given;
        let idle = Overrides::idle(given, &self.proxy.generation().policy, self.proxy.moment());
        StatusOfOverride {
            target: target.to_string(),
            since: date_time(*since),
            until: date_time(*until),
            reason: reason.clone(),
            by: by.clone(),
            idle: idle.map(|why| why.to_string()),
        }
    }

    /// When the generation in force came into force.
    pub fn generation_since(&self) -> SystemTime {
        self.reloads.taken_at().unwrap_or(self.started)
    }
}

impl From<Standing> for StatusOfCa {
    fn from(Standing { signing, rotation }: Standing) -> Self {
        let Known { subject, fingerprint, not_after } = signing;
        let rotation = rotation.map(|Other { ca, from, has_taken_over }| StatusOfRotation {
            signs_from: date_time(from),
            has_taken_over,
            other_subject: ca.subject,
            other_fingerprint: ca.fingerprint,
            other_not_after: date_time(ca.not_after),
        });
        Self { subject, fingerprint, not_after: date_time(not_after), rotation }
    }
}

impl From<Last> for LastReload {
    fn from(Last { at, cause, outcome }: Last) -> Self {
        let (taken, refused) = outcome.map_or_else(|refused| (None, Some(refused)), |taken| (Some(taken), None));
        Self { at: date_time(at), cause, taken, refused }
    }
}
