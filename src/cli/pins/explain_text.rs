//! An explanation for people.

use super::Rows;
use crate::policy::explain::{
    AcceptsTold, Because, Explanation, Matched, OtherName, PinsetTold, RolloutTold, ScopeTold, Told, TrustTold,
};
use crate::policy::pinset::Position;
use crate::policy::protection::Protection;

/// The whole of it; the first line is the answer.
pub(super) fn text(told: &Explanation) -> String {
    let mut rows = Rows::default();
    rows.line(&answer(told));
    rows.line("");
    let by = told.matched.as_ref().map(|matched| format!(", by {}", pattern(matched))).unwrap_or_default();
    rows.row("rule", &format!("{}{by}", rule(&told.rule)));
    for (index, loser) in told.lost.iter().enumerate() {
        let because = because(loser.because);
        let line = format!("{}, by {}: {because}", rule(&loser.rule), pattern(&loser.matched));
        rows.row(if index == 0 { "lost" } else { "" }, &line);
    }
    if let Some(afterwards) = &told.afterwards {
        rows.row("afterwards", &rule(afterwards));
    }
    if let Some(pinset) = &told.pinset {
        add_pinset(&mut rows, told, pinset);
    }
    add_blocked(&mut rows, told);
    rows.row("http://", &plaintext(told.pinset.as_ref()));
    rows.row("other SNI", other_name(told.other_name));
    add_access(&mut rows, told);
    rows.row("elsewhere", &format!("hosts that no rule names are {}", unpinned(told.unpinned)));
    rows.row("as of", &told.at.to_string());
    rows.0
}

fn answer(told: &Explanation) -> String {
    let host = format!("{}:{}", told.host, told.port);
    let client = told.client.map(|client| format!(" for {client}")).unwrap_or_default();
    let name = match &told.rule {
        Told::Pinset { name } => name,
        Told::Exempt { reason, until } => return format!("{host} is exempt from pins until {until} ({reason})"),
        Told::Tunnel { reason } => return format!("{host} is not pinned: it is relayed blindly ({reason})"),
        Told::Default { unpinned: word } => {
            return format!("{host} is not pinned: no rule names it, so it is {}", unpinned(word));
        }
    };
    let expiry = told.pinset.as_ref().and_then(|pinset| pinset.expiry);
    let ended = if expiry.is_some_and(|expiry| expiry.ended) { ", which has ended" } else { "" };
    let what = match told.protection {
        Protection::Reported => format!("report-only{client}: a mismatch is let through and reported"),
        Protection::Chain | Protection::Tunnel if ended.is_empty() => "but that is off: pins are not judged".into(),
        Protection::Chain | Protection::Tunnel => "so that pins are not judged any more".into(),
        Protection::Partly(_) => format!("{}, report-only for the others", told.protection),
        Protection::Enforced => format!("enforced{client}"),
        Protection::Refused => format!("so that every connection{client} is refused"),
    };
    format!("{host} is pinned by \"{name}\"{ended}, {what}")
}

fn rule(told: &Told) -> String {
    match told {
        Told::Pinset { name } => format!("pinset \"{name}\""),
        Told::Exempt { reason, until } => format!("exemption until {until} ({reason})"),
        Told::Tunnel { reason } => format!("tunnel ({reason})"),
        Told::Default { .. } => "none: the default for hosts that no rule names".to_owned(),
    }
}

fn pattern(matched: &Matched) -> String {
    let scope = match matched.scope {
        ScopeTold::Exact => "the host by name",
        ScopeTold::OneLabel => "one label in front",
        ScopeTold::Subtree => "the name itself and every depth below",
    };
    let port = if matched.port.is_some() { "this port" } else { "every port" };
    format!("\"{}\" ({scope}, {port})", matched.pattern)
}

const fn because(because: Because) -> &'static str {
    match because {
        Because::Over => "it is over",
        Because::WinnerIsExact => "a wildcard comes after the host by name",
        Because::WinnerIsOneLabel => "**. comes after *.",
        Because::WinnerIsLonger => "a shorter suffix comes after a longer one",
        Because::WinnerHasPort => "every port comes after this port",
    }
}

fn add_pinset(rows: &mut Rows, told: &Explanation, pinset: &PinsetTold) {
    add_accepts(rows, "accepts", &pinset.accepts);
    let (what, checked) = match &pinset.trust {
        TrustTold::Roots => ("a chain to one of the common trust anchors, and a pin", (None, "check")),
        TrustTold::OwnRoots { source } => {
            rows.row("trust", &format!("a chain to a trust anchor of {source:?} alone, and a pin"));
            ("", (None, "check"))
        }
        TrustTold::PinOnly { verify_name, verify_validity } => {
            ("the pin alone: no chain is built (pin-only)", (Some(verify_name.as_str()), *verify_validity))
        }
    };
    if !what.is_empty() {
        rows.row("trust", what);
    }
    rows.more(&match checked {
        (None | Some("san"), _) => "the certificate has to be for the host".to_owned(),
        (Some("skip"), _) => "the name in the certificate is not looked at".to_owned(),
        (Some(name), _) => format!("the certificate has to be for {}", name.trim_start_matches("as:")),
    });
    rows.more(if checked.1 == "check" { "its dates have to hold" } else { "its dates are not looked at" });
    match &pinset.rollout {
        Some(rollout) => add_rollout(rows, told, rollout),
        None => rows.row("mode", pinset.mode),
    }
    if let Some(expiry) = pinset.expiry {
        let then = match expiry.then {
            "fail-closed" => "every connection is refused",
            "report-only" => "a mismatch is let through and reported",
            _ => "pins are not judged, the chain is verified",
        };
        let when = if expiry.ended { "ended" } else { "ends" };
        rows.row(when, &format!("{}; from then on {then}", expiry.at));
    }
}

fn add_accepts(rows: &mut Rows, name: &str, accepts: &AcceptsTold) {
    let several = accepts.lists.len() > 1;
    let joint = if accepts.combine == "all" { "and" } else { "or" };
    for (index, list) in accepts.lists.iter().enumerate() {
        let place = match list.position {
            Position::Leaf => "at the end entity",
            Position::Ca => "above the end entity",
            Position::Anywhere => "anywhere in the chain",
        };
        let joint = if several && index > 0 { format!("{joint} ") } else { String::new() };
        rows.row(if index == 0 { name } else { "" }, &format!("{joint}one of these {place}:"));
        list.pins.iter().for_each(|pin| rows.more(&format!("  {pin}")));
    }
    if let Some(inherited) = &accepts.inherited {
        add_accepts(rows, "or inherited", inherited);
    }
}

fn add_rollout(rows: &mut Rows, told: &Explanation, rollout: &RolloutTold) {
    rows.row("mode", &format!("rollout: by its dates, enforced for {} % of the clients", rollout.percent));
    for step in &rollout.steps {
        let reached = if step.reached { "come" } else { "to come" };
        rows.more(&format!("  {}  {} % ({reached})", step.from, step.percent));
    }
    if let (Some(client), Some(from)) = (told.client, rollout.client_from) {
        rows.more(&format!("{client} is enforced from {from} on"));
    }
    if let Some(hold) = rollout.hold {
        rows.more(&format!(
            "a running proxy may be at an earlier step: it takes none while more than {} %",
            hold * 100.0
        ));
        rows.more("of the sessions of the last hour violate the pins; its log tells of that");
    }
}

fn add_blocked(rows: &mut Rows, told: &Explanation) {
    if matches!(told.rule, Told::Tunnel { .. }) {
        return;
    }
    let keys = match told.blocked_keys {
        1 => "the 1 key of [[blocklist]]".to_owned(),
        count => format!("the {count} keys of [[blocklist]]"),
    };
    match told.pinset.as_ref().map(|pinset| &pinset.deny).filter(|deny| !deny.is_empty()) {
        None if told.blocked_keys == 0 => {}
        None => rows.row("refuses", &format!("every chain that holds one of {keys}")),
        Some(deny) => {
            rows.row("refuses", &format!("every chain that holds one of {keys}, or one of these:"));
            deny.iter().for_each(|key| rows.more(&format!("  {key}")));
        }
    }
}

fn plaintext(pinset: Option<&PinsetTold>) -> String {
    const REFUSED: &str = "this version refuses every http:// request with 405";
    pinset.map_or_else(
        || REFUSED.to_owned(),
        |pinset| format!("plaintext = \"{}\", but {REFUSED}, whatever is set", pinset.plaintext),
    )
}

const fn other_name(other: OtherName) -> &'static str {
    match other {
        OtherName::Refused => "a ClientHello that names another host is refused",
        OtherName::JudgedIfUnpinned => {
            "a ClientHello that names another host is judged as that host, if no rule names it; otherwise refused"
        }
        OtherName::BothLookedUp => {
            "a host named in the ClientHello is looked up too; where the two fall under two rules, it is refused"
        }
        OtherName::RelayedUnlessPinned => "a ClientHello that names another host is relayed, unless that one is pinned",
        OtherName::NeverRead => "the CONNECT is refused before a ClientHello",
    }
}

fn add_access(rows: &mut Rows, told: &Explanation) {
    let access = &told.access;
    rows.row(
        "access",
        &match (&access.reason, access.address_pending) {
            (Some(reason), _) => format!("refused: {reason}"),
            (None, true) => "the host may be asked for; its address is judged when it is dialled".to_owned(),
            (None, false) => "the address may be asked for".to_owned(),
        },
    );
}

fn unpinned(word: &str) -> &'static str {
    match word {
        "tunnel" => "relayed blindly (unpinned = \"tunnel\")",
        "deny" => "refused (unpinned = \"deny\")",
        _ => "intercepted and verified (unpinned = \"intercept\")",
    }
}
