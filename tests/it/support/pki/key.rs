//! Key pairs and what a pin says about them.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256,
    PublicKeyData as _, SignatureAlgorithm,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};

/// A key pair; clones are the same key.
#[derive(Clone)]
pub(crate) struct Key(Arc<KeyPair>);

impl Key {
    /// A new key on P-256, the default everywhere: the fastest to make and to sign with.
    pub(crate) fn p256() -> Self {
        Self::new(&PKCS_ECDSA_P256_SHA256)
    }

    /// A new key on P-384.
    pub(crate) fn p384() -> Self {
        Self::new(&PKCS_ECDSA_P384_SHA384)
    }

    /// A new key on P-521.
    pub(crate) fn p521() -> Self {
        Self::new(&PKCS_ECDSA_P521_SHA512)
    }

    /// A new Ed25519 key.
    pub(crate) fn ed25519() -> Self {
        Self::new(&PKCS_ED25519)
    }

    /// THE RSA key of 2048 bits: making one is slow, so the whole process shares it. Two certificates that must differ
    /// in their RSA keys need [`Key::new_rsa2048`].
    pub(crate) fn rsa2048() -> Self {
        static SHARED: OnceLock<Key> = OnceLock::new();
        SHARED.get_or_init(Self::new_rsa2048).clone()
    }

    /// A new RSA key of 2048 bits.
    pub(crate) fn new_rsa2048() -> Self {
        Self::new(&PKCS_RSA_SHA256)
    }

    fn new(algorithm: &'static SignatureAlgorithm) -> Self {
        Self(Arc::new(KeyPair::generate_for(algorithm).expect("aws-lc makes keys of every kind listed here")))
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.0
    }

    pub(super) fn is_rsa(&self) -> bool {
        self.0.is_compatible(&PKCS_RSA_SHA256)
    }

    /// The DER `SubjectPublicKeyInfo`, header of the outer SEQUENCE included.
    pub(crate) fn spki_der(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// SHA-256 of [`Key::spki_der`].
    pub(crate) fn spki_sha256(&self) -> [u8; 32] {
        Sha256::digest(self.spki_der()).into()
    }

    /// The pin of this key as configurations write it: `sha256/` and base64.
    pub(crate) fn pin(&self) -> String {
        format!("sha256/{}", STANDARD.encode(self.spki_sha256()))
    }

    /// The private key as PKCS #8 DER, version 1.
    pub(crate) fn private_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.private_pkcs8()).into()
    }

    /// aws-lc writes Ed25519 keys as version 2 (RFC 5958), which OpenSSL 3.0 does not read: the same key without the
    /// public half that version 2 appends.
    fn private_pkcs8(&self) -> Vec<u8> {
        const ED25519_V1: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        let der = self.0.serialize_der();
        match der.get(ED25519_V1.len()..48) {
            Some(seed) if self.0.is_compatible(&PKCS_ED25519) => [&ED25519_V1, seed].concat(),
            _ => der,
        }
    }

    /// The private key as PKCS #8 PEM, for nginx and openssl.
    pub(crate) fn private_pem(&self) -> String {
        super::pem_block("PRIVATE KEY", &self.private_pkcs8())
    }

    /// The public key as PEM.
    pub(crate) fn public_pem(&self) -> String {
        super::pem_block("PUBLIC KEY", &self.spki_der())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({})", self.pin())
    }
}
