//! SIGHUP: the configuration read again while the proxy runs, all of it or nothing.

use super::run::{Arguments, configuration};
use crate::config::Config;
use crate::proxy::{Generation, Proxy};
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use tokio::signal::unix::Signal;

/// What a reload starts from.
#[derive(Debug)]
pub(super) struct Reload {
    arguments: Arc<Arguments>,
    /// The configuration that the process started with: what cannot be changed while it runs is compared with it.
    started_with: Config,
    /// The proxy's CA, which never becomes a trust anchor.
    own: Vec<CertificateDer<'static>>,
    generation: u64,
}

impl Reload {
    pub(super) fn new(arguments: Arguments, started_with: Config, own: &[CertificateDer<'static>]) -> Self {
        Self { arguments: Arc::new(arguments), started_with, own: own.to_vec(), generation: 1 }
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
        let (arguments, own, number) = (Arc::clone(&self.arguments), self.own.clone(), self.generation + 1);
        // Files may be on a disk that hangs; the sessions do not wait for it.
        let read = tokio::task::spawn_blocking(move || {
            let (config, warnings) = configuration(&arguments).map_err(|failure| failure.message)?;
            let generation = Generation::load(&config, number, &own).map_err(|error| error.to_string())?;
            Ok::<_, String>((config, warnings, generation))
        });
        match read.await {
            Ok(Ok((config, warnings, generation))) => {
                for warning in warnings {
                    let (line, column) = warning.position().unwrap_or((1, 1));
                    let place = format!("{}:{line}:{column}", warning.place().file.display());
                    tracing::warn!("{place}: {}: {}", warning.code(), warning.message());
                }
                let rules = generation.policy.rules().len();
                proxy.replace(generation);
                self.generation = number;
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
