//! The metrics: what sessions add to them, and that others can read them.

use super::*;

use crate::support::client::ClientTls;
use crate::support::collector::{Collector, Manner};
use crate::support::pki::{Validity, pem_block};
use crate::support::process::{command, find, skipped};
use pinproxy::authority;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What the parser of Prometheus's own Python client reads from a scrape: each family with its type and help, and its
/// samples with their labels.
const PARSER: &str = "
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
families = [{
    'name': family.name, 'type': family.type, 'help': family.documentation,
    'samples': [[sample.name, sample.labels, sample.value] for sample in family.samples],
} for family in parse(sys.stdin.read())]
json.dump(families, sys.stdout)
";

/// What a YAML file holds, as JSON.
const YAML: &str = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin.read()), sys.stdout)";

/// The answer of an interpreter that has these packages.
async fn python(packages: &str, script: &str, input: &str) -> Option<serde_json::Value> {
    let python = std::env::var_os("PINPROXY_TEST_PYTHON").map(PathBuf::from).or_else(|| find("python3"))?;
    let home = tempfile::tempdir().expect("a folder");
    if command(&python, home.path()).args(["-c", &format!("import {packages}")]).run().await.code != Some(0) {
        skipped(&format!("Python lacks one of {packages}; name an interpreter that has them in PINPROXY_TEST_PYTHON"));
        return None;
    }
    let done = command(&python, home.path()).args(["-c", script]).input(input).run().await.with_code(0);
    Some(serde_json::from_str(&done.out).expect("JSON"))
}

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Scrapes until a line is there. A session is counted right after its client has seen its end.
async fn until(telling: &Telling, line: &str) -> String {
    let found = async {
        loop {
            let text = telling.get("/metrics").await.text();
            if text.lines().any(|found| found == line) {
                return text;
            }
        }
    };
    match within_deadline(found).await {
        Some(text) => text,
        None => panic!("{line} is missing in\n{}", telling.get("/metrics").await.text()),
    }
}

/// A session through the proxy to its end.
async fn session(telling: &Telling) {
    let mut client = RawClient::connect(telling.program.address).await.expect("the proxy listens");
    let reply = client.connect_to(&format!("{HOST}:{}", telling.site.origin.port())).await.expect("a reply");
    if reply.status == 200 {
        let mut tls = client.tls(&ClientTls::to(HOST).build()).await.expect("the client shakes hands");
        assert_eq!(tls.exchange(b"12345", 5).await.expect("an echo"), b"12345");
        tls.shutdown().await.expect("the client ends it");
        tls.read_to_end().await.expect("and so does the upstream");
    }
}

#[tokio::test]
async fn sessions_are_counted_by_what_they_came_to() {
    let telling = Telling::start("socket = \"control.sock\"", |site| pinset(&site.chain.pin())).await;
    let fresh = telling.get("/metrics").await;
    assert_eq!(fresh.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let fresh = fresh.text();
    assert!(!fresh.contains("pinset=\"site\""), "a series appears with its first session: {fresh}");
    assert!(fresh.contains("\npinproxy_sessions_total{stage=\"relay\",decision=\"allow\"} 0\n"), "{fresh}");

    session(&telling).await;
    let text = until(&telling, "pinproxy_sessions_total{stage=\"relay\",decision=\"allow\"} 1").await;
    for line in [
        "pinproxy_verdicts_total{pinset=\"site\",mode=\"enforce\",verdict=\"matched\"} 1",
        "pinproxy_verdicts_total{pinset=\"site\",mode=\"enforce\",verdict=\"refused\"} 0",
        "pinproxy_handshake_seconds_count{side=\"upstream\"} 1",
        "pinproxy_handshake_seconds_count{side=\"client\"} 1",
        "pinproxy_handshake_seconds_bucket{le=\"+Inf\",side=\"client\"} 1",
        "pinproxy_relayed_bytes_total{to=\"upstream\"} 5",
        "pinproxy_relayed_bytes_total{to=\"client\"} 5",
        "pinproxy_leaves_issued_total 1",
        "pinproxy_leaf_cache_entries 1",
        "pinproxy_chain_memory_entries 1",
        "pinproxy_policy_generation 1",
        "pinproxy_policy_rules 1",
        "pinproxy_overrides 0",
        "pinproxy_reloads_total{outcome=\"taken\"} 0",
        "pinproxy_last_reload_failed 0",
        "pinproxy_lost_events_total{sink=\"the log\"} 0",
        concat!("pinproxy_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("mode=\"report-only\""), "{text}");
    let days = text.lines().find_map(|line| line.strip_prefix("pinproxy_upstream_leaf_days_left{pinset=\"site\"} "));
    assert!(days.is_some_and(|days| days.parse::<f64>().is_ok_and(|days| days > 0.0)), "{text}");

    // Another key, refused; the same, overridden; and a reload that is refused.
    let good = std::fs::read_to_string(&telling.path).unwrap();
    let expiry = "expiry = { at = 2999-01-01, then = \"fail-closed\" }\n";
    std::fs::write(&telling.path, good.replace(&telling.site.chain.pin(), &Key::p256().pin()) + expiry).unwrap();
    let socket = telling.user.folder().join("control.sock");
    let ctl = |arguments: &[&str]| telling.user.pinproxy(["ctl", "--socket"]).arg(&socket).args(arguments).run();
    ctl(&["reload"]).await.with_code(0);
    session(&telling).await;
    let text = until(&telling, "pinproxy_verdicts_total{pinset=\"site\",mode=\"enforce\",verdict=\"refused\"} 1").await;
    assert!(text.contains("pinproxy_failures_total{class=\"pin\",stage=\"pin\"} 1\n"), "{text}");
    assert!(text.contains("\npinproxy_policy_generation 2\n"), "{text}");
    assert!(text.contains("\npinproxy_pinset_days_left{pinset=\"site\"} 35"), "{text}");
    let target = format!("{HOST}:{}", telling.site.origin.port());
    ctl(&["override", "add", &target, "--for", "1h", "--reason", "x", "--by", "ann"]).await.with_code(0);
    session(&telling).await;
    let overridden = "pinproxy_verdicts_total{pinset=\"site\",mode=\"overridden\",verdict=\"violated\"} 1";
    let text = until(&telling, overridden).await;
    assert!(text.contains("\npinproxy_overrides 1\n"), "{text}");
    assert!(text.contains("\npinproxy_sessions_total{stage=\"relay\",decision=\"report\"} 1\n"), "{text}");
    std::fs::write(&telling.path, "[[pinset").unwrap();
    ctl(&["reload"]).await.with_code(1);
    let text = until(&telling, "pinproxy_last_reload_failed 1").await;
    assert!(text.contains("\npinproxy_reloads_total{outcome=\"refused\"} 1\n"), "{text}");
    assert!(!text.contains(HOST), "no host in a label: {text}");
    telling.program.stop().await;
}

#[tokio::test]
async fn open_sessions_that_new_rules_end() {
    let telling = Telling::start("", |site| pinset(&site.chain.pin())).await;
    let mut client = RawClient::connect(telling.program.address).await.unwrap();
    client.connect_to(&format!("{HOST}:{}", telling.site.origin.port())).await.unwrap();
    let tls = client.tls(&ClientTls::to(HOST).build()).await.unwrap();
    until(&telling, "pinproxy_open_sessions 1").await;
    let good = std::fs::read_to_string(&telling.path).unwrap();
    std::fs::write(&telling.path, good.replace(&telling.site.chain.pin(), &Key::p256().pin())).unwrap();
    telling.program.running.signal("HUP").await;
    let text = until(&telling, "pinproxy_sessions_closed_by_policy_total 1").await;
    assert!(text.contains("pinproxy_failures_total{class=\"pin\",stage=\"relay\"} 1\n"), "{text}");
    drop(tls);
    until(&telling, "pinproxy_open_sessions 0").await;
    telling.program.stop().await;
}

#[tokio::test]
async fn traces_are_counted_by_what_became_of_them() {
    let collector = Collector::start();
    let toml = format!("[traces]\nurl = \"http://{}/t0ken\"\n", collector.addr);
    let telling = Telling::start("", |site| format!("{toml}{}", pinset(&site.chain.pin()))).await;
    until(&telling, "pinproxy_traces_sent_total 0").await;
    session(&telling).await;
    let text = until(&telling, "pinproxy_traces_sent_total 1").await;
    assert!(text.contains("\npinproxy_traces_lost_total 0\n"), "{text}");
    collector.treats(Manner::Status(400));
    session(&telling).await;
    let text = until(&telling, "pinproxy_traces_lost_total 1").await;
    assert!(text.contains("\npinproxy_traces_sent_total 1\n") && !text.contains("t0ken"), "{text}");
    telling.program.stop().await;
}

/// A scrape in which every family has a sample, read by somebody else's parser.
async fn scraped() -> Option<Vec<serde_json::Value>> {
    let exempted = "[[pinset]]\nname = \"wide\"\nhosts = [\"**.bank.example\"]\nroots = \"private ca.pem\"\nexpiry = { at = 2999-01-01, then = \"unpinned\" }\n";
    let exempt = "[[exempt]]\nhosts = [\"old.bank.example\"]\nreason = \"x\"\nuntil = 2028-01-01T00:00:00Z\n";
    let pins = format!("leaf_pins = [\"{}\"]\nbackup = [\"{}\"]\n", Key::p256().pin(), Key::p256().pin());
    let sent =
        "[reports]\nurls = [\"http://127.0.0.1:9/\"]\nspool = \"spool\"\n[traces]\nurl = \"http://127.0.0.1:9/\"\n";
    let more = format!("{exempted}{pins}{exempt}");
    let lists = |user: &User, site: &Site| {
        let now = std::time::SystemTime::now();
        authority::load_or_create(&user.ca(), authority::Settings::default(), now).expect("a CA");
        authority::begin(&user.ca(), now + Duration::from_secs(60), None, now).expect("a rotation");
        user.file("lists.pem", &pem_block("X509 CRL", &site.root.revokes(&[], Validity::current())));
        "crls = [\"lists.pem\"]\n".to_owned()
    };
    let telling = Telling::judging_by(lists, "", |site| format!("{sent}{}{more}", pinset(&site.chain.pin()))).await;
    session(&telling).await;
    let text = until(&telling, "pinproxy_sessions_total{stage=\"relay\",decision=\"allow\"} 1").await;
    // One list of an hour, and a root that ends when all of a test does.
    for name in ["revocation_lists_days_left", "roots_days_left", "pinset_roots_days_left{pinset=\"wide\"}"] {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("pinproxy_{name} ")));
        let days: f64 = line.unwrap_or_else(|| panic!("{name}: {text}")).parse().expect("days");
        assert!(days > 0.0, "{name}: {days}");
    }
    telling.program.stop().await;
    let families = python("prometheus_client.openmetrics.parser", PARSER, &text).await?;
    Some(families.as_array().expect("a list").clone())
}

/// The names that the samples of a scrape have.
fn names(families: &[serde_json::Value]) -> BTreeSet<String> {
    let samples = families.iter().flat_map(|family| family["samples"].as_array().expect("samples"));
    samples.map(|sample| sample[0].as_str().expect("a name").to_owned()).collect()
}

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("pinproxy_")).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_page_lists_what_a_scrape_has() {
    let Some(families) = scraped().await else { return };
    let mut rows = BTreeMap::new();
    for family in &families {
        let text = |key: &str| family[key].as_str().expect("a text");
        let samples = family["samples"].as_array().expect("samples");
        assert!(!samples.is_empty(), "{family} has no sample");
        let labels: BTreeSet<_> = samples
            .iter()
            .flat_map(|sample| sample[1].as_object().expect("labels").keys())
            .filter(|key| *key != "le")
            .collect();
        let suffix = match text("type") {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        rows.insert(
            format!("{}{suffix}", text("name")),
            (text("type").to_owned(), labels.into_iter().cloned().collect::<BTreeSet<_>>(), text("help").to_owned()),
        );
    }
    let page = shipped("METRICS.md");
    let listed = page.lines().filter(|line| line.starts_with("| `pinproxy_")).map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, help] = cells[..] else { panic!("{line}") };
        let labels =
            labels.split(", ").map(|label| label.trim_matches('`').to_owned()).filter(|label| !label.is_empty());
        (name.trim_matches('`').to_owned(), (kind.to_owned(), labels.collect::<BTreeSet<_>>(), help.to_owned()))
    });
    let listed: BTreeMap<_, _> = listed.collect();
    for (name, row) in &rows {
        assert_eq!(listed.get(name), Some(row), "{name}");
    }
    assert_eq!(listed.keys().collect::<Vec<_>>(), rows.keys().collect::<Vec<_>>());
    // Every value that a label of few has stands on the page.
    for sample in families.iter().flat_map(|family| family["samples"].as_array().expect("samples")) {
        for label in ["stage", "decision", "class", "mode", "verdict", "side", "to", "outcome", "reason"] {
            let Some(value) = sample[1].get(label).and_then(serde_json::Value::as_str) else { continue };
            assert!(page.contains(&format!("`{value}`")), "{label} {value}");
        }
    }
}

#[tokio::test]
async fn alerts_and_dashboard_ask_for_what_there_is() {
    let Some(families) = scraped().await else { return };
    let known = names(&families);
    let rules = shipped("prometheus/pinproxy.rules.yml");
    let Some(parsed) = python("yaml", YAML, &rules).await else { return };
    let rules = parsed["groups"][0]["rules"].as_array().expect("rules");
    assert!(rules.len() >= 10);
    let mut alerts = BTreeSet::new();
    for rule in rules {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_else(|| panic!("{rule}")).to_owned();
        assert!(alerts.insert(text(&rule["alert"])), "{rule} is there twice");
        assert!(
            text(&rule["annotations"]["summary"]).ends_with('.') && text(&rule["annotations"]["action"]).ends_with('.')
        );
        assert!(["critical", "warning", "info"].contains(&text(&rule["labels"]["severity"]).as_str()), "{rule}");
        let asked = named(&text(&rule["expr"]));
        assert!(!asked.is_empty() && asked.is_subset(&known), "{asked:?}");
        let spoken = named(&text(&rule["annotations"]["action"]));
        assert!(spoken.is_subset(&known), "{spoken:?}");
    }
    let dashboard: serde_json::Value = serde_json::from_str(&shipped("grafana/pinproxy.json")).unwrap();
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut shown = BTreeSet::new();
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets")) {
        let asked = named(target["expr"].as_str().expect("a query"));
        assert!(!asked.is_empty() && asked.is_subset(&known), "{asked:?}");
        shown.extend(asked);
    }
    // What is worth a figure is worth a look: each family is in one of the two.
    let asked: BTreeSet<_> = rules.iter().flat_map(|rule| named(rule["expr"].as_str().expect("a query"))).collect();
    for family in &families {
        let name = family["name"].as_str().expect("a name");
        let is_used = shown.union(&asked).any(|used| used.starts_with(name));
        assert!(is_used, "nothing shows {name}");
    }
}
