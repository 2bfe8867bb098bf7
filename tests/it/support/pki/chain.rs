//! What a server presents.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{crypto::aws_lc_rs::sign::any_supported_type, pki_types::CertificateDer, sign::CertifiedKey};

use super::{Ca, Key, cert_sha256, pem_block};

/// The certificates a server presents, leaf first, and the key it signs handshakes with.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) key: Key,
    issued: Option<Ca>,
}

/// Where [`Chain::write_to`] put its files.
#[derive(Clone, Debug)]
pub(crate) struct PemFiles {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Chain {
    /// Exactly these certificates in this order; the key need not fit the first of them.
    pub(crate) fn of(certificates: Vec<CertificateDer<'static>>, key: Key) -> Self {
        Self { certificates, key, issued: None }
    }

    pub(super) fn issued(leaf: Ca) -> Self {
        let mut certificates = leaf.path().to_vec();
        if certificates.len() > 1 {
            certificates.pop();
        }
        Self { certificates, key: leaf.key().clone(), issued: Some(leaf) }
    }

    /// The certificate presented first.
    pub(crate) fn leaf(&self) -> &CertificateDer<'static> {
        &self.certificates[0]
    }

    /// The pin of the leaf's key.
    pub(crate) fn pin(&self) -> String {
        self.key.pin()
    }

    /// SHA-256 of the certificate presented first.
    pub(crate) fn cert_sha256(&self) -> [u8; 32] {
        cert_sha256(self.leaf())
    }

    /// The leaf in the role of an issuer, to sign what it may not sign.
    pub(crate) fn leaf_as_issuer(&self) -> Ca {
        self.issued.clone().expect("only a leaf made by `Leaf` can sign")
    }

    /// Presents one more certificate after the others, related to them or not.
    pub(crate) fn append(mut self, certificate: &CertificateDer<'static>) -> Self {
        self.certificates.push(certificate.clone());
        self
    }

    /// Presents these certificates too, after the others.
    pub(crate) fn append_all<'a>(mut self, more: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> Self {
        self.certificates.extend(more.into_iter().cloned());
        self
    }

    /// Presents the root as well.
    pub(crate) fn with_root(self) -> Self {
        let root = self.leaf_as_issuer().path().last().cloned();
        self.append_all(&root)
    }

    /// Presents the leaf alone.
    pub(crate) fn leaf_only(mut self) -> Self {
        self.certificates.truncate(1);
        self
    }

    /// Leaves this certificate out.
    pub(crate) fn without(mut self, certificate: &[u8]) -> Self {
        self.certificates.retain(|presented| presented.as_ref() != certificate);
        self
    }

    /// Presents the certificates at these positions in this order; positions may repeat or be missing.
    pub(crate) fn reorder(mut self, positions: &[usize]) -> Self {
        self.certificates = positions.iter().map(|&at| self.certificates[at].clone()).collect();
        self
    }

    /// Keeps the leaf first and turns the order of all others around.
    pub(crate) fn reverse_issuers(mut self) -> Self {
        self.certificates[1..].reverse();
        self
    }

    /// Signs handshakes with another key than the leaf's.
    pub(crate) fn with_key(mut self, key: &Key) -> Self {
        self.key = key.clone();
        self
    }

    /// All certificates as PEM, leaf first.
    pub(crate) fn pem(&self) -> String {
        self.certificates.iter().map(|der| pem_block("CERTIFICATE", der)).collect()
    }

    /// Writes `chain.pem` and `key.pem` for a server that reads files.
    pub(crate) fn write_to(&self, directory: &Path) -> io::Result<PemFiles> {
        let files = PemFiles { chain: directory.join("chain.pem"), key: directory.join("key.pem") };
        fs::write(&files.chain, self.pem())?;
        fs::write(&files.key, self.key.private_pem())?;
        Ok(files)
    }

    /// For rustls, which does not check here that certificates and key belong together.
    pub(crate) fn certified_key(&self) -> Arc<CertifiedKey> {
        let signer = any_supported_type(&self.key.private_der()).expect("rustls signs with every kind of our keys");
        Arc::new(CertifiedKey::new(self.certificates.clone(), signer))
    }
}
