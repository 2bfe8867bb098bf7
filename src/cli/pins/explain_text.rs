//! An explanation for people.

use super::{Rows, to_the_second};
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
    rows.row("rule", &rule(&told.rule));
    if let Some(matched) = &told.matched {
        rows.more(&format!("by \"{}\": {}", matched.pattern, reach(matched)));
    }
    for (index, loser) in told.lost.iter().enumerate() {
        let because = because(loser.because);
        let line = format!("{} by \"{}\": {because}", rule(&loser.rule), loser.matched.pattern);
        rows.row(if index == 0 { "lost" } else { "" }, &line);
    }
    if let Some(afterwards) = &told.afterwards {
        rows.row("afterwards", &rule(afterwards));
        if let Told::Pinset { .. } = afterwards {
            rows.more("until then nothing of it holds: not its pins, not its deny, not its roots");
        }
    }
    match &told.pinset {
        Some(pinset) => add_pinset(&mut rows, told, pinset),
        None if told.protection == Protection::Chain => add_trust(&mut rows, &TrustTold::Roots),
        None => {}
    }
    add_blocked(&mut rows, told);
    rows.row("http://", &plaintext(told.pinset.as_ref()));
    rows.row("other SNI", other_name(told.other_name));
    add_access(&mut rows, told);
    rows.row("elsewhere", &format!("hosts that no rule names are {}", unpinned(told.unpinned)));
    rows.row("as of", &to_the_second(told.at).to_string());
    rows.into_text()
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
    let is_off = told.pinset.as_ref().is_some_and(|pinset| pinset.mode == "off");
    let what = match told.protection {
        Protection::Reported => format!("report-only{client}: a mismatch is let through and reported"),
        Protection::Chain | Protection::Tunnel if is_off => "but that is off: pins are not judged".into(),
        Protection::Chain | Protection::Tunnel => "so that pins are not judged any more".into(),
        Protection::Partly(share) if !ended.is_empty() => {
            format!("so that {} % of the clients are always refused, report-only for the others", share.percent())
        }
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

fn reach(matched: &Matched) -> String {
    let scope = match matched.scope {
        ScopeTold::Exact => "this host alone",
        ScopeTold::OneLabel => "one label in front of the name",
        ScopeTold::Subtree => "the name itself and every depth below it",
    };
    let port = if matched.port.is_some() { "this port alone" } else { "every port" };
    format!("{scope}, {port}")
}

const fn because(because: Because) -> &'static str {
    match because {
        Because::Over => "it is over",
        Because::WinnerIsExact => "a wildcard comes after the host itself",
        Because::WinnerIsOneLabel => "**. comes after *.",
        Because::WinnerIsLonger => "a shorter suffix comes after a longer one",
        Because::WinnerHasPort => "every port comes after this port",
    }
}

fn add_pinset(rows: &mut Rows, told: &Explanation, pinset: &PinsetTold) {
    let judged = told.protection > Protection::Chain;
    add_accepts(rows, if judged { "accepts" } else { "not judged" }, &pinset.accepts, false);
    add_trust(rows, &pinset.trust);
    for file in &told.exempting {
        rows.more(&format!("a chain to an anchor of {file:?} passes without a pin (exempts_pins)"));
    }
    match &pinset.rollout {
        Some(rollout) => add_rollout(rows, told, rollout),
        None => rows.row("mode", pinset.mode),
    }
    if let Some(expiry) = pinset.expiry {
        let then = after_end(pinset.mode, expiry.then);
        let when = if expiry.ended { "ended" } else { "ends" };
        rows.row(when, &format!("{}; from then on {then}", expiry.at));
    }
}

/// What a pinset does from its end on. Only what is enforced can be closed or softened by it.
fn after_end(mode: &str, then: &str) -> &'static str {
    match (mode, then) {
        ("off", _) => "pins are not judged, as before it",
        (_, "unpinned") => "pins are not judged, the chain is verified",
        ("report-only", "fail-closed") => {
            "a mismatch is let through and reported, as before it: \"fail-closed\" refuses only where pins are enforced"
        }
        ("rollout", "fail-closed") => "every connection of a client that it is enforced for is refused",
        (_, "fail-closed") => "every connection is refused",
        _ => "a mismatch is let through and reported",
    }
}

fn add_trust(rows: &mut Rows, trust: &TrustTold) {
    const NAMED: &str = "the certificate has to be for the host";
    const DATED: &str = "its dates have to hold";
    let (what, name, dates) = match trust {
        TrustTold::Roots => ("a chain to one of the common trust anchors".to_owned(), NAMED.to_owned(), DATED),
        TrustTold::OwnRoots { source } => {
            (format!("a chain to a trust anchor of {source:?}, and to no other"), NAMED.to_owned(), DATED)
        }
        TrustTold::PinOnly { verify_name, verify_validity } => {
            let name = match verify_name.as_str() {
                "san" => NAMED.to_owned(),
                "skip" => "the name in the certificate is not looked at".to_owned(),
                other => format!("the certificate has to be for {}", other.trim_start_matches("as:")),
            };
            let dates = if *verify_validity == "check" { DATED } else { "its dates are not looked at" };
            ("the pin alone: no chain is built (pin-only)".to_owned(), name, dates)
        }
    };
    rows.row("trust", &what);
    rows.more(&name);
    rows.more(dates);
}

fn add_accepts(rows: &mut Rows, name: &str, accepts: &AcceptsTold, inherited: bool) {
    let joint = if accepts.combine == "all" { "and " } else { "or " };
    for (index, list) in accepts.lists.iter().enumerate() {
        let place = match list.position {
            Position::Leaf => "at the end entity",
            Position::Ca => "above the end entity",
            Position::Anywhere => "anywhere in the chain",
        };
        let joint = match (index, inherited) {
            (0, false) => "",
            (0, true) => "or ",
            _ => joint,
        };
        rows.row(if index == 0 { name } else { "" }, &format!("{joint}one of these {place}:"));
        for pin in &list.pins {
            rows.more(&format!("  {pin}"));
        }
    }
    if let Some(inherited) = &accepts.inherited {
        add_accepts(rows, "inherited", inherited, true);
    }
}

fn add_rollout(rows: &mut Rows, told: &Explanation, rollout: &RolloutTold) {
    rows.row("mode", &format!("rollout: by its dates, enforced for {} % of the clients", rollout.percent));
    for step in &rollout.steps {
        let reached = if step.reached { "reached" } else { "to come" };
        rows.more(&format!("  {}  {} % ({reached})", step.from, step.percent));
    }
    if let (Some(client), Some(from)) = (told.client, rollout.client_from) {
        rows.more(&format!("{client} is enforced from {from} on"));
    }
    if let Some(hold) = rollout.hold {
        // A rate has six digits behind the point.
        let percent = (hold * 1e6).round() / 1e4;
        rows.more(&format!("a running proxy may be at an earlier step: it takes none while more than {percent} %"));
        rows.more("of the sessions of the last hour violate the pins; its log tells of that");
    }
}

fn add_blocked(rows: &mut Rows, told: &Explanation) {
    if told.pinset.is_none() && told.protection != Protection::Chain {
        return;
    }
    let blocked = match told.blocked_keys {
        0 => None,
        1 => Some("the blocked key of [[blocklist]]".to_owned()),
        count => Some(format!("one of the {count} blocked keys of [[blocklist]]")),
    };
    let deny = told.pinset.as_ref().map_or(&[][..], |pinset| &pinset.deny);
    let denied = match deny {
        [] => None,
        [_] => Some("with this one:"),
        _ => Some("with one of these:"),
    };
    // One that has ended may have become a host with chains.
    let what = match told.pinset.as_ref().map(|pinset| &pinset.trust) {
        Some(TrustTold::PinOnly { .. }) if told.protection == Protection::Enforced => "whatever is served",
        _ => "every chain",
    };
    let line = match (blocked, denied) {
        (None, None) => return,
        (Some(blocked), None) => format!("{what} with {blocked}"),
        (None, Some(denied)) => format!("{what} {denied}"),
        (Some(blocked), Some(denied)) => format!("{what} with {blocked}, or {denied}"),
    };
    rows.row("refuses", &line);
    for key in deny {
        rows.more(&format!("  {key}"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::access::Access;
    use crate::policy::explain::Grounds;
    use crate::policy::pinset::{AfterExpiry, Basis, Combine, Expiry, Mode, NameCheck, Pinset, Stance, ValidityCheck};
    use crate::policy::rules::{Policy, Unpinned};
    use crate::policy::tests_support::{
        accepts, at, authority, day, denied, exempt, pinset, policy, rollout, rule, with_stance,
    };

    fn told(policy: &Policy, host: &str, on: u64, client: Option<&str>) -> String {
        let client = client.map(|client| client.parse().unwrap());
        let access = &Access::local();
        let grounds =
            Grounds { policy, defaults: Unpinned::Intercept.into(), access, exempting: &[], at: at(on), client };
        text(&grounds.explain(&authority(host)))
    }

    #[test]
    fn anchors_that_exempt_from_pins() {
        let policy = of(pinset("corp"));
        let (access, files) = (&Access::local(), ["corporate.pem".to_owned()]);
        let defaults = Unpinned::Intercept.into();
        let grounds = Grounds { policy: &policy, defaults, access, exempting: &files, at: at(0), client: None };
        let text = text(&grounds.explain(&authority("h.example:443")));
        let line = "              a chain to an anchor of \"corporate.pem\" passes without a pin (exempts_pins)\n";
        assert!(text.contains(line), "{text}");
    }

    fn of(pinset: Pinset) -> Policy {
        policy(vec![rule(pinset, "h.example")], Unpinned::Intercept, &[])
    }

    #[test]
    fn answers() {
        let ending = |then| of(Pinset { expiry: Some(Expiry { at: day(5), then }), ..pinset("p") });
        let stepped = || with_stance("partner", rollout(&[(2, 5.0), (4, 73.76)], 10, None));
        let steps = || of(stepped());
        let client = Some("192.0.2.1");
        let table = [
            (ending(AfterExpiry::FailClosed), 4, None, "pinned by \"p\", enforced"),
            (ending(AfterExpiry::FailClosed), 4, client, "pinned by \"p\", enforced for 192.0.2.1"),
            (
                ending(AfterExpiry::FailClosed),
                5,
                None,
                "pinned by \"p\", which has ended, so that every connection is refused",
            ),
            (
                ending(AfterExpiry::ReportOnly),
                5,
                None,
                "pinned by \"p\", which has ended, report-only: a mismatch is let through and reported",
            ),
            (
                ending(AfterExpiry::Unpinned),
                5,
                None,
                "pinned by \"p\", which has ended, so that pins are not judged any more",
            ),
            (steps(), 1, None, "pinned by \"partner\", report-only: a mismatch is let through and reported"),
            (steps(), 2, None, "pinned by \"partner\", enforced for 5 % of the clients, report-only for the others"),
            (
                steps(),
                2,
                client,
                "pinned by \"partner\", report-only for 192.0.2.1: a mismatch is let through and reported",
            ),
            (
                of(Pinset { expiry: Some(Expiry { at: day(3), then: AfterExpiry::FailClosed }), ..stepped() }),
                4,
                None,
                "pinned by \"partner\", which has ended, so that 73.76 % of the clients are always refused, \
                 report-only for the others",
            ),
            (steps(), 4, client, "pinned by \"partner\", enforced for 192.0.2.1"),
        ];
        for (policy, on, client, expected) in table {
            let text = told(&policy, "h.example:443", on, client);
            assert_eq!(text.lines().next(), Some(format!("h.example:443 is {expected}").as_str()));
        }
    }

    #[test]
    fn ends_by_what_the_pinset_does_before_them() {
        const OPEN: &str = "a mismatch is let through and reported";
        const SAME: &str = "a mismatch is let through and reported, as before it: \"fail-closed\" refuses only where \
                            pins are enforced";
        let fixed = |mode| with_stance("p", Stance::Fixed(mode));
        let stepped = || with_stance("p", rollout(&[(2, 5.0)], 10, None));
        let off = "pins are not judged, as before it";
        let table = [
            (pinset("p"), AfterExpiry::FailClosed, "every connection is refused"),
            (pinset("p"), AfterExpiry::ReportOnly, OPEN),
            (pinset("p"), AfterExpiry::Unpinned, "pins are not judged, the chain is verified"),
            (stepped(), AfterExpiry::FailClosed, "every connection of a client that it is enforced for is refused"),
            (stepped(), AfterExpiry::ReportOnly, OPEN),
            (fixed(Mode::ReportOnly), AfterExpiry::FailClosed, SAME),
            (fixed(Mode::ReportOnly), AfterExpiry::ReportOnly, OPEN),
            (fixed(Mode::ReportOnly), AfterExpiry::Unpinned, "pins are not judged, the chain is verified"),
            (fixed(Mode::Off), AfterExpiry::FailClosed, off),
            (fixed(Mode::Off), AfterExpiry::ReportOnly, off),
            (fixed(Mode::Off), AfterExpiry::Unpinned, off),
        ];
        for (pinset, then, expected) in table {
            let policy = of(Pinset { expiry: Some(Expiry { at: day(5), then }), ..pinset });
            for (on, when) in [(4, "  ends        "), (5, "  ended       ")] {
                let text = told(&policy, "h.example:443", on, None);
                let line = format!("{when}2027-01-06T00:00:00Z; from then on {expected}\n");
                assert!(text.contains(&line), "{text}{line}");
            }
        }
        let ended = of(Pinset { expiry: Some(Expiry { at: day(5), then: AfterExpiry::Unpinned }), ..fixed(Mode::Off) });
        let text = told(&ended, "h.example:443", 5, None);
        let answer = "h.example:443 is pinned by \"p\", which has ended, but that is off: pins are not judged";
        assert_eq!(text.lines().next(), Some(answer));
    }

    #[test]
    fn a_rollout_with_everything() {
        use Position::{Anywhere, Ca, Leaf};
        let mut partner = with_stance("partner", rollout(&[(2, 5.0)], 10, Some(0.001)));
        if let Basis::Chain { accepts: own, anchors, .. } = &mut partner.basis {
            *own = accepts(Combine::All, &[(Leaf, &[1]), (Ca, &[2])])
                .inheriting(accepts(Combine::Any, &[(Anywhere, &[3])]));
            *anchors = crate::policy::pinset::AnchorSet::Own("private.pem".into());
        }
        partner.deny = denied("partner", &[4]);
        partner.expiry = Some(Expiry { at: day(40), then: AfterExpiry::Unpinned });
        let rules =
            vec![rule(partner, "*.example:443"), rule(exempt(), "h.example"), rule(pinset("top"), "**.example")];
        let policy = policy(rules, Unpinned::Intercept, &[8, 9]);
        let expected = "\
h.example:443 is pinned by \"partner\", report-only for 192.0.2.1: a mismatch is let through and reported

  rule        pinset \"partner\"
              by \"*.example:443\": one label in front of the name, this port alone
  lost        exemption until 2027-01-06T00:00:00Z (CHG-1) by \"h.example\": it is over
              pinset \"top\" by \"**.example\": **. comes after *.
  accepts     one of these at the end entity:
                sha256/AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=
              and one of these above the end entity:
                sha256/AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=
  inherited   or one of these anywhere in the chain:
                sha256/AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=
  trust       a chain to a trust anchor of \"private.pem\", and to no other
              the certificate has to be for the host
              its dates have to hold
  mode        rollout: by its dates, enforced for 5 % of the clients
                2027-01-03T00:00:00Z  5 % (reached)
                2027-01-11T00:00:00Z  100 % (to come)
              192.0.2.1 is enforced from 2027-01-11T00:00:00Z on
              a running proxy may be at an earlier step: it takes none while more than 0.1 %
              of the sessions of the last hour violate the pins; its log tells of that
  ends        2027-02-10T00:00:00Z; from then on pins are not judged, the chain is verified
  refuses     every chain with one of the 2 blocked keys of [[blocklist]], or with this one:
                sha256/BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=
  http://     plaintext = \"deny\", but this version refuses every http:// request with 405, whatever is set
  other SNI   a ClientHello that names another host is refused
  access      refused: clients from 192.0.2.1 may not use this proxy ([access] clients)
  elsewhere   hosts that no rule names are intercepted and verified (unpinned = \"intercept\")
  as of       2027-01-08T00:00:00Z
";
        assert_eq!(told(&policy, "h.example:443", 7, Some("192.0.2.1")), expected);
    }

    #[test]
    fn refused_keys() {
        const REFUSES: &str = "  refuses     every chain with ";
        let told = |deny: &[u8], blocked: &[u8]| {
            let pinset = Pinset { deny: denied("p", deny), ..pinset("p") };
            let policy = policy(vec![rule(pinset, "h.example")], Unpinned::Intercept, blocked);
            let text = told(&policy, "h.example:443", 0, None);
            text.lines().find_map(|line| line.strip_prefix(REFUSES)).map(str::to_owned)
        };
        let table: &[(&[u8], &[u8], Option<&str>)] = &[
            (&[], &[], None),
            (&[], &[8], Some("the blocked key of [[blocklist]]")),
            (&[], &[8, 9], Some("one of the 2 blocked keys of [[blocklist]]")),
            (&[4], &[], Some("this one:")),
            (&[4, 5], &[], Some("one of these:")),
            (&[4, 5], &[8], Some("the blocked key of [[blocklist]], or with one of these:")),
        ];
        for (deny, blocked, expected) in table {
            assert_eq!(told(deny, blocked).as_deref(), *expected, "{deny:?} {blocked:?}");
        }
    }

    /// The moment is judged as it was asked for, and told in whole seconds.
    #[test]
    fn moments_in_whole_seconds() {
        let policy = of(pinset("p"));
        let access = &Access::local();
        for (text, expected) in [
            ("2027-01-08T00:00:00.999999999Z", "2027-01-08T00:00:00Z"),
            ("1970-01-01T00:00:00.5Z", "1970-01-01T00:00:00Z"),
            ("1969-12-31T23:59:58.25Z", "1969-12-31T23:59:58Z"),
            ("1969-12-31T23:59:58Z", "1969-12-31T23:59:58Z"),
        ] {
            let at = crate::policy::timestamp::Timestamp::parse(text).unwrap();
            let grounds = Grounds {
                policy: &policy,
                defaults: Unpinned::Intercept.into(),
                access,
                exempting: &[],
                at,
                client: None,
            };
            let told = grounds.explain(&authority("h.example:443"));
            assert_eq!(told.at.to_string(), text);
            assert!(super::text(&told).ends_with(&format!("\n  as of       {expected}\n")), "{text}");
        }
    }

    /// Of a pin-only host every certificate that is served is looked at; of one that has ended, chains.
    #[test]
    fn refused_keys_of_a_host_without_chains() {
        let leaf = accepts(Combine::All, &[(Position::Leaf, &[1])]);
        let basis = Basis::PinOnly { leaf, name: NameCheck::San, validity: ValidityCheck::Check };
        let expiry = Some(Expiry { at: day(5), then: AfterExpiry::Unpinned });
        let policy = policy(
            vec![rule(Pinset { basis, expiry, deny: denied("p", &[4]), ..pinset("p") }, "h.example")],
            Unpinned::Intercept,
            &[8],
        );
        for (on, what) in [(0, "whatever is served"), (6, "every chain")] {
            let text = told(&policy, "h.example:443", on, None);
            let expected = format!("  refuses     {what} with the blocked key of [[blocklist]], or with this one:\n");
            assert!(text.contains(&expected), "{text}");
        }
    }

    #[test]
    fn pin_only_tells_what_is_not_checked() {
        let leaf = || accepts(Combine::All, &[(Position::Leaf, &[1])]);
        let basis = |name, validity| Basis::PinOnly { leaf: leaf(), name, validity };
        let table = [
            (basis(NameCheck::San, ValidityCheck::Check), ["has to be for the host\n", "its dates have to hold\n"]),
            (basis(NameCheck::Skip, ValidityCheck::Check), ["is not looked at\n", "its dates have to hold\n"]),
            (
                basis(NameCheck::As(authority("plc.internal:1").host), ValidityCheck::Ignore),
                ["has to be for plc.internal\n", "its dates are not looked at\n"],
            ),
        ];
        for (basis, parts) in table {
            let text = told(&of(Pinset { basis, ..pinset("p") }), "h.example:443", 0, None);
            assert!(text.contains("the pin alone") && parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }
}
