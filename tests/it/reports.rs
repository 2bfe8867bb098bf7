//! The files: one line of JSON a session, one a violation, under the names that are documented.

use crate::support::client::{Ending, RawClient};
use crate::support::origin::{Behaviour, Origin, OriginConfig};
use crate::support::pki::{Ca, Chain, Key, Leaf, hex};
use crate::support::proxy::{ProxyBuilder, TestProxy};
use crate::support::setting::{HOST, tls};
use serde_json::{Value, json};
use std::path::Path;

/// The lines of a file in the folder of a proxy that has ended, as JSON.
fn lines(folder: &Path, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(name)).expect("the file is there");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// The fields of a table in config/FIELDS.md, in order.
fn documented(section: &str) -> Vec<&'static str> {
    let page = include_str!("../../config/FIELDS.md");
    let (_, section) = page.split_once(&format!("\n## {section}\n")).expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut names: Vec<_> = rows.collect();
    names.sort_unstable();
    names
}

/// A proxy with a pinset for [`HOST`], both files, and an origin with this chain.
struct Reporting {
    proxy: TestProxy,
    origin: Origin,
    pinned: Key,
    backup: Key,
}

impl Reporting {
    async fn start(root: &Ca, chain: Chain, mode: &str, client_id: &str) -> Self {
        let (pinned, backup) = (Key::p256(), Key::p256());
        let toml = format!(
            "[reports]\nfile = \"violations.jsonl\"\nclient_id = \"{client_id}\"\n[log]\naccess = \"access.jsonl\"\n\
             [[pinset]]\nname = \"bank\"\nhosts = [\"**.bank.example\"]\nleaf_pins = [\"{}\"]\nbackup = [\"{}\"]\n\
             mode = \"{mode}\"\n[pinset.expiry]\nat = 2099-06-30T00:00:00Z\nthen = \"fail-closed\"\n",
            pinned.pin(),
            backup.pin(),
        );
        let origin = Origin::start(OriginConfig::new(chain).behaviour(Behaviour::Echo)).await;
        let proxy = ProxyBuilder::new(toml).trusting([root]).start().await;
        Self { proxy, origin, pinned, backup }
    }

    fn target(&self) -> String {
        format!("{HOST}:{}", self.origin.port())
    }

    /// Ends the proxy, which writes out what is queued, and gives the lines of both files: sessions and violations.
    async fn end(&mut self) -> (Vec<Value>, Vec<Value>) {
        self.proxy.begin_stop();
        self.proxy.stopped().await;
        let folder = self.proxy.folder.path();
        (lines(folder, "access.jsonl"), lines(folder, "violations.jsonl"))
    }
}

/// The form of RFC 7469 section 3: `pin-sha256="…"`.
fn known_pin(key: &Key) -> String {
    let pin = key.pin();
    format!("pin-sha256=\"{}\"", pin.strip_prefix("sha256/").expect("a pin of a key"))
}

fn unescaped(chain: &Value) -> Vec<String> {
    chain.as_array().expect("a list").iter().map(|pem| pem.as_str().expect("a text").to_owned()).collect()
}

#[tokio::test]
async fn a_violation_is_reported_as_rfc_7469_says_and_more() {
    let root = Ca::root("root");
    let issuer = root.intermediate("intermediate");
    let chain = Leaf::named(HOST).signed_by(&issuer);
    let mut reporting = Reporting::start(&root, chain.clone(), "enforce", "plain").await;
    let mut client = RawClient::connect(reporting.proxy.addr).await.unwrap();
    let reply = client.connect_to(&reporting.target()).await.unwrap();
    assert_eq!(reply.status, 502);
    client.read_to_end().await.unwrap();
    let session = reporting.proxy.told().await.event.session;
    let (sessions, violations) = reporting.end().await;
    let [report] = violations.as_slice() else { panic!("{violations:?}") };
    assert_eq!(names(report), documented("A violation report"));
    let served: Vec<String> =
        chain.certificates.iter().map(|der| crate::support::pki::pem_block("CERTIFICATE", der)).collect();
    assert_eq!(unescaped(&report["served-certificate-chain"]), served);
    let validated = [served[0].clone(), issuer.pem(), root.pem()];
    assert_eq!(unescaped(&report["validated-certificate-chain"]), validated);
    let known = [known_pin(&reporting.pinned), known_pin(&reporting.backup)];
    assert_eq!(report["known-pins"], json!(known));
    let expected = json!({
        "hostname": HOST, "port": reporting.origin.port(), "noted-hostname": "bank.example",
        "include-subdomains": true, "effective-expiration-date": "2099-06-30T00:00:00.000Z",
        "decision": "refuse", "failure-class": "pin", "enforced": true, "pinset": "bank",
        "seen-pins": [chain.pin(), issuer.pin(), root.pin()], "connect-authority": reporting.target(),
        "upstream-address": reporting.origin.addr().to_string(), "client": "127.0.0.1", "session": session,
        "sni": null, "matched-position": null, "policy-generation": 1, "suppressed-count": 0,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&report[name], value, "{name}");
    }
    let date = report["date-time"].as_str().unwrap();
    assert!(time::OffsetDateTime::parse(date, &time::format_description::well_known::Rfc3339).is_ok(), "{date}");
    assert!(date.len() == "2099-06-30T00:00:00.000Z".len() && date.ends_with('Z'), "{date} has milliseconds");
    assert!(report["proxy-id"].as_str().unwrap().starts_with("pinproxy/"));
    assert_eq!(sessions.len(), 1);
    assert_eq!((&sessions[0]["session"], &sessions[0]["decision"]), (&json!(session), &json!("refuse")));
}

#[tokio::test]
async fn every_session_is_one_line_in_the_access_file() {
    let root = Ca::root("root");
    let chain = Leaf::named(HOST).signed_by(&root);
    let (leaf, seen) = (hex(&chain.cert_sha256()), [chain.pin(), root.pin()]);
    let mut reporting = Reporting::start(&root, chain, "report-only", "none").await;
    // A request that is none, with what JSON has to escape; and a session that relays.
    let mut client = RawClient::connect(reporting.proxy.addr).await.unwrap();
    client.send("CONNECT \"\\\u{1b}\u{1}\u{fc}\n:443 HTTP/1.1\r\n\r\n".as_bytes()).await.unwrap();
    assert_eq!(client.read_reply().await.unwrap().status, 400);
    reporting.proxy.told().await;
    let mut client = RawClient::connect(reporting.proxy.addr).await.unwrap();
    assert_eq!(client.connect_to(&reporting.target()).await.unwrap().status, 200);
    let mut client = client.tls(&tls(&reporting.proxy, HOST).build()).await.unwrap();
    assert_eq!(client.exchange(b"ping", 4).await.unwrap(), b"ping");
    client.shutdown().await.unwrap();
    assert_eq!(client.read_to_end().await.unwrap().1, Ending::Clean);
    reporting.proxy.told().await;

    let (sessions, violations) = reporting.end().await;
    let documented = documented("Access line");
    assert_eq!(sessions.len(), 2);
    assert!(sessions.iter().all(|session| names(session) == documented), "{sessions:?}");
    assert_ne!(sessions[0]["session"], sessions[1]["session"]);
    assert_eq!((&sessions[0]["status"], &sessions[0]["hostname"]), (&json!(400), &Value::Null));
    let expected = json!({
        "stage": "relay", "decision": "report", "failure-class": "pin", "status": 200, "pinset": "bank",
        "enforced": false, "client": "127.0.0.1", "sni": HOST, "hostname": HOST, "upstream-tls": "1.3",
        "client-tls": "1.3", "bytes": { "upstream": 4, "client": 4 }, "ended": "closed", "upstream-certificate": leaf,
        "seen-pins": seen, "matched-pin": null, "asked": "report-only", "overridden": false,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&sessions[1][name], value, "{name}");
    }
    for name in ["duration-ms", "upstream-handshake-ms", "client-handshake-ms"] {
        assert!(sessions[1][name].is_u64(), "{name}");
    }
    assert!(sessions[1]["upstream-not-after"].as_str().is_some_and(|end| end.ends_with('Z')));
    assert_eq!(sessions[0]["upstream-handshake-ms"], Value::Null);
    let [report] = violations.as_slice() else { panic!("{violations:?}") };
    assert_eq!((&report["decision"], &report["enforced"]), (&json!("report"), &json!(false)));
    assert_eq!(report["session"], sessions[1]["session"]);
    assert_eq!(report["client"], Value::Null, "client_id = \"none\"");
}

#[tokio::test]
async fn clients_are_named_as_configured() {
    let root = Ca::root("root");
    let chain = Leaf::named(HOST).signed_by(&root);
    let mut hashes = Vec::new();
    for client_id in ["plain", "hashed", "hashed", "none"] {
        let mut reporting = Reporting::start(&root, chain.clone(), "enforce", client_id).await;
        for _ in 0..2 {
            let mut client = RawClient::connect(reporting.proxy.addr).await.unwrap();
            assert_eq!(client.connect_to(&reporting.target()).await.unwrap().status, 502);
            reporting.proxy.told().await;
        }
        let (sessions, violations) = reporting.end().await;
        assert!(sessions.iter().all(|session| session["client"] == "127.0.0.1"), "the operator's own record is plain");
        let named: Vec<_> = violations.iter().map(|report| report["client"].clone()).collect();
        assert_eq!(named.len(), 2);
        assert_eq!(named[0], named[1], "{client_id}: one client has one name");
        match (client_id, &named[0]) {
            ("plain", name) => assert_eq!(name, "127.0.0.1"),
            ("none", name) => assert_eq!(name, &Value::Null),
            (_, name) => {
                let hash = name.as_str().expect("a hash").to_owned();
                assert!(hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
                hashes.push(hash);
            }
        }
    }
    assert_ne!(hashes[0], hashes[1], "two runs of the proxy do not give a client the same name");
}
