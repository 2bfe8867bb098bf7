//! The upstream's half of a session: dial, upstream_tls, pin.

use super::alpn::{Offer, suits};
use super::error::SessionError;
use super::record::Record;
use super::session::Session;
use crate::intercept::ClientHello;
use crate::policy::decision::{Decision, FailureClass, Permit, Rejection, evaluate};
use crate::policy::host::{Authority, Host};
use crate::policy::moment::Circumstances;
use crate::policy::pinset::Demand;
use crate::policy::rules::Rule;
use crate::report::Stage;
use crate::tls::client::{SessionVerifier, config};
use crate::tls::verify::Question;
use crate::upstream::dial::{Bounds, Dialled, dial};
use crate::upstream::handshake::{Handshake, Upstream, handshake};
use crate::upstream::way::Outward;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::Instant;

/// An upstream with its verdict.
pub(super) struct Verified {
    /// The host that its chain was verified for.
    pub(super) host: Host,
    rule: Arc<Rule>,
    pub(super) permit: Permit,
    pub(super) upstream: Upstream,
    pub(super) leaf_not_after: Option<SystemTime>,
    /// What it served.
    pub(super) served: Arc<[CertificateDer<'static>]>,
    /// What was offered to the upstream.
    pub(super) offered: Offer,
}

impl Session {
    /// dial: TCP to an address that the access rules allow, or what a parent proxy opens.
    pub(super) async fn dial(&self, target: &Authority, record: &mut Record) -> Result<Dialled, SessionError> {
        record.at(Stage::Dial);
        let proxy = &self.proxy;
        let bounds = Bounds { access: &self.generation.access, doors: &proxy.doors };
        let outward = Outward { way: &self.generation.way, hops: self.hops.as_ref() };
        let dialled = dial(target, bounds, outward, proxy.resolver.as_ref(), proxy.connect_timeout).await?;
        record.dialled(dialled.address, dialled.parent.clone());
        Ok(dialled)
    }

    /// upstream_tls and pin: the handshake, the verified chain, the verdict.
    pub(super) async fn verified(
        &self,
        target: &Authority,
        dialled: Dialled,
        host: &Host,
        rule: &Arc<Rule>,
        offer: Offer,
        record: &mut Record,
    ) -> Result<Verified, SessionError> {
        let circumstances = self.circumstances(rule, host, target.port);
        check_expiry(rule, &circumstances, record)?;
        record.at(Stage::UpstreamTls);
        let question = Arc::new(Question {
            anchors: Arc::clone(self.generation.materials.anchors_of(rule).ok_or_else(no_permit)?),
            revocation: Arc::clone(&self.generation.materials.revocation),
            policy: Arc::clone(&self.generation.policy),
            rule: Arc::clone(rule),
            host: host.clone(),
        });
        record.judged_under(rule, &circumstances);
        let identity = self.generation.materials.identity_for(host, target.port);
        let (verifier, config) = if let Some(tickets) = &self.proxy.tickets {
            tickets.config(circumstances, target, &question, &offer, identity)
        } else {
            let memory = Arc::clone(&self.generation.chains);
            let verifier = Arc::new(SessionVerifier::remembering(Arc::clone(&question), circumstances, memory));
            let config = config(&verifier, &offer, identity);
            (verifier, config)
        };
        let shaking =
            handshake(dialled.stream, config, &verifier, &question, &circumstances, self.proxy.handshake_timeout);
        // The leaf is made while the upstream computes its answer to our ClientHello.
        let began = Instant::now();
        let shaking = async { (shaking.await, began.elapsed()) };
        let ((shaken, took), ()) = tokio::join!(shaking, async { self.proxy.acceptor.prepare(host, self.when()) });
        let Handshake { upstream, attempt } = shaken?;
        record.upstream_handshake(took);
        let chain = attempt.result.as_ref().map_err(Clone::clone);
        let decision = evaluate(&self.generation.policy, rule, &circumstances, chain);
        record.decided(&decision, &attempt, rule);
        let rollout = rule.pinset().filter(|pinset| pinset.rollout().is_some());
        if let Some((pinset, satisfied)) = rollout.zip(decision.pins_satisfied()) {
            self.proxy.rollouts.count(pinset, !satisfied, self.proxy.time.elapsed());
        }
        match (decision, upstream, &attempt.result) {
            (Decision::Allowed { permit, .. }, Some(upstream), Ok(chain)) => {
                record.upstream_tls(upstream.version, upstream.alpn.as_deref());
                let leaf_not_after = chain.leaf_not_after();
                record.upstream_not_after(leaf_not_after);
                Ok(Verified {
                    host: host.clone(),
                    rule: Arc::clone(rule),
                    permit,
                    upstream,
                    leaf_not_after,
                    served: Arc::clone(&attempt.served),
                    offered: offer,
                })
            }
            (Decision::Refused(rejection), ..) => Err(SessionError::Rejected(rejection)),
            (Decision::Allowed { .. }, ..) => Err(no_permit()),
        }
    }

    /// The upstream again, with the client's own offer, if the client cannot take what the upstream chose of the guess.
    pub(super) async fn suited(
        &self,
        target: &Authority,
        verified: Verified,
        hello: &ClientHello,
        record: &mut Record,
    ) -> Result<Verified, SessionError> {
        if suits(verified.upstream.alpn.as_deref(), &verified.offered, &hello.alpn) {
            return Ok(verified);
        }
        let Verified { host, rule, upstream, .. } = verified;
        // There are upstreams that serve one connection at a time.
        drop(upstream);
        let dialled = self.dial(target, record).await?;
        self.verified(target, dialled, &host, &rule, hello.alpn.clone(), record).await
    }
}

/// A pinset that has ended and fails closed needs no connection to be judged.
pub(super) fn check_expiry(
    rule: &Rule,
    circumstances: &Circumstances,
    record: &mut Record,
) -> Result<(), SessionError> {
    if rule.demand(circumstances) != Demand::Expired {
        return Ok(());
    }
    record.pinset_expired(rule);
    Err(SessionError::PinsetExpired(rule.label().to_owned()))
}

/// Where a permit and what it is for do not come together. No known input leads here; it fails closed.
pub(super) fn no_permit() -> SessionError {
    SessionError::Rejected(Rejection::new(FailureClass::Internal, "no permit for this session"))
}
