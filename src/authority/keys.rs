//! The keys of the leaves: one of each kind for the whole process, never the CA's.
//!
//! A key per leaf would protect nothing more, as all would lie in the same memory; the CA key however signs leaves and
//! nothing else, so that no handshake ever touches it.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SubjectPublicKeyInfo};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroize;

use super::error::IssueError;

/// The kind of key in a leaf. The caller chooses it for each `ClientHello`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeafKeyKind {
    /// ECDSA on P-256: for every client that can.
    EcdsaP256,
    /// RSA with 2048 bits: for clients that offer no ECDSA.
    Rsa2048,
}

impl LeafKeyKind {
    /// What kind of signatures it makes.
    pub const fn family(self) -> KeyFamily {
        match self {
            Self::EcdsaP256 => KeyFamily::Ecdsa,
            Self::Rsa2048 => KeyFamily::Rsa,
        }
    }
}

/// What kind of signatures a key makes, as far as it matters to who has to verify them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFamily {
    /// ECDSA, on whatever curve.
    Ecdsa,
    /// RSA, of whatever size and padding.
    Rsa,
}

impl fmt::Display for KeyFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ecdsa => "ECDSA",
            Self::Rsa => "RSA",
        })
    }
}

/// A leaf key, ready for rustls.
pub(super) struct LeafKey {
    /// The public key for the certificate.
    pub(super) public_key: SubjectPublicKeyInfo,
    /// The private key for handshakes; parsed once, shared by all leaves.
    pub(super) signing_key: Arc<dyn rustls::sign::SigningKey>,
}

/// The leaf keys of the process.
pub(super) struct LeafKeys {
    ecdsa: LeafKey,
    rsa: OnceLock<LeafKey>,
    /// Held while the RSA key is generated for a client, so that it is generated once for all that come meanwhile.
    generating_rsa: Mutex<()>,
}

impl LeafKeys {
    /// Generates the ECDSA key. The RSA key waits until it is needed: it costs some 40 ms, and few clients need it.
    pub(super) fn generate() -> Result<Self, IssueError> {
        Ok(Self {
            ecdsa: LeafKey::generate(LeafKeyKind::EcdsaP256)?,
            rsa: OnceLock::new(),
            generating_rsa: Mutex::new(()),
        })
    }

    /// The key of that kind. The first call for RSA generates it, calls meanwhile wait for that one.
    pub(super) fn get(&self, kind: LeafKeyKind) -> Result<&LeafKey, IssueError> {
        match kind {
            LeafKeyKind::EcdsaP256 => Ok(&self.ecdsa),
            LeafKeyKind::Rsa2048 => self.rsa(),
        }
    }

    /// Generates the RSA key ahead of its use. Not under the lock: a client that needs the key meanwhile must not wait for a
    /// thread that all others go before, but makes its own, and one of both is kept.
    pub(super) fn prepare_rsa(&self) -> Result<(), IssueError> {
        if self.rsa.get().is_none() {
            let key = LeafKey::generate(LeafKeyKind::Rsa2048)?;
            self.rsa.get_or_init(|| key);
        }
        Ok(())
    }

    fn rsa(&self) -> Result<&LeafKey, IssueError> {
        if let Some(key) = self.rsa.get() {
            return Ok(key);
        }
        // The lock guards no data, so a panic under it leaves nothing broken behind.
        let _generating = self.generating_rsa.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = self.rsa.get() {
            return Ok(key);
        }
        let key = LeafKey::generate(LeafKeyKind::Rsa2048)?;
        Ok(self.rsa.get_or_init(|| key))
    }
}

impl LeafKey {
    fn generate(kind: LeafKeyKind) -> Result<Self, IssueError> {
        let generated = match kind {
            LeafKeyKind::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            LeafKeyKind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        let failed = |error: &dyn std::error::Error| IssueError::LeafKey(error.to_string());
        let mut key_pair = generated.map_err(|error| failed(&error))?;
        let public_key =
            SubjectPublicKeyInfo::from_der(&key_pair.subject_public_key_info()).map_err(|error| failed(&error))?;
        let mut private_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key_pair.serialize_der()));
        let signing_key = any_supported_type(&private_key).map_err(|error| failed(&error));
        private_key.zeroize();
        key_pair.zeroize();
        Ok(Self { public_key, signing_key: signing_key? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_made_ahead_is_the_one_that_clients_get_and_a_second_one_is_not_kept() {
        let keys = LeafKeys::generate().unwrap();
        // As if a client had the lock: what is made ahead waits for nobody.
        let client = keys.generating_rsa.lock().unwrap();
        keys.prepare_rsa().unwrap();
        drop(client);
        let address = || std::ptr::from_ref(keys.get(LeafKeyKind::Rsa2048).unwrap()).addr();
        let public = || keys.get(LeafKeyKind::Rsa2048).unwrap().public_key.der_bytes().to_vec();
        let before = (address(), public());
        keys.prepare_rsa().unwrap();
        assert_eq!((address(), public()), before);
    }

    #[test]
    fn concurrent_callers_get_one_rsa_key() {
        let keys = LeafKeys::generate().unwrap();
        let addresses: Vec<usize> = std::thread::scope(|scope| {
            let get = || std::ptr::from_ref(keys.get(LeafKeyKind::Rsa2048).unwrap()).addr();
            let waiting: Vec<_> = (0..8).map(|_| scope.spawn(get)).collect();
            waiting.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(addresses.iter().all(|address| *address == addresses[0]));
        assert_eq!(keys.get(LeafKeyKind::Rsa2048).unwrap().signing_key.algorithm(), rustls::SignatureAlgorithm::RSA);
    }
}
