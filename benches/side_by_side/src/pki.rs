//! Certificates: what the origins show, and what a proxy without a CA of its own making signs with.

use crate::Result;
use crate::leaves::Leaves;
use crate::names::{Key, Site};
use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Roots, CAs, and what is signed before the first measurement. What proxies need is in files, because they read files.
pub(crate) struct Pki {
    folder: PathBuf,
    leaves: Arc<Leaves>,
    /// Two pins for a pinset that every origin satisfies: the intermediate's, and that of a key in reserve.
    pub(crate) pins: [String; 2],
}

/// A certificate with what is needed to use it.
pub(crate) struct Chain {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Pki {
    /// Makes the origins' root, intermediate and leaves, and CAs for proxies with leaves that they have signed.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let root = CertifiedIssuer::self_signed(authority("bench origins root"), KeyPair::generate()?)?;
        let intermediate =
            CertifiedIssuer::signed_by(authority("bench origins intermediate"), KeyPair::generate()?, &root)?;
        let pins = [spki_pin(intermediate.key()), spki_pin(&KeyPair::generate()?)];
        let pki = Self { folder: folder.to_owned(), leaves: Arc::new(Leaves::new(intermediate)?), pins };
        fs::write(pki.roots(), root.pem())?;
        for key in [Key::Ecdsa, Key::Rsa] {
            // A CA of the same kind as its leaves, since a client that knows RSA alone has to verify both.
            let ca = CertifiedIssuer::self_signed(authority("bench proxy"), key_of(key)?)?;
            let leaf = key_of(key)?;
            let certificate = end_entity(all_names(), "bench.test")?.signed_by(&leaf, &ca)?;
            fs::write(pki.ca(key), ca.pem())?;
            fs::write(pki.ca_key(key), ca.key().serialize_pem())?;
            fs::write(pki.ready_made(key), certificate.pem() + &ca.pem() + &leaf.serialize_pem())?;
        }
        Ok(pki)
    }

    /// What the origins show.
    pub(crate) fn leaves(&self) -> &Arc<Leaves> {
        &self.leaves
    }

    /// The root of the origins.
    pub(crate) fn roots(&self) -> PathBuf {
        self.folder.join("origin-roots.pem")
    }

    /// The certificate of a CA for proxies that are given one.
    pub(crate) fn ca(&self, key: Key) -> PathBuf {
        self.folder.join(format!("proxy-ca-{}.pem", word(key)))
    }

    /// Its key.
    pub(crate) fn ca_key(&self, key: Key) -> PathBuf {
        self.folder.join(format!("proxy-ca-{}.key", word(key)))
    }

    /// A certificate of that CA for all names, with its key.
    pub(crate) fn ready_made(&self, key: Key) -> PathBuf {
        self.folder.join(format!("proxy-leaf-{}.pem", word(key)))
    }
}

impl Chain {
    /// Reads certificates and the key behind them.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let certificates = CertificateDer::pem_file_iter(path)?.collect::<std::result::Result<_, _>>()?;
        Ok(Self { certificates, key: PrivateKeyDer::from_pem_file(path)? })
    }
}

/// The certificates of these files as trust anchors.
pub(crate) fn root_store(paths: &[PathBuf]) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for path in paths {
        for certificate in CertificateDer::pem_file_iter(path)? {
            store.add(certificate?)?;
        }
    }
    Ok(store)
}

fn word(key: Key) -> &'static str {
    match key {
        Key::Ecdsa => "ecdsa",
        Key::Rsa => "rsa",
    }
}

/// A new key.
pub(crate) fn key_of(key: Key) -> Result<KeyPair> {
    Ok(match key {
        Key::Ecdsa => KeyPair::generate()?,
        Key::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
    })
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Every name of every origin.
pub(crate) fn all_names() -> Vec<String> {
    Site::ALL.map(|site| site.host("*")).to_vec()
}

/// A leaf for these names, which is called as said.
pub(crate) fn end_entity(names: Vec<String>, called: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, called);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn spki_pin(key: &KeyPair) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key.subject_public_key_info());
    format!("sha256/{}", base64::engine::general_purpose::STANDARD.encode(digest))
}
