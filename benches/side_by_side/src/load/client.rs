//! A client: a connection to the proxy, CONNECT, TLS that trusts the proxy's CA, and HTTP/1.1 on it.

use crate::Result;
use crate::origin::SMALL;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A session that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(10);
/// Heads and small answers fit; larger reads pass it by.
const BUFFER: usize = 1_024;
/// Bytes that are read or written at once.
pub(super) const PIECE: usize = 64 * 1024;

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
    pub(super) stream: BufReader<TlsStream<TcpStream>>,
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
            // No octet of TLS comes before the client's own, so nothing is left in the buffer.
            let head = read_head(&mut BufReader::new(&mut stream)).await?;
            if !is_success(&head) {
                let line = head.lines().next().unwrap_or_default();
                return Err(format!("the CONNECT is answered with {line:?}").into());
            }
        }
        let stream = connector.connect(ServerName::try_from(host.clone())?, stream).await?;
        Ok(Tunnel { stream: BufReader::with_capacity(BUFFER, stream), host })
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
        self.send_head("GET", "/", "").await?;
        self.answer(SMALL.len()).await
    }

    pub(super) async fn send_head(&mut self, method: &str, path: &str, fields: &str) -> Result<()> {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", self.host);
        Ok(self.stream.write_all(head.as_bytes()).await?)
    }

    /// Takes an answer, whose content has to be so long (RFC 9112 section 6).
    pub(super) async fn answer(&mut self, expected: usize) -> Result<()> {
        let head = read_head(&mut self.stream).await?;
        if !is_success(&head) {
            return Err(format!("a request is answered with {:?}", head.lines().next().unwrap_or_default()).into());
        }
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let length = match length {
            Some(length) => self.skip(length).await?,
            None => self.skip_chunks().await?,
        };
        if length == expected { Ok(()) } else { Err(format!("{length} octets came instead of {expected}").into()) }
    }

    async fn skip_chunks(&mut self) -> Result<usize> {
        let mut all = 0;
        let mut line = String::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line).await?;
            let size = usize::from_str_radix(line.trim_end(), 16).map_err(|_| "no length and no chunks")?;
            all += self.skip(size).await?;
            self.stream.read_line(&mut line).await?;
            if size == 0 {
                return Ok(all);
            }
        }
    }

    async fn skip(&mut self, length: usize) -> Result<usize> {
        let mut buffer = vec![0; length.min(PIECE)];
        let mut left = length;
        while left > 0 {
            let most = left.min(PIECE);
            match self.stream.read(&mut buffer[..most]).await? {
                0 => return Err(format!("the content ends {left} octets early").into()),
                read => left -= read,
            }
        }
        Ok(length)
    }

    /// Says goodbye and waits until the other side has; not bounded in time.
    pub(super) async fn close(mut self) -> Result<()> {
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

/// A head up to its empty line.
async fn read_head(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Err("the connection ends before the answer".into());
        }
    }
    Ok(head)
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
