//! What the rules say of one host, and why: the answer to `pins explain`, as data.

mod told;

use super::access::Access;
use super::host::{Authority, Host};
use super::moment::Moment;
use super::pattern::{HostPattern, Scope};
use super::pin::Pin;
use super::pinset::{AnchorSet, Basis, Mode, Pinset, Stance};
use super::protection::Protection;
use super::rollout::{Lot, Rate, Rollout};
use super::rules::{Defaults, NameMismatch, Policy, Rule, RuleKind, Unpinned};
use super::timestamp::Timestamp;
use serde::Serialize;
use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use told::after_expiry_word;
pub use told::{
    AcceptsTold, AccessTold, Because, ExpiryTold, List, Loser, Matched, OtherName, PinsetTold, RolloutTold, ScopeTold,
    StepTold, Told, TrustTold,
};
pub(super) use told::{denied_keys, name_check_words, plaintext_word, unpinned_word, validity_check_word};

/// What an explanation is drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Grounds<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// What is done with hosts that no rule names.
    pub defaults: Defaults,
    /// Who may ask for what.
    pub access: &'a Access,
    /// The files with anchors whose chains are exempt from pins.
    pub exempting: &'a [String],
    /// When.
    pub at: Timestamp,
    /// For which client; for all of them when absent.
    pub client: Option<IpAddr>,
}

/// What the rules say of one host and port.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The host, in canonical form.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The moment that it is true of.
    pub at: Timestamp,
    /// The client that it is true of; all of them when absent.
    pub client: Option<IpAddr>,
    /// What becomes of a connection that shows no pinned key.
    pub protection: Protection,
    /// Whether a connection that shows no pinned key is refused.
    pub enforced: bool,
    /// The rule that wins.
    pub rule: Told,
    /// By which of its patterns; absent for the default.
    pub matched: Option<Matched>,
    /// Rules that match too, the one that comes next first.
    pub lost: Vec<Loser>,
    /// The pins, where the rule is a pinset.
    pub pinset: Option<PinsetTold>,
    /// The files with anchors whose chains pass without a pin, where the rule would judge pins.
    pub exempting: Vec<String>,
    /// The rule that follows when the exemption is over, where the rule is one.
    pub afterwards: Option<Told>,
    /// How many keys `[[blocklist]]` refuses to every host.
    pub blocked_keys: usize,
    /// What a ClientHello for another host leads to.
    pub other_name: OtherName,
    /// What the access rules say.
    pub access: AccessTold,
    /// What is done with hosts that no rule names.
    pub unpinned: &'static str,
}

impl Explanation {
    /// Changes the texts that are the operator's own (reasons, files, pins, names to be proven), so that what must not
    /// be told can be taken out of them. Hosts, patterns and the names of pinsets stay.
    pub fn edit_texts(&mut self, mut edit: impl FnMut(&mut String)) {
        let rules = self.lost.iter_mut().map(|loser| &mut loser.rule).chain(&mut self.afterwards);
        rules.chain([&mut self.rule]).for_each(|rule| rule.edit_texts(&mut edit));
        self.exempting.iter_mut().chain(&mut self.access.reason).for_each(&mut edit);
        if let Some(pinset) = &mut self.pinset {
            pinset.edit_texts(&mut edit);
        }
    }
}

impl Grounds<'_> {
    /// What the rules say of this host and port.
    pub fn explain(&self, authority: &Authority) -> Explanation {
        let moment = Moment::at(self.at.0);
        let rule = self.policy.select(authority, moment);
        let mut matching = self.matching(authority);
        let winner = matching.iter().position(|(found, _)| Arc::ptr_eq(found, rule)).map(|at| matching.remove(at));
        let matched = winner.map(|(_, pattern)| pattern);
        let lost = matching.into_iter().map(|(other, pattern)| Loser {
            rule: Told::of(other),
            matched: Matched::of(pattern),
            because: matched
                .filter(|_| other.is_in_force(moment))
                .map_or(Because::Over, |winner| Because::between(winner, pattern)),
        });
        let protection = match self.client {
            Some(client) => Protection::for_client(rule, moment, client),
            None => Protection::of(rule, moment),
        };
        Explanation {
            host: authority.host.to_string(),
            port: authority.port.get(),
            at: self.at,
            client: self.client.map(|client| client.to_canonical()),
            protection,
            enforced: protection.is_enforced() && rule.pinset().is_some(),
            lost: lost.collect(),
            rule: Told::of(rule),
            matched: matched.map(Matched::of),
            pinset: rule.pinset().map(|pinset| self.pinset(pinset, moment)),
            exempting: match rule.pinset().map(|pinset| &pinset.basis) {
                Some(Basis::Chain { anchors: AnchorSet::Common, .. }) if protection.judges_pins() => {
                    self.exempting.to_vec()
                }
                _ => Vec::new(),
            },
            afterwards: match &rule.kind {
                RuleKind::Exempt { until, .. } => Some(Told::of(self.policy.select(authority, *until))),
                _ => None,
            },
            blocked_keys: self.policy.blocklist().len(),
            other_name: self.other_name(authority, rule),
            access: self.access(authority),
            unpinned: unpinned_word(self.defaults.unpinned),
        }
    }

    /// The rules that match, each with its most specific pattern that does; the most specific first.
    fn matching<'b>(&'b self, authority: &Authority) -> Vec<(&'b Arc<Rule>, &'b HostPattern)> {
        let rules = self.policy.rules().iter();
        let mut matching: Vec<_> = rules
            .filter_map(|rule| {
                let patterns = rule.hosts.iter().filter(|pattern| pattern.matches(authority));
                Some((rule, patterns.min_by_key(|pattern| rank(pattern))?))
            })
            .collect();
        matching.sort_by_key(|(_, pattern)| rank(pattern));
        matching
    }

    fn pinset(&self, pinset: &Pinset, moment: Moment) -> PinsetTold {
        PinsetTold {
            mode: match &pinset.basis {
                Basis::Chain { stance: Stance::Fixed(Mode::Off), .. } => "off",
                Basis::Chain { stance: Stance::Fixed(Mode::ReportOnly), .. } => "report-only",
                Basis::Chain { stance: Stance::Rollout(_), .. } => "rollout",
                Basis::Chain { stance: Stance::Fixed(Mode::Enforce), .. } | Basis::PinOnly { .. } => "enforce",
            },
            trust: TrustTold::of(&pinset.basis),
            accepts: AcceptsTold::of(pinset.accepts()),
            deny: denied_keys(pinset).map(|key| Pin::Spki(key).to_string()).collect(),
            plaintext: plaintext_word(pinset.plaintext),
            rollout: pinset.rollout().map(|rollout| self.rollout(&pinset.name, rollout, moment)),
            expiry: pinset.expiry.map(|expiry| ExpiryTold {
                at: Timestamp(expiry.at),
                then: after_expiry_word(expiry.then),
                ended: pinset.has_ended(moment),
            }),
        }
    }

    fn rollout(&self, pinset: &str, rollout: &Rollout, moment: Moment) -> RolloutTold {
        let reached = rollout.step_at(moment);
        let steps = rollout.steps().iter().enumerate().map(|(index, step)| StepTold {
            from: Timestamp(step.from),
            percent: step.share.percent(),
            reached: index < reached,
        });
        let client_from = self.client.and_then(|client| {
            let lot = Lot::draw(pinset, client);
            let mut steps = rollout.steps().iter().enumerate();
            steps.find(|(index, _)| rollout.enforces(index + 1, lot)).map(|(_, step)| Timestamp(step.from))
        });
        RolloutTold {
            steps: steps.collect(),
            percent: rollout.share(reached).percent(),
            hold: rollout.hold().map(Rate::fraction),
            client_from,
        }
    }

    fn other_name(&self, authority: &Authority, rule: &Rule) -> OtherName {
        match (&rule.kind, &authority.host, self.defaults.name_mismatch) {
            (RuleKind::Tunnel { .. }, _, _) => OtherName::RelayedUnlessPinned,
            (_, Host::Address(_), _) => OtherName::BothLookedUp,
            (RuleKind::Default(Unpinned::Deny), _, _) => OtherName::NeverRead,
            (RuleKind::Default(_), _, NameMismatch::Allow) => OtherName::JudgedIfUnpinned,
            _ => OtherName::Refused,
        }
    }

    fn access(&self, authority: &Authority) -> AccessTold {
        let address = match authority.host {
            Host::Address(address) => Some(address),
            Host::Name(_) => None,
        };
        let checked = self
            .client
            .map_or(Ok(()), |client| self.access.check_client(client))
            .and_then(|()| self.access.check_target(authority))
            .and_then(|()| address.map_or(Ok(()), |address| self.access.check_address(address)));
        let reason = checked.err().map(|error| error.to_string());
        AccessTold { allowed: reason.is_none(), address_pending: reason.is_none() && address.is_none(), reason }
    }
}

/// The more specific first, as in [`Policy::select`].
fn rank(pattern: &HostPattern) -> (ScopeTold, Reverse<usize>, bool) {
    let labels = match &pattern.scope {
        Scope::Exact(_) => 0,
        Scope::OneLabel(suffix) | Scope::Subtree(suffix) => suffix.as_str().split('.').count(),
    };
    (ScopeTold::of(&pattern.scope), Reverse(labels), pattern.port.is_none())
}

#[cfg(test)]
mod tests;
