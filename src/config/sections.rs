//! The tables that hold plain settings: listeners, authority, upstream, limits, reports, log.

use super::code::Code;
use super::item::{Item, Located, Word};
use super::model::{
    Ca, ClientId, DEFAULT_LISTENER, ExtraRoots, LeafKey, Limits, Log, LogFormat, LogLevel, Reports, Revocation, Roots,
    Upstream,
};
use super::span::Span;
use super::table::{Keys, Table};
use super::words::{nearest, quoted};
use crate::policy::pinset::AnchorSet;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// Entries of a count that memory pays for.
const COUNT_BOUNDS: RangeInclusive<u64> = 1..=1_000_000;
const HEADER_OCTETS: RangeInclusive<u64> = 8 << 10..=1 << 20;
/// rustls takes handshake messages of 64 KiB at most.
const CLIENT_HELLO_OCTETS: RangeInclusive<u64> = 1 << 10..=64 << 10;
/// A leaf is backdated by an hour, so it needs more than that to be of use; clients refuse what lives long.
const LEAF_LIFETIME: RangeInclusive<Duration> =
    Duration::from_secs(2 * 60 * 60)..=Duration::from_secs(7 * 24 * 60 * 60);
/// Any other duration. A year is far below what clocks overflow at.
pub(super) const DURATION: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(365 * 24 * 60 * 60);

const LISTENER: Keys = Keys { known: &["address", "kind"], planned: &["tls", "proxy_protocol_from"] };
const CA: Keys = Keys { known: &["directory", "leaf_key", "leaf_lifetime", "leaf_cache"], planned: &[] };
const UPSTREAM: Keys = Keys {
    known: &[
        "roots",
        "extra_roots",
        "crls",
        "revocation",
        "certificate_transparency",
        "connect_timeout",
        "handshake_timeout",
        "resumption",
    ],
    planned: &["ct_log_list", "parent", "no_parent", "client_certificates"],
};
const EXTRA_ROOTS: Keys = Keys { known: &["file", "exempts_pins"], planned: &[] };
const LIMITS: Keys = Keys {
    known: &[
        "sessions",
        "sessions_per_client",
        "header_bytes",
        "client_hello_bytes",
        "client_hello_timeout",
        "header_timeout",
        "idle_timeout",
        "session_lifetime",
        "drain_timeout",
    ],
    planned: &[],
};
const REPORTS: Keys = Keys { known: &["file", "client_id"], planned: &["urls", "spool", "deduplicate_for"] };
const LOG: Keys = Keys { known: &["format", "level", "access"], planned: &[] };

const KINDS: &[Word<()>] = &[("forward", Some(())), ("transparent", None), ("socks5", None)];
const LEAF_KEYS: &[Word<LeafKey>] =
    &[("auto", Some(LeafKey::Auto)), ("p256", Some(LeafKey::P256)), ("rsa2048", Some(LeafKey::Rsa2048))];
const REVOCATIONS: &[Word<Revocation>] = &[
    ("off", Some(Revocation::Off)),
    ("when-available", Some(Revocation::WhenAvailable)),
    ("require", Some(Revocation::Require)),
];
const TRANSPARENCY: &[Word<()>] = &[("off", Some(())), ("report", None), ("require", None)];
const CLIENT_IDS: &[Word<ClientId>] =
    &[("none", Some(ClientId::None)), ("hashed", Some(ClientId::Hashed)), ("plain", Some(ClientId::Plain))];
const LOG_FORMATS: &[Word<LogFormat>] =
    &[("text", Some(LogFormat::Text)), ("json", Some(LogFormat::Json)), ("journald", None)];
const LOG_LEVELS: &[Word<LogLevel>] = &[
    ("error", Some(LogLevel::Error)),
    ("warn", Some(LogLevel::Warn)),
    ("info", Some(LogLevel::Info)),
    ("debug", Some(LogLevel::Debug)),
    ("trace", Some(LogLevel::Trace)),
];

/// Puts what was read in the place of the default.
fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// The listeners: the default one when the file names none.
pub(super) fn read_listeners(root: &Table<'_>) -> Vec<Located<SocketAddr>> {
    let Some(list) = root.item("listener") else {
        return vec![Located { value: DEFAULT_LISTENER, span: Span::default() }];
    };
    if list.is_empty_list() {
        list.some_elements();
    }
    let mut listeners: Vec<Located<SocketAddr>> = Vec::new();
    for table in root.tables("listener", &LISTENER) {
        if let Some(kind) = table.item("kind") {
            kind.choice(KINDS);
        }
        let address = table.required("address", Code::E14, "write address = \"127.0.0.1:8080\"");
        let Some(address) = address.and_then(|item| read_socket_address(&item)) else { continue };
        // Port 0 asks the system for a free port, each time for another one.
        let first = listeners.iter().find(|l| l.value == address.value && address.value.port() != 0);
        if let Some(first) = first {
            let message = format!("{} has two listeners", address.value);
            let note = (&first.span, "first given here");
            table.findings.conflict(Code::E46, &address.span, message, note, "remove one of them");
        }
        listeners.push(address);
    }
    listeners
}

fn read_socket_address(item: &Item<'_>) -> Option<Located<SocketAddr>> {
    let text = item.text()?;
    let Ok(address) = text.value.parse() else {
        let help = "write an IP address and a port: \"127.0.0.1:8080\", \"[::1]:8080\"";
        item.refuse(&format!("is not an address to listen on: {:?}", text.value), help);
        return None;
    };
    Some(Located { value: address, span: text.span })
}

pub(super) fn read_ca(root: &Table<'_>) -> Ca {
    let mut ca = Ca::default();
    let Some(table) = root.table("ca", &CA) else { return ca };
    ca.directory = table.item("directory").and_then(|item| item.path());
    set(&mut ca.leaf_key, table.item("leaf_key").and_then(|item| item.choice(LEAF_KEYS)));
    set(&mut ca.leaf_lifetime, table.item("leaf_lifetime").and_then(|item| item.duration(LEAF_LIFETIME)));
    set(&mut ca.leaf_cache, count(&table, "leaf_cache"));
    ca
}

fn count(table: &Table<'_>, key: &str) -> Option<usize> {
    let number = table.item(key)?.number(COUNT_BOUNDS)?;
    usize::try_from(number).ok()
}

fn duration(table: &Table<'_>, key: &str) -> Option<Duration> {
    table.item(key)?.duration(DURATION)
}

pub(super) fn read_upstream(root: &Table<'_>) -> Upstream {
    let mut upstream = Upstream::default();
    let Some(table) = root.table("upstream", &UPSTREAM) else { return upstream };
    set(&mut upstream.roots, table.item("roots").and_then(|item| read_roots(&item)));
    set(&mut upstream.extra_roots, table.item("extra_roots").map(|item| read_extra_roots(&item)));
    set(&mut upstream.crls, table.item("crls").map(|item| item.paths()));
    if let Some(item) = table.item("certificate_transparency") {
        item.choice(TRANSPARENCY);
    }
    set(&mut upstream.connect_timeout, duration(&table, "connect_timeout"));
    set(&mut upstream.handshake_timeout, duration(&table, "handshake_timeout"));
    set(&mut upstream.resumption, table.item("resumption").and_then(|item| item.flag()));
    if let Some(item) = table.item("revocation") {
        set(&mut upstream.revocation, item.choice(REVOCATIONS));
        if upstream.revocation == Revocation::Require && upstream.crls.is_empty() {
            let message = "upstream.revocation = \"require\" has no revocation lists to look into";
            let help = "name the files in upstream.crls, or write \"when-available\"";
            table.findings.error(Code::E68, &item.span(), message, help);
        }
    }
    upstream
}

/// Files with further anchors: paths, or tables that say more about one.
fn read_extra_roots(item: &Item<'_>) -> Vec<ExtraRoots> {
    let elements = item.elements().unwrap_or_default();
    let files = elements.iter().filter_map(|element| {
        if element.is_text() {
            return element.path().map(|file| ExtraRoots { file, exempts_pins: false });
        }
        let table = element.table(&EXTRA_ROOTS)?;
        let file = table.required("file", Code::E14, "write file = \"roots.pem\"").and_then(|item| item.path());
        let flag = table.item("exempts_pins").map(|item| (item.flag(), item));
        if let Some((Some(true), item)) = &flag {
            let message = "chains that end in an anchor of this file are let through whatever the pins say";
            let help = "remove exempts_pins, unless the file holds the CA of an inspection that has to pass";
            table.findings.warning(Code::W63, &item.span(), message, help);
        }
        Some(ExtraRoots { file: file?, exempts_pins: flag.map_or(Some(false), |(flag, _)| flag)? })
    });
    files.collect()
}

/// The sources of trust anchors that pinsets name for themselves.
#[derive(Default)]
pub(super) struct AnchorSets {
    named: RefCell<BTreeMap<Arc<str>, Roots>>,
}

impl AnchorSets {
    /// The source under the key of a pinset.
    pub(super) fn read(&self, item: &Item<'_>) -> Option<AnchorSet> {
        let roots = read_roots(item)?;
        let name: Arc<str> = match &roots {
            Roots::System => "system".into(),
            Roots::Webpki => "webpki".into(),
            Roots::File(path) => path.display().to_string().into(),
        };
        self.named.borrow_mut().insert(Arc::clone(&name), roots);
        Some(AnchorSet::Own(name))
    }

    /// Each source by the name that rules know it by.
    pub(super) fn into_named(self) -> BTreeMap<Arc<str>, Roots> {
        self.named.into_inner()
    }
}

fn read_roots(item: &Item<'_>) -> Option<Roots> {
    const WORDS: [&str; 2] = ["system", "webpki"];
    let text = item.words()?.value;
    match text {
        "system" => return Some(Roots::System),
        "webpki" => return Some(Roots::Webpki),
        _ => {}
    }
    // A misspelt word must not become the name of a file.
    if !text.contains(['.', '/', '\\']) {
        let help = nearest(text, WORDS.into_iter()).map_or_else(
            || format!("write {}, or the path of a PEM file: \"roots.pem\"", quoted(&WORDS)),
            |word| format!("did you mean {word:?}?"),
        );
        item.findings.error(Code::E01, &item.span(), format!("{} does not know {text:?}", item.path), help);
        return None;
    }
    Some(Roots::File(item.beside(text)))
}

pub(super) fn read_limits(root: &Table<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(table) = root.table("limits", &LIMITS) else { return limits };
    set(&mut limits.sessions, count(&table, "sessions"));
    set(&mut limits.sessions_per_client, count(&table, "sessions_per_client"));
    set(&mut limits.header_bytes, table.item("header_bytes").and_then(|item| item.octets(HEADER_OCTETS)));
    let hello = table.item("client_hello_bytes").and_then(|item| item.octets(CLIENT_HELLO_OCTETS));
    set(&mut limits.client_hello_bytes, hello);
    set(&mut limits.client_hello_timeout, duration(&table, "client_hello_timeout"));
    set(&mut limits.header_timeout, duration(&table, "header_timeout"));
    set(&mut limits.idle_timeout, duration(&table, "idle_timeout"));
    set(&mut limits.session_lifetime, duration(&table, "session_lifetime"));
    set(&mut limits.drain_timeout, duration(&table, "drain_timeout"));
    limits
}

pub(super) fn read_reports(root: &Table<'_>) -> Reports {
    let mut reports = Reports::default();
    let Some(table) = root.table("reports", &REPORTS) else { return reports };
    reports.file = table.item("file").and_then(|item| item.path());
    set(&mut reports.client_id, table.item("client_id").and_then(|item| item.choice(CLIENT_IDS)));
    reports
}

pub(super) fn read_log(root: &Table<'_>) -> Log {
    let mut log = Log::default();
    let Some(table) = root.table("log", &LOG) else { return log };
    set(&mut log.format, table.item("format").and_then(|item| item.choice(LOG_FORMATS)));
    set(&mut log.level, table.item("level").and_then(|item| item.choice(LOG_LEVELS)));
    log.access = table.item("access").and_then(|item| item.path());
    log
}
