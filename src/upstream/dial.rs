//! To an upstream: resolve, judge each address by the access rules, connect; or have a parent proxy do it.

use super::connect::connect;
use super::doors::Doors;
use super::parent::ParentFault;
use super::resolve::Resolve;
use super::through::through;
use super::way::Outward;
use super::wire::Wire;
use crate::policy::access::{Access, AccessError};
use crate::policy::host::{Authority, Host};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// A connection to an upstream.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub stream: Wire,
    /// The address that answered, or that a parent was asked for; `None` where the parent has looked it up.
    pub address: Option<SocketAddr>,
    /// The parent that it leads through.
    pub parent: Option<Arc<String>>,
}

/// Where may be dialled.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'b> {
    /// The rules.
    pub access: &'b Access,
    /// Where no rule lets anybody.
    pub doors: &'b Doors,
}

/// What is wanted, and within which limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'w> {
    pub(super) target: &'w Authority,
    pub(super) bounds: Bounds<'w>,
    pub(super) outward: Outward<'w>,
    pub(super) resolver: &'w dyn Resolve,
    /// `[upstream] connect_timeout`.
    pub(super) limit: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("no address for {host}: {source}")]
    NotFound {
        /// The host.
        host: Host,
        /// What the resolver said.
        source: io::Error,
    },
    /// The name has no address here, where it is looked up for the rules alone.
    #[error(
        "no address for {host}: {source}; it is looked up here although a parent connects, because [access] destinations_deny \
         has rules about addresses, or the port is one of this proxy's own"
    )]
    Unjudged {
        /// The host.
        host: Host,
        /// What the resolver said.
        source: io::Error,
    },
    /// Resolving took longer than the limit.
    #[error("resolving {host} took longer than {limit:?}")]
    ResolveTimeout {
        /// The host.
        host: Host,
        /// `[upstream] connect_timeout`.
        limit: Duration,
    },
    /// Every address of the host is denied.
    #[error(transparent)]
    Denied(#[from] AccessError),
    /// An address answered with a refusal, or none could be reached.
    #[error("cannot connect to {target}: {source}")]
    Connect {
        /// Where to.
        target: Authority,
        /// What the last attempt said.
        source: io::Error,
    },
    /// Connecting took longer than the limit.
    #[error("connecting to {target} took longer than {limit:?}")]
    ConnectTimeout {
        /// Where to.
        target: Authority,
        /// `[upstream] connect_timeout`.
        limit: Duration,
    },
    /// Nothing can go out from the address that it has to go out from.
    #[error("cannot connect to {target} from this machine's addresses in [upstream] source: {source}")]
    Source {
        /// Where to.
        target: Authority,
        /// What the system said.
        source: io::Error,
    },
    /// The host has addresses of a family alone that has no source.
    #[error("{target} has no address of a family that [upstream] source has one of")]
    NoSource {
        /// Where to.
        target: Authority,
    },
    /// The parent proxy has not connected it.
    #[error("the parent proxy {parent} {fault}")]
    Parent {
        /// As everybody may know it.
        parent: Arc<String>,
        /// Why not.
        fault: ParentFault,
    },
}

/// Resolves once, judges the addresses, and dials only those that passed: what is judged is what is dialled, so a name
/// that resolves differently a second time gains nothing. Through a parent the same holds wherever there is a rule about
/// addresses; where there is none, the parent is given the name.
///
/// # Errors
/// [`DialError`].
pub async fn dial(
    target: &Authority,
    bounds: Bounds<'_>,
    outward: Outward<'_>,
    resolver: &dyn Resolve,
    limit: Duration,
) -> Result<Dialled, DialError> {
    if let Some(parent) = outward.way.parent_for(target) {
        // Boxed, so that it takes no room where nobody has a parent.
        return Box::pin(through(parent, &Wanted { target, bounds, outward, resolver, limit })).await;
    }
    let started = Instant::now();
    let addresses = addresses(&target.host, resolver, limit).await?;
    let allowed = judged(target, addresses, bounds)?;
    let left = limit.saturating_sub(started.elapsed());
    let (tcp, address) = connect(target, allowed, outward.way.sources(), left).await.map_err(|error| match error {
        // Told as it is configured, not as what was left of it.
        DialError::ConnectTimeout { target, .. } => DialError::ConnectTimeout { target, limit },
        other => other,
    })?;
    Ok(Dialled { stream: Wire::Tcp(tcp), address: Some(address), parent: None })
}

/// Those of the addresses that may be dialled.
pub(super) fn judged(
    target: &Authority,
    addresses: Vec<IpAddr>,
    bounds: Bounds<'_>,
) -> Result<Vec<SocketAddr>, AccessError> {
    let mut allowed = Vec::with_capacity(addresses.len());
    let mut denied = None;
    for address in addresses {
        // The form that is judged is the form that is dialled and told: an IPv4-mapped address is the IPv4 one.
        let address = address.to_canonical();
        let dialled = SocketAddr::new(address, target.port.get());
        match bounds.doors.check(dialled, target).and_then(|()| bounds.access.check_address(address)) {
            Ok(()) => allowed.push(dialled),
            Err(error) => denied = denied.or(Some(error)),
        }
    }
    match denied {
        Some(error) if allowed.is_empty() => Err(error),
        _ => Ok(allowed),
    }
}

/// The addresses of a host.
pub(super) async fn addresses(host: &Host, resolver: &dyn Resolve, limit: Duration) -> Result<Vec<IpAddr>, DialError> {
    let name = match host {
        Host::Address(address) => return Ok(vec![*address]),
        Host::Name(name) => name,
    };
    let not_found = |source| DialError::NotFound { host: host.clone(), source };
    match timeout(limit, resolver.resolve(name)).await {
        Err(_) => Err(DialError::ResolveTimeout { host: host.clone(), limit }),
        Ok(Err(error)) => Err(not_found(error)),
        Ok(Ok(addresses)) if addresses.is_empty() => Err(not_found(io::ErrorKind::NotFound.into())),
        Ok(Ok(addresses)) => Ok(addresses),
    }
}
