//! Rollouts, inherited pins, denied keys, anchors of a pinset, names of pin-only hosts, plaintext.

use super::*;
use crate::policy::pin::Pin;
use crate::policy::pinset::{AnchorSet, Plaintext, Stance};
use crate::policy::rules::NameMismatch;

/// A report-only pinset with a rollout of these lines.
fn rollout(lines: &str) -> String {
    pinset(&format!("pins = [\"{X1}\", \"{X2}\"]\nmode = \"report-only\"\n[pinset.rollout]\n{lines}"))
}

/// The pinset of this name.
fn named<'a>(config: &'a Config, name: &str) -> &'a crate::policy::pinset::Pinset {
    let mut pinsets = config.rules.rules().iter().filter_map(|rule| rule.pinset());
    pinsets.find(|pinset| pinset.name == name).expect("the pinset")
}

#[test]
fn refused_rollouts() {
    let end = "enforce_from = 2027-02-08T00:00:00Z";
    let step = |from: &str, percent: &str| format!("{{ from = 2027-{from}T00:00:00Z, percent = {percent} }}");
    let ramp = |steps: &[String]| rollout(&format!("ramp = [{}]\n{end}", steps.join(", ")));
    let enforced = |mode: &str| {
        let text = format!("pins = [\"{X1}\", \"{X2}\"]\n{mode}[pinset.rollout]\n{end}");
        pinset(&text)
    };
    refuse_each(&[
        (&rollout(""), &[(Code::E14, 6, 1, "pinset.rollout.enforce_from is missing")]),
        (&rollout("enforce_from = 2027-02-08T00:00:00"), &[(Code::E50, 7, 16, "no offset from UTC")]),
        (&rollout(&format!("{end}\nramps = []")), &[(Code::E01, 8, 1, "did you mean `ramp`?")]),
        (&rollout(&format!("{end}\nramp = 1")), &[(Code::E15, 8, 8, "a list, not a number")]),
        (&rollout(&format!("{end}\nramp = [5]")), &[(Code::E15, 8, 9, "a table, not a number")]),
        (&ramp(&[step("01-11", "101")]), &[(Code::E56, 7, 50, "a number from 0 to 100")]),
        (&ramp(&[step("01-11", "-1")]), &[(Code::E16, 7, 50, "out of bounds")]),
        (&ramp(&[step("01-11", "nan")]), &[(Code::E16, 7, 50, "out of bounds")]),
        (&ramp(&[step("01-11", "\"5\"")]), &[(Code::E15, 7, 50, "a number, not a text")]),
        (&ramp(&[step("01-11", "5"), step("01-11", "6")]), &[(Code::E56, 7, 55, "put the steps in the order of time")]),
        (&ramp(&[step("01-11", "5"), step("01-12", "5")]), &[(Code::E56, 7, 55, "let percent rise")]),
        (&ramp(&[step("02-08", "5")]), &[(Code::E56, 7, 9, "move enforce_from behind the last step")]),
        (&rollout(&format!("{end}\nhold_if_violations_over = 2")), &[(Code::E16, 8, 27, "no fraction from 0 to 1")]),
        (&enforced(""), &[(Code::E56, 5, 1, "write mode = \"report-only\"")]),
        (&enforced("mode = \"enforce\"\n"), &[(Code::E56, 5, 8, "is not report-only")]),
        (&enforced("mode = \"off\"\n"), &[(Code::E56, 5, 8, "is not report-only")]),
        (
            &pinset(&format!(
                "trust = \"pin-only\"\npins = [\"{K1}\", \"{K2}\"]\nmode = \"report-only\"\n[pinset.rollout]\n{end}"
            )),
            &[(Code::E69, 6, 8, "a mode other than enforce")],
        ),
    ]);
}

#[test]
fn a_rollout_is_read() {
    let text = rollout(
        "ramp = [{ from = 2027-01-11T00:00:00Z, percent = 5 }, { from = 2027-01-25, percent = 50.5 }]\n\
         enforce_from = 2027-02-08T00:00:00Z\nhold_if_violations_over = 0.001",
    );
    let config = config(&text);
    let Basis::Chain { stance: Stance::Rollout(rollout), .. } = &named(&config, "p").basis else { panic!() };
    let day = Duration::from_secs(24 * 3600);
    let steps: Vec<_> = rollout.steps().iter().map(|step| (step.from, step.share.percent())).collect();
    assert_eq!(steps, [(now() + 10 * day, 5.0), (now() + 24 * day, 50.5), (now() + 38 * day, 100.0)]);
    assert_eq!(rollout.hold().map(crate::policy::rollout::Rate::fraction), Some(0.001));
    assert_eq!(ruled(&config, "a.example:443", now() + 37 * day), "p reported");
    assert_eq!(ruled(&config, "a.example:443", now() + 38 * day), "p enforced");
    let only_an_end = super::config(&pinset(&format!(
        "pins = [\"{X1}\", \"{X2}\"]\nmode = \"report-only\"\nrollout = {{ enforce_from = 2027-02-08 }}"
    )));
    assert_eq!(named(&only_an_end, "p").rollout().map(|rollout| rollout.steps().len()), Some(1));
}

/// Pinsets by name, hosts and further lines.
fn pinsets(sets: &[(&str, &str, &str)]) -> String {
    let texts = sets.iter().map(|(name, hosts, lines)| {
        let hosts = hosts.split(' ').map(|host| format!("\"{host}\"")).collect::<Vec<_>>().join(", ");
        format!("[[pinset]]\nname = \"{name}\"\nhosts = [{hosts}]\n{lines}\n")
    });
    texts.collect()
}

#[test]
fn refused_inheritance() {
    let own = format!("pins = [\"{K1}\", \"{K2}\"]");
    let heir = format!("{own}\ninherit = true");
    let other = format!("pins = [\"{K3}\", \"{K2}\"]");
    let pin_only = format!("{other}\ntrust = \"pin-only\"");
    let table = [
        (vec![("p", "a.example", &heir)], "no pinset holds a.example but this one"),
        (vec![("p", "a.example *.a.example", &heir)], "no pinset holds a.example but this one"),
        (vec![("p", "a.example", &heir), ("q", "*.a.example", &other)], "no pinset holds a.example but this one"),
        (
            vec![("p", "a.b.example", &heir), ("q", "*.b.example:8443", &other)],
            "no pinset holds a.b.example but this one",
        ),
        (
            vec![("p", "a.b.example a.c.example", &heir), ("q", "*.b.example", &other), ("r", "*.c.example", &other)],
            "the hosts of this pinset lie in several other pinsets",
        ),
        (vec![("p", "a.b.example", &heir), ("q", "*.b.example", &pin_only)], "with trust = \"roots\" only"),
    ];
    for (sets, part) in table {
        let sets: Vec<_> = sets.iter().map(|(name, hosts, lines)| (*name, *hosts, lines.as_str())).collect();
        refuse_each(&[(&pinsets(&sets), &[(Code::E47, 5, 11, part)])]);
    }
    let pin_only = format!("{heir}\ntrust = \"pin-only\"");
    let text = pinsets(&[("p", "a.b.example", &pin_only), ("q", "*.b.example", &other)]);
    refuse_each(&[(&text, &[(Code::E47, 5, 11, "with trust = \"roots\" only")])]);
    refuse_each(&[(&pinset(&format!("{own}\ninherit = 1")), &[(Code::E15, 5, 11, "true or false")])]);
}

/// What restricts the pins of the parent must restrict them here as well.
#[test]
fn restrictions_come_with_inherited_pins() {
    let own = format!("pins = [\"{X1}\", \"{R1}\"]\ninherit = true");
    let other = format!("pins = [\"{X2}\", \"{R3}\"]");
    let end = |day: &str| format!("expiry = {{ at = 2027-{day}, then = \"fail-closed\" }}");
    let roots = "are meant for chains that end in other roots";
    let ends = "the pins of \"q\" end, and here they would go on";
    let table = [
        (String::new(), "roots = \"webpki\"".to_owned(), Some(roots)),
        ("roots = \"webpki\"".to_owned(), String::new(), Some(roots)),
        ("roots = \"webpki\"".to_owned(), "roots = \"other.pem\"".to_owned(), Some(roots)),
        ("roots = \"same.pem\"".to_owned(), "roots = \"same.pem\"".to_owned(), None),
        (String::new(), end("06-30"), Some(ends)),
        (end("07-01"), end("06-30"), Some(ends)),
        (end("06-30"), end("06-30"), None),
        (end("06-29"), end("06-30"), None),
        (end("06-29"), String::new(), None),
    ];
    for (child, parent, refused) in table {
        let (child, parent) = (format!("{own}\n{child}"), format!("{other}\n{parent}"));
        let text = pinsets(&[("p", "a.b.example", &child), ("q", "*.b.example", &parent)]);
        match refused {
            Some(part) => refuse_each(&[(&text, &[(Code::E47, 5, 11, part)])]),
            None => assert_eq!(named(&config(&text), "p").accepts().pins().count(), 4, "{text}"),
        }
    }
}

#[test]
fn denied_keys_come_with_inherited_pins() {
    let lines = |pin: &str, deny: &str| format!("pins = [\"{pin}\", \"{R1}\"]\n{deny}\ninherit = true");
    let top = format!("pins = [\"{R3}\", \"{R4}\"]\ndeny = [\"{K1}\"]");
    let sets = |child: &str, parent: &str| {
        pinsets(&[
            ("child", "a.b.c.example", child),
            ("parent", "*.b.c.example", parent),
            ("top", "**.c.example", &top),
        ])
    };
    let config = config(&sets(&lines(X1, &format!("deny = [\"{K2}\"]")), &lines(X2, &format!("deny = [\"{K2}\"]"))));
    let denied = |name: &str| {
        let keys = named(&config, name).deny.as_ref().map(|denied| denied.keys().to_vec()).unwrap_or_default();
        [K1, K2].map(|pin| keys.iter().filter(|key| *key == Pin::parse(pin).unwrap().digest()).count())
    };
    assert_eq!(["child", "parent", "top"].map(denied), [[1, 1], [1, 1], [1, 0]]);
    let part = "is denied here and accepted in the same line";
    let denies_inherited = sets(&lines(X1, &format!("deny = [\"{R3}\"]")), &lines(X2, ""));
    let accepts_denied = sets(&lines(K1, ""), &lines(X2, ""));
    refuse_each(&[(&denies_inherited, &[(Code::E38, 5, 9, part)]), (&accepts_denied, &[(Code::E38, 17, 9, part)])]);
}

#[test]
fn inherited_pins_satisfy_the_heir_and_not_the_parent() {
    let heir = |pin: &str| format!("leaf_pins = [\"{pin}\", \"{K3}\"]\ninherit = true");
    let text = pinsets(&[
        ("child", "a.b.c.example a.b.c.example:8443", &heir(K1)),
        ("parent", "*.b.c.example", &heir(K2)),
        ("grandparent", "**.c.example", &format!("ca_pins = [\"{R3}\", \"{R4}\"]")),
        ("alone", "d.example", &format!("pins = [\"{X1}\", \"{X2}\"]\ninherit = false")),
    ]);
    let config = config(&text);
    let position = |pin: &str, at: usize, name: &str| {
        let mut path = [crate::policy::pinset::PathElement { spki: [1; 32], certificate: None }; 3];
        path[at].spki = *Pin::parse(pin).unwrap().digest();
        named(&config, name).accepts().judge(&path).map(|matched| matched.position)
    };
    let table = [
        // pin, where it stands, child, parent, grandparent
        (K1, 0, [Some(0), None, None]),
        (K1, 1, [None, None, None]),
        (K2, 0, [Some(0), Some(0), None]),
        (R3, 0, [None, None, None]),
        (R3, 2, [Some(2), Some(2), Some(2)]),
    ];
    for (pin, at, expected) in table {
        assert_eq!(["child", "parent", "grandparent"].map(|name| position(pin, at, name)), expected, "{pin} at {at}");
    }
    assert_eq!(named(&config, "child").accepts().pins().count(), 6);
    assert_eq!(named(&config, "alone").accepts().inherited(), None);
}

#[test]
fn denied_keys() {
    let lines = |deny: &str| pinset(&format!("pins = [\"{X1}\", \"{X2}\"]\ndeny = [{deny}]"));
    let certificate = format!("\"cert:sha256:{}\"", nobodys_hex(1));
    refuse_each(&[
        (&lines(""), &[(Code::E36, 5, 8, "empty list")]),
        (&lines("\"none\""), &[(Code::E10, 5, 9, "no key named")]),
        (&lines(&format!("\"{X2}\"")), &[(Code::E38, 5, 9, "accepted and denied")]),
        (&lines(&format!("\"{R1}\", \"{R1}\"")), &[(Code::E09, 5, 64, "denied twice")]),
        (&lines(&certificate), &[(Code::E05, 5, 9, "cannot be denied")]),
    ]);
    let config = config(&lines(&format!("\"{R1}\"")));
    let denied = named(&config, "p").deny.as_ref().expect("a denied key");
    assert_eq!(denied.keys(), [*Pin::parse(R1).unwrap().digest()]);
    let rule = &config.rules.rules()[0];
    let (policy, elsewhere) = (config.policy(1), Authority::parse("b.example:443").unwrap());
    assert_eq!(policy.blocked(rule, &denied.keys()[0]).map(|blocked| blocked.name.as_str()), Some("p"));
    assert_eq!(policy.blocked(policy.select(&elsewhere, now()), &denied.keys()[0]), None);
}

#[test]
fn anchors_of_a_pinset() {
    let lines = |lines: &str| pinset(&format!("pins = [\"{K1}\", \"{K2}\"]\n{lines}"));
    refuse_each(&[
        (&lines("roots = \"sistem\""), &[(Code::E01, 5, 9, "did you mean \"system\"?")]),
        (&lines("roots = [\"a.pem\"]"), &[(Code::E15, 5, 9, "a text, not a list")]),
        (&lines("roots = \"a.pem\"\ntrust = \"pin-only\""), &[(Code::E69, 5, 9, "no chain is built")]),
    ]);
    for (word, roots) in
        [("a.pem", Roots::File("etc/a.pem".into())), ("webpki", Roots::Webpki), ("system", Roots::System)]
    {
        let config = config(&lines(&format!("roots = \"{word}\"")));
        let Basis::Chain { anchors: AnchorSet::Own(name), .. } = &named(&config, "p").basis else { panic!("{word}") };
        assert_eq!(config.anchor_sets.get(name), Some(&roots), "{word}");
    }
    assert_eq!(named(&config(&lines("")), "p").own_anchors(), None);
}

#[test]
fn extra_roots_that_exempt_from_pins() {
    let upstream = |element: &str| format!("[upstream]\nextra_roots = [{element}]");
    refuse_each(&[
        (&upstream("{}"), &[(Code::E14, 2, 16, "extra_roots.file is missing")]),
        (&upstream("{ file = 1 }"), &[(Code::E15, 2, 25, "a text, not a number")]),
        (&upstream("{ file = \"a.pem\", exempt_pins = true }"), &[(Code::E01, 2, 34, "did you mean `exempts_pins`?")]),
        (&upstream("1"), &[(Code::E15, 2, 16, "a table, not a number")]),
    ]);
    let extra = config(&upstream("\"a.pem\", { file = \"b.pem\" }, { file = \"c.pem\", exempts_pins = true }"));
    let told: Vec<_> =
        extra.upstream.extra_roots.iter().map(|e| (e.file.display().to_string(), e.exempts_pins)).collect();
    let expected = [("etc/a.pem", false), ("etc/b.pem", false), ("etc/c.pem", true)];
    assert_eq!(told, expected.map(|(file, exempts)| (file.to_owned(), exempts)));
}

#[test]
fn the_name_of_a_pin_only_host() {
    let device =
        |name: &str| pinset(&format!("trust = \"pin-only\"\npins = [\"{K1}\", \"{K2}\"]\nverify_name = \"{name}\""));
    refuse_each(&[
        (&device("as:"), &[(Code::E16, 6, 15, "names no host")]),
        (&device("as:a..b"), &[(Code::E16, 6, 15, "names no host")]),
        (&device("other.example"), &[(Code::E01, 6, 15, "verify_name does not know")]),
        (
            &pinset(&format!("pins = [\"{X1}\", \"{X2}\"]\nverify_name = \"as:b.example\"")),
            &[(Code::E69, 5, 15, "needs trust = \"pin-only\"")],
        ),
    ]);
    let ends = "\n[pinset.expiry]\nat = 2027-06-30\nthen = \"unpinned\"";
    let config = config(&(device("as:PLC.example.") + ends));
    let rule = &config.rules.rules()[0];
    let asked = crate::policy::host::Host::parse("a.example").unwrap();
    let name = |at| {
        let circumstances = Circumstances::new(at, std::net::Ipv4Addr::LOCALHOST.into());
        rule.upstream_name(&asked, &circumstances).to_string()
    };
    assert_eq!(name(now()), "plc.example");
    assert_eq!(
        name(now() + Duration::from_secs(365 * 24 * 3600)),
        "a.example",
        "without the pin a chain is for the host"
    );
}

#[test]
fn words_of_the_defaults() {
    let soft = config("[defaults]\nplaintext = \"upgrade\"\nname_mismatch = \"allow\"\nrefusal = \"auto\"");
    assert_eq!((soft.rules.defaults().name_mismatch, soft.refusal), (NameMismatch::Allow, Refusal::Auto));
    let set = |defaults: &str, own: &str| {
        let text = format!("[defaults]\n{defaults}\n{}", pinset(&format!("pins = [\"{X1}\", \"{X2}\"]\n{own}")));
        named(&config(&text), "p").plaintext
    };
    assert_eq!(set("", ""), Plaintext::Deny);
    assert_eq!(set("plaintext = \"upgrade\"", ""), Plaintext::Upgrade);
    assert_eq!(set("plaintext = \"upgrade\"", "plaintext = \"deny\""), Plaintext::Deny);
    assert_eq!(set("", "plaintext = \"allow\""), Plaintext::Allow);
    refuse_each(&[
        ("[defaults]\nplaintext = \"forward\"", &[(Code::E01, 2, 13, "plaintext does not know")]),
        ("[defaults]\nname_mismatch = true", &[(Code::E15, 2, 17, "a text, not true or false")]),
    ]);
}

#[test]
fn a_step_that_enforces_for_nobody() {
    let lines = |ramp: &str| {
        format!(
            "pins = [\"{X1}\", \"{R1}\"]\nmode = \"report-only\"\n[pinset.rollout]\nenforce_from = 2027-02-08\nramp = [{ramp}]"
        )
    };
    let zero = "{ from = 2027-01-11, percent = 0 }";
    let fallen = "{ from = 2027-01-10, percent = 5 }, { from = 2027-01-11, percent = 5 }";
    refuse_each(&[
        (&pinset(&lines(zero)), &[(Code::E56, 8, 9, "this one for nobody / write a percent above 0")]),
        (&pinset(&lines(fallen)), &[(Code::E56, 8, 45, "for more clients than the one before it")]),
    ]);
}

#[test]
fn long_names_are_cut_in_sentences() {
    let errors = parse(&format!("{} = 1", "k".repeat(5000))).unwrap_err();
    assert_eq!(errors.diagnostics()[0].message(), format!("unknown key \"{}…\" at the top level", "k".repeat(200)));
}
