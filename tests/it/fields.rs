//! config/FIELDS.md against what is written: every field is there, with its name, type and words, and null as it says.

use crate::support::client::{Ending, RawClient};
use crate::support::origin::{Behaviour, Origin, OriginConfig};
use crate::support::parent::{ParentServer, connects};
use crate::support::pki::{Ca, Key, Leaf};
use crate::support::proxy::{ProxyBuilder, TestProxy};
use crate::support::setting::{HOST, tls};
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::{Decided, Stage};
use serde_json::Value;
use std::path::Path;

/// A row of a table of fields.
#[derive(Debug)]
pub(crate) struct Field {
    name: String,
    kind: String,
    null: String,
    meaning: String,
    example: Value,
}

impl Field {
    fn fits(&self, value: &Value) -> bool {
        match self.kind.as_str() {
            "text" => value.is_string(),
            "number" => value.is_u64(),
            "flag" => value.is_boolean(),
            "object" => value.is_object(),
            "list of texts" => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
            other => panic!("{}: no type is called {other:?}", self.name),
        }
    }

    fn may_be_null(&self) -> bool {
        self.null != "never"
    }

    /// The words between backticks in what it says.
    fn words(&self) -> Vec<&str> {
        self.meaning.split('`').skip(1).step_by(2).collect()
    }
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/FIELDS.md");
    std::fs::read_to_string(path).expect("config/FIELDS.md")
}

/// The fields under a heading of the page.
pub(crate) fn documented(heading: &str) -> Vec<Field> {
    let page = page();
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).expect("the heading");
    let plain = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")).map(|row| {
        let cells: Vec<_> = row.trim_end_matches('|').split('|').collect();
        let [name, kind, null, meaning, example] = cells.as_slice() else { panic!("{row}") };
        let example = serde_json::from_str(&plain(example)).unwrap_or_else(|error| panic!("{error}: {example}"));
        Field { name: plain(name), kind: plain(kind), null: plain(null), meaning: meaning.trim().to_owned(), example }
    });
    let fields: Vec<_> = rows.collect();
    for field in &fields {
        assert!(field.fits(&field.example), "the example of {} is no {}", field.name, field.kind);
        assert!(field.meaning.len() > 5 && !field.null.is_empty(), "{field:?}");
    }
    fields
}

/// The attributes of traces on the page.
pub(crate) fn documented_attributes() -> Vec<String> {
    let page = page();
    let section = page.split("\n## ").find(|section| section.starts_with("Traces")).expect("the heading");
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    cells.flat_map(|cell| cell.split("`, `").map(|name| name.trim().trim_end_matches('`').to_owned())).collect()
}

/// Asserts that each line has these fields and no others, in this order, and what they say of null.
pub(crate) fn assert_documented(lines: &[&str], fields: &[Field]) {
    for line in lines {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let object = object.as_object().expect("an object");
        let mut rest = *line;
        for field in fields {
            let start = format!("\"{}\":", field.name);
            rest =
                rest.split_once(&start).unwrap_or_else(|| panic!("no {} where it should be in {line}", field.name)).1;
            let value = &object[&field.name];
            assert!(field.fits(value) || value.is_null() && field.may_be_null(), "{}: {value}", field.name);
        }
        let unknown: Vec<_> = object.keys().filter(|key| fields.iter().all(|field| field.name != **key)).collect();
        assert!(unknown.is_empty(), "{unknown:?} is not in config/FIELDS.md");
    }
}

/// Ends the proxy, which writes out what is queued, and gives the access lines.
async fn access_lines(proxy: &mut TestProxy) -> String {
    proxy.begin_stop();
    proxy.stopped().await;
    std::fs::read_to_string(proxy.folder.path().join("access.jsonl")).expect("the access file")
}

/// Sessions to a name and to an address that relay, and such as are refused, not understood, or left early.
#[tokio::test]
async fn every_field_of_an_access_line() {
    let root = Ca::root("root");
    let (matching, other) = (Leaf::named(HOST).signed_by(&root), Key::p256().pin());
    let toml = format!(
        "[log]\naccess = \"access.jsonl\"\n[[pinset]]\nname = \"bank\"\nhosts = [\"{HOST}\"]\nleaf_pins = [\"{}\"]\n\
         backup = [\"{other}\"]\n[[pinset]]\nname = \"wrong\"\nhosts = [\"wrong.bank.example\"]\nleaf_pins = [\"{other}\"]\n\
         backup = [\"{}\"]\n",
        matching.pin(),
        Key::p256().pin(),
    );
    let origin = OriginConfig::new(matching).behaviour(Behaviour::Echo).alpn(&["http/1.1"]);
    let origin = Origin::start(origin).await;
    let port = origin.port();
    // One of the hosts is reached through a parent, which looks its name up.
    let parent = ParentServer::start(connects(port)).await;
    let upstream =
        format!("[upstream]\nparent = \"{}\"\nno_parent = [\"*.bank.example\", \"127.0.0.1\"]\n", parent.url("http"));
    let mut proxy = ProxyBuilder::new(format!("{upstream}{toml}")).trusting([&root]).start().await;
    let mut client = RawClient::connect(proxy.addr).await.unwrap();
    assert_eq!(client.connect_to("far.example:443").await.unwrap().status, 502);
    proxy.told().await;
    for target in [format!("{HOST}:{port}"), format!("127.0.0.1:{port}")] {
        let mut client = RawClient::connect(proxy.addr).await.unwrap();
        assert_eq!(client.connect_to(&target).await.unwrap().status, 200);
        let mut client = client.tls(&tls(&proxy, HOST).alpn(&["http/1.1"]).build()).await.unwrap();
        assert_eq!(client.exchange(b"ping", 4).await.unwrap(), b"ping");
        client.shutdown().await.unwrap();
        assert_eq!(client.read_to_end().await.unwrap().1, Ending::Clean);
        proxy.told().await;
    }
    for (request, status) in
        [(format!("CONNECT wrong.bank.example:{port} HTTP/1.1\r\n\r\n"), 502), ("X\r\n\r\n".into(), 400)]
    {
        let mut client = RawClient::connect(proxy.addr).await.unwrap();
        client.send(request.as_bytes()).await.unwrap();
        assert_eq!(client.read_reply().await.unwrap().status, status);
        proxy.told().await;
    }
    // One that leaves within its request hears nothing.
    let mut client = RawClient::connect(proxy.addr).await.unwrap();
    client.send(b"CONNECT ").await.unwrap();
    drop(client);
    proxy.told().await;
    let text = access_lines(&mut proxy).await;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    let fields = documented("Access line");
    assert_documented(&lines, &fields);
    let objects: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for field in &fields {
        let nulls = objects.iter().filter(|object| object[&field.name].is_null()).count();
        assert_eq!(nulls > 0, field.may_be_null(), "{} is null in {nulls} of these:\n{text}", field.name);
        assert!(nulls < objects.len(), "{} is told in none of these:\n{text}", field.name);
        let words = field.words();
        let is_choice =
            matches!(field.name.as_str(), "stage" | "decision" | "failure-class" | "upstream-tls" | "client-tls");
        for word in objects.iter().filter_map(|object| object[&field.name].as_str()).filter(|_| is_choice) {
            assert!(words.contains(&word), "{}: {word}", field.name);
        }
    }
}

/// The words that a field can hold are those of the code, all of them.
#[test]
fn words_of_choices() {
    use FailureClass as C;
    let stages = [Stage::Request, Stage::Dial, Stage::UpstreamTls, Stage::Pin, Stage::ClientTls, Stage::Relay];
    let decided = [Decided::Allow, Decided::Report, Decided::Tunnel, Decided::Refuse, Decided::Failed];
    let classes = [
        C::Request,
        C::Access,
        C::Overload,
        C::Unreachable,
        C::Chain,
        C::Name,
        C::Validity,
        C::Pin,
        C::Blocklist,
        C::Budget,
        C::Protocol,
        C::Timeout,
        C::Client,
        C::Internal,
    ];
    let fields = documented("Access line");
    let words = |name: &str| fields.iter().find(|field| field.name == name).expect("the field").words();
    assert_eq!(words("stage"), stages.map(Stage::as_str));
    assert_eq!(words("decision"), decided.map(Decided::as_str));
    assert_eq!(words("failure-class"), classes.map(C::as_str));
}
