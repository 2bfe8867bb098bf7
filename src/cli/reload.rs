//! SIGHUP: the configuration read again while the proxy runs, all of it or nothing.

use super::run::{Arguments, configuration};
use crate::config::Config;
use crate::policy::pattern::HostPattern;
use crate::policy::pinset::{Basis, Mode, Pinset, Stance};
use crate::proxy::{Generation, Proxy};
use rustls::pki_types::CertificateDer;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::signal::unix::Signal;

/// A reload that loses one pinned host pattern of so many, or more, is refused.
const PINNED_KEPT_OF_LOST: usize = 3;

/// Host patterns that a refusal names.
const LOST_SHOWN_MAX: usize = 5;

/// What a reload starts from.
#[derive(Debug)]
pub(super) struct Reload {
    arguments: Arc<Arguments>,
    /// The configuration that the process started with: what cannot be changed while it runs is compared with it.
    started_with: Config,
    /// The proxy's CA, which never becomes a trust anchor.
    own: Vec<CertificateDer<'static>>,
    generation: u64,
    /// The host patterns that are pinned now.
    pinned: HashSet<HostPattern>,
}

impl Reload {
    pub(super) fn new(arguments: Arguments, started_with: Config, own: &[CertificateDer<'static>]) -> Self {
        let pinned = pinned(&started_with);
        Self { arguments: Arc::new(arguments), started_with, own: own.to_vec(), generation: 1, pinned }
    }

    /// Reloads each time the signal comes. Signals that come during a reload are one more reload after it.
    pub(super) async fn at_each(mut self, mut hangups: Signal, proxy: Arc<Proxy>) {
        while hangups.recv().await.is_some() {
            self.run(&proxy).await;
        }
    }

    /// Reads the file and everything it names, and puts rules, trust anchors and revocation lists in force for the
    /// sessions that begin from now on. Where anything is wrong, what was in force stays in force.
    async fn run(&mut self, proxy: &Proxy) {
        if self.arguments.config.is_none() {
            return tracing::warn!("nothing to reload: this proxy was started without a configuration file");
        }
        tracing::info!("reading the configuration again");
        let (arguments, own, number) = (Arc::clone(&self.arguments), self.own.clone(), self.generation + 1);
        // Files may be on a disk that hangs; the sessions do not wait for it.
        let read = tokio::task::spawn_blocking(move || {
            let (config, warnings) = configuration(&arguments).map_err(|failure| failure.message)?;
            let generation = Generation::load(&config, number, &own).map_err(|error| error.to_string())?;
            Ok::<_, String>((config, warnings, generation))
        });
        let read = read.await.map(|read| {
            let (config, warnings, generation) = read?;
            self.check_loss(&config)?;
            Ok::<_, String>((config, warnings, generation))
        });
        match read {
            Ok(Ok((config, warnings, generation))) => {
                for warning in warnings {
                    let (line, column) = warning.position().unwrap_or((1, 1));
                    let place = format!("{}:{line}:{column}", warning.place().file.display());
                    tracing::warn!("{place}: {}: {}", warning.code(), warning.message());
                }
                let rules = generation.policy.rules().len();
                proxy.replace(generation);
                self.generation = number;
                self.pinned = pinned(&config);
                tracing::info!("reloaded the configuration: generation {number} with {rules} rules is in force");
                for section in self.unchangeable(&config) {
                    tracing::warn!("{section} has changed; that takes effect at the next start");
                }
            }
            Ok(Err(message)) => {
                let generation = self.generation;
                tracing::error!("reload refused, generation {generation} stays in force: {message}");
            }
            Err(error) => tracing::error!("reload failed, generation {} stays in force: {error}", self.generation),
        }
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
