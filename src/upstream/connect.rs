//! TCP with happy eyeballs, from one of our addresses where the operator has named some.

use super::dial::DialError;
use crate::policy::host::Authority;
use crate::policy::way::{Source, Sources};
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
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tower_service::Service;

/// Silence on an upstream connection after which the kernel probes whether the peer is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// TCP to one of these addresses, from one of ours.
pub(super) async fn connect(
    target: &Authority,
    mut addresses: Vec<SocketAddr>,
    sources: &Sources,
    limit: Duration,
) -> Result<(TcpStream, SocketAddr), DialError> {
    addresses.retain(|address| sources.towards(address.ip()) != Source::None);
    let connecting = async {
        match addresses.as_slice() {
            [] => return Err(DialError::NoSource { target: target.clone() }),
            // The usual case needs none of the machinery for several.
            [address] => connect_to(*address, sources).await,
            _ => connect_to_first(target, addresses, sources, limit).await,
        }
        .map_err(|source| failed(target, sources, limit, source))
    };
    match timeout(limit, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(DialError::ConnectTimeout { target: target.clone(), limit }),
    }
}

fn failed(target: &Authority, sources: &Sources, limit: Duration, source: io::Error) -> DialError {
    let target = target.clone();
    match source.kind() {
        io::ErrorKind::TimedOut => DialError::ConnectTimeout { target, limit },
        io::ErrorKind::AddrNotAvailable if *sources != Sources::default() => DialError::Source { target, source },
        _ => DialError::Connect { target, source },
    }
}

async fn connect_to(address: SocketAddr, sources: &Sources) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = match sources.towards(address.ip()) {
        Source::Fixed(own) => {
            let socket = if own.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.bind(SocketAddr::new(own, 0))?;
            socket.connect(address).await?
        }
        Source::Any | Source::None => TcpStream::connect(address).await?,
    };
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE))?;
    Ok((stream, address))
}

/// Happy eyeballs (RFC 8305).
async fn connect_to_first(
    target: &Authority,
    addresses: Vec<SocketAddr>,
    sources: &Sources,
    limit: Duration,
) -> io::Result<(TcpStream, SocketAddr)> {
    let mut connector = HttpConnector::new_with_resolver(Judged(addresses));
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(TCP_KEEPALIVE));
    connector.set_connect_timeout(Some(limit));
    match (sources.v4, sources.v6) {
        (Some(v4), Some(v6)) => connector.set_local_addresses(v4, v6),
        (v4, v6) => connector.set_local_address(v4.map(IpAddr::V4).or(v6.map(IpAddr::V6))),
    }
    let uri = http::Uri::builder().scheme("https").authority(target.to_string()).path_and_query("/").build();
    let stream =
        connector.call(uri.map_err(io::Error::other)?).await.map_err(|error| innermost_io(&error))?.into_inner();
    let address = stream.peer_addr()?;
    Ok((stream, address))
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
