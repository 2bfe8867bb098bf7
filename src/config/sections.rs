//! The tables that hold plain settings: authority, upstream, limits, log.

use super::code::Code;
use super::item::{Item, Located, Word};
use super::model::{Ca, ExtraRoots, LeafKey, Limits, Log, LogFormat, LogLevel, Revocation, Roots, Upstream};
use super::named::NamedFiles;
use super::shape::{ADDRESS, ANY, Key, Keys, PARENT, Shape};
use super::table::Table;
use super::way::{CLIENT_CERTIFICATE, read_way};
use super::words::quoted;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
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

/// Whoever sends clients here has to have heard by then.
const DRAIN_DELAY: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(5 * 60);

/// The word for a client that has been left out is `AcceptError::Unsuited`.
const LEAF_KEY_DOC: &str = "The kind of key that issued certificates have; p256 leaves out clients that verify RSA alone, \
                            rsa2048 those that verify ECDSA alone.";
pub(super) const CA: Keys = Keys::new(&[
    Key::new("directory", Shape::Path, "Its certificate and key, made on first use; else the user's data folder."),
    Key::new("leaf_key", Shape::Word(&LEAF_KEYS), LEAF_KEY_DOC).by_default("\"auto\""),
    Key::new("leaf_lifetime", Shape::Duration(&LEAF_LIFETIME), "How long issued certificates are valid, 2h to 7d.")
        .by_default("\"7d\""),
    Key::new("leaf_cache", Shape::Number(&COUNT_BOUNDS), "Issued certificates that are kept.").by_default("10_000"),
]);
pub(super) const UPSTREAM: Keys = Keys::new(&[
    Key::new("roots", Shape::WordOrPath(&ROOTS), "Trust anchors: the system's, Mozilla's list, or a PEM file.")
        .by_default("\"system\""),
    Key::new("extra_roots", Shape::List(&Shape::PathOr(&EXTRA_ROOTS)), "PEM files, trusted in addition.")
        .by_default("[]"),
    Key::new("crls", Shape::List(&Shape::Path), "Files with revocation lists.").by_default("[]"),
    Key::new("revocation", Shape::Word(&REVOCATIONS), "What the revocation lists decide; require needs crls.")
        .by_default("\"when-available\""),
    Key::new("certificate_transparency", Shape::Word(&TRANSPARENCY), "Signed certificate timestamps.")
        .by_default("\"off\""),
    Key::new("connect_timeout", Shape::Duration(&DURATION), "For finding the address and connecting.")
        .by_default("\"10s\""),
    Key::new("handshake_timeout", Shape::Duration(&DURATION), "For the TLS handshake.").by_default("\"10s\""),
    Key::new(
        "resumption",
        Shape::Flag,
        "Whether TLS sessions are resumed, which lets an upstream link clients to each other.",
    )
    .by_default("false"),
    Key::planned("ct_log_list"),
    Key::new(
        "parent",
        Shape::Address(PARENT),
        "The proxy that upstreams are reached through: http, https or socks5, with user:password@ where it asks; else none.",
    ),
    Key::new(
        "no_parent",
        Shape::List(&Shape::Text(ANY)),
        "Hosts, and networks of addresses, that are reached past it.",
    ),
    Key::new(
        "source",
        Shape::TextOrList(ADDRESS),
        "The address of this machine that connections go out from, or one of each family; else the system chooses.",
    ),
    Key::new(
        "client_certificates",
        Shape::List(&Shape::Table(&CLIENT_CERTIFICATE)),
        "Certificates that are shown to these hosts, where they ask for one.",
    )
    .by_default("[]"),
]);
const EXTRA_ROOTS: Keys = Keys::new(&[
    Key::new("file", Shape::Path, "A PEM file.").required(),
    Key::new("exempts_pins", Shape::Flag, "Whether chains that end in it are let through whatever the pins say.")
        .by_default("false"),
]);
pub(super) const LIMITS: Keys = Keys::new(&[
    Key::new("sessions", Shape::Number(&COUNT_BOUNDS), "Sessions at a time.").by_default("20_000"),
    Key::new("sessions_per_client", Shape::Number(&COUNT_BOUNDS), "Sessions at a time from one client address.")
        .by_default("1_000"),
    Key::new("header_bytes", Shape::Octets(&HEADER_OCTETS), "Head of a request, 8KiB to 1MiB.").by_default("\"64KiB\""),
    Key::new("client_hello_bytes", Shape::Octets(&CLIENT_HELLO_OCTETS), "A ClientHello, 1KiB to 64KiB.")
        .by_default("\"64KiB\""),
    Key::new("client_hello_timeout", Shape::Duration(&DURATION), "For the whole ClientHello to arrive.")
        .by_default("\"10s\""),
    Key::new("header_timeout", Shape::Duration(&DURATION), "For the whole request head to arrive.")
        .by_default("\"10s\""),
    Key::new("idle_timeout", Shape::Duration(&DURATION), "For a session in which nothing moves in either direction.")
        .by_default("\"10m\""),
    Key::new("session_lifetime", Shape::Duration(&DURATION), "For a session as a whole.").by_default("\"24h\""),
    Key::new(
        "drain_delay",
        Shape::Duration(&DRAIN_DELAY),
        "Between /readyz saying that the proxy stops and the end of its listeners, up to 5m; else no time.",
    ),
    Key::new("drain_timeout", Shape::Duration(&DURATION), "For open sessions to end when the proxy stops.")
        .by_default("\"30s\""),
]);
pub(super) const LOG: Keys = Keys::new(&[
    Key::new("format", Shape::Word(&LOG_FORMATS), "For people, for machines, or entries of the journal of systemd.")
        .by_default("\"text\""),
    Key::new("level", Shape::Word(&LOG_LEVELS), "The least serious line that is written.").by_default("\"info\""),
    Key::new("access", Shape::Path, "One JSON object for each session; else no file."),
]);

/// Words of `roots`; any other text with one of these characters is the name of a file.
pub(super) const ROOTS: &[Word<Roots>] = &[("system", Some(Roots::System)), ("webpki", Some(Roots::Webpki))];
const LEAF_KEYS: &[Word<LeafKey>] =
    &[("auto", Some(LeafKey::Auto)), ("p256", Some(LeafKey::P256)), ("rsa2048", Some(LeafKey::Rsa2048))];
const REVOCATIONS: &[Word<Revocation>] = &[
    ("off", Some(Revocation::Off)),
    ("when-available", Some(Revocation::WhenAvailable)),
    ("require", Some(Revocation::Require)),
];
const TRANSPARENCY: &[Word<()>] = &[("off", Some(())), ("report", None), ("require", None)];
const LOG_FORMATS: &[Word<LogFormat>] =
    &[("text", Some(LogFormat::Text)), ("json", Some(LogFormat::Json)), ("journald", Some(LogFormat::Journald))];
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

pub(super) fn read_socket_address(item: &Item<'_>) -> Option<Located<SocketAddr>> {
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
    let Some(table) = root.table("ca") else { return ca };
    ca.directory = table.item("directory").and_then(|item| item.path());
    set(&mut ca.leaf_key, table.item("leaf_key").and_then(|item| item.choice(LEAF_KEYS)));
    set(&mut ca.leaf_lifetime, table.item("leaf_lifetime").and_then(|item| item.duration()));
    set(&mut ca.leaf_cache, count(&table, "leaf_cache"));
    ca
}

fn count(table: &Table<'_>, key: &str) -> Option<usize> {
    let number = table.item(key)?.number()?;
    usize::try_from(number).ok()
}

fn duration(table: &Table<'_>, key: &str) -> Option<Duration> {
    table.item(key)?.duration()
}

pub(super) fn read_upstream(root: &Table<'_>, listeners: &[Located<SocketAddr>], named: &NamedFiles) -> Upstream {
    let mut upstream = Upstream::default();
    let Some(table) = root.table("upstream") else { return upstream };
    set(&mut upstream.roots, table.item("roots").and_then(|item| named.roots(&item)));
    set(&mut upstream.extra_roots, table.item("extra_roots").map(|item| read_extra_roots(&item, named)));
    set(&mut upstream.crls, table.item("crls").map(|item| named.revocation_lists(&item)));
    if let Some(item) = table.item("certificate_transparency") {
        item.choice(TRANSPARENCY);
    }
    set(&mut upstream.connect_timeout, duration(&table, "connect_timeout"));
    set(&mut upstream.handshake_timeout, duration(&table, "handshake_timeout"));
    set(&mut upstream.resumption, table.item("resumption").and_then(|item| item.flag()));
    read_way(&table, listeners, named, &mut upstream);
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
fn read_extra_roots(item: &Item<'_>, named: &NamedFiles) -> Vec<ExtraRoots> {
    let elements = item.elements().unwrap_or_default();
    let files = elements.iter().filter_map(|element| {
        if element.is_text() {
            return named.extra_roots(element, false);
        }
        let table = element.table()?;
        let flag = table.item("exempts_pins").map(|item| (item.flag(), item));
        if let Some((Some(true), item)) = &flag {
            let message = "chains that end in an anchor of this file are let through whatever the pins say";
            let help = "remove exempts_pins, unless the file holds the CA of an inspection that has to pass";
            table.findings.warning(Code::W63, &item.span(), message, help);
        }
        let exempts_pins = flag.map_or(Some(false), |(flag, _)| flag);
        let file = table.required("file", Code::E14, "write file = \"roots.pem\"");
        let extra = file.and_then(|file| named.extra_roots(&file, exempts_pins == Some(true)));
        extra.filter(|_| exempts_pins.is_some())
    });
    files.collect()
}

pub(super) fn read_roots(item: &Item<'_>) -> Option<Roots> {
    let text = item.words()?.value;
    if let Some((_, word)) = ROOTS.iter().find(|(word, _)| *word == text) {
        return word.clone();
    }
    // A misspelt word must not become the name of a file.
    if !text.contains(['.', '/', '\\']) {
        let words: Vec<_> = ROOTS.iter().map(|(word, _)| *word).collect();
        let help = item.findings.nearest(text, words.iter().copied()).map_or_else(
            || format!("write {}, or the path of a PEM file: \"roots.pem\"", quoted(&words)),
            |word| format!("did you mean {word:?}?"),
        );
        item.findings.error(Code::E01, &item.span(), format!("{} does not know {text:?}", item.path), help);
        return None;
    }
    Some(Roots::File(item.beside(text)))
}

pub(super) fn read_limits(root: &Table<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(table) = root.table("limits") else { return limits };
    set(&mut limits.sessions, count(&table, "sessions"));
    set(&mut limits.sessions_per_client, count(&table, "sessions_per_client"));
    set(&mut limits.header_bytes, table.item("header_bytes").and_then(|item| item.octets()));
    let hello = table.item("client_hello_bytes").and_then(|item| item.octets());
    set(&mut limits.client_hello_bytes, hello);
    set(&mut limits.client_hello_timeout, duration(&table, "client_hello_timeout"));
    set(&mut limits.header_timeout, duration(&table, "header_timeout"));
    set(&mut limits.idle_timeout, duration(&table, "idle_timeout"));
    set(&mut limits.session_lifetime, duration(&table, "session_lifetime"));
    set(&mut limits.drain_delay, duration(&table, "drain_delay"));
    set(&mut limits.drain_timeout, duration(&table, "drain_timeout"));
    limits
}

pub(super) fn read_log(root: &Table<'_>) -> Log {
    let mut log = Log::default();
    let Some(table) = root.table("log") else { return log };
    set(&mut log.format, table.item("format").and_then(|item| item.choice(LOG_FORMATS)));
    set(&mut log.level, table.item("level").and_then(|item| item.choice(LOG_LEVELS)));
    log.access = table.item("access").and_then(|item| item.path());
    log
}
