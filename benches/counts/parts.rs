//! The parts of a session that wait for nothing, each with everything it needs and nothing left to chance that can be
//! fixed: certificates, ClientHello and time are data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pinproxy::authority::{CertificateAuthority, LeafKeyKind, Settings, load_or_create};
use pinproxy::config::Config;
use pinproxy::intercept::{HelloLimits, read_client_hello};
use pinproxy::policy::host::{Authority, DnsName, Host};
use pinproxy::policy::rules::Policy;
use pinproxy::upstream::names::Remembering;
use pinproxy::upstream::resolve::{Resolve, Resolving};
use rustls::pki_types::ServerName;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

mod chains;
mod events;
#[path = "../support/pinsets.rs"]
mod pinsets;
mod refusal;
mod relay;

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
    Part { name: "refuse-a-connect", rounds: 200, prepare: refusal::prepare },
    Part { name: "name-from-cache", rounds: 200, prepare: find_name },
    Part { name: "verify-chain", rounds: 20, prepare: chains::verify },
    Part { name: "verify-chain-against-lists", rounds: 20, prepare: chains::verify_against_lists },
    Part { name: "verify-remembered-chain", rounds: 100, prepare: chains::verify_remembered },
    Part { name: "evaluate", rounds: 200, prepare: chains::decide },
    Part { name: "read-client-hello", rounds: 50, prepare: read_hello },
    Part { name: "leaf-new", rounds: 20, prepare: issue_leaf },
    Part { name: "leaf-from-cache", rounds: 200, prepare: find_leaf },
    Part { name: "relay-1-KiB", rounds: relay::PIECES, prepare: || relay::prepare(1 << 10) },
    Part { name: "relay-16-KiB", rounds: relay::PIECES, prepare: || relay::prepare(16 << 10) },
    Part { name: "event-as-json", rounds: 100, prepare: events::as_json },
    Part { name: "event-as-text", rounds: 100, prepare: events::as_text },
];

const HOST: &str = "api.bank.example";
/// The key of the leaf in `chain.pem`.
const PIN: &str = "sha256/pLQzpp0ZiR6gzUlLiWkrD6t/2x1b/+vDZ4BsjqOEZGA=";
/// A key of nobody.
const SPARE: &str = "sha256/diGVwiVYbubAI3RW4hB9xU8e/CH2GnkuvVFZE8zmgzI=";
/// A ClientHello as browsers send it: GREASE, h2 and http/1.1, key shares of X25519MLKEM768 and X25519.
const CLIENT_HELLO: &str = include_str!("client_hello.base64");

/// Within the validity of the chain: 2026-07-01.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_782_864_000)
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

/// Knows an address of every name.
#[derive(Debug)]
struct Somewhere;

impl Resolve for Somewhere {
    fn resolve<'a>(&'a self, _: &'a DnsName) -> Resolving<'a> {
        Box::pin(async { Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]) })
    }
}

/// The clock of the cache stands still.
fn find_name() -> Box<dyn FnMut(usize)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let resolver = Remembering::new(Somewhere);
    let Ok(Host::Name(name)) = Host::parse(HOST) else { panic!("{HOST} is a name") };
    Box::new(move |_| {
        let _entered = runtime.enter();
        let polled = resolver.resolve(black_box(&name)).as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(black_box(polled), Poll::Ready(Ok(_))));
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
