//! What a probe saw of a host, as it is told.

use super::certificate::{End, Facts, day};
use super::probe::{Sight, Target, Unseen};
use crate::config::{At, Places};
use crate::policy::pin::Pin;
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::time::SystemTime;

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// An enforced session would be let through.
    Accepted,
    /// It would be refused.
    Refused,
    /// There was no TLS connection.
    Unreachable,
    /// The access rules let nobody go there, so no connection was tried.
    Forbidden,
    /// The time for all hosts was over before it was known.
    NotProbed,
    /// There is no such host, or another rule decides for it.
    Skipped,
}

/// The pin that matched, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matched {
    /// The pin.
    pub pin: String,
    /// Its place in the path; the end entity is 0.
    pub position: usize,
    /// The first path that has it, from 1, in the order of path building.
    pub path: usize,
    /// The pin, to look it up.
    #[serde(skip)]
    named: Pin,
}

/// What a probe saw of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Seen {
    /// The host, with its port where it was connected to.
    pub host: String,
    /// The name of its pinset.
    pub pinset: String,
    /// The place of its pattern among the hosts of that.
    #[serde(skip)]
    index: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where that is not plain.
    pub detail: Option<String>,
    /// The address that answered; of a host that none answered for, the first one.
    pub address: Option<String>,
    /// Of the end entity.
    pub subject: Option<String>,
    /// Of the end entity.
    pub issuer: Option<String>,
    /// The day on which the end entity ends, in UTC.
    pub ends: Option<String>,
    /// Whether it has ended.
    pub ended: Option<bool>,
    /// Whole days until then; 0 within a day of it, and negative beyond.
    pub days_left: Option<i64>,
    /// Paths that verified; absent where no certificates were seen.
    pub paths: Option<usize>,
    /// The pin that matched first.
    pub matched: Option<Matched>,
}

impl Seen {
    /// Of a host that there was no time for.
    pub fn not_probed(target: &Target, why: impl fmt::Display) -> Self {
        Self::without(&target.authority, (target.pinset(), target.index), Outcome::NotProbed, why)
    }

    /// Of a host that was not looked at; with its pinset, and its place there.
    pub(super) fn without(
        host: &impl fmt::Display,
        (pinset, index): (&str, usize),
        outcome: Outcome,
        why: impl fmt::Display,
    ) -> Self {
        Self {
            host: host.to_string(),
            pinset: pinset.to_owned(),
            index,
            outcome,
            detail: Some(why.to_string()),
            address: None,
            subject: None,
            issuer: None,
            ends: None,
            ended: None,
            days_left: None,
            paths: None,
            matched: None,
        }
    }

    /// Of a host that was looked for in vain.
    pub(super) fn in_vain(target: &Target, outcome: Outcome, unseen: &Unseen) -> Self {
        let tried = match unseen.addresses.len() {
            0 | 1 => String::new(),
            count => format!(" ({count} addresses)"),
        };
        let why = format!("{}{tried}", unseen.error);
        let address = unseen.addresses.first().map(ToString::to_string);
        Self { address, ..Self::without(&target.authority, (target.pinset(), target.index), outcome, why) }
    }

    pub(super) fn of(target: &Target, sight: &Sight, leaf: Option<&Facts>, now: SystemTime) -> Self {
        let survey = &sight.survey;
        let matches = survey.paths.iter().enumerate();
        let mut matches = matches.filter_map(|(index, path)| Some((index, path.matched.filter(|_| path.passes())?)));
        let first = matches.next();
        let end = leaf.map(|leaf| leaf.end(now));
        Self {
            host: target.authority.to_string(),
            pinset: target.pinset().to_owned(),
            index: target.index,
            outcome: if survey.decided.is_ok() { Outcome::Accepted } else { Outcome::Refused },
            detail: survey.decided.as_ref().err().map(|rejection| rejection.detail.clone()),
            address: sight.address.map(|address| address.to_string()),
            subject: leaf.map(|leaf| leaf.subject.clone()),
            issuer: leaf.map(|leaf| leaf.issuer.clone()),
            ends: leaf.map(|leaf| day(leaf.not_after)),
            ended: end.map(|end| end.ended),
            days_left: end.map(|end| end.days_left),
            paths: Some(survey.paths.len()),
            matched: first.map(|(index, found)| Matched {
                pin: found.pin.to_string(),
                position: found.position,
                path: index + 1,
                named: found.pin,
            }),
        }
    }

    /// For programs, without the values of environment variables.
    pub fn json(&self, places: &Places) -> Value {
        serde_json::to_value(self.redacted(places)).unwrap_or_default()
    }

    /// For people: one line, without the values of environment variables.
    pub fn line(&self, places: &Places) -> String {
        self.redacted(places).to_string()
    }

    /// Where a variable names the host, the host as it was written, and nothing that would tell which it is.
    fn redacted(&self, places: &Places) -> Self {
        let mut told = self.clone();
        let written = places.written(At::Host { pinset: &self.pinset, index: self.index });
        let is_named = written.is_some();
        if let Some(written) = written {
            told.host = written;
            told.address = None;
        }
        if let Some(matched) = &mut told.matched {
            let written = places.written(At::Pin { pinset: &self.pinset, pin: matched.named });
            matched.pin = written.unwrap_or_else(|| places.redacted(std::mem::take(&mut matched.pin)));
        }
        let plain = [Some(&mut told.host), Some(&mut told.pinset), told.address.as_mut()];
        for text in plain.into_iter().flatten() {
            *text = places.redacted(std::mem::take(text));
        }
        for text in [&mut told.detail, &mut told.subject, &mut told.issuer].into_iter().flatten() {
            let of_anybody = std::mem::take(text);
            *text = if is_named { places.redacted_whole(of_anybody) } else { places.redacted(of_anybody) };
        }
        told
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pinset {}): ", self.host, self.pinset)?;
        if let (Some(subject), Some(issuer), Some(ended), Some(days_left)) =
            (&self.subject, &self.issuer, self.ended, self.days_left)
        {
            let ends = self.ends.as_deref().unwrap_or_default();
            let verb = if ended { "ended" } else { "ends" };
            write!(f, "{subject}, issued by {issuer}, {verb} on {ends}, {}; ", End { ended, days_left })?;
        }
        let detail = self.detail.as_deref().unwrap_or_default();
        match (self.outcome, &self.matched) {
            (Outcome::Accepted, Some(Matched { pin, position, path, .. })) => {
                let paths = self.paths.unwrap_or_default();
                write!(f, "{pin} matches at position {position} of path {path} of {paths}")
            }
            (Outcome::Accepted, None) => write!(f, "accepted without a pin: its trust anchor exempts it"),
            (Outcome::Refused, _) => write!(f, "refused: {detail}"),
            (Outcome::Unreachable, _) => {
                write!(f, "not seen: {detail}")?;
                let resolved = self.address.as_ref().filter(|address| **address != self.host);
                resolved.map_or(Ok(()), |address| write!(f, ", at {address}"))
            }
            (Outcome::Forbidden, _) => write!(f, "forbidden: {detail}"),
            (Outcome::NotProbed, _) => write!(f, "not probed: {detail}"),
            (Outcome::Skipped, _) => write!(f, "skipped: {detail}"),
        }
    }
}
