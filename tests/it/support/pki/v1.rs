//! Certificates of X.509 version 1, which old appliances still present and rcgen does not write.

use rcgen::{CertificateParams, IsCa, SigningKey as _};

use super::{Chain, Key, Validity, authority::subject, random_serial};

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const EXPLICIT_VERSION: u8 = 0xa0;

/// A self-signed certificate of version 1: a subject, a key, a period, and no extension.
///
/// rcgen writes a version 3 certificate without extensions; this takes the version field out and signs again.
pub(crate) fn v1_self_signed(common_name: &str, key: &Key, validity: Validity) -> Chain {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(Some(common_name));
    params.is_ca = IsCa::NoCa;
    params.serial_number = Some(random_serial());
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    let v3 = params.self_signed(key.pair()).expect("rcgen encodes a bare certificate");

    let (_, certificate, _) = take(v3.der());
    let (_, tbs, rest) = take(certificate);
    let (_, _, signature) = take(rest);
    let algorithm = &rest[..rest.len() - signature.len()];
    let (version, _, tbs_without_version) = take(tbs);
    assert_eq!(version, EXPLICIT_VERSION, "a version 3 certificate begins with its version");

    let tbs = wrap(SEQUENCE, tbs_without_version);
    let mut signature = vec![0];
    signature.extend(key.pair().sign(&tbs).expect("the key signs"));
    let v1 = [tbs, algorithm.to_vec(), wrap(BIT_STRING, &signature)].concat();
    Chain::of(vec![wrap(SEQUENCE, &v1).into()], key.clone())
}

/// Splits DER after its first element: tag, contents, what follows.
fn take(der: &[u8]) -> (u8, &[u8], &[u8]) {
    let (length, header) = match der[1] {
        short @ 0..=0x7f => (usize::from(short), 2),
        long => {
            let digits = usize::from(long & 0x7f);
            (der[2..2 + digits].iter().fold(0, |length, &digit| length << 8 | usize::from(digit)), 2 + digits)
        }
    };
    (der[0], &der[header..header + length], &der[header + length..])
}

/// An element of DER with this tag and these contents, of at most 65535 bytes.
fn wrap(tag: u8, contents: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(contents.len()).expect("a certificate is short").to_be_bytes();
    let mut der = match contents.len() {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    der.extend_from_slice(contents);
    der
}
