//! A rotation of the CA, judged by clients that trust one CA alone: the current one or the next one, before the date and from
//! then on. Path building is theirs, and each has its own.

use super::*;

use crate::support::pki::{now, system_time};
use std::time::Duration;

/// How long before the date the proxy starts. Clients go by the real clock, and a leaf is valid an hour before it is issued.
const LEAD: Duration = Duration::from_secs(10 * 60);

/// A client, ready to fetch this URL through the proxy with this file of trusted CAs.
type Fetch = Box<dyn Fn(&TestProxy, &Path, u16) -> Start>;

fn curl() -> Option<Fetch> {
    let program = process::find("curl")?;
    Some(Box::new(move |proxy, ca, port| {
        let start = command(&program, proxy).args(["-sS", "--max-time", "60", "--proxy"]);
        start.arg(format!("http://{}", proxy.addr)).arg("--cacert").arg(ca).arg(url(port, "/balance"))
    }))
}

/// With GnuTLS, as Debian builds it.
fn wget() -> Option<Fetch> {
    let program = process::find("wget")?;
    Some(Box::new(move |proxy, ca, port| {
        let start = command(&program, proxy).env("https_proxy", format!("http://{}", proxy.addr));
        let start = start.args(["-q", "-O", "-", "--tries=1", "--ca-directory=/nonexistent"]);
        start.arg(format!("--ca-certificate={}", ca.display())).arg(url(port, "/balance"))
    }))
}

fn openssl() -> Option<Fetch> {
    let program = process::find("openssl")?;
    Some(Box::new(move |proxy, ca, port| {
        let request = format!("GET /balance HTTP/1.1\r\nHost: {BANK}\r\nConnection: close\r\n\r\n");
        command(&program, proxy)
            .args(["s_client", "-proxy"])
            .arg(proxy.addr.to_string())
            .arg("-connect")
            .arg(format!("{BANK}:{port}"))
            .args(["-servername", BANK, "-verify_hostname", BANK, "-verify_return_error", "-x509_strict"])
            .args(["-ign_eof", "-quiet", "-no-CApath", "-CAfile"])
            .arg(ca)
            .input(&request)
    }))
}

/// With the checks of Python 3.13.
fn python() -> Option<Fetch> {
    let program = process::find("python3")?;
    Some(Box::new(move |proxy, ca, port| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/foreign/fetch.py");
        let start = command(&program, proxy).env("HTTPS_PROXY", format!("http://{}", proxy.addr));
        start.env("SSL_CERT_FILE", ca).args([script, "urllib", "--strict"]).arg(url(port, "/balance"))
    }))
}

/// Its trust store is made where the file is, under its name.
fn java() -> Option<Fetch> {
    let program = process::find("java")?;
    Some(Box::new(move |proxy, ca, port| {
        let fetch = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/foreign/Fetch.java");
        command(&program, proxy)
            .arg(format!("-Dhttps.proxyHost={}", proxy.addr.ip()))
            .arg(format!("-Dhttps.proxyPort={}", proxy.addr.port()))
            .arg(format!("-Djavax.net.ssl.trustStore={}", ca.with_extension("p12").display()))
            .args(["-Djavax.net.ssl.trustStorePassword=changeit", "-XX:TieredStopAtLevel=1", fetch, "connection"])
            .arg(url(port, "/balance"))
    }))
}

/// A trust store of Java beside each of these files.
async fn trust_stores(proxy: &TestProxy, files: &[PathBuf]) -> Option<()> {
    let keytool = process::find("keytool")?;
    for file in files {
        let start =
            command(&keytool, proxy).args(["-importcert", "-noprompt", "-alias", "ca", "-storepass", "changeit"]);
        start.arg("-file").arg(file).arg("-keystore").arg(file.with_extension("p12")).run().await.with_code(0);
    }
    Some(())
}

/// What is different with a client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peculiarity {
    None,
    /// It reads no PEM.
    HasStores,
    /// It takes no CA below one that lets none be there, whatever the names of the two: `ca rotate` warns of that.
    CountsSelfIssued,
}

/// The kinds of CA that there are to rotate: made by pinproxy, by an operator with an RSA key, and by one who lets no CA be
/// below it, which is the last column.
fn kinds() -> [(&'static str, Option<Ca>, bool); 3] {
    let own = |name, key| Ca::builder(name).key(&key);
    [
        ("made by pinproxy", None, false),
        ("with an RSA key", Some(own("The operator's own", Key::rsa2048()).self_signed()), false),
        ("with pathlen:0", Some(own("The operator's last", Key::p256()).path_len(0).self_signed()), true),
    ]
}

/// Whether a client that trusts this file alone gets what it asks for.
async fn gets(fetch: &Fetch, proxy: &TestProxy, ca: &Path, port: u16) -> (bool, String) {
    let done = fetch(proxy, ca, port).run().await;
    (done.out.contains(&format!("GET /balance {BANK}")), done.to_string())
}

/// All four combinations, for each kind of CA; and that a client which trusts neither CA gets nothing.
async fn works_with_either(fetch: Option<Fetch>, peculiarity: Peculiarity) {
    let Some(fetch) = fetch else { return };
    let bank = Bank::new();
    let origin = bank.origin().await;
    for (kind, ca, is_last) in kinds() {
        let start = now();
        let builder = bank.builder(&bank.chain.pin()).at(system_time(start)).rotating(LEAD);
        let proxy = match &ca {
            Some(ca) => builder.ca(ca).start().await,
            None => builder.start().await,
        };
        let folder = proxy.folder.path();
        let stranger = folder.join("stranger.pem");
        std::fs::write(&stranger, Ca::root("A stranger").pem()).expect("it is written");
        let files = [folder.join("ca/ca.pem"), folder.join("ca/ca-next.pem"), stranger];
        if peculiarity == Peculiarity::HasStores && trust_stores(&proxy, &files).await.is_none() {
            return;
        }
        for passed in [Duration::ZERO, LEAD + Duration::from_secs(1)] {
            proxy.set_time(system_time(start + passed));
            let has_come = passed > LEAD;
            let old = !(is_last && has_come && peculiarity == Peculiarity::CountsSelfIssued);
            for (file, expected) in files.iter().zip([old, true, false]) {
                let (got, told) = gets(&fetch, &proxy, file, origin.port()).await;
                assert_eq!(got, expected, "{kind}, after {passed:?}, with {}: {told}", file.display());
            }
        }
    }
}

#[tokio::test]
async fn curl_works_with_either() {
    works_with_either(curl(), Peculiarity::None).await;
}

#[tokio::test]
async fn wget_works_with_either() {
    works_with_either(wget(), Peculiarity::CountsSelfIssued).await;
}

#[tokio::test]
async fn openssl_with_strict_checks_works_with_either() {
    works_with_either(openssl(), Peculiarity::None).await;
}

#[tokio::test]
async fn python_with_strict_checks_works_with_either() {
    works_with_either(python(), Peculiarity::None).await;
}

#[tokio::test]
async fn java_works_with_either() {
    works_with_either(java(), Peculiarity::HasStores).await;
}
