//! The two limits that proxies are measured against, as programs: `blind`, which only copies, and `relay`, the smallest
//! that can re-encrypt. Neither looks up names: the address follows from the name.

mod known;

use crate::Result;
use crate::names::address_of;
use crate::pki::{Chain, root_store};
use known::Known;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ClientConfig, ServerConfig, SignatureScheme};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Longer than any head that the load sends.
const HEAD_MAX: usize = 1_024;

/// What the programs are told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Anchors of the origins
    #[arg(long)]
    pub(crate) roots: PathBuf,
    /// Ready-made certificate and key for all names
    #[arg(long)]
    pub(crate) ecdsa: PathBuf,
    /// The same for clients without ECDSA
    #[arg(long)]
    pub(crate) rsa: PathBuf,
    /// Exchange keys with X25519 alone, for `relay`
    #[arg(long)]
    pub(crate) x25519: bool,
    /// Spare what can be spared: verify each chain once and prefer AES-128 to AES-256, for `relay`
    #[arg(long)]
    pub(crate) least: bool,
}

/// The smallest re-encrypting relay: one thread, no policy, nothing issued, nothing told.
pub(crate) async fn relay(arguments: &Arguments) -> Result<()> {
    let ready_made = ReadyMade { ecdsa: certified(&arguments.ecdsa)?, rsa: certified(&arguments.rsa)? };
    let provider = Arc::new(provider(arguments));
    let anchors = Arc::new(root_store(std::slice::from_ref(&arguments.roots))?);
    let webpki = WebPkiServerVerifier::builder_with_provider(anchors, Arc::clone(&provider)).build()?;
    let verifier: Arc<dyn ServerCertVerifier> = if arguments.least { Arc::new(Known::new(webpki)) } else { webpki };
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut server = server.with_no_client_auth().with_cert_resolver(Arc::new(ready_made));
    server.ignore_client_order = arguments.least;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let relay = Arc::new(Relay {
        acceptor: TlsAcceptor::from(Arc::new(server)),
        h2: connector(&provider, &verifier, &[b"h2"])?,
        h1: connector(&provider, &verifier, &[b"http/1.1"])?,
        bare: connector(&provider, &verifier, &[])?,
    });
    let listener = TcpListener::bind(arguments.listen).await?;
    loop {
        let (client, _) = listener.accept().await?;
        let relay = Arc::clone(&relay);
        tokio::spawn(async move { drop(relay.session(client).await) });
    }
}

/// A CONNECT proxy that looks at nothing.
pub(crate) async fn blind(arguments: &Arguments) -> Result<()> {
    let listener = TcpListener::bind(arguments.listen).await?;
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(async move {
            let (_, mut client, mut upstream) = connect(client).await?;
            copy_bidirectional(&mut client, &mut upstream).await?;
            Result::Ok(())
        });
    }
}

struct Relay {
    acceptor: TlsAcceptor,
    h2: TlsConnector,
    h1: TlsConnector,
    bare: TlsConnector,
}

impl Relay {
    async fn session(&self, client: TcpStream) -> Result<()> {
        let (host, client, upstream) = connect(client).await?;
        let mut client = self.acceptor.accept(client).await?;
        let connector = match client.get_ref().1.alpn_protocol() {
            Some(b"h2") => &self.h2,
            Some(_) => &self.h1,
            None => &self.bare,
        };
        let mut upstream = connector.connect(ServerName::try_from(host)?, upstream).await?;
        copy_bidirectional(&mut client, &mut upstream).await?;
        Ok(())
    }
}

/// As rustls has it, but for what is asked for.
fn provider(arguments: &Arguments) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if arguments.x25519 {
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    }
    if arguments.least {
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    }
    provider
}

fn connector(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<dyn ServerCertVerifier>,
    alpn: &[&[u8]],
) -> Result<TlsConnector> {
    let config = ClientConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::clone(verifier));
    let mut config = config.with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Takes the CONNECT, dials, and answers it.
async fn connect(mut client: TcpStream) -> Result<(String, TcpStream, TcpStream)> {
    client.set_nodelay(true)?;
    let mut head = [0; HEAD_MAX];
    let mut length = 0;
    while !head[..length].ends_with(b"\r\n\r\n") {
        match client.read(&mut head[length..]).await? {
            0 => return Err("no whole head".into()),
            read => length += read,
        }
    }
    let head = std::str::from_utf8(&head[..length])?;
    let authority = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).ok_or("no CONNECT")?;
    let (host, port) = authority.rsplit_once(':').ok_or("no port")?;
    let address = address_of(host).ok_or("a name of no origin")?;
    let upstream = TcpStream::connect((address, port.parse()?)).await?;
    upstream.set_nodelay(true)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    Ok((host.to_owned(), client, upstream))
}

fn certified(path: &std::path::Path) -> Result<Arc<CertifiedKey>> {
    let Chain { certificates, key } = Chain::load(path)?;
    Ok(Arc::new(CertifiedKey::new(certificates, any_supported_type(&key)?)))
}

/// One certificate for clients that take ECDSA, one for those that do not.
#[derive(Debug)]
struct ReadyMade {
    ecdsa: Arc<CertifiedKey>,
    rsa: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ReadyMade {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let takes_ecdsa = hello.signature_schemes().contains(&SignatureScheme::ECDSA_NISTP256_SHA256);
        Some(Arc::clone(if takes_ecdsa { &self.ecdsa } else { &self.rsa }))
    }
}
