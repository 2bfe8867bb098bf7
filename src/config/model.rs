//! The configuration as the rest of the program sees it: typed, complete, free of contradictions.

use super::parent::Parent;
use super::reports::Reports;
use super::secret::Secret;
use crate::policy::access::Access;
use crate::policy::pattern::HostPattern;
use crate::policy::pin::Sha256;
use crate::policy::pinset::Pinset;
use crate::policy::rules::{Blocked, Conflict, Defaults, Policy, Rule, Unpinned};
use crate::policy::way::{Exception, Sources};
use http::{HeaderName, Uri};
use ipnet::IpNet;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the proxy listens when nothing is said.
pub const DEFAULT_LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// A complete configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients connect. Never empty; [`DEFAULT_LISTENER`] when the file has no `[[listener]]`.
    pub listeners: Vec<Listener>,
    /// The local certificate authority.
    pub ca: Ca,
    /// Connections to upstreams.
    pub upstream: Upstream,
    /// Who may use the proxy, and to go where. [`Access::local`] when the file has no `[access]`.
    pub access: Access,
    /// Limits on what peers can make grow.
    pub limits: Limits,
    /// Pinsets, exemptions, tunnels, blocked keys.
    pub rules: RuleSet,
    /// The sources of trust anchors that pinsets have for themselves, by the name that their rules give.
    pub anchor_sets: BTreeMap<Arc<str>, Roots>,
    /// How a client is told that it is refused.
    pub refusal: Refusal,
    /// Reports of pin violations.
    pub reports: Reports,
    /// Logs.
    pub log: Log,
    /// Traces.
    pub traces: Traces,
    /// The doors for operators.
    pub admin: Admin,
    /// Whether a change of the files is a reload. Default: no.
    pub watch: bool,
}

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// What clients speak there. Default: forward.
    pub kind: ListenerKind,
    /// How TLS is spoken to the proxy itself; nothing where it is transparent. Default: not.
    pub tls: Option<ListenerTls>,
    /// Whose connections begin with a PROXY header. Default: nobody's.
    pub proxy_protocol_from: Vec<IpNet>,
}

/// What clients speak to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// HTTP, and CONNECT of it.
    Forward,
    /// SOCKS5.
    Socks5,
    /// What they would speak to their host: they know of no proxy.
    Transparent(Redirect),
}

/// How connections to others come to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// The system has translated the address that they were made to, and remembers it (REDIRECT).
    Nat,
    /// The system has handed them over as they are (TPROXY).
    Tproxy,
}

/// Files for TLS to the proxy itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// PEM: its certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// The local certificate authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ca {
    /// Where its certificate and key are kept. `None`: the user's data folder.
    pub directory: Option<PathBuf>,
    /// The kind of key that issued leaves have. Default: auto.
    pub leaf_key: LeafKey,
    /// How long issued leaves are valid, 2 hours to 7 days. Default: 7 days.
    pub leaf_lifetime: Duration,
    /// How many issued leaves are kept. Default: 10 000.
    pub leaf_cache: usize,
}

/// The kind of key that issued leaves have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafKey {
    /// ECDSA P-256, and RSA-2048 for clients that cannot verify ECDSA.
    Auto,
    /// ECDSA P-256.
    P256,
    /// RSA with 2048 bits.
    Rsa2048,
}

/// Connections to upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Trust anchors. Default: those of the system.
    pub roots: Roots,
    /// PEM files with trust anchors added to `roots`. Default: none.
    pub extra_roots: Vec<ExtraRoots>,
    /// Files with revocation lists, PEM or DER. Default: none.
    pub crls: Vec<PathBuf>,
    /// What the revocation lists decide. Default: when available.
    pub revocation: Revocation,
    /// For finding the address and the TCP connection. Default: 10 seconds.
    pub connect_timeout: Duration,
    /// For the TLS handshake. Default: 10 seconds.
    pub handshake_timeout: Duration,
    /// Whether TLS sessions are resumed, which lets an upstream link the proxy's clients to each other. Default: no.
    pub resumption: bool,
    /// The proxy that upstreams are reached through. Default: none.
    pub parent: Option<Parent>,
    /// Upstreams that are reached past it. Default: none. Empty where there is no parent.
    pub no_parent: Vec<Exception>,
    /// The addresses of ours that connections go out from. Default: those that the system chooses.
    pub source: Sources,
    /// Certificates that are shown to upstreams that ask for one. Default: none. No pattern is in two of them.
    pub client_certificates: Vec<ClientCertificate>,
}

/// A certificate for upstreams that ask for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Who it is shown to.
    pub hosts: Vec<HostPattern>,
    /// PEM: the certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// Where trust anchors come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// The system's store.
    System,
    /// The Mozilla list compiled into the program.
    Webpki,
    /// A PEM file.
    File(PathBuf),
}

/// A PEM file with trust anchors added to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraRoots {
    /// The file.
    pub file: PathBuf,
    /// Whether chains that end in one of its anchors are let through whatever the pins say. Default: no.
    pub exempts_pins: bool,
}

/// What revocation lists decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Nothing.
    Off,
    /// A revoked certificate is refused; one that no list speaks of is not.
    WhenAvailable,
    /// A certificate that no list speaks of is refused too. Comes with at least one list.
    Require,
}

/// Limits on what peers can make grow. None of them can be switched off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at a time. Default: 20 000.
    pub sessions: usize,
    /// Sessions at a time from one client address. Default: 1 000.
    pub sessions_per_client: usize,
    /// Octets of a request head, 8 KiB to 1 MiB. Default: 64 KiB.
    pub header_bytes: usize,
    /// Octets of a ClientHello, 1 KiB to 64 KiB. Default: 64 KiB.
    pub client_hello_bytes: usize,
    /// For the whole ClientHello to arrive. Default: 10 seconds.
    pub client_hello_timeout: Duration,
    /// For the whole request head to arrive. Default: 10 seconds.
    pub header_timeout: Duration,
    /// For a session in which nothing moves. Default: 10 minutes.
    pub idle_timeout: Duration,
    /// For a session as a whole. Default: 24 hours.
    pub session_lifetime: Duration,
    /// Between the announcement that the proxy stops and the end of its listeners. Default: none.
    pub drain_delay: Duration,
    /// For open sessions to end when the proxy stops. Default: 30 seconds.
    pub drain_timeout: Duration,
}

/// How a client is told that it is refused. This version answers with a status whatever is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A status to the CONNECT.
    Status,
    /// A page inside TLS.
    Page,
    /// A page for browsers, a status for the rest.
    Auto,
}

/// Rules without contradiction: no two name the same host and port.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSet {
    rules: Vec<Rule>,
    defaults: Defaults,
    blocklist: HashMap<Sha256, Arc<Blocked>>,
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Default: text.
    pub format: LogFormat,
    /// Default: info.
    pub level: LogLevel,
    /// A file that gets one JSON object for each session. Default: none.
    pub access: Option<PathBuf>,
}

/// Traces of sessions for a collector of OpenTelemetry.
#[derive(Clone, PartialEq)]
pub struct Traces {
    /// Where they are sent. Default: nowhere.
    pub url: Option<Uri>,
    /// The fraction of sessions that is traced beside those that are refused or fail, 0 to 1. Default: 1.
    pub sample: f64,
    /// What the collector wants to be told with each request. Default: nothing.
    pub headers: Vec<(HeaderName, Secret)>,
}

/// Without the path, which lets in whoever knows it with some collectors.
impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.url.as_ref().and_then(Uri::authority);
        let Self { sample, headers, .. } = self;
        f.debug_struct("Traces").field("place", &place).field("sample", sample).field("headers", headers).finish()
    }
}

/// The doors for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// Where the proxy tells about itself. Default: nowhere.
    pub address: Option<AdminAddress>,
    /// The file of the control socket. Default: none.
    pub socket: Option<PathBuf>,
}

/// Where the proxy tells about itself, and whom. Beyond loopback there is a token, or a `client_ca`, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminAddress {
    /// Where it listens.
    pub bind: SocketAddr,
    /// What whoever asks has to know. Default: nothing.
    pub token: Option<Secret>,
    /// How TLS is spoken. Default: not.
    pub tls: Option<AdminTls>,
}

/// Files for TLS at the admin address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTls {
    /// PEM: its certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// PEM: authorities that clients have to have their certificates from. Default: none are asked for.
    pub client_ca: Option<PathBuf>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// Entries of the journal of systemd, with fields.
    Journald,
}

/// The least serious log line that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Faults.
    Error,
    /// And what deserves a look.
    Warn,
    /// And what happens in normal operation.
    Info,
    /// And what helps to find a fault.
    Debug,
    /// And everything.
    Trace,
}

impl Config {
    /// Without a file: 127.0.0.1:8080, for local clients, nothing pinned.
    pub fn builtin() -> Self {
        Self {
            listeners: vec![Listener::forward(DEFAULT_LISTENER)],
            ca: Ca::default(),
            upstream: Upstream::default(),
            access: Access::local(),
            limits: Limits::default(),
            rules: RuleSet::default(),
            anchor_sets: BTreeMap::new(),
            refusal: Refusal::Status,
            reports: Reports::default(),
            log: Log::default(),
            traces: Traces::default(),
            admin: Admin::default(),
            watch: false,
        }
    }

    /// The rules as a policy of this generation.
    pub fn policy(&self, generation: u64) -> Policy {
        self.rules.policy(generation)
    }
}

impl Listener {
    /// One that takes CONNECT in the clear, and knows no load balancer.
    pub const fn forward(address: SocketAddr) -> Self {
        Self { address, kind: ListenerKind::Forward, tls: None, proxy_protocol_from: Vec::new() }
    }
}

impl ListenerKind {
    /// The word of the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Socks5 => "socks5",
            Self::Transparent(_) => "transparent",
        }
    }
}

impl Default for Ca {
    fn default() -> Self {
        Self { directory: None, leaf_key: LeafKey::Auto, leaf_lifetime: 7 * DAY, leaf_cache: 10_000 }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            roots: Roots::System,
            extra_roots: Vec::new(),
            crls: Vec::new(),
            revocation: Revocation::WhenAvailable,
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            resumption: false,
            parent: None,
            no_parent: Vec::new(),
            source: Sources::default(),
            client_certificates: Vec::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 20_000,
            sessions_per_client: 1_000,
            header_bytes: 64 << 10,
            client_hello_bytes: 64 << 10,
            client_hello_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: 10 * MINUTE,
            session_lifetime: 24 * HOUR,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: LogLevel::Info, access: None }
    }
}

impl Default for Traces {
    fn default() -> Self {
        Self { url: None, sample: 1.0, headers: Vec::new() }
    }
}

/// Nothing pinned, everything intercepted.
impl Default for RuleSet {
    fn default() -> Self {
        Self { rules: Vec::new(), defaults: Unpinned::Intercept.into(), blocklist: HashMap::new() }
    }
}

impl RuleSet {
    /// Takes rules that do not contradict each other.
    ///
    /// # Errors
    /// Every pair of rules that carry the same pattern.
    pub fn new(
        rules: Vec<Rule>,
        defaults: impl Into<Defaults>,
        blocklist: HashMap<Sha256, Arc<Blocked>>,
    ) -> Result<Self, Vec<Conflict>> {
        let defaults = defaults.into();
        Policy::new(0, rules.clone(), defaults, blocklist.clone())?;
        Ok(Self { rules, defaults, blocklist })
    }

    /// The rules: pinsets, then exemptions, then tunnels, each in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What is done with hosts that no rule names. Default: intercept, and refuse a ClientHello for another host.
    pub const fn defaults(&self) -> Defaults {
        self.defaults
    }

    /// Keys that no path may contain.
    pub const fn blocklist(&self) -> &HashMap<Sha256, Arc<Blocked>> {
        &self.blocklist
    }

    /// Whether no path under this pinset may contain this key.
    pub fn is_blocked(&self, pinset: &Pinset, spki: &Sha256) -> bool {
        self.blocklist.contains_key(spki) || pinset.deny.as_ref().is_some_and(|denied| denied.entry(spki).is_some())
    }

    /// As a policy of this generation.
    pub fn policy(&self, generation: u64) -> Policy {
        Policy::new(generation, self.rules.clone(), self.defaults, self.blocklist.clone())
            .unwrap_or_else(|conflicts| unreachable!("RuleSet::new has refused {conflicts:?}"))
    }
}
