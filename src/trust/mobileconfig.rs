//! A configuration profile for Apple's systems: a file that a person opens to have the CA trusted. Which keys it has is
//! documented at <https://developer.apple.com/documentation/devicemanagement/certificateroot> and, of what every profile has, at
//! <https://developer.apple.com/documentation/devicemanagement/toplevel>.

use super::public::Identity;
use crate::policy::printable::tellable;
use plist::{Dictionary, Value};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The type of a profile as a whole.
const CONFIGURATION: &str = "Configuration";
/// The type of a root certificate.
const ROOT: &str = "com.apple.security.root";
/// The type of any other one.
const INTERMEDIATE: &str = "com.apple.security.pkcs1";
/// Names of profiles and their parts begin with it.
const PREFIX: &str = "pinproxy.ca";
/// Characters of a subject that are shown.
const SUBJECT_CHARACTERS_MAX: usize = 200;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// What is to go in is no certificate.
    #[error("entry {0} of the profile is no certificate")]
    NoCertificate(usize),
    /// It cannot be written.
    #[error("the profile cannot be written: {0}")]
    Encoding(String),
}

/// The profile that has these certificates, as XML. The same certificates give the same profile, with the same UUIDs: a
/// device that has it already replaces it and does not get a second one.
///
/// # Errors
/// [`ProfileError`].
pub fn profile(certificates: &[CertificateDer<'_>]) -> Result<Vec<u8>, ProfileError> {
    let mut content = Vec::with_capacity(certificates.len());
    let mut all = Sha256::new();
    for (index, certificate) in certificates.iter().enumerate() {
        let identity = Identity::of(certificate).ok_or(ProfileError::NoCertificate(index + 1))?;
        all.update(identity.sha256);
        content.push(payload(certificate, &identity));
    }
    let uuid = derived("profile", &all.finalize());
    // Two CAs are two profiles: a device replaces the one that has the same identifier.
    let mut whole = common(CONFIGURATION, &format!("{PREFIX}.profile.{}", uuid.simple()), "pinproxy: local CA", &uuid);
    let description = "Lets this device trust the connections that pinproxy has checked and signed anew.";
    whole.insert("PayloadDescription".into(), description.into());
    whole.insert("PayloadContent".into(), Value::Array(content));
    let mut text = Vec::new();
    let written = Value::Dictionary(whole).to_writer_xml(&mut text);
    written.map_err(|error| ProfileError::Encoding(error.to_string()))?;
    text.push(b'\n');
    Ok(text)
}

/// The part with one certificate.
fn payload(certificate: &CertificateDer<'_>, identity: &Identity) -> Value {
    let kind = if identity.is_self_issued { ROOT } else { INTERMEDIATE };
    let name = tellable(&identity.subject, SUBJECT_CHARACTERS_MAX);
    let identifier = format!("{PREFIX}.{}", identity.name());
    let mut payload = common(kind, &identifier, &name, &derived("certificate", &identity.sha256));
    payload.insert("PayloadCertificateFileName".into(), format!("{}.cer", identity.name()).into());
    payload.insert("PayloadContent".into(), Value::Data(certificate.to_vec()));
    Value::Dictionary(payload)
}

/// What every part has, and the whole.
fn common(kind: &str, identifier: &str, name: &str, uuid: &Uuid) -> Dictionary {
    /// Of what there is one version.
    const VERSION: u64 = 1;
    let texts = [("PayloadDisplayName", name), ("PayloadIdentifier", identifier), ("PayloadType", kind)];
    let mut dictionary: Dictionary = texts.map(|(key, text)| (key.to_owned(), Value::from(text))).into_iter().collect();
    dictionary.insert("PayloadUUID".into(), uuid.hyphenated().to_string().to_uppercase().into());
    dictionary.insert("PayloadVersion".into(), VERSION.into());
    dictionary
}

/// A UUID that follows from what it is of (RFC 9562 section 5.8).
fn derived(of: &str, digest: &[u8]) -> Uuid {
    let hashed = Sha256::new().chain_update(of).chain_update(digest).finalize();
    let mut octets = [0; 16];
    octets.iter_mut().zip(hashed).for_each(|(octet, hashed)| *octet = hashed);
    Uuid::new_v8(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(certificates: &[CertificateDer<'_>]) -> Dictionary {
        let text = profile(certificates).unwrap();
        assert!(text.starts_with(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC"));
        Value::from_reader_xml(text.as_slice()).unwrap().into_dictionary().unwrap()
    }

    fn uuids(profile: &Dictionary) -> Vec<String> {
        let parts = profile.get("PayloadContent").and_then(Value::as_array).unwrap();
        let all = parts.iter().filter_map(Value::as_dictionary).chain([profile]);
        all.map(|part| part.get("PayloadUUID").and_then(Value::as_string).unwrap().to_owned()).collect()
    }

    #[test]
    fn the_same_certificates_give_the_same_profile_and_others_another_one() {
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
        assert_eq!(profile(&roots[..2]).unwrap(), profile(&roots[..2]).unwrap());
        let (both, one) = (uuids(&read(&roots[..2])), uuids(&read(&roots[..1])));
        assert_eq!((both.len(), one.len()), (3, 2));
        assert_eq!(both[0], one[0], "the part is the same");
        assert!(both[2] != one[1] && both[0] != both[1] && both[0] != one[1], "{both:?} {one:?}");
        for uuid in both {
            let uuid = Uuid::parse_str(&uuid).unwrap();
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (8, uuid::Variant::RFC4122));
        }
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        let error = profile(&[CertificateDer::from(vec![0x30, 0])]).unwrap_err();
        assert!(matches!(error, ProfileError::NoCertificate(1)), "{error}");
    }
}
