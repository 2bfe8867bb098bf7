//! Certificates that sign others, entitled to it or not.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, NameConstraints,
    RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::{RootCertStore, pki_types::CertificateDer};

use super::{Key, Validity, cert_sha256, pem_block, random_serial};

/// An issuer: a certificate, its key, and the certificates above it.
#[derive(Clone, Debug)]
pub(crate) struct Ca {
    params: CertificateParams,
    key: Key,
    /// This certificate first, the root last.
    path: Vec<CertificateDer<'static>>,
}

impl Ca {
    /// A self-signed authority with every default.
    pub(crate) fn root(name: &str) -> Self {
        Self::builder(name).self_signed()
    }

    /// Where every field of an authority can be overridden; `name` becomes its CN, its whole subject.
    pub(crate) fn builder(name: &str) -> CaBuilder {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(Some(name));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        CaBuilder { params, key: None }.validity(Validity::current())
    }

    /// An authority below this one, with every default.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        Self::builder(name).signed_by(self)
    }

    /// The same subject, key and extensions certified by `issuer` as well: another way up from the same leaves.
    pub(crate) fn cross_sign(&self, issuer: &Self) -> Self {
        self.rebuild().signed_by(issuer)
    }

    /// A builder that starts with this authority's subject, key, validity and extensions.
    pub(crate) fn rebuild(&self) -> CaBuilder {
        CaBuilder { params: self.params.clone(), key: Some(self.key.clone()) }
    }

    /// Issues a certificate; without an issuer it signs itself.
    pub(super) fn issue(mut params: CertificateParams, key: Key, issuer: Option<&Self>) -> Self {
        params.serial_number.get_or_insert_with(random_serial);
        let mut path = Vec::new();
        let certificate = if let Some(issuer) = issuer {
            params.use_authority_key_identifier_extension = true;
            path.extend(issuer.path.iter().cloned());
            params.signed_by(key.pair(), &Issuer::from_params(&issuer.params, issuer.key.pair()))
        } else {
            params.use_authority_key_identifier_extension = false;
            params.self_signed(key.pair())
        };
        path.insert(0, certificate.expect("rcgen encodes what the builders allow").into());
        params.serial_number = None;
        Self { params, key, path }
    }

    /// A list (CRL) of this authority that revokes these certificates, in DER form. The next one is due at the end of
    /// `validity`.
    pub(crate) fn revokes(&self, certificates: &[&CertificateDer<'_>], validity: Validity) -> Vec<u8> {
        let entry = |der: &&CertificateDer<'_>| {
            let (_, certificate) = x509_parser::parse_x509_certificate(der).expect("a certificate");
            RevokedCertParams {
                serial_number: SerialNumber::from_slice(certificate.raw_serial()),
                revocation_time: validity.not_before,
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: None,
            }
        };
        let list = CertificateRevocationListParams {
            this_update: validity.not_before,
            next_update: validity.not_after,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: certificates.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&Issuer::from_params(&self.params, self.key.pair()));
        list.expect("rcgen encodes lists").der().to_vec()
    }

    /// The certificate.
    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.path[0]
    }

    /// The key pair that signs.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The pin of this authority's key.
    pub(crate) fn pin(&self) -> String {
        self.key.pin()
    }

    /// SHA-256 of this authority's certificate.
    pub(crate) fn cert_sha256(&self) -> [u8; 32] {
        cert_sha256(self.der())
    }

    /// The certificate as PEM.
    pub(crate) fn pem(&self) -> String {
        pem_block("CERTIFICATE", self.der())
    }

    /// This certificate and those above it, root last.
    pub(crate) fn path(&self) -> &[CertificateDer<'static>] {
        &self.path
    }
}

/// An authority in the making.
#[derive(Clone, Debug)]
#[must_use]
pub(crate) struct CaBuilder {
    params: CertificateParams,
    key: Option<Key>,
}

impl CaBuilder {
    /// Uses this key; by default a new one on P-256.
    pub(crate) fn key(mut self, key: &Key) -> Self {
        self.key = Some(key.clone());
        self
    }

    /// Uses another CN as the subject.
    pub(crate) fn name(mut self, name: &str) -> Self {
        self.params.distinguished_name = subject(Some(name));
        self
    }

    /// Valid in this period.
    pub(crate) fn validity(mut self, validity: Validity) -> Self {
        self.params.not_before = validity.not_before;
        self.params.not_after = validity.not_after;
        self
    }

    /// At most `authorities` further CA certificates may follow on the way down (pathLenConstraint).
    pub(crate) fn path_len(mut self, authorities: u8) -> Self {
        self.params.is_ca = IsCa::Ca(BasicConstraints::Constrained(authorities));
        self
    }

    /// No CA after all: basicConstraints says CA:FALSE, and still it will sign what it is asked to.
    pub(crate) fn not_a_ca(mut self) -> Self {
        self.params.is_ca = IsCa::ExplicitNoCa;
        self
    }

    /// Says nothing about being a CA: no basicConstraints at all.
    pub(crate) fn no_basic_constraints(mut self) -> Self {
        self.params.is_ca = IsCa::NoCa;
        self
    }

    /// Only names at or below this one may be certified (name constraints, permitted).
    pub(crate) fn permit_dns(mut self, name: &str) -> Self {
        self.name_constraints().permitted_subtrees.push(GeneralSubtree::DnsName(name.to_owned()));
        self
    }

    /// Names at or below this one may not be certified (name constraints, excluded).
    pub(crate) fn exclude_dns(mut self, name: &str) -> Self {
        self.name_constraints().excluded_subtrees.push(GeneralSubtree::DnsName(name.to_owned()));
        self
    }

    /// Restricts what leaves may be used for.
    pub(crate) fn extended_key_usages(mut self, usages: &[ExtendedKeyUsagePurpose]) -> Self {
        self.params.extended_key_usages = usages.to_vec();
        self
    }

    /// Anything that rcgen can express and this builder does not name.
    pub(crate) fn with_params(mut self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        change(&mut self.params);
        self
    }

    /// Finishes as a root.
    pub(crate) fn self_signed(self) -> Ca {
        Ca::issue(self.params, self.key.unwrap_or_else(Key::p256), None)
    }

    /// Finishes as an intermediate below `issuer`.
    pub(crate) fn signed_by(self, issuer: &Ca) -> Ca {
        Ca::issue(self.params, self.key.unwrap_or_else(Key::p256), Some(issuer))
    }

    fn name_constraints(&mut self) -> &mut NameConstraints {
        self.params
            .name_constraints
            .get_or_insert_with(|| NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees: Vec::new() })
    }
}

/// A subject that consists of one CN, or of nothing.
pub(super) fn subject(common_name: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(common_name) = common_name {
        name.push(DnType::CommonName, common_name);
    }
    name
}

/// The certificates of these authorities one after the other, as a CA file for the proxy, curl or openssl.
pub(crate) fn pem_bundle<'a>(authorities: impl IntoIterator<Item = &'a Ca>) -> String {
    authorities.into_iter().map(Ca::pem).collect()
}

/// These authorities as the trust anchors of a rustls client.
pub(crate) fn root_store<'a>(authorities: impl IntoIterator<Item = &'a Ca>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.der().clone()).expect("webpki reads the authority as an anchor");
    }
    roots
}
