//! `[defaults]` and `[[pinset]]`: which keys hosts may show, and what is done when they show others.

use super::code::Code;
use super::inherit;
use super::item::{Item, Located, Word};
use super::keys::{Blocklist, KeyRing, read_name};
use super::lint::Places;
use super::model::Refusal;
use super::named::NamedFiles;
use super::pins::{COMBINES, List, ReadPins, read_deny, read_pins};
use super::rollout::{ROLLOUT, read_stance};
use super::rules::read_hosts;
use super::sections::{DURATION, ROOTS};
use super::shape::{HOST, Key, Keys, NAME, PIN_OR_NAME, Shape};
use super::span::Span;
use super::table::Table;
use crate::policy::host::Host;
use crate::policy::pattern::HostPattern;
use crate::policy::pin::Sha256;
use crate::policy::pinset::{
    Accepts, AfterExpiry, AnchorSet, Basis, Denied, Expiry, Mode, NameCheck, Pinset, Plaintext, ValidityCheck,
};
use crate::policy::rules::{NameMismatch, Unpinned};
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

pub(super) const DEFAULTS: Keys = Keys::new(&[
    Key::new("mode", Shape::Word(&MODES), "What a failed pin does.").by_default("\"enforce\""),
    Key::new(
        "trust",
        Shape::Word(&TRUSTS),
        "What makes an upstream trusted: a verified chain and the pins, or the pin.",
    )
    .by_default("\"roots\""),
    Key::new("plaintext", Shape::Word(&PLAINTEXTS), "http:// to a pinned host.").by_default("\"deny\""),
    Key::new("unpinned", Shape::Word(&UNPINNED), "Hosts that no rule names.").by_default("\"intercept\""),
    Key::new("name_mismatch", Shape::Word(&NAME_MISMATCHES), "A ClientHello for another host than the CONNECT.")
        .by_default("\"deny\""),
    Key::new("expiry_warning", Shape::Duration(&DURATION), "How long before an end it is told.").by_default("\"30d\""),
    Key::new("review_after", Shape::Duration(&REVIEW_AFTER), "How old the `reviewed` of a pinset may be.")
        .by_default("\"365d\""),
    Key::new("refusal", Shape::Word(&REFUSALS), "How clients are refused.").by_default("\"status\""),
]);
pub(super) const PINSET: Keys = Keys::new(&[
    Key::new("name", Shape::Text(NAME), "Shown in logs, replies and reports.").required(),
    Key::new(
        "hosts",
        Shape::Filled(&Shape::Text(HOST)),
        "host, host:port, *.domain (one label) or **.domain (itself and every depth).",
    )
    .required(),
    Key::new("pins", LIST_OF_PINS, "One of these keys anywhere in the verified chain."),
    Key::new("leaf_pins", LIST_OF_PINS, "One of these keys in the host's own certificate."),
    Key::new("ca_pins", LIST_OF_PINS, "One of these keys in the chain above the host's own certificate."),
    Key::new("backup", LIST_OF_PINS, "Keys that are not in use yet, as good as the others."),
    Key::new("combine", Shape::Word(&COMBINES), "With several lists: whether all must be met, or any."),
    Key::new("mode", Shape::Word(&MODES), "What a failed pin does; else as in [defaults]."),
    Key::new("trust", Shape::Word(&TRUSTS), "What makes an upstream trusted; else as in [defaults]."),
    Key::new("plaintext", Shape::Word(&PLAINTEXTS), "http:// to these hosts; else as in [defaults]."),
    Key::new(
        "verify_name",
        Shape::WordOr(&NAME_CHECKS, "^as:."),
        "With trust = \"pin-only\": the name in the certificate: that of the host, as:another, or none; else san.",
    ),
    Key::new(
        "verify_validity",
        Shape::Word(&VALIDITY_CHECKS),
        "With trust = \"pin-only\": whether dates count; else check.",
    ),
    Key::new("expiry", Shape::Table(&EXPIRY), "An end, and what happens then."),
    Key::new("rollout", Shape::Table(&ROLLOUT), "From report-only to enforce, client by client."),
    Key::new("inherit", Shape::Flag, "Whether the pins of the wider pinset around these hosts will do too.")
        .by_default("false"),
    Key::new("deny", LIST_OF_PINS, "Keys that no chain of these hosts may contain."),
    Key::new("roots", Shape::WordOrPath(&ROOTS), "Trust anchors of these hosts, in place of those of [upstream]."),
    Key::new("since", Shape::Moment, "Since when it is as it is."),
    Key::new("reviewed", Shape::Moment, "When somebody last looked at its pins."),
])
.with_some_of(&["pins", "leaf_pins", "ca_pins"]);
const EXPIRY: Keys = Keys::new(&[
    Key::new("at", Shape::Moment, "When.").required(),
    Key::new("then", Shape::Word(&AFTER_EXPIRY), "What happens then.").required(),
]);
const LIST_OF_PINS: Shape = Shape::Filled(&Shape::Text(PIN_OR_NAME));
/// From a day to ten years.
const REVIEW_AFTER: RangeInclusive<Duration> =
    Duration::from_secs(24 * 60 * 60)..=Duration::from_secs(3650 * 24 * 60 * 60);

/// Names that logs and replies give to rules that are no pinsets.
const RESERVED_NAMES: [&str; 3] = ["exempt", "tunnel", "unpinned"];

/// What makes an upstream trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Roots,
    PinOnly,
}

const MODES: &[Word<Mode>] =
    &[("enforce", Some(Mode::Enforce)), ("report-only", Some(Mode::ReportOnly)), ("off", Some(Mode::Off))];
const TRUSTS: &[Word<Trust>] = &[("roots", Some(Trust::Roots)), ("pin-only", Some(Trust::PinOnly))];
const PLAINTEXTS: &[Word<Plaintext>] =
    &[("deny", Some(Plaintext::Deny)), ("upgrade", Some(Plaintext::Upgrade)), ("allow", Some(Plaintext::Allow))];
const UNPINNED: &[Word<Unpinned>] =
    &[("intercept", Some(Unpinned::Intercept)), ("tunnel", Some(Unpinned::Tunnel)), ("deny", Some(Unpinned::Deny))];
const NAME_MISMATCHES: &[Word<NameMismatch>] =
    &[("deny", Some(NameMismatch::Deny)), ("allow", Some(NameMismatch::Allow))];
const REFUSALS: &[Word<Refusal>] =
    &[("status", Some(Refusal::Status)), ("auto", Some(Refusal::Auto)), ("page", Some(Refusal::Page))];
/// What the certificate of a pin-only host is compared with, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameWord {
    San,
    Skip,
}

const NAME_CHECKS: &[Word<NameWord>] = &[("san", Some(NameWord::San)), ("skip", Some(NameWord::Skip))];
const VALIDITY_CHECKS: &[Word<ValidityCheck>] =
    &[("check", Some(ValidityCheck::Check)), ("ignore", Some(ValidityCheck::Ignore))];
const AFTER_EXPIRY: &[Word<AfterExpiry>] = &[
    ("fail-closed", Some(AfterExpiry::FailClosed)),
    ("report-only", Some(AfterExpiry::ReportOnly)),
    ("unpinned", Some(AfterExpiry::Unpinned)),
];

/// What holds where a pinset says nothing.
pub(super) struct Defaults {
    mode: Mode,
    trust: Trust,
    plaintext: Plaintext,
    pub(super) unpinned: Unpinned,
    /// Where it says so.
    pub(super) unpinned_span: Option<Span>,
    pub(super) name_mismatch: NameMismatch,
    pub(super) refusal: Refusal,
    /// How long before an end it is told. Default: 30 days.
    pub(super) expiry_warning: Duration,
    /// How old a review of pins may be. Default: 365 days.
    pub(super) review_after: Duration,
}

pub(super) fn read_defaults(root: &Table<'_>) -> Defaults {
    let table = root.table("defaults");
    let item = |key: &str| table.as_ref().and_then(|table| table.item(key));
    let refusal = item("refusal").and_then(|item| item.choice(REFUSALS).map(|word| (word, item)));
    if let Some((Refusal::Auto | Refusal::Page, item)) = &refusal {
        let help = "write \"status\", or leave it for a later version";
        no_effect_yet(item, "every refusal is a status and a reason", help);
    }
    let days = |count: u64| Duration::from_secs(count * 24 * 60 * 60);
    Defaults {
        mode: item("mode").and_then(|item| item.choice(MODES)).unwrap_or(Mode::Enforce),
        trust: item("trust").and_then(|item| item.choice(TRUSTS)).unwrap_or(Trust::Roots),
        plaintext: item("plaintext").and_then(|item| read_plaintext(&item)).unwrap_or(Plaintext::Deny),
        name_mismatch: item("name_mismatch")
            .and_then(|item| item.choice(NAME_MISMATCHES))
            .unwrap_or(NameMismatch::Deny),
        refusal: refusal.map_or(Refusal::Status, |(word, _)| word),
        unpinned_span: item("unpinned").map(|item| item.span()),
        unpinned: item("unpinned").and_then(|item| item.choice(UNPINNED)).unwrap_or(Unpinned::Intercept),
        expiry_warning: item("expiry_warning").and_then(|item| item.duration()).unwrap_or(days(30)),
        review_after: item("review_after").and_then(|item| item.duration()).unwrap_or(days(365)),
    }
}

/// What is done with `http://`, and a word where that is nothing yet, or no protection.
fn read_plaintext(item: &Item<'_>) -> Option<Plaintext> {
    let plaintext = item.choice(PLAINTEXTS)?;
    if plaintext != Plaintext::Deny {
        no_effect_yet(item, "requests for http:// are refused", "write \"deny\", or leave it for a later version");
    }
    if plaintext == Plaintext::Allow {
        let message = format!("{} = \"allow\" lets requests for pinned hosts through without TLS", item.path);
        let help = "write \"deny\", or \"upgrade\" for clients that cannot speak TLS well";
        item.findings.warning(Code::W71, &item.span(), message, help);
    }
    Some(plaintext)
}

fn no_effect_yet(item: &Item<'_>, instead: &str, help: &str) {
    let message = format!("{} has no effect in this version: {instead}", item.path);
    item.findings.info(Code::I18, &item.span(), message, help);
}

/// How far off an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Far,
    Near { days: u64 },
    Over,
}

/// A time in words.
pub(super) fn whole_days(days: u64) -> String {
    match days {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

impl Defaults {
    /// An end is over from its own moment on, as in the policy.
    pub(super) fn end(&self, at: SystemTime, now: SystemTime) -> End {
        match at.duration_since(now) {
            Ok(left) if left > self.expiry_warning => End::Far,
            Ok(left) if !left.is_zero() => End::Near { days: left.as_secs() / (24 * 60 * 60) },
            _ => End::Over,
        }
    }
}

/// What the reading of a pinset looks at besides its table.
pub(super) struct Surroundings<'a> {
    pub(super) ring: &'a KeyRing<'a>,
    pub(super) blocklist: &'a Blocklist,
    pub(super) defaults: &'a Defaults,
    pub(super) named: &'a NamedFiles,
    pub(super) now: SystemTime,
}

/// A pinset as far as it could be read.
pub(super) struct PinsetDraft {
    /// Absent when something is wrong with it, which has been reported.
    pub(super) pinset: Option<Pinset>,
    pub(super) hosts: Vec<Located<HostPattern>>,
    /// Where it says that it inherits.
    pub(super) inherits: Option<Span>,
    /// The one that it inherits from, by its place, when there is one.
    pub(super) parent: Option<usize>,
    /// What it accepts by itself.
    pub(super) own_pins: Option<Accepts>,
    /// Its lists of pins as they were written, for the lints.
    pub(super) lists: Vec<List>,
    /// The keys that it denies by itself.
    pub(super) denied: Vec<Located<Sha256>>,
    /// Whether nothing is wrong with any entry of the lists.
    pub(super) sound_lists: bool,
    /// Where else it says what lints are about.
    pub(super) places: Places,
    /// Its header.
    pub(super) span: Span,
    /// Since when it is as it is.
    pub(super) since: Option<Located<SystemTime>>,
    /// When somebody last looked at its pins.
    pub(super) reviewed: Option<Located<SystemTime>>,
}

pub(super) fn read_pinsets(root: &Table<'_>, around: &Surroundings<'_>) -> Vec<PinsetDraft> {
    let mut names = HashMap::new();
    let tables = root.tables("pinset");
    let mut drafts = Vec::with_capacity(tables.len());
    for table in &tables {
        let name = read_name(table, &mut names).filter(|name| !refuse_reserved(table, name));
        drafts.push(read_pinset(table, name, around));
    }
    inherit::resolve(root.findings, &mut drafts);
    drafts
}

fn read_pinset(table: &Table<'_>, name: Option<&str>, around: &Surroundings<'_>) -> PinsetDraft {
    let hosts = read_hosts(table, Code::E14);
    let trust = table.item("trust").map_or(Some(around.defaults.trust), |item| item.choice(TRUSTS));
    let ReadPins { accepts, lists, sound } = read_pins(table, trust, around);
    let basis = read_basis(table, trust, accepts.clone(), around);
    let expiry = read_expiry(table, name.unwrap_or_default(), basis.as_ref(), around);
    let denied = read_deny(table, &lists, around);
    let plaintext = table.item("plaintext").map_or(Some(around.defaults.plaintext), |item| read_plaintext(&item));
    let pinset = name.zip(basis).zip(plaintext).map(|((name, basis), plaintext)| Pinset {
        deny: Denied::new(name, denied.iter().map(|denied| denied.value).collect()),
        name: name.to_owned(),
        basis,
        plaintext,
        expiry,
    });
    let moment = |key| table.item(key).and_then(|item| item.moment());
    PinsetDraft {
        pinset,
        hosts,
        inherits: table.item("inherit").and_then(|item| item.flag()?.then(|| item.span())),
        own_pins: accepts,
        lists,
        denied,
        sound_lists: sound,
        places: Places::of(table),
        parent: None,
        span: table.span,
        since: moment("since"),
        reviewed: moment("reviewed"),
    }
}

fn refuse_reserved(table: &Table<'_>, name: &str) -> bool {
    let reserved = RESERVED_NAMES.contains(&name);
    if let Some(item) = table.item("name").filter(|_| reserved) {
        item.refuse(&format!("is {name:?}, which logs use for rules without pins"), "choose another name");
    }
    reserved
}

fn read_basis(
    table: &Table<'_>,
    trust: Option<Trust>,
    accepts: Option<Accepts>,
    around: &Surroundings<'_>,
) -> Option<Basis> {
    let mode = table.item("mode").map_or(Some(around.defaults.mode), |item| item.choice(MODES));
    let stance = read_stance(table, mode);
    let name = table.item("verify_name").map(|item| (read_name_check(&item), item));
    let validity = table.item("verify_validity").map(|item| (item.choice(VALIDITY_CHECKS), item));
    let anchors = table.item("roots").map(|item| (around.named.own_anchors(&item), item));
    match trust? {
        Trust::Roots => {
            for item in [name.map(|(_, item)| item), validity.map(|(_, item)| item)].into_iter().flatten() {
                let message = format!("{} needs trust = \"pin-only\"", item.path);
                let help = "remove it: a verified chain always has its name and its dates checked";
                table.findings.error(Code::E69, &item.span(), message, help);
            }
            let anchors = anchors.map_or(Some(AnchorSet::Common), |(set, _)| set);
            Some(Basis::Chain { accepts: accepts?, stance: stance?, anchors: anchors? })
        }
        Trust::PinOnly => {
            if let Some((_, item)) = anchors {
                let message = format!("{} with trust = \"pin-only\": no chain is built", item.path);
                table.findings.error(Code::E69, &item.span(), message, "remove it, or write trust = \"roots\"");
            }
            if mode? != Mode::Enforce {
                refuse_soft_pin_only(table);
                return None;
            }
            stance?;
            Some(Basis::PinOnly {
                leaf: accepts?,
                name: name.map_or(Some(NameCheck::San), |(check, _)| check)?,
                validity: validity.map_or(Some(ValidityCheck::Check), |(check, _)| check)?,
            })
        }
    }
}

fn refuse_soft_pin_only(table: &Table<'_>) {
    let item = table.item("mode").or_else(|| table.item("trust"));
    let span = item.map_or(table.span, |item| item.span());
    let help = "write mode = \"enforce\" in this pinset, or trust = \"roots\"";
    let message = "trust = \"pin-only\" with a mode other than enforce: without the pin nothing is left to check";
    table.findings.error(Code::E69, &span, message, help);
}

fn read_name_check(item: &Item<'_>) -> Option<NameCheck> {
    let text = item.text()?.value;
    if let Some(name) = text.strip_prefix("as:") {
        let host = Host::parse_configured(name);
        if let Err(error) = &host {
            item.refuse(
                &format!("names no host: {error}"),
                "write as: and the name in the certificate, as:plc.example",
            );
        }
        return host.ok().map(NameCheck::As);
    }
    item.choice(NAME_CHECKS).map(|word| match word {
        NameWord::San => NameCheck::San,
        NameWord::Skip => NameCheck::Skip,
    })
}

fn read_expiry(table: &Table<'_>, name: &str, basis: Option<&Basis>, around: &Surroundings<'_>) -> Option<Expiry> {
    let expiry = table.table("expiry")?;
    let at = expiry.required("at", Code::E14, "write at = 2027-06-30T00:00:00Z").and_then(|item| item.moment());
    let help = "write then = \"fail-closed\", \"report-only\" or \"unpinned\"; there is no default";
    let then = expiry.required("then", Code::E51, help);
    let after = then.as_ref().and_then(|item| item.choice(AFTER_EXPIRY));
    if let (Some(then), Some(AfterExpiry::ReportOnly), Some(Basis::PinOnly { .. })) = (then, after, basis) {
        let message = "a pin-only pinset cannot become report-only: without the pin nothing is left to check";
        table.findings.error(Code::E69, &then.span(), message, "write \"fail-closed\" or \"unpinned\"");
    }
    let at = at?;
    let warn = |code, message| {
        table.findings.warning(code, &at.span, message, "renew its pins and move its end, or remove it");
    };
    match around.defaults.end(at.value, around.now) {
        End::Far => {}
        End::Near { days } => warn(Code::W53, format!("the pinset {name:?} ends in {}", whole_days(days))),
        End::Over => warn(Code::W54, format!("the pinset {name:?} has ended")),
    }
    Some(Expiry { at: at.value, then: after? })
}
