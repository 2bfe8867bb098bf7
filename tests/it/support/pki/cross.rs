//! Many ways up from one leaf.

use super::{Ca, Chain, Leaf};

/// One authority certified by many roots.
///
/// Every path has four signatures: leaf by [`issuing`](Self::issuing), that by [`policy`](Self::policy), that by the
/// shared authority, that by a root. webpki checks at most 100 signatures for one leaf, so it tries 25 such paths and
/// gives up at the 26th.
pub(crate) struct CrossSigns {
    /// The roots, each the end of one path.
    pub(crate) roots: Vec<Ca>,
    /// The shared authority: the same subject and key in each, certified by the root at the same position.
    pub(crate) variants: Vec<Ca>,
    /// The authority below the shared one.
    pub(crate) policy: Ca,
    /// The authority below that, which signs leaves.
    pub(crate) issuing: Ca,
}

/// `paths` ways to a root. Trusting one of [`CrossSigns::roots`] opens one way, trusting all of them opens all.
pub(crate) fn many_cross_signs(paths: usize) -> CrossSigns {
    let roots: Vec<Ca> = (0..paths).map(|at| Ca::root(&format!("Root {at}"))).collect();
    let shared = Ca::root("Shared");
    let variants: Vec<Ca> = roots.iter().map(|root| shared.cross_sign(root)).collect();
    let policy = variants.first().unwrap_or(&shared).intermediate("Policy");
    let issuing = policy.intermediate("Issuing");
    CrossSigns { roots, variants, policy, issuing }
}

impl CrossSigns {
    /// A leaf below, presented with the two authorities above it and every variant of the shared authority, in order.
    pub(crate) fn chain(&self, leaf: Leaf) -> Chain {
        let chain = leaf.signed_by(&self.issuing);
        let above = [chain.leaf(), self.issuing.der(), self.policy.der()].map(Clone::clone).to_vec();
        Chain::of(above, chain.key).append_all(self.variants.iter().map(Ca::der))
    }
}
