//! The chain that verification built. Nothing else can make one.

use crate::policy::decision::{Candidate, ChainProof, Footing, Rejection};
use crate::policy::host::Host;
use crate::policy::pin::Sha256;
use crate::policy::pinset::PathElement;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A chain that was verified for a host: proof that verification succeeded, because only [`super::verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedChain {
    pub(super) host: Host,
    pub(super) footing: Footing,
    pub(super) path: Vec<PathElement>,
    /// Keys that were served beside the end entity, where no path was built.
    pub(super) beside: Vec<Sha256>,
    pub(super) passed_over: Vec<Candidate>,
    pub(super) leaf_not_after: Option<SystemTime>,
    pub(super) exempts_pins: bool,
    /// The first moment from which on the same certificates may come to something else.
    pub(super) unchanged_until: SystemTime,
}

/// What one verification found, with the certificates for a report.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The chain, or why there is none.
    pub result: Result<VerifiedChain, Rejection>,
    /// What the upstream served, end entity first, as it came. Sessions with one chain share it for as long as they are
    /// open, where it is remembered.
    pub served: Arc<[CertificateDer<'static>]>,
    /// The first path that verified as a chain and was turned down, end entity first, anchor last. Empty when every
    /// path that verified was accepted, or none verified.
    pub validated: Vec<CertificateDer<'static>>,
}

impl Attempt {
    /// SHA-256 of the end entity that was served.
    pub fn leaf_sha256(&self) -> Option<Sha256> {
        self.served.first().map(|leaf| super::anchors::sha256(leaf))
    }
}

impl VerifiedChain {
    /// End of the end entity's validity; `None` when the rule says not to look at it.
    pub const fn leaf_not_after(&self) -> Option<SystemTime> {
        self.leaf_not_after
    }
}

impl ChainProof for VerifiedChain {
    fn host(&self) -> &Host {
        &self.host
    }

    fn footing(&self) -> Footing {
        self.footing
    }

    fn path(&self) -> &[PathElement] {
        &self.path
    }

    fn beside(&self) -> &[Sha256] {
        &self.beside
    }

    fn passed_over(&self) -> &[Candidate] {
        &self.passed_over
    }

    fn exempts_pins(&self) -> bool {
        self.exempts_pins
    }
}

/// A time of a certificate. Times before 1970 become the epoch: such a certificate is long expired either way.
pub(super) fn system_time(timestamp: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(timestamp).unwrap_or(0))
}

/// A moment as certificates can state it: the last second of a validity belongs to it whole (RFC 5280 section 4.1.2.5).
pub(super) fn whole_seconds(moment: SystemTime) -> SystemTime {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// The second behind the last one of a validity.
pub(super) fn after(not_after: SystemTime) -> SystemTime {
    not_after.checked_add(Duration::from_secs(1)).unwrap_or(not_after)
}
