//! The leaf certificates of the origins: one that all names of all origins share, and one for each name that is to have
//! its own. A proxy that remembers chains knows the first after one session, the others never.

use crate::Result;
use crate::names::{Key, Site, has_own_certificate};
use crate::pki::{all_names, end_entity, key_of};
use rcgen::{CertifiedIssuer, IsCa, KeyIdMethod, KeyPair, SerialNumber};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Most names that have certificates of their own at once.
const OWN_MAX: usize = 10_000;
/// Octets of a serial number. It and the key identifier are the two halves of a digest of the name.
const NUMBER: usize = 16;

/// What the origins show, by name.
pub(crate) struct Leaves {
    issuer: CertifiedIssuer<'static, KeyPair>,
    ecdsa: Kind,
    rsa: Kind,
    own: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

/// All that has the same kind of key has the same key: making one for each name would take seconds with RSA.
struct Kind {
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
    shared: Arc<CertifiedKey>,
}

/// What one origin looks its certificate up with.
struct Shown {
    leaves: Arc<Leaves>,
    key: Key,
}

impl Leaves {
    /// The certificates that names share.
    pub(crate) fn new(issuer: CertifiedIssuer<'static, KeyPair>) -> Result<Self> {
        let (ecdsa, rsa) = (Kind::new(Key::Ecdsa, &issuer)?, Kind::new(Key::Rsa, &issuer)?);
        Ok(Self { issuer, ecdsa, rsa, own: RwLock::default() })
    }

    /// Makes a certificate for each of these names of a site, before anybody measures. Those made earlier are forgotten.
    pub(crate) fn make_own(&self, site: Site, names: impl ExactSizeIterator<Item = String>) -> Result<()> {
        if names.len() > OWN_MAX {
            return Err(format!(
                "{} names are more than the {OWN_MAX} that have own certificates at once",
                names.len()
            )
            .into());
        }
        let kind = self.kind(site.key);
        let made = names.map(|name| {
            let certified = self.own_certificate(kind, &name)?;
            Ok((name, Arc::new(certified)))
        });
        let made = made.collect::<Result<_>>()?;
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = made;
        Ok(())
    }

    /// The RSA key of the origins.
    pub(crate) fn rsa(&self) -> &Arc<dyn SigningKey> {
        &self.rsa.signing
    }

    /// What answers for a name; none where it ought to have a certificate of its own and has none.
    fn of(&self, key: Key, name: &str) -> Option<Arc<CertifiedKey>> {
        if has_own_certificate(name) {
            return self.own.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        }
        Some(Arc::clone(&self.kind(key).shared))
    }

    fn own_certificate(&self, kind: &Kind, name: &str) -> Result<CertifiedKey> {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
        let mut params = end_entity(vec![name.to_owned()], name)?;
        let (mut number, identifier) = (digest.as_ref()[..NUMBER].to_vec(), &digest.as_ref()[NUMBER..]);
        // Positive, and of the same length for all.
        number[0] = number[0] & 0x7F | 0x40;
        params.serial_number = Some(SerialNumber::from(number));
        // With this rcgen writes the identifier.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_identifier_method = KeyIdMethod::PreSpecified(identifier.to_vec());
        let certificate = params.signed_by(&kind.key, &self.issuer)?;
        let chain = vec![certificate.der().clone(), self.issuer.der().clone()];
        Ok(CertifiedKey::new(chain, Arc::clone(&kind.signing)))
    }

    fn kind(&self, key: Key) -> &Kind {
        match key {
            Key::Ecdsa => &self.ecdsa,
            Key::Rsa => &self.rsa,
        }
    }
}

impl Kind {
    fn new(key: Key, issuer: &CertifiedIssuer<'static, KeyPair>) -> Result<Self> {
        let key = key_of(key)?;
        let certificate = end_entity(all_names(), "bench.test")?.signed_by(&key, issuer)?;
        let signing = any_supported_type(&PrivateKeyDer::try_from(key.serialize_der())?)?;
        let chain = vec![certificate.der().clone(), issuer.der().clone()];
        let shared = Arc::new(CertifiedKey::new(chain, Arc::clone(&signing)));
        Ok(Self { key, signing, shared })
    }
}

/// The certificates of one site, by the server name of each client.
pub(crate) fn resolver(leaves: &Arc<Leaves>, site: Site) -> Arc<dyn ResolvesServerCert> {
    Arc::new(Shown { leaves: Arc::clone(leaves), key: site.key })
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.leaves.of(self.key, &hello.server_name()?.to_ascii_lowercase())
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Pki;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::{ServerName, UnixTime};

    /// The leaf that is shown for a name, once a client has accepted it for that name.
    fn accepted(pki: &Pki, key: Key, name: &str) -> Option<Vec<u8>> {
        let roots = Arc::new(crate::pki::root_store(&[pki.roots()]).unwrap());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build().unwrap();
        let shown = pki.leaves().of(key, name)?;
        let (leaf, others) = shown.cert.split_first().unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.verify_server_cert(leaf, others, &name, &[], UnixTime::now()).unwrap();
        shown.keys_match().unwrap();
        Some(leaf.to_vec())
    }

    #[test]
    fn a_never_seen_name_has_a_certificate_of_its_own_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::make(folder.path()).unwrap();
        for site in Site::ALL {
            let [one, two, later] = [1, 2, 3].map(|number| site.own_host(number));
            assert_eq!(accepted(&pki, site.key, &one), None, "nothing was made yet");
            pki.leaves().make_own(site, [one.clone(), two.clone()].into_iter()).unwrap();
            let shown = [&one, &two, &site.host("warm1"), &site.host("warm2")]
                .map(|name| accepted(&pki, site.key, name).unwrap());
            assert_ne!(shown[0], shown[1], "each its own");
            assert_ne!(shown[0], shown[2], "and not the shared one");
            assert_eq!(shown[2], shown[3], "which others share");
            assert_eq!(accepted(&pki, site.key, &later), None, "never the shared one instead");
            pki.leaves().make_own(site, std::iter::once(later.clone())).unwrap();
            assert!(accepted(&pki, site.key, &later).is_some());
            assert_eq!(accepted(&pki, site.key, &one), None, "those made earlier are forgotten");
        }
        let many = (0..=OWN_MAX).map(|number| Site::MODERN.own_host(number)).collect::<Vec<_>>();
        assert!(pki.leaves().make_own(Site::MODERN, many.into_iter()).is_err(), "their number is bounded");
    }
}
