//! The thread that reloads: has what is wanted read, swaps, and tells. Sessions wait for locks that it takes, so it runs as
//! they do; what takes long is done in the background.

use super::background::Leisure;
use super::judging::Judging;
use super::preparing::{Before, Prepared, Preparing, Ready, stamps};
use super::reload::{Beginning, Beside, Last, Read, Reloaded, Request, Told};
use crate::authority::{self, CertificateAuthority};
use crate::config::Config;
use crate::files::Stamps;
use crate::policy::moment::Moment;
use crate::proxy::{Generation, Proxy};
use crate::report::date_time;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How often it is looked whether the last session of an old generation has let go of it.
const REST: Duration = Duration::from_millis(100);

/// What a reload starts from.
pub(super) struct Reloader {
    proxy: Arc<Proxy>,
    read: Arc<Read>,
    /// What the process started with, to be compared where it cannot be changed.
    started_with: Arc<Before>,
    in_force: Arc<Before>,
    ca_directory: Arc<Path>,
    beside: Vec<Beside>,
    generation: u64,
    /// Generations that sessions still have. To free a large one takes as long as several sessions, so it is done here
    /// and not where the last of them ends.
    replaced: Vec<Arc<Generation>>,
    told: Arc<Told>,
    judging: Judging,
    leisure: Leisure,
}

impl Reloader {
    pub(super) fn new(proxy: Arc<Proxy>, beginning: Beginning, read: Read, told: Arc<Told>, judging: Judging) -> Self {
        let Beginning { config, faults, inputs, ca_directory, beside } = beginning;
        // They were read, or made, right before.
        let of_ca = stamps(authority::files(&ca_directory));
        let inputs = inputs.into_iter().chain(of_ca).chain(stamps_of(&beside)).collect();
        told.inputs.store(Arc::new(inputs));
        let in_force = Arc::new(Before::of(&config, faults));
        Self {
            proxy,
            read: Arc::new(read),
            started_with: Arc::clone(&in_force),
            in_force,
            ca_directory: ca_directory.into(),
            beside,
            generation: 1,
            replaced: Vec::new(),
            told,
            judging,
            leisure: Leisure::default(),
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
        // Whatever becomes of the configuration: who moves files away does not ask how it is.
        let not_reopened: Vec<_> = self.proxy.reopen_logs().iter().map(ToString::to_string).collect();
        let outcome =
            self.run(force, &not_reopened).map_err(|message| [&[message], &not_reopened[..]].concat().join("\n"));
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

    /// Puts rules, trust anchors, revocation lists, access rules and CA in force for the sessions that begin from now on;
    /// ends the open ones that they refuse. Where anything is wrong that was not wrong before, what was in force stays in
    /// force.
    fn run(&mut self, force: bool, not_reopened: &[String]) -> Result<Reloaded, String> {
        let beside = stamps_of(&self.beside);
        // By themselves: a certificate has its day, whatever is wrong with the rest.
        let kept: Vec<_> = self.beside.iter().filter_map(|beside| (beside.renew)().err()).collect();
        for fault in &kept {
            tracing::error!("{fault}");
        }
        let preparing = Preparing {
            read: Arc::clone(&self.read),
            before: Arc::clone(&self.in_force),
            in_force: self.proxy.generation(),
            authority: self.proxy.authority(),
            ca_directory: Arc::clone(&self.ca_directory),
            now: self.proxy.moment().latest(),
        };
        let Prepared { inputs, outcome } = self.leisure.wait_for("pinproxy-read", move || preparing.prepare());
        if let Some((inputs, whole)) = inputs {
            self.told.inputs.store(Arc::new(self.inputs_with(inputs, beside, whole)));
        }
        let ready = outcome?;
        if !force {
            ready.loss.clone()?;
        }
        let (authority, doubt) = self.authority(&ready)?;
        let warnings = kept.into_iter().chain(doubt).collect();
        Ok(self.put_in_force(ready, authority, warnings, not_reopened.to_vec()))
    }

    fn put_in_force(
        &mut self,
        ready: Ready,
        authority: Option<CertificateAuthority>,
        mut warnings: Vec<String>,
        not_reopened: Vec<String>,
    ) -> Reloaded {
        let (number, rules) = (ready.generation.policy.generation(), ready.generation.policy.rules().len());
        if let Some(authority) = authority {
            self.proxy.replace_authority(Arc::new(authority));
        }
        let old = self.proxy.replace(ready.generation);
        (self.generation, self.in_force) = (number, Arc::new(ready.before));
        self.replaced.push(old);
        tracing::info!("reloaded the configuration: generation {number} with {rules} rules is in force");
        // What is in force is in force, whether its open sessions could be judged or not.
        let closed = self.judging.judge().blocking_recv().unwrap_or_else(|_| {
            tracing::error!("open sessions could not be judged again; restart the proxy");
            0
        });
        if closed > 0 {
            tracing::warn!("{closed} open sessions are closed: generation {number} refuses them");
        }
        warnings.extend(ready.warnings);
        let at_next_start = unchangeable(&self.started_with.around, &self.in_force.around);
        Reloaded { generation: number, rules, closed, looser: ready.looser, warnings, not_reopened, at_next_start }
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

    /// The CA, if its certificates or its rotation are others than those in force; and what a start would have against the one that is there.
    /// That is no reason to stop signing with the one in force, nor to keep other changes out.
    fn authority(&self, ready: &Ready) -> Result<(Option<CertificateAuthority>, Option<String>), String> {
        let loaded = authority::load(&self.ca_directory, ready.settings_of_ca, self.proxy.moment().latest());
        let in_force = self.proxy.authority();
        let expected = ready.another_ca.as_ref().unwrap_or(in_force.sight());
        match (loaded, &ready.another_ca) {
            (Ok(authority), _) if authority.sight() != expected => {
                // It may be among the trust anchors: those that are no trust anchors were left out when they were read.
                Err("the files of the CA have changed while the configuration was read; reload again".to_owned())
            }
            (Ok(authority), Some(_)) => {
                tracing::info!("{}", told(&in_force, &authority, self.proxy.moment()));
                Ok((Some(authority), None))
            }
            (Ok(_), None) => Ok((None, None)),
            (Err(error), Some(_)) => Err(error.to_string()),
            (Err(error), None) => {
                Ok((None, Some(format!("the CA in force stays in force, but the next start would fail: {error}"))))
            }
        }
    }
}

/// What has become of the CA, in a line.
fn told(old: &CertificateAuthority, new: &CertificateAuthority, moment: Moment) -> String {
    let (subject, fingerprint) = (new.subject(), new.fingerprint_sha256());
    let rotation = new.standing(moment).rotation.map(|other| {
        let (from, is) = (
            date_time(other.from),
            if other.has_taken_over { "the next one signs" } else { "the next one is to sign" },
        );
        format!("{is} from {from} on")
    });
    if fingerprint == old.fingerprint_sha256() {
        return format!("the CA is the same, {}", rotation.as_deref().unwrap_or("and no other follows"));
    }
    let rotation = rotation.map(|rotation| format!("; {rotation}")).unwrap_or_default();
    format!("the CA is another one now: {subject}, SHA-256 fingerprint {fingerprint}{rotation}")
}

/// The sections that a running proxy cannot take over and that are not what they were.
fn unchangeable(old: &Config, new: &Config) -> Vec<&'static str> {
    let compared = [
        ("[[listener]]", old.listeners == new.listeners),
        ("[ca]", old.ca == new.ca),
        ("[upstream] connect_timeout", old.upstream.connect_timeout == new.upstream.connect_timeout),
        ("[upstream] handshake_timeout", old.upstream.handshake_timeout == new.upstream.handshake_timeout),
        ("[upstream] resumption", old.upstream.resumption == new.upstream.resumption),
        ("[limits]", old.limits == new.limits),
        ("[reports]", old.reports == new.reports),
        ("[log]", old.log == new.log),
        ("[traces]", old.traces == new.traces),
        ("[admin]", old.admin == new.admin),
        ("watch", old.watch == new.watch),
    ];
    compared.into_iter().filter(|(_, same)| !same).map(|(section, _)| section).collect()
}

/// Of the files of what is read beside the configuration.
fn stamps_of(beside: &[Beside]) -> Stamps {
    stamps(beside.iter().flat_map(|beside| beside.paths.iter().cloned()))
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
