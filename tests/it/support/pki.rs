//! A public key infrastructure made in memory: keys, authorities, leaves, and the chains servers present.
//!
//! ```ignore
//! let root = Ca::root("Root");
//! let chain = Leaf::named("api.bank.example").signed_by(&root.intermediate("Issuing"));
//! ```
//! Whatever a default decides, a builder can decide otherwise; nothing checks that the result makes sense, because
//! half of the tests want it not to.

mod authority;
mod chain;
mod cross;
mod key;
mod leaf;
mod v1;
mod when;

pub(crate) use authority::{Ca, CaBuilder, pem_bundle, root_store};
pub(crate) use chain::{Chain, PemFiles};
pub(crate) use cross::{CrossSigns, many_cross_signs};
pub(crate) use key::Key;
pub(crate) use leaf::Leaf;
pub(crate) use v1::v1_self_signed;
pub(crate) use when::{REFERENCE, Validity, ago, ahead, now, system_time, unix_time};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::SerialNumber;
use sha2::{Digest as _, Sha256};

/// SHA-256 of a whole certificate, as a certificate pin states it.
pub(crate) fn cert_sha256(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

/// One PEM block (RFC 7468): base64 in lines of 64 characters between the two markers.
pub(crate) fn pem_block(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.extend(line.iter().map(|&byte| char::from(byte)));
        text.push('\n');
    }
    text + "-----END " + label + "-----\n"
}

/// Fifteen random bytes: never negative, never longer than RFC 5280 allows, never the same twice.
fn random_serial() -> SerialNumber {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes[1..]).expect("the system gives random bytes");
    bytes[0] = 1;
    SerialNumber::from_slice(&bytes)
}
