//! What the files of a configuration hold that chains are verified with, trust anchors and revocation lists, and what is shown
//! to upstreams that ask for a certificate. And which files our own addresses speak TLS with.

pub mod own;

use crate::config::{self, Config, ExtraRoots, ParentKind, Roots};
use crate::policy::by_host::ByHost;
use crate::policy::host::Host;
use crate::policy::pinset::Pinset;
use crate::policy::rules::Rule;
use crate::tls::anchors::{AnchorError, AnchorSource, ExtraAnchors, TrustAnchors};
use crate::tls::identity::{Identity, IdentityError};
use crate::tls::ordinary::ordinary;
use crate::tls::revocation::{Revocation, RevocationError, RevocationMode};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::SystemTime;

/// What chains are verified with, of one moment.
#[derive(Clone, Debug)]
pub struct Materials {
    /// The trust anchors of every rule that has none of its own.
    pub common: Arc<TrustAnchors>,
    /// Those of pinsets with a source of their own, by the name that rules know it by.
    pub own: HashMap<Arc<str>, Arc<TrustAnchors>>,
    /// The revocation lists.
    pub revocation: Arc<Revocation>,
    /// TLS with the parent proxy, where it speaks that.
    pub parent_tls: Option<Arc<ClientConfig>>,
    /// What is shown to upstreams that ask for a certificate.
    identities: Arc<ByHost<Identity>>,
    /// What may not be among the anchors.
    ca: Vec<CertificateDer<'static>>,
}

/// Why the files cannot be used. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum MaterialsError {
    /// The trust anchors.
    #[error(transparent)]
    Anchors(#[from] AnchorError),
    /// The revocation lists.
    #[error(transparent)]
    Revocation(#[from] RevocationError),
    /// A client certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The TLS library.
    #[error("TLS with the parent proxy cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Materials {
    /// Reads every file that a configuration names for it, all or nothing. A certificate of `ca`, the proxy's own CA,
    /// never becomes an anchor: it is passed over in the system's bundle, and an error in a file that is named.
    ///
    /// # Errors
    /// When anchors or revocation lists cannot be used.
    pub fn load(config: &Config, ca: &[CertificateDer<'static>]) -> Result<Self, MaterialsError> {
        let upstream = &config.upstream;
        let extra: Vec<_> = upstream.extra_roots.iter().map(added).collect();
        let mut own = HashMap::with_capacity(config.anchor_sets.len());
        for (name, roots) in &config.anchor_sets {
            own.insert(Arc::clone(name), Arc::new(TrustAnchors::load(&source(roots), &[], ca)?));
        }
        let common = Arc::new(TrustAnchors::load(&source(&upstream.roots), &extra, ca)?);
        let speaks_tls = upstream.parent.as_ref().is_some_and(|parent| parent.kind() == ParentKind::Https);
        let parent_tls = if speaks_tls { Some(Arc::new(ordinary(&common)?)) } else { None };
        Ok(Self {
            common,
            own,
            revocation: Arc::new(Revocation::load(revocation_mode(upstream.revocation), &upstream.crls)?),
            parent_tls,
            identities: Arc::new(identities(config)?),
            ca: ca.to_vec(),
        })
    }

    /// What is shown to this host, if it asks for a certificate.
    pub fn identity_for(&self, host: &Host, port: NonZeroU16) -> Option<&Identity> {
        self.identities.get(host, port)
    }

    /// Whether it is certain that none of these certificates is among the anchors.
    pub fn are_without(&self, ca: &[CertificateDer<'_>]) -> bool {
        ca.iter().all(|certificate| self.ca.contains(certificate))
    }

    /// The trust anchors that chains under this rule may end in. `None` where they were not loaded, which [`Self::load`]
    /// rules out; nothing is trusted then.
    pub fn anchors_of(&self, rule: &Rule) -> Option<&Arc<TrustAnchors>> {
        match rule.pinset().and_then(Pinset::own_anchors) {
            None => Some(&self.common),
            Some(name) => self.own.get(name),
        }
    }

    /// When the last of the trust anchors that a rule has for itself ends.
    pub fn own_anchors_end(&self, rule: &Rule) -> Option<SystemTime> {
        let name = rule.pinset().and_then(Pinset::own_anchors)?;
        self.own.get(name)?.end()
    }
}

fn identities(config: &Config) -> Result<ByHost<Identity>, IdentityError> {
    let mut identities = ByHost::default();
    for certificate in &config.upstream.client_certificates {
        let identity = Identity::load(&certificate.certificate, &certificate.key)?;
        for pattern in &certificate.hosts {
            // A second one for a pattern is an error of the configuration.
            let _ = identities.insert(pattern.clone(), identity.clone());
        }
    }
    Ok(identities)
}

/// Where the anchors of a configuration come from.
pub fn source(roots: &Roots) -> AnchorSource {
    match roots {
        Roots::System => AnchorSource::System,
        Roots::Webpki => AnchorSource::Mozilla,
        Roots::File(path) => AnchorSource::File(path.clone()),
    }
}

/// The anchors of a file that is added to others.
pub fn added(extra: &ExtraRoots) -> ExtraAnchors {
    ExtraAnchors { path: extra.file.clone(), exempts_pins: extra.exempts_pins }
}

const fn revocation_mode(revocation: config::Revocation) -> RevocationMode {
    match revocation {
        config::Revocation::Off => RevocationMode::Off,
        config::Revocation::WhenAvailable => RevocationMode::WhenAvailable,
        config::Revocation::Require => RevocationMode::Require,
    }
}
