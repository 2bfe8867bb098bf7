//! TLS at the admin address: its certificate, which a reload reads anew, and certificates that clients show.

use super::connections::{Door, Peer, source_of};
use crate::config::AdminTls;
use crate::tls::server::{TlsError, serving};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How TLS is spoken now.
#[derive(Clone, Debug)]
pub struct AdminTlsInForce {
    files: AdminTls,
    config: Arc<ArcSwap<ServerConfig>>,
}

impl AdminTlsInForce {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: &AdminTls) -> Result<Self, TlsError> {
        let config = Arc::new(ArcSwap::from_pointee(load(files)?));
        Ok(Self { files: files.clone(), config })
    }

    /// Reads the files again. Where that fails, connections go on as before.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn renew(&self) -> Result<(), String> {
        let config = load(&self.files).map_err(|error| format!("{error}; what was in force stays in force"))?;
        self.config.store(Arc::new(config));
        Ok(())
    }

    /// What it was read from.
    pub fn paths(&self) -> Vec<PathBuf> {
        let AdminTls { certificate, key, client_ca } = self.files.clone();
        [certificate, key].into_iter().chain(client_ca).collect()
    }
}

/// A listener whose connections speak TLS.
#[derive(Debug)]
pub struct TlsDoor {
    /// The listener.
    pub listener: TcpListener,
    /// How they speak.
    pub tls: AdminTlsInForce,
}

impl Door for TlsDoor {
    const NAME: &'static str = "the admin address";
    type Accepted = TcpStream;
    type Stream = TlsStream<TcpStream>;

    async fn accept(&self) -> io::Result<TcpStream> {
        Ok(self.listener.accept().await?.0)
    }

    fn source(stream: &TcpStream) -> Option<IpAddr> {
        stream.peer_addr().ok().and_then(source_of)
    }

    async fn greet(&self, stream: TcpStream) -> io::Result<(Self::Stream, Peer)> {
        let stream = TlsAcceptor::from(self.tls.config.load_full()).accept(stream).await?;
        // The verifier has refused every certificate that is not from one of the authorities.
        let certified = stream.get_ref().1.peer_certificates().is_some_and(|shown| !shown.is_empty());
        Ok((stream, if certified { Peer::Certified } else { Peer::Network }))
    }
}

fn load(files: &AdminTls) -> Result<ServerConfig, TlsError> {
    serving(&files.certificate, &files.key, files.client_ca.as_deref())
}
