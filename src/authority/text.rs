//! Bytes as text: hexadecimal and PEM.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Characters of base64 in a line of PEM (RFC 7468 section 2).
const PEM_LINE: usize = 64;

/// Upper-case hexadecimal octets with a separator between them.
pub(super) fn hex(octets: &[u8], separator: &str) -> String {
    let mut text = String::with_capacity(octets.len() * (2 + separator.len()));
    for (index, octet) in octets.iter().enumerate() {
        let separator = if index == 0 { "" } else { separator };
        // Writing to a String does not fail.
        let _ = write!(text, "{separator}{octet:02X}");
    }
    text
}

/// A PEM section. Wiped from memory when dropped, as it may be a private key; made in buffers that never grow, because
/// growing leaves copies behind.
pub(super) fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let encoded_length = der.len().div_ceil(3) * 4;
    let mut encoded = Zeroizing::new(String::with_capacity(encoded_length));
    STANDARD.encode_string(der, &mut encoded);
    let lines = encoded_length.div_ceil(PEM_LINE);
    let mut text = Zeroizing::new(String::with_capacity(encoded_length + lines + 2 * (label.len() + 16)));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(PEM_LINE));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn hex_is_separated_between_octets_only() {
        assert_eq!(hex(&[], ":"), "");
        assert_eq!(hex(&[0x0a, 0xff, 0], ":"), "0A:FF:00");
        assert_eq!(hex(&[0x0a, 0xff], ""), "0AFF");
    }

    #[test]
    fn pem_reads_back_and_its_buffer_never_grew() {
        for length in [0, 1, 47, 48, 49, 96, 1000] {
            let der: Vec<u8> = (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect();
            let text = pem("CERTIFICATE", &der);
            assert!(text.lines().all(|line| line.len() <= PEM_LINE), "{length}");
            assert_eq!(text.len(), text.capacity(), "{length}");
            assert_eq!(CertificateDer::from_pem_slice(text.as_bytes()).unwrap().as_ref(), der, "{length}");
        }
    }
}
