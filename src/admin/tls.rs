//! TLS at the admin address, and certificates that clients show.

use super::connections::{Door, Peer, source_of};
use crate::tls::server::InForce;
use std::io;
use std::net::IpAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A listener whose connections speak TLS.
#[derive(Debug)]
pub struct TlsDoor {
    /// The listener.
    pub listener: TcpListener,
    /// How they speak.
    pub tls: InForce,
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
        let stream = TlsAcceptor::from(self.tls.config()).accept(stream).await?;
        // The verifier has refused every certificate that is not from one of the authorities.
        let certified = stream.get_ref().1.peer_certificates().is_some_and(|shown| !shown.is_empty());
        Ok((stream, if certified { Peer::Certified } else { Peer::Network }))
    }
}
