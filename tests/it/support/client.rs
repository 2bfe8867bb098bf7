//! A client that sends exactly the bytes a test asks for and says exactly what came back.
//!
//! ```ignore
//! let mut client = RawClient::connect(proxy.addr()).await?;
//! client.send(b"CONNECT api.bank.example:443 HTTP/1.1\r\n\r\n").await?;
//! assert_eq!(client.read_reply().await?.status, 200);
//! let tls = client.tls(&ClientTls::to("api.bank.example").trusting([&ca]).build()).await?;
//! ```
//! Nothing here panics over what a peer does: end of file, deadlines and alerts are outcomes to assert on.

mod hello;
pub(crate) mod http;
mod settings;
mod stream;
mod tls;

pub(crate) use hello::{client_hello_bytes, pieces, refragment};
pub(crate) use http::Reply;
pub(crate) use settings::{ClientTls, ClientTlsBuilder, Sni};
pub(crate) use tls::{Ending, TlsClient, TlsFailure};

use std::{
    error::Error,
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::{DEADLINE, within_deadline};

/// Why a step of the client brought no result.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The peer ended its direction; these bytes had come before.
    Eof { got: Vec<u8> },
    /// Nothing within the deadline.
    Timeout { during: &'static str },
    /// The system's error: refused, reset.
    Io { during: &'static str, error: io::Error },
    /// What came is not what the step reads.
    Malformed(String),
}

impl Fault {
    /// Whether the peer ended its direction without another byte.
    pub(crate) fn is_bare_eof(&self) -> bool {
        matches!(self, Self::Eof { got } if got.is_empty())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eof { got } => write!(out, "end of file after {:?}", String::from_utf8_lossy(got)),
            Self::Timeout { during } => write!(out, "{during}: nothing within {DEADLINE:?}"),
            Self::Io { during, error } => write!(out, "{during}: {error}"),
            Self::Malformed(what) => write!(out, "malformed: {what}"),
        }
    }
}

impl Error for Fault {}

/// Runs one step of input or output within the deadline.
async fn step<T>(during: &'static str, work: impl Future<Output = io::Result<T>>) -> Result<T, Fault> {
    match within_deadline(work).await {
        Some(result) => result.map_err(|error| Fault::Io { during, error }),
        None => Err(Fault::Timeout { during }),
    }
}

/// A TCP connection, usually to the proxy.
#[derive(Debug)]
pub(crate) struct RawClient {
    tcp: TcpStream,
    /// Bytes received after those that a step has consumed.
    ahead: Vec<u8>,
}

impl RawClient {
    /// Connects; every later write goes out at once (`TCP_NODELAY`).
    pub(crate) async fn connect(addr: SocketAddr) -> Result<Self, Fault> {
        let tcp = step("connect", TcpStream::connect(addr)).await?;
        tcp.set_nodelay(true).map_err(|error| Fault::Io { during: "set TCP_NODELAY", error })?;
        Ok(Self { tcp, ahead: Vec::new() })
    }

    /// Connects from another address of this machine, as another client; 127.0.0.0/8 is all loopback on Linux.
    pub(crate) async fn connect_from(source: IpAddr, addr: SocketAddr) -> Result<Self, Fault> {
        let failed = |error| Fault::Io { during: "bind", error };
        let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
        socket.bind(SocketAddr::new(source, 0)).map_err(failed)?;
        let tcp = step("connect", socket.connect(addr)).await?;
        tcp.set_nodelay(true).map_err(|error| Fault::Io { during: "set TCP_NODELAY", error })?;
        Ok(Self { tcp, ahead: Vec::new() })
    }

    /// The address of this end.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Sends these bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        step("send", self.tcp.write_all(bytes)).await
    }

    /// Sends these bytes with one write per piece of `length` bytes.
    pub(crate) async fn send_in_pieces(&mut self, bytes: &[u8], length: usize) -> Result<(), Fault> {
        for piece in bytes.chunks(length) {
            self.send(piece).await?;
            // Lets the peer run between two pieces, where it shares this thread.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Sends a CONNECT request for this authority (`host:port`) and reads the reply.
    pub(crate) async fn connect_to(&mut self, authority: &str) -> Result<Reply, Fault> {
        self.send(connect_request(authority).as_bytes()).await?;
        self.read_reply().await
    }

    /// Reads the head and the body of one reply and keeps what follows.
    pub(crate) async fn read_reply(&mut self) -> Result<Reply, Fault> {
        http::read_reply(&mut self.tcp, &mut self.ahead).await
    }

    /// Reads whatever comes next, at least one byte.
    pub(crate) async fn read_some(&mut self) -> Result<Vec<u8>, Fault> {
        if !self.ahead.is_empty() {
            return Ok(std::mem::take(&mut self.ahead));
        }
        let mut bytes = vec![0; 16 * 1024];
        let length = step("read", self.tcp.read(&mut bytes)).await?;
        bytes.truncate(length);
        if bytes.is_empty() { Err(Fault::Eof { got: bytes }) } else { Ok(bytes) }
    }

    /// Reads exactly `length` bytes.
    pub(crate) async fn read_exact(&mut self, length: usize) -> Result<Vec<u8>, Fault> {
        while self.ahead.len() < length {
            if step("read", self.tcp.read_buf(&mut self.ahead)).await? == 0 {
                return Err(Fault::Eof { got: std::mem::take(&mut self.ahead) });
            }
        }
        let rest = self.ahead.split_off(length);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    /// Reads until the peer ends its direction; a reset is a [`Fault::Io`].
    pub(crate) async fn read_to_end(&mut self) -> Result<Vec<u8>, Fault> {
        let mut bytes = std::mem::take(&mut self.ahead);
        step("read to end", self.tcp.read_to_end(&mut bytes)).await?;
        Ok(bytes)
    }

    /// Ends the sending direction of the TCP connection.
    pub(crate) async fn shutdown(&mut self) -> Result<(), Fault> {
        step("shut down", self.tcp.shutdown()).await
    }

    /// Ends the TCP connection with a reset.
    pub(crate) fn reset(self) -> Result<(), Fault> {
        self.tcp.set_zero_linger().map_err(|error| Fault::Io { during: "set SO_LINGER", error })
    }

    /// Speaks TLS from here on.
    pub(crate) async fn tls(self, tls: &ClientTls) -> Result<TlsClient, TlsFailure> {
        self.tls_delivering(tls, |hello| vec![hello]).await
    }

    /// Speaks TLS from here on and delivers its `ClientHello` in these writes, e.g. [`refragment`]ed or in [`pieces`].
    pub(crate) async fn tls_delivering(
        self,
        tls: &ClientTls,
        deliver: impl FnOnce(Vec<u8>) -> Vec<Vec<u8>>,
    ) -> Result<TlsClient, TlsFailure> {
        let (mut connect, hello) = tls.begin(self);
        if let Some(client) = connect.get_mut() {
            for write in deliver(hello) {
                client.send(&write).await?;
                tokio::task::yield_now().await;
            }
        }
        tls::finish(connect).await
    }

    /// Sends a CONNECT request and the `ClientHello` in one write, as an impatient client does. Unless the reply is
    /// 200, the handshake is not waited for and there is only the reply.
    pub(crate) async fn connect_and_tls_at_once(
        self,
        authority: &str,
        tls: &ClientTls,
    ) -> Result<(Reply, Option<Result<TlsClient, TlsFailure>>), Fault> {
        let (mut connect, hello) = tls.begin(self);
        let Some(client) = connect.get_mut() else {
            return Err(Fault::Malformed("a handshake that is over before it began".to_owned()));
        };
        client.send(&[connect_request(authority).into_bytes(), hello].concat()).await?;
        let reply = client.read_reply().await?;
        if reply.status != 200 {
            return Ok((reply, None));
        }
        Ok((reply, Some(tls::finish(connect).await)))
    }
}

/// The request that [`RawClient::connect_to`] sends.
pub(crate) fn connect_request(authority: &str) -> String {
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n")
}
