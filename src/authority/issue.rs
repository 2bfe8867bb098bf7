//! Issues one leaf, or certifies the key of another CA.
//!
//! rcgen encodes the certificate, but not its issuer: it keeps names as one value per attribute type, so a CA named
//! `DC=com, DC=example, OU=a, OU=b` comes out as another name, which no client can match with the CA
//! (<https://github.com/rustls/rcgen/issues/300>). Therefore rcgen signs with a [`Recorder`], which only keeps the bytes
//! to be signed; the subject of the CA certificate is put into them byte for byte as the issuer, and that is signed with
//! the CA key. Every CA takes this path, the simple ones too, so that it is always tried.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SigningKey,
    SubjectPublicKeyInfo,
};
use rustls_pki_types::{CertificateDer, ServerName};
use x509_parser::asn1_rs::{Any, FromDer};

use super::error::IssueError;
use super::keys::KeyFamily;
use super::text::hex;
use super::validity::{Validity, date};

/// Longest common name in characters (`ub-common-name` of RFC 5280 appendix A.1).
const COMMON_NAME_MAX: usize = 64;
/// DER tags (X.690 section 8).
const TAG_BIT_STRING: u8 = 0x03;
const TAG_SEQUENCE: u8 = 0x30;

/// A serial number: 16 octets from the system's random numbers, the first between 1 and 127. So it is positive, never
/// zero, encoded as exactly 16 octets (RFC 5280 section 4.1.2.2 allows 20), and never told twice by the same CA.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Serial([u8; 16]);

impl Serial {
    pub(super) fn random() -> Result<Self, IssueError> {
        let mut octets = [0; 16];
        loop {
            aws_lc_rs::rand::fill(&mut octets).map_err(|_| IssueError::Random)?;
            octets[0] &= 0x7f;
            if octets[0] != 0 {
                return Ok(Self(octets));
            }
        }
    }

    /// Upper-case hexadecimal digits, as `openssl x509 -serial` prints them.
    pub(super) fn to_hex(self) -> String {
        hex(&self.0, "")
    }

    pub(super) fn to_rcgen(self) -> SerialNumber {
        SerialNumber::from_slice(&self.0)
    }
}

/// A CA as the subject of a certificate, each part as the octets that its own certificate has.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    /// Its name, DER.
    pub(super) name: &'a [u8],
    /// Its key, DER (`SubjectPublicKeyInfo`).
    pub(super) public_key: &'a [u8],
    /// Its subject key identifier.
    pub(super) key_identifier: &'a [u8],
}

/// The CA as the signer of leaves: its key, and what a leaf repeats of its certificate.
pub(super) struct Issuer {
    key: KeyPair,
    subject_der: Vec<u8>,
    validity: Validity,
    /// Carries the key identifier for rcgen; its name is never used.
    template: CertificateParams,
    signatures: AtomicU64,
}

impl Issuer {
    /// `subject_der` and `key_identifier` are the bytes in the CA certificate, `validity` is the certificate's.
    pub(super) fn new(key: KeyPair, subject_der: Vec<u8>, key_identifier: Vec<u8>, validity: Validity) -> Self {
        let mut template = CertificateParams::default();
        // The identifier is a name, not a computation: CAs derive it in several ways (RFC 7093), clients compare bytes.
        template.key_identifier_method = KeyIdMethod::PreSpecified(key_identifier);
        Self { key, subject_der, validity, template, signatures: AtomicU64::new(0) }
    }

    /// The same key under another name.
    pub(super) fn named(self, subject_der: Vec<u8>) -> Self {
        Self { subject_der, ..self }
    }

    /// The validity of the CA certificate.
    pub(super) fn validity(&self) -> Validity {
        self.validity
    }

    /// The family of its key.
    pub(super) fn key_family(&self) -> KeyFamily {
        // All RSA keys of rcgen are for this algorithm; what is not RSA is ECDSA, as `pair` takes no others.
        if self.key.is_compatible(&PKCS_RSA_SHA256) { KeyFamily::Rsa } else { KeyFamily::Ecdsa }
    }

    /// How many certificates were signed.
    pub(super) fn signatures(&self) -> u64 {
        self.signatures.load(Ordering::Relaxed)
    }

    /// Issues a certificate for exactly `name`, which [`verify_canonical`] accepts, and `public_key`.
    pub(super) fn issue(
        &self,
        name: &ServerName<'_>,
        public_key: &SubjectPublicKeyInfo,
        validity: Validity,
    ) -> Result<(CertificateDer<'static>, Serial), IssueError> {
        let serial = Serial::random()?;
        let parameters = leaf_parameters(name, serial, validity)?;
        let recorded = self.encode(&parameters, public_key)?;
        let certificate = self.sign(replace_names(&recorded, &self.subject_der, None))?;
        self.signatures.fetch_add(1, Ordering::Relaxed);
        Ok((certificate, serial))
    }

    /// Certifies that a key is that of a CA which may issue leaves, or have `path_length` further CAs between itself and
    /// them. Its own certificate, where the subject is itself: one is made in the same way as the other.
    pub(super) fn certify(
        &self,
        subject: Subject<'_>,
        validity: Validity,
        path_length: u8,
    ) -> Result<CertificateDer<'static>, IssueError> {
        let key = SubjectPublicKeyInfo::from_der(subject.public_key);
        let key = key.map_err(|error| IssueError::Encoding(error.to_string()))?;
        let mut parameters = dated(validity)?;
        parameters.serial_number = Some(Serial::random()?.to_rcgen());
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters.key_identifier_method = KeyIdMethod::PreSpecified(subject.key_identifier.to_vec());
        parameters.use_authority_key_identifier_extension = true;
        let recorded = self.encode(&parameters, &key)?;
        self.sign(replace_names(&recorded, &self.subject_der, Some(subject.name)))
    }

    fn sign(&self, unsigned: Option<Unsigned>) -> Result<CertificateDer<'static>, IssueError> {
        let unexpected = || IssueError::Encoding("unexpected DER".into());
        let Unsigned { to_be_signed, algorithm } = unsigned.ok_or_else(unexpected)?;
        let signature = self.key.sign(&to_be_signed).map_err(|error| IssueError::Signing(error.to_string()))?;
        // A whole number of octets: no unused bits in the last one.
        let signature = der(TAG_BIT_STRING, &[&[0], &signature]);
        Ok(CertificateDer::from(der(TAG_SEQUENCE, &[&to_be_signed, &algorithm, &signature])))
    }

    /// Has rcgen encode the `TBSCertificate`, with a meaningless issuer name.
    fn encode(&self, parameters: &CertificateParams, public_key: &SubjectPublicKeyInfo) -> Result<Vec<u8>, IssueError> {
        let recorder = Recorder { algorithm: self.key.algorithm(), message: RefCell::default() };
        let issuer = rcgen::Issuer::from_params(&self.template, &recorder);
        parameters.signed_by(public_key, &issuer).map_err(|error| IssueError::Encoding(error.to_string()))?;
        Ok(recorder.message.take())
    }
}

/// What every leaf says, whatever the upstream certificate says: nothing of that one is mirrored.
fn leaf_parameters(name: &ServerName<'_>, serial: Serial, validity: Validity) -> Result<CertificateParams, IssueError> {
    let mut parameters = dated(validity)?;
    parameters.serial_number = Some(serial.to_rcgen());
    parameters.subject_alt_names = vec![subject_alt_name(name)?];
    parameters.distinguished_name = subject(name);
    parameters.is_ca = IsCa::ExplicitNoCa;
    // rustls never does RSA key exchange, so not even an RSA leaf needs keyEncipherment.
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}

/// Parameters with a validity; rcgen's own is some two thousand years.
fn dated(validity: Validity) -> Result<CertificateParams, IssueError> {
    let out_of_range = || IssueError::Encoding("a date beyond the year 9999".into());
    let mut parameters = CertificateParams::default();
    parameters.not_before = date(validity.not_before).ok_or_else(out_of_range)?;
    parameters.not_after = date(validity.not_after).ok_or_else(out_of_range)?;
    Ok(parameters)
}

/// Refuses a DNS name in another spelling than the canonical one. One place canonicalises names, and it is not this
/// one: such a name here is a bug of the caller, and could be one that policy never saw.
pub(super) fn verify_canonical(name: &ServerName<'_>) -> Result<(), IssueError> {
    match name {
        ServerName::DnsName(dns_name)
            if dns_name.as_ref().ends_with('.')
                || dns_name.as_ref().bytes().any(|octet| octet.is_ascii_uppercase()) =>
        {
            Err(IssueError::Name(name.to_str().into_owned()))
        }
        _ => Ok(()),
    }
}

/// The one name that the leaf is good for. An address as a DNS name would match nowhere (RFC 9110 section 4.3.5).
fn subject_alt_name(name: &ServerName<'_>) -> Result<SanType, IssueError> {
    let refused = || IssueError::Name(name.to_str().into_owned());
    match name {
        ServerName::DnsName(name) => name.as_ref().try_into().map(SanType::DnsName).map_err(|_| refused()),
        ServerName::IpAddress(address) => Ok(SanType::IpAddress(IpAddr::from(*address))),
        _ => Err(refused()),
    }
}

/// The subject. Clients look at the SAN only; the common name is there for certificate viewers and logs, and for old
/// clients that fall back to it. A longer name does not fit: then, and for addresses, the subject is empty, which makes
/// rcgen mark the SAN critical (RFC 5280 section 4.1.2.6).
fn subject(name: &ServerName<'_>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    if let ServerName::DnsName(name) = name
        && name.as_ref().len() <= COMMON_NAME_MAX
    {
        subject.push(DnType::CommonName, name.as_ref());
    }
    subject
}

/// A key that signs nothing, and keeps what it should have signed.
struct Recorder {
    algorithm: &'static SignatureAlgorithm,
    message: RefCell<Vec<u8>>,
}

impl PublicKeyData for Recorder {
    fn der_bytes(&self) -> &[u8] {
        &[]
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl SigningKey for Recorder {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        message.clone_into(&mut self.message.borrow_mut());
        Ok(Vec::new())
    }
}

/// A certificate that lacks only its signature.
struct Unsigned {
    /// The `TBSCertificate`, DER.
    to_be_signed: Vec<u8>,
    /// The `AlgorithmIdentifier` in it, DER, which stands once more before the signature.
    algorithm: Vec<u8>,
}

/// Replaces the issuer, and the subject if there is another one, in a version 3 `TBSCertificate`: version, serial number,
/// signature algorithm, issuer, validity, subject, and what follows. None if the bytes are not that.
fn replace_names(recorded: &[u8], issuer_der: &[u8], subject_der: Option<&[u8]>) -> Option<Unsigned> {
    let (after, outer) = Any::from_der(recorded).ok()?;
    let (_version, rest) = first_element(outer.data)?;
    let (_serial, rest) = first_element(rest)?;
    let (algorithm, from_issuer) = first_element(rest)?;
    let (_issuer, rest) = first_element(from_issuer)?;
    let (validity, rest) = first_element(rest)?;
    let (subject, behind) = first_element(rest)?;
    let before = &outer.data[..outer.data.len() - from_issuer.len()];
    after.is_empty().then(|| Unsigned {
        to_be_signed: der(TAG_SEQUENCE, &[before, issuer_der, validity, subject_der.unwrap_or(subject), behind]),
        algorithm: algorithm.to_vec(),
    })
}

/// Splits the first DER element, header included, from the rest.
fn first_element(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, _) = Any::from_der(input).ok()?;
    Some((&input[..input.len() - rest.len()], rest))
}

/// A DER element of the given content (X.690 section 8.1.3 with the shortest length, section 10.1).
fn der(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let length: usize = content.iter().map(|part| part.len()).sum();
    let octets = length.to_be_bytes();
    let leading_zeros = octets.iter().take_while(|octet| **octet == 0).count();
    let mut element = Vec::with_capacity(length + 2 + octets.len());
    element.push(tag);
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => element.push(short),
        _ => {
            let significant = &octets[leading_zeros..];
            // At most the size of usize, so the count fits in the seven bits.
            element.extend(u8::try_from(significant.len()).map(|count| 0x80 | count));
            element.extend_from_slice(significant);
        }
    }
    for part in content {
        element.extend_from_slice(part);
    }
    element
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn der_lengths_are_the_shortest() {
        assert_eq!(der(0x30, &[]), [0x30, 0]);
        assert_eq!(der(0x30, &[&[1], &[2]]), [0x30, 2, 1, 2]);
        assert_eq!(der(0x30, &[&[7; 127]])[..2], [0x30, 127]);
        assert_eq!(der(0x30, &[&[7; 128]])[..3], [0x30, 0x81, 128]);
        assert_eq!(der(0x30, &[&[7; 255]])[..3], [0x30, 0x81, 255]);
        assert_eq!(der(0x30, &[&[7; 256]])[..4], [0x30, 0x82, 1, 0]);
        assert_eq!(der(0x30, &[&vec![7; 70_000]])[..5], [0x30, 0x83, 1, 0x11, 0x70]);
    }

    #[test]
    fn bytes_that_are_no_certificate_have_no_issuer() {
        for bytes in [&[][..], &[0x30], &[0x30, 0], &[0x30, 2, 5, 0], &[0x30, 6, 5, 0, 5, 0, 5, 0], &[0x30, 0, 0]] {
            assert!(replace_names(bytes, &[0x30, 0], None).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn serials_are_positive_sixteen_octets_and_all_different() {
        let serials: HashSet<_> = (0..10_000).map(|_| Serial::random().unwrap()).collect();
        assert_eq!(serials.len(), 10_000);
        assert!(serials.iter().all(|serial| (1..0x80).contains(&serial.0[0])));
        assert!(serials.iter().all(|serial| serial.to_hex().len() == 32));
    }

    #[test]
    fn names_in_another_spelling_are_refused() {
        for text in ["Example.com", "example.com."] {
            let name = ServerName::try_from(text).unwrap();
            assert_eq!(verify_canonical(&name), Err(IssueError::Name(text.into())));
        }
    }

    #[test]
    fn the_common_name_is_a_dns_name_that_fits() {
        let long = format!("{}.{}", "a".repeat(32), "b".repeat(32));
        let empty = |text: &str| subject(&ServerName::try_from(text).unwrap()).iter().count() == 0;
        assert!(empty(&long));
        assert!(!empty(&long[1..]));
        assert!(empty("192.0.2.1"));
    }
}
