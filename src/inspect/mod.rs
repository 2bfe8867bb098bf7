//! A configuration held against the world: what its files hold, what the machine's clock is worth, what its hosts show.
//!
//! [`check`] reads a configuration and looks at everything that it names on this machine; it connects to nothing.
//! [`probe`] does, to one host at a time, in the way of a session: the same resolver, access rules, TLS and
//! verification. Neither changes anything, and what they find are diagnostics that point into the file.

mod anchors;
mod certificate;
mod clock;
mod doors;
mod fault;
mod judge;
mod pins;
pub mod probe;
mod rotation;
mod seen;
mod way;
mod written;

#[cfg(test)]
mod tests;

pub use clock::{RELEASED, Synchronisation};
pub use fault::{Admission, Fault, InForce, Occasion};
pub use judge::Findings;
pub use seen::{Matched, Outcome, Seen};

use crate::authority;
use crate::config::{Code, Config, ConfigErrors, Diagnostic, Places, Reading};
use crate::files::{Stamp, Stamps};
use crate::materials::Materials;
use fault::Finding;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a configuration is held against, besides the files that it names.
#[derive(Clone, Debug)]
pub struct World {
    /// The present.
    pub now: SystemTime,
    /// Whether the machine's clock is known to be right.
    pub clock: Synchronisation,
    /// Where the CA of the proxy is kept.
    pub ca_directory: CaDirectory,
}

/// Where the CA of the proxy is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaDirectory {
    /// Here, whatever the configuration says.
    Given(PathBuf),
    /// Where the configuration says; here when it does not.
    Usual(Option<PathBuf>),
}

impl CaDirectory {
    fn of<'d>(&'d self, places: &'d Places) -> Option<&'d Path> {
        match self {
            Self::Given(given) => Some(given),
            Self::Usual(usual) => places.ca_directory().or(usual.as_deref()),
        }
    }
}

/// A configuration that can be read, and what there is to say about it.
#[derive(Debug)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// What was found, in the order of the files. There may be errors among it.
    pub diagnostics: Vec<Diagnostic>,
    /// Where the configuration was written.
    pub places: Places,
    /// What its files hold. `None` when some of them cannot be used, or would be written to.
    pub materials: Option<Materials>,
    /// What each of the errors is about, and the pinsets that they leave without anchors.
    pub faults: Vec<Fault>,
}

/// Reads a configuration, and looks at what it names. Of a text with faults, too: what depends on one file or on the
/// clock is told with them; what depends on the whole, such as a pinned root among the anchors, when it can be read.
/// Also at the files of the admin address and at a rotation of the CA, which keep a proxy from starting, and one that runs
/// from nothing.
///
/// # Errors
/// What is wrong with its text, and with the files that it names.
pub fn check(path: &Path, world: &World) -> Result<Checked, ConfigErrors> {
    let reading = Config::load_with_places(path, world.now);
    let mut found = doors::inspect(&reading.places);
    let ca_directory = world.ca_directory.of(&reading.places);
    found.extend(written::inspect(&reading, ca_directory));
    found.extend(rotation::inspect(&reading.places, ca_directory, world.now));
    check_reading(reading, world, found)
}

/// The same but for the admin address and the rotation, with the files and folders that it depends on, whatever comes of it.
pub fn check_noting(path: &Path, world: &World) -> (Stamps, Result<Checked, ConfigErrors>) {
    let mut reading = Config::load_with_places(path, world.now);
    let found = written::inspect(&reading, world.ca_directory.of(&reading.places));
    let mut files = std::mem::take(&mut reading.looked_at);
    // Those are read from here on.
    let named = reading.places.named().iter().filter_map(|named| named.file());
    files.extend(named.map(|file| (file.to_owned(), Stamp::of(file))));
    (files, check_reading(reading, world, found))
}

/// `found` is what has been found already.
fn check_reading(reading: Reading, world: &World, mut found: Vec<Finding>) -> Result<Checked, ConfigErrors> {
    let Reading { outcome, places, .. } = reading;
    // The CA is compared, never made: what would be made now is in no file yet.
    let sight = world.ca_directory.of(&places).map(authority::sight).unwrap_or_default();
    let ca = sight.certificates();
    found.extend(anchors::inspect_files(&places, ca, world.now));
    found.extend(way::inspect(&places, world.now));
    let impossible = clock::inspect(&places, world);
    let is_impossible = impossible.is_some();
    found.extend(impossible.map(Finding::from));
    let (config, diagnostics) = match outcome {
        Ok(read) => read,
        Err(errors) => return Err(places.joined(errors, diagnostics_of(found))),
    };
    let is_told = found.iter().any(|found| matches!(found.diagnostic.code(), Code::E65 | Code::E66 | Code::E87));
    found.extend(diagnostics.into_iter().map(Finding::from));
    let overwrites = found.iter().any(|found| found.diagnostic.code() == Code::E83);
    let (materials, more) = anchors::inspect_all(&config, &places, ca, is_told, world.now);
    // That nothing is left of the anchors says more than what is wrong with each.
    let told = more.iter().map(|found| &found.diagnostic);
    let ended: Vec<_> = told.filter(|told| told.code() == Code::E65).map(Diagnostic::place).collect();
    found.retain(|Finding { diagnostic, .. }| diagnostic.code() != Code::W64 || !ended.contains(&diagnostic.place()));
    found.extend(more);
    if !is_impossible {
        found.extend(clock::inspect_rules(&config, &places, world).map(Finding::from));
    }
    let mut faults: Vec<_> = found.iter().filter_map(|found| found.fault.clone()).collect();
    faults.extend(fault::below(&faults, &config));
    let diagnostics = places.in_order(diagnostics_of(found));
    // With what it would write to, nothing is to be started.
    let materials = materials.filter(|_| !overwrites);
    Ok(Checked { config, diagnostics, places, materials, faults })
}

fn diagnostics_of(found: Vec<Finding>) -> Vec<Diagnostic> {
    found.into_iter().map(|found| found.diagnostic).collect()
}
