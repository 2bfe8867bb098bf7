//! To an upstream through a parent proxy.
//!
//! What the access rules say of hosts and ports holds as ever. What they say of addresses can hold only where the address is
//! known: so where there is a rule about addresses, or the port is that of a door of this process, a name is looked up here,
//! and the parent is asked for an address that has passed. Where there is none, the parent is given the name.

use super::connect::connect;
use super::dial::{DialError, Dialled, Wanted, addresses, judged};
use super::parent::{Parent, ParentFault};
use super::wire::Wire;
use crate::policy::host::{Authority, Host};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Addresses of an upstream that a parent is asked for, one after the other.
const PARENT_ADDRESSES_MAX: usize = 4;

/// Why a parent has not connected an upstream.
enum Failed {
    /// It was not come to.
    Here(DialError),
    /// For its own reasons.
    There(ParentFault),
}

impl From<ParentFault> for Failed {
    fn from(fault: ParentFault) -> Self {
        Self::There(fault)
    }
}

/// Has a parent connect it.
pub(super) async fn through(parent: &Parent, wanted: &Wanted<'_>) -> Result<Dialled, DialError> {
    let started = Instant::now();
    let asked_for = asked_for(wanted).await?;
    let left = wanted.limit.saturating_sub(started.elapsed());
    let opened = match timeout(left, open_first(parent, wanted, asked_for)).await {
        Ok(opened) => opened,
        Err(_) => Err(ParentFault::Timeout(wanted.limit).into()),
    };
    let name = Arc::clone(parent.name());
    match opened {
        Ok((stream, address)) => Ok(Dialled { stream, address, parent: Some(name) }),
        Err(Failed::Here(error)) => Err(error),
        Err(Failed::There(fault)) => Err(DialError::Parent { parent: name, fault }),
    }
}

/// The addresses that a parent is asked for, which have passed; or nothing but the host as it is.
async fn asked_for(wanted: &Wanted<'_>) -> Result<Vec<Option<SocketAddr>>, DialError> {
    let Wanted { target, bounds, resolver, limit, .. } = *wanted;
    let is_judged = bounds.access.judges_addresses() || bounds.doors.have_port(target.port.get());
    if matches!(target.host, Host::Name(_)) && !is_judged {
        return Ok(vec![None]);
    }
    let addresses = addresses(&target.host, resolver, limit).await.map_err(|error| match error {
        DialError::NotFound { host, source } => DialError::Unjudged { host, source },
        other => other,
    })?;
    let allowed = judged(target, addresses, bounds)?;
    Ok(allowed.into_iter().take(PARENT_ADDRESSES_MAX).map(Some).collect())
}

/// The first of those that the parent connects.
async fn open_first(
    parent: &Parent,
    wanted: &Wanted<'_>,
    asked_for: Vec<Option<SocketAddr>>,
) -> Result<(Wire, Option<SocketAddr>), Failed> {
    let mut last = ParentFault::Garbage;
    for address in asked_for {
        let tcp = connect_to(parent, wanted).await?;
        let host = address.map_or_else(|| wanted.target.host.clone(), |address| Host::Address(address.ip()));
        let asked = Authority { host, port: wanted.target.port };
        match parent.open(tcp, &asked, wanted.outward.hops).await {
            Ok(wire) => return Ok((wire, address)),
            Err(fault) if fault.may_be_of_address() => last = fault,
            Err(fault) => return Err(fault.into()),
        }
    }
    Err(last.into())
}

/// The operator has named it, so no access rule is about it. It is no listener of ours all the same.
async fn connect_to(parent: &Parent, wanted: &Wanted<'_>) -> Result<TcpStream, Failed> {
    let Wanted { bounds, outward, resolver, limit, .. } = *wanted;
    let at = parent.authority();
    let found = addresses(&at.host, resolver, limit).await.map_err(|error| match error {
        DialError::NotFound { source, .. } => ParentFault::NotFound(source),
        _ => ParentFault::Timeout(limit),
    })?;
    let found = found.into_iter().map(|address| SocketAddr::new(address.to_canonical(), at.port.get()));
    let elsewhere: Vec<_> = found.filter(|address| bounds.doors.check(*address, at).is_ok()).collect();
    if elsewhere.is_empty() {
        return Err(ParentFault::Itself.into());
    }
    match connect(at, elsewhere, outward.way.sources(), limit).await {
        Ok((tcp, _)) => Ok(tcp),
        Err(DialError::Connect { source, .. }) => Err(ParentFault::Connect(source).into()),
        Err(DialError::ConnectTimeout { .. }) => Err(ParentFault::Timeout(limit).into()),
        Err(other) => Err(Failed::Here(other)),
    }
}
