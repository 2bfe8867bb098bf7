//! The thread that reloads: reads, judges, swaps, and tells.

use super::judging::Judging;
use super::loosened::{Standpoint, loosened};
use super::reload::{Beginning, Beside, Last, Read, Reloaded, Request, Told, Wanted};
use crate::authority::{self, CERTIFICATE_FILE, CertificateAuthority, KEY_FILE, Settings};
use crate::config::{Config, Diagnostic, RuleSet};
use crate::files::{Stamp, Stamps};
use crate::inspect::{Fault, InForce, Occasion};
use crate::policy::pattern::HostPattern;
use crate::policy::pinset::{Basis, Mode, Pinset, Stance};
use crate::policy::rules::Defaults;
use crate::proxy::{Generation, Proxy, ca_settings};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A reload that loses one pinned host pattern of so many, or more, is refused unless it is forced.
const PINNED_KEPT_OF_LOST: usize = 3;

/// Host patterns that a refusal names.
const LOST_SHOWN_MAX: usize = 5;

/// How often it is looked whether the last session of an old generation has let go of it.
const REST: Duration = Duration::from_millis(100);

/// What a reload starts from.
pub(super) struct Reloader {
    proxy: Arc<Proxy>,
    read: Read,
    /// Without its rules.
    started_with: Config,
    /// What is in force apart from the rules.
    around: Config,
    defaults: Defaults,
    ca_directory: PathBuf,
    beside: Vec<Beside>,
    faults: Vec<Fault>,
    generation: u64,
    /// The host patterns that are pinned now.
    pinned: HashSet<HostPattern>,
    /// Generations that sessions still have. To free a large one takes as long as several sessions, so it is done here
    /// and not where the last of them ends.
    replaced: Vec<Arc<Generation>>,
    told: Arc<Told>,
    judging: Judging,
}

impl Reloader {
    pub(super) fn new(proxy: Arc<Proxy>, beginning: Beginning, read: Read, told: Arc<Told>, judging: Judging) -> Self {
        let Beginning { config, faults, inputs, ca_directory, beside } = beginning;
        // They were read, or made, right before.
        let inputs = inputs.into_iter().chain(read_beside(&ca_directory, &beside)).collect();
        told.inputs.store(Arc::new(inputs));
        Self {
            proxy,
            read,
            pinned: pinned(&config),
            defaults: config.rules.defaults(),
            around: without_rules(&config),
            started_with: without_rules(&config),
            ca_directory,
            beside,
            faults,
            generation: 1,
            replaced: Vec::new(),
            told,
            judging,
        }
    }

    /// Waits for the next request; frees meanwhile what no session has any more. None when there will be no more.
    pub(super) fn wait(&mut self, asked: &Receiver<Request>) -> Option<Request> {
        while !self.replaced.is_empty() {
            match asked.recv_timeout(REST) {
                Ok(request) => return Some(request),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.replaced.retain(|old| Arc::strong_count(old) > 1),
            }
        }
        asked.recv().ok()
    }

    /// Does what is asked for, tells of it, and answers.
    pub(super) fn serve(&mut self, Request { cause, force, answer }: Request) {
        tracing::info!("reading the configuration again");
        let outcome = self.run(force);
        match &outcome {
            Ok(done) => {
                self.told.taken.fetch_add(1, Ordering::Relaxed);
                let at = self.proxy.moment().latest();
                *self.told.taken_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
                tell(done);
            }
            Err(message) => {
                self.told.refused.fetch_add(1, Ordering::Relaxed);
                let generation = self.generation;
                tracing::error!("reload refused, generation {generation} stays in force: {message}");
            }
        }
        let last = Last { at: self.proxy.moment().latest(), cause, outcome: outcome.clone() };
        *self.told.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
        // Who has stopped waiting finds it in the log and in the status.
        drop(answer.send(outcome));
    }

    /// Reads the file and everything it names, and puts rules, trust anchors, revocation lists, access rules and CA in
    /// force for the sessions that begin from now on; ends the open ones that they refuse. Where anything is wrong that was
    /// not wrong before, what was in force stays in force.
    fn run(&mut self, force: bool) -> Result<Reloaded, String> {
        let stamps = read_beside(&self.ca_directory, &self.beside);
        // By themselves: a certificate has its day, whatever is wrong with the rest.
        let kept: Vec<_> = self.beside.iter().filter_map(|beside| (beside.renew)().err()).collect();
        for fault in &kept {
            tracing::error!("{fault}");
        }
        let in_force = self.proxy.generation();
        let in_force = InForce { policy: &in_force.policy, materials: &in_force.materials, faults: &self.faults };
        let Some((inputs, read)) = (self.read)(Occasion::Reload(in_force)) else {
            return Err("nothing to reload: this proxy was started without a configuration file".to_owned());
        };
        self.told.inputs.store(Arc::new(self.inputs_with(inputs, stamps, read.is_ok())));
        let Wanted { config, warnings, materials, faults } = read?;
        let number = self.generation + 1;
        let (authority, doubt) = self.authority(&config)?;
        let own = authority
            .as_ref()
            .map_or_else(|| self.proxy.authority().certificates().to_vec(), |new| new.certificates().to_vec());
        let generation = Generation::with(&config, number, materials, &own).map_err(|error| error.to_string())?;
        if !force {
            self.check_loss(&config)?;
        }
        let rules = generation.policy.rules().len();
        if let Some(authority) = authority {
            self.proxy.replace_authority(Arc::new(authority));
        }
        let old = self.proxy.replace(generation);
        (self.generation, self.faults, self.pinned) = (number, faults, pinned(&config));
        let not_reopened = self.proxy.reopen_logs().iter().map(ToString::to_string).collect();
        tracing::info!("reloaded the configuration: generation {number} with {rules} rules is in force");
        // What is in force is in force, whether its open sessions could be judged or not.
        let closed = self.judging.judge().blocking_recv().unwrap_or_else(|_| {
            tracing::error!("open sessions could not be judged again; restart the proxy");
            0
        });
        if closed > 0 {
            tracing::warn!("{closed} open sessions are closed: generation {number} refuses them");
        }
        let looser = self.go_over(&old, &config);
        self.replaced.push(old);
        let warnings = kept.into_iter().chain(doubt).chain(warnings.iter().map(sentence)).collect();
        let at_next_start = self.unchangeable(&config);
        Ok(Reloaded { generation: number, rules, closed, looser, warnings, not_reopened, at_next_start })
    }

    /// What the new configuration lets through that the old one did not. It is the old one from then on.
    fn go_over(&mut self, old: &Generation, config: &Config) -> Vec<String> {
        let (around, defaults) = (without_rules(config), config.rules.defaults());
        let (new, now) = (self.proxy.generation(), self.proxy.moment().latest());
        let before = Standpoint { around: &self.around, policy: &old.policy, defaults: self.defaults };
        let then = Standpoint { around: &around, policy: &new.policy, defaults };
        let looser = loosened(&before, &then, now);
        (self.around, self.defaults) = (around, defaults);
        looser
    }

    /// With what is read beside it; after a reading that has failed also with what it did not come to.
    fn inputs_with(&self, mut inputs: Stamps, beside: Stamps, whole: bool) -> Stamps {
        if !whole {
            for (path, stamp) in &**self.told.inputs.load() {
                inputs.entry(path.clone()).or_insert(*stamp);
            }
        }
        inputs.extend(beside);
        inputs
    }

    /// The CA, if its certificates are others than those in force; and what a start would have against the one that is there.
    /// That is no reason to stop signing with the one in force, nor to keep other changes out.
    fn authority(&self, config: &Config) -> Result<(Option<CertificateAuthority>, Option<String>), String> {
        let found = authority::peek(&self.ca_directory);
        let settings: Settings = ca_settings(config).map_err(|error| error.to_string())?;
        let loaded = authority::load(&self.ca_directory, settings, self.proxy.moment().latest());
        let is_another = !found.is_empty() && found != self.proxy.authority().certificates();
        match loaded {
            Ok(authority) if is_another => {
                let (subject, fingerprint) = (authority.subject(), authority.fingerprint_sha256());
                tracing::info!("the CA is another one now: {subject}, SHA-256 fingerprint {fingerprint}");
                Ok((Some(authority), None))
            }
            Ok(_) => Ok((None, None)),
            Err(error) if is_another => Err(error.to_string()),
            Err(error) => {
                Ok((None, Some(format!("the CA in force stays in force, but the next start would fail: {error}"))))
            }
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
            "{count} of {all} pinned host patterns would not be pinned any more ({}{more}); if that is meant, force \
             it: pinproxy ctl reload --force",
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
            ("[limits]", old.limits == config.limits),
            ("[reports]", old.reports == config.reports),
            ("[log]", old.log == config.log),
            ("[traces]", old.traces == config.traces),
            ("[admin]", old.admin == config.admin),
            ("watch", old.watch == config.watch),
        ];
        compared.into_iter().filter(|(_, same)| !same).map(|(section, _)| section).collect()
    }
}

/// The rest of a configuration. Rules can be many, and the generation has them.
fn without_rules(config: &Config) -> Config {
    Config {
        listeners: config.listeners.clone(),
        ca: config.ca.clone(),
        upstream: config.upstream.clone(),
        access: config.access.clone(),
        limits: config.limits.clone(),
        rules: RuleSet::default(),
        anchor_sets: BTreeMap::new(),
        refusal: config.refusal,
        reports: config.reports.clone(),
        log: config.log.clone(),
        traces: config.traces.clone(),
        admin: config.admin.clone(),
        watch: config.watch,
    }
}

/// The files of the CA in this folder, and of what else is read beside the configuration.
fn read_beside(ca_directory: &Path, beside: &[Beside]) -> Stamps {
    let ca = [CERTIFICATE_FILE, KEY_FILE].map(|name| ca_directory.join(name));
    let others = beside.iter().flat_map(|beside| beside.paths.iter().cloned());
    ca.into_iter().chain(others).map(|path| (path.clone(), Stamp::of(&path))).collect()
}

/// A finding in one line.
fn sentence(found: &Diagnostic) -> String {
    let (line, column) = found.position().unwrap_or((1, 1));
    format!("{}:{line}:{column}: {}: {}", found.place().file.display(), found.code(), found.message())
}

/// What there is to say behind it.
fn tell(done: &Reloaded) {
    for warning in &done.warnings {
        tracing::warn!("{warning}");
    }
    for fault in &done.not_reopened {
        tracing::error!("{fault}");
    }
    let generation = done.generation;
    for line in &done.looser {
        tracing::warn!("generation {generation} lets more through than the last one: {line}");
    }
    for section in &done.at_next_start {
        tracing::warn!("{section} has changed; that takes effect at the next start");
    }
}

/// The host patterns of all pinsets that judge pins.
fn pinned(config: &Config) -> HashSet<HostPattern> {
    let judges = |pinset: &Pinset| !matches!(pinset.basis, Basis::Chain { stance: Stance::Fixed(Mode::Off), .. });
    let rules = config.rules.rules().iter().filter(|rule| rule.pinset().is_some_and(judges));
    rules.flat_map(|rule| &rule.hosts).cloned().collect()
}
