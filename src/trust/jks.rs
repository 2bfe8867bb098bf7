//! A trust store in Java's own old form, for what reads no other. It has no public description; this is what
//! `sun.security.provider.JavaKeyStore` of OpenJDK reads and writes. The crates that write it are young and bring PKCS#12 with
//! them, and of the form we need the least part: trusted certificates, and no keys.

use super::public::Identity;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use rustls::pki_types::CertificateDer;
use std::time::SystemTime;

const MAGIC: u32 = 0xFEED_FEED;
const VERSION: u32 = 2;
/// The tag of an entry that is a certificate and nothing else.
const TRUSTED_CERTIFICATE: u32 = 2;
/// What stands between the password and the content, where both are hashed.
const WHITENER: &[u8] = b"Mighty Aphrodite";

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum JksError {
    /// What is to go in is no certificate.
    #[error("entry {0} of the trust store is no certificate")]
    NoCertificate(usize),
    /// More than the numbers of the format can say.
    #[error("this is too large for a trust store in JKS form")]
    TooLarge,
}

/// A store with these certificates, all of them trusted, under the names that stores know them by. The same certificates and
/// password give the same octets: an entry is as old as its certificate.
///
/// # Errors
/// [`JksError`].
pub fn trust_store(certificates: &[CertificateDer<'_>], password: &str) -> Result<Vec<u8>, JksError> {
    let mut store = Vec::new();
    store.extend(MAGIC.to_be_bytes());
    store.extend(VERSION.to_be_bytes());
    store.extend(length(certificates.len())?);
    for (index, certificate) in certificates.iter().enumerate() {
        let identity = Identity::of(certificate).ok_or(JksError::NoCertificate(index + 1))?;
        store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        text(&mut store, &identity.name())?;
        store.extend(milliseconds(identity.not_before.0).to_be_bytes());
        text(&mut store, "X.509")?;
        store.extend(length(certificate.len())?);
        store.extend(certificate.as_ref());
    }
    let mut hashed = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    password.encode_utf16().for_each(|unit| hashed.update(&unit.to_be_bytes()));
    hashed.update(WHITENER);
    hashed.update(&store);
    store.extend(hashed.finish().as_ref());
    Ok(store)
}

fn length(of: usize) -> Result<[u8; 4], JksError> {
    // Java's numbers have signs.
    i32::try_from(of).map(i32::to_be_bytes).map_err(|_| JksError::TooLarge)
}

/// As `DataOutput.writeUTF` has it; of ASCII, which ours are, its form is that of UTF-8.
fn text(store: &mut Vec<u8>, text: &str) -> Result<(), JksError> {
    store.extend(u16::try_from(text.len()).map_err(|_| JksError::TooLarge)?.to_be_bytes());
    store.extend(text.as_bytes());
    Ok(())
}

/// Since 1970; a certificate that is older begins there.
fn milliseconds(moment: SystemTime) -> i64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet() {
        let root = &webpki_root_certs::TLS_SERVER_ROOT_CERTS[0];
        let identity = Identity::of(root).unwrap();
        let store = trust_store(std::slice::from_ref(root), "p\u{e4}ss").unwrap();
        let name = identity.name();
        let begins = milliseconds(identity.not_before.0).to_be_bytes();
        let size = u32::try_from(root.len()).unwrap().to_be_bytes();
        let parts: [&[u8]; 8] = [
            &[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 1],
            &[0, 0, 0, 2, 0, 25],
            name.as_bytes(),
            &begins,
            &[0, 5],
            b"X.509",
            &size,
            root,
        ];
        let content = parts.concat();
        let keyed = [b"\0p\0\xe4\0s\0sMighty Aphrodite".as_slice(), &content].concat();
        let digest = aws_lc_rs::digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &keyed);
        assert_eq!(store, [content.as_slice(), digest.as_ref()].concat());
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        let root = webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].clone();
        let error = trust_store(&[root, CertificateDer::from(vec![0x30, 0])], "changeit").unwrap_err();
        assert!(matches!(error, JksError::NoCertificate(2)), "{error}");
        assert_eq!(trust_store(&[], "changeit").unwrap().len(), 12 + 20);
    }
}
