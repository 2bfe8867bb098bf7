//! The sides of a relay: TLS streams, and plain ones for blind tunnels.

use crate::relay::Side;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio_rustls::{client, server};

/// Bytes read at once in a blind tunnel.
pub(super) const TUNNEL_BUFFER_BYTES: usize = 8 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> Side for client::TlsStream<S> {
    fn poll_cut(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (tcp, _) = Pin::get_mut(self).get_mut();
        Pin::new(tcp).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Side for server::TlsStream<S> {
    fn poll_cut(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (tcp, _) = Pin::get_mut(self).get_mut();
        Pin::new(tcp).poll_shutdown(cx)
    }
}

/// TCP has one way to end; what runs inside a blind tunnel tells its peer the rest.
impl<S: AsyncRead + AsyncWrite + Unpin> Side for BufReader<S> {
    fn poll_cut(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_shutdown(cx)
    }
}
