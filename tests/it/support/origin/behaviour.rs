//! What an origin does with a connection.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::tally::{End, Failure, Log};
use crate::support::client::http::{Head, content_length, head_length};
use crate::support::pki::hex;
use sha2::{Digest as _, Sha256};

/// How an origin treats each connection.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Sends back what it receives, and its own `close_notify` after the peer's.
    Echo,
    /// Answers every HTTP/1.x request with 200 and a body of one line: method, target and `Host`, separated by spaces.
    /// Keeps the connection unless the request says `Connection: close` or HTTP/1.0.
    Http1,
    /// Speaks first: sends these bytes and ends its direction, with `close_notify` or (`clean: false`) without one.
    SendThenClose { bytes: Vec<u8>, clean: bool },
    /// Reads until the peer closes cleanly, then answers with the count of bytes in decimal digits and closes.
    HalfClose,
    /// Reads until the peer closes cleanly, then answers with the SHA-256 of what came, in hexadecimal, and closes.
    Digest,
    /// Reads for ever and says nothing.
    Drain,
    /// Sends this many bytes, see [`pattern`], and closes cleanly.
    Download(usize),
    /// Reads something and resets the TCP connection.
    Reset,
    /// Accepts the TCP connection and stays silent.
    NeverHandshake,
    /// Sends these bytes without TLS and ends its direction.
    PlainText(Vec<u8>),
    /// Hangs up at once; whether the peer sees an end or a reset depends on what it had sent by then.
    CloseAtOnce,
}

/// The bytes that [`Behaviour::Download`] sends, from `offset` on: easy to check at any place.
pub(crate) fn pattern(offset: usize, length: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..251).collect();
    let start = offset % period.len();
    let mut bytes = period.repeat((start + length).div_ceil(period.len()));
    bytes.truncate(start + length);
    bytes.split_off(start)
}

/// Says something or nothing in clear text, then waits for the peer to leave.
pub(super) async fn without_tls(mut tcp: TcpStream, say: Option<&[u8]>) -> End {
    let talk = async {
        if let Some(bytes) = say {
            tcp.write_all(bytes).await?;
            tcp.shutdown().await?;
        }
        tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await
    };
    match talk.await {
        Ok(_) => End::WithoutTls,
        Err(error) => End::Failed(Failure::from(&error)),
    }
}

/// A connection after its handshake. Every read is entered into the log; `Err` is how the peer ended it.
pub(super) struct Conversation {
    stream: TlsStream<TcpStream>,
    log: Log,
    index: usize,
}

impl Conversation {
    pub(super) fn new(stream: TlsStream<TcpStream>, log: Log, index: usize) -> Self {
        Self { stream, log, index }
    }

    pub(super) async fn run(mut self, behaviour: Behaviour) -> End {
        let end = match self.behave(behaviour).await {
            // Reading on to the peer's end tells how it ended, and avoids the reset that unread bytes would cause.
            Ok(()) => self.drain().await,
            Err(end) => end,
        };
        if end == End::PeerClosed {
            // The peer may be gone already; then nobody misses our close_notify.
            self.stream.shutdown().await.ok();
        }
        end
    }

    async fn behave(&mut self, behaviour: Behaviour) -> Result<(), End> {
        match behaviour {
            Behaviour::Echo => self.echo().await,
            Behaviour::Http1 => self.http1().await,
            Behaviour::HalfClose => self.count_until_closed().await,
            Behaviour::Digest => self.digest_until_closed().await,
            Behaviour::SendThenClose { bytes, clean: true } => {
                self.write(&bytes).await?;
                self.close().await
            }
            Behaviour::SendThenClose { bytes, clean: false } => {
                self.write(&bytes).await?;
                self.stream.get_mut().0.shutdown().await.map_err(failed)
            }
            Behaviour::Download(length) => self.download(length).await,
            Behaviour::Drain => Ok(()),
            Behaviour::Reset => {
                self.read().await?;
                self.stream.get_ref().0.set_zero_linger().map_err(failed)?;
                Err(End::Closed)
            }
            Behaviour::NeverHandshake | Behaviour::PlainText(_) | Behaviour::CloseAtOnce => {
                unreachable!("these behaviours never come to a handshake")
            }
        }
    }

    async fn echo(&mut self) -> Result<(), End> {
        loop {
            let bytes = self.read().await?;
            self.write(&bytes).await?;
        }
    }

    async fn count_until_closed(&mut self) -> Result<(), End> {
        let mut count = 0;
        loop {
            match self.read().await {
                Ok(bytes) => count += bytes.len(),
                Err(End::PeerClosed) => break,
                Err(end) => return Err(end),
            }
        }
        self.write(count.to_string().as_bytes()).await?;
        self.close().await?;
        Err(End::PeerClosed)
    }

    async fn digest_until_closed(&mut self) -> Result<(), End> {
        let mut digest = Sha256::new();
        loop {
            match self.read().await {
                Ok(bytes) => digest.update(&bytes),
                Err(End::PeerClosed) => break,
                Err(end) => return Err(end),
            }
        }
        self.write(hex(&digest.finalize()).as_bytes()).await?;
        self.close().await?;
        Err(End::PeerClosed)
    }

    async fn download(&mut self, length: usize) -> Result<(), End> {
        const PIECE: usize = 64 * 1024;
        for offset in (0..length).step_by(PIECE) {
            self.write(&pattern(offset, PIECE.min(length - offset))).await?;
        }
        self.close().await
    }

    async fn http1(&mut self) -> Result<(), End> {
        let mut buffer = Vec::new();
        loop {
            let Some(head) = self.request(&mut buffer).await? else {
                self.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await?;
                return self.close().await;
            };
            let [method, target, version] = &head.start;
            let body = format!("{method} {target} {}\n", head.header("host").unwrap_or("-"));
            let close = version == "HTTP/1.0"
                || head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
            let connection = if close { "Connection: close\r\n" } else { "" };
            let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{connection}\r\n{body}", body.len());
            self.write(reply.as_bytes()).await?;
            if close {
                return self.close().await;
            }
        }
    }

    /// Reads one request and forgets its body; `None` when it cannot be read as one.
    async fn request(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Head>, End> {
        let length = loop {
            match head_length(buffer) {
                Some(length) => break length,
                None => buffer.extend(self.read().await?),
            }
        };
        let Ok(head) = Head::parse(&buffer[..length]) else { return Ok(None) };
        let Ok(body) = content_length(&head.headers) else { return Ok(None) };
        let length = length + body.unwrap_or(0);
        while buffer.len() < length {
            buffer.extend(self.read().await?);
        }
        buffer.drain(..length);
        Ok(Some(head))
    }

    /// Reads and forgets until the peer ends.
    async fn drain(&mut self) -> End {
        loop {
            if let Err(end) = self.read().await {
                return end;
            }
        }
    }

    async fn read(&mut self) -> Result<Vec<u8>, End> {
        let mut bytes = vec![0; 16 * 1024];
        match self.stream.read(&mut bytes).await {
            Ok(0) => Err(End::PeerClosed),
            Ok(length) => {
                bytes.truncate(length);
                self.log.received(self.index, &bytes);
                Ok(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(End::PeerTruncated),
            Err(error) => Err(failed(error)),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.stream.write_all(bytes).await.map_err(failed)?;
        self.stream.flush().await.map_err(failed)
    }

    /// Sends `close_notify` and ends the sending direction.
    async fn close(&mut self) -> Result<(), End> {
        self.stream.shutdown().await.map_err(failed)
    }
}

// By value, as `map_err` passes it.
#[allow(clippy::needless_pass_by_value)]
fn failed(error: io::Error) -> End {
    End::Failed(Failure::from(&error))
}
