//! `ca bundle` and `ca export`.

use super::*;

/// Tells what Python's reader of property lists finds in a profile.
const READ_PROFILE: &str = "
import base64, hashlib, plistlib, sys, uuid
profile = plistlib.load(open(sys.argv[1], 'rb'), fmt=plistlib.FMT_XML)
for part in [profile, *profile['PayloadContent']]:
    assert part['PayloadVersion'] == 1 and part['PayloadIdentifier'] and part['PayloadDisplayName'], part
    print(part['PayloadType'], uuid.UUID(part['PayloadUUID']).version)
for part in profile['PayloadContent']:
    assert isinstance(part['PayloadContent'], bytes)
    print(hashlib.sha256(part['PayloadContent']).hexdigest())
";

/// The digits of a fingerprint.
fn digits(fingerprint: &str) -> String {
    fingerprint.replace(':', "").to_lowercase()
}

#[tokio::test]
async fn openssl_reads_pem_and_der() {
    let Some(openssl) = process::find("openssl") else { return };
    let user = User::new();
    user.create_ca().await;
    let shown = user.pinproxy(["ca", "show"]).run().await.with_code(0).out;
    for (format, form) in [("pem", "PEM"), ("der", "DER")] {
        let file = user.folder().join(format!("handed on.{format}"));
        let exported = user.pinproxy(["ca", "export", "--format", format, "--out"]).arg(&file).run().await.with_code(0);
        assert_eq!((exported.out.as_str(), exported.err.as_str()), ("", ""));
        let start = process::command(&openssl, user.folder()).args(["x509", "-noout", "-fingerprint", "-sha256"]);
        let read = start.args(["-inform", form, "-in"]).arg(&file).run().await.with_code(0);
        assert_eq!(read.out.split('=').nth(1).map(str::trim), Some(value(&shown, "SHA-256")), "{format}: {read}");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o644);
    }
    let printed = user.pinproxy(["ca", "export"]).run().await.with_code(0);
    assert_eq!(printed.out, std::fs::read_to_string(user.folder().join("handed on.pem")).unwrap());
}

/// A store that it cannot authenticate Java takes for an empty one, or refuses.
#[tokio::test]
async fn java_reads_both_stores_and_trusts_what_is_in_them() {
    let Some(keytool) = process::find("keytool") else { return };
    let user = User::new();
    user.create_ca().await;
    let shown = user.pinproxy(["ca", "show"]).run().await.with_code(0).out;
    for (format, kind) in [("p12", "PKCS12"), ("jks", "JKS")] {
        for password in ["changeit", "a long one, 'quoted'"] {
            let file = user.folder().join(format!("trust.{format}"));
            let mut arguments = vec!["ca", "export", "--format", format];
            if password != "changeit" {
                arguments.extend(["--password", password]);
            }
            user.pinproxy(arguments).arg("--out").arg(&file).run().await.with_code(0);
            let listed = |password: &str| {
                let start = process::command(&keytool, user.folder()).args(["-J-Duser.language=en", "-list", "-v"]);
                start.args(["-storetype", kind, "-storepass", password, "-keystore"]).arg(&file).run()
            };
            let list = listed(password).await.with_code(0).out;
            assert!(list.contains("Your keystore contains 1 entry"), "{list}");
            assert!(list.contains("Entry type: trustedCertEntry"), "{list}");
            assert!(list.contains(&format!("SHA256: {}", value(&shown, "SHA-256"))), "{list}");
            listed("another one").await.with_code(1);
        }
    }
}

#[tokio::test]
async fn a_profile_for_apple_holds_the_certificate() {
    let python = std::env::var_os("PINPROXY_TEST_PYTHON").map(PathBuf::from).or_else(|| process::find("python3"));
    let Some(python) = python else { return };
    let (user, root) = (User::new(), Ca::root("A \"root\" & <more>"));
    let folder = user.place_ca(&root.intermediate("Inner"));
    let inner = std::fs::read_to_string(folder.join("ca.pem")).unwrap();
    std::fs::write(folder.join("ca.pem"), inner + &root.pem()).unwrap();
    let file = user.folder().join("ca.mobileconfig");
    let export = || user.pinproxy(["ca", "export", "--format", "mobileconfig", "--ca-dir"]).arg(&folder);
    export().arg("--out").arg(&file).run().await.with_code(0);
    let read = process::command(&python, user.folder()).args(["-c", READ_PROFILE]).arg(&file).run().await.with_code(0);
    let shown = user.pinproxy(["ca", "show", "--ca-dir"]).arg(&folder).run().await.with_code(0).out;
    let digests = shown.lines().filter_map(|line| line.trim().strip_prefix("SHA-256")).map(|text| digits(text.trim()));
    let digests: Vec<_> = digests.collect();
    let expected =
        ["Configuration 8", "com.apple.security.pkcs1 8", "com.apple.security.root 8", &digests[0], &digests[1]];
    assert_eq!(read.out.lines().collect::<Vec<_>>(), expected, "{read}");
    let again = export().run().await.with_code(0);
    assert_eq!(again.out, std::fs::read_to_string(&file).unwrap(), "the same CA gives the same profile");
}

#[tokio::test]
async fn files_of_the_ca_are_not_written_over_and_what_makes_no_sense_is_told() {
    let user = User::new();
    let file = user.create_ca().await;
    let key = user.ca().join("ca.key");
    let link = user.folder().join("link");
    std::os::unix::fs::symlink(&key, &link).unwrap();
    let before = [&file, &key].map(|path| std::fs::read(path).unwrap());
    for command in ["bundle", "export"] {
        for path in [&file, &key, &link] {
            let start = user.pinproxy(["ca", command, "--out"]).arg(path);
            fails(start, 2, &["is a file of the CA itself, and is not replaced"]).await;
        }
    }
    assert_eq!([&file, &key].map(|path| std::fs::read(path).unwrap()), before);
    let table: [(&[&str], i32, &str); 6] = [
        (&["export", "--password", "changeit"], 2, "--password is for --format p12 and jks"),
        (&["export", "--format", "jks", "--password", "short"], 2, "Java takes 6 characters or more"),
        (&["export", "--format", "p12", "--password", "l\u{f6}nger"], 2, "Java takes ASCII characters only"),
        (&["export", "--format", "p12", "--password", "line\nbreak"], 2, "Java takes ASCII characters only"),
        (&["export", "--format", "p7b"], 2, "invalid value 'p7b'"),
        (&["export", "--out", "/nowhere/at/all"], 3, "cannot write /nowhere/at/all: "),
    ];
    for (arguments, code, part) in table {
        fails(user.pinproxy(["ca"]).args(arguments), code, &[part]).await;
    }
}

/// A client that has its roots from the bundle reaches hosts that are intercepted, and those that are passed through.
#[tokio::test]
async fn curl_takes_the_bundle_for_its_roots() {
    if process::find("curl").is_none() {
        return;
    }
    let curl = process::find("curl").expect("it was there");
    let site = Site::start(Behaviour::Http1).await;
    for (more, issuer) in [
        (String::new(), "issuer: O=pinproxy; CN=pinproxy local CA "),
        (format!("[[tunnel]]\nhosts = [\"{HOST}\"]\nreason = \"a test\"\n"), "issuer: CN=A private CA"),
    ] {
        let user = User::new();
        let config = site.trusted_by(&user, &more);
        let program = Program::start(user.run(Some(&config))).await;
        let bundle = user.folder().join("bundle.pem");
        let exported = user.pinproxy(["ca", "bundle", "--config"]).arg(&config).arg("--out").arg(&bundle);
        exported.run().await.with_code(0);
        let fetch = |roots: &Path| {
            let start = process::command(&curl, user.folder()).env("SSL_CERT_FILE", roots).args(["-sSv", "--proxy"]);
            start.arg(format!("http://{}", program.address)).arg(site.url("/")).run()
        };
        let done = fetch(&bundle).await.with_code(0);
        done.says(&[issuer]);
        // The CA alone would do for the first only.
        let alone = fetch(&user.ca().join("ca.pem")).await;
        assert_eq!(alone.code, Some(if more.is_empty() { 0 } else { 60 }), "{alone}");
        let roots = std::fs::read_to_string(&bundle).unwrap().matches("BEGIN CERTIFICATE").count();
        assert!(roots > 2, "the system's roots are in it: {roots}");
        program.stop().await;
    }
}
