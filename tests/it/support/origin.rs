//! A TLS server inside the test process that counts everything a test may want to know.
//!
//! ```ignore
//! let origin = Origin::start(OriginConfig::new(chain).alpn(&["h2"]).behaviour(Behaviour::Echo)).await;
//! // … connect to origin.addr() …
//! let tally = origin.until("one connection ends", |tally| tally.ended() == 1).await?;
//! ```

mod behaviour;
mod tally;

pub(crate) use behaviour::{Behaviour, pattern};
pub(crate) use tally::{Connection, End, Failure, Tally};

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs::Ticketer,
    server::{Acceptor, NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier},
    sign::SingleCertAndKey,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::LazyConfigAcceptor;

use self::{behaviour::Conversation, tally::Log};
use super::{
    pki::{Ca, Chain, root_store},
    provider, within_deadline,
};

/// What an origin presents and how it behaves.
#[derive(Clone, Debug)]
#[must_use]
pub(crate) struct OriginConfig {
    chains: Vec<Chain>,
    behaviour: Behaviour,
    alpn: Vec<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
    tickets: bool,
    ipv6: bool,
    one_at_a_time: bool,
    client_roots: Option<RootCertStore>,
}

impl OriginConfig {
    /// Presents `chain`, speaks TLS 1.2 and 1.3 without ALPN, resumes sessions, and echoes.
    pub(crate) fn new(chain: Chain) -> Self {
        Self {
            chains: vec![chain],
            behaviour: Behaviour::Echo,
            alpn: Vec::new(),
            versions: rustls::ALL_VERSIONS.to_vec(),
            tickets: true,
            ipv6: false,
            one_at_a_time: false,
            client_roots: None,
        }
    }

    /// Behaves like this once the handshake is done, or instead of one.
    pub(crate) fn behaviour(mut self, behaviour: Behaviour) -> Self {
        self.behaviour = behaviour;
        self
    }

    /// Presents this chain on the next connection and all after it: the first call decides about the second connection.
    pub(crate) fn then(mut self, chain: Chain) -> Self {
        self.chains.push(chain);
        self
    }

    /// Chooses among these protocols, in this order, and refuses a peer that offers none of them.
    pub(crate) fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    /// Speaks these TLS versions only.
    pub(crate) fn versions(mut self, versions: &[&'static SupportedProtocolVersion]) -> Self {
        self.versions = versions.to_vec();
        self
    }

    /// Lets peers resume sessions (the default) or not. Sessions survive a change of the chain.
    pub(crate) fn tickets(mut self, tickets: bool) -> Self {
        self.tickets = tickets;
        self
    }

    /// Listens on `[::1]` instead of `127.0.0.1`.
    pub(crate) fn ipv6(mut self) -> Self {
        self.ipv6 = true;
        self
    }

    /// Serves a connection only when the one before it has ended, as small devices do.
    pub(crate) fn one_at_a_time(mut self) -> Self {
        self.one_at_a_time = true;
        self
    }

    /// Requires peers to have a certificate of this authority.
    pub(crate) fn client_certificates(mut self, authority: &Ca) -> Self {
        self.client_roots = Some(root_store([authority]));
        self
    }

    /// One server configuration per chain; all share one ticket key, so a session of one resumes with any.
    fn server_configs(&self) -> Vec<Arc<ServerConfig>> {
        let ticketer = Ticketer::new().expect("aws-lc makes ticket keys");
        let sessions = ServerSessionMemoryCache::new(64);
        let build = |chain: &Chain| {
            let verifier = self.client_roots.clone().map(|roots| {
                let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                builder.build().expect("there is an authority")
            });
            let mut config = ServerConfig::builder_with_provider(provider())
                .with_protocol_versions(&self.versions)
                .expect("the provider speaks the versions asked for")
                .with_client_cert_verifier(verifier.unwrap_or_else(WebPkiClientVerifier::no_client_auth))
                .with_cert_resolver(Arc::new(SingleCertAndKey::from(chain.certified_key())));
            config.alpn_protocols.clone_from(&self.alpn);
            if self.tickets {
                config.ticketer = Arc::clone(&ticketer);
                config.session_storage = sessions.clone();
            } else {
                config.send_tls13_tickets = 0;
                config.session_storage = Arc::new(NoServerSessionStorage {});
            }
            Arc::new(config)
        };
        self.chains.iter().map(build).collect()
    }
}

/// A running origin; dropping it ends the listener and every connection.
#[derive(Debug)]
pub(crate) struct Origin {
    addr: SocketAddr,
    log: Log,
    listener: JoinHandle<()>,
}

impl Origin {
    /// Starts on a free port of the loopback address.
    pub(crate) async fn start(config: OriginConfig) -> Self {
        Self::try_start(config).await.expect("the loopback address has a free port")
    }

    /// Like [`Origin::start`], for `[::1]` on machines that may have no IPv6.
    pub(crate) async fn try_start(config: OriginConfig) -> io::Result<Self> {
        let ip = if config.ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let listener = TcpListener::bind(SocketAddr::new(ip, 0)).await?;
        let addr = listener.local_addr()?;
        let log = Log::default();
        let listener = tokio::spawn(accept(listener, config.server_configs(), config, log.clone()));
        Ok(Self { addr, log, listener })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.addr.port()
    }

    /// What it has seen so far.
    pub(crate) fn tally(&self) -> Tally {
        self.log.tally()
    }

    /// Waits until what it has seen satisfies `condition`; `what` says in the error what was waited for.
    pub(crate) async fn until(&self, what: &str, condition: impl FnMut(&Tally) -> bool) -> Result<Tally, String> {
        match within_deadline(self.log.until(condition)).await {
            Some(tally) => Ok(tally),
            None => Err(format!("waited in vain until {what}; the origin saw {:#?}", self.tally())),
        }
    }

    /// Waits until `count` connections have ended, in whatever way.
    pub(crate) async fn until_ended(&self, count: usize) -> Result<Tally, String> {
        self.until(&format!("{count} connections end"), |tally| tally.ended() >= count).await
    }

    /// Waits until one handshake has failed, and tells how.
    pub(crate) async fn until_handshake_failed(&self) -> Result<Failure, String> {
        let tally = self.until("a handshake fails", |tally| tally.handshakes_failed() > 0).await?;
        tally.handshake_failures().next().cloned().ok_or_else(|| "no failure".to_owned())
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // The task owns the set of connections, which end with it.
        self.listener.abort();
    }
}

async fn accept(listener: TcpListener, configs: Vec<Arc<ServerConfig>>, config: OriginConfig, log: Log) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if !config.one_at_a_time || connections.is_empty() => {
                // An error here belongs to a connection that died in the backlog.
                let Ok((tcp, _)) = accepted else { continue };
                let index = log.opened();
                let presented = Arc::clone(&configs[index.min(configs.len() - 1)]);
                let (behaviour, log) = (config.behaviour.clone(), log.clone());
                connections.spawn(async move {
                    let end = serve(tcp, presented, behaviour, &log, index).await;
                    log.ended(index, end);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(tcp: TcpStream, config: Arc<ServerConfig>, behaviour: Behaviour, log: &Log, index: usize) -> End {
    if tcp.set_nodelay(true).is_err() {
        return End::Closed;
    }
    match behaviour {
        Behaviour::CloseAtOnce => End::Closed,
        Behaviour::NeverHandshake => behaviour::without_tls(tcp, None).await,
        Behaviour::PlainText(bytes) => behaviour::without_tls(tcp, Some(&bytes)).await,
        behaviour => match handshake(tcp, config, log, index).await {
            Ok(conversation) => conversation.run(behaviour).await,
            Err(error) => End::HandshakeFailed(Failure::from(&error)),
        },
    }
}

/// Notes what the peer offers before the handshake can fail because of it.
async fn handshake(tcp: TcpStream, config: Arc<ServerConfig>, log: &Log, index: usize) -> io::Result<Conversation> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), tcp).await?;
    let hello = start.client_hello();
    log.note(index, |connection| {
        connection.sni = hello.server_name().map(str::to_owned);
        connection.alpn_offered = hello.alpn().map(|offer| offer.map(<[u8]>::to_vec).collect());
    });
    let stream = start.into_stream(config).await?;
    let tls = stream.get_ref().1;
    log.note(index, |connection| {
        connection.version = tls.protocol_version();
        connection.alpn = tls.alpn_protocol().map(<[u8]>::to_vec);
        connection.handshake = tls.handshake_kind();
    });
    Ok(Conversation::new(stream, log.clone(), index))
}
