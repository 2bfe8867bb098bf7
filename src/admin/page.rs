//! The page at the admin address: one document with its style and its script in it, drawn from what the JSON tells.
//!
//! Hosts, names in certificates and reasons come from others; askama escapes whatever is put into a template. Only the
//! style, the script and the main part, which is drawn already, are taken as they are. The policy of the answer names
//! style and script by their hashes, so that nothing else would run even if it got in.

mod words;

use crate::operate::{Status, StatusOfReports};
use crate::overview::{PinsetNow, Pinsets, Violations};
use askama::Template;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use words::{moment, parsed, to_the_second};

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// The CA is a concern when it ends within this time: clients have to be given the next one before.
const CA_ENDS_SOON: Duration = Duration::from_secs(30 * DAY);

const DAY: u64 = 24 * 60 * 60;

/// Its own style and script, questions to where it comes from, and nothing else.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    HeaderValue::from_str(&policy).ok()
});

/// What is shown, of one moment.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) now: SystemTime,
    pub(super) status: Status,
    pub(super) pinsets: Pinsets,
    pub(super) violations: Violations,
    /// The part of a name that pinsets were looked for by.
    pub(super) part: String,
}

#[derive(Template)]
#[template(path = "page.html", config = "src/admin/page/askama.toml")]
struct Whole<'a> {
    shown: &'a Shown,
    main: String,
    style: &'static str,
    script: &'static str,
}

#[derive(Template)]
#[template(path = "main.html", config = "src/admin/page/askama.toml")]
struct Main<'a> {
    shown: &'a Shown,
}

/// Something that an operator should look at.
struct Concern<'a> {
    what: String,
    why: Option<Why<'a>>,
}

/// Words of others, at a place of the page that keeps its name.
struct Why<'a> {
    id: String,
    text: &'a str,
}

/// The whole page; nothing when it cannot be drawn.
pub(super) fn whole(shown: &Shown) -> Option<Response> {
    let main = Main { shown }.render().ok()?;
    let page = Whole { shown, main, style: STYLE, script: SCRIPT }.render().ok()?;
    // Without its policy it is not sent.
    Some(([(CONTENT_TYPE, HTML), (CONTENT_SECURITY_POLICY, POLICY.clone()?)], page).into_response())
}

/// Its main part.
pub(super) fn main_part(shown: &Shown) -> Option<Response> {
    Some(([(CONTENT_TYPE, HTML)], Main { shown }.render().ok()?).into_response())
}

impl Whole<'_> {
    fn now(&self) -> String {
        to_the_second(self.shown.now)
    }
}

impl<'a> Main<'a> {
    /// What is not as it should be, the gravest first.
    fn concerns(&self) -> Vec<Concern<'a>> {
        let status = &self.shown.status;
        let mut concerns = Vec::new();
        if status.draining {
            let what =
                "It is draining: it takes no new sessions, or soon none, and ends when the open ones have.".to_owned();
            concerns.push(Concern { what, why: None });
        }
        let refused = status.last_reload.as_ref().and_then(|last| Some((last, last.refused.as_deref()?)));
        if let Some((last, why)) = refused {
            let (at, generation) = (moment(&last.at), status.generation);
            let what = format!("The reload of {at} was refused; generation {generation} stays in force:");
            concerns.push(Concern { what, why: Some(Why { id: "why".to_owned(), text: why }) });
        }
        if !status.lost_events.is_empty() {
            concerns.push(Concern { what: format!("Events were lost: {}.", self.lost()), why: None });
        }
        concerns.extend(status.reports.as_ref().into_iter().flat_map(reports_concerns));
        if let Some(end) = parsed(&status.ca.not_after).filter(|end| *end <= self.shown.now + CA_ENDS_SOON) {
            let what = format!("The CA that signs what clients see ends {}.", self.away(end));
            concerns.push(Concern { what, why: None });
        }
        if !status.overrides.is_empty() {
            let count = status.overrides.len();
            let what = format!("Enforcement is overridden for {count} {}.", if count == 1 { "host" } else { "hosts" });
            concerns.push(Concern { what, why: None });
        }
        concerns
    }

    fn verdict(&self) -> String {
        let state = if self.shown.status.draining { "Draining" } else { "Running" };
        match self.concerns().len() {
            0 => format!("{state}, and nothing is wrong with the proxy itself"),
            1 => format!("{state}; one thing to look at"),
            count => format!("{state}; {count} things to look at"),
        }
    }

    fn verdict_class(&self) -> &'static str {
        if self.concerns().is_empty() { "good" } else { "warn" }
    }

    fn verdict_mark(&self) -> &'static str {
        if self.concerns().is_empty() { "✓" } else { "!" }
    }

    fn last_reload(&self) -> String {
        match &self.shown.status.last_reload {
            None => "none since the start".to_owned(),
            Some(last) if last.refused.is_some() => format!("refused {}", moment(&last.at)),
            Some(last) => format!("taken {}", moment(&last.at)),
        }
    }

    fn lost(&self) -> String {
        let lost = self.shown.status.lost_events.iter().map(|(sink, count)| format!("{count} of {sink}"));
        let lost: Vec<_> = lost.collect();
        if lost.is_empty() { "none".to_owned() } else { lost.join(", ") }
    }

    /// Nothing where they are sent to nobody.
    fn reports(&self) -> Option<String> {
        let reports = self.shown.status.reports.as_ref()?;
        let oldest = reports.oldest.map(|oldest| format!(", the oldest since {}", to_the_second(oldest)));
        Some(format!("{} waiting{}; {} lost", reports.waiting(), oldest.unwrap_or_default(), reports.lost()))
    }

    /// That of the pinset, or of a certificate that an upstream shows.
    fn next_end(&self, pinset: &PinsetNow) -> String {
        let own = pinset.expires.zip(pinset.after_expiry).map(|(end, then)| (end, format!("pinset, then {then}")));
        let leaf = pinset.upstream_leaf_ends.map(|end| (end, "certificate of an upstream".to_owned()));
        match own.into_iter().chain(leaf).min() {
            Some((end, what)) => format!("{} ({what})", self.away(end)),
            None => "none known".to_owned(),
        }
    }

    /// A day, and how far it is.
    fn away(&self, end: SystemTime) -> String {
        let day = OffsetDateTime::from(end).date();
        match end.duration_since(self.shown.now).map(|left| left.as_secs() / DAY) {
            Err(_) => format!("{day}, which is past"),
            Ok(0) => format!("{day}, within a day"),
            Ok(1) => format!("{day}, in a day"),
            Ok(days) => format!("{day}, in {days} days"),
        }
    }
}

/// Those that are lost are among the lost events.
fn reports_concerns(reports: &StatusOfReports) -> impl Iterator<Item = Concern<'_>> {
    let spool = reports.spool_trouble.iter().map(|trouble| Concern {
        what: format!("The spool of reports cannot be used since {}:", to_the_second(trouble.since)),
        why: Some(Why { id: "spool".to_owned(), text: &trouble.why }),
    });
    let receivers = (1..).zip(&reports.receivers).filter_map(|(number, to): (usize, _)| {
        let trouble = to.trouble.as_ref()?;
        let since = to_the_second(trouble.since);
        let what = format!("{} has taken no report since {since}, {} waiting for it:", to.receiver, to.waiting);
        Some(Concern { what, why: Some(Why { id: format!("receiver{number}"), text: &trouble.why }) })
    });
    spool.chain(receivers)
}
