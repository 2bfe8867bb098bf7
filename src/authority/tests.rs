//! The room as a whole, judged by other implementations: OpenSSL and webpki.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
};
use rustls_pki_types::UnixTime;
use tempfile::TempDir;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::LeafKeyKind::{EcdsaP256, Rsa2048};
use super::cache::LeafCache;
use super::*;

mod access;
mod rotation;

const DAY: Duration = Duration::from_secs(86_400);

fn name(text: &str) -> ServerName<'static> {
    ServerName::try_from(text.to_owned()).unwrap()
}

/// Certificates carry whole seconds, and so do the times of these tests.
fn now() -> SystemTime {
    system_time(validity::unix_seconds(SystemTime::now()))
}

/// A temporary directory where a CA is accepted, whatever the umask.
fn folder() -> TempDir {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

fn created() -> (TempDir, CertificateAuthority) {
    let directory = folder();
    let (authority, provenance) = load_or_create(directory.path(), Settings::default(), now()).unwrap();
    assert_eq!(provenance, Provenance::Created);
    (directory, authority)
}

fn reload(directory: &Path) -> Result<CertificateAuthority, CaError> {
    load_or_create(directory, Settings::default(), now()).map(|(authority, provenance)| {
        assert_eq!(provenance, Provenance::Loaded);
        authority
    })
}

fn write_pair(directory: &Path, certificate_pem: &str, key_pem: &str) {
    fs::write(directory.join(CERTIFICATE_FILE), certificate_pem).unwrap();
    fs::write(directory.join(KEY_FILE), key_pem).unwrap();
    set_modes(directory);
}

/// Whatever the umask.
fn set_modes(directory: &Path) {
    for (file, mode) in [(CERTIFICATE_FILE, 0o644), (KEY_FILE, 0o600)] {
        fs::set_permissions(directory.join(file), fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Parameters of a usable CA, to be spoilt by a test.
fn ca_parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "test CA");
    parameters.not_before = OffsetDateTime::now_utc() - DAY;
    parameters.not_after = OffsetDateTime::now_utc() + 30 * DAY;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

/// Loads a CA with other parameters than [`ca_parameters`].
fn loaded_with(spoil: impl FnOnce(&mut CertificateParams)) -> (TempDir, Result<CertificateAuthority, CaError>) {
    let directory = folder();
    let mut parameters = ca_parameters();
    spoil(&mut parameters);
    let key = KeyPair::generate().unwrap();
    write_pair(directory.path(), &parameters.self_signed(&key).unwrap().pem(), &key.serialize_pem());
    let authority = reload(directory.path());
    (directory, authority)
}

/// Judges the chain of a leaf with webpki, for its name and for no other.
fn verify_with_webpki(anchor: &CertificateDer<'_>, leaf: &IssuedLeaf, at: SystemTime) {
    let anchor = webpki::anchor_from_trusted_cert(anchor).unwrap();
    let chain = &leaf.certified_key.cert;
    let end_entity = webpki::EndEntityCert::try_from(&chain[0]).unwrap();
    let at = UnixTime::since_unix_epoch(at.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    let usage = webpki::KeyUsage::server_auth();
    end_entity.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &[anchor], &chain[1..], at, usage, None, None).unwrap();
    end_entity.verify_is_valid_for_subject_name(&leaf.name).unwrap();
    for other in ["other.example", "192.0.2.254", "2001:db8::ffff"] {
        assert!(end_entity.verify_is_valid_for_subject_name(&name(other)).is_err());
    }
    leaf.certified_key.keys_match().unwrap();
}

/// Runs openssl; none, and a message, when there is no such program.
fn openssl(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = match Command::new("openssl").args(arguments).current_dir(directory).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: there is no openssl program");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "openssl {arguments:?}: {text}");
    Some(text)
}

/// Judges a leaf with OpenSSL, and returns its text.
fn verify_with_openssl(directory: &Path, leaf: &IssuedLeaf) -> Option<String> {
    fs::write(directory.join("leaf.pem"), &*text::pem("CERTIFICATE", &leaf.certified_key.cert[0])).unwrap();
    let option = if matches!(leaf.name, ServerName::IpAddress(_)) { "-verify_ip" } else { "-verify_hostname" };
    let name = leaf.name.to_str();
    let verify = ["verify", "-x509_strict", "-purpose", "sslserver", option, &name, "-CAfile", "ca.pem", "leaf.pem"];
    openssl(directory, &verify)?;
    openssl(directory, &["x509", "-in", "leaf.pem", "-noout", "-text", "-serial"])
}

/// Makes a CA with OpenSSL from a key file that is already there; none when there is no such program.
fn openssl_ca(directory: &Path, subject: &str, key_identifier: &str) -> Option<()> {
    let configuration = format!(
        "[req]\ndistinguished_name=dn\nx509_extensions=ca\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE,pathlen:0\n\
         keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier={key_identifier}\n"
    );
    fs::write(directory.join("ca.cnf"), configuration).unwrap();
    let request = ["req", "-x509", "-config", "ca.cnf", "-days", "30", "-utf8", "-subj", subject];
    openssl(directory, &[&request[..], &["-key", "ca.key", "-out", "ca.pem"]].concat())?;
    set_modes(directory);
    Some(())
}

const P256_KEY: &[&str] = &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ca.key"];

// ---- what is refused --------------------------------------------------------------------------------------------

#[test]
fn half_a_pair_is_refused_and_nothing_is_made() {
    for (gone, left) in [(KEY_FILE, CERTIFICATE_FILE), (CERTIFICATE_FILE, KEY_FILE)] {
        let (directory, _) = created();
        fs::remove_file(directory.path().join(gone)).unwrap();
        let before = fs::read(directory.path().join(left)).unwrap();
        let error = reload(directory.path()).unwrap_err();
        match gone {
            KEY_FILE => assert!(matches!(error, CaError::MissingKey { .. }), "{error}"),
            _ => assert!(matches!(error, CaError::MissingCertificate { .. }), "{error}"),
        }
        assert!(error.to_string().contains(gone), "{error}");
        assert!(!directory.path().join(gone).exists());
        assert_eq!(fs::read(directory.path().join(left)).unwrap(), before);
    }
}

#[test]
fn a_ca_is_created_only_when_asked_for() {
    let directory = folder();
    let error = load(directory.path(), Settings::default(), now()).unwrap_err();
    assert!(matches!(error, CaError::Missing { .. }), "{error}");
    let absent = directory.path().join("absent");
    let error = load(&absent, Settings::default(), now()).unwrap_err();
    assert!(matches!(error, CaError::Directory { .. }), "{error}");
    assert!(!absent.exists());
}

#[test]
fn a_key_that_others_can_use_is_refused() {
    let (directory, _) = created();
    let key = directory.path().join(KEY_FILE);
    for mode in [0o644, 0o640, 0o620, 0o601] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let error = reload(directory.path()).unwrap_err();
        assert!(matches!(error, CaError::KeyPermissions { mode: found, .. } if found == mode), "{error}");
        assert!(error.to_string().contains(&format!("{mode:04o}")), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
    reload(directory.path()).unwrap();
}

#[test]
fn a_key_of_another_user_is_refused() {
    let (directory, _) = created();
    if chown(directory.path().join(KEY_FILE), Some(54_321), None).is_err() {
        println!("skipped: only root can give a file away");
        return;
    }
    let error = reload(directory.path()).unwrap_err();
    assert!(matches!(error, CaError::KeyOwner { owner: 54_321, .. }), "{error}");
}

#[test]
fn halves_of_two_pairs_are_refused() {
    let (one, _) = created();
    let (other, _) = created();
    fs::copy(other.path().join(CERTIFICATE_FILE), one.path().join(CERTIFICATE_FILE)).unwrap();
    let error = reload(one.path()).unwrap_err();
    assert!(matches!(error, CaError::KeyMismatch { .. }), "{error}");
}

#[test]
fn damaged_files_are_refused_and_never_quoted() {
    let (directory, _) = created();
    let pair = [CERTIFICATE_FILE, KEY_FILE].map(|file| fs::read_to_string(directory.path().join(file)).unwrap());
    let half = |text: &str| text[..text.len() / 2].to_owned();
    let garbage = "garbage".to_owned();
    let swapped = pair[1].clone();
    for certificate in [String::new(), garbage.clone(), half(&pair[0]), swapped] {
        write_pair(directory.path(), &certificate, &pair[1]);
        let error = reload(directory.path()).unwrap_err();
        assert!(matches!(error, CaError::CertificatePem { .. }), "{error}");
    }
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    write_pair(directory.path(), not_der, &pair[1]);
    assert!(matches!(reload(directory.path()), Err(CaError::CertificateDer { position: 1, .. })));

    let secret = pair[1].lines().nth(1).unwrap();
    let damaged = pair[1].replacen("-----\n", "-----\n!", 1);
    for key in [String::new(), garbage, half(&pair[1]), pair[0].clone(), damaged] {
        write_pair(directory.path(), &pair[0], &key);
        let error = reload(directory.path()).unwrap_err();
        assert!(matches!(error, CaError::KeyPem { .. }), "{error}");
        assert!(!format!("{error}{error:?}").contains(&secret[..8]));
    }
    let not_a_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    write_pair(directory.path(), &pair[0], not_a_key);
    assert!(matches!(reload(directory.path()), Err(CaError::KeyUnsupported { .. })));
    write_pair(directory.path(), &pair[0], &"\n".repeat((1 << 20) + 1));
    assert!(matches!(reload(directory.path()), Err(CaError::Read { .. })));
}

#[test]
fn a_link_to_nowhere_is_not_written_through() {
    let directory = folder();
    let target = directory.path().join("elsewhere");
    std::os::unix::fs::symlink(&target, directory.path().join(KEY_FILE)).unwrap();
    let error = load_or_create(directory.path(), Settings::default(), now()).unwrap_err();
    assert!(matches!(error, CaError::Write { .. }), "{error}");
    assert!(!target.exists() && !directory.path().join(CERTIFICATE_FILE).exists());
}

#[test]
fn a_certificate_that_cannot_be_written_takes_its_key_along() {
    let directory = folder();
    std::os::unix::fs::symlink("elsewhere", directory.path().join(CERTIFICATE_FILE)).unwrap();
    let error = load_or_create(directory.path(), Settings::default(), now()).unwrap_err();
    assert!(matches!(error, CaError::Write { .. }), "{error}");
    assert!(!directory.path().join(KEY_FILE).exists());
}

#[test]
fn certificates_that_cannot_issue_for_servers_are_refused() {
    type Spoil = fn(&mut CertificateParams);
    type Expected = fn(&CaError) -> bool;
    let cases: [(Spoil, Expected); 7] = [
        (|ca| ca.is_ca = IsCa::ExplicitNoCa, |error| matches!(error, CaError::NotCa { .. })),
        (|ca| ca.is_ca = IsCa::NoCa, |error| matches!(error, CaError::NotCa { .. })),
        (|ca| ca.key_usages = vec![KeyUsagePurpose::CrlSign], |error| matches!(error, CaError::NoKeyCertSign { .. })),
        (|ca| ca.key_usages.clear(), |error| matches!(error, CaError::NoKeyCertSign { .. })),
        (
            |ca| ca.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            |error| matches!(error, CaError::NoServerAuth { .. }),
        ),
        (
            |ca| ca.not_after = OffsetDateTime::now_utc() - Duration::from_secs(2),
            |error| matches!(error, CaError::Expired { .. }),
        ),
        (|ca| ca.not_before = OffsetDateTime::now_utc() + DAY, |error| matches!(error, CaError::NotYetValid { .. })),
    ];
    for (index, (spoil, expected)) in cases.into_iter().enumerate() {
        let (_directory, loaded) = loaded_with(spoil);
        let error = loaded.unwrap_err();
        assert!(expected(&error), "{index}: {error}");
        assert!(error.to_string().contains(CERTIFICATE_FILE), "{error}");
    }
    let (_directory, unspoilt) = loaded_with(|_| ());
    unspoilt.unwrap();
}

#[test]
fn parents_out_of_order_are_refused() {
    let (directory, authority) = created();
    let (_, other) = created();
    let key = fs::read_to_string(directory.path().join(KEY_FILE)).unwrap();
    write_pair(directory.path(), &(authority.certificate_pem() + &other.certificate_pem()), &key);
    let error = reload(directory.path()).unwrap_err();
    assert!(matches!(error, CaError::ChainOrder { position: 2, .. }), "{error}");
}

#[test]
fn a_ca_without_key_identifier_or_with_an_unusual_key_is_refused() {
    let directory = folder();
    let path = directory.path();
    if openssl(path, P256_KEY).is_none() {
        return;
    }
    openssl_ca(path, "/CN=no identifier", "none");
    assert!(matches!(reload(path), Err(CaError::NoSubjectKeyIdentifier { .. })));
    openssl(path, &["genpkey", "-algorithm", "ED25519", "-out", "ca.key"]);
    openssl_ca(path, "/CN=Ed25519", "hash");
    assert!(matches!(reload(path), Err(CaError::KeyUnsupported { .. })));
    openssl(path, &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521", "-out", "ca.key"]);
    openssl_ca(path, "/CN=P-521", "hash");
    assert!(matches!(reload(path), Err(CaError::KeyUnsupported { .. })));
}

#[test]
fn no_leaf_for_names_in_another_spelling_not_even_from_the_cache() {
    let (_directory, authority) = created();
    authority.leaf(&name("example.com"), EcdsaP256, None, now()).unwrap();
    for text in ["Example.com", "example.com."] {
        let refused = authority.leaf(&name(text), EcdsaP256, None, now()).unwrap_err();
        assert_eq!(refused, IssueError::Name(text.into()));
    }
}

#[test]
fn no_leaf_beyond_the_end_of_ca_or_upstream_not_even_from_the_cache() {
    let (_directory, authority) = created();
    let host = name("example.com");
    authority.leaf(&host, EcdsaP256, None, now()).unwrap();
    let expired = authority.leaf(&host, EcdsaP256, Some(now() - DAY), now());
    assert!(matches!(expired, Err(IssueError::UpstreamExpired(_))), "{expired:?}");
    let late = authority.leaf(&host, EcdsaP256, None, authority.not_after() + Duration::from_secs(1));
    assert!(matches!(late, Err(IssueError::CaExpired(_))), "{late:?}");
    let early = authority.leaf(&host, EcdsaP256, None, now() - DAY);
    assert!(matches!(early, Err(IssueError::CaNotYetValid(_))), "{early:?}");
}

#[test]
fn nothing_shows_a_private_key() {
    let (directory, authority) = created();
    let leaf = authority.leaf(&name("example.com"), EcdsaP256, None, now()).unwrap();
    let shown = format!("{authority:?} {leaf:?}");
    assert!(!shown.to_lowercase().contains("key"), "{shown}");
    // Base64 may spell anything.
    assert!(!authority.certificate_pem().contains("PRIVATE KEY"));
    let key = fs::read_to_string(directory.path().join(KEY_FILE)).unwrap();
    write_pair(directory.path(), &(authority.certificate_pem() + &key), &key);
    assert_eq!(reload(directory.path()).unwrap().certificate_pem(), authority.certificate_pem());
}

// ---- the CA -----------------------------------------------------------------------------------------------------

#[test]
fn a_created_ca_loads_again_and_says_what_it_should() {
    let parent = folder();
    let directory = parent.path().join("new").join("certs");
    let (authority, provenance) = load_or_create(&directory, Settings::default(), now()).unwrap();
    assert_eq!(provenance, Provenance::Created);
    let again = reload(&directory).unwrap();
    assert_eq!(again.fingerprint_sha256(), authority.fingerprint_sha256());
    assert_eq!(load(&directory, Settings::default(), now()).unwrap().certificates(), authority.certificates());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join(KEY_FILE)), 0o600);
    assert_eq!(authority.certificate_path(), directory.join(CERTIFICATE_FILE));
    assert_eq!(authority.certificate_pem(), fs::read_to_string(directory.join(CERTIFICATE_FILE)).unwrap());

    let (_, parsed) = X509Certificate::from_der(&authority.certificates()[0]).unwrap();
    assert!(authority.subject().starts_with("O=pinproxy, CN=pinproxy local CA "), "{}", authority.subject());
    assert_eq!(parsed.raw_serial().len(), 16);
    assert_eq!(parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp(), 3650 * 86_400);

    let inspect = ["x509", "-in", "ca.pem", "-noout", "-text", "-fingerprint", "-sha256"];
    let Some(text) = openssl(&directory, &inspect) else { return };
    for expected in [
        "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:1",
        "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign",
        "X509v3 Subject Key Identifier",
        "NIST CURVE: P-256",
        &format!("Fingerprint={}", authority.fingerprint_sha256()),
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    openssl(&directory, &["verify", "-x509_strict", "-CAfile", "ca.pem", "ca.pem"]);
    openssl(&directory, &["pkey", "-in", "ca.key", "-check", "-noout"]);
}

#[test]
fn racing_creators_end_up_with_one_ca_and_its_key_is_never_open_to_others() {
    for _ in 0..10 {
        let directory = folder();
        let key = directory.path().join(KEY_FILE);
        let (barrier, done) = (Barrier::new(8), AtomicBool::new(false));
        let results = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if let Ok(metadata) = fs::metadata(&key) {
                        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
                    }
                }
            });
            let create = || {
                barrier.wait();
                let (authority, provenance) = load_or_create(directory.path(), Settings::default(), now()).unwrap();
                results.lock().unwrap().push((authority.fingerprint_sha256(), provenance));
            };
            let creators: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
            let outcomes: Vec<_> = creators.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            done.store(true, Ordering::Relaxed);
            assert!(outcomes.iter().all(Result::is_ok));
        });
        let results = results.into_inner().unwrap();
        assert!(results.iter().all(|(fingerprint, _)| *fingerprint == results[0].0));
        assert_eq!(results.iter().filter(|(_, provenance)| *provenance == Provenance::Created).count(), 1);
    }
}

#[test]
fn keys_of_other_forms_and_kinds_load_and_their_leaves_verify() {
    let keys: [(&str, &[&str]); 4] = [
        ("SEC1 behind its parameters", &["ecparam", "-name", "prime256v1", "-genkey", "-out", "ca.key"]),
        ("P-384", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", "ca.key"]),
        ("PKCS#1", &["genrsa", "-traditional", "-out", "ca.key", "2048"]),
        ("RSA in PKCS#8", &["genrsa", "-out", "ca.key", "3072"]),
    ];
    for (label, arguments) in keys {
        let directory = folder();
        if openssl(directory.path(), arguments).is_none() {
            return;
        }
        openssl_ca(directory.path(), &format!("/CN={label}"), "hash");
        let authority = reload(directory.path()).unwrap_or_else(|error| panic!("{label}: {error}"));
        let leaf = authority.leaf(&name("example.com"), EcdsaP256, None, now()).unwrap();
        verify_with_openssl(directory.path(), &leaf);
        verify_with_webpki(&authority.certificates()[0], &leaf, now());
    }
}

#[test]
fn names_and_key_identifiers_of_any_ca_are_copied_byte_for_byte() {
    for subject in [
        "/DC=com/DC=example/DC=corp/OU=Security/OU=PKI/CN=Example Issuing CA 1",
        "/C=DE/O=Example+OU=Both at once/CN=Multi-valued+serialNumber=42",
        "/O=Bücher GmbH/CN=Ümläut",
    ] {
        for key_identifier in ["hash", "01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18", "7F"]
        {
            let directory = folder();
            if openssl(directory.path(), P256_KEY).is_none() {
                return;
            }
            openssl_ca(directory.path(), subject, key_identifier);
            let authority = reload(directory.path()).unwrap();
            let leaf = authority.leaf(&name("example.com"), EcdsaP256, None, now()).unwrap();
            verify_with_openssl(directory.path(), &leaf);
            verify_with_webpki(&authority.certificates()[0], &leaf, now());
            let (_, ca) = X509Certificate::from_der(&authority.certificates()[0]).unwrap();
            let (_, issued) = X509Certificate::from_der(&leaf.certified_key.cert[0]).unwrap();
            assert_eq!(issued.issuer().as_raw(), ca.subject().as_raw());
        }
    }
}

#[test]
fn an_intermediate_is_sent_and_its_root_is_not() {
    let mut parameters = ca_parameters();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, "root");
    let root =
        CertifiedIssuer::self_signed(parameters, KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut parameters = ca_parameters();
    parameters.use_authority_key_identifier_extension = true;
    let intermediate = parameters.signed_by(&key, &root).unwrap();

    let directory = folder();
    write_pair(directory.path(), &(intermediate.pem() + &root.pem()), &key.serialize_pem());
    let authority = reload(directory.path()).unwrap();
    assert_eq!(authority.certificates(), [intermediate.der().clone(), root.der().clone()]);
    let leaf = authority.leaf(&name("example.com"), EcdsaP256, None, now()).unwrap();
    assert_eq!(leaf.certified_key.cert.len(), 2);
    assert_eq!(leaf.certified_key.cert[1], *intermediate.der());
    verify_with_webpki(root.der(), &leaf, now());
    verify_with_openssl(directory.path(), &leaf);
}

// ---- leaves -----------------------------------------------------------------------------------------------------

#[test]
fn leaves_of_every_kind_say_only_what_they_should() {
    let (directory, authority) = created();
    authority.prepare_rsa().unwrap();
    let long = format!("{}.{}.example", "a".repeat(60), "b".repeat(60));
    let inspect = ["x509", "-in", "ca.pem", "-noout", "-ext", "subjectKeyIdentifier"];
    let ca_identifier = openssl(directory.path(), &inspect);
    for (text, san, subject) in [
        ("example.com", "DNS:example.com", "Subject: CN = example.com\n"),
        (&*long, &*format!("DNS:{long}"), "Subject: \n"),
        ("xn--bcher-kva.example", "DNS:xn--bcher-kva.example", "Subject: CN = xn--bcher-kva.example\n"),
        ("192.0.2.7", "IP Address:192.0.2.7", "Subject: \n"),
        ("2001:db8::7", "IP Address:2001:DB8:0:0:0:0:0:7", "Subject: \n"),
    ] {
        for kind in [EcdsaP256, Rsa2048] {
            let leaf = authority.leaf(&name(text), kind, None, now()).unwrap();
            assert_eq!(leaf.certified_key.cert.len(), 1, "a root is not sent");
            verify_with_webpki(&authority.certificates()[0], &leaf, now());
            let Some(shown) = verify_with_openssl(directory.path(), &leaf) else { continue };
            let critical = if subject == "Subject: \n" { "critical" } else { "" };
            let own = [
                subject.to_owned(),
                format!("X509v3 Subject Alternative Name: {critical}\n                {san}\n"),
                "X509v3 Key Usage: critical\n                Digital Signature\n".to_owned(),
                "X509v3 Extended Key Usage: \n                TLS Web Server Authentication\n".to_owned(),
                "X509v3 Basic Constraints: critical\n                CA:FALSE\n".to_owned(),
                format!("serial={}\n", leaf.serial),
                if kind == EcdsaP256 { "NIST CURVE: P-256" } else { "Public-Key: (2048 bit)" }.to_owned(),
            ];
            for expected in own {
                assert!(shown.contains(&expected), "{expected} in {shown}");
            }
            assert_eq!(shown.matches("X509v3 ").count(), 7, "SAN, KU, EKU, BC, SKI, AKI and the heading: {shown}");
            let ca_identifier = ca_identifier.as_ref().and_then(|text| text.lines().nth(1)).unwrap().trim();
            let authority_identifier = shown.split("X509v3 Authority Key Identifier: \n").nth(1).unwrap();
            let authority_identifier = authority_identifier.lines().next().unwrap().trim();
            assert_eq!(authority_identifier.trim_start_matches("keyid:"), ca_identifier);
        }
    }
}

#[test]
fn the_dates_of_a_leaf_are_its_own_or_the_caps() {
    let (_directory, authority) = created();
    let (at, host) = (now(), name("example.com"));
    let dates = |leaf: &IssuedLeaf| {
        let (_, parsed) = X509Certificate::from_der(&leaf.certified_key.cert[0]).unwrap();
        let written = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        assert_eq!((system_time(written.0), system_time(written.1)), (leaf.not_before(), leaf.not_after()));
        (leaf.not_before(), leaf.not_after())
    };
    let later = at + DAY;
    let leaf = authority.leaf(&host, EcdsaP256, None, later).unwrap();
    let start = later - Duration::from_secs(3600);
    assert_eq!(dates(&leaf), (start, start + 7 * DAY - Duration::from_secs(1)));
    let capped = authority.leaf(&host, EcdsaP256, Some(later + DAY), later).unwrap();
    assert_eq!(dates(&capped), (start, later + DAY));
    let last = authority.not_after() - DAY;
    let at_the_end = authority.leaf(&host, EcdsaP256, Some(last + 2 * DAY), last).unwrap();
    assert_eq!(dates(&at_the_end), (last - Duration::from_secs(3600), authority.not_after()));

    let (_directory, young) = loaded_with(|ca| ca.not_before = OffsetDateTime::now_utc() - Duration::from_secs(5));
    let young = young.unwrap();
    let leaf = young.leaf(&host, EcdsaP256, None, at).unwrap();
    let (_, ca) = X509Certificate::from_der(&young.certificates()[0]).unwrap();
    assert_eq!(dates(&leaf).0, system_time(ca.validity().not_before.timestamp()));
    verify_with_webpki(&young.certificates()[0], &leaf, at);
}

#[test]
fn leaves_share_one_key_which_is_not_the_cas_and_no_serial() {
    let (_directory, authority) = created();
    let key = |der: &CertificateDer<'_>| X509Certificate::from_der(der).unwrap().1.public_key().raw.to_vec();
    let (mut keys, mut serials) = (HashSet::new(), HashSet::new());
    for index in 0..200 {
        let leaf = authority.leaf(&name(&format!("host-{index}.example")), EcdsaP256, None, now()).unwrap();
        keys.insert(key(&leaf.certified_key.cert[0]));
        serials.insert(leaf.serial.clone());
    }
    assert_eq!((keys.len(), serials.len()), (1, 200));
    assert!(!keys.contains(&key(&authority.certificates()[0])));
    let rsa = authority.leaf(&name("example.com"), Rsa2048, None, now()).unwrap();
    assert!(!keys.contains(&key(&rsa.certified_key.cert[0])));
}

// ---- the cache --------------------------------------------------------------------------------------------------

#[test]
fn a_leaf_is_issued_once_however_many_ask_at_once() {
    let (_directory, authority) = created();
    let threads = 16;
    for round in 0..50 {
        let barrier = Barrier::new(threads);
        let host = name(&format!("round-{round}.example"));
        let ask = || {
            barrier.wait();
            authority.leaf(&host, EcdsaP256, None, now()).unwrap().serial.clone()
        };
        let serials: HashSet<Arc<str>> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..threads).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(serials.len(), 1);
    }
    assert_eq!(authority.leaves_issued(), 50);
}

#[test]
fn those_who_wait_for_a_slow_issue_share_it_and_try_themselves_when_it_fails() {
    let (_directory, authority) = created();
    let host = name("example.com");
    let cache = LeafCache::new(NonZeroUsize::MIN);
    let (calls, barrier) = (AtomicUsize::new(0), Barrier::new(8));
    let slow = || {
        std::thread::sleep(Duration::from_millis(30));
        if calls.fetch_add(1, Ordering::Relaxed) == 0 {
            return Err(IssueError::Random);
        }
        let validity = authority.current.issuer.validity();
        let key = authority.leaf_keys.get(EcdsaP256)?;
        let (leaf, serial) = authority.current.issuer.issue(&host, &key.public_key, validity)?;
        let certified_key = Arc::new(CertifiedKey::new(vec![leaf], Arc::clone(&key.signing_key)));
        let name = host.clone();
        let signed_with = KeyFamily::Ecdsa;
        Ok(IssuedLeaf { certified_key, serial: serial.to_hex().into(), name, signed_with, is_crossed: false, validity })
    };
    let ask = || {
        barrier.wait();
        cache.get_or_issue(&host, EcdsaP256, |_| true, slow).is_ok()
    };
    let served = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).filter(|served| *served).count()
    });
    assert_eq!((served, calls.load(Ordering::Relaxed)), (7, 2));
}

#[test]
fn the_cache_is_bounded_and_tells_kinds_apart() {
    let directory = folder();
    let settings = Settings { cache_entries: NonZeroUsize::new(64).unwrap(), ..Settings::default() };
    let (authority, _) = load_or_create(directory.path(), settings, now()).unwrap();
    for index in 0..1000 {
        authority.leaf(&name(&format!("host-{index}.example")), EcdsaP256, None, now()).unwrap();
        assert!(authority.leaves_cached() <= 64);
    }
    let (host, issued) = (name("example.com"), authority.leaves_issued());
    let ecdsa = authority.leaf(&host, EcdsaP256, None, now()).unwrap();
    let rsa = authority.leaf(&host, Rsa2048, None, now()).unwrap();
    assert_eq!(authority.leaves_issued(), issued + 2);
    assert_ne!(ecdsa.serial, rsa.serial);
}

#[test]
fn a_cached_leaf_is_replaced_when_old_or_when_upstream_ends_earlier() {
    let (_directory, authority) = created();
    let (start, host) = (now(), name("example.com"));
    let serial = |cap, at| authority.leaf(&host, EcdsaP256, cap, at).unwrap().serial.clone();
    let first = serial(None, start);
    assert_eq!(serial(None, start + 5 * DAY), first);
    assert_eq!(serial(Some(start + 20 * DAY), start + DAY), first, "upstream ends later than the leaf");
    let shorter = serial(Some(start + 3 * DAY), start + DAY);
    assert_ne!(shorter, first);
    assert_eq!(
        serial(Some(start + 3 * DAY), start + 3 * DAY - Duration::from_secs(1)),
        shorter,
        "nothing longer to be had"
    );
    assert_eq!(serial(None, start + DAY), shorter, "shorter than allowed, but it serves");
    let renewed = serial(None, start + 3 * DAY - Duration::from_secs(60));
    assert_ne!(renewed, shorter, "its last tenth");
    assert_ne!(serial(None, start + 30 * DAY), renewed, "expired");
}

#[test]
fn a_ca_in_memory_issues_and_is_on_no_disk() {
    let [first, second] = [0, 1].map(|_| in_memory(Settings::default(), now()).unwrap());
    assert_ne!(first.certificates(), second.certificates());
    assert_ne!(first.subject(), second.subject());
    let leaf = first.leaf(&name("api.bank.example"), EcdsaP256, None, now()).unwrap();
    assert_eq!(leaf.certified_key.cert.len(), 1, "the CA is the anchor");
    assert_eq!(first.certificate_path(), Path::new(""));
    assert!(first.certificate_pem().starts_with("-----BEGIN CERTIFICATE-----\n"));
}
