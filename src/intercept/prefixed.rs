//! A stream with bytes in front that were read from it before.

use bytes::{Buf as _, Bytes};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads `prefix` first, then the stream; writes go to the stream.
#[derive(Debug)]
pub struct Prefixed<S> {
    prefix: Bytes,
    stream: S,
}

impl<S> Prefixed<S> {
    /// Puts bytes back in front of the stream they came from.
    pub fn new(prefix: Bytes, stream: S) -> Self {
        Self { prefix: released(prefix), stream }
    }

    /// Whether there are bytes in front that have not been read again.
    pub fn has_prefix(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// The stream behind.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Puts further bytes in front of those that are there.
    #[must_use]
    pub fn with_prefix(mut self, bytes: &[u8]) -> Self {
        if !bytes.is_empty() {
            self.prefix = [bytes, &self.prefix].concat().into();
        }
        self
    }
}

/// An empty end of a buffer would keep the whole buffer for as long as the stream lives.
fn released(prefix: Bytes) -> Bytes {
    if prefix.is_empty() { Bytes::new() } else { prefix }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.prefix.len().min(buffer.remaining());
        buffer.put_slice(&self.prefix[..length]);
        self.prefix.advance(length);
        self.prefix = released(std::mem::take(&mut self.prefix));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    /// A buffer that tells whether it is kept.
    fn watched(octets: &'static [u8]) -> (Bytes, std::sync::Weak<()>) {
        struct Watched(&'static [u8], #[expect(dead_code, reason = "is dropped with the buffer")] std::sync::Arc<()>);
        impl AsRef<[u8]> for Watched {
            fn as_ref(&self) -> &[u8] {
                self.0
            }
        }
        let kept = std::sync::Arc::new(());
        let weak = std::sync::Arc::downgrade(&kept);
        (Bytes::from_owner(Watched(octets, kept)), weak)
    }

    #[tokio::test]
    async fn a_buffer_is_kept_until_its_end_and_no_longer() {
        let (mut empty, kept) = watched(b"head");
        empty.advance(4);
        let stream = Prefixed::new(empty, tokio::io::empty());
        assert!(kept.upgrade().is_none() && !stream.has_prefix(), "nothing is left of it");

        let (prefix, kept) = watched(b"prefix");
        let mut stream = Prefixed::new(prefix, &b" and more"[..]);
        let mut octets = [0; 3];
        stream.read_exact(&mut octets).await.unwrap();
        assert!(kept.upgrade().is_some() && stream.has_prefix(), "half of it is left");
        stream.read_exact(&mut octets).await.unwrap();
        assert!(kept.upgrade().is_none() && !stream.has_prefix(), "it has been read");
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&octets, rest.as_str()), (b"fix", " and more"));
    }
}
