//! Pins: SHA-256 of a SubjectPublicKeyInfo (RFC 7469 section 2.4) or of a whole certificate.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde::{Serialize, Serializer};
use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;

/// Lengths in bits of the RSA keys whose signatures are verified.
pub const RSA_BITS_VERIFIED: RangeInclusive<usize> = 2048..=8192;

/// The length in bits of an RSA key: that of its modulus without the zeros in front.
pub fn rsa_bits(modulus: &[u8]) -> usize {
    let first = modulus.iter().position(|octet| *octet != 0).unwrap_or(modulus.len());
    let modulus = &modulus[first..];
    modulus.len() * 8 - modulus.first().map_or(0, |octet| octet.leading_zeros() as usize)
}

/// A SHA-256 digest.
pub type Sha256 = [u8; 32];

/// What a pin is compared with. Stored and compared as bytes, never as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pin {
    /// SHA-256 of the DER SubjectPublicKeyInfo, its SEQUENCE header included (RFC 7469 section 2.4).
    Spki(Sha256),
    /// SHA-256 of the DER certificate. It dies with the certificate, not with the key.
    Certificate(Sha256),
}

/// Why a text is not a pin. The texts are shown to operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Nothing there.
    #[error("the pin is empty")]
    Empty,
    /// SHA-1 or MD5.
    #[error("{0} pins are refused: the hash is broken; use sha256/…")]
    BrokenHash(&'static str),
    /// SHA-384 or SHA-512, reserved.
    #[error("{0} pins are not supported; use sha256/…")]
    OtherHash(&'static str),
    /// Not one of the accepted forms.
    #[error("not a pin; write sha256/BASE64 for a public key, or cert:sha256:HEX for a certificate")]
    Form,
    /// 64 hexadecimal digits with nothing that tells a key from a certificate.
    #[error("64 hexadecimal digits alone may be a key or a certificate; write sha256:HEX or cert:sha256:HEX")]
    AmbiguousHex,
    /// Not base64 or not hexadecimal.
    #[error("the digest is not {encoding}: {detail}")]
    Encoding {
        /// `base64` or `hexadecimal`.
        encoding: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The last base64 character carries bits that are thrown away: a mistyped end would go unnoticed.
    #[error("the base64 is not canonical: its last character has stray bits; the canonical form is {canonical}")]
    NotCanonical {
        /// The same digest as it should be written.
        canonical: String,
    },
    /// The digest is not 32 bytes long.
    #[error("the digest has {octets} bytes, SHA-256 has 32{}", length_hint(*octets, text))]
    Length {
        /// Length found.
        octets: usize,
        /// The decoded text as far as it is ASCII, for the hint.
        text: String,
    },
    /// A digest that cannot belong to a key: an example, a placeholder, the hash of nothing.
    #[error("this is {0}, not the pin of a key")]
    Placeholder(&'static str),
}

fn length_hint(octets: usize, text: &str) -> &'static str {
    match octets {
        16 => " (16 is MD5, which is refused)",
        20 => " (20 is SHA-1, which is refused)",
        48 if text.len() == 48 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
            " (base64 read out of hexadecimal digits)"
        }
        48 => " (48 is SHA-384, or 64 hexadecimal digits read as base64: write sha256:HEX for those)",
        64 if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
            " (this is base64 of hexadecimal digits: encode the 32 bytes instead)"
        }
        64 => " (64 is SHA-512)",
        _ => "",
    }
}

/// Digests that stand in documentation or come from hashing the wrong thing; as a pin they match no key.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "the SHA-256 of nothing"),
    ("AbpHGcgLb+kRsJGnwFEktk7uzpZOCcBY74+YBdrKVGs=", "the SHA-256 of a line break"),
    ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "the all-zero placeholder"),
    ("//////////////////////////////////////////8=", "the all-ones placeholder"),
    ("LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=", "the SHA-256 of \"hello\", an example of RFC 7469"),
    ("d6qzRu9zOECb90Uez27xWltNsj0e1Md7GkYYkVoZWmM=", "an example of RFC 7469"),
    ("E9CZ9INDbd+2eRQozYqqbQ2yXLVKB9+xcprMF+44U1g=", "an example of RFC 7469"),
];

/// Octets as lower-case hexadecimal digits.
pub fn hex(octets: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * octets.len());
    for octet in octets {
        text.push(char::from(DIGITS[usize::from(octet >> 4)]));
        text.push(char::from(DIGITS[usize::from(octet & 15)]));
    }
    text
}

impl Pin {
    /// As [`fmt::Display`] has it, in one piece: events are full of it.
    fn text(&self) -> String {
        match self {
            Self::Spki(digest) => {
                /// Characters of the text.
                const LENGTH: usize = 51;
                let mut text = String::with_capacity(LENGTH);
                text.push_str("sha256/");
                STANDARD.encode_string(digest, &mut text);
                text
            }
            Self::Certificate(digest) => format!("cert:sha256:{}", hex(digest)),
        }
    }

    /// Parses a pin as operators write it: `sha256/B64`, `sha256//B64` (curl), `pin-sha256="B64"` (RFC 7469), 44
    /// characters of base64 alone, `sha256:HEX`, and `cert:sha256:HEX` for a certificate; HEX with or without colons.
    ///
    /// # Errors
    /// [`PinError`] telling what to write instead.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        if text.is_empty() {
            return Err(PinError::Empty);
        }
        refuse_other_hashes(text)?;
        let pin = if let Some(rest) = text.strip_prefix("cert:") {
            Self::Certificate(decode_hex(rest.strip_prefix("sha256:").ok_or(PinError::Form)?)?)
        } else if let Some(hex) = text.strip_prefix("sha256:") {
            Self::Spki(decode_hex(hex)?)
        } else if let Some(rest) = text.strip_prefix("pin-sha256=") {
            let quoted = rest.strip_prefix('"').and_then(|r| r.strip_suffix('"')).ok_or(PinError::Form)?;
            Self::Spki(decode_base64(quoted)?)
        } else if let Some(rest) = text.strip_prefix("sha256/") {
            // A digest may itself begin with '/': 45 characters are the curl form, 44 are ours.
            let curl = if rest.len() == 45 { rest.strip_prefix('/') } else { None };
            Self::Spki(decode_base64(curl.unwrap_or(rest))?)
        } else {
            parse_bare(text)?
        };
        pin.refuse_placeholder()
    }

    /// The digest.
    pub const fn digest(&self) -> &Sha256 {
        match self {
            Self::Spki(digest) | Self::Certificate(digest) => digest,
        }
    }

    fn refuse_placeholder(self) -> Result<Self, PinError> {
        let canonical = STANDARD.encode(self.digest());
        let known = PLACEHOLDERS.iter().find(|(digest, _)| *digest == canonical).map(|(_, what)| *what);
        known.or_else(|| filler(self.digest())).map_or(Ok(self), |what| Err(PinError::Placeholder(what)))
    }
}

/// What somebody made up in place of a digest. Of the digests that are computed not one in 10^13 looks like that.
fn filler(digest: &Sha256) -> Option<&'static str> {
    let text = digest.iter().rposition(|octet| *octet != 0).map_or(&[][..], |last| &digest[..=last]);
    if digest.iter().collect::<HashSet<_>>().len() <= FILLER_OCTETS_MAX {
        Some("a pattern of few different octets")
    } else if COUNTED_OCTETS.iter().any(|width| counts(digest, *width)) {
        Some("a row of numbers in equal steps")
    } else if text.iter().all(|octet| matches!(octet, b' '..=b'~')) {
        Some("a text in ASCII")
    } else {
        None
    }
}

/// Different octets of a filler: what repeats after 16 octets or fewer has no more. Of 32 octets that are drawn by lot
/// about 30 are different.
const FILLER_OCTETS_MAX: usize = 16;

/// Widths of the numbers that somebody may have counted in; three octets are four characters of base64.
const COUNTED_OCTETS: &[usize] = &[1, 2, 3, 4, 8];

/// Whether numbers of this many octets go up or down in equal steps.
fn counts(digest: &Sha256, octets: usize) -> bool {
    let number = |word: &[u8]| word.iter().fold(0_u64, |number, octet| number << 8 | u64::from(*octet));
    let numbers: Vec<_> = digest.chunks_exact(octets).map(number).collect();
    let mask = u64::MAX >> (64 - 8 * octets);
    numbers.windows(3).all(|three| (three[0].wrapping_add(three[2]).wrapping_sub(three[1].wrapping_mul(2))) & mask == 0)
}

fn refuse_other_hashes(text: &str) -> Result<(), PinError> {
    let lower = text.trim_start_matches("pin-").trim_start_matches("cert:").to_ascii_lowercase();
    let hash = lower.split(['/', ':', '=']).next().unwrap_or_default();
    match hash {
        "sha1" | "sha-1" => Err(PinError::BrokenHash("SHA-1")),
        "md5" => Err(PinError::BrokenHash("MD5")),
        "sha384" => Err(PinError::OtherHash("SHA-384")),
        "sha512" => Err(PinError::OtherHash("SHA-512")),
        _ => Ok(()),
    }
}

fn parse_bare(text: &str) -> Result<Pin, PinError> {
    let digits = text.bytes().filter(|b| *b != b':');
    if digits.clone().count() == 64 && digits.clone().all(|b| b.is_ascii_hexdigit()) {
        return Err(PinError::AmbiguousHex);
    }
    if text.len() == 44 && text.ends_with('=') {
        return decode_base64(text).map(Pin::Spki);
    }
    Err(PinError::Form)
}

fn decode_base64(text: &str) -> Result<Sha256, PinError> {
    let bytes = match STANDARD.decode(text) {
        Ok(bytes) => bytes,
        Err(base64::DecodeError::InvalidLastSymbol(..)) => return Err(not_canonical(text)),
        Err(error) => return Err(PinError::Encoding { encoding: "base64", detail: describe(text, &error) }),
    };
    exactly_32(&bytes)
}

fn describe(text: &str, error: &base64::DecodeError) -> String {
    if URL_SAFE.decode(text).is_ok() {
        return "it is the URL-safe alphabet; write + for - and / for _".into();
    }
    if STANDARD_NO_PAD.decode(text).is_ok() {
        return "the = at the end is missing".into();
    }
    error.to_string().to_lowercase().trim_end_matches('.').to_owned()
}

/// Names the digest that a lenient decoder would have read, so that the operator can compare it with the source.
fn not_canonical(text: &str) -> PinError {
    let lenient = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    match lenient.decode(text) {
        Ok(bytes) => PinError::NotCanonical { canonical: STANDARD.encode(bytes) },
        Err(error) => PinError::Encoding { encoding: "base64", detail: error.to_string() },
    }
}

fn decode_hex(text: &str) -> Result<Sha256, PinError> {
    let encoding = "hexadecimal";
    let digits: Vec<u8> = if text.contains(':') {
        if text.split(':').any(|pair| pair.len() != 2) {
            return Err(PinError::Encoding {
                encoding,
                detail: "colons stand between every two digits or nowhere".into(),
            });
        }
        text.bytes().filter(|b| *b != b':').collect()
    } else {
        text.bytes().collect()
    };
    let value = |digit: u8| (digit as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let odd = || PinError::Encoding { encoding, detail: "only the digits 0-9 and a-f, in pairs".into() };
    let bytes = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(value(*high)? << 4 | value(*low)?),
            _ => None,
        })
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(odd)?;
    exactly_32(&bytes)
}

fn exactly_32(bytes: &[u8]) -> Result<Sha256, PinError> {
    bytes
        .try_into()
        .map_err(|_| PinError::Length { octets: bytes.len(), text: String::from_utf8_lossy(bytes).into_owned() })
}

/// The canonical text: `sha256/BASE64`, or `cert:sha256:HEX`.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Serialize for Pin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// Which texts are pins, and what each refused one is told: tests/vectors/encoding.toml.

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rsa_keys_are_as_long_as_their_modulus_without_zeros() {
        let modulus = |front: &[u8], octets: usize| [front, vec![0xff; octets].as_slice()].concat();
        let table = [
            (modulus(&[], 0), 0),
            (modulus(&[0, 0], 0), 0),
            (modulus(&[0, 1], 0), 1),
            (modulus(&[0x80], 255), 2048),
            (modulus(&[0, 0x80], 255), 2048),
            (modulus(&[0x7f], 255), 2047),
            (modulus(&[0, 0, 0x40], 255), 2047),
            (modulus(&[1], 1024), 8193),
        ];
        for (modulus, expected) in table {
            assert_eq!(rsa_bits(&modulus), expected, "{:?} and {} in all", modulus.get(..3), modulus.len());
        }
    }
}
