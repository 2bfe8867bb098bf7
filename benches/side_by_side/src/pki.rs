//! Certificates: what the origins show, and what a proxy without a CA of its own making signs with.

use crate::Result;
use crate::measure::median;
use crate::names::{Key, Site};
use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize,
};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, SignatureScheme};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Everything that is signed before the first measurement. All of it is in files, because the proxies read files.
pub(crate) struct Pki {
    folder: PathBuf,
    /// Two pins for a pinset that every origin satisfies: the intermediate's, and that of a key in reserve.
    pub(crate) pins: [String; 2],
}

/// A certificate with what is needed to use it.
pub(crate) struct Chain {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Pki {
    /// Makes the origins' root, intermediate and leaves, and a CA for proxies with leaves that it has signed.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let pki = Self { folder: folder.to_owned(), pins: [String::new(), spki_pin(&KeyPair::generate()?)] };
        let root = CertifiedIssuer::self_signed(authority("bench origins root"), KeyPair::generate()?)?;
        let intermediate =
            CertifiedIssuer::signed_by(authority("bench origins intermediate"), KeyPair::generate()?, &root)?;
        fs::write(pki.roots(), root.pem())?;
        for key in [Key::Ecdsa, Key::Rsa] {
            let leaf = key_of(key)?;
            let certificate = end_entity()?.signed_by(&leaf, &intermediate)?;
            let text = certificate.pem() + &intermediate.pem() + &leaf.serialize_pem();
            fs::write(pki.origin(key), text)?;
            // The proxy's side: a CA of the same kind, since a client that knows RSA alone has to verify both.
            let ca = CertifiedIssuer::self_signed(authority("bench proxy"), key_of(key)?)?;
            let leaf = key_of(key)?;
            let certificate = end_entity()?.signed_by(&leaf, &ca)?;
            fs::write(pki.ca(key), ca.pem())?;
            fs::write(pki.ca_key(key), ca.key().serialize_pem())?;
            fs::write(pki.ready_made(key), certificate.pem() + &ca.pem() + &leaf.serialize_pem())?;
        }
        let pins = [spki_pin(intermediate.key()), pki.pins[1].clone()];
        Ok(Self { pins, ..pki })
    }

    /// What a signature of an RSA-2048 key takes on this processor, in µs: the median of many.
    pub(crate) fn rsa_signature(&self) -> Result<f64> {
        const TIMES: usize = 201;
        const MICROS: f64 = 1e6;
        let key = any_supported_type(&Chain::load(&self.origin(Key::Rsa))?.key)?;
        let signer = key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]).ok_or("the key does not sign")?;
        let mut taken = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let begun = Instant::now();
            signer.sign(b"as long as what is signed in a handshake, which is hashed first")?;
            taken.push(begun.elapsed().as_secs_f64() * MICROS);
        }
        Ok(median(&taken).unwrap_or_default())
    }

    /// The root of the origins.
    pub(crate) fn roots(&self) -> PathBuf {
        self.folder.join("origin-roots.pem")
    }

    /// Chain and key of the origins.
    pub(crate) fn origin(&self, key: Key) -> PathBuf {
        self.folder.join(format!("origin-{}.pem", word(key)))
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

fn key_of(key: Key) -> Result<KeyPair> {
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

/// For every name of every origin.
fn end_entity() -> Result<CertificateParams> {
    let names = Site::ALL.map(|site| site.host("*"));
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "bench.test");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn spki_pin(key: &KeyPair) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key.subject_public_key_info());
    format!("sha256/{}", base64::engine::general_purpose::STANDARD.encode(digest))
}
