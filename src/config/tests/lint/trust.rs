use super::*;

fn pinset_of(lines: &str) -> String {
    pinset(&format!("pins = [\"{K1}\"]\nbackup = [\"{K2}\"]\n{lines}\n"))
}

#[test]
fn sent_in_clear_text() {
    let traces = |url: &str, times| (format!("[traces]\nurl = \"{url}\""), times);
    let syslog = |address: &str, times| (format!("[reports]\nspool = \"s\"\nsyslog = \"{address}\""), times);
    expect(
        Code::W82,
        &[
            traces("http://collector.example/v1/traces", 1),
            traces("HTTP://10.0.0.1:4318/v1/traces", 1),
            traces("http://localhost.example/", 1),
            traces("https://collector.example/v1/traces", 0),
            traces("http://localhost:4318/v1/traces", 0),
            traces("http://127.0.0.2:4318/v1/traces", 0),
            traces("http://[::1]:4318/v1/traces", 0),
            traces("http://[::ffff:127.0.0.1]:4318/v1/traces", 0),
            syslog("udp://log.example:514", 1),
            syslog("tcp://10.0.0.1:601", 1),
            syslog("udp://127.0.0.1:514", 0),
            syslog("tcp://[::1]:601", 0),
            syslog("udp://localhost:514", 0),
            syslog("unix:/dev/log", 0),
        ],
    );
    // With headers it is an error, and told once.
    let secret = "[traces]\nurl = \"http://collector.example/\"\nheaders = [\"a: b\"]".to_owned();
    expect(Code::W82, &[(secret.clone(), 0)]);
    expect(Code::E16, &[(secret, 1)]);
}

#[test]
fn checks_that_are_left_out() {
    let device = |lines: &str| pinset_of(&format!("trust = \"pin-only\"\n{lines}"));
    expect(
        Code::W61,
        &[
            (device("verify_name = \"skip\""), 1),
            (device("verify_name = \"san\""), 0),
            (device("verify_name = \"as:b.example\""), 0),
            (device(""), 0),
        ],
    );
    let end = "[pinset.expiry]\nat = 2028-01-01\nthen = \"fail-closed\"";
    expect(
        Code::W62,
        &[
            (device("verify_validity = \"ignore\""), 1),
            (device("verify_validity = \"check\""), 0),
            (device(""), 0),
            (device(&format!("verify_validity = \"ignore\"\n{end}")), 0),
        ],
    );
    let both = told(&device("verify_name = \"skip\"\nverify_validity = \"ignore\""));
    let places: Vec<_> = both.iter().map(|told| (told.code(), told.position())).collect();
    assert_eq!(places, [(Code::W61, Some((7, 15))), (Code::W62, Some((8, 19)))]);
}

#[test]
fn hosts_that_are_passed_through() {
    let with = |unpinned: &str, lines: &str| format!("[defaults]\nunpinned = \"{unpinned}\"\n{}", pinset_of(lines));
    let rollout = "mode = \"report-only\"\n[pinset.rollout]\nenforce_from = 2027-02-01";
    expect(
        Code::I67,
        &[
            (with("tunnel", ""), 1),
            (with("tunnel", rollout), 1),
            (with("tunnel", "trust = \"pin-only\""), 1),
            (with("tunnel", "mode = \"report-only\""), 0),
            (with("tunnel", "mode = \"off\""), 0),
            (with("intercept", ""), 0),
            (with("deny", ""), 0),
            ("[defaults]\nunpinned = \"tunnel\"\n".into(), 0),
        ],
    );
}

#[test]
fn reports_that_nobody_sees() {
    let soft = pinset_of("mode = \"report-only\"");
    let second = soft.replace("\"p\"", "\"q\"").replace("a.example", "b.example");
    let rollout = |from: &str| pinset_of(&format!("mode = \"report-only\"\n[pinset.rollout]\nenforce_from = {from}"));
    expect(
        Code::W73,
        &[
            (soft.clone(), 1),
            (soft.clone() + &second, 1),
            (format!("{soft}[reports]\nclient_id = \"none\"\n[log]\nlevel = \"info\""), 1),
            (rollout("2027-02-01"), 1),
            (pinset_of("") + "[defaults]\nmode = \"report-only\"", 1),
            (rollout("2026-12-31"), 0),
            (pinset_of(""), 0),
            (pinset_of("mode = \"off\""), 0),
            (format!("{soft}[reports]\nfile = \"violations.jsonl\""), 0),
            (format!("{soft}[reports]\nspool = \"s\""), 1),
            (format!("{soft}[reports]\nspool = \"s\"\nurls = [\"https://r.example\"]"), 0),
            (format!("{soft}[reports]\nspool = \"s\"\nsyslog = \"unix:/dev/log\""), 0),
            (format!("{soft}[log]\naccess = \"access.jsonl\""), 0),
        ],
    );
    let one = &told(&(soft.clone() + &second))[0];
    assert!(one.message().ends_with("\"p\" finds (1 more is)") && one.position() == Some((6, 8)), "{one}");
}

#[test]
fn clients_from_everywhere() {
    let clients = |listeners: &[&str], networks: &[&str]| {
        let listeners: Vec<_> = listeners.iter().map(|at| format!("[[listener]]\naddress = {at:?}\n")).collect();
        let listeners = listeners.concat();
        format!("{listeners}[access]\nclients = {networks:?}\n{}", pinset_of(""))
    };
    let (v4, v6, both) = ("0.0.0.0:1", "[2001:db8::1]:1", "[::]:1");
    expect(
        Code::W80,
        &[
            (clients(&[v4], &["0.0.0.0/0"]), 1),
            (clients(&[v4], &["10.0.0.0/8", "0.0.0.0/0", "::/0"]), 1),
            (clients(&[v4], &["0.0.0.0/1", "128.0.0.0/1"]), 1),
            (clients(&[v4], &["0.0.0.0/2", "128.0.0.0/1", "64.0.0.0/2"]), 1),
            (clients(&[v6], &["::/0"]), 1),
            (clients(&[v6], &["2000::/3"]), 1),
            (clients(&[v6], &["::/1", "8000::/1"]), 1),
            (clients(&[both], &["::/0"]), 1),
            (clients(&[both], &["0.0.0.0/0"]), 1),
            (clients(&["[::ffff:192.0.2.1]:1"], &["0.0.0.0/0"]), 1),
            (clients(&["127.0.0.1:1", v4, both], &["0.0.0.0/0"]), 1),
            // Nobody else gets there.
            (clients(&["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"], &["0.0.0.0/0", "::/0"]), 0),
            (clients(&[], &["0.0.0.0/0", "::/0"]), 0),
            (clients(&[v4], &["::/0"]), 0),
            (clients(&[v6], &["0.0.0.0/0"]), 0),
            (clients(&[v4], &["0.0.0.0/1", "192.0.0.0/2"]), 0),
            (clients(&[v4], &["10.0.0.0/8", "192.168.0.0/16"]), 0),
            (clients(&[v6], &["2000::/4", "fd00::/8"]), 0),
        ],
    );
    for (listener, network, message) in [
        (v4, "0.0.0.0/0", "access.clients lets every IPv4 address use 0.0.0.0:1"),
        (v6, "2000::/3", "access.clients lets every global IPv6 address use [2001:db8::1]:1"),
    ] {
        let told = told(&clients(&["127.0.0.1:1", listener], &[network]));
        let told: Vec<_> = told.iter().map(|told| (told.code(), told.position(), told.message())).collect();
        assert_eq!(told, [(Code::W80, Some((6, 11)), message)]);
    }
}

#[test]
fn nothing_is_pinned() {
    let pins = format!("pins = [\"{K1}\"]\nbackup = [\"{K2}\"]\n");
    expect(
        Code::W20,
        &[
            (String::new(), 1),
            ("[[tunnel]]\nreason = \"r\"\nhosts = [\"a.example\"]\n".to_owned(), 1),
            ("pinset = []".to_owned(), 1),
            ("[[pinste]]".to_owned(), 0),
            ("pinset = 3".to_owned(), 0),
            (format!("[pinset]\nname = \"p\"\nhosts = [\"a.example\"]\n{pins}"), 0),
            (pinset(&pins), 0),
        ],
    );
    expect(
        Code::W30,
        &[
            (pinset(&format!("{pins}mode = \"off\"")), 1),
            (pinset(&format!("{pins}[defaults]\nmode = \"off\"")), 1),
            (pinset(&format!("{pins}mode = \"report-only\"\n[defaults]\nmode = \"off\"")), 0),
            (pinset(&format!("{pins}mode = \"enforce\"")), 0),
        ],
    );
}
