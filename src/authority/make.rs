//! Makes a CA.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
};
use rustls_pki_types::CertificateDer;
use zeroize::{Zeroize as _, Zeroizing};

use super::error::{CaError, IssueError};
use super::issue::Serial;
use super::text::hex;
use super::validity::{BACKDATE, date, unix_seconds};

/// How long a CA that we make is valid.
const CA_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);
/// The organisation in the subject of a CA that we make.
const CA_ORGANIZATION: &str = "pinproxy";
/// How many CAs may be between a CA that we make and its leaves: one, for that is what the CA that follows on it is to clients
/// who know only this one. GnuTLS, Go and Firefox count it even where both have the same name, against RFC 5280 section 4.2.1.9.
pub(super) const PATH_LENGTH: u8 = 1;

/// The kind of key of a CA that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256.
    P256,
    /// RSA with 2048 bits, for clients that verify no ECDSA.
    Rsa2048,
}

/// A CA that was just made.
pub(super) struct Made {
    pub(super) certificate: CertificateDer<'static>,
    /// PKCS#8.
    pub(super) key_der: Zeroizing<Vec<u8>>,
}

/// Makes a CA that issues itself, valid from an hour before `now` on.
pub(super) fn make(algorithm: Algorithm, now: SystemTime) -> Result<Made, CaError> {
    let failed = |error: rcgen::Error| CaError::Generate(error.to_string());
    let from_issue = |error: IssueError| CaError::Generate(error.to_string());
    let out_of_range = || CaError::Generate("the clock is beyond the year 9999".into());
    let mut tag = [0; 4];
    aws_lc_rs::rand::fill(&mut tag).map_err(|_| from_issue(IssueError::Random))?;

    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, CA_ORGANIZATION);
    // The tag tells CAs of several installations apart in a client's list, and keeps a client that trusts two of them
    // from trying the wrong one.
    parameters
        .distinguished_name
        .push(DnType::CommonName, format!("pinproxy local CA {}", hex(&tag, "").to_lowercase()));
    parameters.serial_number = Some(Serial::random().map_err(from_issue)?.to_rcgen());
    let not_before = now.checked_sub(BACKDATE).unwrap_or(now);
    let not_after = not_before.checked_add(CA_LIFETIME).ok_or_else(out_of_range)?;
    parameters.not_before = date(unix_seconds(not_before)).ok_or_else(out_of_range)?;
    parameters.not_after = date(unix_seconds(not_after)).ok_or_else(out_of_range)?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(PATH_LENGTH));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

    let generated = match algorithm {
        Algorithm::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        Algorithm::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
    };
    let mut key = generated.map_err(failed)?;
    let certificate = parameters.self_signed(&key).map_err(failed)?;
    let key_der = Zeroizing::new(key.serialized_der().to_vec());
    key.zeroize();
    Ok(Made { certificate: certificate.der().clone(), key_der })
}
