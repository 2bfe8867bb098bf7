//! From a configuration to a proxy. The program and the tests are put together by the same function.

use super::clock::Timekeeper;
use super::collector::{self, Collector, CollectorError, CollectorGuard};
use super::listener::END_TIMEOUT;
use super::{Clock, Generation, Parts, Proxy};
use crate::authority::{CertificateAuthority, LeafKeyKind, LeafLifetime, LeafLifetimeError, Settings};
use crate::config::{self, Config};
use crate::intercept::{Acceptor, LeafKeyChoice};
use crate::materials::{Materials, MaterialsError};
use crate::outbox::{self, Ledger, Outbox, OutboxError};
use crate::report::{
    ACCESS_LINES_MAX, AccessFile, ClientId, JsonLines, LAST_LINES_TIMEOUT, Naming, QueueGuard, RandomError, Reporter,
    Sink, SinkError, TraceCounts, Traces, VIOLATION_LINES_MAX, ViolationFile,
};
use crate::upstream::doors::Doors;
use crate::upstream::resolve::Resolve;
use crate::upstream::way::Way;
use rustls::pki_types::CertificateDer;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Queues of lines that end with the process one after the other: of both files, and of the log.
const QUEUES: u32 = 3;

/// How long the end takes at worst when `[limits] drain_delay` and `drain_timeout` are over: sessions that were cut off tell
/// their event, lines are written out, traces and reports that are being sent have a last moment. Whoever ends the process
/// has to wait for all three; the unit for systemd and the manifests do.
pub const END_MAX: Duration = END_TIMEOUT
    .saturating_add(LAST_LINES_TIMEOUT.saturating_mul(QUEUES))
    .saturating_add(collector::END_MAX)
    .saturating_add(outbox::END_MAX);

/// A proxy, and what has to outlive it.
#[derive(Debug)]
pub struct Assembled {
    /// The proxy.
    pub proxy: Arc<Proxy>,
    /// What is queued for files and for the collector of traces.
    pub sinks: Guards,
    /// Sends reports, where the configuration says to whom; to be ended when no session is left.
    pub outbox: Option<Outbox>,
    /// Tells what has become of what is sent.
    pub deliveries: Deliveries,
}

/// Where it can be asked what has become of what is sent to others; nothing of what the configuration sends to nobody.
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    /// Reports.
    pub reports: Option<Ledger>,
    /// Traces.
    pub traces: Option<TraceCounts>,
}

/// Write out, or deliver, what is queued when they are dropped.
#[derive(Debug, Default)]
pub struct Guards {
    files: Vec<QueueGuard>,
    collector: Option<CollectorGuard>,
}

/// Why a configuration cannot be put into practice. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// A file for events.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Reports to others.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// Randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The collector of traces.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The TLS library.
    #[error("TLS towards clients cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Puts a proxy together. `sinks` take events beside the files that the configuration names; no client gets to `doors`.
///
/// # Errors
/// [`AssembleError`].
pub fn assemble(
    config: &Config,
    generation: Generation,
    authority: &Arc<CertificateAuthority>,
    resolver: Arc<dyn Resolve>,
    clock: Clock,
    doors: Doors,
    mut sinks: Vec<Box<dyn Sink>>,
) -> Result<Assembled, AssembleError> {
    let mut guards = Guards::default();
    let mut open = |path: &Path, lines_max| -> Result<JsonLines, SinkError> {
        let (file, guard) = JsonLines::open(path, lines_max)?;
        guards.files.push(guard);
        Ok(file)
    };
    if let Some(path) = &config.log.access {
        sinks.push(Box::new(AccessFile(open(path, ACCESS_LINES_MAX)?)));
    }
    let (naming, time) = (naming(config)?, Arc::new(Timekeeper::new(clock.clone())));
    if let Some(path) = &config.reports.file {
        let file = open(path, VIOLATION_LINES_MAX)?;
        sinks.push(Box::new(ViolationFile { file, naming: naming.clone() }));
    }
    let outbox = match &config.reports.spool {
        Some(spool) if !config.reports.urls.is_empty() || config.reports.syslog.is_some() => {
            let (anchors, time) = (&generation.materials.common, Arc::clone(&time));
            let (outbox, outgoing) = Outbox::start(&config.reports, spool, anchors, naming, move || time.moment())?;
            sinks.push(Box::new(outgoing));
            Some(outbox)
        }
        _ => None,
    };
    let reports = outbox.as_ref().map(Outbox::ledger);
    let mut deliveries = Deliveries { reports, traces: None };
    if let Some(collector) = Collector::of(&config.traces, &generation.materials.common, clock)? {
        let (traces, taken, counts) = Traces::new(config.traces.sample);
        guards.collector = Some(collector.start(taken, counts.clone())?);
        deliveries.traces = Some(counts);
        sinks.push(Box::new(traces));
    }
    let leaf_key = match config.ca.leaf_key {
        config::LeafKey::Auto => LeafKeyChoice::Auto,
        config::LeafKey::P256 => LeafKeyChoice::Always(LeafKeyKind::EcdsaP256),
        config::LeafKey::Rsa2048 => LeafKeyChoice::Always(LeafKeyKind::Rsa2048),
    };
    let acceptor = Acceptor::new(Arc::clone(authority), leaf_key, config.upstream.handshake_timeout)?;
    let reporter = Arc::new(Reporter::new(sinks));
    let proxy = Proxy::new(config, Parts { generation, acceptor, reporter, resolver, doors, time });
    Ok(Assembled { proxy, sinks: guards, outbox, deliveries })
}

fn naming(config: &Config) -> Result<Naming, RandomError> {
    Naming::new(match config.reports.client_id {
        config::ClientId::None => ClientId::None,
        config::ClientId::Plain => ClientId::Plain,
        config::ClientId::Hashed => ClientId::hashed()?,
    })
}

/// What the configuration says of leaves.
///
/// # Errors
/// For a lifetime out of bounds.
pub fn ca_settings(config: &Config) -> Result<Settings, LeafLifetimeError> {
    Ok(Settings {
        leaf_lifetime: LeafLifetime::new(config.ca.leaf_lifetime)?,
        cache_entries: NonZeroUsize::new(config.ca.leaf_cache).unwrap_or(NonZeroUsize::MIN),
    })
}

impl Generation {
    /// The generation of this number that a configuration describes; reads its files. Certificates in `own`, the
    /// proxy's CA, do not become trust anchors.
    ///
    /// # Errors
    /// When anchors, revocation lists or client certificates cannot be used.
    pub fn load(config: &Config, number: u64, own: &[CertificateDer<'static>]) -> Result<Self, MaterialsError> {
        Self::with(config, number, None, own)
    }

    /// The same with what was read of its files already, if that was with `own` in mind.
    ///
    /// # Errors
    /// When anchors, revocation lists or client certificates cannot be used.
    pub fn with(
        config: &Config,
        number: u64,
        read: Option<Materials>,
        own: &[CertificateDer<'static>],
    ) -> Result<Self, MaterialsError> {
        let read = read.filter(|materials| materials.are_without(own));
        let materials = read.map_or_else(|| Materials::load(config, own), Ok)?;
        let (policy, access) = (Arc::new(config.policy(number)), config.access.clone());
        let way = Way::of(&config.upstream, materials.parent_tls.clone());
        Ok(Self { policy, materials, chains: Arc::default(), access, way })
    }
}
