//! What pinproxy is held to.

mod judge;
#[cfg(test)]
mod tests;

pub(crate) use judge::{Row, rows, table};

use crate::work::RSA_SIGNATURE;

/// The one that is held to something.
const OWN: &str = "pinproxy";
/// What a user would take instead.
const PEERS: [&str; 4] = ["hudsucker", "squid", "haproxy", "mitmproxy"];
/// A session with a step of Nagle's algorithm against delayed acknowledgements takes as long and more, in µs.
const STEP: f64 = 40_000.0;
/// Largest binary, in MB.
const BINARY_MAX: f64 = 14.0;

/// What a figure must not exceed.
#[derive(Clone, Copy)]
enum Bound {
    /// So much, the median of the rounds.
    Value(f64),
    /// So much, on every occasion.
    Worst(f64),
    /// So many times the relay's on the same occasion.
    Relay(f64),
    /// So many times its own in another mode on the same occasion.
    Mode(&'static str, f64),
    /// So much more than its own in another mode on the same occasion.
    Over(&'static str, f64),
    /// As `Over`, with another figure of its own mode instead of a number.
    OverBy(&'static str, &'static str),
    /// Less than every peer's on the same occasion.
    Peers,
    /// So much, with so many tunnels open.
    Tunnels(usize, f64),
}

struct Target {
    what: &'static str,
    mode: &'static str,
    figure: &'static str,
    unit: &'static str,
    bound: Bound,
    /// Others are looked at, and nobody was told that they hold.
    promised: bool,
}

const fn target(
    what: &'static str,
    mode: &'static str,
    figure: &'static str,
    unit: &'static str,
    bound: Bound,
) -> Target {
    Target { what, mode, figure, unit, bound, promised: true }
}

const fn unpromised(what: &'static str, mode: &'static str, bound: Bound) -> Target {
    Target { promised: false, ..target(what, mode, "cpu", "µs", bound) }
}

/// A step that only some sessions have is seen where it is more than one in a hundred of a turn.
const fn no_steps(what: &'static str, mode: &'static str) -> Target {
    target(what, mode, "p99", "µs", Bound::Worst(STEP))
}

const TARGETS: &[Target] = &[
    target("new session, warm", "warm", "cpu", "µs", Bound::Relay(0.75)),
    unpromised("new session, warm, TLS 1.2", "warm-tls12", Bound::Relay(0.75)),
    unpromised("new session, warm, RSA origin", "warm-rsa", Bound::Relay(0.75)),
    unpromised("new session, warm, RSA origin, TLS 1.2", "warm-rsa-tls12", Bound::Relay(0.75)),
    target("new session at a low rate, p50", "latency", "p50", "µs", Bound::Relay(1.0)),
    no_steps("no 40 ms steps: new session at a low rate, p99", "latency"),
    no_steps("no 40 ms steps: warm, p99", "warm"),
    no_steps("no 40 ms steps: never-seen host, p99", "cold"),
    no_steps("no 40 ms steps: warm, TLS 1.2, p99", "warm-tls12"),
    no_steps("no 40 ms steps: warm, RSA origin, p99", "warm-rsa"),
    no_steps("no 40 ms steps: client that knows RSA alone, p99", "rsa-client"),
    no_steps("no 40 ms steps: h1 request, p99", "h1"),
    no_steps("no 40 ms steps: h2 request, p99", "h2"),
    target("new session, never-seen host, over warm", "cold", "cpu", "µs", Bound::Over("warm", 80.0)),
    unpromised("new name behind a known certificate, over warm", "cold-known", Bound::Over("warm", 80.0)),
    target("client that knows RSA alone, over warm", "rsa-client", "cpu", "µs", Bound::OverBy("warm", RSA_SIGNATURE)),
    target("h1 request", "h1", "cpu", "µs", Bound::Relay(1.1)),
    target("h2 request", "h2", "cpu", "µs", Bound::Relay(1.1)),
    target("download, 1 tunnel", "down1", "cpu", "ms/GB", Bound::Relay(1.0)),
    target("download, 8 tunnels", "down8", "cpu", "ms/GB", Bound::Relay(1.0)),
    target("upload, 1 tunnel", "up1", "cpu", "ms/GB", Bound::Relay(1.0)),
    target("upload, 8 tunnels", "up8", "cpu", "ms/GB", Bound::Relay(1.0)),
    target("download, 1 tunnel, beside peers", "down1", "cpu", "ms/GB", Bound::Peers),
    target("download, 8 tunnels, beside peers", "down8", "cpu", "ms/GB", Bound::Peers),
    target("upload, 1 tunnel, beside peers", "up1", "cpu", "ms/GB", Bound::Peers),
    target("upload, 8 tunnels, beside peers", "up8", "cpu", "ms/GB", Bound::Peers),
    target("idle tunnel, of 5,000", "idle-5000", "pss each", "KiB", Bound::Tunnels(5_000, 20.0)),
    target("20,000 idle tunnels", "idle-20000", "pss", "MB", Bound::Tunnels(20_000, 450.0)),
    target("a minute after 5,000 tunnels", "held", "pss", "MB", Bound::Tunnels(5_000, 25.0)),
    target("10,000 pinsets against 10", "policy-10000", "cpu", "µs", Bound::Mode("policy-10", 1.02)),
    target("100,000 pinsets against 10", "policy-100000", "cpu", "µs", Bound::Mode("policy-10", 1.02)),
    target(
        "100,000 against 10, session at a low rate, p50",
        "policy-100000-latency",
        "p50",
        "µs",
        Bound::Mode("policy-10-latency", 1.02),
    ),
    target(
        "100,000 against 10, never-seen host",
        "policy-100000-cold",
        "cpu",
        "µs",
        Bound::Mode("policy-10-cold", 1.02),
    ),
    target("100,000 against 10, h1 request", "policy-100000-h1", "cpu", "µs", Bound::Mode("policy-10-h1", 1.02)),
    target("100,000 against 10, download", "policy-100000-down1", "cpu", "ms/GB", Bound::Mode("policy-10-down1", 1.02)),
    target("reload of 100,000, on the longest session", "reload", "added to the longest", "ms", Bound::Worst(5.0)),
    target("first answer after start", "start", "first answer", "ms", Bound::Value(40.0)),
    target("memory at start", "start", "rss", "MB", Bound::Value(12.0)),
];
