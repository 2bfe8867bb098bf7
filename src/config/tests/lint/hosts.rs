use super::*;

/// A sound pinset for these hosts, in TOML.
fn hosts(hosts: &str) -> String {
    named("p", hosts, "")
}

fn named(name: &str, hosts: &str, more: &str) -> String {
    let hosts: Vec<_> = hosts.split(' ').collect();
    format!("[[pinset]]\nname = \"{name}\"\nhosts = {hosts:?}\npins = [\"{K1}\"]\nbackup = [\"{K2}\"]\n{more}\n")
}

/// A table of hosts, and how often the code is told.
fn expect_of_hosts(code: Code, table: &[(&str, usize)]) {
    let table: Vec<_> = table.iter().map(|(patterns, times)| (hosts(patterns), *times)).collect();
    expect(code, &table);
}

#[test]
fn wildcards_over_what_registries_give_out() {
    expect_of_hosts(
        Code::E22,
        &[
            ("**.com", 1),
            ("*.com", 1),
            ("**.CO.uk.", 1),
            ("*.co.uk:8443", 1),
            ("**.example", 0),
            ("**.internal", 0),
            ("*.localhost", 0),
            ("**.\u{440}\u{444}", 1),      // a TLD that is not ASCII
            ("**.\u{500b}\u{4eba}.hk", 1), // and a suffix below one that is
            ("**.kawasaki.jp", 1),         // in the list as *.kawasaki.jp
            ("**.com **.net a.example", 2),
            ("**.city.kawasaki.jp", 0), // and as !city.kawasaki.jp
            ("com", 0),
            ("co.uk", 0),
            ("localhost", 0),
            ("**.bank.com", 0),
            ("*.bank.co.uk", 0),
            ("**.bank.example", 0),
            ("**.plant.internal", 0),
            ("**.github.io", 0),
            ("192.0.2.1", 0),
        ],
    );
    let hole = |lines: &str, patterns: &str| {
        format!("{lines}\nreason = \"r\"\nhosts = [{patterns:?}]\n{}", hosts("a.example"))
    };
    let exempt = "[[exempt]]\nuntil = 2099-01-01";
    let holes =
        [("[[tunnel]]", "**.com", 1), (exempt, "*.com", 1), ("[[tunnel]]", "**.bank.com", 0), ("[[tunnel]]", "com", 0)];
    expect(Code::E22, &holes.map(|(lines, patterns, times)| (hole(lines, patterns), times)));
    expect(Code::W22, &[(hole("[[tunnel]]", "**.github.io"), 1), (hole("[[tunnel]]", "a.github.io"), 0)]);
}

#[test]
fn wildcards_over_what_providers_share_out() {
    expect_of_hosts(
        Code::W22,
        &[
            ("**.github.io", 1),
            ("*.github.io:8443", 1),
            ("*.googleapis.com", 1),
            ("**.s3.amazonaws.com", 1),
            // Nobody's that is known, so perhaps the operator's.
            ("**.internal", 1),
            ("*.corp:8443", 1),
            // Themselves no suffixes, but there are some below them.
            ("**.amazonaws.com", 1),
            ("**.eu-central-1.amazonaws.com:443", 1),
            ("**.windows.net", 1),
            ("**.core.windows.net", 1),
            ("**.googleapis.com", 1),
            ("**.hedmark.no", 1),
            // One label in front of them is the provider's own.
            ("*.amazonaws.com", 0),
            ("*.core.windows.net", 0),
            ("amazonaws.com", 0),
            ("**.bank.s3.amazonaws.com", 0),
            ("**.bank.blob.core.windows.net", 0),
            ("**.amazonaws.example", 0),
            ("**.windows.com", 0),
            ("**.bank.com", 0),
            ("**.bank.co.uk", 0),
            ("**.city.kawasaki.jp", 0),
            ("**.plant.internal", 0),
            ("github.io", 0),
            ("**.bank.github.io", 0),
            ("**.com", 0),
            ("**.bank.example", 0),
        ],
    );
}

#[test]
fn what_no_session_gets_to() {
    let access = |lines: &str, patterns: &str| format!("[access]\n{lines}\n{}", hosts(patterns));
    let deny = |entries: &str, patterns: &str| access(&format!("destinations_deny = [{entries}]"), patterns);
    expect(
        Code::W23,
        &[
            (hosts("a.example:25"), 1),
            (access("", "a.example:8080"), 1),
            (access("ports_allow = [443]", "a.example:8443 *.b.example:8443 **.b.example:8443 192.0.2.1:80"), 4),
            (access("", "10.0.0.1"), 1),
            (access("", "[fd00::1]:443 [::ffff:10.0.0.1]"), 2),
            (hosts("0.0.0.0"), 1),
            (access("", "localhost:443 a.localhost **.b.localhost"), 3),
            (deny("\"127.0.0.0/8\", \"::1\"", "localhost"), 1),
            (deny("\"127.0.0.0/8\"", "localhost"), 0),
            (hosts("localhost"), 0),
            (access("", "localhost.example"), 0),
            (deny("\"203.0.113.0/24\"", "203.0.113.9"), 1),
            (deny("\"**.b.example\"", "b.example a.b.example *.b.example **.c.b.example a.b.example:8443"), 5),
            (deny("\"a.example:443\"", "a.example:443"), 1),
            (hosts("a.example:26 a.example"), 1),
            (hosts("a.example:25 a.example"), 1),
            (access("ports_allow = [443, 8443]", "a.example:443 a.example:8443 a.example"), 2),
            (access("ports_allow = [443]", "a.example") + &named("q", "a.example:443", ""), 1),
            (deny("\"a.example:443\", \"**.example:80\", \"a.example:8443\"", "a.example"), 1),
            (deny("\"*.b.example:443\"]\nports_allow = [443", "a.b.example *.b.example **.b.example"), 2),
            (access("ports_allow = [443, 8443]", "a.example") + &named("q", "a.example:443", ""), 0),
            (hosts("a.example") + &named("q", "a.example:443", ""), 0),
            (access("", "a.example:8443 a.b.example:443 c.example"), 0),
            (access("destinations_allow = [\"10.0.0.0/8\"]", "10.0.0.1"), 0),
            (access("", "1.1.1.1 [2606:4700::1111]"), 0),
            (hosts("10.0.0.1 127.0.0.1"), 0),
            (deny("\"*.b.example\"", "b.example a.a.b.example"), 0),
            (deny("\"*.b.example\"", "**.b.example"), 0),
            (deny("\"a.example:443\"", "a.example"), 0),
            (deny("\"a.example:443\", \"a.example:80\"", "a.example"), 0),
        ],
    );
}

/// An exemption that is over is no rule.
#[test]
fn what_exemptions_that_are_over_leave() {
    let exempt =
        |host: &str, until: &str| format!("[[exempt]]\nhosts = [\"{host}\"]\nreason = \"r\"\nuntil = {until}\n");
    let shadow = |until: &str| {
        format!("[access]\nports_allow = [443]\n{}{}", hosts("a.example"), exempt("a.example:443", until))
    };
    expect(Code::W23, &[(shadow("2027-02-01"), 1), (shadow("2027-01-01"), 0)]);
    let softened = |until: &str| {
        let softer = named("narrow", "a.b.example", "mode = \"report-only\"");
        named("wide", "**.b.example", "") + &softer + &exempt("*.b.example", until)
    };
    expect(Code::W24, &[(softened("2027-01-01"), 1), (softened("2027-01-02"), 0)]);
    let apex = |until: &str| named("wide", "**.a.b.example *.b.example", "") + &exempt("b.example:443", until);
    let only = |text: String| format!("[access]\nports_allow = [443]\n{text}");
    expect(Code::W25, &[(only(apex("2027-01-01")), 1), (only(apex("2027-01-02")), 0)]);
}

#[test]
fn exemptions_of_whole_pinsets() {
    let exempt = |hosts: &str, until: &str| {
        let hosts: Vec<_> = hosts.split(' ').collect();
        format!("[[exempt]]\nhosts = {hosts:?}\nreason = \"r\"\nuntil = {until}\n")
    };
    let soon = "2027-02-01";
    let only = |text: String| format!("[access]\nports_allow = [443]\n{text}");
    expect(
        Code::W27,
        &[
            (hosts("a.example") + &exempt("a.example:443", soon), 1),
            (hosts("**.b.example") + &exempt("**.b.example:443", soon), 1),
            (hosts("*.b.example b.example") + &exempt("*.b.example:443 b.example:443", soon), 1),
            (hosts("**.b.example a.example") + &named("q", "c.example", "") + &exempt("c.example:443", soon), 1),
            (hosts("*.b.example b.example") + &exempt("*.b.example:443", soon), 0),
            (hosts("**.b.example") + &exempt("*.b.example b.example", soon), 0),
            (hosts("a.example") + &exempt("a.example:8443", soon), 0),
            (hosts("a.example a.example:8443") + &exempt("a.example:443", soon), 0),
            (hosts("a.example") + &exempt("a.example:443", "2026-12-31"), 0),
            (hosts("a.example") + "[[tunnel]]\nhosts = [\"a.example:443\"]\nreason = \"r\"\n", 0),
            (named("p", "a.example", "mode = \"off\"") + &exempt("a.example:443", soon), 0),
            // W23 tells it.
            (only(hosts("a.example") + &exempt("a.example:443", soon)), 0),
        ],
    );
}

#[test]
fn what_the_same_pinset_holds_already() {
    let between = |rule: &str| hosts("**.b.example x.a.b.example") + rule;
    let hole = "hosts = [\"*.a.b.example\"]\nreason = \"r\"\n";
    expect(
        Code::W23,
        &[
            (hosts("**.b.example b.example"), 1),
            (hosts("**.b.example *.b.example"), 1),
            (hosts("**.b.example **.a.b.example"), 1),
            (hosts("*.b.example a.b.example"), 1),
            (hosts("a.example a.example:443"), 1),
            (hosts("**.b.example a.b.example:443"), 1),
            (between(""), 1),
            (hosts("*.b.example b.example"), 0),
            (hosts("**.b.example:443 a.b.example"), 0),
            (hosts("a.example:443 a.example:8443"), 0),
            (hosts("**.b.example **.b.example:443 a.b.example"), 2),
            // Without it the other rule would decide for x.b.example.
            (hosts("**.example *.b.example") + &named("q", "**.x.b.example", ""), 0),
            (hosts("**.example *.b.example **.y.b.example") + &named("q", "**.x.b.example:443", ""), 1),
            (hosts("**.example *.b.example **.x.b.example"), 2),
            (hosts("**.example *.b.example") + &named("q", "**.a.x.b.example **.x.c.example", ""), 1),
            (hosts("**.example *.b.example") + "[[tunnel]]\nhosts = [\"**.x.b.example\"]\nreason = \"r\"\n", 0),
            // Without it another rule would decide on one port.
            (hosts("**.b.example a.b.example") + &named("q", "**.b.example:443", ""), 0),
            // Without it the rule in between would decide.
            (between(&named("q", "**.a.b.example", "")), 0),
            (between(&format!("[[exempt]]\nuntil = 2030-01-01\n{hole}")), 0),
        ],
    );
}

#[test]
fn narrower_and_weaker() {
    let modes = |wide: &str, narrow: &str| {
        let line = |mode: &str| if mode.is_empty() { String::new() } else { format!("mode = \"{mode}\"") };
        named("wide", "**.b.example", &line(wide)) + &named("narrow", "a.b.example c.b.example", &line(narrow))
    };
    let rollout = |from: &str| format!("mode = \"report-only\"\n[pinset.rollout]\nenforce_from = {from}");
    let rolled = |from: &str| named("wide", "**.b.example", "") + &named("narrow", "a.b.example", &rollout(from));
    let softer = "mode = \"report-only\"";
    let ended = |then: &str| format!("[pinset.expiry]\nat = 2026-12-31\nthen = \"{then}\"");
    let ports = |list: &str, text: &str| format!("[access]\nports_allow = [{list}]\n{text}");
    let denied = |host: &str, text: &str| format!("[access]\ndestinations_deny = [{host:?}]\n{text}");
    let exempt = "[[exempt]]\nhosts = [\"*.b.example\"]\nreason = \"r\"\nuntil = 2030-01-01\n";
    expect(
        Code::W24,
        &[
            (modes("", "report-only"), 1),
            (modes("enforce", "off"), 1),
            (modes("report-only", "off"), 1),
            (rolled("2027-02-01"), 1),
            (named("wide", "a.example", "") + &named("narrow", "a.example:8443", softer), 1),
            (named("wide", "**.b.example", "") + &named("narrow", "*.b.example a.c.b.example", softer), 1),
            (named("narrow", "x.example a.b.example", softer) + &named("wide", "**.b.example", ""), 1),
            (
                named("soft", "**.b.example", softer)
                    + &named("narrow", "a.b.example c.d.example", softer)
                    + &named("hard", "**.d.example", ""),
                1,
            ),
            (modes("", ""), 0),
            (modes("report-only", ""), 0),
            (modes("report-only", "report-only"), 0),
            (modes("off", "enforce"), 0),
            (rolled("2026-12-31"), 0),
            (named("other", "**.c.example", "") + &named("narrow", "a.b.example", softer), 0),
            (named("wide", "a.example:8443", "") + &named("narrow", "a.example", softer), 0),
            // On one port.
            (named("wide", "**.b.example:443", "") + &named("narrow", "a.b.example", softer), 1),
            (named("wide", "**.b.example:443 **.b.example:8443", "") + &named("narrow", "*.b.example", softer), 1),
            (
                named("soft", "**.b.example", softer)
                    + &named("wide", "*.b.example:443", "")
                    + &named("narrow", "a.b.example", softer),
                1,
            ),
            (ports("443", &(named("wide", "**.b.example:443", "") + &named("narrow", "a.b.example", softer))), 1),
            (named("wide", "**.b.example:443", "") + &named("narrow", "a.b.example:443", softer), 1),
            (named("wide", "**.b.example:443", "") + &named("narrow", "a.b.example:8443", softer), 0),
            (named("wide", "**.b.example:443", softer) + &named("narrow", "a.b.example", ""), 0),
            // Which nobody gets to, or which has a rule of its own.
            (ports("443", &(named("wide", "**.b.example:8443", "") + &named("narrow", "a.b.example", softer))), 0),
            (named("wide", "**.b.example:443 a.b.example:443", "") + &named("narrow", "a.b.example", softer), 0),
            // A rule for the one port in between leaves nothing to the wide one.
            (
                ports(
                    "443",
                    &(named("wide", "**.b.example", "")
                        + &named("soft", "*.b.example:443", softer)
                        + &named("narrow", "a.b.example", softer)),
                ),
                1,
            ),
            // By what holds since a pinset has ended.
            (named("wide", "**.b.example", "") + &named("narrow", "a.b.example", &ended("report-only")), 1),
            (named("wide", "**.b.example", "") + &named("narrow", "a.b.example", &ended("unpinned")), 1),
            (named("wide", "**.b.example", "") + &named("narrow", "a.b.example", &ended("fail-closed")), 0),
            (named("wide", "**.b.example", &ended("unpinned")) + &named("narrow", "a.b.example", softer), 0),
            (named("wide", "**.b.example", &ended("report-only")) + &named("narrow", "a.b.example", softer), 0),
            // `*.` goes before `**.` where both hold a name.
            (named("soft", "*.b.example", softer) + &named("hard", "**.a.b.example", ""), 1),
            (named("soft", "*.b.example:443", softer) + &named("hard", "**.a.b.example", ""), 1),
            (named("soft", "*.b.example", softer) + &named("hard", "**.a.b.example:443", ""), 1),
            (named("soft", "*.b.example:8443", softer) + &named("hard", "**.a.b.example:443", ""), 0),
            (named("soft", "*.b.example", softer) + &named("hard", "**.a.b.example a.b.example", ""), 0),
            (named("soft", "*.b.example:443", softer) + &named("hard", "**.a.b.example a.b.example:443", ""), 0),
            (named("soft", "*.b.example", softer) + &named("hard", "**.c.a.b.example", ""), 0),
            (named("hard", "*.b.example", "") + &named("soft", "**.a.b.example", softer), 0),
            // On each port the first of them decides.
            (named("hard", "**.b.example:443 *.example:443", "") + &named("soft", "*.example", softer), 0),
            (ports("443", &(named("hard", "**.b.example b.example:443", "") + &named("soft", "*.example", softer))), 0),
            (ports("443", &(named("hard", "**.b.example *.example:443", "") + &named("soft", "*.example", softer))), 0),
            (
                ports(
                    "443, 80",
                    &(named("hard", "**.b.example b.example:443", "") + &named("soft", "*.example", softer)),
                ),
                1,
            ),
            (named("hard", "**.b.example b.example:443", "") + &named("soft", "*.example", softer), 1),
            (named("hard", "**.b.example *.example:443", "") + &named("soft", "*.example", softer), 1),
            (named("hard", "**.b.example *.example", "") + &named("soft", "*.example:443", softer), 2),
            (ports("80", &(named("hard", "**.b.example *.example", "") + &named("soft", "*.example:443", softer))), 0),
            (
                "[access]\ndestinations_deny = [\"b.example:80\"]\nports_allow = [443, 80]\n".to_owned()
                    + &named("hard", "**.b.example b.example:443", "")
                    + &named("soft", "*.example", softer),
                0,
            ),
            (denied("a.b.example", &(named("soft", "*.b.example", softer) + &named("hard", "**.a.b.example", ""))), 0),
            // The exemption in between has softened it already.
            (modes("", "report-only") + exempt, 0),
        ],
    );
}

#[test]
fn wildcards_without_their_domain() {
    let rule = |kind: &str, host: &str| format!("[[{kind}]]\nreason = \"r\"\nhosts = [\"{host}\"]\n");
    let exempt = |host: &str| format!("[[exempt]]\nreason = \"r\"\nuntil = 2030-01-01\nhosts = [\"{host}\"]\n");
    let access = |lines: &str, patterns: &str| format!("[access]\n{lines}\n{}", hosts(patterns));
    expect(
        Code::W25,
        &[
            (hosts("*.b.example"), 1),
            (hosts("*.b.example:8443"), 1),
            (hosts("*.b.example:8443 b.example:443"), 1),
            (hosts("*.b.example *.c.example"), 2),
            (hosts("*.b.example c.example"), 1),
            (hosts("*.b.example") + &rule("tunnel", "c.example"), 1),
            (hosts("*.b.example b.example"), 0),
            (hosts("*.b.example b.example:443"), 1),
            (hosts("*.b.example **.b.example:443"), 1),
            (access("", "*.b.example b.example:443 b.example:80"), 1),
            (access("ports_allow = [443]", "*.b.example b.example:8443"), 1),
            (access("ports_allow = [443]", "*.b.example b.example:443"), 0),
            (access("", "*.b.example b.example:443 **.b.example:80 b.example:8443"), 0),
            (access("destinations_deny = [\"b.example\"]", "*.b.example"), 0),
            (access("destinations_deny = [\"b.example:80\", \"b.example:8443\"]", "*.b.example b.example:443"), 0),
            (access("destinations_deny = [\"b.example:80\"]", "*.b.example b.example:443"), 1),
            (access("destinations_deny = [\"b.example:8443\"]", "*.b.example:8443"), 0),
            (hosts("*.b.example:8443 b.example"), 0),
            (hosts("*.b.example:8443 b.example:8443"), 0),
            (hosts("*.a.b.example **.b.example"), 0),
            (hosts("*.a.b.example *.b.example b.example"), 0),
            (hosts("**.b.example"), 0),
            (hosts("*.b.example") + &named("q", "b.example", ""), 0),
            (hosts("*.b.example") + &rule("tunnel", "b.example"), 0),
            (hosts("*.a.b.example **.b.example") + &exempt("a.b.example"), 0),
            (named("p", "*.b.example", "mode = \"off\""), 0),
            (hosts("*.github.io"), 0),
            (hosts("*.co.uk"), 0),
            // Nobody gets there.
            (format!("[defaults]\nunpinned = \"deny\"\n{}", hosts("*.b.example *.c.example:8443")), 0),
            (format!("[defaults]\nunpinned = \"tunnel\"\n{}", hosts("*.b.example")), 1),
        ],
    );
    let only = |patterns: &str| access("ports_allow = [443, 8443]", patterns);
    let table = [
        (hosts("*.b.example"), "*.b.example does not hold b.example, and no other rule does"),
        (only("*.b.example"), "*.b.example does not hold b.example, and no other rule does"),
        (
            hosts("*.b.example:8443 b.example:443"),
            "*.b.example:8443 does not hold b.example, and no other rule holds b.example:8443",
        ),
        (
            only("*.b.example b.example:443"),
            "*.b.example does not hold b.example, and no other rule holds b.example:8443",
        ),
        (
            hosts("*.b.example b.example:443"),
            "*.b.example does not hold b.example, and other rules do on some ports only",
        ),
    ];
    for (text, expected) in table {
        let told = told(&text);
        let told: Vec<_> = told.iter().filter(|told| told.code() == Code::W25).map(Diagnostic::message).collect();
        assert_eq!(told, [expected]);
    }
}

#[test]
fn addresses_and_names_of_certificates() {
    let pin_only = |check: &str| named("p", "10.20.0.15:8443 [2001:db8::1]", &format!("trust = \"pin-only\"\n{check}"));
    expect(
        Code::W28,
        &[
            (hosts("192.0.2.1"), 1),
            (hosts("[2001:db8::1]:443 a.example"), 1),
            (pin_only(""), 2),
            (pin_only("verify_name = \"san\""), 2),
            (pin_only("verify_name = \"skip\""), 0),
            (pin_only("verify_name = \"as:plc.example\""), 0),
            (hosts("a.example 1.example"), 0),
        ],
    );
}

#[test]
fn names_of_several_scripts() {
    expect_of_hosts(
        Code::E29,
        &[
            ("b\u{430}nk.example", 1), // Cyrillic a
            ("**.b\u{430}nk.example", 1),
            ("*.b\u{430}nk.example:8443", 1),
            ("api.b\u{430}nk.example b\u{430}nk.example", 2),
            ("\u{3c3}khttp.com", 1),                // Greek sigma
            ("b\u{43e}\u{43e}k\u{3002}example", 1), // behind it a dot of UTS 46
            ("xn--bnk-6cd.example", 0),
            ("bank.example", 0),
            ("b\u{fc}cher.example", 0),
            ("bu\u{308}cher.example", 0),
            ("fa\u{df}.example", 0),
            ("\u{43f}\u{440}\u{438}\u{43c}\u{435}\u{440}.example", 0), // Cyrillic alone
            ("api.\u{43f}\u{440}\u{438}\u{43c}\u{435}\u{440}-1.\u{440}\u{444}", 0),
            ("\u{4f8b}\u{3048}\u{30c6}\u{30b9}\u{30c8}.example", 0), // Han, Hiragana, Katakana
            ("\u{4f8b}abc\u{30c6}.example", 0),                      // and Latin, which Japanese mixes in
            ("\u{ff41}pi.bank.example", 0),                          // a full-width letter is Latin
        ],
    );
    let hole = format!("[[tunnel]]\nreason = \"r\"\nhosts = [\"b\u{430}nk.example\"]\n{}", hosts("a.example"));
    assert_eq!(count(&hole, Code::E29), 1);
}

#[test]
fn owners_of_one_pinset() {
    let authorities = |list: &str, pin: &str| {
        hosts("a.one.example b.two.example c.three.example").replace("\npins", &format!("\n{list}")).replace(K1, pin)
    };
    expect(
        Code::W44,
        &[
            (hosts("a.one.example b.two.example c.three.example"), 1),
            (hosts("**.one.example *.two.example three.example"), 1),
            (hosts("one.example two.example three.example four.example"), 1),
            (authorities("leaf_pins", K1), 1),
            (authorities("pins", X1), 1),
            (authorities("ca_pins", K1), 0),
            (authorities("pins", X1).replace(K2, X2), 0),
            (hosts("a.one.example b.two.example a.b.one.example c.two.example"), 0),
            // One firm, in the domains of several countries.
            (hosts("bank.com bank.co.uk www.bank.de pay.bank.fr"), 0),
            (hosts("one.example two.example 192.0.2.1 192.0.2.2 localhost"), 0),
            (hosts("a.one.github.io a.two.github.io"), 0),
        ],
    );
}
