//! The connection while it speaks HTTP. hyper answers what it cannot parse with a bare status, or not at all, and
//! closes. This stream holds such an answer back and survives the parser, so that the client can be told what is wrong.

use super::error::SessionError;
use super::wire::Wire;
use crate::policy::host::Authority;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};

/// How much of a request line is kept for the words of a refusal. A CONNECT target has at most 259 octets.
const REQUEST_LINE_KEPT: usize = 1_024;

/// The first octet of TLS (RFC 8446 section 5.1), and of no HTTP.
pub(super) const TLS_HANDSHAKE: u8 = 22;
/// What is told of a client that speaks TLS where HTTP is spoken.
const SPEAKS_TLS: &str = "it begins as TLS, and this listener takes CONNECT in the clear (write http:// before the address of \
                          the proxy, or give the listener a tls)";

/// A connection that speaks HTTP.
#[derive(Debug)]
pub(super) struct Head {
    /// Absent only after `into_inner`.
    stream: Option<Take<Wire>>,
    progress: Arc<Progress>,
}

/// How far a connection has come, shared between its stream, its service and its listener.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// A request was parsed: from here on, what is written comes from its service.
    parsed: bool,
    received: usize,
    request_line: Vec<u8>,
    /// The status of the answer that was held back.
    held_back: Option<[u8; 3]>,
    /// The client has closed its side, or its connection has failed.
    ended: bool,
    /// The connection, left behind by a parser that gave up on it.
    left: Option<Wire>,
}

/// A connection on which no request could be parsed.
#[derive(Debug)]
pub(super) struct Unparsed {
    /// The connection, unless the client has closed it.
    pub(super) stream: Option<Wire>,
    /// What stands where the target of a CONNECT stands; empty for anything else.
    pub(super) target: String,
    pub(super) error: SessionError,
}

/// How HTTP on a connection ended without a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Http(hyper::Error),
    #[error("the client closed the connection")]
    Closed,
    #[error("the proxy is shutting down")]
    Shutdown,
}

impl Progress {
    /// A request was parsed.
    pub(super) fn parsed(&self) {
        self.state().parsed = true;
    }

    /// Whether a request was parsed.
    pub(super) fn is_parsed(&self) -> bool {
        self.state().parsed
    }

    /// What is to be said of a connection that ended without a request. `None` where there was one, and where the
    /// client left without having sent a byte or used up its time.
    pub(super) fn unparsed(&self, ended: &Ended, bytes_max: usize) -> Option<Unparsed> {
        let mut state = self.state();
        let timed_out = matches!(ended, Ended::Http(error) if error.is_timeout());
        if state.parsed || (state.received == 0 && !timed_out) {
            return None;
        }
        let line = String::from_utf8_lossy(&state.request_line).into_owned();
        let line = line.lines().next().unwrap_or_default();
        let target = line.strip_prefix("CONNECT ").map(|rest| rest.rsplit_once(' ').map_or(rest, |(target, _)| target));
        let error = match (state.held_back.as_ref(), target.map(Authority::parse)) {
            _ if matches!(ended, Ended::Shutdown) => SessionError::Shutdown,
            _ if timed_out => SessionError::SlowRequest,
            _ if state.ended || matches!(ended, Ended::Closed) => SessionError::Gone,
            _ if state.request_line.first() == Some(&TLS_HANDSHAKE) => SessionError::Malformed(SPEAKS_TLS.to_owned()),
            _ if state.received >= bytes_max => SessionError::LongRequest(bytes_max),
            (Some(b"431" | b"414"), _) => SessionError::LongRequest(bytes_max),
            (_, Some(Err(error))) => SessionError::Target(error),
            _ => SessionError::Malformed(ended.to_string()),
        };
        let stream = state.left.take().filter(|_| !matches!(error, SessionError::Gone));
        Some(Unparsed { stream, target: target.unwrap_or_default().to_owned(), error })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Head {
    /// A connection from which at most `bytes_max` bytes are read until a request is parsed.
    pub(super) fn new(stream: Wire, progress: Arc<Progress>, bytes_max: usize) -> Self {
        Self { stream: Some(stream.take(bytes_max as u64)), progress }
    }

    /// The connection, once it does not speak HTTP any more.
    pub(super) fn into_inner(mut self) -> Option<Wire> {
        self.stream.take().map(Take::into_inner)
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Wire>> {
        self.stream.as_mut().map(|stream| Pin::new(stream.get_mut())).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        let left = self.stream.take();
        self.progress.state().left = left.map(Take::into_inner);
    }
}

impl AsyncRead for Head {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.progress.state().parsed {
            return self.stream()?.poll_read(cx, buffer);
        }
        let Some(stream) = self.stream.as_mut() else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let before = buffer.filled().len();
        if let Err(error) = ready!(Pin::new(&mut *stream).poll_read(cx, buffer)) {
            self.progress.state().ended = true;
            return Poll::Ready(Err(error));
        }
        let exhausted = stream.limit() == 0;
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        let mut state = self.progress.state();
        state.received += fresh.len();
        state.ended = fresh.is_empty() && !exhausted;
        if !state.request_line.contains(&b'\n') {
            let kept = fresh.len().min(REQUEST_LINE_KEPT - state.request_line.len());
            state.request_line.extend_from_slice(&fresh[..kept]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Head {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.progress.state();
        if !state.parsed {
            state.held_back = state.held_back.or_else(|| bytes.get(9..12)?.try_into().ok());
            return Poll::Ready(Ok(bytes.len()));
        }
        drop(state);
        self.stream()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.progress.state().parsed {
            return Poll::Ready(Ok(()));
        }
        self.stream()?.poll_shutdown(cx)
    }
}
