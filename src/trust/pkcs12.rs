//! A trust store in the form of PKCS#12 (RFC 7292), as Java reads it.

use super::bundle::subject;
use p12_keystore::{Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm};
use rustls::pki_types::CertificateDer;

/// The password that Java's own trust store has. What is in a trust store is public; a password has to be there, since Java
/// takes a store that it cannot authenticate for an empty one.
pub const USUAL_PASSWORD: &str = "changeit";

/// Rounds of the derivation of keys from the password, which each program that reads the store has to do as well.
const ROUNDS: u32 = 2_048;

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
#[error("the trust store cannot be made: {0}")]
pub struct StoreError(String);

/// A store with these certificates, all of them trusted, and no key. It can be read by Java 8 in its first release and by
/// all that came later, and by OpenSSL 1 and 3: encrypted by triple DES, authenticated by HMAC with SHA-1. Java writes AES
/// since 2020 only, and earlier releases cannot read that. The content is public, so that the age of both harms nobody.
///
/// # Errors
/// [`StoreError`], when one of them is no certificate.
pub fn trust_store(certificates: &[CertificateDer<'_>], password: &str) -> Result<Vec<u8>, StoreError> {
    let mut store = KeyStore::new();
    for (position, certificate) in certificates.iter().enumerate() {
        let entry = Certificate::from_der(certificate).map_err(|error| StoreError(error.to_string()))?;
        // The number keeps entries apart whose subjects are alike. Java writes names in lower case.
        let name = format!("{position:04} {}", subject(certificate)).to_lowercase();
        store.add_entry(&name, KeyStoreEntry::Certificate(entry));
    }
    let writer = store
        .writer(password)
        .encryption_algorithm(EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc)
        .encryption_iterations(ROUNDS)
        .mac_algorithm(MacAlgorithm::HmacSha1)
        .mac_iterations(ROUNDS);
    writer.write().map_err(|error| StoreError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn keytool(path: &std::path::Path, password: &str) -> std::process::Output {
        let mut command = Command::new("keytool");
        command.args(["-list", "-storetype", "PKCS12", "-storepass", password, "-keystore"]).arg(path);
        command.output().expect("keytool, of a JDK")
    }

    #[test]
    fn java_finds_every_certificate_and_trusts_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust.p12");
        let roots = &webpki_root_certs::TLS_SERVER_ROOT_CERTS[..20];
        // The same twice is two entries: whoever wants each once has a bundle.
        let wanted: Vec<_> = roots.iter().chain(&roots[..1]).cloned().collect();
        std::fs::write(&path, trust_store(&wanted, "pass word").unwrap()).unwrap();
        let listed = keytool(&path, "pass word");
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(listed.status.success(), "{listed:?}");
        assert_eq!(text.matches("trustedCertEntry").count(), wanted.len(), "{text}");
        let refused = keytool(&path, "another");
        assert!(!refused.status.success(), "{refused:?}");
    }

    #[test]
    fn openssl_reads_it_without_its_legacy_provider() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust.p12");
        let roots = &webpki_root_certs::TLS_SERVER_ROOT_CERTS[..2];
        std::fs::write(&path, trust_store(roots, USUAL_PASSWORD).unwrap()).unwrap();
        let password = format!("pass:{USUAL_PASSWORD}");
        let read = Command::new("openssl").args(["pkcs12", "-nokeys", "-passin", &password, "-in"]).arg(&path).output();
        let read = read.unwrap();
        assert!(read.status.success(), "{read:?}");
        assert_eq!(String::from_utf8_lossy(&read.stdout).matches("BEGIN CERTIFICATE").count(), 2);
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        let error = trust_store(&[CertificateDer::from(vec![0x30, 0])], USUAL_PASSWORD).unwrap_err().to_string();
        assert!(error.starts_with("the trust store cannot be made: "), "{error}");
    }
}
