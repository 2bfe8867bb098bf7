//! Whether the machine's clock can be right.

use super::World;
use super::certificate::day;
use crate::config::{At, Code, Config, Diagnostic, Places};
use crate::policy::pinset::{Basis, Pinset, Stance};
use crate::policy::rules::{Rule, RuleKind};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// 2026-11-01, the beginning of the month in which this version was made, since 1970: no clock that is right tells a
/// time before it. To be moved with each release.
pub const RELEASED: Duration = Duration::from_secs(1_793_491_200);

/// Where systemd-timesyncd keeps its state while it runs.
const TIMESYNC: &str = "/run/systemd/timesync";
/// The file there that says that the clock was set by a server.
const SYNCHRONISED: &str = "synchronized";

/// What is known about the machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronisation {
    /// A time server has set it.
    Synchronised,
    /// Something is to set it from a time server, and has not been able to.
    Waiting,
    /// Nothing. Other NTP clients tell nobody without privileges, and a container has the clock of its machine.
    Unknown,
}

impl Synchronisation {
    /// Of this machine. The kernel's own flag would take a system call that no library makes safely, and it does not
    /// tell in a container.
    pub fn of_system() -> Self {
        Self::told_in(Path::new(TIMESYNC))
    }

    /// systemd makes the folder when it starts the service, and removes it with it.
    pub(super) fn told_in(folder: &Path) -> Self {
        match (folder.is_dir(), folder.join(SYNCHRONISED).try_exists()) {
            (true, Ok(true)) => Self::Synchronised,
            (true, Ok(false)) => Self::Waiting,
            _ => Self::Unknown,
        }
    }
}

/// Whether the clock tells a time that cannot be, whatever the configuration says.
pub(super) fn inspect(places: &Places, world: &World) -> Option<Diagnostic> {
    let released = SystemTime::UNIX_EPOCH + RELEASED;
    if world.now >= released {
        return None;
    }
    let (told, least) = (day(world.now), day(released));
    let message = format!("the clock of this machine says {told}, and this version is not older than {least}");
    Some(places.finding(Code::W59, At::File, message, "set the clock, and run an NTP client that keeps it right"))
}

/// Whether rules depend on a clock that nothing has set.
pub(super) fn inspect_rules(config: &Config, places: &Places, world: &World) -> Option<Diagnostic> {
    let dated = config.rules.rules().iter().find(|rule| is_dated(rule))?;
    if world.clock != Synchronisation::Waiting {
        return None;
    }
    let message = "systemd-timesyncd has not set the clock of this machine since it started, and rules depend on time";
    let help = "look at `timedatectl timesync-status`: is there a time server, and can it be reached?";
    let at = dated.pinset().map_or(At::File, |pinset| At::Pinset(&pinset.name));
    Some(places.finding(Code::W59, at, message, help))
}

/// Whether what a rule does depends on the date.
fn is_dated(rule: &Rule) -> bool {
    match &rule.kind {
        RuleKind::Exempt { .. } | RuleKind::Pinned(Pinset { expiry: Some(_), .. }) => true,
        RuleKind::Pinned(Pinset { basis: Basis::Chain { stance, .. }, .. }) => matches!(stance, Stance::Rollout(_)),
        RuleKind::Pinned(_) | RuleKind::Tunnel { .. } | RuleKind::Default(_) => false,
    }
}
