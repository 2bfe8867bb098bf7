//! What pinproxy is held to, beside what was measured.

use crate::measure::median;
use crate::report::{Setting, aligned, number, values};
use crate::rounds::Sample;

/// The one that is held to something.
const OWN: &str = "pinproxy";
const REFERENCE: &str = "relay";
/// What a user would take instead.
const PEERS: [&str; 4] = ["hudsucker", "squid", "haproxy", "mitmproxy"];

/// What a figure must not exceed.
#[derive(Clone, Copy)]
enum Bound {
    /// So much.
    Value(f64),
    /// So many times the relay's of the same round.
    Relay(f64),
    /// So many times its own in another mode of the same round.
    Mode(&'static str, f64),
    /// So much more than its own in another mode of the same round.
    Over(&'static str, f64),
    /// As `Over`, with what the RSA signature takes instead of a number.
    OverBySignature(&'static str),
    /// The least of the peers'.
    Peers,
    /// So much, where all of so many tunnels could be opened.
    Tunnels(f64, f64),
}

struct Target {
    what: &'static str,
    mode: &'static str,
    figure: &'static str,
    unit: &'static str,
    bound: Bound,
}

const fn target(
    what: &'static str,
    mode: &'static str,
    figure: &'static str,
    unit: &'static str,
    bound: Bound,
) -> Target {
    Target { what, mode, figure, unit, bound }
}

const TARGETS: &[Target] = &[
    target("new session, warm", "warm", "cpu", "µs", Bound::Relay(0.75)),
    target("new session at a low rate, p50", "latency", "p50", "µs", Bound::Relay(1.0)),
    target("new session, never-seen host, over warm", "cold", "cpu", "µs", Bound::Over("warm", 80.0)),
    target("client that knows RSA alone, over warm", "rsa-client", "cpu", "µs", Bound::OverBySignature("warm")),
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
    target("idle tunnel, of 5,000", "idle-5000", "pss each", "KiB", Bound::Value(20.0)),
    target("20,000 idle tunnels", "idle-20000", "pss", "MB", Bound::Tunnels(20_000.0, 450.0)),
    target("a minute after 5,000 tunnels", "held", "pss", "MB", Bound::Value(25.0)),
    target("10,000 pinsets against 10", "policy-10000", "cpu", "µs", Bound::Mode("policy-10", 1.02)),
    target("100,000 pinsets against 10", "policy-100000", "cpu", "µs", Bound::Mode("policy-10", 1.02)),
    target("reload of 100,000, on the longest session", "reload", "added to the longest", "ms", Bound::Value(5.0)),
    target("first answer after start", "start", "first answer", "ms", Bound::Value(40.0)),
    target("memory at start", "start", "rss", "MB", Bound::Value(12.0)),
];

/// Largest binary, in MB.
const BINARY_MAX: f64 = 14.0;

/// A row a target in Markdown; targets of modes that were not run are left out. `signature` is what an RSA-2048 signature
/// takes, in µs.
pub(crate) fn table(setting: &Setting, samples: &[Sample], signature: f64) -> String {
    let head = ["target", "at most", "measured", "", "met"].map(str::to_owned).to_vec();
    let mut rows = vec![head];
    rows.extend(TARGETS.iter().filter_map(|target| target.row(samples, signature)));
    let binary = setting.proxies.iter().find(|proxy| proxy.name == OWN).and_then(|proxy| proxy.binary_mb);
    rows.extend(binary.map(|size| {
        let measured = format!("{} MB", number(size));
        vec!["binary".to_owned(), format!("{BINARY_MAX} MB"), measured, String::new(), met(size <= BINARY_MAX)]
    }));
    aligned(&rows)
}

impl Target {
    fn row(&self, samples: &[Sample], signature: f64) -> Option<Vec<String>> {
        let own = values(samples, self.mode, OWN, self.figure);
        let value = median(&own.iter().map(|(_, value)| *value).collect::<Vec<_>>())?;
        // Of the same round: what disturbs the machine disturbs both.
        let against = |mode: &str, proxy: &str, compare: fn(f64, f64) -> f64| {
            let others = values(samples, mode, proxy, self.figure);
            let of_round = |round| others.iter().find(|(other, _)| *other == round).map(|(_, other)| *other);
            let compared = own.iter().filter_map(|(round, value)| Some(compare(*value, of_round(*round)?)));
            median(&compared.collect::<Vec<_>>())
        };
        let divide = |value: f64, other: f64| value / other;
        let subtract = |value: f64, other: f64| value - other;
        let unit = self.unit;
        let over = |mode, limit: f64| {
            let more = against(mode, OWN, subtract)?;
            Some((format!("{} {unit} more", number(limit)), format!("{} more", number(more)), more <= limit))
        };
        let times = |mode, proxy, whose: &str, limit: f64| {
            let ratio = against(mode, proxy, divide)?;
            Some((format!("{limit} × {whose}"), format!("{ratio:.2} ×"), ratio <= limit))
        };
        let (limit, compared, is_met) = match self.bound {
            Bound::Value(limit) => (format!("{limit} {unit}"), String::new(), value <= limit),
            Bound::Relay(limit) => times(self.mode, REFERENCE, "relay", limit)?,
            Bound::Mode(mode, limit) => times(mode, OWN, "that", limit)?,
            Bound::Over(mode, limit) => over(mode, limit)?,
            Bound::OverBySignature(mode) => over(mode, signature)?,
            Bound::Tunnels(count, limit) => {
                let open = values(samples, self.mode, OWN, "open");
                let open = median(&open.iter().map(|(_, open)| *open).collect::<Vec<_>>())?;
                let limit_told = format!("{limit} {unit}");
                if open < count {
                    let fit = format!("{open} tunnels fit here");
                    return Some(vec![
                        self.what.to_owned(),
                        limit_told,
                        format!("{} {unit}", number(value)),
                        fit,
                        "–".into(),
                    ]);
                }
                (limit_told, String::new(), value <= limit)
            }
            Bound::Peers => {
                let medians = PEERS.iter().filter_map(|peer| {
                    let values = values(samples, self.mode, peer, self.figure);
                    Some((*peer, median(&values.iter().map(|(_, value)| *value).collect::<Vec<_>>())?))
                });
                let (peer, least) = medians.min_by(|(_, one), (_, other)| one.total_cmp(other))?;
                (format!("{} {unit} ({peer})", number(least)), format!("{:.2} ×", value / least), value < least)
            }
        };
        Some(vec![self.what.to_owned(), limit, format!("{} {unit}", number(value)), compared, met(is_met)])
    }
}

fn met(is_met: bool) -> String {
    if is_met { "yes" } else { "no" }.to_owned()
}
