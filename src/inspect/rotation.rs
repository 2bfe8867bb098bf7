//! The rotation of the CA.

use super::fault::Finding;
use crate::authority::{self, Flaw};
use crate::config::{At, Code, Places};
use std::path::Path;
use std::time::SystemTime;

/// What is wrong with it, as far as that can be seen without keys. A start and a reload open those, and say more.
pub(super) fn inspect(places: &Places, directory: Option<&Path>, now: SystemTime) -> Vec<Finding> {
    let flaws = directory.map(|directory| authority::flaws(directory, now)).unwrap_or_default();
    let tell = |flaw: Flaw| {
        let (code, help) = match flaw {
            Flaw::Unusable(_) => (Code::E84, "see what there is with `pinproxy ca rotate --status`"),
            Flaw::Left(_) => (Code::W83, "run `pinproxy ca rotate --status`, then `--finish` or `--abort`"),
            Flaw::Ends { is_over: true, .. } => (Code::W84, "run `pinproxy ca rotate --finish`"),
            Flaw::Ends { is_over: false, .. } => {
                (Code::W84, "run `pinproxy ca rotate --abort`, and begin again with an earlier date")
            }
        };
        places.finding(code, At::File, flaw.to_string(), help).into()
    };
    flaws.into_iter().map(tell).collect()
}
