//! What a generation finds against a session, by what its upstream has shown.

use super::{Closing, Grounds, Refused, Refusing, Shown, Standing};
use crate::policy::access::AccessError;
use crate::policy::decision::{Decision, FailureClass, Rejection, evaluate};
use crate::policy::host::{Authority, Host};
use crate::policy::moment::{Circumstances, Moment};
use crate::policy::pinset::Demand;
use crate::policy::rules::{Policy, Rule, RuleKind, Unpinned};
use crate::proxy::{Generation, Proxy};
use crate::tls::verify::Question;
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::sync::Arc;

/// Judges open sessions by a generation. What it found out about a chain under a rule holds for all sessions with both.
pub(super) struct Judge<'p> {
    proxy: &'p Proxy,
    generation: Arc<Generation>,
    moment: Moment,
    known: HashMap<Same, Known>,
}

/// What was found out. The certificates are kept, so that no others come to be where they are.
struct Known {
    refused: Option<Arc<Refused>>,
    _served: Arc<[CertificateDer<'static>]>,
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
    /// Judges every session behind its 200 by the generation in force, and ends those that it refuses. Gives their number.
    /// What it costs grows with the number of different chains; no task waits for it.
    pub fn judge_open_sessions(&self) -> usize {
        let mut judge = Judge::new(self, self.generation());
        self.standings.all().iter().filter(|standing| judge.judge(standing)).count()
    }
}

impl<'p> Judge<'p> {
    pub(super) fn new(proxy: &'p Proxy, generation: Arc<Generation>) -> Self {
        Self { proxy, generation, moment: proxy.time.moment(), known: HashMap::new() }
    }

    /// Whether a session has to end, and is told so.
    pub(super) fn judge(&mut self, standing: &Standing) -> bool {
        let refused = self.refusal(&standing.grounds());
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

    fn circumstances(&self, rule: &Rule, host: &Host, grounds: &Grounds<'_>) -> Circumstances {
        self.proxy.circumstances(rule, host, grounds.asked.port, grounds.client, self.moment)
    }

    fn refusal(&mut self, grounds: &Grounds<'_>) -> Option<Arc<Refused>> {
        if let Err(error) = self.check_access(grounds) {
            return Some(self.refused(FailureClass::Access, error.to_string()));
        }
        let Some(rule) = rule_of(&self.generation.policy, grounds, self.moment).cloned() else {
            return Some(self.refused(FailureClass::Client, "its two names do not go together under these rules"));
        };
        match (&rule.kind, &grounds.shown) {
            // One that was not asked is judged when its ClientHello has come.
            (_, Shown::Unasked) | (RuleKind::Tunnel { .. } | RuleKind::Default(Unpinned::Tunnel), Shown::Chain(..)) => {
                None
            }
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
    fn refusal_of_name(&self, rule: &Rule, grounds: &Grounds<'_>, named: &Host) -> Option<Arc<Refused>> {
        let policy = &self.generation.policy;
        let named = Authority { host: named.clone(), port: grounds.asked.port };
        let found = policy.select(&named, self.moment);
        let goes_together = match (&rule.kind, &grounds.asked.host) {
            _ if named == *grounds.asked => true,
            (RuleKind::Tunnel { .. }, _) => found.pinset().is_none(),
            (_, Host::Address(_)) => matches!(found.kind, RuleKind::Default(Unpinned::Tunnel)),
            (_, Host::Name(_)) => policy.select_for_mismatch(grounds.asked, &named, self.moment).is_some(),
        };
        let detail =
            || format!("it was relayed blindly, and its ClientHello names {named}, whose rule is {}", found.label());
        (!goes_together).then(|| self.refused(FailureClass::Client, detail()))
    }

    fn check_access(&self, grounds: &Grounds<'_>) -> Result<(), AccessError> {
        let access = &self.generation.access;
        access.check_client(grounds.client)?;
        access.check_target(grounds.asked)?;
        if let Shown::Chain(Some(host), _) | Shown::Nothing(Some(host)) = &grounds.shown {
            access.check_target(&Authority { host: host.clone(), port: grounds.asked.port })?;
        }
        match grounds.address {
            Some(address) => access.check_address(address.ip()),
            // A parent has looked it up.
            None => access.check_unknown_address(grounds.asked),
        }
    }

    fn refusal_of_chain(
        &mut self,
        rule: &Arc<Rule>,
        grounds: &Grounds<'_>,
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
            return known.refused.clone();
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
        self.known.insert(same, Known { refused: refused.clone(), _served: Arc::clone(served) });
        refused
    }
}

/// The rule of a session, found as when it began. None where its two names disagree.
fn rule_of<'a>(policy: &'a Policy, grounds: &Grounds<'_>, moment: Moment) -> Option<&'a Arc<Rule>> {
    let asked = grounds.asked;
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
