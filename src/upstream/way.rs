//! The way out: from which of our addresses, and through which parent proxy, an upstream is reached.

use super::parent::Parent;
use super::via::Hops;
use crate::config;
use crate::policy::host::Authority;
use crate::policy::way::{Exception, Sources};
use rustls::ClientConfig;
use std::sync::Arc;

/// How upstreams are reached, by one generation of the configuration.
#[derive(Debug)]
pub struct Way {
    parent: Option<Parent>,
    direct: Vec<Exception>,
    sources: Sources,
}

/// The way of one session.
#[derive(Clone, Copy, Debug)]
pub struct Outward<'o> {
    /// How upstreams are reached.
    pub way: &'o Way,
    /// What the request has come through, for the parent to know; `None` says nothing of it.
    pub hops: Option<&'o Hops>,
}

impl Way {
    /// The way that a configuration describes. `tls` is for a parent that speaks it: without, such a parent is not asked.
    pub fn of(upstream: &config::Upstream, tls: Option<Arc<ClientConfig>>) -> Self {
        Self {
            parent: upstream.parent.as_ref().map(|parent| Parent::of(parent, tls)),
            direct: upstream.no_parent.clone(),
            sources: upstream.source,
        }
    }

    /// Whether there is a parent.
    pub const fn has_parent(&self) -> bool {
        self.parent.is_some()
    }

    /// The parent that this upstream is reached through; `None` where it is dialled.
    pub(super) fn parent_for(&self, target: &Authority) -> Option<&Parent> {
        self.parent.as_ref().filter(|_| !self.direct.iter().any(|exception| exception.holds(target)))
    }

    /// The addresses of ours that connections go out from.
    pub(super) const fn sources(&self) -> &Sources {
        &self.sources
    }
}
