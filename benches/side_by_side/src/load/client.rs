//! A client: a connection to the proxy, CONNECT, TLS that trusts the proxy's CA, and HTTP/1.1 on it.

use crate::Result;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A session that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(10);
/// The head of an answer is shorter.
const HEAD_MAX: usize = 4_096;

/// How a proxy is asked for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// With CONNECT.
    Connect,
    /// By the server name of a TLS session with the proxy itself.
    Direct,
}

/// Which signatures a client can verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepts {
    All,
    RsaOnly,
}

/// What all sessions of a measurement share.
pub(crate) struct Client {
    proxy: SocketAddr,
    reach: Reach,
    h1: TlsConnector,
    h2: TlsConnector,
}

/// A session with an origin through a proxy.
pub(crate) struct Tunnel {
    pub(super) stream: TlsStream<TcpStream>,
    host: String,
}

impl Client {
    pub(crate) fn new(proxy: SocketAddr, reach: Reach, roots: RootCertStore, accepts: Accepts) -> Result<Arc<Self>> {
        let mut provider = aws_lc_rs::default_provider();
        if accepts == Accepts::RsaOnly {
            keep_rsa(&mut provider);
        }
        let (provider, roots) = (Arc::new(provider), Arc::new(roots));
        let connector = |protocol: &[u8]| -> Result<TlsConnector> {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
            let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(Arc::clone(&roots));
            let mut config = builder.with_no_client_auth();
            config.resumption = Resumption::disabled();
            config.alpn_protocols = vec![protocol.to_vec()];
            Ok(TlsConnector::from(Arc::new(config)))
        };
        Ok(Arc::new(Self { proxy, reach, h1: connector(b"http/1.1")?, h2: connector(b"h2")? }))
    }

    /// A tunnel to a host for HTTP/1.1.
    pub(crate) async fn open(&self, host: String) -> Result<Tunnel> {
        in_time(self.open_with(host, &self.h1)).await
    }

    /// A tunnel to a host for HTTP/2.
    pub(crate) async fn open_h2(&self, host: String) -> Result<Tunnel> {
        in_time(self.open_with(host, &self.h2)).await
    }

    async fn open_with(&self, host: String, connector: &TlsConnector) -> Result<Tunnel> {
        let mut stream = TcpStream::connect(self.proxy).await?;
        stream.set_nodelay(true)?;
        if self.reach == Reach::Connect {
            let head = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            // No octet of TLS comes before the client's own.
            let (head, _) = read_head(&mut stream).await?;
            if !is_success(&head) {
                let line = head.lines().next().unwrap_or_default();
                return Err(format!("the CONNECT is answered with {line:?}").into());
            }
        }
        let stream = connector.connect(ServerName::try_from(host.clone())?, stream).await?;
        Ok(Tunnel { stream, host })
    }

    /// One whole session, and how long it took up to the answer.
    pub(crate) async fn session(&self, host: String) -> Result<Duration> {
        let started = std::time::Instant::now();
        let mut tunnel = self.open(host).await?;
        in_time(tunnel.get()).await?;
        let taken = started.elapsed();
        in_time(tunnel.close()).await?;
        Ok(taken)
    }
}

impl Tunnel {
    /// One small request and its answer.
    pub(crate) async fn get(&mut self) -> Result<()> {
        let length = self.request("GET", "/", "").await?;
        let mut body = [0; crate::origin::SMALL.len()];
        self.stream.read_exact(body.get_mut(..length).ok_or("a longer answer than expected")?).await?;
        Ok(())
    }

    /// Sends a head with further fields, and takes the head of the answer. Gives the length of the body to come.
    pub(super) async fn request(&mut self, method: &str, path: &str, fields: &str) -> Result<usize> {
        self.send_head(method, path, fields).await?;
        self.answer().await
    }

    pub(super) async fn send_head(&mut self, method: &str, path: &str, fields: &str) -> Result<()> {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", self.host);
        Ok(self.stream.write_all(head.as_bytes()).await?)
    }

    /// Takes the head of an answer. Gives how much of the body is still to be read.
    pub(super) async fn answer(&mut self) -> Result<usize> {
        let (head, beyond) = read_head(&mut self.stream).await?;
        if !is_success(&head) {
            return Err(format!("a request is answered with {:?}", head.lines().next().unwrap_or_default()).into());
        }
        let is_length = |line: &&str| line.to_ascii_lowercase().starts_with("content-length:");
        let length = head.lines().find(is_length).and_then(|line| line.split_once(':')?.1.trim().parse().ok());
        let length: usize = length.ok_or("an answer without Content-Length")?;
        length.checked_sub(beyond).ok_or_else(|| "more than one answer".into())
    }

    /// Says goodbye and waits until the other side has.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.stream.shutdown().await?;
        let mut rest = [0; 64];
        // Whether the proxy ends with close_notify or without is not what is measured here.
        while matches!(self.stream.read(&mut rest).await, Ok(1..)) {}
        Ok(())
    }
}

/// Bounds an operation.
pub(super) async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(DEADLINE, work).await.map_err(|_| format!("nothing within {DEADLINE:?}"))?
}

fn is_success(head: &str) -> bool {
    head.split(' ').nth(1) == Some("200")
}

/// A head up to its empty line, and how many octets came behind it.
async fn read_head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<(String, usize)> {
    let mut head = vec![0; HEAD_MAX];
    let mut length = 0;
    loop {
        let read = stream.read(&mut head[length..]).await?;
        if read == 0 {
            return Err("the connection ends before the answer".into());
        }
        length += read;
        if let Some(end) = head[..length].windows(4).position(|four| four == b"\r\n\r\n") {
            let beyond = length - end - 4;
            head.truncate(end + 2);
            return Ok((String::from_utf8(head)?, beyond));
        }
    }
}

/// Leaves a provider without any signature but RSA's, as old clients are.
fn keep_rsa(provider: &mut CryptoProvider) {
    const RSA: [SignatureScheme; 6] = [
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PSS_SHA384,
        SignatureScheme::RSA_PSS_SHA512,
        SignatureScheme::RSA_PKCS1_SHA256,
        SignatureScheme::RSA_PKCS1_SHA384,
        SignatureScheme::RSA_PKCS1_SHA512,
    ];
    let all = provider.signature_verification_algorithms.mapping;
    let kept: Vec<_> = all.iter().filter(|(scheme, _)| RSA.contains(scheme)).copied().collect();
    let algorithms = kept.iter().flat_map(|(_, algorithms)| algorithms.iter().copied()).collect::<Vec<_>>();
    // They are wanted for as long as the program runs, once a measurement.
    provider.signature_verification_algorithms.mapping = kept.leak();
    provider.signature_verification_algorithms.all = algorithms.leak();
}
