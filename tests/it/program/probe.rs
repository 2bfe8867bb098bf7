//! `pinproxy config check --probe`: what hosts show, and what is said about it.

use super::*;

use crate::lints::PROBED;
use crate::support::origin::{Origin, OriginConfig};
use crate::support::pki::{Validity, hex, many_cross_signs, pem_bundle};
use pinproxy::config::Code;
use serde_json::{Value, json};
use std::time::Duration;

/// The digest of a certificate that nobody has.
const NOBODYS: &str = "3f8518a9bb7c473e92e1b334b7588b1e237e1775df079ade78d7a0b36219b4f0";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What an origin serves, what is trusted, and how it is pinned.
struct Scene {
    host: &'static str,
    chain: Chain,
    roots: Vec<Ca>,
    /// Lines of the pinset below its hosts.
    pins: String,
}

impl Scene {
    /// A chain below an own root, and a pinset for it.
    fn new(leaf: Leaf, pins: impl FnOnce(&Ca, &Chain) -> String) -> Self {
        let root = Ca::root("A private CA");
        let chain = leaf.signed_by(&root);
        let pins = pins(&root, &chain);
        Self { host: HOST, chain, roots: vec![root], pins }
    }

    fn at(self, host: &'static str) -> Self {
        Self { host, ..self }
    }

    /// Two roots have signed the issuer of the leaf, so that two paths verify.
    fn cross_signed(pins: impl FnOnce(&Ca, &Ca) -> String) -> Self {
        let (old, new) = (Ca::root("Old root"), Ca::root("New root"));
        let issuing = old.intermediate("Issuing");
        let crossed = issuing.cross_sign(&new);
        let chain = Leaf::named(HOST).signed_by(&issuing).append(crossed.der());
        let pins = pins(&old, &new);
        Self { host: HOST, chain, roots: vec![old, new], pins }
    }

    /// More ways than webpki looks at.
    fn too_many_ways() -> Self {
        let crossed = many_cross_signs(30);
        let chain = crossed.chain(Leaf::named(HOST));
        let pins = in_use(&[chain.pin()], &spare());
        Self { host: HOST, chain, roots: crossed.roots, pins }
    }

    async fn played(&self, user: &User, options: &[&str], code: i32) -> (process::Finished, Origin) {
        let origin = Origin::start(OriginConfig::new(self.chain.clone())).await;
        user.file("roots.pem", &pem_bundle(&self.roots));
        let text = format!(
            "[upstream]\nroots = \"./roots.pem\"\n\n[[pinset]]\nname = \"site\"\nhosts = [\"{}:{}\"]\n{}\n",
            self.host,
            origin.port(),
            self.pins
        );
        (probe(user, &text, options, code).await, origin)
    }

    /// The codes of warnings and errors, and the one host, of a run that ends with this exit code.
    async fn told(&self, user: &User, code: i32) -> (Vec<String>, Value) {
        let (ended, _origin) = self.played(user, &["--json"], code).await;
        let told: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended}"));
        let codes = told["diagnostics"].as_array().into_iter().flatten();
        let codes = codes.filter(|finding| finding["severity"] != "info").map(|finding| finding["code"].to_string());
        let codes = codes.map(|code| code.trim_matches('"').to_owned()).filter(|code| !is_of_the_text(code)).collect();
        assert_eq!(told["probed"].as_array().map(Vec::len), Some(1), "{ended}");
        (codes, told["probed"][0].clone())
    }
}

/// Findings about what is written, which these tests are not about.
fn is_of_the_text(code: &str) -> bool {
    let about_hosts = [Code::W28, Code::E39, Code::W40, Code::W55, Code::E32];
    !about_hosts.iter().any(|known| known.as_str() == code)
}

async fn probe(user: &User, text: &str, options: &[&str], code: i32) -> process::Finished {
    user.file("pinproxy.toml", text);
    let start = user.pinproxy(["config", "check", "--probe", "pinproxy.toml"]).args(options).folder(user.folder());
    let ended = start.run().await.with_code(code);
    assert_eq!(ended.err, "", "{ended}");
    ended
}

fn spare() -> String {
    Key::p256().pin()
}

fn in_use(pins: &[String], backup: &str) -> String {
    format!("pins = {pins:?}\nbackup = [{backup:?}]")
}

fn leaf() -> Leaf {
    Leaf::named(HOST)
}

fn ends_in(days: u32) -> Leaf {
    leaf().validity(Validity::ends_in(DAY * days))
}

fn pinned_leaf(_: &Ca, chain: &Chain) -> String {
    in_use(&[chain.pin()], &spare())
}

/// Hosts that have the fault of a code, and hosts that have not though they are near it.
fn scenes(code: Code) -> (Vec<Scene>, Vec<Scene>) {
    match code {
        Code::E39 => (
            vec![
                Scene::new(leaf(), |_, _| in_use(&[spare()], &spare())),
                Scene::new(leaf(), |_, _| format!("{}\nmode = \"report-only\"", in_use(&[spare()], &spare()))),
                Scene::new(leaf(), |_, chain| format!("ca_pins = [{:?}]\nbackup = [{:?}]", chain.pin(), spare())),
                Scene::new(leaf(), |_, _| format!("trust = \"pin-only\"\n{}", in_use(&[spare()], &spare()))),
                Scene::new(leaf(), |root, chain| {
                    format!("{}\ndeny = [{:?}]", in_use(&[chain.pin()], &spare()), root.pin())
                }),
                Scene { roots: vec![Ca::root("Another CA")], ..Scene::new(leaf(), pinned_leaf) },
                Scene::new(leaf().validity(Validity::expired()), pinned_leaf),
                Scene::new(Leaf::named("other.example"), pinned_leaf),
            ],
            vec![
                Scene::new(leaf(), pinned_leaf),
                Scene::new(leaf(), |root, _| in_use(&[root.pin()], &spare())),
                Scene::new(leaf(), |_, chain| format!("trust = \"pin-only\"\n{}", in_use(&[chain.pin()], &spare()))),
                Scene::new(leaf(), |_, chain| {
                    let end = "[pinset.expiry]\nat = 2020-01-01\nthen = \"fail-closed\"";
                    format!("{}\n{end}", in_use(&[chain.pin()], &spare()))
                }),
            ],
        ),
        Code::E32 => (
            vec![
                Scene::new(leaf(), |root, chain| in_use(&[chain.pin()], &root.pin())),
                Scene::new(leaf(), |root, chain| {
                    in_use(&[chain.pin()], &format!("cert:sha256:{}", hex(&root.cert_sha256())))
                }),
                Scene::new(leaf(), |_, chain| in_use(&[spare()], &chain.pin())),
            ],
            vec![
                Scene::new(leaf(), pinned_leaf),
                Scene::new(leaf(), |root, chain| in_use(&[chain.pin(), root.pin()], &spare())),
            ],
        ),
        Code::W40 => (
            vec![
                Scene::cross_signed(|old, _| in_use(&[old.pin()], &spare())),
                Scene::cross_signed(|_, new| in_use(&[new.pin()], &spare())),
                Scene::too_many_ways(),
            ],
            vec![
                Scene::cross_signed(|old, new| in_use(&[old.pin(), new.pin()], &spare())),
                Scene::new(leaf(), |root, _| in_use(&[root.pin()], &spare())),
            ],
        ),
        Code::W55 => (
            vec![Scene::new(ends_in(10), pinned_leaf)],
            vec![
                Scene::new(ends_in(60), pinned_leaf),
                Scene::new(ends_in(10), |root, _| in_use(&[root.pin()], &spare())),
                Scene::new(ends_in(10), |_, chain| in_use(&[chain.pin()], &format!("cert:sha256:{NOBODYS}"))),
            ],
        ),
        other => panic!("no hosts show {other}"),
    }
}

#[tokio::test]
async fn every_code_of_the_probe_has_hosts_with_it_and_without() {
    let user = User::new();
    for code in PROBED {
        let (faulty, sound) = scenes(*code);
        let exit = i32::from(code.as_str().starts_with('E'));
        for (index, scene) in faulty.iter().enumerate() {
            let (told, seen) = scene.told(&user, exit).await;
            assert_eq!(told, [code.as_str()], "{code}, faulty {index}: {seen}");
        }
        for (index, scene) in sound.iter().enumerate() {
            let (told, seen) = scene.told(&user, 0).await;
            assert_eq!(told, [""; 0], "{code}, sound {index}: {seen}");
            assert_eq!(seen["outcome"], "accepted", "{code}, sound {index}: {seen}");
        }
    }
}

/// What the text can only suspect of an address is known when its certificate has been seen.
#[tokio::test]
async fn addresses() {
    let user = User::new();
    let named = Scene::new(Leaf::named("127.0.0.1"), pinned_leaf).at("127.0.0.1");
    assert_eq!(named.told(&user, 0).await.0, [""; 0]);
    let unnamed = Scene::new(leaf(), pinned_leaf).at("127.0.0.1");
    let (told, seen) = unnamed.told(&user, 1).await;
    assert_eq!(told, ["E39", "W28"], "{seen}");
    assert_eq!(seen["detail"], "the certificate is not for 127.0.0.1 but for localhost");
}

#[tokio::test]
async fn what_is_told_of_a_host() {
    let user = User::new();
    let scene = Scene::new(ends_in(60), |root, _| in_use(&[root.pin()], &spare()));
    let (ended, origin) = scene.played(&user, &[], 0).await;
    let port = origin.port();
    let pin = scene.roots[0].pin();
    let line = ended.out.lines().next().expect("a line");
    let begins = format!("localhost:{port} (pinset site): CN=localhost, issued by CN=A private CA, ends on ");
    let ends = format!(", in 59 days; {pin} matches at position 1 of path 1 of 1");
    assert!(line.starts_with(&begins) && line.ends_with(&ends), "{ended}");
    let tally = origin.until_ended(1).await.expect("it hangs up");
    assert_eq!(tally.connections.len(), 1, "one connection");
    assert_eq!(tally.connections[0].data, b"", "nothing is sent");

    let (told, seen) = scene.told(&user, 0).await;
    assert_eq!(told, [""; 0]);
    let address = format!("127.0.0.1{}", seen["host"].as_str().expect("a host").trim_start_matches("localhost"));
    assert_eq!(
        seen,
        json!({
            "host": seen["host"], "pinset": "site", "outcome": "accepted", "detail": null, "address": address,
            "subject": "CN=localhost", "issuer": "CN=A private CA", "ends": seen["ends"], "ended": false,
            "days-left": 59,
            "paths": 1, "matched": { "pin": pin, "position": 1, "path": 1 },
        })
    );
    let (ended, _origin) = scene.played(&user, &["--sarif"], 0).await;
    let log: Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(log["runs"][0]["properties"]["probed"][0]["outcome"], "accepted", "{ended}");

    let over = Scene::new(leaf().validity(Validity::expired()), pinned_leaf);
    let (ended, _origin) = over.played(&user, &[], 1).await;
    let line = ended.out.lines().next().expect("a line");
    assert!(line.contains(", ended on ") && line.contains(" ago; refused: "), "{ended}");
    let (_, seen) = over.told(&user, 1).await;
    assert_eq!(seen["ended"], true, "{seen}");

    let wrong = Scene::new(leaf(), |_, _| in_use(&[spare()], &spare()));
    let (ended, _origin) = wrong.played(&user, &[], 1).await;
    let shown = format!("{}, {}", wrong.chain.pin(), wrong.roots[0].pin());
    for part in ["error[E39]: no pin of \"site\" matches what localhost:", &shown, "pinproxy.toml:6:10"] {
        assert!(ended.out.contains(part), "{part:?} is missing in {ended}");
    }
}

#[tokio::test]
async fn hosts_that_are_not_seen() {
    let user = User::new();
    let silent = Site::start(Behaviour::NeverHandshake).await;
    let plain = Site::start(Behaviour::PlainText(b"220 ready\r\n".to_vec())).await;
    let sound = Site::start(Behaviour::Echo).await;
    user.file("roots.pem", &sound.root.pem());
    let set = |name: &str, host: &str, pin: &str| {
        format!("[[pinset]]\nname = \"{name}\"\nhosts = [\"{host}\"]\n{}\n", in_use(&[pin.to_owned()], &spare()))
    };
    let at = |site: &Site| format!("localhost:{}", site.origin.port());
    let pin = sound.chain.pin();
    let head = "[upstream]\nroots = \"./roots.pem\"\n";
    let text = [
        head.to_owned(),
        set("silent", &at(&silent), &pin),
        set("plain", &at(&plain), &pin),
        set("sound", &at(&sound), &pin),
        set("wide", "**.wide.example", &pin),
        set("narrow", "a.wide.example", &pin),
        "[[exempt]]\nhosts = [\"a.wide.example:443\"]\nreason = \"r\"\nuntil = 2999-01-01\n".to_owned(),
    ]
    .concat();
    let ended = probe(&user, &text, &["--timeout", "300ms"], 3).await;
    for (host, part) in [
        (at(&silent), "not seen: the TLS handshake with the upstream took longer than 300ms"),
        (at(&plain), "not seen: the upstream does not speak TLS"),
        (at(&sound), "matches at position 0"),
        ("**.wide.example (pinset wide)".to_owned(), "skipped: a wildcard names no host to connect to"),
        ("a.wide.example (pinset narrow)".to_owned(), "skipped: a.wide.example:443 is exempt for now"),
    ] {
        let line = ended.out.lines().find(|line| line.starts_with(&host));
        assert!(line.is_some_and(|line| line.contains(part)), "{host}: {part:?} is missing in {ended}");
    }
    assert!(ended.out.contains(&format!("300ms, at 127.0.0.1:{}\n", silent.origin.port())), "{ended}");
    // A finding says more than a host that is not seen.
    let wrong = format!("{text}{}", set("wrong", &at(&sound).replace("localhost", "127.0.0.1"), &spare()));
    probe(&user, &wrong, &["--timeout", "300ms"], 1).await;
}

/// More than are connected to at a time, none is left out, and they are told in the order of the file.
#[tokio::test]
async fn many_hosts() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let hosts: Vec<_> = (1..=40).map(|last| format!("127.0.0.{last}:{}", site.origin.port())).collect();
    let text = format!("[[pinset]]\nname = \"many\"\nhosts = {hosts:?}\n{}\n", in_use(&[site.chain.pin()], &spare()));
    let ended = probe(&user, &text, &["--json"], 1).await;
    let told: Value = serde_json::from_str(&ended.out).expect("JSON");
    let probed = told["probed"].as_array().expect("hosts");
    assert_eq!(probed.iter().map(|seen| &seen["host"]).collect::<Vec<_>>(), hosts.iter().collect::<Vec<_>>());
    let refused: Vec<_> = probed.iter().filter(|seen| seen["outcome"] != "unreachable").collect();
    assert_eq!(refused.len(), 1, "one of them listens: {ended}");
    assert_eq!(refused[0]["detail"], "the chain does not lead to a trusted root");
    for seen in probed.iter().filter(|seen| seen["outcome"] == "unreachable") {
        assert_eq!((&seen["address"], &seen["paths"]), (&seen["host"], &Value::Null), "{ended}");
    }
}

/// What there was no time for is told as that, and is not fine.
#[tokio::test]
async fn more_hosts_than_there_is_time_for() {
    let user = User::new();
    let silent = Site::start(Behaviour::NeverHandshake).await;
    let sound = Site::start(Behaviour::Echo).await;
    let set = |name: &str, hosts: &[String]| {
        format!("[[pinset]]\nname = \"{name}\"\nhosts = {hosts:?}\n{}\n", in_use(&[sound.chain.pin()], &spare()))
    };
    user.file("roots.pem", &sound.root.pem());
    let at = |host: &str, site: &Site| format!("{host}:{}", site.origin.port());
    let text = format!(
        "[upstream]\nroots = \"./roots.pem\"\n{}{}{}",
        set("silent", &[at("localhost", &silent), at("127.0.0.1", &silent)]),
        set("sound", &[at("localhost", &sound)]),
        set("wide", &["**.wide.example".to_owned()]),
    );
    let options = ["--timeout", "1m", "--total-timeout", "3s"];
    let ended = probe(&user, &text, &options, 3).await;
    let lines: Vec<_> = ended.out.lines().collect();
    for (line, host) in lines.iter().zip([at("localhost", &silent), at("127.0.0.1", &silent)]) {
        assert_eq!(*line, format!("{host} (pinset silent): not probed: the 3s for all hosts were over before"));
    }
    assert!(lines[2].contains("matches at position 0"), "{ended}");
    assert!(lines.iter().any(|line| line.starts_with("2 of 3 hosts were not probed within 3s: ")), "{ended}");
    let ended = probe(&user, &text, &[&options[..], &["--json"]].concat(), 3).await;
    let told: Value = serde_json::from_str(&ended.out).expect("JSON");
    let outcomes: Vec<_> = told["probed"].as_array().into_iter().flatten().map(|seen| &seen["outcome"]).collect();
    assert_eq!(outcomes, ["not-probed", "not-probed", "accepted", "skipped"], "{ended}");
}

/// An upstream that speaks neither of the usual protocols is asked once more without any, as in a session.
#[tokio::test]
async fn a_host_with_a_protocol_of_its_own() {
    let (user, root) = (User::new(), Ca::root("A private CA"));
    let chain = leaf().signed_by(&root);
    let origin = Origin::start(OriginConfig::new(chain.clone()).alpn(&["mqtt"])).await;
    user.file("roots.pem", &root.pem());
    let pins = in_use(&[chain.pin()], &spare());
    let host = format!("localhost:{}", origin.port());
    let text = format!("[upstream]\nroots = \"./roots.pem\"\n[[pinset]]\nname = \"m\"\nhosts = [\"{host}\"]\n{pins}\n");
    let ended = probe(&user, &text, &[], 0).await;
    assert!(ended.out.contains("matches at position 0 of path 1 of 1"), "{ended}");
    assert_eq!(origin.tally().handshakes_finished(), 1);
}

/// A host that is pinned on all ports is looked at where clients may go.
#[tokio::test]
async fn ports_that_clients_may_reach() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let pinned = pinset(&site.chain.pin());
    let access = format!("destinations_deny = []\nports_allow = [1, {}]", site.origin.port());
    let denied = access.replace("[]", "[\"localhost:1\"]");
    let path = site.trusted_by(&user, &format!("{pinned}[access]\n{denied}\n"));
    let text = std::fs::read_to_string(path).expect("a configuration");
    let ended = probe(&user, &text, &["--json"], 0).await;
    let told: Value = serde_json::from_str(&ended.out).expect("JSON");
    let seen = &told["probed"][0];
    assert_eq!(seen["host"], format!("localhost:{}", site.origin.port()), "{ended}");
    assert_eq!(seen["outcome"], "accepted", "{ended}");
}

/// The access rules are those of the clients.
#[tokio::test]
async fn denied_hosts_are_not_connected_to() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let pinned = pinset(&site.chain.pin()).replace("localhost", &format!("localhost:{}", site.origin.port()));
    let port = site.origin.port();
    for (access, part) in [
        (
            format!("destinations_deny = [\"loopback\"]\nports_allow = [{port}]"),
            "forbidden: address 127.0.0.1 may not be reached through this proxy",
        ),
        ("destinations_deny = []\nports_allow = [443]".to_owned(), "[access] ports_allow"),
        ("destinations_deny = [\"localhost\"]".to_owned(), "forbidden: port "),
    ] {
        let path = site.trusted_by(&user, &format!("{pinned}[access]\nclients = [\"127.0.0.1\"]\n{access}\n"));
        let text = std::fs::read_to_string(path).expect("a configuration");
        let ended = probe(&user, &text, &[], 0).await;
        assert!(ended.out.contains(part) && ended.out.contains(": forbidden: "), "{ended}");
        let finding = "warning[W23]: no session gets to localhost:";
        assert_eq!(ended.out.matches(finding).count(), 1, "what the text tells already is not told twice: {ended}");
        probe(&user, &text, &["--strict"], 1).await;
    }
    assert_eq!(site.origin.tally().connections.len(), 0);
}

#[tokio::test]
async fn nothing_is_connected_to_unless_it_is_asked_for_and_the_files_can_be_used() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let pinned = pinset(&site.chain.pin()).replace("localhost", &format!("localhost:{}", site.origin.port()));
    let path = site.trusted_by(&user, &pinned);
    let check = |options: &'static [&'static str]| user.pinproxy(["config", "check"]).args(options).arg(&path);
    check(&[]).run().await.with_code(0);
    std::fs::write(user.folder().join("private ca.pem"), "").expect("the file is written");
    let ended = check(&["--probe"]).run().await.with_code(1);
    assert!(ended.out.contains("no host was connected to") && ended.out.contains("error[E65]"), "{ended}");
    assert_eq!(site.origin.tally().connections.len(), 0);
    check(&["--timeout", "1s"]).run().await.with_code(2).says(&["--probe"]);
    check(&["--total-timeout", "1s"]).run().await.with_code(2).says(&["--probe"]);
    check(&["--probe", "--total-timeout", "25h"]).run().await.with_code(2).says(&["above 0s, and up to 1day"]);
    check(&["--probe", "--timeout", "0s"]).run().await.with_code(2).says(&["write a duration above 0s"]);
    assert!(!user.ca().exists(), "no CA is made");
}

/// What is forbidden on the port that was looked at alone is no fault of the pattern, which is for others, too.
#[tokio::test]
async fn hosts_that_are_denied_on_one_port() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let pinned = pinset(&site.chain.pin());
    let on = |ports: std::ops::Range<u16>| ports.map(|port| format!("localhost:{port}")).collect::<Vec<_>>();
    let allow = |ports: std::ops::Range<u16>| format!("ports_allow = {:?}", ports.collect::<Vec<_>>());
    for (host, denied, allowed, times) in [
        // Clients may go to one of them, which is not thought of.
        ("localhost", on(1000..1017), allow(1000..1018), 0),
        ("localhost:1000", on(1000..1017), allow(1000..1018), 1),
        ("localhost", on(1000..1016), allow(1000..1016), 1),
        ("localhost", vec!["127.0.0.0/8".to_owned(), "::1".to_owned()], allow(1000..1018), 1),
    ] {
        let pinned = pinned.replace("\"localhost\"", &format!("{host:?}"));
        let access = format!("[access]\nclients = [\"127.0.0.1\"]\ndestinations_deny = {denied:?}\n{allowed}\n");
        let path = site.trusted_by(&user, &format!("{pinned}{access}"));
        let text = std::fs::read_to_string(path).expect("a configuration");
        let ended = probe(&user, &text, &[], 0).await;
        assert!(ended.out.contains(": forbidden: "), "{ended}");
        assert_eq!(ended.out.matches("warning[W23]: no session gets to").count(), times, "{host} {denied:?} {ended}");
    }
}

/// That a pattern changes nothing does not hide that nobody gets there.
#[tokio::test]
async fn a_pattern_with_two_faults() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let host = format!("localhost:{}", site.origin.port());
    let pinned = pinset(&site.chain.pin()).replace("\"localhost\"", &format!("\"**.localhost\", {host:?}"));
    // By its address, which the text does not know: an entry for IPv6 alone would leave the other one.
    let port = site.origin.port();
    let access =
        format!("[access]\nclients = [\"127.0.0.1\"]\nports_allow = [{port}]\ndestinations_deny = [\"127.0.0.0/8\"]\n");
    let path = site.trusted_by(&user, &format!("{pinned}{access}"));
    let text = std::fs::read_to_string(path).expect("a configuration");
    let ended = probe(&user, &text, &[], 0).await;
    for told in [format!("warning[W23]: {host} changes nothing"), format!("warning[W23]: no session gets to {host}")] {
        assert_eq!(ended.out.matches(&told).count(), 1, "{told} {ended}");
    }
}
