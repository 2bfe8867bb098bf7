//! The way in of clients that know of no proxy: their connections are redirected here.
//!
//! Such a session is a CONNECT to the address that the client has connected to, with nothing to answer. That address is
//! dialled, never what a resolver says of the server name: a client may write any. Which rule counts is decided as for a
//! CONNECT to an address (`Policy::select_for_address`): that of the server name where it stands alone, so the certificate has
//! to prove that name; that of the address without one; a tunnel by the server name opens no hole.

use super::capacity::Place;
use super::client_half::{ClientStream, turned_away};
use super::error::SessionError;
use super::listener::Caller;
use super::opening::Opening;
use super::record::Record;
use super::refusing::{failed, send_last};
use super::session::Session;
use super::wire::Wire;
use crate::config::Redirect;
use crate::intercept::Prefixed;
use crate::policy::host::{Authority, Host};
use crate::policy::rules::RuleKind;
use crate::upstream::doors::canonical;
use bytes::Bytes;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// Has the system hand over connections to the addresses of others, too (TPROXY).
pub(super) fn take_from_others(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    match listener.local_addr()? {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true),
        SocketAddr::V6(_) => socket.set_ip_transparent_v6(true),
    }
}

/// Where the client has connected to.
fn original(stream: &TcpStream, redirect: Redirect) -> Result<SocketAddr, SessionError> {
    let failed = |error: io::Error| SessionError::NotRedirected(error.to_string());
    let local = stream.local_addr().map_err(failed)?;
    let here = canonical(local);
    if redirect == Redirect::Tproxy {
        return Ok(here);
    }
    let socket = SockRef::from(stream);
    let found = if here.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    let original = found.map_err(failed)?.as_socket().map(canonical);
    let original = original.ok_or_else(|| SessionError::NotRedirected("the system names no address".to_owned()))?;
    if original == here {
        return Err(SessionError::NotRedirected(format!("it was made to {here}, the listener itself")));
    }
    Ok(original)
}

/// One session a connection. `told` is where the connection was made to, as a PROXY header says.
pub(super) async fn serve(caller: Caller, wire: Wire, redirect: Redirect, told: Option<SocketAddr>, place: Place) {
    let Caller { proxy, client, accepted, .. } = caller;
    let original = match (told, &wire) {
        (Some(told), _) => Ok(told),
        (None, Wire::Tcp(stream)) => original(stream, redirect),
        (None, Wire::Tls(_)) => Err(SessionError::NotRedirected("it came by TLS".to_owned())),
    };
    let target = original.and_then(|original| {
        let port = NonZeroU16::new(original.port());
        let port = port.ok_or_else(|| SessionError::NotRedirected(format!("it was made to {original}")))?;
        Ok(Authority { host: Host::from(original.ip()), port })
    });
    let target = match target {
        Ok(target) => target,
        Err(error) => {
            failed(&proxy, client, accepted, "", &error).finish();
            let mut client = Prefixed::new(Bytes::new(), wire);
            turned_away(&mut client, error).await;
            return send_last(client, &[]).await;
        }
    };
    let mut record = Record::open(&proxy.reporter, proxy.session_name(), client, proxy.time.now());
    record.asked_for(&target.to_string());
    let session = Session::begin(proxy, client, &http::HeaderMap::new(), &record);
    let mut client = Prefixed::new(Bytes::new(), wire);
    let heard = match session.admit(&target, &mut record) {
        Ok(()) => session.hear(&target, &mut client, accepted).await,
        Err(error) => Err(error),
    };
    let granted = match heard {
        Ok(hello) => {
            client = client.with_prefix(&hello);
            session.judge(target, &mut record).await
        }
        Err(error) => Err(error),
    };
    match granted {
        Ok(granted) => {
            // Boxed, so that its memory is free again while the session relays.
            let carried = Box::pin(session.carry(granted, Opening::None(client), record));
            if let Some(tunnel) = carried.await {
                tunnel.relay().await;
            }
        }
        Err(error) => {
            record.fail(&error);
            record.finish();
            turned_away(&mut client, error).await;
            send_last(client, &[]).await;
        }
    }
    drop(place);
}

impl Session {
    /// Waits for the whole ClientHello, so that nobody is dialled for what is no TLS. Gives what is to be put back. An address
    /// that has a tunnel may be spoken to in any way.
    async fn hear(
        &self,
        target: &Authority,
        client: &mut ClientStream,
        accepted: Instant,
    ) -> Result<Vec<u8>, SessionError> {
        if matches!(self.generation.policy.select(target, self.moment).kind, RuleKind::Tunnel { .. }) {
            return Ok(Vec::new());
        }
        tokio::select! {
            heard = self.read_hello(client) => heard,
            () = self.proxy.waits_no_longer(accepted) => Err(SessionError::Shutdown),
        }
    }
}
