//! A configuration held against the world: what its files hold, what the machine's clock is worth, what its hosts show.
//!
//! [`check`] reads a configuration and looks at everything that it names on this machine; it connects to nothing.
//! [`probe`] does, to one host at a time, in the way of a session: the same resolver, access rules, TLS and
//! verification. Neither changes anything, and what they find are diagnostics that point into the file.

mod anchors;
mod certificate;
mod clock;
mod judge;
pub mod probe;
mod seen;

#[cfg(test)]
mod tests;

pub use anchors::Materials;
pub use clock::{RELEASED, Synchronisation};
pub use judge::Findings;
pub use seen::{Matched, Outcome, Seen};

use crate::authority;
use crate::config::{Code, Config, ConfigErrors, Diagnostic, Places};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a configuration is held against, besides the files that it names.
#[derive(Clone, Debug)]
pub struct World {
    /// The present.
    pub now: SystemTime,
    /// Whether the machine's clock is known to be right.
    pub clock: Synchronisation,
    /// Where the CA of the proxy is kept when the configuration does not say.
    pub ca_directory: Option<PathBuf>,
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
    /// What its files hold. `None` when some of them cannot be used.
    pub materials: Option<Materials>,
}

/// Reads a configuration, and looks at what it names.
///
/// # Errors
/// What is wrong with its text, all of it; then nothing else is looked at.
pub fn check(path: &Path, world: &World) -> Result<Checked, ConfigErrors> {
    let crate::config::Loaded { config, mut diagnostics, places } = Config::load_with_places(path, world.now)?;
    // The CA is compared, never made: what would be made now is in no file yet.
    let directory = config.ca.directory.as_ref().or(world.ca_directory.as_ref());
    let own = directory.map(|directory| authority::peek(directory)).unwrap_or_default();
    let (materials, found) = anchors::inspect(&config, &places, &own, world.now);
    diagnostics.extend(found);
    diagnostics.extend(clock::inspect(&config, &places, world));
    let usable = diagnostics.iter().all(|diagnostic| !matches!(diagnostic.code(), Code::E65 | Code::E66));
    let diagnostics = places.in_order(diagnostics);
    Ok(Checked { config, diagnostics, places, materials: materials.filter(|_| usable) })
}
