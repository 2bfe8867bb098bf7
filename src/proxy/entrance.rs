//! A listener, and how clients come in by it.

use super::transparent;
use crate::config::{Listener, ListenerKind, Redirect};
use crate::materials::own;
use crate::tls::server::{InForce, TlsError};
use ipnet::IpNet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;

/// A listener, and how clients come in by it.
#[derive(Debug)]
pub struct Entrance {
    pub(super) listener: TcpListener,
    pub(super) manner: Arc<Manner>,
}

/// What the connections to a listener have in common.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) kind: ListenerKind,
    /// TLS to the proxy itself.
    pub(super) tls: Option<InForce>,
    /// Whose connections begin with a PROXY header.
    named: Vec<IpNet>,
}

/// What a client understands before it has asked for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    /// A status.
    Http,
    /// That none of its methods will do.
    Socks,
    /// An alert.
    Tls,
}

/// Why a listener cannot be what it is to be. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum EntranceError {
    /// The files of its TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system does not hand it the connections of others.
    #[error(
        "the listener {address} cannot be made transparent (redirect = \"tproxy\"): {source}; that needs the capability \
         CAP_NET_ADMIN"
    )]
    Transparent {
        /// Where it listens.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

impl Entrance {
    /// One that takes CONNECT in the clear, and knows no load balancer.
    pub fn forward(listener: TcpListener) -> Self {
        let manner = Manner { kind: ListenerKind::Forward, tls: None, named: Vec::new() };
        Self { listener, manner: Arc::new(manner) }
    }

    /// What the configuration makes of a socket that listens. Reads its files.
    ///
    /// # Errors
    /// [`EntranceError`].
    pub fn new(listener: TcpListener, wanted: &Listener) -> Result<Self, EntranceError> {
        let protocols: &[&[u8]] = match wanted.kind {
            ListenerKind::Forward => &[b"http/1.1"],
            ListenerKind::Socks5 | ListenerKind::Transparent(_) => &[],
        };
        let tls = wanted.tls.as_ref().map(|tls| InForce::load(own::listener(tls, protocols))).transpose()?;
        if wanted.kind == ListenerKind::Transparent(Redirect::Tproxy) {
            let made = transparent::take_from_others(&listener);
            made.map_err(|source| EntranceError::Transparent { address: wanted.address, source })?;
        }
        let manner = Manner { kind: wanted.kind, tls, named: wanted.proxy_protocol_from.clone() };
        Ok(Self { listener, manner: Arc::new(manner) })
    }

    /// How it speaks TLS, which is renewed by a reload; nothing where it does not.
    pub fn tls(&self) -> Option<&InForce> {
        self.manner.tls.as_ref()
    }
}

impl Manner {
    /// Whether connections of this peer begin with a PROXY header.
    pub(super) fn names(&self, peer: IpAddr) -> bool {
        // Most listeners name nobody.
        !self.named.is_empty() && {
            let peer = peer.to_canonical();
            self.named.iter().any(|network| network.contains(&peer))
        }
    }

    /// Whether what comes is HTTP from the first octet on.
    pub(super) fn is_plain(&self) -> bool {
        self.kind == ListenerKind::Forward && self.tls.is_none()
    }

    pub(super) fn speech(&self) -> Speech {
        match self.kind {
            _ if self.tls.is_some() => Speech::Tls,
            ListenerKind::Forward => Speech::Http,
            ListenerKind::Socks5 => Speech::Socks,
            ListenerKind::Transparent(_) => Speech::Tls,
        }
    }
}
