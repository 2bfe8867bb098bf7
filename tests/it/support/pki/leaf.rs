//! Server certificates.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SerialNumber,
};

use super::{Ca, Chain, Key, Validity, authority::subject};

/// A server certificate in the making; finish it with [`Leaf::signed_by`] or [`Leaf::self_signed`].
#[derive(Clone, Debug)]
#[must_use]
pub(crate) struct Leaf {
    params: CertificateParams,
    key: Option<Key>,
}

impl Leaf {
    /// For this host name or IP literal, which is also the CN.
    pub(crate) fn named(host: &str) -> Self {
        let leaf = Self::nameless().common_name(host);
        match host.parse() {
            Ok(address) => leaf.ip(address),
            Err(_) => leaf.dns(host),
        }
    }

    /// For nobody yet: an empty subject and no subjectAltName.
    pub(crate) fn nameless() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(None);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Self { params, key: None }.validity(Validity::current())
    }

    /// Adds a dNSName, which may be a wildcard.
    pub(crate) fn dns(mut self, name: &str) -> Self {
        let name = name.try_into().expect("a dNSName is ASCII");
        self.params.subject_alt_names.push(SanType::DnsName(name));
        self
    }

    /// Adds an iPAddress.
    pub(crate) fn ip(mut self, address: IpAddr) -> Self {
        self.params.subject_alt_names.push(SanType::IpAddress(address));
        self
    }

    /// Uses this CN as the subject.
    pub(crate) fn common_name(mut self, name: &str) -> Self {
        self.params.distinguished_name = subject(Some(name));
        self
    }

    /// Leaves the subject empty, which makes subjectAltName critical.
    pub(crate) fn no_common_name(mut self) -> Self {
        self.params.distinguished_name = subject(None);
        self
    }

    /// Uses this key; by default a new one on P-256.
    pub(crate) fn key(mut self, key: &Key) -> Self {
        self.key = Some(key.clone());
        self
    }

    /// Valid in this period.
    pub(crate) fn validity(mut self, validity: Validity) -> Self {
        self.params.not_before = validity.not_before;
        self.params.not_after = validity.not_after;
        self
    }

    /// Good for these uses instead of server authentication; none at all leaves the extension out.
    pub(crate) fn extended_key_usages(mut self, usages: &[ExtendedKeyUsagePurpose]) -> Self {
        self.params.extended_key_usages = usages.to_vec();
        self
    }

    /// Claims to be a CA (CA:TRUE), as `openssl req -x509` makes its certificates.
    pub(crate) fn ca_bit(mut self) -> Self {
        self.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self
    }

    /// Says nothing about being a CA: no basicConstraints at all.
    pub(crate) fn no_basic_constraints(mut self) -> Self {
        self.params.is_ca = IsCa::NoCa;
        self
    }

    /// Uses this serial number instead of a random one.
    pub(crate) fn serial(mut self, bytes: &[u8]) -> Self {
        self.params.serial_number = Some(SerialNumber::from_slice(bytes));
        self
    }

    /// Anything that rcgen can express and this builder does not name.
    pub(crate) fn with_params(mut self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        change(&mut self.params);
        self
    }

    /// Issues it; the chain holds the leaf and the intermediates, not the root.
    pub(crate) fn signed_by(self, issuer: &Ca) -> Chain {
        self.issue(Some(issuer))
    }

    /// Issues it under another leaf's key, which has no right to sign anything.
    pub(crate) fn signed_by_leaf(self, issuer: &Chain) -> Chain {
        self.issue(Some(&issuer.leaf_as_issuer()))
    }

    /// Issues it under its own key.
    pub(crate) fn self_signed(self) -> Chain {
        self.issue(None)
    }

    fn issue(mut self, issuer: Option<&Ca>) -> Chain {
        let key = self.key.unwrap_or_else(Key::p256);
        if key.is_rsa() && self.params.key_usages == [KeyUsagePurpose::DigitalSignature] {
            self.params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        Chain::issued(Ca::issue(self.params, key, issuer))
    }
}
