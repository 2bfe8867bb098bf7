//! TCP to an upstream: resolve, judge each address by the access rules, connect with happy eyeballs.

use super::doors::Doors;
use super::resolve::Resolve;
use crate::policy::access::{Access, AccessError};
use crate::policy::host::{Authority, Host};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use socket2::{SockRef, TcpKeepalive};
use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tower_service::Service;

/// Silence on an upstream connection after which the kernel probes whether the peer is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// A TCP connection to an upstream.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub stream: TcpStream,
    /// The address that answered.
    pub address: SocketAddr,
}

/// Where may be dialled.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'b> {
    /// The rules.
    pub access: &'b Access,
    /// Where no rule lets anybody.
    pub doors: &'b Doors,
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
}

/// Resolves once, judges the addresses, and dials only those that passed: what is judged is what is dialled, so a name
/// that resolves differently a second time gains nothing.
///
/// # Errors
/// [`DialError`].
pub async fn dial(
    target: &Authority,
    bounds: Bounds<'_>,
    resolver: &dyn Resolve,
    limit: Duration,
) -> Result<Dialled, DialError> {
    let started = Instant::now();
    let addresses = addresses(&target.host, resolver, limit).await?;
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
    if let (true, Some(error)) = (allowed.is_empty(), denied) {
        return Err(error.into());
    }
    let left = limit.saturating_sub(started.elapsed());
    match timeout(left, connect(target, allowed, left)).await {
        Ok(connected) => connected.map_err(|failure| match failure {
            // Told as it is configured, not as what was left of it.
            DialError::ConnectTimeout { target, .. } => DialError::ConnectTimeout { target, limit },
            other => other,
        }),
        Err(_) => Err(DialError::ConnectTimeout { target: target.clone(), limit }),
    }
}

async fn addresses(host: &Host, resolver: &dyn Resolve, limit: Duration) -> Result<Vec<IpAddr>, DialError> {
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

async fn connect(target: &Authority, addresses: Vec<SocketAddr>, limit: Duration) -> Result<Dialled, DialError> {
    let connected = match addresses.as_slice() {
        // The usual case needs none of the machinery for several.
        [address] => connect_to(*address).await,
        _ => connect_to_first(target, addresses, limit).await,
    };
    connected.map_err(|source| match source.kind() {
        io::ErrorKind::TimedOut => DialError::ConnectTimeout { target: target.clone(), limit },
        _ => DialError::Connect { target: target.clone(), source },
    })
}

async fn connect_to(address: SocketAddr) -> io::Result<Dialled> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE))?;
    Ok(Dialled { stream, address })
}

/// Happy eyeballs (RFC 8305).
async fn connect_to_first(target: &Authority, addresses: Vec<SocketAddr>, limit: Duration) -> io::Result<Dialled> {
    let mut connector = HttpConnector::new_with_resolver(Judged(addresses));
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(TCP_KEEPALIVE));
    connector.set_connect_timeout(Some(limit));
    let uri = http::Uri::builder().scheme("https").authority(target.to_string()).path_and_query("/").build();
    let stream =
        connector.call(uri.map_err(io::Error::other)?).await.map_err(|error| innermost_io(&error))?.into_inner();
    let address = stream.peer_addr()?;
    Ok(Dialled { stream, address })
}

/// The system's error inside the connector's.
fn innermost_io(error: &(dyn Error + 'static)) -> io::Error {
    std::iter::successors(Some(error), |error| (*error).source())
        .find_map(|error| error.downcast_ref::<io::Error>())
        .map_or_else(
            || io::Error::other(error.to_string()),
            |error| match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            },
        )
}

/// A resolver that answers every name with the addresses that were judged.
#[derive(Clone)]
struct Judged(Vec<SocketAddr>);

impl Service<Name> for Judged {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(self.0.clone().into_iter()))
    }
}
