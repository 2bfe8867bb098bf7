//! Overrides given and taken back, each with a line for the audit.

use super::Operator;
use crate::policy::host::Authority;
use crate::policy::overrides::{Override, OverrideError, Overrides};
use crate::report::date_time;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct OverrideRequest {
    /// The host and port.
    pub target: Authority,
    /// For how long.
    pub lifetime: Duration,
    /// Why.
    pub reason: String,
    /// Who asks, as they say themselves.
    pub by: String,
}

/// One change of the overrides at a time.
#[derive(Debug, Default)]
pub(super) struct Overriding(pub(super) Mutex<()>);

impl Operator {
    /// Reports the pins of a host instead of enforcing them, for a while. `from` is for the audit: what the system knows of
    /// who asks.
    ///
    /// # Errors
    /// When that cannot be.
    pub fn add_override(&self, request: OverrideRequest, from: &str) -> Result<Override, OverrideError> {
        let OverrideRequest { target, lifetime, reason, by } = request;
        let (moment, running) = (self.proxy.moment(), self.proxy.running());
        let since = moment.latest();
        let until = since.checked_add(lifetime).ok_or(OverrideError::Lifetime)?;
        let given = Override { target, since, until, until_running: running.saturating_add(lifetime), reason, by };
        self.change_overrides(|overrides| {
            let with = overrides.with(given.clone(), &self.proxy.generation().policy, moment, running);
            with.map(|overrides| (overrides, ()))
        })?;
        let Override { target, until, reason, by, .. } = &given;
        let until = date_time(*until);
        tracing::warn!(target: "audit", "override added: pins of {target} are reported instead of enforced until {until}, by {by:?}{from}: {reason:?}");
        Ok(given)
    }

    /// Takes an override back; none where there is none. Sessions that live by it end.
    pub fn remove_override(&self, target: &Authority, by: &str, from: &str) -> Option<Override> {
        let removed = self.change_overrides(|overrides| overrides.without(target).ok_or(())).ok()?;
        tracing::warn!(target: "audit", "override removed: pins of {target} are enforced again, by {by:?}{from}");
        Some(removed)
    }

    /// Sees to overrides that have ended. Whether there were any: sessions that lived by them are to be judged again.
    pub fn end_overrides(&self) -> bool {
        if self.proxy.overrides().list().is_empty() {
            return false;
        }
        let (moment, running) = (self.proxy.moment(), self.proxy.running());
        let ended = self.change_overrides(|overrides| {
            let (left, ended) = overrides.divided(moment, running);
            if ended.is_empty() { Err(()) } else { Ok((left, ended)) }
        });
        let ended = ended.unwrap_or_default();
        for Override { target, .. } in &ended {
            tracing::warn!(target: "audit", "override ended: pins of {target} are enforced again");
        }
        !ended.is_empty()
    }

    fn change_overrides<T, E>(&self, change: impl FnOnce(&Overrides) -> Result<(Overrides, T), E>) -> Result<T, E> {
        let _one_at_a_time = self.overriding.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (overrides, made) = change(&self.proxy.overrides())?;
        self.proxy.set_overrides(overrides);
        Ok(made)
    }
}
