//! What of a reload can be done before anything changes: to read, to judge what was read, and to compare it with what is in
//! force. It may take seconds of processor time. Nothing here is what sessions use, and no lock is taken that they wait for,
//! nor one that is in the way when it is done twice ([`super::background`]).

use super::loosened::{Loosened, Standpoint, loosened};
use super::losing::check_losses;
use super::reload::{Read, Wanted};
use crate::authority::{self, CertificateAuthority, Settings, Sight};
use crate::config::{Config, Diagnostic, RuleSet};
use crate::files::{Stamp, Stamps};
use crate::inspect::{Fault, InForce, Occasion};
use crate::policy::rules::Defaults;
use crate::proxy::{Generation, ca_settings};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// A configuration, for the next one to be compared with.
#[derive(Debug)]
pub(super) struct Before {
    /// What stands outside of the rules.
    pub(super) around: Config,
    defaults: Defaults,
    faults: Vec<Fault>,
}

/// What a reload starts from.
pub(super) struct Preparing {
    pub(super) read: Arc<Read>,
    pub(super) before: Arc<Before>,
    pub(super) in_force: Arc<Generation>,
    pub(super) authority: Arc<CertificateAuthority>,
    pub(super) ca_directory: Arc<Path>,
    pub(super) now: SystemTime,
}

/// What was read.
pub(super) struct Prepared {
    /// What it was read from, and whether that is all; none where there is no file.
    pub(super) inputs: Option<(Stamps, bool)>,
    /// What there is to put in force, or why nothing is.
    pub(super) outcome: Result<Ready, String>,
}

/// What can be put in force.
pub(super) struct Ready {
    pub(super) generation: Generation,
    pub(super) before: Before,
    pub(super) settings_of_ca: Settings,
    /// What was there of the CA instead of what is in force.
    pub(super) another_ca: Option<Sight>,
    /// Why it is not put in force unless that is forced.
    pub(super) loss: Result<(), String>,
    pub(super) looser: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Before {
    pub(super) fn of(config: &Config, faults: Vec<Fault>) -> Self {
        Self { around: without_rules(config), defaults: config.rules.defaults(), faults }
    }
}

impl Preparing {
    /// Reads the file and everything it names.
    pub(super) fn prepare(&self) -> Prepared {
        let stamps = stamps(authority::files(&self.ca_directory));
        let Self { in_force, before, .. } = self;
        let in_force = InForce { policy: &in_force.policy, materials: &in_force.materials, faults: &before.faults };
        let Some((mut inputs, read)) = (self.read)(Occasion::Reload(in_force)) else {
            let outcome = Err("nothing to reload: this proxy was started without a configuration file".to_owned());
            return Prepared { inputs: None, outcome };
        };
        inputs.extend(stamps);
        Prepared { inputs: Some((inputs, read.is_ok())), outcome: read.and_then(|wanted| self.ready(wanted)) }
    }

    fn ready(&self, wanted: Wanted) -> Result<Ready, String> {
        let Wanted { config, warnings, materials, faults } = wanted;
        let settings_of_ca = ca_settings(&config).map_err(|error| error.to_string())?;
        let in_force = self.authority.sight();
        let found = authority::sight(&self.ca_directory);
        let another_ca = (!found.is_empty() && found != *in_force).then_some(found);
        let own = another_ca.as_ref().unwrap_or(in_force).certificates();
        let number = self.in_force.policy.generation() + 1;
        let generation = Generation::with(&config, number, materials, own).map_err(|error| error.to_string())?;
        let before = Before::of(&config, faults);
        let (then, now) = (standpoint(&self.before, &self.in_force), standpoint(&before, &generation));
        let compared = then.compared_with(&now, self.now);
        let (loss, Loosened { looser, undecided }) = (check_losses(&compared), loosened(&then, &now, &compared));
        let warnings = warnings.iter().map(sentence).chain(undecided).collect();
        Ok(Ready { generation, before, settings_of_ca, another_ca, loss, looser, warnings })
    }
}

fn standpoint<'a>(before: &'a Before, generation: &'a Generation) -> Standpoint<'a> {
    Standpoint { around: &before.around, policy: &generation.policy, defaults: before.defaults }
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

/// A finding in one line.
fn sentence(found: &Diagnostic) -> String {
    let (line, column) = found.position().unwrap_or((1, 1));
    format!("{}:{line}:{column}: {}: {}", found.place().file.display(), found.code(), found.message())
}

/// Of these files, as they are now.
pub(super) fn stamps(paths: impl IntoIterator<Item = PathBuf>) -> Stamps {
    paths.into_iter().map(|path| (path.clone(), Stamp::of(&path))).collect()
}
