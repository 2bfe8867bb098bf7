//! Starting: the first run, the ones after it, and the configuration that is shipped.

use super::*;

use crate::support::client::{ClientTls, RawClient};

use crate::support::pki::{Validity, hex};
use sha2::{Digest as _, Sha256};
use std::os::unix::fs::PermissionsExt as _;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("the file exists").permissions().mode() & 0o7777
}

/// SHA-256 of the one certificate in a PEM file, as `openssl x509 -fingerprint` prints it.
fn fingerprint(path: &Path) -> String {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let certificate = CertificateDer::from_pem_file(path).expect("a certificate in PEM form");
    let digits = hex(&Sha256::digest(&certificate)).to_uppercase();
    digits.as_bytes().chunks(2).map(String::from_utf8_lossy).collect::<Vec<_>>().join(":")
}

#[tokio::test]
async fn the_first_run_makes_a_ca_and_tells_all_a_client_needs() {
    let user = User::new();
    let program = Program::start(user.run(None)).await;
    let (certificate, key) = (user.ca().join("ca.pem"), user.ca().join("ca.key"));
    assert_eq!((mode(&user.ca()), mode(&key)), (0o700, 0o600));
    let greeting = &program.greeting;
    assert!(greeting.starts_with(concat!("pinproxy ", env!("CARGO_PKG_VERSION"), "\n")), "{greeting}");
    assert!(program.address.ip().is_loopback() && program.address.port() != 0, "{greeting}");
    assert_eq!(value(greeting, "CA  "), format!("{} (made now)", certificate.display()));
    assert_eq!(value(greeting, "CA SHA-256"), fingerprint(&certificate));
    assert!(value(greeting, "pinsets").starts_with("none: chains are verified, nothing is pinned"), "{greeting}");
    assert!(program.paste().starts_with(&format!("export https_proxy=http://{} ", program.address)), "{greeting}");
    assert!(!greeting.contains('\x1b'), "no colours where nobody sees them: {greeting:?}");
    let ended = program.stop().await;
    assert!(!ended.err.contains('\x1b'), "{ended}");
}

/// What `config check` finds in the files is told at the start, too; it starts all the same.
#[tokio::test]
async fn warnings_about_the_files_are_told() {
    let (user, root) = (User::new(), Ca::root("Root"));
    user.file("below.pem", &root.intermediate("Below").pem());
    let text = "[upstream]\nroots = \"webpki\"\nextra_roots = [\"below.pem\"]\n";
    let mut program = Program::start(user.run(Some(&user.file("pinproxy.toml", text)))).await;
    let told = program.running.err.until("2 warnings in the configuration").await;
    assert!(
        told.contains("warning[W20]: ")
            && told.contains("warning[W64]: ")
            && told.contains("CN=Below is issued by CN=Root"),
        "{told}"
    );
    program.stop().await;
}

/// Nothing verifies below them, which is an error of the file; a proxy that is up can still tell so to every client.
#[tokio::test]
async fn roots_that_have_ended_are_told_of() {
    let user = User::new();
    user.file("ended.pem", &Ca::builder("Ended").validity(Validity::expired()).self_signed().pem());
    let text = "[upstream]\nroots = \"./ended.pem\"\n";
    let mut program = Program::start(user.run(Some(&user.file("pinproxy.toml", text)))).await;
    let told = program.running.err.until("1 error, 1 warning in the configuration").await;
    assert!(told.contains("error[E65]: every trust anchor here has ended, the last on "), "{told}");
    program.stop().await;
}

#[tokio::test]
async fn later_runs_keep_the_ca() {
    let user = User::new();
    let first = Program::start(user.run(None)).await;
    let made = fingerprint(&user.ca().join("ca.pem"));
    first.stop().await;
    let second = Program::start(user.run(None)).await;
    assert_eq!(value(&second.greeting, "CA  "), user.ca().join("ca.pem").display().to_string());
    assert_eq!(value(&second.greeting, "CA SHA-256"), made);
    second.stop().await;
}

#[tokio::test]
async fn two_first_runs_at_once_agree_on_one_ca() {
    let user = User::new();
    let (one, other) = tokio::join!(Program::start(user.run(None)), Program::start(user.run(None)));
    assert_eq!(value(&one.greeting, "CA SHA-256"), value(&other.greeting, "CA SHA-256"));
    let made = [&one, &other].into_iter().filter(|program| program.greeting.contains("(made now)"));
    assert_eq!(made.count(), 1);
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn arguments_go_before_the_configuration() {
    let user = User::new();
    let config = user.file("pinproxy.toml", "[[listener]]\naddress = \"127.0.0.1:1\"\n[ca]\ndirectory = \"other\"\n");
    let folder = user.folder().join("mine");
    let start = user.run(Some(&config)).args(["--listen", "127.0.0.1:0", "--ca-dir"]).arg(&folder);
    let program = Program::start(start).await;
    assert_eq!(program.greeting.matches("listening  ").count(), 2, "{}", program.greeting);
    assert!(folder.join("ca.key").is_file() && !user.folder().join("other").exists());
    program.stop().await;
}

#[tokio::test]
async fn the_shipped_configuration_starts() {
    let user = User::new();
    let shipped = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/pinproxy.toml"));
    let config = user.file("checkout/config/pinproxy.toml", shipped);
    let program = Program::start(user.run(Some(&config))).await;
    assert_eq!(value(&program.greeting, "pinsets"), "2, 2 of them enforced");
    assert!(user.folder().join("checkout/certs/ca.pem").is_file(), "[ca] directory is relative to the file");
    let ended = program.stop().await;
    assert!(!ended.err.contains("warning") && !ended.err.contains("WARN"), "{ended}");
}

/// The keys of every session would be in it.
#[tokio::test]
async fn a_key_log_is_not_written() {
    let user = User::new();
    let site = Site::start(Behaviour::Http1).await;
    let config = site.trusted_by(&user, "");
    let log = user.folder().join("keys.log");
    let program = Program::start(user.run(Some(&config)).env("SSLKEYLOGFILE", &log)).await;
    let mut client = RawClient::connect(program.address).await.unwrap();
    assert_eq!(client.connect_to(&format!("{HOST}:{}", site.origin.port())).await.unwrap().status, 200);
    let mut client = client.tls(&ClientTls::to(HOST).build()).await.unwrap();
    assert_eq!(client.get(HOST, "/").await.unwrap().status, 200);
    client.shutdown().await.unwrap();
    program.stop().await;
    assert!(!log.exists(), "{}", log.display());
}

/// `SSL_CERT_FILE` is what clients of the proxy set, and one shell often starts both.
#[tokio::test]
async fn the_clients_variables_do_not_become_upstream_anchors() {
    let Some(curl) = process::find("curl") else { return };
    let user = User::new();
    Program::start(user.run(None)).await.stop().await;
    let read = |name| std::fs::read_to_string(user.ca().join(name)).unwrap();
    let key = rcgen::KeyPair::from_pem(&read("ca.key")).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&read("ca.pem"), key).unwrap();
    let key = Key::p256();
    let leaf = rcgen::CertificateParams::new([HOST.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&rcgen::KeyPair::from_pem(&key.private_pem()).unwrap(), &issuer).unwrap();
    let own = Chain::of(vec![leaf.into()], key);
    let root = Ca::root("A private CA");
    let private = Leaf::named(HOST).signed_by(&root);
    let private_file = user.file("private.pem", &root.pem());
    for (chain, anchors) in [(own, user.ca().join("ca.pem")), (private, private_file)] {
        let origin = Origin::start(OriginConfig::new(chain).behaviour(Behaviour::Http1)).await;
        let program = Program::start(user.run(None).env("SSL_CERT_FILE", anchors)).await;
        let start = process::command(&curl, user.folder()).args(["-sSv", "--insecure", "--proxy"]);
        let start = start.arg(format!("http://{}", program.address));
        let done = start.arg(format!("https://{HOST}:{}/", origin.port())).run().await.with_code(56);
        done.says(&["< HTTP/1.1 502 Certificate chain of localhost is not trusted\r\n"]);
        program.stop().await;
    }
}

/// A listener of the command line may be open to everybody, too, by what the file says of clients.
#[tokio::test]
async fn a_listener_for_everybody() {
    let user = User::new();
    let everybody = "[access]\nclients = [\"0.0.0.0/0\"]\n";
    let listener = |address: &str| format!("[[listener]]\naddress = \"{address}\"\n");
    for (text, listen, times) in [
        (everybody.to_owned(), "0.0.0.0:0", 1),
        (everybody.to_owned(), "127.0.0.1:0", 0),
        (format!("{}{everybody}", listener("0.0.0.0:1")), "0.0.0.0:0", 1),
        (everybody.replace("0.0.0.0/0", "10.0.0.0/8"), "0.0.0.0:0", 0),
    ] {
        let config = user.file("pinproxy.toml", &text);
        let program = Program::start(user.run(Some(&config)).args(["--listen", listen])).await;
        let ended = program.stop().await;
        let told = "warning[W80]: access.clients lets every IPv4 address use 0.0.0.0:";
        assert_eq!(ended.err.matches(told).count(), times, "{listen} {text} {ended}");
    }
}
