//! The trip of one session, stage by stage.
//!
//! ```text
//! request ─ policy ─ dial ─ upstream_tls ─ pin ─ reply ─ client_tls ─ relay ─ report
//! ```
//!
//! How a client asks, and how it is answered, is up to the way that it came in by: `connect`, `socks`, `transparent`. Each
//! has a session admit the target, judge it, and carry it from the answer on; there is no other way to the relay.
//!
//! The verdict comes before the 200. Two kinds of session cannot be judged before their ClientHello: one to an address,
//! whose name is in the SNI, and one that the default sends through a blind tunnel, whose SNI must not name another
//! host. Both are dialled before the 200 and judged behind it; a refusal is then a TLS alert.

use super::alpn::{ClientKey, Offer};
use super::client_half::Pair;
use super::error::SessionError;
use super::opening::Opening;
use super::record::Record;
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
use http::HeaderMap;
use http::header::USER_AGENT;
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

/// How far a session is when its client is answered.
enum Approach {
    /// The upstream is verified and the verdict is given.
    Verified(Verified),
    /// The rule says to relay blindly.
    Blind(Dialled, Permit),
    /// The rule depends on the ClientHello.
    AfterHello(Dialled),
}

/// A session that may go on: how far it is, and where changes of the rules find it.
pub(super) struct Granted {
    listed: Listed,
    approach: Approach,
}

impl Session {
    /// What a judgement of this host and port by this rule depends on.
    pub(super) fn circumstances(&self, rule: &Rule, host: &Host, port: NonZeroU16) -> Circumstances {
        self.proxy.circumstances(rule, host, port, self.client.ip(), self.moment)
    }

    /// Takes the generation that is in force. `headers` are those of a request by HTTP, and none of others: they tell programs
    /// at one address apart, as far as these say it, and what the request has come through.
    pub(super) fn begin(proxy: Arc<Proxy>, client: SocketAddr, headers: &HeaderMap, record: &Record) -> Self {
        let moment = proxy.time.moment();
        let generation = proxy.generation();
        let agent = headers.get(USER_AGENT).map(http::HeaderValue::as_bytes).unwrap_or_default();
        Self {
            turn: proxy.turn(moment),
            hops: generation.way.has_parent().then(|| proxy.via.hops(headers)),
            generation,
            client_key: proxy.offers.key(client.ip(), agent),
            moment,
            proxy,
            client,
            now: record.event().date_time,
        }
    }

    /// From what a client has asked for to the verdict, where that is all that it says first.
    pub(super) async fn grant(
        &self,
        asked: Result<Authority, SessionError>,
        record: &mut Record,
    ) -> Result<Granted, SessionError> {
        let target = asked?;
        self.admit(&target, record)?;
        self.judge(target, record).await
    }

    /// request: may this client go there?
    pub(super) fn admit(&self, target: &Authority, record: &mut Record) -> Result<(), SessionError> {
        record.target(target, self.generation.policy.generation());
        // The rules may have changed since the connection was accepted.
        self.generation.access.check_client(self.client.ip())?;
        Ok(self.generation.access.check_target(target)?)
    }

    /// From the target that was admitted to the verdict, as far as there is one before the ClientHello.
    pub(super) async fn judge(&self, target: Authority, record: &mut Record) -> Result<Granted, SessionError> {
        let approach = tokio::select! {
            approach = Box::pin(self.approach(&target, record)) => approach?,
            () = self.proxy.ending.cancelled() => return Err(SessionError::Shutdown),
        };
        // Before the client hears of it: from then on no change of the rules misses it.
        Ok(Granted { listed: self.listed(target, &approach, record), approach })
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

    /// client_tls: from the answer to a tunnel that can be relayed.
    pub(super) async fn carry(self, granted: Granted, opening: Opening, mut record: Box<Record>) -> Option<Tunnel> {
        let Granted { listed, approach } = granted;
        record.at(Stage::ClientTls);
        let target = listed.asked();
        let set_up = async {
            let client = opening.open().await?;
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
pub(super) struct Tunnel {
    listed: Listed,
    pair: Pair,
    record: Box<Record>,
}

impl Tunnel {
    /// relay, report.
    pub(super) async fn relay(mut self) {
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
