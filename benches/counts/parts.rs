//! The parts of a session that wait for nothing, each with everything it needs and nothing left to chance that can be
//! fixed: certificates, ClientHello and time are data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pinproxy::authority::{CertificateAuthority, LeafKeyKind, Settings, load_or_create};
use pinproxy::config::Config;
use pinproxy::intercept::{HelloLimits, read_client_hello};
use pinproxy::policy::decision::evaluate;
use pinproxy::policy::host::{Authority, Host};
use pinproxy::policy::moment::Circumstances;
use pinproxy::policy::pin::Pin;
use pinproxy::policy::rules::Policy;
use pinproxy::report::{Bytes, Client, Decided, Event, Stage};
use pinproxy::tls::anchors::TrustAnchors;
use pinproxy::tls::memory::ChainMemory;
use pinproxy::tls::revocation::Revocation;
use pinproxy::tls::verify::Question;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[path = "../support/pinsets.rs"]
mod pinsets;

/// A part of a session.
pub(crate) struct Part {
    /// How the baseline calls it.
    pub name: &'static str,
    /// How often it is done: what happens now and then, such as a table that grows, is spread over the rounds.
    pub rounds: usize,
    /// Makes what it needs, which is not counted, and gives what is done in the round of a number.
    pub prepare: fn() -> Box<dyn FnMut(usize)>,
}

/// In the order of a session.
pub(crate) const PARTS: &[Part] = &[
    Part { name: "parse-targets", rounds: 200, prepare: parse_targets },
    Part { name: "select-of-10-pinsets", rounds: 200, prepare: || select(10) },
    Part { name: "select-of-10000-pinsets", rounds: 200, prepare: || select(10_000) },
    Part { name: "verify-chain", rounds: 20, prepare: verify },
    Part { name: "verify-remembered-chain", rounds: 100, prepare: verify_remembered },
    Part { name: "evaluate", rounds: 200, prepare: decide },
    Part { name: "read-client-hello", rounds: 50, prepare: read_hello },
    Part { name: "leaf-new", rounds: 20, prepare: issue_leaf },
    Part { name: "leaf-from-cache", rounds: 200, prepare: find_leaf },
    Part { name: "event-as-json", rounds: 100, prepare: write_event },
];

const HOST: &str = "api.bank.example";
/// A leaf for `HOST`, its issuer, its root, valid from 2026 to 2076; their keys were thrown away.
const CHAIN: &str = include_str!("chain.pem");
/// The key of the leaf.
const PIN: &str = "sha256/9h8GImhXjdIuGq3kVqSH1pvcpxVwQ93cZKRhG3PIq8k=";
/// A key of nobody.
const SPARE: &str = "sha256/diGVwiVYbubAI3RW4hB9xU8e/CH2GnkuvVFZE8zmgzI=";
/// A ClientHello as browsers send it: GREASE, h2 and http/1.1, key shares of X25519MLKEM768 and X25519.
const CLIENT_HELLO: &str = include_str!("client_hello.base64");

/// Within the validity of the chain: 2026-07-01.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_782_864_000)
}

fn here() -> Circumstances {
    Circumstances::new(now(), Ipv4Addr::LOCALHOST.into())
}

fn policy(text: &str) -> Policy {
    let parsed = Config::parse(text, Path::new("bench.toml"), now());
    parsed.unwrap_or_else(|errors| panic!("{errors}")).0.policy(1)
}

fn parse_targets() -> Box<dyn FnMut(usize)> {
    let targets = ["API.Bank.Example.:443", "a.b.c.tree8.example.com:8443", "192.0.2.1:443", "[2001:db8::1]:443"];
    assert!(targets.iter().all(|target| Authority::parse(target).is_ok()));
    Box::new(move |_| {
        for target in targets {
            drop(black_box(Authority::parse(black_box(target))));
        }
    })
}

/// The rule of a host for each kind of pattern, and of two that no pattern covers.
fn select(pinsets: usize) -> Box<dyn FnMut(usize)> {
    let policy = policy(&pinsets::text(pinsets));
    let hosts = [
        ("host9.example.com:443", true),
        ("a.site7.example.com:443", true),
        ("a.b.c.tree8.example.com:443", true),
        ("a.b.c.site7.example.com:443", false),
        ("a.b.c.d.nowhere.example.org:443", false),
    ];
    let targets = hosts.map(|(target, pinned)| {
        let target = Authority::parse(target).expect("a target");
        assert_eq!(policy.select(&target, now()).pinset().is_some(), pinned, "{target:?}");
        target
    });
    Box::new(move |_| {
        for target in &targets {
            black_box(policy.select(black_box(target), now()));
        }
    })
}

/// What is asked about the chain, and the certificates that the upstream serves.
fn question() -> (Question, Vec<CertificateDer<'static>>) {
    let certificates = CertificateDer::pem_slice_iter(CHAIN.as_bytes()).collect::<Result<Vec<_>, _>>();
    let mut served = certificates.expect("a chain");
    let root = served.pop().expect("a root");
    let policy = policy(&format!(
        "[[pinset]]\nname = \"bank\"\nhosts = [\"{HOST}\"]\npins = [\"{PIN}\"]\nbackup = [\"{SPARE}\"]\n"
    ));
    let authority = Authority::parse(&format!("{HOST}:443")).expect("a target");
    let question = Question {
        anchors: Arc::new(TrustAnchors::from_certificates([root]).expect("an anchor")),
        revocation: Arc::new(Revocation::off()),
        rule: Arc::clone(policy.select(&authority, now())),
        policy: Arc::new(policy),
        host: Host::parse(HOST).expect("a host"),
    };
    (question, served)
}

fn verify() -> Box<dyn FnMut(usize)> {
    let (question, served) = question();
    Box::new(move |_| {
        let attempt = question.verify(black_box(&served[0]), black_box(&served[1..]), &here());
        assert!(attempt.result.is_ok());
    })
}

fn verify_remembered() -> Box<dyn FnMut(usize)> {
    let (question, served) = question();
    let memory = ChainMemory::default();
    Box::new(move |round| {
        let attempt = memory.verify(&question, black_box(&served[0]), black_box(&served[1..]), &here());
        // The round before those that count leaves it there.
        assert!(attempt.result.is_ok() && memory.answered() == round as u64);
    })
}

fn decide() -> Box<dyn FnMut(usize)> {
    let (question, served) = question();
    let verified = question.verify(&served[0], &served[1..], &here()).result.expect("a verified chain");
    Box::new(move |_| {
        let decision = evaluate(&question.policy, &question.rule, &here(), Ok(black_box(&verified)));
        assert_eq!(decision.pins_satisfied(), Some(true));
    })
}

fn read_hello() -> Box<dyn FnMut(usize)> {
    let hello = STANDARD.decode(CLIENT_HELLO.replace('\n', "")).expect("a ClientHello");
    let limits = HelloLimits { bytes: 16 << 10, timeout: Duration::from_secs(10) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    Box::new(move |_| {
        let mut stream = tokio::io::join(black_box(hello.as_slice()), tokio::io::sink());
        let read = runtime.block_on(read_client_hello(&mut stream, limits)).expect("a ClientHello");
        assert_eq!(read.alpn.len(), 2);
    })
}

/// A CA whose files are gone again: the key is in memory.
fn authority() -> CertificateAuthority {
    let private = std::fs::Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().permissions(private).tempdir().expect("a temporary folder");
    load_or_create(folder.path(), Settings::default(), now()).expect("a CA").0
}

/// A name of its own each round. Making it is counted, and nothing beside a signature.
fn issue_leaf() -> Box<dyn FnMut(usize)> {
    let authority = authority();
    Box::new(move |round| {
        let name = ServerName::try_from(format!("host{round:03}.example.com")).expect("a name");
        black_box(authority.leaf(black_box(&name), LeafKeyKind::EcdsaP256, None, now()).expect("a leaf"));
    })
}

fn find_leaf() -> Box<dyn FnMut(usize)> {
    let authority = authority();
    let name = ServerName::try_from(HOST).expect("a name");
    Box::new(move |_| {
        black_box(authority.leaf(black_box(&name), LeafKeyKind::EcdsaP256, None, now()).expect("a leaf"));
        assert_eq!(authority.leaves_issued(), 1);
    })
}

/// What the access file has a line of. The file itself is another thread's.
fn write_event() -> Box<dyn FnMut(usize)> {
    let event = event();
    Box::new(move |_| {
        let mut line = serde_json::to_vec(black_box(&event)).expect("an event is JSON");
        line.push(b'\n');
        black_box(line);
    })
}

/// Of a session that was allowed and has come to its end.
fn event() -> Event {
    let text = |text: &str| Some(text.to_owned());
    let pin = |text: &str| Pin::parse(text).expect("a pin");
    Event {
        date_time: now(),
        session: "8a238b53-3".to_owned(),
        client: Client(SocketAddr::from(([10, 1, 2, 3], 40_000))),
        connect_authority: format!("{HOST}:443"),
        hostname: text(HOST),
        port: Some(443),
        sni: text(HOST),
        stage: Stage::Relay,
        decision: Decided::Allow,
        failure_class: None,
        detail: None,
        status: Some(200),
        pinset: text("bank"),
        enforced: true,
        policy_generation: 1,
        matched_position: Some(0),
        matched_pin: Some(pin(PIN)),
        exempted: false,
        seen_pins: vec![pin(PIN), pin(SPARE), pin(SPARE)],
        candidate_paths: 0,
        upstream_address: Some(SocketAddr::from(([192, 0, 2, 1], 443))),
        upstream_tls: Some("1.3"),
        client_tls: Some("1.3"),
        alpn: text("h2"),
        upstream_certificate: Some([0x5e; 32]),
        leaf_serial: Some("5E".repeat(16).into()),
        bytes: Bytes { upstream: 1_234, client: 56_789 },
        ended: text("both sides closed"),
        duration: Duration::from_millis(1_234),
    }
}
