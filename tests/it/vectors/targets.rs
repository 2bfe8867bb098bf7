//! `targets.toml`: its users are the unit tests of `policy::host` and `requests::targets`.

use super::Cases;
use serde::Deserialize;

/// CONNECT targets without a canonical form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Targets {
    pub(crate) refused: Vec<Target>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) target: String,
    /// The variant of `HostError`, as Debug writes it.
    pub(crate) error: String,
}

impl Cases for Targets {
    fn names(&self) -> Vec<Vec<&str>> {
        vec![self.refused.iter().map(|case| case.target.as_str()).collect()]
    }
}
