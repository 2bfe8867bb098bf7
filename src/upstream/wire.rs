//! What a session talks to its upstream over: TCP, or what a parent proxy has opened in its place.

use bytes::{Buf as _, Bytes, BytesMut};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Octets of an upstream that are read before it is relayed.
const OPENING_OCTETS_MAX: usize = 1 << 10;

/// A connection to an upstream.
#[derive(Debug)]
pub enum Wire {
    /// TCP, to the upstream or to a parent that has connected it.
    Tcp(TcpStream),
    /// With more to it.
    Detour(Box<Detour>),
}

/// A connection through a parent whose stream is not all that there is.
#[derive(Debug)]
pub struct Detour {
    /// What has come from the upstream already.
    early: Bytes,
    leg: Leg,
}

/// The connection to a parent.
#[derive(Debug)]
pub(super) enum Leg {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// A connection through a parent, with what has come from the upstream already.
    pub(super) fn through(leg: Leg, early: Bytes) -> Self {
        match leg {
            Leg::Tcp(tcp) if early.is_empty() => Self::Tcp(tcp),
            leg => Self::Detour(Box::new(Detour { early, leg })),
        }
    }

    /// The first octet that the upstream says, which stays to be read; `None` where it says none and ends.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn first_octet(&mut self) -> io::Result<Option<u8>> {
        match self {
            Self::Tcp(tcp) => {
                let mut first = [0];
                Ok((tcp.peek(&mut first).await? == 1).then_some(first[0]))
            }
            Self::Detour(detour) => {
                if detour.early.is_empty() {
                    let mut opening = BytesMut::with_capacity(OPENING_OCTETS_MAX);
                    match &mut detour.leg {
                        Leg::Tcp(tcp) => tcp.read_buf(&mut opening).await?,
                        Leg::Tls(tls) => tls.read_buf(&mut opening).await?,
                    };
                    detour.early = opening.freeze();
                }
                Ok(detour.early.first().copied())
            }
        }
    }
}

impl Detour {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return match &mut self.leg {
                Leg::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
                Leg::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
            };
        }
        let length = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..length]);
        self.early.advance(length);
        Poll::Ready(Ok(()))
    }
}

/// Calls a method of the stream that is written to.
macro_rules! stream {
    ($wire:expr, $stream:ident => $call:expr) => {
        match Pin::get_mut($wire) {
            Wire::Tcp($stream) => $call,
            Wire::Detour(detour) => match &mut detour.leg {
                Leg::Tcp($stream) => $call,
                Leg::Tls($stream) => $call,
            },
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::get_mut(self) {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Detour(detour) => detour.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        stream!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        stream!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_write_vectored(),
            Self::Detour(detour) => match &detour.leg {
                Leg::Tcp(tcp) => tcp.is_write_vectored(),
                Leg::Tls(tls) => tls.is_write_vectored(),
            },
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_connections_pay_nothing_for_the_others() {
        assert!(size_of::<Wire>() <= size_of::<TcpStream>() + size_of::<usize>(), "{}", size_of::<Wire>());
    }
}
