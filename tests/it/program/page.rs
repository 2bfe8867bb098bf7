//! The page at the admin address, and its JSON: what is told of pinsets, violations and overrides, to whom, and how much.

mod browser;
mod table;

use super::reload::reply;
use super::*;

use crate::support::client::{RawClient, Reply};
use crate::support::within_deadline;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// What an attacker would have somebody's browser do.
const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";

/// A proxy with a page on a port of 127.0.0.1, and a control socket.
struct Shown {
    user: User,
    site: Site,
    program: Program,
    path: PathBuf,
    admin: SocketAddr,
}

impl Shown {
    /// With this in the configuration.
    async fn start(toml: impl FnOnce(&Site) -> String) -> Self {
        Self::before(Site::start(Behaviour::Echo).await, "", toml).await
    }

    /// In front of this site, with these lines in `[admin]`.
    async fn before(site: Site, admin: &str, toml: impl FnOnce(&Site) -> String) -> Self {
        let user = User::new();
        let toml = format!("[admin]\naddress = \"127.0.0.1:0\"\nsocket = \"control.sock\"\n{admin}\n{}", toml(&site));
        let path = site.trusted_by(&user, &toml);
        let program = Program::start(user.run(Some(&path))).await;
        let url = value(&program.greeting, "admin");
        let admin = url.split("://").nth(1).expect("a URL").parse().expect("an address");
        // It is made behind the greeting, and nobody tells.
        let socket = user.folder().join("control.sock");
        let made = async {
            while !socket.exists() {
                tokio::task::yield_now().await;
            }
        };
        within_deadline(made).await.expect("a control socket");
        Self { user, site, program, path, admin }
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "").await
    }

    /// A request with these further lines in its head.
    async fn ask(&self, method: &str, path: &str, fields: &str) -> Reply {
        let mut client = RawClient::connect(self.admin).await.expect("the admin address listens");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", self.admin);
        client.send(head.as_bytes()).await.expect("it takes the request");
        client.read_reply().await.unwrap_or_else(|fault| panic!("{path}: {fault}"))
    }

    async fn json(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")), "{reply:?}");
        serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
    }

    async fn text(&self, path: &str) -> String {
        let reply = self.get(path).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/html; charset=utf-8")), "{reply:?}");
        reply.text()
    }

    /// A session to the site, and the status that its CONNECT gets.
    async fn session(&self) -> u16 {
        reply(&self.program, &self.site).await.0
    }

    /// The violations as soon as there are so many. The event of a session comes after its reply.
    async fn violations(&self, total: u64) -> Value {
        let asked = async {
            loop {
                let violations = self.json("/api/violations").await;
                if violations["total"] == total {
                    break violations;
                }
            }
        };
        within_deadline(asked).await.unwrap_or_else(|| panic!("there are not {total} violations"))
    }

    async fn ctl(&self, arguments: &[&str]) -> process::Finished {
        let socket = self.user.folder().join("control.sock");
        self.user.pinproxy(["ctl", "--socket"]).arg(socket).args(arguments).run().await
    }

    async fn override_site(&self, reason: &str, by: &str) {
        let host = format!("{HOST}:{}", self.site.origin.port());
        let given = ["override", "add", &host, "--for", "1h", "--reason", reason, "--by", by];
        self.ctl(&given).await.with_code(0);
    }
}

/// A site whose end entity has this name in its subject.
async fn site_named(name: &str) -> Site {
    let root = Ca::root("A private CA");
    let chain = Leaf::named(HOST).common_name(name).signed_by(&root);
    let origin = Origin::start(OriginConfig::new(chain.clone()).behaviour(Behaviour::Echo)).await;
    Site { root, chain, origin }
}

#[tokio::test]
async fn questions_that_are_none() {
    let shown = Shown::start(|_| String::new()).await;
    let table = [
        ("GET", "/?nome=x", 400, "unknown field `nome`"),
        ("GET", "/main?name=a&name=b", 400, "duplicate field `name`"),
        ("GET", "/api/pinsets?limit=100000", 400, "unknown field `limit`"),
        ("GET", "/api/violation", 404, "nothing under this path"),
        ("GET", "/index.html", 404, "nothing under this path"),
        ("GET", "//", 404, "nothing under this path"),
        ("POST", "/", 405, "GET and HEAD are all"),
        ("DELETE", "/api/overrides", 405, "GET and HEAD are all"),
    ];
    for (method, path, status, says) in table {
        let reply = shown.ask(method, path, "").await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        assert!(reply.text().contains(says), "{method} {path}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/json"), "{method} {path}");
    }
    shown.program.stop().await;
}

/// Also of the page: whoever must not read the figures must not look at them either.
#[tokio::test]
async fn the_page_and_its_json_are_for_those_who_know_the_token() {
    let token = "correct-horse-battery-staple";
    let site = Site::start(Behaviour::Echo).await;
    let shown = Shown::before(site, &format!("token = \"{token}\""), |_| String::new()).await;
    let basic = format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("anybody:{token}")));
    for path in ["/", "/main", "/api/status", "/api/pinsets", "/api/violations", "/api/overrides", "/none"] {
        let refused = shown.get(path).await;
        assert_eq!(refused.status, 401, "{path}: {refused:?}");
        assert!(!refused.text().contains("generation"), "{path}: {}", refused.text());
        let known = shown.ask("GET", path, &basic).await;
        assert_eq!(known.status, if path == "/none" { 404 } else { 200 }, "{path}: {known:?}");
        for reply in [refused, known] {
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
            let policy = reply.header("content-security-policy").expect("a policy");
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        }
    }
    shown.program.stop().await;
}

/// Names in certificates, reasons and names of operators, faults of a configuration, what is looked for: all of it is text.
#[tokio::test]
async fn what_others_have_written_stays_text() {
    let site = site_named(&format!("{HOSTILE}\u{202e}")).await;
    let shown = Shown::before(site, "", |_| pinset(&Key::p256().pin())).await;
    assert_eq!(shown.session().await, 502);
    shown.violations(1).await;
    shown.override_site(HOSTILE, "</section><b>").await;
    std::fs::write(&shown.path, format!("[[pinset]]\n\"{}\" = 1\n", HOSTILE.replace('"', ""))).unwrap();
    shown.ctl(&["reload"]).await.with_code(1);

    let looked_for = "%22%3E%3Cscript%3Ealert(3)%3C/script%3E";
    for path in ["/", &format!("/?name={looked_for}"), "/main", &format!("/main?name={looked_for}")] {
        let text = shown.text(path).await;
        let is_whole = !path.starts_with("/main");
        for (tag, count) in [
            ("<script", usize::from(is_whole)),
            ("<style", usize::from(is_whole)),
            ("<img", 0),
            ("<b>", 0),
            ("</section><", 0),
        ] {
            assert_eq!(text.matches(tag).count(), count, "{tag} in {path}:\n{text}");
        }
        assert!(!text.contains('\u{202e}'), "{path}");
        assert_eq!(
            text.matches("&#60;script&#62;alert(1)").count(),
            4,
            "subject, override, reload (twice) in {path}:\n{text}"
        );
        assert!(text.contains("&#60;/section&#62;&#60;b&#62;"), "{path}:\n{text}");
    }
    assert!(shown.text(&format!("/?name={looked_for}")).await.contains("value=\"&#34;&#62;&#60;script&#62;alert(3)"));
    shown.program.stop().await;
}

/// The texts between the first pair of tags.
fn inside<'a>(text: &'a str, tag: &str) -> &'a str {
    let behind = text.split_once(&format!("<{tag}>")).unwrap_or_else(|| panic!("no <{tag}> in {text}")).1;
    behind.split_once(&format!("</{tag}>")).expect("an end").0
}

#[tokio::test]
async fn the_page_loads_nothing_and_runs_its_own_script_alone() {
    let shown = Shown::start(|site| pinset(&site.chain.pin())).await;
    let reply = shown.get("/").await;
    let text = reply.text();
    let hash = |tag| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(inside(&text, tag))));
    let expected = format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'",
        hash("style"),
        hash("script")
    );
    assert_eq!(reply.header("content-security-policy"), Some(expected.as_str()));
    for outside in ["src=", "<link", "url(", "@import", "http:", "https:", "style=\"", "onclick"] {
        assert!(!text.contains(outside), "{outside} in {text}");
    }
    for part in ["<html lang=\"en\">", "<noscript><meta http-equiv=\"refresh\"", "prefers-color-scheme: dark", "<h1>"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    // The script puts the one in the place of the other.
    assert_eq!(inside(&text, "main").trim(), shown.text("/main").await.trim());
    shown.program.stop().await;
}

#[tokio::test]
async fn a_refusal_and_one_that_was_overridden() {
    let (pinned, foreign) = (Key::p256(), site_named("Somebody else").await);
    let shown = Shown::before(foreign, "", |_| pinset(&pinned.pin())).await;
    let none = shown.json("/api/violations").await;
    assert_eq!(none, json!({ "total": 0, "violations": [] }));
    assert!(shown.text("/").await.contains("None since the start."));

    assert_eq!(shown.session().await, 502);
    let first = shown.violations(1).await["violations"][0].clone();
    let target = format!("{HOST}:{}", shown.site.origin.port());
    let leaf = Sha256::digest(shown.site.chain.leaf());
    let leaf = format!("cert:sha256:{}", crate::support::pki::hex(&leaf));
    assert_eq!(first["target"], target.as_str());
    assert_eq!(
        (&first["outcome"], &first["class"], &first["pinset"]),
        (&json!("refused"), &json!("pin"), &json!("site"))
    );
    assert_eq!((&first["seen-from"], first["seen"].as_array().map(Vec::len)), (&json!("judged"), Some(2)));
    let seen = json!({
        "position": 0, "subject": "CN=Somebody else", "pin": shown.site.chain.pin(), "certificate": leaf, "pinned": false
    });
    assert_eq!(first["seen"][0], seen);
    assert_eq!(first["seen"][1]["pin"], shown.site.root.pin().as_str());
    assert_eq!(first["expected"][0], json!({ "pin": pinned.pin(), "position": "leaf", "seen": false }));
    assert_eq!(first["expected"].as_array().map(Vec::len), Some(2), "with the backup");

    shown.override_site("CHG-4711", "ann").await;
    assert_eq!(shown.session().await, 200);
    let second = shown.violations(2).await["violations"][0].clone();
    assert_eq!((&second["number"], &second["outcome"]), (&json!(2), &json!("overridden")));
    let pinsets = shown.json("/api/pinsets").await;
    let site = &pinsets["pinsets"][0];
    let counts = ["matches", "violations", "refusals"].map(|name| &site[name]);
    assert_eq!((counts, &pinsets["total"]), ([&json!(0), &json!(1), &json!(1)], &json!(1)));
    assert_eq!(site["last-violation"], second["date-time"]);
    assert_eq!((&site["protection"], &site["hosts"]), (&json!("enforced"), &json!([HOST])));

    let text = shown.text("/").await;
    let session = second["session"].as_str().unwrap().to_owned();
    let parts =
        ["let through, overridden", "refused", "CN=Somebody else", "not pinned", "not seen", "CHG-4711", &session];
    for part in parts.into_iter().chain([&*pinned.pin(), &shown.site.chain.pin(), &target]) {
        assert!(text.contains(&part.replace('+', "&#43;")) || text.contains(part), "{part} is missing in {text}");
    }
    assert!(text.contains("Enforcement is overridden for 1 host."), "{text}");
    shown.program.stop().await;
}

/// A key that is pinned and stands where it must not is told as that.
#[tokio::test]
async fn a_pinned_key_at_another_place() {
    let shown = Shown::start(|site| pinset(&site.root.pin())).await;
    assert_eq!(shown.session().await, 502);
    let violation = shown.violations(1).await["violations"][0].clone();
    assert_eq!([&violation["seen"][0]["pinned"], &violation["seen"][1]["pinned"]], [&json!(false), &json!(true)]);
    assert_eq!([&violation["expected"][0]["seen"], &violation["expected"][1]["seen"]], [&json!(true), &json!(false)]);
    assert!(shown.text("/").await.contains("pinned, but not enough"));
    shown.program.stop().await;
}

/// Where no path came to be judged, the keys are those of what was served, and fewer than a peer may serve.
#[tokio::test]
async fn violations_without_a_path() {
    let root = Ca::root("A private CA");
    let filler = Ca::root("Filler");
    let chain = (0..60).fold(Leaf::named(HOST).signed_by(&root), |chain, _| chain.append(filler.der()));
    let origin = Origin::start(OriginConfig::new(chain.clone()).behaviour(Behaviour::Echo)).await;
    let site = Site { root, chain, origin };
    let shown = Shown::before(site, "", |site| pinset(&site.chain.pin())).await;
    assert_eq!(shown.session().await, 502);
    let violation = shown.violations(1).await["violations"][0].clone();
    assert_eq!((&violation["class"], &violation["seen-from"]), (&json!("budget"), &json!("served")));
    let seen = violation["seen"].as_array().expect("a list");
    assert_eq!((seen.len(), &seen[0]["pinned"], &seen[15]["subject"]), (16, &json!(true), &json!("CN=Filler")));
    let text = shown.text("/").await;
    assert!(text.contains("among what was served") && !text.contains("not enough"), "{text}");

    // Refused before anything is served.
    let toml = std::fs::read_to_string(&shown.path).unwrap();
    let ended = "[pinset.expiry]\nat = 2020-01-01T00:00:00Z\nthen = \"fail-closed\"\n";
    std::fs::write(&shown.path, format!("{toml}{ended}")).unwrap();
    shown.ctl(&["reload"]).await.with_code(0);
    assert_ne!(shown.session().await, 200);
    let violation = shown.violations(2).await["violations"][0].clone();
    assert_eq!((&violation["class"], &violation["seen-from"]), (&json!("pin"), &json!("nothing")));
    assert_eq!((&violation["seen"], &violation["expected"][0]["seen"]), (&json!([]), &json!(false)));
    let text = shown.text("/").await;
    for part in ["No certificate.", "always refused", "2020-01-01, which is past (pinset, then fail-closed)"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    shown.program.stop().await;
}

/// The first thing that is seen says whether something has to be done.
#[tokio::test]
async fn health_in_one_line() {
    let shown = Shown::start(|_| "[limits]\ndrain_delay = \"5m\"\n".to_owned()).await;
    assert!(shown.text("/").await.contains("Running, and nothing is wrong with the proxy itself"));
    std::fs::write(&shown.path, "[[pinset").unwrap();
    shown.ctl(&["reload"]).await.with_code(1);
    assert!(shown.text("/").await.contains("Running; one thing to look at"));
    assert!(shown.text("/").await.contains("was refused; generation 1 stays in force:"));
    shown.program.running.signal("TERM").await;
    let draining = async { while !shown.text("/").await.contains("Draining; 2 things to look at") {} };
    within_deadline(draining).await.expect("the page tells of it");
    assert!(shown.text("/main").await.contains("It is draining: "));
    // The end of the delay, and of everything.
    shown.program.running.signal("TERM").await;
    shown.program.running.ended().await.with_code(1);
}

/// A large configuration and many violations are told in part, and it is said what is left out.
#[tokio::test]
async fn what_is_told_has_bounds() {
    let many = |_: &Site| {
        let pins: Vec<_> = (0..25).map(|_| format!("\"{}\"", Key::p256().pin())).collect();
        let mut toml =
            pinset(&Key::p256().pin()).replace("leaf_pins = [", &format!("leaf_pins = [{}, ", pins.join(", ")));
        let key = Key::p256().pin();
        for number in 0..250 {
            let hosts: Vec<_> = (0..7).map(|host| format!("\"h{host}.p{number}.example\"")).collect();
            let hosts = hosts.join(", ");
            writeln!(
                toml,
                "[[pinset]]\nname = \"p{number}\"\nhosts = [{hosts}]\nleaf_pins = [\"{key}\"]\nmode = \"report-only\""
            )
            .unwrap();
        }
        toml
    };
    let shown = Shown::start(many).await;
    for _ in 0..60 {
        assert_eq!(shown.session().await, 502);
    }
    let violations = shown.violations(60).await;
    let numbers: Vec<_> =
        violations["violations"].as_array().unwrap().iter().map(|one| one["number"].as_u64()).collect();
    assert_eq!(numbers, (11..=60).rev().map(Some).collect::<Vec<_>>());
    let first = &violations["violations"][0];
    assert_eq!((first["expected"].as_array().map(Vec::len), &first["expected-left-out"]), (Some(20), &json!(7)));

    let names = |pinsets: &Value| -> Vec<String> {
        pinsets["pinsets"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let pinsets = shown.json("/api/pinsets").await;
    let told = names(&pinsets);
    assert_eq!((&pinsets["total"], &pinsets["left-out"], told.len()), (&json!(251), &json!(51), 200));
    assert_eq!([&*told[0], &told[1], &told[2], &told[3]], ["site", "p0", "p1", "p10"], "trouble first, then by name");
    assert_eq!(
        (pinsets["pinsets"][1]["hosts"].as_array().map(Vec::len), &pinsets["pinsets"][1]["hosts-left-out"]),
        (Some(5), &json!(2))
    );
    let found = shown.json("/api/pinsets?name=p24").await;
    assert_eq!(names(&found)[..3], ["p24", "p240", "p241"]);
    assert_eq!((&found["total"], &found["left-out"]), (&json!(11), &json!(0)));
    assert_eq!(shown.json("/api/pinsets?name=nothing").await["pinsets"], json!([]));
    let text = shown.text("/").await;
    for part in
        ["the latest 50 of 60 since the start", "200 of 251 are shown", "and 7 more", "and 2 more", "role=\"search\""]
    {
        assert!(text.contains(part), "{part} is missing");
    }
    assert!(shown.text("/?name=nothing").await.contains("No pinset has a name with that in it."));
    shown.program.stop().await;
}
