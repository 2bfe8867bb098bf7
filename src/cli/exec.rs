//! `pinproxy exec`: one command behind a proxy of its own.

mod child;
mod instance;
mod pins;
mod summary;

use super::run::{self, log};
use super::{Exit, Failure};
use crate::config::{Code, Config, Listing, Log, LogFormat, LogLevel, Reports, Traces};
use crate::operate::Wanted;
use crate::policy::access::Access;
use crate::trust::bundle::is_bundle;
use crate::trust::exceptions::Exceptions;
use crate::trust::files::Files;
use crate::trust::variables::{self, Before, Setting};
use child::Signals;
use instance::Instance;
use pins::GivenPin;
use std::env;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use summary::Observed;
use tempfile::TempDir;

/// What sessions that the command leaves open may take to end.
const LAST_SESSIONS: Duration = Duration::from_secs(2);

/// Run one command behind a proxy of its own
///
/// The proxy listens on a free port of 127.0.0.1 for as long as the command runs. Its CA is made for this run and is in
/// memory alone. The environment of the command leads all common clients through it and lets them trust it: `pinproxy env
/// --list` tells how. Of a configuration, what decides about upstreams counts: pinsets and the other rules, the
/// upstream section, destinations and ports of the access section, the limits, and how leaves are made. Listeners, logs,
/// reports, traces and the admin address are those of the service.
///
/// Ends with the code of the command, 128 and the number for a signal; with 1 where pins or the blocklist were violated and
/// the command ended with 0; with 127 where there is no such command, 126 where it cannot be run, 2 and 3 where the proxy
/// cannot start. A summary of hosts and verdicts goes to standard error. Signals that are sent to this process are passed on
/// to the command; those of the terminal it gets by itself.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  pinproxy exec --pin api.bank.example=sha256/afwiKY3RxoMmLkuRW1l7QsPZTJPwDS2pdDROQjXw8ig= -- ./batch.sh\n  \
                        pinproxy exec --config pinproxy.toml --report-only -- mvn verify"
)]
pub struct Arguments {
    /// The configuration file; see config/pinproxy.toml for a commented one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Pin a host, HOST or HOST:PORT, to a key or certificate anywhere in its verified chain: sha256/BASE64 or
    /// cert:sha256:HEX; several pins of one host are alternatives
    #[arg(long = "pin", value_name = "HOST=PIN", value_parser = pins::parse)]
    pins: Vec<GivenPin>,
    /// Refuse nothing for its pins, and tell what would have been; pin-only pinsets are enforced all the same
    #[arg(long)]
    report_only: bool,
    /// Print no summary and no warnings
    #[arg(long, short)]
    quiet: bool,
    /// Write the summary to this file as JSON, whatever else is printed
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Append the log of the proxy to this file; without it, warnings and errors go to standard error
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`], when the proxy cannot start, or the command cannot be run.
pub fn execute(arguments: Arguments) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::unreachable)?;
    let ended = runtime.block_on(run(arguments));
    // A resolver that hangs must not hold up the end: its thread cannot be told to stop.
    runtime.shutdown_timeout(Duration::ZERO);
    ended
}

async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    // First of all: none of them may end this process while there is a folder to be removed.
    let signals = Signals::take().map_err(Failure::unreachable)?;
    let json =
        arguments.json.as_deref().map(|path| open(path, OpenOptions::new().write(true).create(true).truncate(true)));
    let json = json.transpose()?;
    let Wanted { config, mut warnings, .. } = run::wanted(arguments.config.clone())?;
    // That nothing is pinned is said of the file, and not so of the run.
    warnings.retain(|warning| arguments.pins.is_empty() || warning.code() != Code::W20);
    let config = for_one_command(config, &arguments)?;
    let before = Before::of(|name| env::var_os(name)).map_err(Failure::unusable)?;
    let exceptions = exceptions(&config, &before);
    if !arguments.quiet {
        if !warnings.is_empty() {
            tell(&[Listing::new(&warnings).render(false)]);
        }
        tell(&cautions(&config, &exceptions));
    }
    let log = start_log(&config.log, arguments.log.as_deref())?;
    let observed = Observed::default();
    let instance = Instance::start(&config, vec![log.sink, observed.sink()]).await?;
    let folder = private_folder()?;
    let files = Files::write(folder.path(), &instance.bundle, &instance.ca).map_err(Failure::unreachable)?;
    let settings = variables::settings(instance.address, &files, &exceptions, &before).map_err(Failure::unusable)?;
    let ended = child::run(&arguments.command, &settings, signals).await;
    instance.stop().await;
    drop(log.guard);
    // Now, and not with the runtime: what cannot be removed is told.
    let removed = folder.close();
    let code = ended?;
    finish(&arguments, &observed, code, json, removed)
}

/// Tells what has been seen, and makes the exit code of it.
fn finish(
    arguments: &Arguments,
    observed: &Observed,
    code: u8,
    json: Option<File>,
    removed: io::Result<()>,
) -> Result<Exit, Failure> {
    let summary = observed.summary();
    let exit = match code {
        0 if summary.violations > 0 => 1,
        code => code,
    };
    if let Err(error) = removed {
        tell(&[format!("pinproxy: the temporary folder could not be removed: {error}")]);
    }
    if !arguments.quiet {
        tell(&[summary.text()]);
    }
    if let Some(mut file) = json {
        let written = file.write_all(summary.json(exit).as_bytes());
        if let Err(error) = written {
            let message = format!("the summary cannot be written: {error}");
            return Err(Failure { exit: if exit == 0 { Exit::Unreachable } else { Exit::Of(exit) }, message });
        }
    }
    Ok(Exit::Of(exit))
}

/// What of a configuration is meant for one command, and what its arguments say.
fn for_one_command(config: Config, arguments: &Arguments) -> Result<Config, Failure> {
    let rules = pins::with(&config.rules, &arguments.pins, arguments.report_only).map_err(Failure::unusable)?;
    let mut limits = config.limits;
    (limits.drain_delay, limits.drain_timeout) = (Duration::ZERO, LAST_SESSIONS);
    let level = match (arguments.quiet, &arguments.log) {
        (_, Some(_)) => config.log.level,
        (true, None) => LogLevel::Error,
        (false, None) => config.log.level.min(LogLevel::Warn),
    };
    Ok(Config {
        rules,
        limits,
        // Its clients are on this machine, whoever those of the service are.
        access: Access { clients: Access::local().clients, ..config.access },
        log: Log { format: LogFormat::Text, level, access: None },
        reports: Reports::default(),
        traces: Traces::default(),
        ..config
    })
}

/// Hosts of this machine that a rule names go through the proxy.
pub(super) fn exceptions(config: &Config, before: &Before) -> Exceptions {
    Exceptions::of(&before.no_proxy, config.rules.rules().iter().flat_map(|rule| &rule.hosts))
}

/// What the environment does to the pins.
pub(super) fn cautions(config: &Config, exceptions: &Exceptions) -> Vec<String> {
    let pinned = config.rules.rules().iter().filter(|rule| rule.pinset().is_some()).flat_map(|rule| &rule.hosts);
    let mut told: Vec<_> = pinned
        .filter_map(|pattern| Some((pattern, exceptions.reaching(pattern)?)))
        .map(|(pattern, entry)| {
            format!(
                "pinproxy: NO_PROXY holds {entry:?}, so that programs reach {pattern}, which is pinned, past the proxy"
            )
        })
        .collect();
    if env::var_os("SSL_CERT_FILE").is_some_and(|file| is_bundle(Path::new(&file))) {
        told.push(
            "pinproxy: SSL_CERT_FILE is a bundle of pinproxy already: this goes past the proxy of before, and that one's \
             CA does not count here"
                .to_owned(),
        );
    }
    told
}

/// Nobody may be reading.
pub(super) fn tell(lines: &[String]) {
    let mut error = io::stderr().lock();
    for line in lines {
        drop(writeln!(error, "{}", line.trim_end()));
    }
}

fn start_log(settings: &Log, path: Option<&Path>) -> Result<log::Started, Failure> {
    let started = match path {
        None => log::start(settings),
        Some(path) => log::start_in(settings, open(path, OpenOptions::new().append(true).create(true))?),
    };
    started.map_err(Failure::unreachable)
}

fn open(path: &Path, options: &OpenOptions) -> Result<File, Failure> {
    options.open(path).map_err(|error| Failure::unreachable(format!("cannot open {}: {error}", path.display())))
}

/// A folder that is the user's alone, and goes when this does.
fn private_folder() -> Result<TempDir, Failure> {
    let made = tempfile::Builder::new().prefix("pinproxy-").permissions(Permissions::from_mode(0o700)).tempdir();
    made.map_err(|error| {
        Failure::unreachable(format!("no temporary folder in {}: {error}; set TMPDIR", env::temp_dir().display()))
    })
}

/// A command gets these.
fn set(command: &mut tokio::process::Command, settings: &[Setting]) {
    for (name, value) in settings {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}
