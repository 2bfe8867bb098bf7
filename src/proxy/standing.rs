//! Sessions that relay, kept so that they can be ended: all of them when the proxy ends, and those that a new generation
//! refuses when it comes into force.
//!
//! A session was judged once, by the generation that it began with, and may last for a day. When the rules change, it is
//! judged again by what its upstream showed then: an operator who blocks a key at noon does not mean only those who come
//! after lunch.

use super::record::Record;
use super::{Generation, Proxy, Turn};
use crate::config::Limits;
use crate::policy::access::AccessError;
use crate::policy::decision::{Decision, FailureClass, Rejection, evaluate};
use crate::policy::host::{Authority, Host};
use crate::policy::moment::{Circumstances, Moment};
use crate::policy::pinset::Demand;
use crate::policy::rules::{Policy, Rule, RuleKind, Unpinned};
use crate::tls::chain::Attempt;
use crate::tls::verify::Question;
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::Notify;

/// Parts of the list, each with a lock of its own, so that sessions seldom wait for each other.
const PARTS: usize = 16;

/// The sessions that relay.
#[derive(Debug, Default)]
pub(super) struct Standings {
    parts: [Mutex<HashMap<u64, Arc<Standing>>>; PARTS],
    count: AtomicU64,
}

/// A session that relays: what it was judged by, and the bell that ends it.
#[derive(Debug)]
pub(super) struct Standing {
    grounds: Grounds,
    bell: Notify,
    why: OnceLock<Closing>,
}

/// What the verdict on a session rests on.
#[derive(Debug)]
pub(super) struct Grounds {
    /// The target of its CONNECT.
    pub(super) asked: Authority,
    /// Who asked.
    pub(super) client: IpAddr,
    /// The address that was dialled.
    pub(super) address: Option<SocketAddr>,
    /// What its upstream showed.
    pub(super) shown: Shown,
}

/// What an upstream showed.
#[derive(Debug)]
pub(super) enum Shown {
    /// Certificates, for the host that was asked for, or for this one. There are many of these, so nothing is told twice.
    Chain(Option<Host>, Arc<[CertificateDer<'static>]>),
    /// Nothing that was looked at; but its client may have named this host in a ClientHello.
    Nothing(Option<Host>),
}

/// By what a session was let through.
#[derive(Debug)]
pub(super) struct Verdict<'a> {
    pub(super) generation: &'a Arc<Generation>,
    /// When it began.
    pub(super) turn: Turn,
    pub(super) overridden: bool,
}

/// Why a session is ended before its time.
#[derive(Debug)]
pub(super) enum Closing {
    /// The proxy ends.
    Shutdown,
    /// The generation in force refuses it.
    Refused(Arc<Refused>),
}

/// What a generation finds against a session.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) generation: u64,
    pub(super) rejection: Rejection,
    /// The rule that refuses it, where it is one.
    pub(super) rule: Option<Refusing>,
}

/// The rule that refuses a session.
#[derive(Debug)]
pub(super) struct Refusing {
    pub(super) rule: Arc<Rule>,
    pub(super) circumstances: Circumstances,
    /// Where it is the chain that is refused: what verification found.
    pub(super) attempt: Option<Attempt>,
}

/// The place of a session in the list; given back when dropped.
#[derive(Debug)]
pub(super) struct Listed {
    proxy: Arc<Proxy>,
    number: u64,
    standing: Arc<Standing>,
}

impl Standings {
    fn part(&self, number: u64) -> MutexGuard<'_, HashMap<u64, Arc<Standing>>> {
        let index = usize::try_from(number % PARTS as u64).unwrap_or_default();
        self.parts[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, standing: Arc<Standing>) -> u64 {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.part(number).insert(number, standing);
        number
    }

    /// Those that relay now.
    fn all(&self) -> Vec<Arc<Standing>> {
        let parts = self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner));
        parts.flat_map(|part| part.values().cloned().collect::<Vec<_>>()).collect()
    }

    /// Ends them all, because the proxy ends.
    pub(super) fn close(&self) {
        self.all().iter().for_each(|standing| standing.close(Closing::Shutdown));
    }
}

impl Standing {
    /// The first reason counts.
    fn close(&self, why: Closing) {
        if self.why.set(why).is_ok() {
            self.bell.notify_one();
        }
    }
}

impl Listed {
    /// Lists a session that was let through. A generation that has been replaced meanwhile is not the last word, nor is a
    /// verdict that time, a rollout or an operator may have changed since.
    pub(super) fn new(proxy: Arc<Proxy>, grounds: Grounds, verdict: &Verdict<'_>) -> Self {
        let standing = Arc::new(Standing { grounds, bell: Notify::new(), why: OnceLock::new() });
        let number = proxy.standings.enter(Arc::clone(&standing));
        // Whoever changed the rules, or ended the proxy, before this line may not have seen it in the list.
        let now = proxy.generation();
        let has_turned = proxy.turn(proxy.time.moment()) != verdict.turn;
        if has_turned || verdict.overridden || !Arc::ptr_eq(&now, verdict.generation) {
            Judge::new(&proxy, now).judge(&standing);
        }
        if proxy.ending.is_cancelled() {
            standing.close(Closing::Shutdown);
        }
        Self { proxy, number, standing }
    }

    /// The limits of the session.
    pub(super) fn limits(&self) -> &Limits {
        &self.proxy.limits
    }

    /// Completes when the session has to end.
    pub(super) async fn closing(&self) {
        if self.standing.why.get().is_none() {
            // Who closes it gives the reason first; the bell keeps a ring that nobody waits for yet.
            self.standing.bell.notified().await;
        }
    }

    /// Tells the record if it is a generation that refuses the session. Whether it is.
    pub(super) fn tell_refusal(&self, record: &mut Record) -> bool {
        let Some(Closing::Refused(refused)) = self.standing.why.get() else { return false };
        record.refused_later(refused);
        true
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.proxy.standings.part(self.number).remove(&self.number);
    }
}

/// Judges open sessions by a generation. What it found out about a chain under a rule holds for all sessions with both.
struct Judge<'p> {
    proxy: &'p Proxy,
    generation: Arc<Generation>,
    moment: Moment,
    known: HashMap<Same, Option<Arc<Refused>>>,
}

/// Sessions that are judged alike.
#[derive(PartialEq, Eq, Hash)]
struct Same {
    served: usize,
    rule: usize,
    judged: Host,
    enforced: bool,
    overridden: bool,
}

impl Proxy {
    /// Judges every session that relays by the generation in force, and ends those that it refuses. Gives their number.
    /// What it costs grows with the number of different chains; no task waits for it.
    pub fn judge_open_sessions(&self) -> usize {
        let mut judge = Judge::new(self, self.generation());
        self.standings.all().iter().filter(|standing| judge.judge(standing)).count()
    }
}

impl<'p> Judge<'p> {
    fn new(proxy: &'p Proxy, generation: Arc<Generation>) -> Self {
        Self { proxy, generation, moment: proxy.time.moment(), known: HashMap::new() }
    }

    /// Whether a session has to end, and is told so.
    fn judge(&mut self, standing: &Standing) -> bool {
        let refused = self.refusal(&standing.grounds);
        let is_refused = refused.is_some() && standing.why.get().is_none();
        if let Some(refused) = refused {
            standing.close(Closing::Refused(refused));
        }
        is_refused
    }

    /// By no rule.
    fn refused(&self, class: FailureClass, detail: impl Into<String>) -> Arc<Refused> {
        self.refused_by(None, Rejection::new(class, detail))
    }

    fn refused_by(&self, rule: Option<Refusing>, rejection: Rejection) -> Arc<Refused> {
        Arc::new(Refused { generation: self.generation.policy.generation(), rejection, rule })
    }

    fn circumstances(&self, rule: &Rule, host: &Host, grounds: &Grounds) -> Circumstances {
        self.proxy.circumstances(rule, host, grounds.asked.port, grounds.client, self.moment)
    }

    fn refusal(&mut self, grounds: &Grounds) -> Option<Arc<Refused>> {
        if let Err(error) = self.check_access(grounds) {
            return Some(self.refused(FailureClass::Access, error.to_string()));
        }
        let Some(rule) = rule_of(&self.generation.policy, grounds, self.moment).cloned() else {
            return Some(self.refused(FailureClass::Client, "its two names do not go together under these rules"));
        };
        match (&rule.kind, &grounds.shown) {
            (RuleKind::Tunnel { .. } | RuleKind::Default(Unpinned::Tunnel), Shown::Chain(..)) => None,
            (RuleKind::Tunnel { .. } | RuleKind::Default(Unpinned::Tunnel), Shown::Nothing(named)) => {
                self.refusal_of_name(&rule, grounds, named.as_ref()?)
            }
            (RuleKind::Default(Unpinned::Deny), _) => {
                Some(self.refused(FailureClass::Access, "hosts without a pinset are denied now"))
            }
            (_, Shown::Nothing(_)) => {
                let detail = format!("it was relayed blindly, and its rule is {} now, which judges", rule.label());
                let circumstances = self.circumstances(&rule, &grounds.asked.host, grounds);
                let refusing = Refusing { rule, circumstances, attempt: None };
                Some(self.refused_by(Some(refusing), Rejection::new(FailureClass::Pin, detail)))
            }
            (_, Shown::Chain(host, served)) => {
                self.refusal_of_chain(&rule, grounds, host.as_ref().unwrap_or(&grounds.asked.host), served)
            }
        }
    }

    /// A blind tunnel to one host whose ClientHello names another is no way round the rule of that one, as when it begins.
    fn refusal_of_name(&self, rule: &Rule, grounds: &Grounds, named: &Host) -> Option<Arc<Refused>> {
        let policy = &self.generation.policy;
        let named = Authority { host: named.clone(), port: grounds.asked.port };
        let found = policy.select(&named, self.moment);
        let goes_together = match (&rule.kind, &grounds.asked.host) {
            _ if named == grounds.asked => true,
            (RuleKind::Tunnel { .. }, _) => found.pinset().is_none(),
            (_, Host::Address(_)) => matches!(found.kind, RuleKind::Default(Unpinned::Tunnel)),
            (_, Host::Name(_)) => policy.select_for_mismatch(&grounds.asked, &named, self.moment).is_some(),
        };
        let detail =
            || format!("it was relayed blindly, and its ClientHello names {named}, whose rule is {}", found.label());
        (!goes_together).then(|| self.refused(FailureClass::Client, detail()))
    }

    fn check_access(&self, grounds: &Grounds) -> Result<(), AccessError> {
        let access = &self.generation.access;
        access.check_client(grounds.client)?;
        access.check_target(&grounds.asked)?;
        if let Shown::Chain(Some(host), _) | Shown::Nothing(Some(host)) = &grounds.shown {
            access.check_target(&Authority { host: host.clone(), port: grounds.asked.port })?;
        }
        grounds.address.map_or(Ok(()), |address| access.check_address(address.ip()))
    }

    fn refusal_of_chain(
        &mut self,
        rule: &Arc<Rule>,
        grounds: &Grounds,
        host: &Host,
        served: &Arc<[CertificateDer<'static>]>,
    ) -> Option<Arc<Refused>> {
        let circumstances = self.circumstances(rule, host, grounds);
        let same = Same {
            served: Arc::as_ptr(served).addr(),
            rule: Arc::as_ptr(rule).addr(),
            judged: host.clone(),
            enforced: !matches!(rule.demand(&circumstances), Demand::Pins { enforced: false, .. }),
            overridden: circumstances.overridden,
        };
        if let Some(known) = self.known.get(&same) {
            return known.clone();
        }
        let materials = &self.generation.materials;
        let (Some(anchors), Some((end_entity, others))) = (materials.anchors_of(rule), served.split_first()) else {
            return Some(self.refused(FailureClass::Internal, "there is nothing to judge this session by"));
        };
        let question = Question {
            anchors: Arc::clone(anchors),
            revocation: Arc::clone(&materials.revocation),
            policy: Arc::clone(&self.generation.policy),
            rule: Arc::clone(rule),
            host: host.clone(),
        };
        let attempt = self.generation.chains.verify(&question, end_entity, others, &circumstances);
        let chain = attempt.result.as_ref().map_err(Clone::clone);
        let refused = match evaluate(&self.generation.policy, rule, &circumstances, chain) {
            // Also where a certificate has ended since: what else the rules have against the chain would not be known.
            Decision::Refused(rejection) => {
                let refusing = Refusing { rule: Arc::clone(rule), circumstances, attempt: Some(attempt) };
                Some(self.refused_by(Some(refusing), rejection))
            }
            Decision::Allowed { .. } => None,
        };
        self.known.insert(same, refused.clone());
        refused
    }
}

/// The rule of a session, found as when it began. None where its two names disagree.
fn rule_of<'a>(policy: &'a Policy, grounds: &Grounds, moment: Moment) -> Option<&'a Arc<Rule>> {
    let asked = &grounds.asked;
    match &grounds.shown {
        Shown::Chain(Some(host), _) => {
            let named = Authority { host: host.clone(), port: asked.port };
            match asked.host {
                Host::Address(_) => policy.select_for_address(asked, &named, moment).ok(),
                Host::Name(_) => policy.select_for_mismatch(asked, &named, moment),
            }
        }
        _ => Some(policy.select(asked, moment)),
    }
}
