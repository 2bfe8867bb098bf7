//! Seconds and memory of reading 100,000 pinsets, and of telling what is wrong with as many. One process a run, since the
//! figure is the most that the process ever had: `cargo bench --bench memory -- sound`, or `faulty`.

#[path = "support/pinsets.rs"]
mod pinsets;

use pinproxy::config::{Config, Diagnostic};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Instant, SystemTime};

const PINSETS: usize = 100_000;
/// Diagnostics whose line and column are asked for, from the end of the file, where counting lines takes longest.
const POSITIONS: usize = 1_000;

/// The most memory that this process has had at a time, in MiB; nothing where the system does not tell.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? / 1024)
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut tell = |what: &str, started: Instant| {
        let memory = peak().map_or("unknown".to_owned(), |mebibytes| format!("{mebibytes} MiB"));
        writeln!(out, "{what}: {:.2} s, at most {memory} so far", started.elapsed().as_secs_f64())
    };
    let faulty = std::env::args().any(|argument| argument == "faulty");
    let text = pinsets::text(PINSETS);
    // One mistake in each pinset: a key that is not defined.
    let text = if faulty { text.replace("\"spare\"", "\"spaer\"") } else { text };
    tell(&format!("{PINSETS} pinsets, {} octets, written", text.len()), Instant::now())?;
    let started = Instant::now();
    let parsed = Config::parse(&text, Path::new("bench.toml"), SystemTime::now());
    tell("read and checked", started)?;
    let started = Instant::now();
    match parsed {
        Ok((config, warnings)) => {
            let policy = config.policy(1);
            tell(&format!("{} rules indexed, {} warnings", policy.rules().len(), warnings.len()), started)?;
        }
        Err(errors) => {
            let rendered = errors.render(false);
            tell(
                &format!("{} diagnostics, rendered to {} octets", errors.diagnostics().len(), rendered.len()),
                started,
            )?;
            let started = Instant::now();
            let last = errors.diagnostics().iter().rev().take(POSITIONS).filter_map(Diagnostic::position).max();
            tell(&format!("{POSITIONS} positions found, the last at {last:?}"), started)?;
        }
    }
    Ok(())
}
