//! Files, anchors and the clock, as tables.

mod faults;

use super::*;
use crate::config::{At, Severity};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use std::fs;
use std::ops::RangeInclusive;
use std::time::Duration;

/// 2026-11-21T00:00:00Z.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200)
}

fn world() -> World {
    World { now: now(), clock: Synchronisation::Unknown, ca_directory: CaDirectory::Usual(None) }
}

/// A finding: code, line and column, and message.
type Told<T> = (Code, Option<(usize, usize)>, T);

/// A folder with a configuration and what it names.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The findings that are no infos.
    fn told(&self, text: &str, world: &World) -> Vec<Told<String>> {
        self.file("pinproxy.toml", text);
        let checked = check(&self.0.path().join("pinproxy.toml"), world).unwrap_or_else(|errors| panic!("{errors}"));
        let told = checked.diagnostics.iter().filter(|told| told.severity() != Severity::Info);
        told.map(|told| (told.code(), told.position(), told.message().to_owned())).collect()
    }

    /// Asserts that there is exactly this.
    fn has(&self, text: &str, world: &World, expected: &[Told<&str>]) {
        let about_the_world =
            [Code::E12, Code::E13, Code::W41, Code::W45, Code::W59, Code::E60, Code::W64, Code::E65, Code::E66];
        let told = self.told(text, world);
        let told: Vec<_> = told.iter().filter(|(code, ..)| about_the_world.contains(code)).collect();
        assert_eq!(told.len(), expected.len(), "{text}\n{told:?}");
        for ((code, place, message), expected) in told.into_iter().zip(expected) {
            assert_eq!((*code, *place), (expected.0, expected.1), "{text}\n{message}");
            assert!(message.contains(expected.2), "{text}\n{:?} is missing in {message:?}", expected.2);
        }
    }
}

struct Made {
    pem: String,
    pin: String,
    /// SHA-256 of the certificate.
    certificate_pin: [u8; 32],
    params: CertificateParams,
    key: KeyPair,
}

/// A certificate of this name, which may be a CA, until the year, signed by itself or another one.
fn made(name: &str, is_ca: bool, until: i32, issuer: Option<&Made>) -> Made {
    made_for(name, is_ca, 2001..=until, issuer)
}

/// The same, from the beginning of a year to that of another.
fn made_for(name: &str, is_ca: bool, years: RangeInclusive<i32>, issuer: Option<&Made>) -> Made {
    use sha2::Digest as _;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(*years.start(), 1, 1);
    params.not_after = rcgen::date_time_ymd(*years.end(), 1, 1);
    params.subject_alt_names.extend(name.parse().map(rcgen::SanType::IpAddress));
    params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        None => params.self_signed(&key),
        Some(issuer) => params.signed_by(&key, &Issuer::from_params(&issuer.params, &issuer.key)),
    };
    let spki: [u8; 32] = sha2::Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key)).into();
    let pin = crate::policy::pin::Pin::Spki(spki).to_string();
    let certificate = certificate.unwrap();
    let certificate_pin = sha2::Sha256::digest(certificate.der()).into();
    Made { pem: certificate.pem(), pin, certificate_pin, params, key }
}

/// A key that nobody has.
const NOBODYS: &str = "sha256/afwiKY3RxoMmLkuRW1l7QsPZTJPwDS2pdDROQjXw8ig=";

const LIST: &str = "[upstream]\nroots = \"webpki\"\n";

#[test]
fn files_that_cannot_be_used() {
    let folder = Folder::new();
    let root = made("Root", true, 2040, None);
    folder.file("root.pem", &root.pem);
    folder.file("empty.pem", "# nothing\n");
    folder.file("cut.pem", &root.pem[..200]);
    folder.file("junk.pem", "-----BEGIN CERTIFICATE-----\nanVuaw==\n-----END CERTIFICATE-----\n");
    folder.file(
        "a.toml",
        "[[pinset]]\nname = \"a\"\nhosts = [\"a.example\"]\npins = [\"".to_owned()
            + NOBODYS
            + "\"]\nroots = \"empty.pem\"\nmode = \"report-only\"\n",
    );
    let missing = |from: usize| [(Code::E65, Some((3, from)), "cannot read the trust anchors in ")];
    folder.has(&format!("{LIST}extra_roots = [\"root.pem\"]"), &world(), &[]);
    folder.has(&format!("{LIST}extra_roots = [\"root.pem\", \"none.pem\"]"), &world(), &missing(28));
    folder.has(
        &format!("{LIST}extra_roots = [{{ exempts_pins = false, file = \"none.pem\" }}]"),
        &world(),
        &missing(47),
    );
    folder.has("[upstream]\nroots = \"./none.pem\"", &world(), &[(Code::E65, Some((2, 9)), "cannot read")]);
    folder.has("[upstream]\nroots = \".\"", &world(), &[(Code::E65, Some((2, 9)), "cannot read")]);
    // All at once, in the order of the file, and in the file that names them.
    let text = format!(
        "include = [\"a.toml\"]\n{LIST}extra_roots = [\"empty.pem\", \"cut.pem\",\n \"junk.pem\"]\ncrls = [\"none.crl\", \"empty.pem\"]"
    );
    folder.has(
        &text,
        &world(),
        &[
            (Code::E65, Some((4, 16)), "empty.pem holds no certificate"),
            (Code::E65, Some((4, 29)), "cut.pem holds something that is not a certificate"),
            (Code::E65, Some((5, 2)), "junk.pem holds something that is not a certificate"),
            (Code::E65, Some((6, 9)), "cannot read the revocation list"),
            (Code::E65, Some((6, 21)), "empty.pem is not a certificate revocation list"),
            (Code::E65, Some((5, 9)), "empty.pem holds no certificate"),
        ],
    );
}

/// What is wrong with files is told in the same run as what is wrong with the text, and nothing about what nobody wrote.
#[test]
fn files_of_a_text_with_faults() {
    let folder = Folder::new();
    let (own, old) = (made("Own", true, 2040, None), made("Old", true, 2020, None));
    folder.file("own.pem", &own.pem);
    folder.file("ca/ca.pem", &own.pem);
    folder.file("old.pem", own.pem.clone() + &old.pem);
    let beyond = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
    let early = World { now: beyond, ..world() };
    let unreadable = (Code::E65, Some((4, 16)), "cannot read the trust anchors in ");
    let table: [(&str, World, &[Told<&str>]); 10] = [
        // A misspelt key in front must not move the places of the others.
        (
            "a = 1\n[upstream]\nx = 2\nextra_roots = [\"none.pem\"]",
            world(),
            &[(Code::E01, Some((1, 1)), ""), (Code::E01, Some((3, 1)), ""), unreadable],
        ),
        (
            "a = 1\n[upstream]\n\nextra_roots = [\"none.pem\", 7]",
            world(),
            &[(Code::E01, Some((1, 1)), ""), unreadable, (Code::E15, Some((4, 28)), "")],
        ),
        (
            "a = 1\n[upstream]\nextra_roots = [{}, 7,\n \"none.pem\"]",
            world(),
            &[
                (Code::E01, Some((1, 1)), ""),
                (Code::E14, Some((3, 16)), ""),
                (Code::E15, Some((3, 20)), ""),
                (Code::E65, Some((4, 2)), "none.pem"),
            ],
        ),
        // Nobody wrote that the list of the system is to be used.
        (
            "a = 1\n[upstream]\nroot = \"none.pem\"",
            world(),
            &[(Code::E01, Some((1, 1)), ""), (Code::E01, Some((3, 1)), "")],
        ),
        (
            "a = 1\n[ca]\ndirectory = \"ca\"\n[upstream]\nroots = \"own.pem\"\ncrls = [1, \"none.crl\"]",
            world(),
            &[
                (Code::E01, Some((1, 1)), ""),
                (Code::E66, Some((5, 9)), ""),
                (Code::E15, Some((6, 9)), ""),
                (Code::E65, Some((6, 12)), "revocation list"),
            ],
        ),
        // The pinset is at fault itself.
        (
            "[[pinset]]\nname = \"a\"\nroots = \"none.pem\"\nhosts = [\"a.example\"]\npins = [\"sha256/x\"]",
            world(),
            &[(Code::E65, Some((3, 9)), "none.pem"), (Code::E05, Some((5, 9)), "")],
        ),
        (
            "a = 1\n[upstream]\nroots = \"old.pem\"",
            world(),
            &[(Code::E01, Some((1, 1)), ""), (Code::W64, Some((3, 9)), "CN=Old ended on 2020-01-01")],
        ),
        ("a = 1", early, &[(Code::W59, None, "1970-01-02"), (Code::E01, Some((1, 1)), "")]),
        // What stands in no readable file is not looked for.
        ("[upstream]\nroots = \"none.pem\"\n]", world(), &[(Code::E17, Some((3, 1)), "")]),
        // Beside a file that is missing it is.
        (
            "include = [\"none.toml\"]\n[upstream]\n\nextra_roots = [\"none.pem\"]",
            world(),
            &[(Code::E19, Some((1, 12)), "none.toml"), unreadable],
        ),
    ];
    for (text, world, expected) in table {
        folder.file("pinproxy.toml", text);
        let errors = check(&folder.0.path().join("pinproxy.toml"), &world).expect_err(text);
        let told: Vec<_> =
            errors.diagnostics().iter().map(|told| (told.code(), told.position(), told.message())).collect();
        assert_eq!(told.len(), expected.len(), "{text}\n{told:?}");
        for ((code, place, message), expected) in told.into_iter().zip(expected) {
            assert_eq!((code, place), (expected.0, expected.1), "{text}\n{message}");
            assert!(message.contains(expected.2), "{text}\n{:?} is missing in {message:?}", expected.2);
        }
    }
}

#[test]
fn the_own_ca_among_the_anchors() {
    let folder = Folder::new();
    let (own, other) = (made("Own", true, 2040, None), made("Other", true, 2040, None));
    folder.file("both.pem", other.pem.clone() + &own.pem);
    folder.file("other.pem", &other.pem);
    let usual = |name: &str| World { ca_directory: CaDirectory::Usual(Some(folder.0.path().join(name))), ..world() };
    let text = format!("{LIST}extra_roots = [\"other.pem\", \"both.pem\"]");
    let found = [(Code::E66, Some((3, 29)), "both.pem holds the proxy's own CA certificate")];
    folder.has(&text, &usual("ca"), &[]);
    assert!(!folder.0.path().join("ca").exists(), "no CA is made");
    folder.file("ca/ca.pem", &own.pem);
    folder.has(&text, &usual("ca"), &found);
    folder.has(&text, &usual("elsewhere"), &[]);
    folder.has(&format!("{text}\n[ca]\ndirectory = \"ca\""), &usual("elsewhere"), &found);
    folder.has(&text.replace("\"both.pem\"", ""), &usual("ca"), &[]);
    folder.has("[upstream]\nroots = \"./both.pem\"", &usual("ca"), &[(Code::E66, Some((2, 9)), "own CA")]);
}

#[test]
fn anchors_that_are_no_current_roots() {
    let folder = Folder::new();
    let root = made("Root", true, 2040, None);
    folder.file("root.pem", &root.pem);
    folder.file("below.pem", made("Below", true, 2040, Some(&root)).pem);
    folder.file("old.pem", made("Old", true, 2026, None).pem);
    folder.file("leaf.pem", made("Leaf", false, 2040, None).pem);
    folder.file("early.pem and root", made_for("Early", true, 2027..=2040, None).pem + &root.pem);
    let many: Vec<_> = (0..5).map(|n| made(&format!("Old {n}"), true, 2020, None).pem).collect();
    folder.file("many.pem", root.pem.clone() + &many.concat());
    folder.file("ended.pem", many.concat() + &made("Last", true, 2025, None).pem);
    folder.file("below.pem.and.old", made("Old", true, 2026, None).pem + &made("Leaf", false, 2040, None).pem);
    for (file, says) in [
        ("below.pem", "CN=Below is issued by CN=Root, so it is no root"),
        ("below.pem.and.old", "CN=Old ended on 2026-01-01; CN=Leaf is no certificate authority"),
        ("leaf.pem", "CN=Leaf is no certificate authority"),
        ("early.pem and root", "CN=Early is not valid before 2027-01-01"),
        ("many.pem", "CN=Old 2 ended on 2020-01-01; and 2 more"),
    ] {
        folder.has(&format!("{LIST}extra_roots = [\"{file}\"]"), &world(), &[(Code::W64, Some((3, 16)), says)]);
        folder.has(&format!("[upstream]\nroots = \"./{file}\""), &world(), &[(Code::W64, Some((2, 9)), says)]);
    }
    folder.has(&format!("{LIST}extra_roots = [\"root.pem\"]"), &world(), &[]);
    // Nothing is left but what others add.
    let pinset = |file: &str| {
        format!(
            "[[pinset]]\nname = \"p\"\nhosts = [\"p.example\"]\nroots = \"./{file}\"\npins = [\"{NOBODYS}\"]\n\
             mode = \"report-only\"\n"
        )
    };
    for (file, end) in [("old.pem", "2026-01-01"), ("ended.pem", "2025-01-01")] {
        let says = format!("every trust anchor here has ended, the last on {end}");
        let (ended, one_by_one) = ((Code::E65, says.as_str()), (Code::W64, "ended on"));
        let roots = |more: &str| format!("[upstream]\nroots = \"./{file}\"\n{more}");
        for (text, (code, says), line, column) in [
            (roots(""), ended, 2, 9),
            (roots(&format!("extra_roots = [\"{file}\"]")), ended, 2, 9),
            (roots("extra_roots = [\"root.pem\"]"), one_by_one, 2, 9),
            (format!("{LIST}extra_roots = [\"{file}\"]"), one_by_one, 3, 16),
            (format!("{LIST}{}", pinset(file)), ended, 6, 9),
        ] {
            let expected: Vec<_> = std::iter::once((code, Some((line, column)), says))
                .chain(text.contains(&format!("extra_roots = [\"{file}")).then_some((
                    Code::W64,
                    Some((3, 16)),
                    "ended on",
                )))
                .collect();
            let expected = if code == Code::W64 { &expected[..1] } else { &expected };
            folder.has(&text, &world(), expected);
        }
    }
}

/// Each is of no use for another reason.
#[test]
fn anchors_of_which_none_can_be_used() {
    let folder = Folder::new();
    let later = made_for("Later", true, 2030..=2040, None).pem;
    let old = made("Old", true, 2026, None);
    folder.file("later.pem", &later);
    folder.file("mixed.pem", old.pem.clone() + &later);
    folder.file("fit.pem", old.pem.clone() + &later + &made("Root", true, 2040, None).pem);
    for (file, code, says) in [
        ("later.pem", Code::E65, "no trust anchor here can be used"),
        ("mixed.pem", Code::E65, "no trust anchor here can be used"),
        ("fit.pem", Code::W64, "CN=Old ended on 2026-01-01"),
    ] {
        folder.has(&format!("[upstream]\nroots = \"./{file}\""), &world(), &[(code, Some((2, 9)), says)]);
    }
    // What is not blocked has ended.
    let blocked = made("Blocked", true, 2040, None);
    folder.file("both.pem", blocked.pem.clone() + &old.pem);
    let text = |deny: &str| {
        format!(
            "[upstream]\nroots = \"./both.pem\"\n[[pinset]]\nname = \"p\"\nhosts = [\"p.example\"]\n\
             pins = [\"{NOBODYS}\"]\nmode = \"report-only\"\ndeny = [\"{deny}\"]\n"
        )
    };
    let told = |deny: &str| folder.told(&text(deny), &world()).into_iter().filter(|told| told.0 == Code::E38).count();
    assert_eq!((told(&blocked.pin), told(&old.pin)), (1, 0));
}

/// What a start refuses and a look at each file by itself does not show.
#[test]
fn files_that_cannot_be_used_together() {
    let folder = Folder::new();
    let public = webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].clone();
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &public);
    folder.file("public.pem", format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n"));
    let extra = |exempts: bool| format!("{LIST}extra_roots = [{{ file = \"public.pem\", exempts_pins = {exempts} }}]");
    folder.has(
        &extra(true),
        &world(),
        &[(Code::E65, Some((3, 25)), "is to exempt its chains from pins and holds a public")],
    );
    folder.has(&extra(false), &world(), &[]);
}

/// A key that no chain may contain, and that every chain has to end in.
#[test]
fn trust_anchors_that_are_all_blocked() {
    let folder = Folder::new();
    let (one, two) = (made("One", true, 2040, None), made("Two", true, 2040, None));
    folder.file("both.pem", one.pem.clone() + &two.pem);
    folder.file("one.pem", &one.pem);
    let text = |own: &str, deny: &[&Made], block: &[&Made]| {
        let list = |keys: &[&Made]| keys.iter().map(|key| format!("\"{}\"", key.pin)).collect::<Vec<_>>().join(", ");
        let deny = if deny.is_empty() { String::new() } else { format!("deny = [{}]\n", list(deny)) };
        let block = match list(block) {
            none if none.is_empty() => none,
            keys => format!("[[blocklist]]\nname = \"b\"\nreason = \"lost\"\nspki = [{keys}]\n"),
        };
        format!(
            "[upstream]\nroots = \"./both.pem\"\n{block}[[pinset]]\nname = \"p\"\nhosts = [\"p.example\"]\n{own}\
             pins = [\"{NOBODYS}\"]\nmode = \"report-only\"\n{deny}"
        )
    };
    let own = "roots = \"./one.pem\"\n";
    let told =
        |text: &str| folder.told(text, &world()).into_iter().filter(|told| told.0 == Code::E38).collect::<Vec<_>>();
    for (own, deny, block, line) in [
        ("", vec![&one, &two], vec![], 3),
        ("", vec![], vec![&one, &two], 7),
        ("", vec![&two], vec![&one], 7),
        (own, vec![&one], vec![], 3),
        (own, vec![], vec![&one], 7),
    ] {
        let text = text(own, &deny, &block);
        let told = told(&text);
        assert_eq!(told.iter().map(|told| told.1).collect::<Vec<_>>(), [Some((line, 1))], "{text}\n{told:?}");
        assert!(told[0].2.contains("every trust anchor of \"p\" is blocked or denied, or has ended"), "{told:?}");
    }
    for (own, deny, block) in
        [("", vec![&one], vec![]), ("", vec![], vec![&two]), (own, vec![&two], vec![]), (own, vec![], vec![])]
    {
        let text = text(own, &deny, &block);
        assert_eq!(told(&text), [], "{text}");
    }
}

#[test]
fn pins_of_roots_that_are_not_trusted() {
    const X1: &str = "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=";
    const X1_CERTIFICATE: &str = "cert:sha256:96bcec06264976f37460779acf28c5a7cfe8a3c0aae11a8ffcee05c0bddf08c6";
    let folder = Folder::new();
    let (root, other) = (made("Root", true, 2040, None), made("Other", true, 2040, None));
    folder.file("root.pem", &root.pem);
    folder.file("other.pem", &other.pem);
    folder.file("below.pem", made("Below", true, 2040, Some(&other)).pem);
    folder.file("self.pem", made("Self", false, 2040, None).pem);
    let text = |head: &str, more: &str, pins: &str| {
        let key = format!("[keys.k]\nspki = \"{}\"\nrole = \"root\"\n", other.pin);
        format!(
            "{key}[[pinset]]\nname = \"p\"\nhosts = [\"p.example\"]\n{more}\nca_pins = [{pins}]\nmode = \"report-only\"\n{head}"
        )
    };
    let own = "[upstream]\nroots = \"./root.pem\"\n";
    let k = "among the trust anchors of \"p\"";
    for (head, more, pins, expected) in [
        (LIST, "", "\"k\"".to_owned(), Some((12, "declared as a root"))),
        (LIST, "", format!("\"{X1}\", \"k\""), Some((12 + X1.len() + 4, k))),
        (LIST, "", format!("\"{X1}\", \"{X1_CERTIFICATE}\""), None),
        // Declared without being named, and not declared: it may be an intermediate.
        (LIST, "", format!("\"{}\"", other.pin), Some((12, "declared as a root"))),
        (LIST, "", format!("\"{}\"", root.pin), None),
        (own, "", format!("\"{}\"", root.pin), None),
        (own, "", format!("\"{X1}\""), Some((12, "a root of Mozilla's list"))),
        (own, "", format!("\"{X1_CERTIFICATE}\""), Some((12, "a root of Mozilla's list"))),
        (own, "roots = \"webpki\"", format!("\"{X1}\""), None),
        (LIST, "roots = \"./root.pem\"", format!("\"{X1}\""), Some((12, k))),
        (LIST, "roots = \"./root.pem\"", format!("\"{}\"", root.pin), None),
    ] {
        let text = text(head, more, &pins);
        let expected: Vec<_> =
            expected.map(|(column, says)| (Code::W41, Some((8, column)), says)).into_iter().collect();
        folder.has(&text, &world(), &expected);
    }
    // Known by their files.
    let shown = "is that of a self-issued authority, and not among";
    for (file, more, expected) in [
        ("other.pem", "", Some(shown)),
        ("other.pem", "role = \"root\"", Some("declared as a root")),
        ("root.pem", "", None),
        // Another root may have signed its key.
        ("other.pem", "role = \"intermediate\"", None),
        ("below.pem", "", None),
        ("self.pem", "", None),
        ("other.pem", "BARE", Some(shown)),
    ] {
        // The digest may stand without the name.
        let (more, pin) = if more == "BARE" { ("", other.pin.as_str()) } else { (more, "k") };
        let key = format!("[keys.k]\npem = \"{file}\"\n{more}\n");
        let hosts = format!("hosts = [\"p.example\"]\npins = [\"{pin}\"]\nmode = \"report-only\"\n");
        let text = format!("{own}{key}[[pinset]]\nname = \"p\"\n{hosts}");
        let expected: Vec<_> = expected.map(|says| (Code::W41, Some((9, 9)), says)).into_iter().collect();
        folder.has(&text, &world(), &expected);
    }
}

/// Signatures below it are never checked.
#[test]
fn anchors_with_keys_that_cannot_be_verified() {
    let folder = Folder::new();
    let sound = made("Sound", true, 2040, None).pem;
    let weak = include_str!("../../tests/vectors/lint/files/secp256k1.pem");
    folder.file("sound.pem", &sound);
    folder.file("both.pem", sound + weak);
    let says = "is on a curve that this version does not verify";
    let own = "[upstream]\nroots = \"./both.pem\"\n";
    let found = |text: &str| -> Vec<_> {
        let told = folder.told(text, &world());
        let told = told.into_iter().filter(|(code, ..)| *code == Code::W45);
        told.map(|(_, place, message)| (place, message.contains(says), message.contains("Sound"))).collect()
    };
    assert_eq!(found(own), [(Some((2, 9)), true, false)]);
    assert_eq!(found(&format!("{LIST}extra_roots = [\"sound.pem\", \"both.pem\"]")), [(Some((3, 29)), true, false)]);
    assert_eq!(found(&own.replace("both", "sound")), []);
}

/// What is known of the trust anchors counts wherever their digests are pinned.
#[test]
fn pins_of_anchors_where_they_never_match() {
    use crate::policy::pin::Pin;
    let folder = Folder::new();
    let root = made("Root", true, 2040, None);
    let below = made("Below", true, 2040, Some(&root));
    let device = made("device.example", false, 2040, None);
    folder.file("anchors.pem", root.pem.clone() + &below.pem + &device.pem);
    let spki = |made: &Made| *Pin::parse(&made.pin).unwrap().digest();
    let certificate = |made: &Made| Pin::Certificate(made.certificate_pin).to_string();
    let (in_leaves, in_device) = ((8, 14), (9, 14));
    let own = "leaf_pins = [";
    let pin_only = "trust = \"pin-only\"\nleaf_pins = [";
    let found = |lists: &str, code, place, says| (lists.to_owned(), Some((code, Some(place), says)));
    let key_of = |role: &str, made: &Made| format!("[keys.k]\nspki = \"{}\"\nrole = \"{role}\"\n", made.pin);
    let starts = "no verified chain begins with one";
    let table = [
        ("", found(&format!("{own}\"{}\"]", root.pin), Code::E13, in_leaves, starts)),
        ("", found(&format!("{own}\"{}\"]", certificate(&root)), Code::E13, in_leaves, starts)),
        ("", found(&format!("{own}\"{}\"]", below.pin), Code::E13, in_leaves, starts)),
        ("root", found("pins = [\"k\"]", Code::E13, (11, 9), starts)),
        ("", found(&format!("{pin_only}\"{}\"]", below.pin), Code::E60, in_device, "that of an intermediate")),
        ("", found(&format!("pins = [\"{}\"]", Pin::Certificate(spki(&root))), Code::E12, (8, 9), "digest of a key")),
        (
            "",
            found(&format!("pins = [\"{}\"]", Pin::Spki(root.certificate_pin)), Code::E12, (8, 9), "whole certificate"),
        ),
        ("", (format!("ca_pins = [\"{}\", \"{}\"]", root.pin, certificate(&below)), None)),
        ("", (format!("pins = [\"{}\"]", root.pin), None)),
        // No authority's: the host may show it.
        ("", (format!("{own}\"{}\", \"{}\"]", device.pin, certificate(&device)), None)),
        // A device that is its own authority, and one that shows what its maker has issued.
        ("", (format!("{pin_only}\"{}\"]", root.pin), None)),
        ("below", (format!("{pin_only}\"k\"]"), None)),
    ];
    for (declared, (lists, expected)) in table {
        let keys = match declared {
            "root" => key_of("leaf", &root),
            "below" => key_of("leaf", &below),
            _ => String::new(),
        };
        let mode = if lists.starts_with("trust") { "" } else { "mode = \"report-only\"\n" };
        let lists = if mode.is_empty() { lists.replace(']', &format!(", \"{NOBODYS}\"]")) } else { lists };
        let text = format!(
            "[upstream]\nroots = \"webpki\"\nextra_roots = [\"anchors.pem\"]\n{keys}[[pinset]]\nname = \"p\"\n\
             hosts = [\"p.example\"]\n\n{lists}\n{mode}"
        );
        // The file itself is told of: an intermediate is among its anchors.
        let file = (Code::W64, Some((3, 16)), "CN=Below is issued by CN=Root");
        let expected: Vec<_> = std::iter::once(file).chain(expected).collect();
        folder.has(&text, &world(), &expected);
    }
}

/// A root that many pinsets pin and nobody trusts is told so often and no more; all of them are counted.
#[test]
fn findings_of_a_code_are_kept_up_to_a_number() {
    use std::fmt::Write as _;
    let (folder, root) = (Folder::new(), made("Root", true, 2040, None));
    let mut text = format!("{LIST}[keys.k]\nspki = \"{}\"\nrole = \"root\"\n", root.pin);
    for n in 0..250 {
        let host = format!("hosts = [\"h{n}.example\"]\nca_pins = [\"k\"]\nmode = \"report-only\"");
        write!(text, "[[pinset]]\nname = \"p{n}\"\n{host}\n").unwrap();
    }
    folder.file("c.toml", text);
    let checked = check(&folder.0.path().join("c.toml"), &world()).unwrap();
    let kept = checked.diagnostics.iter().filter(|told| told.code() == Code::W41).count();
    assert_eq!(kept, crate::config::KEPT_OF_A_CODE_MAX);
    let listing = crate::config::Listing::new(&checked.diagnostics);
    let warnings = listing.count(Severity::Warning);
    assert!(warnings >= 250);
    // Again, with more in front of them and behind: the one that had the count may have to go.
    let more = |at| checked.places.finding(Code::W41, at, "once more", "");
    for (at, times) in [(None, 0), (Some(At::File), 1), (Some(At::Pinset("p249")), 1), (Some(At::File), 300)] {
        let again = std::iter::repeat_with(|| at.map(&more)).take(times).flatten();
        let all = checked.places.in_order(checked.diagnostics.iter().cloned().chain(again).collect());
        let kept = all.iter().filter(|told| told.code() == Code::W41).count();
        let counted = crate::config::Listing::new(&all).count(Severity::Warning);
        assert_eq!((kept, counted), (crate::config::KEPT_OF_A_CODE_MAX, warnings + times), "{at:?} {times}");
    }
}

/// A pin may stand in two lists; both places are told, in one finding.
#[test]
fn a_pin_in_two_lists() {
    let (folder, root) = (Folder::new(), made("Root", true, 2040, None));
    let key = format!("[keys.k]\nspki = \"{}\"\nrole = \"root\"\n", root.pin);
    let lists = "ca_pins = [\"k\"]\npins = [\"k\"]\ncombine = \"any\"\nmode = \"report-only\"\n";
    folder.file("c.toml", format!("{LIST}{key}[[pinset]]\nname = \"p\"\nhosts = [\"p.example\"]\n{lists}"));
    let checked = check(&folder.0.path().join("c.toml"), &world()).unwrap();
    let told: Vec<_> = checked.diagnostics.iter().filter(|told| told.code() == Code::W41).collect();
    let related = told[0].related().map(|(place, label)| (place.region.unwrap().line, label));
    assert_eq!((told.len(), told[0].position()), (1, Some((9, 12))));
    assert_eq!(related.collect::<Vec<_>>(), [(10, "and here")]);
}

/// What the text suspects of an address gives way to what its certificate shows; where that is not known it stays.
#[test]
fn a_certificate_that_was_seen_beats_a_suspicion() {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let (folder, leaf) = (Folder::new(), made("192.0.2.1", false, 2040, None));
    let served = [CertificateDer::from_pem_slice(leaf.pem.as_bytes()).unwrap()];
    let hosts = "hosts = [\"192.0.2.1\", \"192.0.2.2\", \"192.0.2.3\"]";
    let pins = format!("trust = \"pin-only\"\npins = [\"{}\", \"{NOBODYS}\"]", leaf.pin);
    folder.file("c.toml", format!("{LIST}[[pinset]]\nname = \"p\"\n{hosts}\n{pins}\n"));
    let Checked { config, places, materials, .. } = check(&folder.0.path().join("c.toml"), &world()).unwrap();
    let resolver = std::sync::Arc::new(crate::upstream::resolve::SystemResolver);
    let prober = probe::Prober::new(&config, materials.unwrap(), resolver, Duration::from_secs(1), now());
    let (targets, skipped) = prober.targets();
    assert_eq!((targets.len(), skipped), (3, Vec::new()));
    let finding = |code, index, says| places.finding(code, At::Host { pinset: "p", index }, says, "");
    let mut written: Vec<_> = (0..3).map(|index| finding(Code::W28, index, "suspected")).collect();
    written.push(finding(Code::W53, 0, "another"));
    let mut findings = Findings::new(&places, now());
    for (target, served) in targets.iter().zip([&served[..], &served, &[]]) {
        findings.judge(target, &prober.sight_of(target, served));
    }
    let told = findings.with(written);
    let told: Vec<_> = told.iter().map(|told| (told.code(), told.position(), told.message())).collect();
    assert_eq!(
        told,
        [
            (Code::W53, Some((5, 10)), "another"),
            (
                Code::E39,
                Some((5, 23)),
                "no client would be let through to 192.0.2.2:443: \
                 the certificate is not for 192.0.2.2 but for 192.0.2.1"
            ),
            (Code::W28, Some((5, 23)), "the certificate of 192.0.2.2:443 does not name the address"),
            (Code::W28, Some((5, 36)), "suspected"),
            (
                Code::E39,
                Some((5, 36)),
                "no client would be let through to 192.0.2.3:443: the upstream served no certificate"
            ),
        ]
    );
}

#[test]
fn clocks() {
    let folder = Folder::new();
    let state = folder.0.path().join("timesync");
    let told = || Synchronisation::told_in(&state);
    assert_eq!(told(), Synchronisation::Unknown, "without systemd there is nothing to tell");
    folder.file("timesync", "no folder");
    assert_eq!(told(), Synchronisation::Unknown);
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    assert_eq!(told(), Synchronisation::Waiting);
    folder.file("timesync/synchronized", "");
    assert_eq!(told(), Synchronisation::Synchronised);

    let pins = format!("pins = [\"{NOBODYS}\"]\nmode = \"report-only\"\n");
    let pinset = format!("{LIST}[[pinset]]\nname = \"p\"\nhosts = [\"p.example\"]\n{pins}");
    let ends = format!("{pinset}[pinset.expiry]\nat = 2029-01-01\nthen = \"fail-closed\"\n");
    let exempt = format!("{pinset}[[exempt]]\nhosts = [\"p.example:443\"]\nreason = \"r\"\nuntil = 2029-01-01\n");
    let early = SystemTime::UNIX_EPOCH + RELEASED - Duration::from_secs(1);
    let waiting = World { clock: Synchronisation::Waiting, ..world() };
    let said = "has not set the clock";
    folder.has(&pinset, &waiting, &[]);
    folder.has(&ends, &waiting, &[(Code::W59, Some((3, 1)), said)]);
    folder.has(&exempt, &waiting, &[(Code::W59, None, said)]);
    for clock in [Synchronisation::Synchronised, Synchronisation::Unknown] {
        folder.has(&ends, &World { clock, ..world() }, &[]);
        let early = World { now: early, clock, ca_directory: CaDirectory::Usual(None) };
        let said = "says 2026-10-31, and this version is not older than 2026-11-01";
        folder.has(&pinset, &early, &[(Code::W59, None, said)]);
    }
}

/// Values of the environment are told by later findings as little as by reading.
#[test]
fn places_keep_secrets() {
    let folder = Folder::new();
    let home = std::env::var("PATH").unwrap();
    let text = format!("{LIST}extra_roots = [\"${{PATH}}/none.pem\"]");
    let told = folder.told(&text, &world());
    let codes: Vec<_> = told.iter().map(|(code, ..)| *code).collect();
    assert_eq!(codes, [Code::W20, Code::E65]);
    assert!(told.iter().all(|(.., message)| !message.contains(&home)), "{told:?}");
    // Nor where the text has errors of its own.
    folder.file("pinproxy.toml", text.replace("[upstream]", "a = 1\n[upstream]"));
    let errors = check(&folder.0.path().join("pinproxy.toml"), &world()).expect_err("an unknown key");
    let codes: Vec<_> = errors.diagnostics().iter().map(Diagnostic::code).collect();
    assert_eq!(codes, [Code::E01, Code::E65]);
    assert!(!errors.to_string().contains(&home), "{errors}");
}

/// More errors than are kept, and one of a file besides: it is kept by its place in the text, and counted in any case.
#[test]
fn the_error_of_a_file_beside_very_many_of_the_text() {
    use crate::config::{Class, ERRORS_KEPT_MAX};
    let folder = Folder::new();
    let unknown = |n| format!("k{n} = 1\n");
    let unknown: String = (0..ERRORS_KEPT_MAX + 5).map(unknown).collect();
    let names: Vec<_> = (1..ERRORS_KEPT_MAX + 6).map(|port| format!("\"**.com:{port}\"")).collect();
    let names = names.join(", ");
    let pins = format!("pins = [\"{NOBODYS}\"]\nmode = \"report-only\"\n");
    let wide = format!("[[pinset]]\nname = \"p\"\n{pins}hosts = [{names}]\n");
    let file = "[upstream]\nextra_roots = [\"none.pem\"]\n";
    let errors = ERRORS_KEPT_MAX + 6;
    // Text, whether the error of the file is kept, the number of all errors, and the worst of them.
    let table = [
        (format!("{unknown}{file}"), false, errors, Class::Malformed),
        (format!("{file}[log]\n{unknown}"), true, errors, Class::Malformed),
        (format!("{file}{wide}"), true, errors, Class::Unsafe),
        (format!("{wide}{file}"), false, errors, Class::Unsafe),
        (format!("{file}{wide}[log]\nk = 1\n"), true, errors + 1, Class::Malformed),
    ];
    for (text, is_kept, count, worst) in table {
        folder.file("pinproxy.toml", &text);
        let errors = check(&folder.0.path().join("pinproxy.toml"), &world()).expect_err("there are errors");
        let kept = errors.diagnostics().iter().filter(|told| told.severity() == Severity::Error);
        let of_file = errors.diagnostics().iter().filter(|told| told.code() == Code::E65).count();
        let listing = errors.listing();
        assert_eq!((kept.count(), of_file), (ERRORS_KEPT_MAX, usize::from(is_kept)), "{}", &text[..80]);
        assert_eq!((listing.count(Severity::Error), listing.fault()), (count, Some(worst)), "{}", &text[..80]);
    }
}

/// Nothing that is written to is read, or written to twice, whatever it is called; and a start is refused.
#[test]
fn files_that_are_written_to_and_are_others() {
    let folder = Folder::new();
    for name in ["ca/ca.pem", "ca/ca.key", "crl.pem", "more.toml", "reports/kept"] {
        folder.file(name, "");
    }
    let path = |name: &str| folder.0.path().join(name);
    std::os::unix::fs::symlink("ca", path("link")).unwrap();
    fs::hard_link(path("ca/ca.key"), path("other.key")).unwrap();
    let world = World { ca_directory: CaDirectory::Given(path("ca")), ..world() };
    let table = [
        ("[reports]\nfile = \"ca/ca.key\"", Some("[reports] file is ")),
        ("[reports]\nfile = \"link/../ca/ca.key\"", Some("a file of the CA")),
        ("[reports]\nfile = \"link/ca.pem\"", Some("a file of the CA")),
        ("[log]\naccess = \"other.key\"", Some("[log] access is ")),
        ("[log]\naccess = \"pinproxy.toml\"", Some("a file of the configuration")),
        ("include = [\"more.toml\"]\n[log]\naccess = \"more.toml\"", Some("a file of the configuration")),
        ("[upstream]\nroots = \"crl.pem\"\n[log]\naccess = \"crl.pem\"", Some("to be read")),
        ("[log]\naccess = \"a\"\n[reports]\nfile = \"./a\"", Some("[log] access too")),
        (
            "[reports]\nspool = \"reports\"\nfile = \"reports/lock\"\nurls = [\"http://127.0.0.1/\"]",
            Some("[reports] file too"),
        ),
        ("[admin]\nsocket = \"ca/ca.key\"", Some("[admin] socket is ")),
        ("[log]\naccess = \"a\"\n[reports]\nfile = \"b\"", None),
        ("[log]\naccess = \"/dev/null\"\n[reports]\nfile = \"/dev/null\"", None),
        ("[log]\naccess = \"ca/ca.key.log\"", None),
    ];
    for (text, expected) in table {
        folder.file("pinproxy.toml", text);
        let (_, checked) = check_noting(&path("pinproxy.toml"), &world);
        for checked in [check(&path("pinproxy.toml"), &world), checked] {
            let checked = checked.unwrap_or_else(|errors| panic!("{errors}"));
            let told: Vec<_> = checked.diagnostics.iter().filter(|told| told.code() == Code::E83).collect();
            assert_eq!(told.len(), usize::from(expected.is_some()), "{text}: {told:?}");
            if let (Some(expected), [told]) = (expected, &told[..]) {
                assert!(told.message().contains(expected), "{text}: {told}");
                assert!(matches!(checked.admission(Occasion::Start, now()), Admission::Unusable), "{text}");
            }
        }
    }
}
