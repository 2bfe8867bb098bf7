//! A parent proxy that does as a script says, and notes what it is asked.

use super::pki::Chain;
use super::{provider, within_deadline};
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// What a parent does with a connection, one step after the other; then it closes it.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads up to an empty line.
    Head,
    /// Reads this many octets.
    Read(usize),
    /// Reads a SOCKS5 request.
    Request,
    /// Writes these octets in one piece.
    Write(Vec<u8>),
    /// Connects to this port of 127.0.0.1, and passes on what both say from then on.
    Relay(u16),
    /// Says nothing more, until the other side ends.
    Wait,
}

/// The steps of a parent that takes CONNECT and connects to this port.
pub(crate) fn connects(port: u16) -> Vec<Step> {
    vec![Step::Head, Step::Write(b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec()), Step::Relay(port)]
}

/// The steps of a parent that takes CONNECT and answers with these octets.
pub(crate) fn answers(octets: impl Into<Vec<u8>>) -> Vec<Step> {
    vec![Step::Head, Step::Write(octets.into())]
}

/// One that takes SOCKS5 without a password.
pub(crate) fn socks(port: u16) -> Vec<Step> {
    vec![Step::Read(3), Step::Write(vec![5, 0]), Step::Request, Step::Write(SOCKS_DONE.to_vec()), Step::Relay(port)]
}

/// What a SOCKS5 proxy says when it has connected.
pub(crate) const SOCKS_DONE: &[u8] = &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

/// What a parent was asked, a connection each.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Who asked.
    pub(crate) from: SocketAddr,
    /// What it read by its steps.
    pub(crate) read: Vec<u8>,
}

impl Asked {
    /// The lines of a head, in lower case but for the values.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.read).into_owned();
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }

    /// Its first line.
    pub(crate) fn line(&self) -> String {
        String::from_utf8_lossy(&self.read).lines().next().unwrap_or_default().to_owned()
    }
}

/// A running parent; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct ParentServer {
    pub(crate) addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl ParentServer {
    /// In the clear.
    pub(crate) async fn start(steps: Vec<Step>) -> Self {
        Self::begin(steps, None).await
    }

    /// Inside TLS, with this chain.
    pub(crate) async fn start_tls(steps: Vec<Step>, chain: &Chain) -> Self {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .expect("versions")
            .with_client_cert_verifier(WebPkiClientVerifier::no_client_auth())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(chain.certified_key())));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Self::begin(steps, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn begin(steps: Vec<Step>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, from)) = listener.accept().await {
                let (steps, tls, noted) = (steps.clone(), tls.clone(), Arc::clone(&noted));
                let index = {
                    let mut noted = noted.lock().expect("the list");
                    noted.push(Asked { from, read: Vec::new() });
                    noted.len() - 1
                };
                connections.spawn(async move {
                    let stream: Box<dyn Stream> = match tls {
                        None => Box::new(tcp),
                        Some(acceptor) => match acceptor.accept(tcp).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                    };
                    follow(stream, steps, &noted, index).await;
                });
            }
        });
        Self { addr, asked, serving }
    }

    /// As `[upstream] parent` has it.
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.addr)
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("the list").clone()
    }
}

impl Drop for ParentServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn follow(mut stream: Box<dyn Stream>, steps: Vec<Step>, noted: &Mutex<Vec<Asked>>, index: usize) {
    let note = |octets: &[u8]| noted.lock().expect("the list")[index].read.extend_from_slice(octets);
    for step in steps {
        match step {
            Step::Head => {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(octet) => head.push(octet),
                        Err(_) => return,
                    }
                }
                note(&head);
            }
            Step::Read(length) => {
                let mut octets = vec![0; length];
                if stream.read_exact(&mut octets).await.is_err() {
                    return;
                }
                note(&octets);
            }
            Step::Request => {
                let mut start = [0; 5];
                if stream.read_exact(&mut start).await.is_err() {
                    return;
                }
                let rest = match start[3] {
                    1 => 5,
                    4 => 17,
                    _ => usize::from(start[4]) + 2,
                };
                let mut octets = vec![0; rest];
                if stream.read_exact(&mut octets).await.is_err() {
                    return;
                }
                note(&[&start[..], &octets].concat());
            }
            Step::Write(octets) => {
                if stream.write_all(&octets).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
            Step::Relay(port) => {
                let Ok(mut upstream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
                drop(copy_bidirectional(&mut stream, &mut upstream).await);
                return;
            }
            Step::Wait => {
                let mut rest = Vec::new();
                drop(stream.read_to_end(&mut rest).await);
                note(&rest);
            }
        }
    }
    // What is not read is no reset.
    drop(stream.shutdown().await);
    drop(within_deadline(stream.read_to_end(&mut Vec::new())).await);
}
