//! SIGHUP: the configuration read again while the proxy runs, all of it or nothing.

use super::background::in_background;
use super::run::{Arguments, Wanted, configuration};
use crate::config::Config;
use crate::inspect::{Fault, InForce, Occasion};
use crate::policy::pattern::HostPattern;
use crate::policy::pinset::{Basis, Mode, Pinset, Stance};
use crate::proxy::{Generation, Proxy};
use rustls::pki_types::CertificateDer;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TrySendError, sync_channel};
use std::time::Duration;
use tokio::signal::unix::Signal;

/// A reload that loses one pinned host pattern of so many, or more, is refused.
const PINNED_KEPT_OF_LOST: usize = 3;

/// Host patterns that a refusal names.
const LOST_SHOWN_MAX: usize = 5;

/// How often it is looked whether the last session of an old generation has let go of it.
const REST: Duration = Duration::from_millis(100);

/// What a reload starts from.
#[derive(Debug)]
pub(super) struct Reload {
    proxy: Arc<Proxy>,
    arguments: Arguments,
    /// The configuration that the process started with: what cannot be changed while it runs is compared with it.
    started_with: Config,
    /// The proxy's CA, which never becomes a trust anchor.
    own: Vec<CertificateDer<'static>>,
    generation: u64,
    /// The faults that were found when what is in force was read.
    faults: Vec<Fault>,
    /// The host patterns that are pinned now.
    pinned: HashSet<HostPattern>,
    /// Generations that sessions still have. To free a large one takes as long as several sessions, so it is done here
    /// and not where the last of them ends.
    replaced: Vec<Arc<Generation>>,
}

impl Reload {
    pub(super) fn new(
        arguments: Arguments,
        started_with: Config,
        faults: Vec<Fault>,
        own: &[CertificateDer<'static>],
        proxy: Arc<Proxy>,
    ) -> Self {
        let pinned = pinned(&started_with);
        let (own, replaced) = (own.to_vec(), Vec::new());
        Self { proxy, arguments, started_with, own, generation: 1, faults, pinned, replaced }
    }

    /// Reloads each time the signal comes. Signals that come during a reload are one more reload after it. Files may be
    /// on a disk that hangs, and a large configuration takes seconds: the sessions do not wait for either.
    pub(super) async fn at_each(mut self, mut hangups: Signal) {
        let (wake, woken) = sync_channel::<()>(1);
        let reloading = in_background("pinproxy-reload", move || {
            while self.wait(&woken) {
                self.run();
            }
        });
        if let Err(error) = reloading {
            return tracing::error!("SIGHUP will not be followed: {error}");
        }
        while hangups.recv().await.is_some() {
            // One that is waiting is enough.
            if let Err(TrySendError::Disconnected(())) = wake.try_send(()) {
                return tracing::error!("SIGHUP is not followed any more: a reload has failed; restart the proxy");
            }
        }
    }

    /// Waits for the next signal; frees meanwhile what no session has any more. Whether there was one.
    fn wait(&mut self, woken: &Receiver<()>) -> bool {
        while !self.replaced.is_empty() {
            match woken.recv_timeout(REST) {
                Ok(()) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => self.replaced.retain(|old| Arc::strong_count(old) > 1),
            }
        }
        woken.recv().is_ok()
    }

    /// Reads the file and everything it names, and puts rules, trust anchors and revocation lists in force for the
    /// sessions that begin from now on. Where anything is wrong that was not wrong before, what was in force stays in force.
    fn run(&mut self) {
        if self.arguments.config.is_none() {
            return tracing::warn!("nothing to reload: this proxy was started without a configuration file");
        }
        tracing::info!("reading the configuration again");
        let number = self.generation + 1;
        let in_force = self.proxy.generation();
        let in_force = InForce { policy: &in_force.policy, materials: &in_force.materials, faults: &self.faults };
        let read = configuration(&self.arguments, Occasion::Reload(in_force));
        let read = read.map_err(|failure| failure.message).and_then(|wanted| {
            let Wanted { config, warnings, materials, faults } = wanted;
            let generation = Generation::with(&config, number, materials, &self.own);
            let generation = generation.map_err(|error| error.to_string())?;
            self.check_loss(&config)?;
            Ok((config, warnings, faults, generation))
        });
        let (config, warnings, faults, generation) = match read {
            Ok(read) => read,
            Err(message) => {
                let generation = self.generation;
                return tracing::error!("reload refused, generation {generation} stays in force: {message}");
            }
        };
        for warning in warnings {
            let (line, column) = warning.position().unwrap_or((1, 1));
            let place = format!("{}:{line}:{column}", warning.place().file.display());
            tracing::warn!("{place}: {}: {}", warning.code(), warning.message());
        }
        let rules = generation.policy.rules().len();
        let old = self.proxy.replace(generation);
        (self.generation, self.faults) = (number, faults);
        self.pinned = pinned(&config);
        tracing::info!("reloaded the configuration: generation {number} with {rules} rules is in force");
        for section in self.unchangeable(&config) {
            tracing::warn!("{section} has changed; that takes effect at the next start");
        }
        self.replaced.push(old);
    }

    /// A configuration without faults is not put in force when it loses so many pins: that is more often half a file, or
    /// a folder of includes that was emptied, than what somebody wants.
    fn check_loss(&self, config: &Config) -> Result<(), String> {
        let kept = pinned(config);
        let is_lost = |pattern: &&HostPattern| {
            !kept.contains(*pattern) && !pattern.wider().iter().any(|wider| kept.contains(wider))
        };
        let mut lost: Vec<_> = self.pinned.iter().filter(is_lost).map(ToString::to_string).collect();
        if lost.is_empty() || lost.len() * PINNED_KEPT_OF_LOST < self.pinned.len() {
            return Ok(());
        }
        lost.sort_unstable();
        let (count, all, more) = (lost.len(), self.pinned.len(), lost.len().saturating_sub(LOST_SHOWN_MAX));
        lost.truncate(LOST_SHOWN_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Err(format!(
            "{count} of {all} pinned host patterns would not be pinned any more ({}{more}); if that is meant, start the \
             proxy anew",
            lost.join(", ")
        ))
    }

    /// The sections that a running proxy cannot take over and that are not what they were.
    fn unchangeable(&self, config: &Config) -> Vec<&'static str> {
        let old = &self.started_with;
        let compared = [
            ("[[listener]]", old.listeners == config.listeners),
            ("[ca]", old.ca == config.ca),
            ("[upstream] connect_timeout", old.upstream.connect_timeout == config.upstream.connect_timeout),
            ("[upstream] handshake_timeout", old.upstream.handshake_timeout == config.upstream.handshake_timeout),
            ("[upstream] resumption", old.upstream.resumption == config.upstream.resumption),
            ("[access]", old.access == config.access),
            ("[limits]", old.limits == config.limits),
            ("[reports]", old.reports == config.reports),
            ("[log]", old.log == config.log),
        ];
        compared.into_iter().filter(|(_, same)| !same).map(|(section, _)| section).collect()
    }
}

/// The host patterns of all pinsets that judge pins.
fn pinned(config: &Config) -> HashSet<HostPattern> {
    let judges = |pinset: &Pinset| !matches!(pinset.basis, Basis::Chain { stance: Stance::Fixed(Mode::Off), .. });
    let rules = config.rules.rules().iter().filter(|rule| rule.pinset().is_some_and(judges));
    rules.flat_map(|rule| &rule.hosts).cloned().collect()
}
