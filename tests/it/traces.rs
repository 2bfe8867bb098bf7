//! Traces: one for each session, with its stages as spans, for collectors that are up, slow, down, and up again.

use crate::fields::documented_attributes;
use crate::support::client::{Ending, RawClient};
use crate::support::collector::{Collector, Manner, Posted};
use crate::support::origin::{Behaviour, Origin, OriginConfig};
use crate::support::pki::{Ca, Chain, Key, Leaf, hex};
use crate::support::process;
use crate::support::provider;
use crate::support::proxy::{ProxyBuilder, TestProxy};
use crate::support::setting::{HOST, tls};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const READ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/traces/read.py");

/// A span as it was sent.
#[derive(Debug)]
struct Seen {
    trace: Vec<u8>,
    span: Vec<u8>,
    parent: Vec<u8>,
    name: String,
    kind: i32,
    begin: u64,
    end: u64,
    attributes: BTreeMap<String, serde_json::Value>,
    status: i32,
    message: String,
}

impl Seen {
    fn text(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(|value| value.as_str().expect("a text"))
    }
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, serde_json::Value> {
    let value = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.clone()) {
        Some(Value::StringValue(text)) => json!(text),
        Some(Value::BoolValue(flag)) => json!(flag),
        Some(Value::IntValue(number)) => json!(number),
        other => panic!("{}: {other:?}", pair.key),
    };
    pairs.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

/// The spans of a request, trace by trace.
fn traces(posted: &Posted) -> Vec<Vec<Seen>> {
    let request = ExportTraceServiceRequest::decode(posted.body.as_slice()).expect("a request of OTLP");
    let [resource_spans] = request.resource_spans.as_slice() else { panic!("{request:?}") };
    let resource = attributes(&resource_spans.resource.as_ref().expect("a resource").attributes);
    assert_eq!(resource["service.name"], "pinproxy");
    let [scope_spans] = resource_spans.scope_spans.as_slice() else { panic!("{request:?}") };
    let mut traces: Vec<Vec<Seen>> = Vec::new();
    for span in &scope_spans.spans {
        let seen = Seen {
            trace: span.trace_id.clone(),
            span: span.span_id.clone(),
            parent: span.parent_span_id.clone(),
            name: span.name.clone(),
            kind: span.kind,
            begin: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
            attributes: attributes(&span.attributes),
            status: span.status.as_ref().map(|status| status.code).unwrap_or_default(),
            message: span.status.as_ref().map(|status| status.message.clone()).unwrap_or_default(),
        };
        if seen.parent.is_empty() {
            traces.push(Vec::new());
        }
        traces.last_mut().expect("a root comes first").push(seen);
    }
    traces
}

/// Asserts what is so in every trace, and gives the names of its stages.
fn stages(trace: &[Seen]) -> Vec<&str> {
    let (root, stages) = trace.split_first().expect("a root");
    assert_eq!((root.trace.len(), root.span.len(), root.name.as_str(), root.kind), (16, 8, "CONNECT", 2));
    let mut at = root.begin;
    for stage in stages {
        assert_eq!((&stage.trace, &stage.parent, stage.span.len()), (&root.trace, &root.span, 8));
        assert_eq!(stage.begin, at, "a stage begins where the one before has ended: {trace:#?}");
        assert!(stage.end >= stage.begin);
        at = stage.end;
    }
    assert_eq!(root.end, at, "the stages are the whole session");
    let mut ids: Vec<_> = trace.iter().map(|span| &span.span).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), trace.len(), "each span has a name of its own");
    stages.iter().map(|span| span.name.as_str()).collect()
}

/// An origin with a trusted chain, and a proxy that pins its key for one name and another key for a second.
struct Traced {
    proxy: TestProxy,
    origin: Origin,
}

impl Traced {
    async fn start(traces: &str, more_roots: &[&Ca]) -> Self {
        let root = Ca::root("root");
        let chain = Leaf::named(HOST).signed_by(&root);
        let (pin, other, backup) = (chain.pin(), Key::p256().pin(), Key::p256().pin());
        let toml = format!(
            "[[pinset]]\nname = \"right\"\nhosts = [\"{HOST}\"]\nleaf_pins = [\"{pin}\"]\nbackup = [\"{backup}\"]\n\
             [[pinset]]\nname = \"wrong\"\nhosts = [\"localhost\"]\nleaf_pins = [\"{other}\"]\nbackup = [\"{backup}\"]\n\
             [traces]\n{traces}\n"
        );
        let chain = Leaf::named(HOST).dns("localhost").key(&chain.key).signed_by(&root);
        let origin = Origin::start(OriginConfig::new(chain).behaviour(Behaviour::Echo)).await;
        let proxy = ProxyBuilder::new(toml).trusting(more_roots.iter().copied().chain([&root])).start().await;
        Self { proxy, origin }
    }

    async fn to(collector: &Collector, more: &str) -> Self {
        Self::start(&format!("url = \"http://{}/v1/traces?key=s3cret\"\n{more}", collector.addr), &[]).await
    }

    /// A session that relays; its name.
    async fn relay(&mut self) -> String {
        let mut client = RawClient::connect(self.proxy.addr).await.expect("the proxy listens");
        let reply = client.connect_to(&format!("{HOST}:{}", self.origin.port())).await.expect("a reply");
        assert_eq!(reply.status, 200);
        let mut client = client.tls(&tls(&self.proxy, HOST).build()).await.expect("the client shakes hands");
        assert_eq!(client.exchange(b"ping", 4).await.expect("an echo"), b"ping");
        client.shutdown().await.expect("an end");
        assert_eq!(client.read_to_end().await.expect("an end").1, Ending::Clean);
        self.proxy.told().await.event.session.into()
    }

    /// A session that is refused for its pins; its name.
    async fn refused(&mut self) -> String {
        let mut client = RawClient::connect(self.proxy.addr).await.expect("the proxy listens");
        let reply = client.connect_to(&format!("localhost:{}", self.origin.port())).await.expect("a reply");
        assert_eq!(reply.status, 502);
        self.proxy.told().await.event.session.into()
    }

    /// Ends the proxy, and gives how many traces it has lost.
    async fn lost(&mut self) -> u64 {
        self.proxy.begin_stop();
        self.proxy.stopped().await;
        self.proxy.proxy.lost_events().get("the collector of traces").copied().unwrap_or_default()
    }
}

/// The traces that come, until there are so many.
async fn next_traces(collector: &Collector, count: usize) -> Vec<Vec<Seen>> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(traces(&collector.next().await));
    }
    assert_eq!(all.len(), count);
    all
}

#[tokio::test]
async fn a_session_that_relays_and_one_that_is_refused() {
    let collector = Collector::start();
    let mut traced = Traced::to(&collector, "headers = [\"authorization: Bearer t0ken\", \"X-Scope: a: b\"]").await;
    let sessions = [traced.relay().await, traced.refused().await];
    let posted = collector.next().await;
    assert!(posted.head.starts_with("POST /v1/traces?key=s3cret HTTP/1.1\r\n"), "{}", posted.head);
    for field in [
        format!("host: {}", collector.addr),
        "content-type: application/x-protobuf".into(),
        "authorization: Bearer t0ken".into(),
        "x-scope: a: b".into(),
    ] {
        assert!(posted.head.contains(&format!("\r\n{field}\r\n")), "{field} is missing in {}", posted.head);
    }
    let mut all = traces(&posted);
    if all.len() == 1 {
        all.extend(next_traces(&collector, 1).await);
    }
    let [relayed, refused] = all.as_slice() else { panic!("{all:#?}") };
    assert_eq!(stages(relayed), ["request", "dial", "upstream_tls", "pin", "client_tls", "relay"]);
    assert_eq!(stages(refused), ["request", "dial", "upstream_tls", "pin"]);

    let port = traced.origin.port();
    let root = &relayed[0];
    let expected = json!({
        "server.address": HOST, "server.port": port, "client.address": "127.0.0.1", "network.peer.address": "127.0.0.1",
        "http.response.status_code": 200, "pinproxy.session": sessions[0], "pinproxy.decision": "allow",
        "pinproxy.stage": "relay", "pinproxy.pinset": "right", "pinproxy.enforced": true, "pinproxy.overridden": false,
        "pinproxy.policy_generation": 1, "pinproxy.bytes.upstream": 4, "pinproxy.bytes.client": 4, "pinproxy.ended": "closed",
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(root.attributes.get(key), Some(value), "{key} in {root:#?}");
    }
    assert!(relayed.iter().all(|span| span.status == 0 && span.text("error.type").is_none()), "{relayed:#?}");
    let of = |name: &str| relayed.iter().find(|span| span.name == name).unwrap();
    assert_eq!(of("dial").attributes["network.peer.port"], json!(port));
    assert_eq!((of("dial").kind, of("upstream_tls").kind, of("client_tls").kind), (3, 3, 1));
    assert_eq!(of("upstream_tls").text("tls.protocol.version"), Some("1.3"));
    assert!(of("upstream_tls").text("tls.server.hash.sha256").is_some_and(|hash| hash.len() == 64));
    assert_eq!(of("pin").attributes["pinproxy.matched_position"], json!(0));
    assert_eq!(of("client_tls").text("tls.protocol.version"), Some("1.3"));

    let root = &refused[0];
    assert_eq!((root.status, root.text("error.type")), (2, Some("pin")));
    assert_eq!((root.text("pinproxy.session"), root.text("pinproxy.decision")), (Some(&*sessions[1]), Some("refuse")));
    assert_eq!(root.message, "no verified path of the upstream's chain holds a pinned key");
    let errors: Vec<_> = refused.iter().filter(|span| span.status == 2).map(|span| span.name.as_str()).collect();
    assert_eq!(errors, ["CONNECT", "pin"], "the stage that failed is the last one");
    let mut told: Vec<_> = all.iter().flatten().flat_map(|span| span.attributes.keys().cloned()).collect();
    let mut documented = documented_attributes();
    // The two sessions have no application protocol.
    documented.retain(|name| name != "tls.next_protocol");
    told.sort();
    told.dedup();
    documented.sort();
    assert_eq!(told, documented, "config/FIELDS.md");
    assert_eq!(traced.lost().await, 0);
    assert!(collector.is_idle(), "each session is sent once");
}

#[tokio::test]
async fn without_a_fraction_refusals_are_traced_all_the_same() {
    let collector = Collector::start();
    let mut traced = Traced::to(&collector, "sample = 0").await;
    traced.relay().await;
    let refused = traced.refused().await;
    traced.relay().await;
    // The end delivers what is left.
    assert_eq!(traced.lost().await, 0);
    let all = next_traces(&collector, 1).await;
    assert_eq!(all[0][0].text("pinproxy.session"), Some(&*refused));
    assert!(collector.is_idle());
}

/// Sessions do not wait for a collector that never answers, nor does the end of the proxy for long; its traces are counted.
#[tokio::test]
async fn a_collector_that_never_answers() {
    let collector = Collector::start();
    collector.treats(Manner::Silent);
    let mut traced = Traced::to(&collector, "").await;
    traced.relay().await;
    // It has the first request, and keeps it.
    collector.next().await;
    for _ in 0..5 {
        traced.relay().await;
    }
    assert_eq!(traced.lost().await, 6);
}

#[tokio::test]
async fn a_collector_that_is_down_and_up_again() {
    let collector = Collector::start();
    let addr = collector.addr;
    let mut traced = Traced::to(&collector, "").await;
    let mut sessions = vec![traced.relay().await];
    let mut told = next_traces(&collector, 1).await;
    // Not there for a while: it says so, and then it is gone.
    collector.treats(Manner::Status(503));
    sessions.push(traced.relay().await);
    collector.next().await;
    drop(collector);
    sessions.push(traced.refused().await);
    let collector = Collector::again(addr);
    told.extend(next_traces(&collector, 2).await);
    let told: Vec<_> = told.iter().map(|trace| trace[0].text("pinproxy.session").unwrap()).collect();
    assert_eq!(told, sessions, "what it did not take at first is sent again, once");
    assert_eq!(traced.lost().await, 0);
}

/// Of what a collector refuses for good nothing is sent again.
#[tokio::test]
async fn a_collector_that_refuses() {
    let collector = Collector::start();
    let mut traced = Traced::to(&collector, "").await;
    for status in [400, 401, 413, 500] {
        collector.treats(Manner::Status(status));
        traced.relay().await;
        collector.next().await;
    }
    collector.treats(Manner::Status(202));
    let session = traced.relay().await;
    let all = next_traces(&collector, 1).await;
    assert_eq!(all[0][0].text("pinproxy.session"), Some(&*session));
    assert_eq!(traced.lost().await, 4);
    assert!(collector.is_idle());
}

/// Content of an answer: so many spans are rejected.
fn rejecting(spans: i64) -> &'static [u8] {
    let partial_success =
        Some(ExportTracePartialSuccess { rejected_spans: spans, error_message: "too\u{1b}[2J long".into() });
    ExportTraceServiceResponse { partial_success }.encode_to_vec().leak()
}

/// A collector takes a request and not all of its spans: that is lost, and not sent again. What it says beyond that costs
/// nothing.
#[tokio::test]
async fn a_collector_that_rejects_spans() {
    // What it answers with, and how many of the two traces are lost, which are sent with one request or with two.
    let table: [(&'static [u8], std::ops::RangeInclusive<u64>); 8] = [
        (rejecting(0), 0..=0),
        (rejecting(-1), 0..=0),
        (rejecting(1), 1..=2),
        (rejecting(i64::MAX), 2..=2),
        (b"", 0..=0),
        (b"{\"partialSuccess\":{\"rejectedSpans\":\"1\"}}", 0..=0),
        (&[0xff; 100], 0..=0),
        // Longer than what is read of an answer.
        (vec![0x0a; (64 << 10) + 1].leak(), 0..=0),
    ];
    for (content, lost) in table {
        let collector = Collector::start();
        collector.treats(Manner::Answer(200, "content-type: application/x-protobuf\r\n", content));
        let mut traced = Traced::to(&collector, "").await;
        traced.relay().await;
        traced.relay().await;
        let counted = traced.lost().await;
        let answer = &content[..content.len().min(50)];
        assert!(lost.contains(&counted), "{counted} lost by {answer:?}");
        next_traces(&collector, 2).await;
        assert!(collector.is_idle(), "nothing is sent again for {answer:?}");
    }
}

#[tokio::test]
async fn a_collector_says_when_it_wants_to_be_asked_again() {
    const ASKED: Duration = Duration::from_secs(4);
    let collector = Collector::start();
    collector.treats(Manner::Answer(503, "retry-after: 4\r\n", b""));
    let mut traced = Traced::to(&collector, "").await;
    let before = Instant::now();
    let session = traced.relay().await;
    collector.next().await;
    collector.treats(Manner::Status(200));
    let all = next_traces(&collector, 1).await;
    // Where nobody asks it comes after two, one of them for traces to gather.
    assert!(before.elapsed() >= ASKED, "{:?}", before.elapsed());
    assert_eq!(all[0][0].text("pinproxy.session"), Some(&*session));
    assert_eq!(traced.lost().await, 0);
}

#[tokio::test]
async fn nobody_listens_until_the_end() {
    let gone = Collector::start();
    let url = format!("url = \"http://{}/\"", gone.addr);
    drop(gone);
    let mut traced = Traced::start(&url, &[]).await;
    for _ in 0..3 {
        traced.relay().await;
    }
    assert_eq!(traced.lost().await, 3);
}

fn server(chain: &Chain) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.expect("versions of TLS");
    let resolver = Arc::new(SingleCertAndKey::from(chain.certified_key()));
    Arc::new(builder.with_no_client_auth().with_cert_resolver(resolver))
}

/// By https nothing is sent to whom the roots of the upstreams do not vouch for.
#[tokio::test]
async fn https_is_verified_by_the_roots_of_upstreams() {
    let (trusted, stranger) = (Ca::root("trusted"), Ca::root("stranger"));
    let good = Leaf::named("localhost").signed_by(&trusted);
    let other_name = Leaf::named("other.example").signed_by(&trusted);
    let unknown = Leaf::named("localhost").signed_by(&stranger);
    for (chain, lost) in [(good, 0), (other_name, 1), (unknown, 1)] {
        let collector = Collector::with_tls(server(&chain));
        let url = format!("url = \"https://localhost:{}/v1/traces\"\nheaders = [\"a: b\"]", collector.addr.port());
        let mut traced = Traced::start(&url, &[&trusted]).await;
        traced.relay().await;
        assert_eq!(traced.lost().await, lost);
        if lost == 0 {
            next_traces(&collector, 1).await;
        }
        assert!(collector.is_idle());
    }
}

/// What the classes of OpenTelemetry for Python make of it.
#[tokio::test]
async fn another_implementation_reads_the_same() {
    let python = std::env::var_os("PINPROXY_TEST_PYTHON").map(PathBuf::from).or_else(|| process::find("python3"));
    let Some(python) = python else { return };
    let home = tempfile::tempdir().expect("a folder");
    let import = "import opentelemetry.proto.trace.v1.trace_pb2";
    if process::command(&python, home.path()).args(["-c", import]).run().await.code != Some(0) {
        return process::skipped(
            "Python has no opentelemetry-proto; name an interpreter that has in PINPROXY_TEST_PYTHON",
        );
    }
    let collector = Collector::start();
    let mut traced = Traced::to(&collector, "").await;
    traced.relay().await;
    traced.refused().await;
    assert_eq!(traced.lost().await, 0);
    let mut bodies = vec![collector.next().await];
    if traces(&bodies[0]).len() < 2 {
        bodies.push(collector.next().await);
    }
    let ours: Vec<_> = bodies.iter().flat_map(traces).flatten().collect();
    let lines: String = bodies.iter().map(|posted| hex(&posted.body) + "\n").collect();
    let done = process::command(&python, home.path()).arg(READ).input(&lines).run().await.with_code(0);
    let theirs: Vec<serde_json::Value> = serde_json::from_str(&done.out).expect("a list of spans");
    assert_eq!(theirs.len(), ours.len());
    for (theirs, ours) in theirs.iter().zip(&ours) {
        let expected = json!({
            "resource": { "service.name": "pinproxy", "service.version": env!("CARGO_PKG_VERSION") },
            "scope": "pinproxy", "trace": hex(&ours.trace), "span": hex(&ours.span), "parent": hex(&ours.parent),
            "name": ours.name, "kind": ours.kind, "begin": ours.begin, "end": ours.end, "attributes": ours.attributes,
            "status": ours.status, "message": ours.message,
        });
        assert_eq!(*theirs, expected);
    }
}
