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
        let keys: Vec<_> = (0..8).map(|_| KeyPair::generate().unwrap()).collect();
        let [root_key, middle_key, leaf_key, second_key, own_key, odd_key, old_key, bare_key] =
            keys.try_into().unwrap();
        let root = params("root", authority(), &sign);
        let of_root = |params: &CertificateParams, key: &KeyPair| {
            params.signed_by(key, &Issuer::from_params(&root, &root_key)).unwrap().der().to_vec()
        };
        let of_itself = |params: &CertificateParams, key: &KeyPair| params.self_signed(key).unwrap().der().to_vec();
        let other = params("other", authority(), &sign);
        let by_other = Issuer::from_params(&other, &odd_key);
        let cross = params("root", authority(), &sign).signed_by(&root_key, &by_other).unwrap().der().to_vec();
        let old = without_version(&of_itself(&params("old", IsCa::NoCa, &[]), &old_key));
        Self(vec![
            ("root", of_itself(&root, &root_key), pin(&root_key)),
            ("middle", of_root(&params("middle", authority(), &[]), &middle_key), pin(&middle_key)),
            ("leaf", of_root(&params("leaf", IsCa::ExplicitNoCa, &[]), &leaf_key), pin(&leaf_key)),
            ("leaf-2", of_root(&params("leaf", IsCa::ExplicitNoCa, &[]), &second_key), pin(&second_key)),
            ("own", of_itself(&params("own", IsCa::NoCa, &[]), &own_key), pin(&own_key)),
            // Of the key of the root.
            ("cross", cross, pin(&root_key)),
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
    let appliance = |list: &str| format!("[keys.k]\npem = \"middle.pem\"\nrole = \"leaf\"\n{}", lines(list));
    files.expect(
        Code::E13,
        &[
            (appliance("leaf_pins = [\"k\", \"K2\"]"), 1),
            (appliance("pins = [\"k\", \"K2\"]"), 1),
            (appliance("ca_pins = [\"k\", \"K2\"]"), 1),
            (appliance("trust = \"pin-only\"\nleaf_pins = [\"k\", \"K2\"]"), 0),
            (lines("ca_pins = [\"leaf\", \"K2\"]"), 1),
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
            // A trust anchor has to be its own issuer, and need not say that it is an authority.
            (lines("ca_pins = [\"own\", \"K2\"]"), 0),
            // A host that is its own authority.
            (device("leaf_pins = [\"root\", \"K2\"]"), 0),
            (device("pins = [\"root\", \"K2\"]"), 0),
            (role("leaf", "trust = \"pin-only\"\nleaf_pins = [\"k\", \"K2\"]"), 0),
            (role("leaf", "trust = \"pin-only\"\npins = [\"k\", \"K2\"]"), 0),
            (role("root", "ca_pins = [\"k\", \"K2\"]"), 0),
            // One mistake, at the role.
            (format!("[keys.k]\nspki = \"{X1}\"\nrole = \"leaf\"\n{}", lines("leaf_pins = [\"k\", \"K2\"]")), 1),
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
            // The certificate of an authority that an appliance shows as its own.
            (appliance("trust = \"pin-only\"\nleaf_pins = [\"k\", \"K2\"]"), 0),
            (appliance("trust = \"pin-only\"\npins = [\"k\", \"K2\"]"), 0),
            (lines("pins = [\"middle\", \"X1\"]"), 0),
        ],
    );
}

/// A key that nothing uses, so that only the role is judged.
#[test]
fn roles_that_the_file_contradicts() {
    let files = Files::new();
    let names = ["root", "middle", "leaf", "own", "odd", "old", "bare"];
    let refused = [("leaf", "intermediate", "no CA:TRUE"), ("leaf", "root", "no CA:TRUE")];
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
        &[(text.replace("root.pem", "leaf.pem"), 1), (text.clone(), 1), (text.replace(&format!(", \"{K2}\""), ""), 0)],
    );
}

/// What a file shows of a digest holds wherever the digest stands.
#[test]
fn digests_that_a_file_of_another_entry_shows() {
    let files = Files::new();
    let with = |name: &str, list: &str| {
        let list = list
            .replace("KEY", &files.pin(name))
            .replace("CERT", &files.certificate(name))
            .replace("DEVICE", "trust = \"pin-only\"\n");
        format!("[keys.other]\npem = \"{name}.pem\"\n{}", lines(&list))
    };
    let declared = |role: &str, list: &str| format!("[keys.k]\nspki = \"{K1}\"\nrole = \"{role}\"\n{}", lines(list));
    let bare = format!("leaf_pins = [\"{K1}\", \"K2\"]");
    files.expect(
        Code::E13,
        &[
            (with("leaf", "ca_pins = [\"KEY\", \"K2\"]"), 1),
            (with("leaf", "ca_pins = [\"K2\"]\nbackup = [\"CERT\"]"), 1),
            (with("middle", "leaf_pins = [\"KEY\", \"CERT\"]\nbackup = [\"K2\"]"), 2),
            (with("root", "leaf_pins = [\"KEY\", \"K2\"]"), 1),
            (with("cross", "leaf_pins = [\"CERT\", \"K2\"]"), 1),
            (declared("root", &bare), 1),
            (with("leaf", "leaf_pins = [\"KEY\", \"K2\"]"), 0),
            (with("middle", "ca_pins = [\"KEY\", \"CERT\"]\nbackup = [\"K2\"]"), 0),
            (with("own", "ca_pins = [\"KEY\", \"K2\"]"), 0),
            (with("middle", &bare), 0),
            (declared("leaf", &bare), 0),
        ],
    );
    files.expect(
        Code::E60,
        &[
            (with("middle", "DEVICEpins = [\"KEY\", \"K2\"]"), 1),
            (with("middle", "DEVICEleaf_pins = [\"CERT\", \"K2\"]"), 1),
            (with("root", "DEVICEleaf_pins = [\"KEY\", \"CERT\"]\nbackup = [\"K2\"]"), 0),
            (with("leaf", "DEVICEleaf_pins = [\"KEY\", \"K2\"]"), 0),
        ],
    );
    // A role that was declared of the key is one of its pin.
    let lists = format!("leaf_pins = [\"K2\"]\nca_pins = [\"X1\"]\ncombine = \"all\"\nbackup = [\"{K1}\"]");
    files.expect(Code::E37, &[(with("leaf", &lists), 1), (declared("leaf", &lists), 0)]);
}

/// A root, and the certificate that another root has made for its key.
#[test]
fn keys_with_certificates_of_two_kinds() {
    let files = Files::new();
    let cross = format!("[keys.cross]\ncert = \"{}\"\npem = \"cross.pem\"\n", files.certificate("cross"));
    let text = |list: &str| cross.clone() + &lines(&list.replace("KEY", &files.pin("root")));
    files.expect(
        Code::E13,
        &[
            (text("leaf_pins = [\"root\", \"K2\"]"), 1),
            (text("leaf_pins = [\"cross\", \"K2\"]"), 1),
            (text("ca_pins = [\"root\", \"cross\"]\nbackup = [\"KEY\"]"), 0),
        ],
    );
    let device = |list: &str| text(&format!("trust = \"pin-only\"\n{list}"));
    files.expect(
        Code::E60,
        &[
            (device("leaf_pins = [\"root\", \"K2\"]"), 0),
            // Alone, the file shows an intermediate; the certificate is one whatever the key has besides.
            (device("leaf_pins = [\"KEY\", \"K2\"]"), 1),
            (device("leaf_pins = [\"root\", \"cross\"]"), 1),
        ],
    );
}

#[test]
fn digests_of_the_other_kind() {
    use base64::Engine as _;
    let files = Files::new();
    let flipped = |name: &str| {
        let digest = |pin: &str| *Pin::parse(pin).unwrap().digest();
        let (key, certificate) = (digest(&files.pin(name)), digest(&files.certificate(name)));
        (Pin::Spki(certificate).to_string(), Pin::Certificate(key).to_string())
    };
    let (key, certificate) = flipped("leaf");
    let root = base64::engine::general_purpose::STANDARD.encode(Pin::parse(X1_CERTIFICATE).unwrap().digest());
    let shown = "[keys.shown]\npem = \"leaf.pem\"\n".to_owned();
    let own = |line: &str| format!("[keys.k]\n{line}\npem = \"leaf.pem\"\n{}", lines("pins = [\"k\", \"K2\"]"));
    let hex = certificate.trim_start_matches("cert:").to_owned();
    let block = format!("\n[[blocklist]]\nname = \"b\"\nreason = \"r\"\nspki = [\"{key}\"]\n");
    let table = [
        (shown.clone() + &lines(&format!("pins = [\"{key}\", \"K2\"]")), 1),
        (shown.clone() + &lines(&format!("pins = [\"{certificate}\", \"K2\"]")), 1),
        (shown.clone() + &lines("pins = [\"K2\", \"X1\"]") + &block, 1),
        (own(&format!("spki = \"{key}\"")), 1),
        (own(&format!("cert = \"{hex}\"")), 1),
        (lines(&format!("pins = [\"sha256/{root}\", \"K2\"]")), 1),
        (shown.clone() + &lines(&format!("pins = [\"{}\", \"{}\"]", files.pin("leaf"), files.certificate("leaf"))), 0),
        // Nothing shows what they are.
        (lines(&format!("pins = [\"{key}\", \"K2\"]")), 0),
        (lines(&format!("pins = [\"{certificate}\", \"K2\"]")), 0),
    ];
    files.expect(Code::E12, &table);
    // It is the one thing that is wrong.
    for (text, times) in &table {
        let errors = files.told(text).iter().filter(|told| told.severity() == Severity::Error).count();
        let one_key = text.contains(&files.pin("leaf"));
        assert_eq!(errors, times + usize::from(one_key), "{text}");
    }
}

/// Certificates that have ended, as pins; a key outlives them.
#[test]
fn certificates_that_have_ended() {
    let of = |name: &'static str, until: i32, key: &KeyPair| {
        let mut params = params(name, IsCa::NoCa, &[]);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        (name, params.self_signed(key).unwrap().der().to_vec(), pin(key))
    };
    let keys = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
    let files = Files(vec![of("past", 2020, &keys[0]), of("now", 2040, &keys[1])]);
    let named = |list: &str| {
        let key =
            |name: &str| format!("[keys.{name}-c]\ncert = \"{}\"\npem = \"{name}.pem\"\n", files.certificate(name));
        key("past") + &key("now") + &lines(list)
    };
    let bare = |list: &str| {
        let shown = "[keys.shown]\npem = \"past.pem\"\n";
        shown.to_owned() + &lines(&list.replace("CERT", &files.certificate("past")).replace("KEY", &files.pin("past")))
    };
    let device = "trust = \"pin-only\"\n";
    let ignored = format!("{device}verify_validity = \"ignore\"\n");
    let told = |text: &str| {
        let told = files.told(text);
        let told: Vec<_> = told.iter().filter(|told| told.code() == Code::W42).collect();
        (told.len(), told.iter().filter(|told| told.message().contains("ended at 2020-01-01T")).count())
    };
    for (text, expected) in [
        (named("pins = [\"past-c\", \"K2\"]"), (1, 1)),
        (named("pins = [\"K2\"]\nbackup = [\"past-c\"]\nmode = \"report-only\""), (1, 1)),
        (named(&format!("{device}pins = [\"past-c\", \"K2\"]")), (1, 1)),
        (named("pins = [\"past-c\", \"now-c\"]"), (2, 1)),
        (bare("pins = [\"CERT\", \"K2\"]"), (1, 1)),
        (named("pins = [\"now-c\", \"K2\"]"), (1, 0)),
        (named(&format!("{device}pins = [\"now-c\", \"K2\"]")), (0, 0)),
        (named(&format!("{ignored}pins = [\"past-c\", \"K2\"]")), (0, 0)),
        (named("pins = [\"past-c\", \"K2\"]\nmode = \"off\""), (0, 0)),
        (bare("pins = [\"KEY\", \"K2\"]"), (0, 0)),
    ] {
        assert_eq!(told(&text), expected, "{text}");
    }
}

#[test]
fn keys_behind_certificates_that_are_blocked() {
    let files = Files::new();
    let key = |name: &str| format!("[keys.k]\ncert = \"{}\"\npem = \"{name}.pem\"\n", files.certificate(name));
    let block = |pin: &str| format!("\n[[blocklist]]\nname = \"b\"\nreason = \"r\"\nspki = [\"{pin}\"]\n");
    let (leaf, own) = (files.pin("leaf"), files.pin("own"));
    let bare = lines(&format!("pins = [\"{}\", \"K2\"]", files.certificate("leaf")));
    let shown = "[keys.shown]\npem = \"leaf.pem\"\n".to_owned();
    let other = "[keys.shown]\npem = \"own.pem\"\n".to_owned();
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
            // A file of another entry tells the key.
            (shown.clone() + &bare + &block(&leaf), 1),
            (format!("{shown}{bare}\ndeny = [\"{leaf}\"]"), 1),
            (shown.clone() + &bare + &block(&own), 0),
            // Nothing tells whose certificate it is.
            (other + &bare + &block(&leaf), 0),
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
            (lines("pins = [\"leaf\"]\nbackup = [\"leaf-2\"]"), 1),
            (lines("pins = [\"leaf\"]\nbackup = [\"own\"]"), 0),
            (lines("pins = [\"leaf\", \"bare\"]"), 0),
            (lines("pins = [\"leaf\", \"middle\"]"), 0),
            (lines("pins = [\"leaf\", \"old\"]"), 0),
        ],
    );
}
