//! The trip of one CONNECT, stage by stage.
//!
//! ```text
//! request ─ policy ─ dial ─ upstream_tls ─ pin ─ reply ─ client_tls ─ relay ─ report
//! ```
//!
//! The verdict comes before the 200. Two kinds of session cannot be judged before their ClientHello: one to an address,
//! whose name is in the SNI, and one that the default sends through a blind tunnel, whose SNI must not name another
//! host. Both are dialled before the 200 and judged behind it; a refusal is then a TLS alert.

use super::alpn::{ClientKey, Offer};
use super::capacity::Place;
use super::client_half::{Pair, tunnel};
use super::error::SessionError;
use super::record::Record;
use super::reply::{BodyForm, Refusal};
use super::standing::{Listed, Seen, Shown, Verdict};
use super::upstream_half::{Verified, check_expiry, no_permit};
use super::{Generation, Proxy, Turn};
use crate::authority::When;
use crate::policy::decision::Permit;
use crate::policy::host::{Authority, Host};
use crate::policy::moment::{Circumstances, Moment};
use crate::policy::rules::{Rule, RuleKind, Unpinned};
use crate::relay::{Counters, Limits, relay};
use crate::report::Stage;
use crate::upstream::dial::Dialled;
use crate::upstream::handshake::HandshakeError;
use crate::upstream::via::Hops;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::SystemTime;

/// What a session has from its beginning to its end.
pub(super) struct Session {
    pub(super) proxy: Arc<Proxy>,
    pub(super) generation: Arc<Generation>,
    pub(super) client: SocketAddr,
    pub(super) client_key: ClientKey,
    /// What the wall clock said when the request came.
    pub(super) now: SystemTime,
    /// What the rules are held against.
    pub(super) moment: Moment,
    /// What the request has come through, where a parent proxy may have to know.
    pub(super) hops: Option<Hops>,
    /// Tells whether rules have changed by themselves since.
    turn: Turn,
}

/// How far a session is when it gets its 200.
enum Approach {
    /// The upstream is verified and the verdict is given.
    Verified(Verified),
    /// The rule says to relay blindly.
    Blind(Dialled, Permit),
    /// The rule depends on the ClientHello.
    AfterHello(Dialled),
}

/// Runs a session up to its reply; what follows a 200 goes on in a task of its own.
pub(super) async fn open(
    proxy: Arc<Proxy>,
    client: SocketAddr,
    place: Arc<Place>,
    request: Request<Incoming>,
    mut record: Box<Record>,
) -> Response<Full<Bytes>> {
    let now = record.event().date_time;
    let user_agent = request.headers().get(USER_AGENT).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let moment = proxy.time.moment();
    let generation = proxy.generation();
    let session = Session {
        turn: proxy.turn(moment),
        hops: generation.way.has_parent().then(|| proxy.via.hops(request.headers())),
        generation,
        client_key: proxy.offers.key(client.ip(), user_agent),
        moment,
        proxy,
        client,
        now,
    };
    let form = BodyForm::of(request.headers());
    let approached = match session.request(&request, &mut record) {
        Ok(target) => tokio::select! {
            approach = Box::pin(session.approach(&target, &mut record)) => approach.map(|approach| (target, approach)),
            () = session.proxy.ending.cancelled() => Err(SessionError::Shutdown),
        },
        Err(error) => Err(error),
    };
    match approached {
        Ok((target, approach)) => {
            record.replied(StatusCode::OK);
            // Before it has its 200: from then on no change of the rules misses it.
            let listed = session.listed(target, &approach, &record);
            let sessions = session.proxy.sessions.clone();
            let upgrade = hyper::upgrade::on(request);
            // Boxed, so that its memory is free again while the session relays.
            let carried = Box::pin(session.carry(listed, approach, upgrade, record));
            sessions.spawn(async move {
                if let Some(tunnel) = carried.await {
                    tunnel.relay().await;
                }
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

/// What follows a CONNECT is the tunnel (RFC 9110 section 9.3.6). A head that says otherwise, or names two hosts, may
/// have been read otherwise by somebody on the way (RFC 9112 sections 3.2 and 11.2).
fn check_framing(headers: &HeaderMap) -> Result<(), SessionError> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(SessionError::Ambiguous("Transfer-Encoding"));
    }
    if headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
        return Err(SessionError::Ambiguous("Content-Length"));
    }
    if headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(SessionError::Ambiguous("several Host fields"));
    }
    Ok(())
}

fn established() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    response.extensions_mut().insert(ReasonPhrase::from_static(b"Connection established"));
    response
}

impl Session {
    /// What a judgement of this host and port by this rule depends on.
    pub(super) fn circumstances(&self, rule: &Rule, host: &Host, port: NonZeroU16) -> Circumstances {
        self.proxy.circumstances(rule, host, port, self.client.ip(), self.moment)
    }

    /// request: who asks, for what, and may they?
    fn request(&self, request: &Request<Incoming>, record: &mut Record) -> Result<Authority, SessionError> {
        let asked = request.uri().to_string();
        record.asked_for(&asked);
        if request.method() != Method::CONNECT {
            return Err(SessionError::Method(request.method().clone()));
        }
        check_framing(request.headers())?;
        self.proxy.via.check(request.headers())?;
        let target = Authority::parse(&asked)?;
        record.target(&target, self.generation.policy.generation());
        // The rules may have changed since the connection was accepted.
        self.generation.access.check_client(self.client.ip())?;
        self.generation.access.check_target(&target)?;
        Ok(target)
    }

    /// When the leaf of this session is issued: it counts when it came, however long the upstream takes.
    pub(super) const fn when(&self) -> When {
        When { now: self.now, moment: self.moment }
    }

    /// policy, dial, and for an upstream that is known by name: upstream_tls and pin.
    async fn approach(&self, target: &Authority, record: &mut Record) -> Result<Approach, SessionError> {
        let rule = self.generation.policy.select(target, self.moment);
        let circumstances = self.circumstances(rule, &target.host, target.port);
        record.rule(rule, &circumstances);
        check_expiry(rule, &circumstances, record)?;
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

    /// client_tls: from the 200 to a tunnel that can be relayed.
    async fn carry(
        self,
        listed: Listed,
        approach: Approach,
        upgrade: OnUpgrade,
        mut record: Box<Record>,
    ) -> Option<Tunnel> {
        record.at(Stage::ClientTls);
        let target = listed.asked();
        let set_up = async {
            let client = tunnel(upgrade).await?;
            match approach {
                Approach::Blind(dialled, permit) => {
                    self.enter_tunnel(target, client, dialled, &permit, &mut record, &listed).await
                }
                Approach::Verified(verified) => self.greet(target, client, verified, &mut record, &listed).await,
                Approach::AfterHello(dialled) => {
                    self.judge_by_hello(target, client, dialled, &mut record, &listed).await
                }
            }
        };
        let ready = tokio::select! {
            ready = set_up => ready,
            // Told apart below: the rules may have changed, or the proxy ends.
            () = listed.closing() => Err(SessionError::Shutdown),
        };
        if ready.is_ok() {
            listed.confirm(&self.verdict(&record));
        }
        // The rules have changed since the verdict: nothing of the client may get through.
        let is_refused = listed.tell_refusal(&mut record);
        match ready {
            Ok(pair) if !is_refused => {
                record.at(Stage::Relay);
                return Some(Tunnel { listed, pair, record });
            }
            Err(error) if !is_refused => record.fail(&error),
            _ => {}
        }
        record.finish();
        None
    }

    /// Where changes of the rules find this session.
    fn listed(&self, target: Authority, approach: &Approach, record: &Record) -> Listed {
        let seen = Seen { address: record.event().upstream_address, shown: approach.shown() };
        let listed = Listed::new(Arc::clone(&self.proxy), target, self.client.ip().to_canonical(), seen);
        listed.confirm(&self.verdict(record));
        listed
    }

    /// By what it was let through.
    pub(super) fn verdict(&self, record: &Record) -> Verdict<'_> {
        Verdict { generation: &self.generation, turn: self.turn, overridden: record.event().overridden }
    }
}

impl Approach {
    /// What the upstream has shown so far.
    fn shown(&self) -> Shown {
        match self {
            Self::Verified(verified) => Shown::Chain(None, Arc::clone(&verified.served)),
            Self::Blind(..) => Shown::Nothing(None),
            Self::AfterHello(_) => Shown::Unasked,
        }
    }
}

/// What is left of a session once both sides have shaken hands. Nothing of its generation is, unless upstream resumption is
/// on: a tunnel of many hours is no reason to keep a policy that was replaced. What the verdict rests on is, for the
/// generations to come.
struct Tunnel {
    listed: Listed,
    pair: Pair,
    record: Box<Record>,
}

impl Tunnel {
    /// relay, report.
    async fn relay(mut self) {
        let mut counters = Counters::default();
        // Pinned here: a future that moves into another one has its place in it twice.
        let mut ending = std::pin::pin!(self.listed.closing());
        let ending = ending.as_mut();
        let configured = self.listed.limits();
        let limits = Limits { idle_timeout: configured.idle_timeout, session_lifetime: configured.session_lifetime };
        let outcome = match self.pair {
            Pair::Tls(client, upstream) => relay(client, upstream, limits, &mut counters, ending).await,
            Pair::Plain(client, upstream) => relay(client, upstream, limits, &mut counters, ending).await,
        };
        self.record.relayed(&outcome, counters);
        self.listed.tell_refusal(&mut self.record);
        self.record.finish();
    }
}
