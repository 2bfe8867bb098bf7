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
    /// In the first round only, because it takes long and does not hang on the neighbours.
    pub(crate) once: bool,
}

/// Whether a proxy has seen a name before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    Warm,
    Cold,
}

/// How a mode goes through the proxies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// One proxy after the other.
    Each(Work),
    /// Memory a minute after so many tunnels have closed; all proxies wait for the same minute.
    Held { tunnels: usize },
}

/// What is done with a proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// New sessions with one request each, closed loop.
    Sessions {
        site: Site,
        names: Names,
        accepts: Accepts,
        /// The key of the proxy's CA.
        ca: Key,
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
    /// From nothing to the first answer.
    Start,
    /// Memory of tunnels on which nothing moves.
    Idle {
        tunnels: usize,
    },
    /// Warm sessions with so many pinsets.
    Policy {
        pinsets: usize,
    },
    /// New sessions while so many pinsets are read again.
    Reload {
        pinsets: usize,
    },
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amounts {
    pub(crate) rounds: usize,
    pub(crate) sessions: usize,
    pub(crate) h1_requests: usize,
    pub(crate) h2_requests: usize,
    pub(crate) bulk_bytes: usize,
    pub(crate) latency_sessions: usize,
    pub(crate) latency_interval: Duration,
    pub(crate) starts: usize,
    /// No closed loop goes on for longer, so that a slow proxy does not hold up the others.
    pub(crate) loop_time: Duration,
}

impl Amounts {
    pub(crate) const FULL: Self = Self {
        rounds: 5,
        sessions: 2_000,
        h1_requests: 30_000,
        h2_requests: 150_000,
        bulk_bytes: 1_000_000_000,
        latency_sessions: 200,
        latency_interval: Duration::from_millis(50),
        starts: 5,
        loop_time: Duration::from_secs(6),
    };
    /// To see whether all of it works, and the order of magnitude.
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        sessions: 400,
        h1_requests: 5_000,
        h2_requests: 20_000,
        bulk_bytes: 200_000_000,
        latency_sessions: 60,
        latency_interval: Duration::from_millis(40),
        starts: 2,
        loop_time: Duration::from_secs(2),
    };
}

/// Everything, in the order of the table.
pub(crate) const MODES: &[Mode] = &[
    every("warm", "new session, warm", sessions(Key::Ecdsa, Version::Tls13, Names::Warm)),
    every("cold", "new session, never-seen host", sessions(Key::Ecdsa, Version::Tls13, Names::Cold)),
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
    every(
        "rsa-client",
        "new session, warm, client knows RSA alone",
        Work::Sessions { site: Site::MODERN, names: Names::Warm, accepts: Accepts::RsaOnly, ca: Key::Rsa },
    ),
    every(
        "cold-rsa-ca",
        "new session, never-seen host, CA with RSA",
        Work::Sessions { site: Site::MODERN, names: Names::Cold, accepts: Accepts::All, ca: Key::Rsa },
    ),
    every("h1", "h1 request", Work::Http1),
    every("h2", "h2 request", Work::Http2),
    every("down1", "download, 1 tunnel", Work::Bulk { direction: Direction::Download, tunnels: 1 }),
    every("down8", "download, 8 tunnels", Work::Bulk { direction: Direction::Download, tunnels: 8 }),
    every("up1", "upload, 1 tunnel", Work::Bulk { direction: Direction::Upload, tunnels: 1 }),
    every("up8", "upload, 8 tunnels", Work::Bulk { direction: Direction::Upload, tunnels: 8 }),
    every("latency", "new session at a low rate", Work::Latency),
    every("start", "start", Work::Start),
    every("idle-1000", "1,000 idle tunnels", Work::Idle { tunnels: 1_000 }),
    every("idle-5000", "5,000 idle tunnels", Work::Idle { tunnels: 5_000 }),
    once("idle-20000", "20,000 idle tunnels", Task::Each(Work::Idle { tunnels: 20_000 })),
    once("held", "a minute after 5,000 tunnels", Task::Held { tunnels: 5_000 }),
    every("policy-10", "new session, warm, 10 pinsets", Work::Policy { pinsets: 10 }),
    every("policy-10000", "new session, warm, 10,000 pinsets", Work::Policy { pinsets: 10_000 }),
    every("policy-100000", "new session, warm, 100,000 pinsets", Work::Policy { pinsets: 100_000 }),
    every("reload", "reload of 100,000 pinsets under load", Work::Reload { pinsets: 100_000 }),
];

/// Modes that `--quick` leaves out unless they are asked for by name.
pub(crate) const NOT_QUICK: &[&str] = &["idle-5000", "idle-20000", "held"];

const fn every(key: &'static str, title: &'static str, work: Work) -> Mode {
    Mode { key, title, task: Task::Each(work), once: false }
}

const fn once(key: &'static str, title: &'static str, task: Task) -> Mode {
    Mode { key, title, task, once: true }
}

const fn sessions(key: Key, version: Version, names: Names) -> Work {
    Work::Sessions { site: Site { key, version }, names, accepts: Accepts::All, ca: Key::Ecdsa }
}
