//! Chains that were verified a short while ago. The path that the same certificates lead to under the same rule stays the
//! same until something that it depends on changes; until then it is looked up instead of built again.
//!
//! Only what was accepted is remembered, and only the path: the name is checked anew each time, the verdict is taken anew
//! from the path ([`crate::policy::decision::evaluate`]), and each handshake proves anew that the upstream has the key. An
//! entry ends with the first of: the begin or the end of any certificate that was served or of any anchor, the next update
//! of a revocation list where those are binding, and [`CHAIN_MEMORY_LIFETIME`]. It is good for the policy, the rule, the
//! anchors and the lists that it was found with, and for no others that are equal to them.

use super::anchors::TrustAnchors;
use super::chain::{Attempt, VerifiedChain, whole_seconds};
use super::revocation::Revocation;
use super::verify::Question;
use crate::policy::moment::Circumstances;
use crate::policy::pin::Sha256;
use crate::policy::pinset::Demand;
use crate::policy::rules::{Policy, Rule};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256 as Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Longest time for which a chain is remembered.
pub const CHAIN_MEMORY_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Octets that all remembered chains may take together, roughly.
pub const CHAIN_MEMORY_OCTETS_MAX: u64 = 8 << 20;

/// What a remembered chain takes beside its certificates, roughly.
const ENTRY_OCTETS: u64 = 1024;

/// Chains that were verified a short while ago.
#[derive(Debug)]
pub struct ChainMemory {
    chains: Cache<Key, Arc<Remembered>, Octets>,
    answered: AtomicU64,
}

/// What a chain is looked up by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// Of the certificates that were served, all of them, in their order.
    served: Sha256,
    /// Where the rule is. The entry keeps the rule, so no other one comes to be there while it is looked up: two rules that
    /// the same chain is served under have an entry each.
    rule: usize,
    asked: Asked,
}

/// What was asked about the chain. The other demands cost nothing that would be worth remembering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Asked {
    Chain,
    Pins { enforced: bool },
}

/// What verification found, and what it depends on.
#[derive(Debug)]
struct Remembered {
    chain: VerifiedChain,
    served: Arc<[CertificateDer<'static>]>,
    validated: Vec<CertificateDer<'static>>,
    policy: Arc<Policy>,
    /// What [`Key::rule`] is the place of.
    _rule: Arc<Rule>,
    anchors: Arc<TrustAnchors>,
    revocation: Arc<Revocation>,
    /// It is not known what was before.
    from: SystemTime,
    /// The first moment at which it may be otherwise.
    until: SystemTime,
}

#[derive(Clone, Copy, Debug)]
struct Octets;

impl Weighter<Key, Arc<Remembered>> for Octets {
    fn weight(&self, _: &Key, remembered: &Arc<Remembered>) -> u64 {
        let certificates: usize =
            remembered.validated.iter().chain(remembered.served.iter()).map(|der| der.len()).sum();
        let paths = remembered.chain.passed_over.len() + 1;
        (ENTRY_OCTETS * paths as u64).saturating_add(certificates as u64)
    }
}

impl Default for ChainMemory {
    fn default() -> Self {
        Self::holding(CHAIN_MEMORY_OCTETS_MAX)
    }
}

impl Remembered {
    /// Whether it answers this question at this time.
    fn answers(&self, question: &Question, now: SystemTime) -> bool {
        Arc::ptr_eq(&self.policy, &question.policy)
            && Arc::ptr_eq(&self.anchors, &question.anchors)
            && Arc::ptr_eq(&self.revocation, &question.revocation)
            && (self.from..self.until).contains(&now)
    }
}

impl ChainMemory {
    /// A memory of at most so many octets. A chain that takes too many of them is not remembered.
    pub fn holding(octets: u64) -> Self {
        let entries = usize::try_from(octets / ENTRY_OCTETS).unwrap_or(usize::MAX);
        Self { chains: Cache::with_weighter(entries, octets, Octets), answered: AtomicU64::new(0) }
    }

    /// As [`Question::verify`], which is asked where nothing is remembered.
    pub fn verify(
        &self,
        question: &Question,
        end_entity: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        circumstances: &Circumstances,
    ) -> Attempt {
        let asked = match question.rule.demand(circumstances) {
            Demand::Chain => Asked::Chain,
            Demand::Pins { enforced, .. } => Asked::Pins { enforced },
            Demand::Expired | Demand::PinOnly { .. } => return question.verify(end_entity, others, circumstances),
        };
        let now = whole_seconds(circumstances.moment.latest());
        let rule = Arc::as_ptr(&question.rule).addr();
        let key = Key { served: digest(end_entity, others), rule, asked };
        let known = self.chains.get(&key).filter(|known| known.answers(question, now));
        // A certificate for other names is left to verification, which says so.
        let again = known.and_then(|known| Some((question.verify_again(&known.chain, end_entity)?, known)));
        if let Some((chain, known)) = again {
            self.answered.fetch_add(1, Ordering::Relaxed);
            return Attempt {
                result: Ok(chain),
                served: Arc::clone(&known.served),
                validated: known.validated.clone(),
            };
        }
        let attempt = question.verify(end_entity, others, circumstances);
        if let Ok(chain) = &attempt.result {
            let remembered = Remembered {
                chain: chain.clone(),
                served: Arc::clone(&attempt.served),
                validated: attempt.validated.clone(),
                policy: Arc::clone(&question.policy),
                _rule: Arc::clone(&question.rule),
                anchors: Arc::clone(&question.anchors),
                revocation: Arc::clone(&question.revocation),
                from: now,
                until: chain.unchanged_until.min(now + CHAIN_MEMORY_LIFETIME),
            };
            self.chains.insert(key, Arc::new(remembered));
        }
        attempt
    }

    /// How many questions were answered from memory.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// How many chains are remembered; those that are out of date are among them until others take their place.
    pub fn entries(&self) -> usize {
        self.chains.len()
    }
}

/// Of several octet strings in their order; each with its length, so that no two lists have one digest.
fn digest(end_entity: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Sha256 {
    let mut hasher = Hasher::new();
    for der in std::iter::once(end_entity).chain(others) {
        hasher.update((der.len() as u64).to_be_bytes());
        hasher.update(der);
    }
    hasher.finalize().into()
}
