//! Keys and certificates in files.

use super::super::super::pem::KEY_FILE_OCTETS_MAX;
use super::super::includes::Memory;
use super::*;
use crate::policy::pin::Pin;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData as _, SignatureAlgorithm};
use sha2::{Digest as _, Sha256 as Hasher};

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn certificate(key: &KeyPair) -> rcgen::Certificate {
    CertificateParams::new(vec!["api.bank.example".into()]).unwrap().self_signed(key).unwrap()
}

fn pin(key: &KeyPair) -> Pin {
    Pin::Spki(Hasher::digest(key.subject_public_key_info()).into())
}

fn certificate_pin(certificate: &rcgen::Certificate) -> Pin {
    Pin::Certificate(Hasher::digest(certificate.der()).into())
}

/// Loads a key `k` of these lines and a pinset of it, with `etc/k.pem` of these octets.
fn load(octets: &[u8], lines: &str) -> Result<(Config, Vec<Diagnostic>), ConfigErrors> {
    let pinset = pinset(&format!("pins = [\"k\"]\nbackup = [\"{K2}\"]"));
    let mut memory = Memory::new(&[("etc/main.toml", &format!("[keys.k]\n{lines}\n{pinset}")), ("etc/folder/x", "")]);
    memory.files.insert("etc/k.pem".into(), octets.to_vec());
    memory.load()
}

fn refused(octets: &[u8], lines: &str) -> Vec<(Code, Option<(usize, usize)>)> {
    let errors = load(octets, lines).err().unwrap_or_else(|| panic!("accepted: {lines}"));
    let errors = errors.diagnostics().iter().filter(|told| told.severity() == Severity::Error);
    errors.map(|told| (told.code(), told.position())).collect()
}

/// The first pin that the pinset accepts, and what is told.
fn accepted(octets: &[u8], lines: &str) -> (Pin, Vec<Code>) {
    let (config, told) = load(octets, lines).unwrap_or_else(|errors| panic!("{errors}"));
    let RuleKind::Pinned(pinset) = &config.rules.rules()[0].kind else { panic!() };
    (*pinset.accepts().pins().next().unwrap(), told.iter().map(Diagnostic::code).collect())
}

const PEM: &str = "pem = \"k.pem\"";

#[test]
fn files_that_hold_no_key_or_too_many() {
    let (one, other) = (key(), key());
    let (first, second) = (certificate(&one).pem(), certificate(&other).pem());
    let (secret, public) = (one.serialize_pem(), one.public_key_pem());
    let openssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let table: &[(&str, Vec<u8>)] = &[
        ("nothing", Vec::new()),
        ("no PEM", b"hello".to_vec()),
        ("no base64", b"-----BEGIN CERTIFICATE-----\n****\n-----END CERTIFICATE-----\n".to_vec()),
        ("no DER", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec()),
        ("cut off", first.as_bytes()[..first.len() / 2].to_vec()),
        ("another kind", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n".to_vec()),
        ("two certificates", (first.clone() + &second).into_bytes()),
        ("one twice", first.repeat(2).into_bytes()),
        ("certificate and public key", (first.clone() + &public).into_bytes()),
        ("private key", secret.clone().into_bytes()),
        ("private key behind a certificate", (first + &secret).into_bytes()),
        ("private key of OpenSSH", openssh.into()),
        ("private key, encrypted", encrypted.into()),
        ("private key in DER", one.serialize_der()),
        ("more behind a certificate in DER", [certificate(&one).der().as_ref(), &[0]].concat()),
        ("more behind a key in DER", [one.subject_public_key_info().as_slice(), &[0]].concat()),
    ];
    for (what, octets) in table {
        for lines in [PEM.to_owned(), format!("{PEM}\nspki = \"{K1}\"")] {
            assert_eq!(refused(octets, &lines), [(Code::E08, Some((2, 7)))], "{what}");
        }
        let told = load(octets, PEM).unwrap_err().to_string();
        let body = secret.lines().nth(1).unwrap();
        assert!(!told.contains(body) && !told.contains("AAAA") && !told.contains("BEGIN"), "{what}: {told}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let whole = certificate(&key()).pem().into_bytes();
    let padded = |octets: usize| [whole.clone(), vec![b'\n'; octets - whole.len()]].concat();
    let table = [
        (whole.clone(), "pem = \"gone.pem\"", Code::E19, (2, 7)),
        (whole.clone(), "pem = \"folder\"", Code::E19, (2, 7)),
        (padded(KEY_FILE_OCTETS_MAX + 1), PEM, Code::E19, (2, 7)),
        (whole.clone(), "pem = \"\"", Code::E16, (2, 7)),
        (whole.clone(), "pem = 1", Code::E15, (2, 7)),
        (whole.clone(), "pem = [\"k.pem\"]", Code::E15, (2, 7)),
    ];
    for (octets, lines, code, place) in table {
        assert_eq!(refused(&octets, lines), [(code, Some(place))], "{lines}");
    }
    assert_eq!(load(&padded(KEY_FILE_OCTETS_MAX), PEM).err().map(|errors| errors.to_string()), None);
    let text = format!("[keys.k]\n{PEM}\n{}", pinset(&format!("pins = [\"k\", \"{K2}\"]")));
    refuse_each(&[(&text, &[(Code::E19, 2, 7, "read by itself")])]);
}

#[test]
fn files_that_are_another_key() {
    let (one, other) = (key(), key());
    let (own, renewed, foreign) = (certificate(&one), certificate(&one), certificate(&other));
    assert_ne!(own.der(), renewed.der(), "signatures differ");
    let (pin, certificate) = (pin(&one), certificate_pin(&own).to_string());
    let spki = format!("{PEM}\nspki = \"{pin}\"");
    let cert = format!("cert = \"{certificate}\"\n{PEM}");
    let table = [
        (foreign.pem(), &spki, (3, 8)),
        (other.public_key_pem(), &spki, (3, 8)),
        (foreign.pem(), &cert, (2, 8)),
        // Of the same key, but another certificate, or none.
        (renewed.pem(), &cert, (2, 8)),
        (one.public_key_pem(), &cert, (2, 8)),
    ];
    for (octets, lines, place) in table {
        assert_eq!(refused(octets.as_bytes(), lines), [(Code::E07, Some(place))], "{lines}");
    }
    assert_eq!(accepted(own.pem().as_bytes(), &spki).0, pin);
    assert_eq!(accepted(own.pem().as_bytes(), &cert).0, Pin::parse(&certificate).unwrap());
}

#[test]
fn the_pin_of_a_file() {
    let key = key();
    let certificate = certificate(&key);
    let described = format!("Subject: CN=api\n\n{}\ntrailing words\n", certificate.pem());
    let table: &[(&str, Vec<u8>)] = &[
        ("certificate, PEM", certificate.pem().into_bytes()),
        ("certificate, CRLF", certificate.pem().replace('\n', "\r\n").into_bytes()),
        ("certificate, words around it", described.into_bytes()),
        ("certificate, DER", certificate.der().to_vec()),
        ("public key, PEM", key.public_key_pem().into_bytes()),
        ("public key, DER", key.subject_public_key_info().clone()),
    ];
    for (what, octets) in table {
        assert_eq!(accepted(octets, PEM), (pin(&key), vec![]), "{what}");
    }
}

/// A file is sought beside the file that names it, and a key in two files is one key.
#[test]
fn files_of_included_files() {
    let pem = certificate(&key()).pem();
    let list = pinset(&format!("pins = [\"k\"]\nbackup = [\"{K2}\"]"));
    let main = format!("include = [\"d/keys.toml\"]\n{list}");
    let files = |key: &str| {
        let memory =
            Memory::new(&[("etc/main.toml", &main), ("etc/d/keys.toml", key), ("etc/d/k.pem", &pem), ("/l.pem", &pem)]);
        memory.load().map(|_| ()).map_err(|errors| errors.diagnostics()[0].code())
    };
    assert_eq!(files("[keys.k]\npem = \"k.pem\""), Ok(()));
    assert_eq!(files("[keys.k]\npem = \"/l.pem\""), Ok(()));
    assert_eq!(files("[keys.k]\npem = \"l.pem\""), Err(Code::E19));
    assert_eq!(files("[keys.k]\npem = \"k.pem\"\n[keys.l]\npem = \"/l.pem\""), Err(Code::E09));
}

/// DER of a tag and its content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let header = match length {
        [0, short @ 0..=0x7f] => vec![tag, short],
        [0, long] => vec![tag, 0x81, long],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [header.as_slice(), content].concat()
}

#[test]
fn kinds_of_keys() {
    let of = |algorithm: &'static SignatureAlgorithm| KeyPair::generate_for(algorithm).unwrap();
    let verified = [
        of(&rcgen::PKCS_ECDSA_P256_SHA256),
        of(&rcgen::PKCS_ECDSA_P384_SHA384),
        of(&rcgen::PKCS_ECDSA_P521_SHA512),
        of(&PKCS_ED25519),
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap(),
    ];
    for key in verified {
        let files = [key.public_key_pem(), certificate(&key).pem()];
        for file in files {
            assert_eq!(accepted(file.as_bytes(), PEM), (pin(&key), vec![]), "{:?}", key.algorithm());
        }
    }
    // Keys that nobody has to be able to use: SEQUENCE { AlgorithmIdentifier, BIT STRING }.
    let info = |algorithm: &[u8], key: &[u8]| {
        let bits = der(0x03, &[&[0], key].concat());
        der(0x30, &[der(0x30, algorithm), bits].concat())
    };
    let ec = der(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]);
    let secp256k1 = der(0x06, &[0x2b, 0x81, 0x04, 0x00, 0x0a]);
    let rsa = [der(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01]), vec![0x05, 0]].concat();
    let rsa_of = |octets: usize| {
        let modulus = der(0x02, &[vec![0, 0x80], vec![1; octets - 1]].concat());
        der(0x30, &[modulus, der(0x02, &[3])].concat())
    };
    for octets in [256, 384, 1024] {
        assert_eq!(accepted(&info(&rsa, &rsa_of(octets)), PEM).1, [], "RSA {}", octets * 8);
    }
    let table: &[(&str, Vec<u8>)] = &[
        ("secp256k1", info(&[ec.clone(), secp256k1].concat(), &[4; 65])),
        ("a curve without a name", info(&ec, &[4; 65])),
        ("Ed448", info(&der(0x06, &[0x2b, 0x65, 0x71]), &[1; 57])),
        ("RSA 1024", info(&rsa, &rsa_of(128))),
        ("RSA 2040", info(&rsa, &rsa_of(255))),
        ("RSA 8200", info(&rsa, &rsa_of(1025))),
        ("no RSA key", info(&rsa, &[1; 40])),
    ];
    for (what, octets) in table {
        assert_eq!(accepted(octets, PEM).1, [Code::W45], "{what}");
    }
}

/// Certificates of one key are one key: alone, and as a backup of it.
#[test]
fn certificates_of_one_key() {
    let (one, other) = (key(), key());
    let (first, renewed, foreign) = (certificate(&one), certificate(&one), certificate(&other));
    let told = |lists: &str| {
        let entry = |name: &str, certificate: &rcgen::Certificate| {
            format!("[keys.{name}]\npem = \"{name}.pem\"\ncert = \"{}\"\n", certificate_pin(certificate))
        };
        let text = entry("first", &first) + &entry("renewed", &renewed) + &entry("foreign", &foreign);
        // What is random comes last: there may be a K2 in it.
        let lists = lists.replace("K2", K2).replace("K3", K3).replace("CERT", &certificate_pin(&renewed).to_string());
        let text = text + &pinset(&lists.replace("KEY", &pin(&one).to_string()));
        let pems = [first.pem(), renewed.pem(), foreign.pem()];
        let memory = Memory::new(&[
            ("etc/main.toml", &text),
            ("etc/first.pem", &pems[0]),
            ("etc/renewed.pem", &pems[1]),
            ("etc/foreign.pem", &pems[2]),
        ]);
        let told = memory.load().map_or_else(|errors| errors.diagnostics().to_vec(), |(_, told)| told);
        let count = |code| told.iter().filter(|told| told.code() == code).count();
        (count(Code::E30), count(Code::W32))
    };
    assert_ne!(first.der(), renewed.der(), "signatures differ");
    let unknown = "cert:sha256:3f8518a9bb7c473e92e1b334b7588b1e237e1775df079ade78d7a0b36219b4f0";
    let table = [
        ("pins = [\"first\"]\nbackup = [\"renewed\"]", (1, 0)),
        ("pins = [\"KEY\"]\nbackup = [\"renewed\"]", (1, 0)),
        ("pins = [\"first\"]\nbackup = [\"KEY\"]", (1, 0)),
        ("pins = [\"KEY\"]\nbackup = [\"CERT\"]", (1, 0)),
        ("pins = [\"CERT\"]\nbackup = [\"KEY\"]", (1, 0)),
        ("pins = [\"first\", \"renewed\"]", (1, 0)),
        ("trust = \"pin-only\"\npins = [\"first\", \"KEY\"]", (1, 0)),
        ("leaf_pins = [\"first\", \"KEY\"]\nca_pins = [\"K2\", \"K3\"]\ncombine = \"all\"", (1, 0)),
        ("pins = [\"foreign\", \"first\"]\nbackup = [\"renewed\"]", (0, 1)),
        ("pins = [\"foreign\", \"KEY\"]\nbackup = [\"CERT\"]", (0, 1)),
        ("pins = [\"foreign\", \"CERT\"]\nbackup = [\"KEY\"]", (0, 1)),
        ("pins = [\"first\"]\nbackup = [\"renewed\"]\nmode = \"report-only\"", (0, 1)),
        ("leaf_pins = [\"first\", \"KEY\"]\nca_pins = [\"K2\", \"K3\"]\ncombine = \"any\"", (0, 0)),
        ("pins = [\"first\"]\nbackup = [\"foreign\"]", (0, 0)),
        ("pins = [\"first\", \"foreign\"]", (0, 0)),
        (&format!("pins = [\"first\"]\nbackup = [\"{unknown}\"]"), (0, 0)),
    ];
    for (lists, expected) in table {
        assert_eq!(told(lists), expected, "{lists}");
    }
}
