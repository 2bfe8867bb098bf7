//! The TLS session with a client, under a leaf for the host of its permit.

use super::client_hello::{ClientHello, refuse};
use super::objection::KeyMismatch;
use super::prefixed::Prefixed;
use crate::authority::{CertificateAuthority, IssueError, IssuedLeaf, KeyFamily, LeafKeyKind, When};
use crate::policy::decision::{Passage, Permit};
use crate::policy::host::Host;
use crate::tls::name::server_name;
use crate::tls::provider::provider;
use crate::tls::words::words;
use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use rustls::server::{ClientHello as RustlsClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, PeerIncompatible, ServerConfig};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

/// Which key leaves have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafKeyChoice {
    /// ECDSA P-256, or RSA-2048 for a client that cannot take it.
    Auto,
    /// This one.
    Always(LeafKeyKind),
}

/// TLS configurations that sessions with one leaf share; the least used one goes first.
const SHARED_CONFIGS_MAX: usize = 1_024;

/// Accepts clients: the local CA and what their sessions share.
#[derive(Debug)]
pub struct Acceptor {
    authority: ArcSwap<CertificateAuthority>,
    leaf_key: LeafKeyChoice,
    handshake_timeout: Duration,
    template: ServerConfig,
    /// A connection keeps its configuration for as long as it lives, so one of each kind is enough.
    shared: Cache<Kind, Arc<ServerConfig>>,
}

/// Whether a client is given a ticket to resume with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ticket {
    /// One. rustls gives two by itself; a client that resumes has one from each of its connections.
    Given,
    /// None with TLS 1.3. With 1.2 it is part of the handshake's last flight.
    Spared,
}

/// What a client is to be given.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'t> {
    /// The application protocol that the upstream chose.
    pub alpn: Option<&'t [u8]>,
    /// Something to resume with.
    pub ticket: Ticket,
    /// The end of the upstream's certificate: the leaf ends no later.
    pub upstream_not_after: Option<SystemTime>,
    /// When the session began.
    pub at: When,
}

/// What the configurations of two sessions differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    /// Where the leaf is. The configuration has it, so no other one comes to be there meanwhile.
    leaf: usize,
    protocol: Protocol,
    client_orders: bool,
    ticket: Ticket,
}

/// The application protocols that nearly every session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Protocol {
    None,
    Http1,
    Http2,
}

/// A client that has shaken hands.
#[derive(Debug)]
pub struct Acceptance<S> {
    /// The stream.
    pub stream: TlsStream<Prefixed<S>>,
    /// The leaf it was shown.
    pub leaf: Arc<IssuedLeaf>,
}

/// Why a client did not get a session.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// No leaf could be issued.
    #[error("no certificate can be issued for this host: {0}")]
    Issue(#[from] IssueError),
    /// The host has no form that a certificate can carry.
    #[error("{0} cannot be the name in a certificate")]
    Name(Host),
    /// The permit is not for interception.
    #[error("the session has no permit to be intercepted")]
    NoPermit,
    /// The client ended the handshake with an alert; most often it does not trust the CA.
    #[error("the client ended the TLS handshake with the alert {0:?}{hint}", hint = alert_hint(*.0))]
    Alert(AlertDescription),
    /// The client closed the connection.
    #[error("the client closed the connection during the TLS handshake; it may not trust the proxy's CA")]
    Closed,
    /// The client failed over a leaf that the CA has signed with a family of signatures that it does not offer.
    #[error("{failure}; {mismatch}")]
    Unverifiable {
        /// What the client did.
        failure: Box<AcceptError>,
        /// What it takes, and what the CA has.
        mismatch: KeyMismatch,
    },
    /// The client does not keep to the protocol, or shares no version or suite with us.
    #[error("the client's TLS handshake failed: {}", words(.0))]
    Protocol(rustls::Error),
    /// The configuration has leaves made with keys of the other family than the client offers to verify.
    #[error(
        "the client's TLS handshake failed: it offers {client} signatures and no {leaf}, and leaves have no other keys \
         ([ca] leaf_key); with leaf_key = \"auto\" its leaf has a key of a kind that it offers"
    )]
    Unsuited {
        /// The one family in the ClientHello.
        client: KeyFamily,
        /// That of the leaf's key.
        leaf: KeyFamily,
    },
    /// The connection failed.
    #[error("the connection to the client failed: {0}")]
    Io(io::Error),
    /// The handshake took longer than the limit.
    #[error("the client's TLS handshake took longer than {0:?}")]
    Timeout(Duration),
}

const fn alert_hint(alert: AlertDescription) -> &'static str {
    use AlertDescription as A;
    match alert {
        A::UnknownCA => ": it does not trust the proxy's CA certificate",
        // What some say of a CA that they do not know, and of anything else about a certificate.
        A::CertificateUnknown | A::BadCertificate => ": it may not trust the proxy's CA certificate",
        _ => "",
    }
}

impl Acceptor {
    /// An acceptor over a CA. `handshake_timeout` counts from the complete ClientHello.
    ///
    /// # Errors
    /// When the crypto provider cannot make ticket keys.
    pub fn new(
        authority: Arc<CertificateAuthority>,
        leaf_key: LeafKeyChoice,
        handshake_timeout: Duration,
    ) -> Result<Self, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider()));
        let builder = builder.with_protocol_versions(rustls::ALL_VERSIONS)?;
        let mut template = builder.with_no_client_auth().with_cert_resolver(Arc::new(NoLeaf));
        // Tickets are sealed with keys of this process and bound to the server name; every session is judged upstream
        // before its client can use one.
        template.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        let shared = Cache::new(SHARED_CONFIGS_MAX);
        Ok(Self { authority: ArcSwap::new(authority), leaf_key, handshake_timeout, template, shared })
    }

    /// Issues the leaf that the usual client will need, or finds it, ahead of its ClientHello. The leaf stays in the
    /// cache of the CA; an error shows again when the leaf is needed.
    pub fn prepare(&self, host: &Host, at: When) {
        let kind = match self.leaf_key {
            LeafKeyChoice::Auto => LeafKeyKind::EcdsaP256,
            LeafKeyChoice::Always(kind) => kind,
        };
        if let Ok(name) = server_name(host) {
            drop(self.authority.load().leaf(&name, kind, None, at));
        }
    }

    /// The CA that signs now.
    pub fn authority(&self) -> Arc<CertificateAuthority> {
        self.authority.load_full()
    }

    /// Puts another CA in its place, for the handshakes that begin from now on.
    pub fn replace_authority(&self, authority: Arc<CertificateAuthority>) {
        self.authority.store(authority);
    }

    /// Makes the RSA leaf key, unless the configuration rules out that it is needed. Blocks for tens of milliseconds.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn prepare_rsa(&self) -> Result<(), IssueError> {
        match self.leaf_key {
            LeafKeyChoice::Always(LeafKeyKind::EcdsaP256) => Ok(()),
            LeafKeyChoice::Auto | LeafKeyChoice::Always(LeafKeyKind::Rsa2048) => self.authority.load().prepare_rsa(),
        }
    }

    /// Shakes hands with a client whose ClientHello was read: with a leaf for the host of the permit and nothing else,
    /// and on exactly these terms.
    pub async fn accept<S>(
        &self,
        permit: &Permit,
        hello: ClientHello,
        mut stream: Prefixed<S>,
        terms: Terms<'_>,
    ) -> Result<Acceptance<S>, AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let leaf = match self.leaf(permit, &hello, terms.upstream_not_after, terms.at) {
            Ok(leaf) => leaf,
            Err(error) => {
                refuse(&mut stream, AlertDescription::InternalError).await;
                return Err(error);
            }
        };
        let only_family = hello.only_family();
        let config = self.config(&leaf.certified_key, terms.alpn, hello.prefers_chacha(), terms.ticket);
        let stream = stream.with_prefix(&hello.rest);
        let handshake = StartHandshake::from_parts(hello.accepted, stream).into_stream(config);
        match timeout(self.handshake_timeout, handshake).await {
            Err(_) => Err(AcceptError::Timeout(self.handshake_timeout)),
            Ok(Err(error)) => {
                let failure = self.suited(failed(error), only_family);
                Err(
                    match only_family
                        .and_then(|client| KeyMismatch::of(client, leaf.signed_with, &self.authority.load()))
                    {
                        Some(mismatch) => mismatch.explain(failure),
                        None => failure,
                    },
                )
            }
            Ok(Ok(stream)) => Ok(Acceptance { stream, leaf }),
        }
    }

    /// The configuration for a leaf and an application protocol.
    fn config(
        &self,
        leaf: &Arc<CertifiedKey>,
        alpn: Option<&[u8]>,
        client_orders: bool,
        ticket: Ticket,
    ) -> Arc<ServerConfig> {
        let make = || {
            let mut config = self.template.clone();
            // AES-128 is the cheapest suite for both, unless the client is one without hardware for AES.
            config.ignore_client_order = !client_orders;
            config.send_tls13_tickets = usize::from(ticket == Ticket::Given);
            config.cert_resolver = Arc::new(OneLeaf(Arc::clone(leaf)));
            config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
            Arc::new(config)
        };
        let protocol = match alpn {
            None => Protocol::None,
            Some(b"http/1.1") => Protocol::Http1,
            Some(b"h2") => Protocol::Http2,
            Some(_) => return make(),
        };
        let kind = Kind { leaf: Arc::as_ptr(leaf).addr(), protocol, client_orders, ticket };
        self.shared.get_or_insert_with(&kind, || Ok::<_, Infallible>(make())).unwrap_or_else(|never| match never {})
    }

    /// Whether it is the configuration that left the client without a leaf that it can verify.
    fn suited(&self, failure: AcceptError, client: Option<KeyFamily>) -> AcceptError {
        use PeerIncompatible::{NoCipherSuitesInCommon, NoSignatureSchemesInCommon};
        // Both are said of a key that does not go with what the client offers.
        let is_about_the_key = matches!(
            failure,
            AcceptError::Protocol(rustls::Error::PeerIncompatible(NoCipherSuitesInCommon | NoSignatureSchemesInCommon))
        );
        match (self.leaf_key, client) {
            (LeafKeyChoice::Always(kind), Some(client)) if is_about_the_key && client != kind.family() => {
                AcceptError::Unsuited { client, leaf: kind.family() }
            }
            _ => failure,
        }
    }

    fn leaf(
        &self,
        permit: &Permit,
        hello: &ClientHello,
        upstream_not_after: Option<SystemTime>,
        at: When,
    ) -> Result<Arc<IssuedLeaf>, AcceptError> {
        if permit.passage() != Passage::Intercept {
            return Err(AcceptError::NoPermit);
        }
        let kind = match self.leaf_key {
            LeafKeyChoice::Always(kind) => kind,
            LeafKeyChoice::Auto if hello.takes_ecdsa() => LeafKeyKind::EcdsaP256,
            LeafKeyChoice::Auto => LeafKeyKind::Rsa2048,
        };
        let name = server_name(permit.host()).map_err(|_| AcceptError::Name(permit.host().clone()))?;
        Ok(self.authority.load().leaf(&name, kind, upstream_not_after, at)?)
    }
}

fn failed(error: io::Error) -> AcceptError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => AcceptError::Alert(*alert),
        Some(other) => {
            tracing::debug!(?other, "the TLS handshake with a client failed");
            AcceptError::Protocol(other.clone())
        }
        None if error.kind() == io::ErrorKind::UnexpectedEof => AcceptError::Closed,
        None => AcceptError::Io(error),
    }
}

/// The leaf of one session, whatever the ClientHello says: its server name was checked before.
#[derive(Debug)]
struct OneLeaf(Arc<CertifiedKey>);

impl ResolvesServerCert for OneLeaf {
    fn resolve(&self, _: RustlsClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// In the template, which serves no session itself.
#[derive(Debug)]
struct NoLeaf;

impl ResolvesServerCert for NoLeaf {
    fn resolve(&self, _: RustlsClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
