//! The connection while it speaks HTTP. hyper answers what it cannot parse with a bare status and closes; this stream
//! notices, and answers instead with a refusal that says what is wrong and with an event.

use super::Proxy;
use super::error::SessionError;
use super::record::Record;
use super::reply::Refusal;
use crate::policy::host::Authority;
use bytes::{Buf as _, Bytes};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much of a request line is kept for the words of a refusal. A CONNECT target has at most 259 octets.
const REQUEST_LINE_KEPT: usize = 1_024;

/// What a connection has come to while it speaks HTTP, shared with its service.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes have arrived.
    begun: AtomicBool,
    /// A request was parsed, or a refusal sent in place of one.
    answered: AtomicBool,
}

/// A connection that speaks HTTP.
#[derive(Debug)]
pub(super) struct Head<S> {
    stream: S,
    proxy: Arc<Proxy>,
    client: SocketAddr,
    progress: Arc<Progress>,
    request_line: Vec<u8>,
    /// A refusal that goes out in place of what hyper writes.
    instead: Option<Bytes>,
}

impl Progress {
    /// A request was parsed: from here on, what is written comes from its service.
    pub(super) fn answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Whether bytes came and no request was made of them.
    pub(super) fn is_unanswered(&self) -> bool {
        self.begun.load(Ordering::Relaxed) && !self.answered.load(Ordering::Relaxed)
    }
}

impl<S> Head<S> {
    pub(super) fn new(stream: S, proxy: Arc<Proxy>, client: SocketAddr, progress: Arc<Progress>) -> Self {
        Self { stream, proxy, client, progress, request_line: Vec::new(), instead: None }
    }

    /// The connection, once it does not speak HTTP any more.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = REQUEST_LINE_KEPT - self.request_line.len();
        if self.request_line.contains(&b'\n') || room == 0 {
            return;
        }
        self.request_line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The refusal that says what hyper's status does not.
    fn refusal(&self, written: &[u8]) -> Bytes {
        let line = String::from_utf8_lossy(&self.request_line);
        let line = line.lines().next().unwrap_or_default();
        let target = line.strip_prefix("CONNECT ").map(|rest| rest.rsplit_once(' ').map_or(rest, |(target, _)| target));
        let error = match (written.get(9..12), target.map(Authority::parse)) {
            (Some(b"431" | b"414"), _) => SessionError::LongRequest(self.proxy.limits.header_bytes),
            (_, Some(Err(error))) => SessionError::Target(error),
            _ => SessionError::Malformed("the head cannot be parsed".to_owned()),
        };
        refuse(&self.proxy, self.client, target.unwrap_or(line), &error)
    }
}

/// Refuses a client for which there is no HTTP implementation to hand the refusal to; emits the event.
pub(super) fn refuse(proxy: &Proxy, client: SocketAddr, target: &str, error: &SessionError) -> Bytes {
    let mut record = Record::open(&proxy.reporter, proxy.session_name(), client, proxy.clock.now());
    record.asked_for(target);
    record.fail(error);
    let refusal = Refusal::new(error, record.event(), Vec::new());
    record.replied(refusal.status());
    record.finish();
    refusal.to_bytes().into()
}

impl<S: AsyncRead + Unpin> AsyncRead for Head<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if let Some(fresh @ [_, ..]) = buffer.filled().get(before..) {
            self.progress.begun.store(true, Ordering::Relaxed);
            self.keep(fresh);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Head<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.instead.is_none() {
            if self.progress.answered.load(Ordering::Relaxed) {
                return Pin::new(&mut self.stream).poll_write(cx, bytes);
            }
            let refusal = self.refusal(bytes);
            self.progress.answer();
            self.instead = Some(refusal);
        }
        let this = &mut *self;
        while let Some(rest) = this.instead.as_mut().filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut this.stream).poll_write(cx, rest))?;
            rest.advance(written);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
