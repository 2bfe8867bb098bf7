//! `pinproxy run`: the proxy itself.

mod front;
mod greeting;
mod listeners;
pub(super) mod log;
mod service;

use super::{Exit, Failure, usual_ca_directory};
use crate::admin::{self, ControlSocket};
use crate::authority;
use crate::config::{At, Code, Config, Diagnostic, Listener, Listing, OPEN_HELP, Openness, Places, Severity};
use crate::files::Stamps;
use crate::inspect::{self, Admission, CaDirectory, Checked, Occasion, Synchronisation, World};
use crate::metrics::{Counting, Counts, Scrapes};
use crate::operate::background::in_background;
use crate::operate::{Beginning, Cause, Operator, Read, Reloads, Wanted, tend, watch};
use crate::overview::Overview;
use crate::policy::access::Door;
use crate::proxy::{Assembled, Clock, Generation, Proxy, assemble, ca_settings, serve, tell_losses};
use crate::report::Sink;
use crate::upstream::doors::Doors;
use crate::upstream::names::Remembering;
use crate::upstream::resolve::SystemResolver;
use front::Front;
use listeners::{Handed, beside, open};
use log::Started;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

/// Run the proxy
///
/// Without a configuration file it listens on 127.0.0.1:8080, makes a CA on first use in the user's data folder, and
/// pins nothing. SIGHUP reads the configuration again: rules, trust anchors, revocation lists, access rules, the way out and
/// the CA take effect at once, and open sessions that they refuse are closed. A file with a mistake changes nothing, nor does
/// one by which a third of the pinned hosts lose protection. Ends on SIGTERM or SIGINT: no new sessions, and running ones get
/// the drain timeout; a second signal ends it at once. The first one behind `pinproxy ctl drain` lets the drain go on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pinproxy run --config /etc/pinproxy/pinproxy.toml")]
pub struct Arguments {
    /// The configuration file; see config/pinproxy.toml for a commented one
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Listen here instead of where the configuration says; may be given several times. Clients speak CONNECT there, unless the
    /// configuration has a listener at this address
    #[arg(long, value_name = "ADDR", value_parser = socket_address)]
    listen: Vec<SocketAddr>,
    /// Keep the CA here instead of where the configuration says
    #[arg(long, value_name = "DIR")]
    ca_dir: Option<PathBuf>,
}

/// Runs the proxy until a signal ends it.
///
/// # Errors
/// [`Failure`], when it cannot start.
pub fn execute(arguments: Arguments) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::unreachable)?;
    let ended = runtime.block_on(run(arguments));
    // A resolver that hangs must not hold up the end: its thread cannot be told to stop.
    runtime.shutdown_timeout(Duration::ZERO);
    ended
}

async fn run(mut arguments: Arguments) -> Result<Exit, Failure> {
    // First of all: who sends it while the files are read must not end the process. They are then read once more.
    let hangups = signal(SignalKind::hangup()).map_err(Failure::unreachable)?;
    let handed = Handed::take()?;
    let addresses = handed.addresses()?;
    if !addresses.is_empty() {
        if !arguments.listen.is_empty() {
            return Err(Failure::unusable(
                "sockets were handed over (LISTEN_FDS) beside --listen; one of them has to go",
            ));
        }
        // The rules about who may listen where are the same for them.
        arguments.listen = addresses;
    }
    let (inputs, wanted) = configuration(&arguments, Occasion::Start);
    let Wanted { config, warnings, materials, faults } = wanted?;
    if !warnings.is_empty() {
        // There is no log yet: its own settings are among what was read.
        drop(writeln!(io::stderr().lock(), "{}", Listing::new(&warnings).render(false)));
    }
    let Started { sink, guard: log } = log::start(&config.log).map_err(Failure::unreachable)?;
    let directory = match config.ca.directory.clone() {
        Some(directory) => directory,
        None => usual_ca_directory().ok_or_else(|| {
            Failure::unusable("this user has no data folder; say where the CA is kept with --ca-dir DIR")
        })?,
    };
    let clock = Clock::system();
    let (authority, provenance) =
        authority::load_or_create(&directory, ca_settings(&config).map_err(Failure::unusable)?, clock.now())
            .map_err(Failure::unreachable)?;
    let authority = Arc::new(authority);
    let generation = Generation::with(&config, 1, materials, authority.certificates()).map_err(Failure::unreachable)?;
    let resolver = Arc::new(Remembering::new(SystemResolver));
    let front = config.admin.address.as_ref();
    let front = match front {
        Some(wanted) => Some(Front::open(wanted).await?),
        None => None,
    };
    let mut listeners = config.listeners.clone();
    let entrances = open(handed.or_bound(&listeners).await?, &mut listeners)?;
    let addresses = listeners.iter().map(|listener| listener.address);
    let doors = Doors::default().and(Door::Proxy, addresses);
    let doors = doors.and(Door::Admin, front.as_ref().map(|front| front.address));
    let counts = Arc::new(Counts::default());
    let overview = Overview::of(Arc::clone(&counts));
    let mut sinks: Vec<Box<dyn Sink>> = vec![sink, Box::new(Counting(Arc::clone(&counts)))];
    sinks.extend(front.is_some().then(|| overview.sink()));
    let assembled = assemble(&config, generation, &authority, resolver, clock, doors, sinks);
    let Assembled { proxy, sinks, outbox, deliveries } = assembled.map_err(Failure::unreachable)?;
    // Signals are taken before the address is told: who reads it may send one at once.
    let shutdown = Signals::new().map_err(Failure::unreachable)?;
    let control = config.admin.socket.as_deref().map(ControlSocket::bind).transpose().map_err(Failure::unreachable)?;
    let told_at = front.as_ref().map(Front::url);
    let greeting = greeting::greeting(&config, &authority, provenance, &listeners, told_at.as_deref());
    // Nobody may be reading; the proxy runs all the same.
    drop(io::stdout().lock().write_all(greeting.as_bytes()));
    prepare_rsa(&proxy);
    let watches = config.watch;
    let beside = front.as_ref().and_then(Front::beside).into_iter().chain(beside(&entrances)).collect();
    let beginning = Beginning { config, faults, inputs, ca_directory: directory, beside };
    let reloads = Reloads::start(Arc::clone(&proxy), beginning, reader(arguments)).map_err(Failure::unreachable)?;
    let operator = Arc::new(Operator::new(Arc::clone(&proxy), reloads, deliveries));
    let mut attending = JoinSet::new();
    attending.spawn(reload_at_each(hangups, Arc::clone(&operator)));
    attending.spawn(tend(Arc::clone(&operator)));
    attending.spawn(service::keep_watchdog());
    if watches {
        attending.spawn(watch(Arc::clone(&operator)));
    }
    if let Some(front) = front {
        attending.spawn(front.serve(Arc::clone(&operator), Scrapes::of(counts), overview));
    }
    // The file goes when the process does.
    let _socket = control.map(|(socket, listener)| {
        attending.spawn(admin::serve(listener, admin::control(Arc::clone(&operator))));
        socket
    });
    service::ready();
    let cut_short = Arc::new(AtomicBool::new(false));
    serve(entrances, Arc::clone(&proxy), shutdown.wait(operator, Arc::clone(&cut_short))).await;
    drop(attending);
    // Writes out what is queued; what could not be written is known then.
    drop(sinks);
    if let Some(outbox) = outbox {
        outbox.end().await;
    }
    tell_losses(&proxy);
    tracing::info!("stopped");
    drop(log);
    Ok(if cut_short.load(Ordering::Relaxed) { Exit::NotAsItShouldBe } else { Exit::Done })
}

/// How the configuration is read again.
fn reader(arguments: Arguments) -> Read {
    Box::new(move |occasion| {
        arguments.config.is_some().then(|| {
            let (paths, wanted) = configuration(&arguments, occasion);
            (paths, wanted.map_err(|failure| failure.message))
        })
    })
}

/// SIGHUP is a reload. Signals that come during one are one more reload after it.
async fn reload_at_each(mut hangups: Signal, operator: Arc<Operator>) {
    while hangups.recv().await.is_some() {
        service::reloading();
        // What came of it is in the log.
        drop(operator.reloads.reload(Cause::Signal, false).await);
        service::ready();
    }
}

/// The configuration that the arguments name, and the warnings about it; and what it was read from.
fn configuration(arguments: &Arguments, occasion: Occasion<'_>) -> (Stamps, Result<Wanted, Failure>) {
    let Some(path) = &arguments.config else {
        let wanted = Wanted { config: Config::builtin(), warnings: Vec::new(), materials: None, faults: Vec::new() };
        return (Stamps::new(), with_arguments(arguments, wanted));
    };
    let ca_directory =
        arguments.ca_dir.clone().map_or_else(|| CaDirectory::Usual(usual_ca_directory()), CaDirectory::Given);
    let world = World { now: SystemTime::now(), clock: Synchronisation::of_system(), ca_directory };
    let (paths, checked) = inspect::check_noting(path, &world);
    let wanted = checked.map_err(|errors| Failure::configuration(&errors)).and_then(|checked| {
        let admission = checked.admission(occasion, world.now);
        let Checked { config, diagnostics, materials, places, faults } = checked;
        let mut warnings = told_of_listen(arguments, &config, &places, diagnostics);
        warnings.retain(|diagnostic| diagnostic.severity() != Severity::Info);
        match admission {
            Admission::Taken => with_arguments(arguments, Wanted { config, warnings, materials, faults }),
            Admission::Unusable => Err(Failure::files(&warnings)),
            Admission::Worse => Err(Failure::worse(&warnings)),
        }
    });
    (paths, wanted)
}

/// The configuration of this file as a start takes it, or what holds without one.
pub(super) fn wanted(config: Option<PathBuf>) -> Result<Wanted, Failure> {
    configuration(&Arguments { config, listen: Vec::new(), ca_dir: None }, Occasion::Start).1
}

/// What the command line says in the place of the file.
fn with_arguments(arguments: &Arguments, mut wanted: Wanted) -> Result<Wanted, Failure> {
    let config = &mut wanted.config;
    if !arguments.listen.is_empty() {
        // One that the file has is what the file says.
        let configured = std::mem::take(&mut config.listeners);
        // Clients that are to come in by TLS, or behind a load balancer, must not find a door that is open to all.
        let special = configured.iter().find(|listener| **listener != Listener::forward(listener.address));
        let wanted = |address: &SocketAddr| {
            let known = configured.iter().find(|listener| listener.address == *address).cloned();
            match (known, special) {
                (Some(known), _) => Ok(known),
                (None, None) => Ok(Listener::forward(*address)),
                (None, Some(special)) => Err(Failure::unusable(format!(
                    "of {address}, which --listen or the service manager (LISTEN_FDS) asks for, the configuration does not say                      how clients come in, but it does of {}; write a [[listener]] with address = \"{address}\"",
                    special.address
                ))),
            }
        };
        config.listeners = arguments.listen.iter().map(wanted).collect::<Result<_, _>>()?;
    }
    if let Some(directory) = &arguments.ca_dir {
        config.ca.directory = Some(directory.clone());
    }
    // The file was checked with its own listeners; those of the command line have to pass the same rule.
    let mut addresses = config.listeners.iter().map(|listener| listener.address);
    let beyond = addresses.find(|address| !address.ip().to_canonical().is_loopback());
    let for_nobody_else = config.access.clients.iter().all(|network| network.addr().to_canonical().is_loopback());
    match beyond {
        Some(address) if for_nobody_else => Err(Failure::unusable(format!(
            "the listener {address} is open to other machines, and nothing says who may use the proxy: \
             write [access] clients = [\"10.0.0.0/8\"] (your networks) into a configuration file"
        ))),
        _ => Ok(wanted),
    }
}

/// Findings of the file, and what the file says of everybody who gets to the listeners of the command line.
fn told_of_listen(
    arguments: &Arguments,
    config: &Config,
    places: &Places,
    mut told: Vec<Diagnostic>,
) -> Vec<Diagnostic> {
    let open = Openness::of(&config.access.clients);
    let message = arguments.listen.iter().find_map(|address| open.warning(*address));
    if let Some(message) = message.filter(|_| told.iter().all(|told| told.code() != Code::W80)) {
        told.push(places.finding(Code::W80, At::File, message, OPEN_HELP));
    }
    places.in_order(told)
}

fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080")
}

/// The RSA key for old clients takes tens of milliseconds of processor time; they are spent while nobody waits.
pub(super) fn prepare_rsa(proxy: &Arc<Proxy>) {
    let proxy = Arc::clone(proxy);
    let prepared = in_background("pinproxy-rsa", move || {
        if let Err(error) = proxy.prepare_rsa() {
            tracing::error!("clients without ECDSA cannot be served: {error}");
        }
    });
    if let Err(error) = prepared {
        tracing::warn!("the RSA key is made when the first client needs it: {error}");
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Completes with the first signal, or when the proxy is asked to drain. The second signal ends the sessions that are
    /// still open: a service manager sends the first one behind `ctl drain` as well, and no session is to be cut off by it.
    async fn wait(mut self, operator: Arc<Operator>, cut_short: Arc<AtomicBool>) {
        let is_signalled = tokio::select! {
            () = self.next() => true,
            () = operator.asked_to_drain() => false,
        };
        service::stopping();
        let ends_them = if is_signalled { "a second signal ends them now" } else { "two signals end them now" };
        tracing::info!("stopping: no new sessions; open ones may end ({ends_them})");
        tokio::spawn(async move {
            if !is_signalled {
                self.next().await;
                tracing::info!(
                    "open sessions may end, as asked for before this signal (a second signal ends them now)"
                );
            }
            self.next().await;
            cut_short.store(true, Ordering::Relaxed);
            operator.proxy.end();
        });
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
