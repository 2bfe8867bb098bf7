//! Keys whose certificate, or Mozilla's list, tells what they are.

use super::super::includes::Memory;
use super::*;
use crate::policy::pin::Pin;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _};
use sha2::{Digest as _, Sha256 as Hasher};

/// What the files of a test hold, by name. Each name is also that of a key with this file and nothing else.
struct Files(Vec<(&'static str, Vec<u8>, Pin)>);

fn params(name: &str, is_ca: IsCa, usages: &[KeyUsagePurpose]) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["api.bank.example".into()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = is_ca;
    params.key_usages = usages.to_vec();
    params
}

fn pin(key: &KeyPair) -> Pin {
    Pin::Spki(Hasher::digest(key.subject_public_key_info()).into())
}

impl Files {
    fn new() -> Self {
        let authority = || IsCa::Ca(BasicConstraints::Unconstrained);
        let sign = [KeyUsagePurpose::KeyCertSign];
        let keys: Vec<_> = (0..7).map(|_| KeyPair::generate().unwrap()).collect();
        let [root_key, middle_key, leaf_key, own_key, odd_key, old_key, bare_key] = keys.try_into().unwrap();
        let root = params("root", authority(), &sign);
        let of_root = |params: &CertificateParams, key: &KeyPair| {
            params.signed_by(key, &Issuer::from_params(&root, &root_key)).unwrap().der().to_vec()
        };
        let of_itself = |params: &CertificateParams, key: &KeyPair| params.self_signed(key).unwrap().der().to_vec();
        let old = without_version(&of_itself(&params("old", IsCa::NoCa, &[]), &old_key));
        Self(vec![
            ("root", of_itself(&root, &root_key), pin(&root_key)),
            ("middle", of_root(&params("middle", authority(), &[]), &middle_key), pin(&middle_key)),
            ("leaf", of_root(&params("leaf", IsCa::ExplicitNoCa, &[]), &leaf_key), pin(&leaf_key)),
            ("own", of_itself(&params("own", IsCa::NoCa, &[]), &own_key), pin(&own_key)),
            // To sign certificates, and no authority: it contradicts itself.
            ("odd", of_itself(&params("odd", IsCa::NoCa, &sign), &odd_key), pin(&odd_key)),
            ("old", old, pin(&old_key)),
            ("bare", bare_key.subject_public_key_info(), pin(&bare_key)),
        ])
    }

    fn find(&self, name: &str) -> &(&'static str, Vec<u8>, Pin) {
        self.0.iter().find(|(known, ..)| *known == name).unwrap()
    }

    fn pin(&self, name: &str) -> String {
        self.find(name).2.to_string()
    }

    fn certificate(&self, name: &str) -> String {
        Pin::Certificate(Hasher::digest(&self.find(name).1).into()).to_string()
    }

    /// Everything that is told about a text, with a key for each of the files where it names none of its own.
    fn told(&self, text: &str) -> Vec<Diagnostic> {
        let names = self.0.iter().map(|(name, ..)| *name).filter(|name| text.contains(&format!("\"{name}\"")));
        let keys = names.map(|name| format!("[keys.{name}]\npem = \"{name}.pem\"\n")).collect::<Vec<_>>().concat();
        let mut memory = Memory::new(&[("etc/main.toml", &(text.to_owned() + "\n" + &keys))]);
        let files = self.0.iter().map(|(name, der, _)| (format!("etc/{name}.pem").into(), der.clone()));
        memory.files.extend(files);
        memory.load().map_or_else(|errors| errors.diagnostics().to_vec(), |(_, told)| told)
    }

    /// Lines of a pinset, and how often the code is told about each.
    fn expect(&self, code: Code, table: &[(String, usize)]) {
        for (text, times) in table {
            let told = self.told(text);
            let count = told.iter().filter(|told| told.code() == code).count();
            let all: String = told.iter().map(ToString::to_string).collect();
            assert_eq!(count, *times, "{code}\n{text}\n{all}");
        }
    }
}

/// The elements that follow one another in a DER content.
fn elements(mut content: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !content.is_empty() {
        let (header, length) = match content[1] {
            short @ 0..=0x7f => (2, usize::from(short)),
            0x81 => (3, usize::from(content[2])),
            _ => (4, usize::from(content[2]) << 8 | usize::from(content[3])),
        };
        let (element, rest) = content.split_at(header + length);
        found.push(element);
        content = rest;
    }
    found
}

/// A certificate as of version 1: without a version, and without extensions. Nobody checks its signature here.
fn without_version(der: &[u8]) -> Vec<u8> {
    let sequence = |content: Vec<u8>| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[0x30, 0x82], &length[..], &content].concat()
    };
    let signed = elements(&der[4..]);
    let fields = elements(&signed[0][4..]).into_iter().filter(|field| !matches!(field[0], 0xa0 | 0xa3));
    sequence([sequence(fields.collect::<Vec<_>>().concat()), signed[1].to_vec(), signed[2].to_vec()].concat())
}

fn lines(lines: &str) -> String {
    pinset(lines).replace("\"X1\"", &format!("\"{X1}\"")).replace("\"K2\"", &format!("\"{K2}\""))
}

const X1_CERTIFICATE: &str = "cert:sha256:96bcec06264976f37460779acf28c5a7cfe8a3c0aae11a8ffcee05c0bddf08c6";

#[test]
fn keys_in_lists_that_never_see_them() {
    let files = Files::new();
    let device = |list: &str| lines(&format!("trust = \"pin-only\"\n{list}"));
    let role = |role: &str, list: &str| format!("[keys.k]\npem = \"root.pem\"\nrole = \"{role}\"\n{}", lines(list));
    files.expect(
        Code::E13,
        &[
            (lines("ca_pins = [\"leaf\", \"K2\"]"), 1),
            (lines("ca_pins = [\"leaf\", \"own\"]"), 2),
            (lines("ca_pins = [\"K2\"]\nbackup = [\"leaf\"]"), 1),
            (lines("leaf_pins = [\"middle\", \"K2\"]"), 1),
            (lines("leaf_pins = [\"K2\"]\nbackup = [\"middle\"]\nmode = \"report-only\""), 1),
            // No verified chain begins with an authority.
            (lines("leaf_pins = [\"root\", \"K2\"]"), 1),
            (role("leaf", "leaf_pins = [\"k\", \"K2\"]"), 1),
            (role("leaf", "pins = [\"k\", \"K2\"]"), 1),
            (lines("leaf_pins = [\"X1\", \"K2\"]"), 1),
            (lines(&format!("leaf_pins = [\"{X1_CERTIFICATE}\", \"K2\"]")), 1),
            (lines("leaf_pins = [\"leaf\", \"own\"]"), 0),
            (lines("ca_pins = [\"root\", \"middle\"]\nbackup = [\"X1\"]"), 0),
            (lines("pins = [\"root\", \"middle\", \"leaf\", \"own\", \"odd\", \"old\", \"bare\", \"X1\"]"), 0),
            // They say nothing about themselves.
            (lines("leaf_pins = [\"bare\", \"old\", \"odd\"]"), 0),
            (lines("ca_pins = [\"bare\", \"old\", \"odd\"]"), 0),
            // A host that is its own authority.
            (device("leaf_pins = [\"root\", \"K2\"]"), 0),
            (device("pins = [\"root\", \"K2\"]"), 0),
            (role("leaf", "trust = \"pin-only\"\nleaf_pins = [\"k\", \"K2\"]"), 0),
            (role("leaf", "trust = \"pin-only\"\npins = [\"k\", \"K2\"]"), 0),
            (role("root", "ca_pins = [\"k\", \"K2\"]"), 0),
        ],
    );
    files.expect(
        Code::E60,
        &[
            (device("pins = [\"X1\", \"K2\"]"), 1),
            (device("leaf_pins = [\"X1\", \"K2\"]"), 1),
            (device(&format!("leaf_pins = [\"K2\"]\nbackup = [\"{X1_CERTIFICATE}\"]")), 1),
            (device("leaf_pins = [\"middle\", \"K2\"]"), 1),
            (device("pins = [\"middle\", \"K2\"]"), 1),
            (role("root", "trust = \"pin-only\"\nleaf_pins = [\"k\", \"K2\"]"), 1),
            // Once for the list.
            (device("ca_pins = [\"middle\", \"X1\"]"), 1),
            (device("leaf_pins = [\"leaf\", \"own\", \"root\", \"old\", \"odd\", \"bare\"]"), 0),
            (lines("pins = [\"middle\", \"X1\"]"), 0),
        ],
    );
}

/// A key that nothing uses, so that only the role is judged.
#[test]
fn roles_that_the_file_contradicts() {
    let files = Files::new();
    let names = ["root", "middle", "leaf", "own", "odd", "old", "bare"];
    let refused = [
        ("middle", "leaf", "that of an authority"),
        ("middle", "root", "issued by another authority"),
        ("leaf", "intermediate", "no CA:TRUE"),
        ("leaf", "root", "no CA:TRUE"),
        ("own", "intermediate", "no CA:TRUE"),
        ("own", "root", "no CA:TRUE"),
    ];
    for name in names {
        for role in ["leaf", "intermediate", "root"] {
            let told = files.told(&format!("[keys.k]\npem = \"{name}.pem\"\nrole = \"{role}\"\n"));
            let found: Vec<_> = told.iter().filter(|told| told.code() == Code::E13).collect();
            let expected = refused.iter().find(|(file, refused, _)| (*file, *refused) == (name, role));
            assert_eq!(found.len(), usize::from(expected.is_some()), "{name} as {role}: {found:?}");
            for (told, (.., part)) in found.iter().zip(expected) {
                assert_eq!(told.position(), Some((3, 8)), "{name} as {role}");
                assert!(told.message().contains(part), "{name} as {role}: {told}");
            }
        }
    }
    // A backup goes where the key belongs, so that there is one error and not two.
    let lists = "leaf_pins = [\"leaf\"]\nca_pins = [\"middle\"]\ncombine = \"all\"\nbackup = [\"k\", \"K2\"]";
    let text = format!("[keys.k]\npem = \"root.pem\"\nrole = \"root\"\n{}", lines(lists));
    files.expect(
        Code::E37,
        &[(text.replace("root.pem", "own.pem"), 1), (text.clone(), 1), (text.replace(&format!(", \"{K2}\""), ""), 0)],
    );
}

#[test]
fn keys_behind_certificates_that_are_blocked() {
    let files = Files::new();
    let key = |name: &str| format!("[keys.k]\ncert = \"{}\"\npem = \"{name}.pem\"\n", files.certificate(name));
    let block = |pin: &str| format!("\n[[blocklist]]\nname = \"b\"\nreason = \"r\"\nspki = [\"{pin}\"]\n");
    let (leaf, own) = (files.pin("leaf"), files.pin("own"));
    let bare = lines(&format!("pins = [\"{}\", \"K2\"]", files.certificate("leaf")));
    let deny = |pin: &str| format!("{}\ndeny = [\"{pin}\"]", lines("pins = [\"k\", \"K2\"]"));
    let line = |own: &str, parent: &str| {
        let sets = "[[pinset]]\nname = \"c\"\nhosts = [\"a.b.example\"]\nOWN\ninherit = true\n\
                    [[pinset]]\nname = \"p\"\nhosts = [\"**.b.example\"]\nPARENT\n";
        sets.replace("OWN", own).replace("PARENT", parent)
    };
    let accepts = format!("pins = [\"k\", \"{K2}\"]");
    let denies = |pin: &str| format!("pins = [\"{K1}\", \"{K3}\"]\ndeny = [\"{pin}\"]");
    files.expect(
        Code::E38,
        &[
            (key("leaf") + &lines("pins = [\"k\", \"K2\"]") + &block(&leaf), 1),
            (key("leaf") + &lines("pins = [\"K2\"]\nbackup = [\"k\"]") + &block(&leaf), 1),
            (key("leaf") + &lines("leaf_pins = [\"k\"]\nca_pins = [\"k\"]\ncombine = \"any\"") + &block(&leaf), 2),
            (key("leaf") + &deny(&leaf), 1),
            (key("leaf") + &line(&accepts, &denies(&leaf)), 1),
            (key("leaf") + &line(&denies(&leaf), &accepts), 1),
            // Mozilla's list tells the key of the certificate.
            (lines(&format!("ca_pins = [\"{X1_CERTIFICATE}\", \"K2\"]")) + &block(X1), 1),
            (lines(&format!("ca_pins = [\"{X1_CERTIFICATE}\", \"K2\"]\ndeny = [\"{X1}\"]")), 1),
            (key("leaf") + &lines("pins = [\"k\", \"K2\"]") + &block(&own), 0),
            (key("leaf") + &deny(&own), 0),
            (key("leaf") + &line(&accepts, &denies(&own)), 0),
            (lines(&format!("ca_pins = [\"{X1_CERTIFICATE}\", \"K2\"]")) + &block(X2), 0),
            // Nothing tells whose certificate it is.
            (bare + &block(&leaf), 0),
        ],
    );
}

#[test]
fn pins_of_one_kind() {
    let files = Files::new();
    files.expect(
        Code::W34,
        &[
            (lines("ca_pins = [\"middle\"]\nmode = \"report-only\""), 1),
            (lines("pins = [\"middle\"]\nmode = \"report-only\""), 1),
            (lines("ca_pins = [\"middle\", \"root\"]"), 0),
            (lines("ca_pins = [\"middle\"]\nbackup = [\"bare\"]"), 0),
            (lines("ca_pins = [\"middle\", \"old\"]"), 0),
            (lines("ca_pins = [\"middle\"]\nroots = \"own.pem\""), 0),
        ],
    );
    files.expect(
        Code::I33,
        &[
            (lines("pins = [\"leaf\"]\nbackup = [\"own\"]"), 1),
            (lines("pins = [\"leaf\", \"bare\"]"), 0),
            (lines("pins = [\"leaf\", \"middle\"]"), 0),
            (lines("pins = [\"leaf\", \"old\"]"), 0),
        ],
    );
}
