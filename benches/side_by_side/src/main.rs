//! pinproxy beside what would be used instead of it: the processor time, latency and memory that each takes for the same
//! work, on loopback. README.md says what is measured and how.

mod leaves;
mod limits;
mod load;
mod measure;
mod modes;
mod names;
mod origin;
mod peers;
mod pki;
mod report;
mod room;
mod rounds;
mod signature;
mod targets;
mod work;

use clap::Parser as _;
use modes::{Amounts, MODES, Mode, NOT_QUICK};
use peers::{Peer, Programs};
use report::{Setting, Version};
use std::cell::Cell;
use std::error::Error;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use work::Bench;

/// Every failure is told and nothing else is done about it.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What is compared unless something else is asked for.
const USUAL: [&str; 4] = ["pinproxy", "relay", "relay-x25519", "blind"];

/// Told from 1, with which `unshare` says that it cannot.
const FAILED: u8 = 2;

/// Measure proxies side by side
#[derive(Debug, clap::Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    limit: Option<Limit>,
    /// Which proxies: pinproxy, relay, relay-x25519, relay-least, blind, hudsucker, squid, haproxy, mitmproxy, or all
    #[arg(long, value_delimiter = ',', value_name = "NAME", default_values = USUAL)]
    proxies: Vec<String>,
    /// Which modes [default: all; --list shows them]
    #[arg(long, value_delimiter = ',', value_name = "MODE")]
    modes: Vec<String>,
    /// How often each mode is measured [default: 5, with --quick 1]
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// Little of everything, to see whether it works
    #[arg(long)]
    quick: bool,
    /// Write machine, versions, every round's figures, medians and ratios here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The processor for the proxy [default: the first that this process may use]
    #[arg(long, value_name = "NUMBER")]
    proxy_core: Option<usize>,
    /// The processor for load and origins [default: the next one]
    #[arg(long, value_name = "NUMBER")]
    load_core: Option<usize>,
    /// Show the modes and end
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    programs: Programs,
}

/// The limits, started by the harness itself.
#[derive(Debug, clap::Subcommand)]
enum Limit {
    /// The smallest re-encrypting relay
    #[command(hide = true)]
    Relay(limits::Arguments),
    /// A CONNECT proxy that only copies
    #[command(hide = true)]
    Blind(limits::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match execute(&arguments) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("side_by_side: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

fn execute(arguments: &Arguments) -> Result<ExitCode> {
    // The only one compiled in, but other packages of the workspace may bring a second.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &arguments.limit {
        Some(Limit::Relay(settings)) => runtime.block_on(limits::relay(settings))?,
        Some(Limit::Blind(settings)) => runtime.block_on(limits::blind(settings))?,
        None if arguments.list => list()?,
        None if room::is_inside() => runtime.block_on(compare(arguments))?,
        None => {
            let code = room::run_inside()?.code().and_then(|code| u8::try_from(code).ok());
            return Ok(code.unwrap_or(FAILED).into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list() -> Result<()> {
    let mut out = std::io::stdout().lock();
    for mode in MODES {
        writeln!(out, "{:16} {}", mode.key, mode.title)?;
    }
    Ok(())
}

async fn compare(arguments: &Arguments) -> Result<()> {
    let modes = chosen_modes(arguments)?;
    let mut setting = Setting::here();
    let peers = chosen_proxies(arguments, &mut setting)?;
    let cores = room::Cores::choose(arguments.proxy_core, arguments.load_core)?;
    cores.settle()?;
    // A proxy that gives up root's rights still has to read its files.
    let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir()?;
    room::furnish(folder.path())?;
    let open_files = room::raise_open_files()?;
    let pki = pki::Pki::make(folder.path())?;
    names::serve().await?;
    origin::start_all(&pki).await?;
    let mut amounts = if arguments.quick { Amounts::QUICK } else { Amounts::FULL };
    amounts.rounds = arguments.rounds.unwrap_or(amounts.rounds);
    setting.rounds = amounts.rounds;
    setting.quick = arguments.quick;
    setting.open_files = open_files;
    let bench = Bench {
        pki,
        folder: folder.path().to_owned(),
        cores,
        amounts,
        open_files,
        runs: Cell::default(),
        unseen: Cell::default(),
    };
    let begun = Instant::now();
    let samples = rounds::run(&bench, &peers, &modes).await;
    setting.minutes = begun.elapsed().as_secs_f64() / 60.0;
    let targets = targets::rows(&setting, &modes, &samples);
    writeln!(std::io::stdout().lock(), "{}", report::table(&setting, &modes, &samples))?;
    writeln!(std::io::stdout().lock(), "{}", targets::table(&targets))?;
    if let Some(path) = &arguments.json {
        report::write_json(path, &setting, &targets, &modes, &samples)?;
    }
    fs::remove_dir_all(folder.keep())?;
    Ok(())
}

fn chosen_modes(arguments: &Arguments) -> Result<Vec<Mode>> {
    if arguments.modes.is_empty() {
        let wanted = |mode: &&Mode| !arguments.quick || !NOT_QUICK.contains(&mode.key);
        return Ok(MODES.iter().filter(wanted).copied().collect());
    }
    if let Some(unknown) = arguments.modes.iter().find(|key| MODES.iter().all(|mode| mode.key != key.as_str())) {
        return Err(format!("there is no mode {unknown:?}; --list shows them").into());
    }
    Ok(MODES.iter().filter(|mode| arguments.modes.iter().any(|key| key == mode.key)).copied().collect())
}

/// Those that are asked for and there; the others are told.
fn chosen_proxies(arguments: &Arguments, setting: &mut Setting) -> Result<Vec<Box<dyn Peer>>> {
    let all = peers::all(&arguments.programs);
    let names: Vec<_> = all.iter().map(|peer| peer.name()).collect();
    let wanted = |name: &str| arguments.proxies.iter().any(|asked| asked == name || asked == "all");
    if let Some(unknown) = arguments.proxies.iter().find(|asked| !names.contains(&asked.as_str()) && *asked != "all") {
        return Err(format!("there is no proxy {unknown:?}; there are {} and all", names.join(", ")).into());
    }
    let mut here = Vec::new();
    for peer in all.into_iter().filter(|peer| wanted(peer.name())) {
        match peer.version() {
            Ok(version) => {
                setting.proxies.push(Version::new(peer.name(), version, peer.binary()));
                here.push(peer);
            }
            Err(remedy) => {
                say(&format!("{} is skipped: {remedy}", peer.name()));
                setting.skipped.push(Version::new(peer.name(), remedy, None));
            }
        }
    }
    if here.is_empty() {
        return Err("none of the proxies is here".into());
    }
    Ok(here)
}

/// Tells something beside the result.
fn say(text: &str) {
    // Where nobody can be told, the work is done all the same.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}
