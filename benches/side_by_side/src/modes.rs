//! What is measured: the table of modes, and how much of each is done.

use crate::load::{Accepts, Direction};
use crate::names::{Key, Site, Version};
use std::time::Duration;

/// One row, or a few rows, of the result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    /// What it is called on the command line and in the JSON.
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) task: Task,
    pub(crate) often: Often,
}

/// How often a mode is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Often {
    /// In the first round only, because it takes long and does not hang on the neighbours.
    Once,
    Rounds,
    /// In every round as often as [`Amounts::turns`] says, because a ratio is promised. [`Work::Latency`] takes its time anyway,
    /// unless it has to tell 2 %.
    Turns,
}

/// Whether a proxy has seen a name before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    Warm,
    /// Never, nor its certificate: each name has its own.
    Cold,
    /// Never, but its certificate, which other names share.
    ColdKnown,
}

/// What one run of a proxy is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) pinsets: usize,
    /// The key of the proxy's CA.
    pub(crate) ca: Key,
}

impl Shape {
    pub(crate) const USUAL: Self = Self { pinsets: 1, ca: Key::Ecdsa };
}

/// How a mode goes through the proxies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// One proxy after the other, each in the run of this shape that the modes of a round share.
    Shared(Shape, Work),
    /// One proxy after the other, each in runs for this mode alone.
    Alone(Lone),
    /// Memory a minute after so many tunnels have closed; the minutes of the proxies overlap.
    Held { tunnels: usize },
}

/// What is done with a proxy that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// New sessions with one request each, closed loop.
    Sessions {
        site: Site,
        names: Names,
        accepts: Accepts,
    },
    /// Small requests on open tunnels.
    Http1,
    Http2,
    /// Many bytes on open tunnels.
    Bulk {
        direction: Direction,
        tunnels: usize,
    },
    /// New sessions at a low fixed rate.
    Latency,
}

/// What begins with the start of a proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lone {
    /// From nothing to the first answer.
    Start,
    /// Memory of tunnels on which nothing moves.
    Idle { tunnels: usize },
    /// New sessions while so many pinsets are read again.
    Reload { pinsets: usize },
}

impl Mode {
    /// Whether it is about something that only a proxy with pinsets has.
    pub(crate) fn needs_pinsets(&self) -> bool {
        match self.task {
            Task::Shared(shape, _) => shape.pinsets != Shape::USUAL.pinsets,
            Task::Alone(work) => matches!(work, Lone::Reload { .. }),
            Task::Held { .. } => false,
        }
    }
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amounts {
    pub(crate) rounds: usize,
    /// How often a round does the modes of [`Often::Turns`], each with its share of the work, and those that stand together
    /// there and back: what they look for is smaller than what a neighbour does in a second. Even, so that none is always the
    /// first.
    pub(crate) turns: usize,
    pub(crate) sessions: usize,
    pub(crate) h1_requests: usize,
    pub(crate) h2_requests: usize,
    pub(crate) bulk_bytes: usize,
    pub(crate) latency_sessions: usize,
    pub(crate) latency_interval: Duration,
    pub(crate) starts: usize,
    /// The interval of the sessions beside a reload, and how many there are before it.
    pub(crate) reload_interval: Duration,
    pub(crate) reload_quiet: usize,
    /// No closed loop goes on for longer, so that a slow proxy does not hold up the others.
    pub(crate) loop_time: Duration,
}

impl Amounts {
    pub(crate) const FULL: Self = Self {
        rounds: 5,
        turns: 4,
        sessions: 2_000,
        h1_requests: 30_000,
        h2_requests: 150_000,
        bulk_bytes: 1_000_000_000,
        latency_sessions: 200,
        latency_interval: Duration::from_millis(50),
        starts: 5,
        reload_interval: Duration::from_millis(5),
        reload_quiet: 1_000,
        loop_time: Duration::from_secs(4),
    };
    /// To see whether all of it works, and the order of magnitude.
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        turns: 2,
        sessions: 400,
        h1_requests: 5_000,
        h2_requests: 20_000,
        bulk_bytes: 200_000_000,
        latency_sessions: 60,
        latency_interval: Duration::from_millis(40),
        starts: 2,
        reload_interval: Duration::from_millis(5),
        reload_quiet: 400,
        loop_time: Duration::from_secs(2),
    };
}

impl Amounts {
    /// What one of so many turns does.
    pub(crate) fn share(self, turns: usize) -> Self {
        Self {
            sessions: self.sessions / turns,
            h1_requests: self.h1_requests / turns,
            h2_requests: self.h2_requests / turns,
            bulk_bytes: self.bulk_bytes / turns,
            latency_sessions: self.latency_sessions / turns,
            ..self
        }
    }
}

/// Everything, in the order of the table.
pub(crate) const MODES: &[Mode] = &[
    turns("warm", "new session, warm", sessions(Key::Ecdsa, Version::Tls13, Names::Warm)),
    turns("cold", "new session, never-seen host", sessions(Key::Ecdsa, Version::Tls13, Names::Cold)),
    turns(
        "cold-known",
        "new session, new name behind a known certificate",
        sessions(Key::Ecdsa, Version::Tls13, Names::ColdKnown),
    ),
    turns("rsa-client", "new session, warm, client knows RSA alone", under_rsa_ca(Names::Warm, Accepts::RsaOnly)),
    every("cold-rsa-ca", "new session, never-seen host, CA with RSA", under_rsa_ca(Names::Cold, Accepts::All)),
    every("warm-tls12", "new session, warm, TLS 1.2", sessions(Key::Ecdsa, Version::Tls12, Names::Warm)),
    every("cold-tls12", "new session, never-seen host, TLS 1.2", sessions(Key::Ecdsa, Version::Tls12, Names::Cold)),
    every("warm-rsa", "new session, warm, RSA origin", sessions(Key::Rsa, Version::Tls13, Names::Warm)),
    every("cold-rsa", "new session, never-seen host, RSA origin", sessions(Key::Rsa, Version::Tls13, Names::Cold)),
    every("warm-rsa-tls12", "new session, warm, RSA origin, TLS 1.2", sessions(Key::Rsa, Version::Tls12, Names::Warm)),
    every(
        "cold-rsa-tls12",
        "new session, never-seen host, RSA origin, TLS 1.2",
        sessions(Key::Rsa, Version::Tls12, Names::Cold),
    ),
    turns("h1", "h1 request", usual(Work::Http1)),
    turns("h2", "h2 request", usual(Work::Http2)),
    turns("down1", "download, 1 tunnel", usual(bulk(Direction::Download, 1))),
    turns("down8", "download, 8 tunnels", usual(bulk(Direction::Download, 8))),
    turns("up1", "upload, 1 tunnel", usual(bulk(Direction::Upload, 1))),
    turns("up8", "upload, 8 tunnels", usual(bulk(Direction::Upload, 8))),
    every("latency", "new session at a low rate", usual(Work::Latency)),
    every("start", "start", Task::Alone(Lone::Start)),
    once("idle-1000", "1,000 idle tunnels", idle(1_000)),
    once("idle-5000", "5,000 idle tunnels", idle(5_000)),
    once("idle-20000", "20,000 idle tunnels", idle(20_000)),
    once("held", "a minute after 5,000 tunnels", Task::Held { tunnels: 5_000 }),
    turns("policy-10", "new session, warm, 10 pinsets", with_pinsets(10, WARM)),
    turns("policy-10000", "new session, warm, 10,000 pinsets", with_pinsets(10_000, WARM)),
    turns("policy-100000", "new session, warm, 100,000 pinsets", with_pinsets(100_000, WARM)),
    turns("policy-10-latency", "new session at a low rate, 10 pinsets", with_pinsets(10, Work::Latency)),
    turns("policy-100000-latency", "new session at a low rate, 100,000 pinsets", with_pinsets(100_000, Work::Latency)),
    turns("policy-10-cold", "new session, never-seen host, 10 pinsets", with_pinsets(10, COLD)),
    turns("policy-100000-cold", "new session, never-seen host, 100,000 pinsets", with_pinsets(100_000, COLD)),
    turns("policy-10-h1", "h1 request, 10 pinsets", with_pinsets(10, Work::Http1)),
    turns("policy-100000-h1", "h1 request, 100,000 pinsets", with_pinsets(100_000, Work::Http1)),
    turns("policy-10-down1", "download, 10 pinsets", with_pinsets(10, bulk(Direction::Download, 1))),
    turns("policy-100000-down1", "download, 100,000 pinsets", with_pinsets(100_000, bulk(Direction::Download, 1))),
    every("reload", "reload of 100,000 pinsets under load", Task::Alone(Lone::Reload { pinsets: 100_000 })),
];

/// Modes that `--quick` leaves out unless they are asked for by name.
pub(crate) const NOT_QUICK: &[&str] = &["idle-5000", "idle-20000", "held"];

const WARM: Work = Work::Sessions { site: Site::MODERN, names: Names::Warm, accepts: Accepts::All };
const COLD: Work = Work::Sessions { site: Site::MODERN, names: Names::Cold, accepts: Accepts::All };

const fn every(key: &'static str, title: &'static str, task: Task) -> Mode {
    Mode { key, title, task, often: Often::Rounds }
}

const fn turns(key: &'static str, title: &'static str, task: Task) -> Mode {
    Mode { key, title, task, often: Often::Turns }
}

const fn once(key: &'static str, title: &'static str, task: Task) -> Mode {
    Mode { key, title, task, often: Often::Once }
}

const fn usual(work: Work) -> Task {
    Task::Shared(Shape::USUAL, work)
}

const fn sessions(key: Key, version: Version, names: Names) -> Task {
    usual(Work::Sessions { site: Site { key, version }, names, accepts: Accepts::All })
}

const fn under_rsa_ca(names: Names, accepts: Accepts) -> Task {
    Task::Shared(Shape { ca: Key::Rsa, ..Shape::USUAL }, Work::Sessions { site: Site::MODERN, names, accepts })
}

const fn with_pinsets(pinsets: usize, work: Work) -> Task {
    Task::Shared(Shape { pinsets, ..Shape::USUAL }, work)
}

const fn bulk(direction: Direction, tunnels: usize) -> Work {
    Work::Bulk { direction, tunnels }
}

const fn idle(tunnels: usize) -> Task {
    Task::Alone(Lone::Idle { tunnels })
}
