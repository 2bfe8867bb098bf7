//! The trip of one CONNECT, stage by stage.
//!
//! ```text
//! request ─ policy ─ dial ─ upstream_tls ─ pin ─ reply ─ client_tls ─ relay ─ report
//! ```
//!
//! The verdict comes before the 200. Two kinds of session cannot be judged before their ClientHello: one to an address,
//! whose name is in the SNI, and one that the default sends through a blind tunnel, whose SNI must not name another
//! host. Both are dialled before the 200 and judged behind it; a refusal is then a TLS alert.

use super::alpn::{ClientKey, Offer, suits};
use super::capacity::Place;
use super::error::SessionError;
use super::head::Head;
use super::record::Record;
use super::reply::{BodyForm, Refusal};
use super::sides::TUNNEL_BUFFER_BYTES;
use super::{Generation, Proxy};
use crate::intercept::{ClientHello, HelloLimits, Prefixed, read_client_hello, refuse};
use crate::policy::decision::{Decision, FailureClass, Permit, Rejection, evaluate, expired};
use crate::policy::host::{Authority, Host};
use crate::policy::pinset::Demand;
use crate::policy::rules::{Rule, RuleKind, Unpinned};
use crate::relay::{Counters, Limits, relay};
use crate::report::Stage;
use crate::tls::client::{SessionVerifier, config};
use crate::tls::verify::Question;
use crate::upstream::dial::{Dialled, dial};
use crate::upstream::handshake::{Handshake, HandshakeError, Upstream, handshake};
use bytes::Bytes;
use http::header::USER_AGENT;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::io::BufReader;
use tokio::net::TcpStream;

/// What a session has from its beginning to its end.
struct Session {
    proxy: Arc<Proxy>,
    generation: Arc<Generation>,
    client: SocketAddr,
    client_key: ClientKey,
    now: SystemTime,
}

/// The client's connection, once it is a tunnel.
type ClientStream = Prefixed<TcpStream>;

/// How far a session is when it gets its 200.
enum Approach {
    /// The upstream is verified and the verdict is given.
    Verified(Verified),
    /// The rule says to relay blindly.
    Blind(Dialled, Permit),
    /// The rule depends on the ClientHello.
    AfterHello(Dialled),
}

/// An upstream with its verdict.
struct Verified {
    host: Host,
    rule: Arc<Rule>,
    permit: Permit,
    upstream: Upstream,
    leaf_not_after: Option<SystemTime>,
    /// What was offered to the upstream.
    offered: Offer,
}

/// Runs a session up to its reply; what follows a 200 goes on in a task of its own.
pub(super) async fn open(
    proxy: Arc<Proxy>,
    client: SocketAddr,
    place: Arc<Place>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let now = proxy.clock.now();
    let mut record = Record::open(&proxy.reporter, proxy.session_name(), client, now);
    let user_agent = request.headers().get(USER_AGENT).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let session = Session {
        generation: proxy.generation.load_full(),
        client_key: proxy.offers.key(client.ip(), user_agent),
        proxy,
        client,
        now,
    };
    let form = BodyForm::of(request.headers());
    let approached = match session.request(&request, &mut record) {
        Ok(target) => Box::pin(session.approach(&target, &mut record)).await.map(|approach| (target, approach)),
        Err(error) => Err(error),
    };
    match approached {
        Ok((target, approach)) => {
            record.replied(StatusCode::OK);
            let sessions = session.proxy.sessions.clone();
            let upgrade = hyper::upgrade::on(request);
            sessions.spawn(async move {
                session.carry(&target, approach, upgrade, record).await;
                drop(place);
            });
            established()
        }
        Err(error) => {
            record.fail(&error);
            let refusal = Refusal::new(&error, record.event(), record.expected_pins());
            record.replied(refusal.status());
            record.finish();
            refusal.response(form)
        }
    }
}

fn established() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    response.extensions_mut().insert(ReasonPhrase::from_static(b"Connection established"));
    response
}

impl Session {
    /// request: who asks, for what, and may they?
    fn request(&self, request: &Request<Incoming>, record: &mut Record) -> Result<Authority, SessionError> {
        let asked = request.uri().to_string();
        record.asked_for(&asked);
        if request.method() != Method::CONNECT {
            return Err(SessionError::Method(request.method().clone()));
        }
        self.proxy.access.check_client(self.client.ip())?;
        let target = Authority::parse(&asked)?;
        record.target(&target, self.generation.policy.generation());
        self.proxy.access.check_target(&target)?;
        Ok(target)
    }

    /// policy, dial, and for an upstream that is known by name: upstream_tls and pin.
    async fn approach(&self, target: &Authority, record: &mut Record) -> Result<Approach, SessionError> {
        let rule = self.generation.policy.select(target, self.now);
        record.rule(rule, self.now);
        match (&rule.kind, &target.host) {
            (RuleKind::Tunnel { .. }, host) => {
                let permit = Permit::tunnel(rule, host).ok_or_else(no_permit)?;
                Ok(Approach::Blind(self.dial(target, record).await?, permit))
            }
            (_, Host::Address(_)) | (RuleKind::Default(Unpinned::Tunnel), _) => {
                Ok(Approach::AfterHello(self.dial(target, record).await?))
            }
            (RuleKind::Default(Unpinned::Deny), host) => Err(SessionError::Unlisted(host.clone())),
            (RuleKind::Pinned(_) | RuleKind::Exempt { .. } | RuleKind::Default(Unpinned::Intercept), host) => {
                let dialled = self.dial(target, record).await?;
                let offer = self.proxy.offers.guess(self.client_key);
                match self.verified(target, dialled, host, rule, offer, record).await {
                    Err(SessionError::Handshake(HandshakeError::NoApplicationProtocol)) => {
                        // None of the guesses: judged without, asked again when the client's own offer is known.
                        let dialled = self.dial(target, record).await?;
                        self.verified(target, dialled, host, rule, Offer::new(), record).await
                    }
                    decided => decided,
                }
                .map(Approach::Verified)
            }
        }
    }

    /// dial: TCP to an address that the access rules allow.
    async fn dial(&self, target: &Authority, record: &mut Record) -> Result<Dialled, SessionError> {
        record.at(Stage::Dial);
        let proxy = &self.proxy;
        let dialled = dial(target, &proxy.access, proxy.resolver.as_ref(), proxy.connect_timeout).await?;
        record.dialled(dialled.address);
        Ok(dialled)
    }

    /// upstream_tls and pin: the handshake, the verified chain, the verdict.
    async fn verified(
        &self,
        target: &Authority,
        dialled: Dialled,
        host: &Host,
        rule: &Arc<Rule>,
        offer: Offer,
        record: &mut Record,
    ) -> Result<Verified, SessionError> {
        if rule.demand(self.now) == Demand::Expired {
            return Err(SessionError::Rejected(expired()));
        }
        record.at(Stage::UpstreamTls);
        let question = Question {
            anchors: Arc::clone(&self.generation.anchors),
            revocation: Arc::clone(&self.generation.revocation),
            policy: Arc::clone(&self.generation.policy),
            rule: Arc::clone(rule),
            host: host.clone(),
        };
        let (verifier, config) = if let Some(tickets) = &self.proxy.tickets {
            tickets.config(self.client.ip().to_canonical(), target, &question, &offer)
        } else {
            let verifier = Arc::new(SessionVerifier::once(question, self.now));
            let config = config(&verifier, &offer);
            (verifier, config)
        };
        let shaking = handshake(dialled.stream, config, &verifier, self.now, self.proxy.handshake_timeout);
        // The leaf is made while the upstream computes its answer to our ClientHello.
        let (shaken, ()) = tokio::join!(shaking, async { self.proxy.acceptor.prepare(host, self.now) });
        let Handshake { upstream, attempt } = shaken?;
        let chain = attempt.result.as_ref().map_err(Clone::clone);
        let decision = evaluate(&self.generation.policy, rule, self.now, chain);
        record.decided(&decision, &attempt, rule);
        match (decision, upstream, &attempt.result) {
            (Decision::Allowed { permit, .. }, Some(upstream), Ok(chain)) => {
                record.upstream_tls(upstream.version, upstream.alpn.as_deref());
                let leaf_not_after = chain.leaf_not_after();
                Ok(Verified {
                    host: host.clone(),
                    rule: Arc::clone(rule),
                    permit,
                    upstream,
                    leaf_not_after,
                    offered: offer,
                })
            }
            (Decision::Refused(rejection), ..) => Err(SessionError::Rejected(rejection)),
            (Decision::Allowed { .. }, ..) => Err(no_permit()),
        }
    }

    /// client_tls, relay, report: everything behind the 200.
    async fn carry(self, target: &Authority, approach: Approach, upgrade: OnUpgrade, mut record: Record) {
        record.at(Stage::ClientTls);
        let set_up = async {
            let client = tunnel(upgrade).await?;
            match approach {
                Approach::Blind(dialled, permit) => Ok(Self::blind(client, dialled, &permit, &mut record)),
                Approach::Verified(verified) => self.greet(target, client, verified, &mut record).await,
                Approach::AfterHello(dialled) => self.judge_by_hello(target, client, dialled, &mut record).await,
            }
        };
        // Boxed, so that the memory of the handshakes is free again while the session relays.
        let ready = tokio::select! {
            ready = Box::pin(set_up) => ready,
            () = self.proxy.ending.cancelled() => Err(SessionError::Shutdown),
        };
        match ready {
            Ok(pair) => {
                record.at(Stage::Relay);
                let mut counters = Counters::default();
                let limits = self.relay_limits();
                let ending = self.proxy.ending.clone().cancelled_owned();
                let outcome = match pair {
                    Pair::Tls(client, upstream) => relay(*client, *upstream, limits, &mut counters, ending).await,
                    Pair::Plain(client, upstream) => relay(client, upstream, limits, &mut counters, ending).await,
                };
                record.relayed(outcome, counters);
            }
            Err(error) => record.fail(&error),
        }
        record.finish();
    }

    /// client_tls for an upstream that is verified already: the ClientHello has to ask for the same host.
    async fn greet(
        &self,
        target: &Authority,
        mut client: ClientStream,
        verified: Verified,
        record: &mut Record,
    ) -> Result<Pair, SessionError> {
        let hello = self.client_hello(&mut client).await?;
        let agreed = async {
            same_host(&verified.host, &hello, record)?;
            self.proxy.offers.remember(self.client_key, &verified.offered, &hello.alpn);
            self.suited(target, verified, &hello, record).await
        };
        match agreed.await {
            Ok(verified) => self.accept(client, hello, verified, record).await,
            Err(error) => Err(turned_away(&mut client, error).await),
        }
    }

    /// The upstream again, with the client's own offer, if the client cannot take what the upstream chose of the guess.
    async fn suited(
        &self,
        target: &Authority,
        verified: Verified,
        hello: &ClientHello,
        record: &mut Record,
    ) -> Result<Verified, SessionError> {
        let refused_before = verified.offered.is_empty() && !hello.alpn.is_empty();
        if !refused_before && suits(verified.upstream.alpn.as_deref(), &verified.offered, &hello.alpn) {
            return Ok(verified);
        }
        let Verified { host, rule, .. } = verified;
        let dialled = self.dial(target, record).await?;
        self.verified(target, dialled, &host, &rule, hello.alpn.clone(), record).await
    }

    /// The ClientHello first, then the rule: for a CONNECT to an address, and for default tunnels.
    async fn judge_by_hello(
        &self,
        target: &Authority,
        mut client: ClientStream,
        dialled: Dialled,
        record: &mut Record,
    ) -> Result<Pair, SessionError> {
        let hello = self.client_hello(&mut client).await?;
        let judged = async {
            let (host, rule) = self.rule_by_hello(target, &hello, record)?;
            record.rule(&rule, self.now);
            if let Some(permit) = Permit::tunnel(&rule, &host) {
                return Ok(Judged::Blind(dialled, permit));
            }
            if matches!(rule.kind, RuleKind::Default(Unpinned::Deny)) {
                return Err(SessionError::Unlisted(host));
            }
            let verified = self.verified(target, dialled, &host, &rule, hello.alpn.clone(), record).await?;
            Ok(Judged::Verified(verified))
        };
        match judged.await {
            Ok(Judged::Verified(verified)) => self.accept(client, hello, verified, record).await,
            Ok(Judged::Blind(dialled, permit)) => {
                Ok(Self::blind(client.with_prefix(&hello.raw), dialled, &permit, record))
            }
            Err(error) => Err(turned_away(&mut client, error).await),
        }
    }

    /// The host that the session is about, and its rule, once the ClientHello is known.
    fn rule_by_hello(
        &self,
        target: &Authority,
        hello: &ClientHello,
        record: &mut Record,
    ) -> Result<(Host, Arc<Rule>), SessionError> {
        let policy = &self.generation.policy;
        let name = match (&target.host, hello.server_name().map_err(SessionError::ServerNameForm)?) {
            (Host::Name(_), _) => {
                same_host(&target.host, hello, record)?;
                return Ok((target.host.clone(), Arc::clone(policy.select(target, self.now))));
            }
            (Host::Address(_), None) => {
                return Ok((target.host.clone(), Arc::clone(policy.select(target, self.now))));
            }
            (Host::Address(_), Some(name)) => name,
        };
        record.server_name(&name);
        record.judged_as(&name);
        let named = Authority { host: name, port: target.port };
        self.proxy.access.check_target(&named)?;
        let rule = Arc::clone(policy.select_for_address(target, &named, self.now)?);
        Ok((named.host, rule))
    }

    async fn client_hello(&self, client: &mut ClientStream) -> Result<ClientHello, SessionError> {
        let limits = HelloLimits {
            bytes: self.proxy.limits.client_hello_bytes,
            timeout: self.proxy.limits.client_hello_timeout,
        };
        Ok(read_client_hello(client, limits).await?)
    }

    async fn accept(
        &self,
        client: ClientStream,
        hello: ClientHello,
        verified: Verified,
        record: &mut Record,
    ) -> Result<Pair, SessionError> {
        let Verified { permit, upstream, leaf_not_after, .. } = verified;
        let alpn = upstream.alpn.clone();
        let acceptor = &self.proxy.acceptor;
        let accepted = acceptor.accept(&permit, hello, client, alpn.as_deref(), leaf_not_after, self.now).await?;
        let version = accepted.stream.get_ref().1.protocol_version();
        record.client_tls(version, &accepted.leaf.serial);
        Ok(Pair::Tls(Box::new(accepted.stream), upstream.into_stream(&permit)))
    }

    /// relay without looking, for which the rule gave the permit.
    fn blind(client: ClientStream, dialled: Dialled, _permit: &Permit, record: &mut Record) -> Pair {
        record.tunnelled();
        let buffered = |stream| BufReader::with_capacity(TUNNEL_BUFFER_BYTES, stream);
        Pair::Plain(buffered(client), BufReader::with_capacity(TUNNEL_BUFFER_BYTES, dialled.stream))
    }

    fn relay_limits(&self) -> Limits {
        let limits = &self.proxy.limits;
        Limits { idle_timeout: limits.idle_timeout, session_lifetime: limits.session_lifetime }
    }
}

/// What the ClientHello led to.
enum Judged {
    Verified(Verified),
    Blind(Dialled, Permit),
}

/// The two sides of a relay.
enum Pair {
    Tls(Box<tokio_rustls::server::TlsStream<ClientStream>>, Box<tokio_rustls::client::TlsStream<TcpStream>>),
    Plain(BufReader<ClientStream>, BufReader<TcpStream>),
}

/// Where a permit and what it is for do not come together. No known input leads here; it fails closed.
fn no_permit() -> SessionError {
    SessionError::Rejected(Rejection::new(FailureClass::Internal, "no permit for this session"))
}

/// The client's connection behind the 200, with what it sent ahead of it.
async fn tunnel(upgrade: OnUpgrade) -> Result<ClientStream, SessionError> {
    let upgraded = upgrade.await.map_err(|_| SessionError::Gone)?;
    let parts = upgraded.downcast::<TokioIo<Head<TcpStream>>>().map_err(|_| SessionError::Gone)?;
    Ok(Prefixed::new(parts.read_buf, parts.io.into_inner().into_inner()))
}

/// The SNI, where there is one, names the host of the CONNECT.
fn same_host(asked: &Host, hello: &ClientHello, record: &mut Record) -> Result<(), SessionError> {
    let Some(named) = hello.server_name().map_err(SessionError::ServerNameForm)? else { return Ok(()) };
    record.server_name(&named);
    if named == *asked { Ok(()) } else { Err(SessionError::ServerName { asked: asked.clone(), named }) }
}

/// Tells a client that waits for the answer to its ClientHello.
async fn turned_away(client: &mut ClientStream, error: SessionError) -> SessionError {
    if let Some(alert) = error.alert() {
        refuse(client, alert).await;
    }
    error
}
