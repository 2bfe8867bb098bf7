//! The only room that sees all others: takes connections, runs sessions, answers.

mod alpn;
mod assemble;
mod calendar;
mod capacity;
mod client_half;
mod clock;
mod collector;
mod connect;
mod entrance;
mod error;
mod exchange;
mod greeting;
mod head;
mod listener;
mod opening;
mod preface;
mod record;
mod refusing;
mod reply;
mod resuming;
mod rollouts;
mod session;
mod sides;
mod socks;
mod standing;
mod transparent;
mod upstream_half;
mod wire;

pub use assemble::{AssembleError, Assembled, Deliveries, END_MAX, Guards, assemble, ca_settings};
pub use clock::Clock;
pub use collector::{CollectorError, CollectorGuard, TRACES_A_REQUEST_MAX};
pub use entrance::{Entrance, EntranceError};
pub use exchange::{Content, exchange};
pub use listener::{serve, tell_losses};

use crate::authority::CertificateAuthority;
use crate::config::{Config, Limits};
use crate::intercept::Acceptor;
use crate::materials::Materials;
use crate::policy::access::Access;
use crate::policy::host::Host;
use crate::policy::moment::{Circumstances, Moment};
use crate::policy::overrides::Overrides;
use crate::policy::pinset::Pinset;
use crate::policy::rules::{Policy, Rule};
use crate::report::{ReopenError, Reporter};
use crate::tls::memory::ChainMemory;
use crate::upstream::doors::Doors;
use crate::upstream::resolve::Resolve;
use crate::upstream::tickets::Tickets;
use crate::upstream::via::Via;
use crate::upstream::way::Way;
use alpn::Offers;
use arc_swap::ArcSwap;
use calendar::Calendar;
use capacity::Capacity;
use clock::Timekeeper;
use resuming::Resuming;
use rollouts::Rollouts;
use standing::Standings;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Everything that decides about an upstream, replaced as one: a session takes one generation and keeps it.
#[derive(Debug)]
pub struct Generation {
    /// The rules.
    pub policy: Arc<Policy>,
    /// What chains are verified with.
    pub materials: Materials,
    /// The chains that were verified with them.
    pub chains: Arc<ChainMemory>,
    /// Who may use the proxy, and to go where.
    pub access: Access,
    /// How upstreams are reached.
    pub way: Way,
}

/// What a proxy is made of.
#[derive(Debug)]
struct Parts {
    /// The first generation.
    generation: Generation,
    /// The client's side: the CA and what its sessions share.
    acceptor: Acceptor,
    /// Where events go.
    reporter: Arc<Reporter>,
    /// Where addresses of names come from.
    resolver: Arc<dyn Resolve>,
    /// Where clients never get.
    doors: Doors,
    /// The clocks.
    time: Arc<Timekeeper>,
}

/// How often rules have changed by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    /// Because dates have come.
    dates: u64,
    /// Because rollouts have taken a step.
    steps: u64,
}

/// A running proxy: what all its sessions share.
#[derive(Debug)]
pub struct Proxy {
    generation: ArcSwap<Generation>,
    overrides: ArcSwap<Overrides>,
    limits: Limits,
    connect_timeout: Duration,
    handshake_timeout: Duration,
    acceptor: Acceptor,
    reporter: Arc<Reporter>,
    resolver: Arc<dyn Resolve>,
    doors: Doors,
    via: Via,
    time: Arc<Timekeeper>,
    calendar: Calendar,
    rollouts: Rollouts,
    /// Kept only where upstream resumption is switched on.
    tickets: Option<Tickets>,
    offers: Offers,
    resuming: Resuming,
    capacity: Arc<Capacity>,
    standings: Standings,
    refusals: Arc<Semaphore>,
    sessions: TaskTracker,
    /// There will be no new sessions soon.
    leaving: CancellationToken,
    /// No new sessions.
    stopping: CancellationToken,
    /// No sessions any more.
    ending: CancellationToken,
    session_prefix: u32,
    session_count: AtomicU64,
}

impl Proxy {
    /// A proxy with the settings of a configuration.
    fn new(config: &Config, parts: Parts) -> Arc<Self> {
        let time = parts.time;
        let (calendar, rollouts) = (Calendar::default(), Rollouts::default());
        enter(&parts.generation.policy, &time, &calendar, &rollouts);
        Arc::new(Self {
            generation: ArcSwap::from_pointee(parts.generation),
            overrides: ArcSwap::default(),
            limits: config.limits.clone(),
            connect_timeout: config.upstream.connect_timeout,
            handshake_timeout: config.upstream.handshake_timeout,
            acceptor: parts.acceptor,
            reporter: parts.reporter,
            resolver: parts.resolver,
            doors: parts.doors,
            via: Via::random(),
            time,
            calendar,
            rollouts,
            tickets: config.upstream.resumption.then(Tickets::default),
            offers: Offers::default(),
            resuming: Resuming::default(),
            capacity: Capacity::new(config.limits.sessions, config.limits.sessions_per_client),
            standings: Standings::default(),
            refusals: Arc::new(Semaphore::new(listener::REFUSALS_MAX)),
            sessions: TaskTracker::new(),
            leaving: CancellationToken::new(),
            stopping: CancellationToken::new(),
            ending: CancellationToken::new(),
            // Random per process, so that references of two runs are told apart.
            session_prefix: u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or_default(),
            session_count: AtomicU64::new(0),
        })
    }

    /// The generation that sessions take now.
    pub fn generation(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// Puts a new generation in force for all sessions that begin from now on. Gives the old one: to free a large one
    /// takes its time, which is not to be that of a session.
    pub fn replace(&self, generation: Generation) -> Arc<Generation> {
        enter(&generation.policy, &self.time, &self.calendar, &self.rollouts);
        self.generation.swap(Arc::new(generation))
    }

    /// Tells what the dates of the policy have brought since the last time, takes the steps of rollouts that are due,
    /// and holds the wall clock against the steady one. [`serve`] calls it every second.
    /// Whether a rule has changed by itself, so that open sessions are to be judged again.
    pub fn keep_time(&self) -> bool {
        let moment = self.time.moment();
        for sentence in self.calendar.due(moment).into_iter().chain(self.authority().news(moment)) {
            tracing::warn!("{sentence}");
        }
        let has_stepped = self.rollouts.advance(moment, self.time.elapsed());
        self.calendar.has_changed(moment) || has_stepped
    }

    /// What is another one when rules have changed by themselves.
    fn turn(&self, moment: Moment) -> Turn {
        Turn { dates: self.calendar.turn(moment), steps: self.rollouts.steps() }
    }

    /// The CA that signs what clients see.
    pub fn authority(&self) -> Arc<CertificateAuthority> {
        self.acceptor.authority()
    }

    /// Puts another CA in its place.
    pub fn replace_authority(&self, authority: Arc<CertificateAuthority>) {
        self.acceptor.replace_authority(authority);
    }

    /// Makes the RSA leaf key, which takes a while, ahead of the first client that needs it. Blocks.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn prepare_rsa(&self) -> Result<(), crate::authority::IssueError> {
        self.acceptor.prepare_rsa()
    }

    /// Ends every session now; to be called on a proxy that is draining.
    pub fn end(&self) {
        self.ending.cancel();
        self.standings.close();
    }

    /// The overrides that were given.
    pub fn overrides(&self) -> Arc<Overrides> {
        self.overrides.load_full()
    }

    /// Puts other overrides in the place of those that were given, for all judgements from now on.
    pub fn set_overrides(&self, overrides: Overrides) {
        self.overrides.store(Arc::new(overrides));
    }

    /// The moment that rules are held against.
    pub fn moment(&self) -> Moment {
        self.time.moment()
    }

    /// For how long it has run, by the clock that nobody sets.
    pub fn running(&self) -> Duration {
        self.time.elapsed()
    }

    /// In percent, the share of the clients that the rollout of this pinset of the policy in force enforces for, and
    /// whether it is on hold; `None` where it has none.
    pub fn rollout_reached(&self, pinset: &Pinset, moment: Moment) -> Option<(f64, bool)> {
        self.rollouts.reached(pinset, moment)
    }

    /// What a judgement of this host and port by this rule depends on.
    fn circumstances(
        &self,
        rule: &Rule,
        host: &Host,
        port: NonZeroU16,
        client: IpAddr,
        moment: Moment,
    ) -> Circumstances {
        let rollout = rule.pinset().filter(|pinset| pinset.rollout().is_some());
        let running = self.time.elapsed();
        let hold = rollout.and_then(|pinset| self.rollouts.limit(pinset, moment, running));
        let overridden = rule.pinset().is_some() && self.overrides.load().cover(host, port, moment, running);
        Circumstances { moment, client: client.to_canonical(), hold, overridden }
    }

    /// Whether it lets open sessions end and takes no new ones, or is about to.
    pub fn is_draining(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// Events that were lost since the start, by where they should have gone.
    pub fn lost_events(&self) -> BTreeMap<String, u64> {
        let lost = self.reporter.lost().filter(|(_, lost)| *lost > 0);
        lost.map(|(sink, lost)| (sink.to_owned(), lost)).collect()
    }

    /// Opens the files of events anew, which somebody may have moved away. Gives those that cannot be.
    pub fn reopen_logs(&self) -> Vec<ReopenError> {
        self.reporter.reopen()
    }

    /// Events that were lost since the start, by sink: also where there were none.
    pub fn losses(&self) -> impl Iterator<Item = (&str, u64)> {
        self.reporter.lost()
    }

    /// Whether the wall clock and the steady one are further apart than either is believed alone.
    pub fn clocks_are_apart(&self) -> bool {
        self.time.is_apart()
    }

    /// Connections and tunnels open now.
    pub fn open_sessions(&self) -> usize {
        self.capacity.taken()
    }

    fn session_name(&self) -> Box<str> {
        format!("{:08x}-{}", self.session_prefix, self.session_count.fetch_add(1, Ordering::Relaxed)).into()
    }
}

/// Goes over to the dates of a policy.
fn enter(policy: &Policy, time: &Timekeeper, calendar: &Calendar, rollouts: &Rollouts) {
    let moment = time.moment();
    calendar.enter(policy, moment);
    rollouts.enter(policy.rules().iter().filter_map(|rule| rule.pinset()), moment);
}
