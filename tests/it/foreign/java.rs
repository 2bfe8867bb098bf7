//! Java: its two HTTP clients, which ignore the environment and are configured by system properties.

use super::*;

use pinproxy::trust::{jks, pkcs12};

/// A client for each of its ways to fetch; see the file itself.
const FETCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/foreign/Fetch.java");

/// A trust store with the proxy's CA alone, as `keytool` makes it.
async fn trust_store(keytool: &Path, proxy: &TestProxy) -> PathBuf {
    let store = proxy.folder.path().join("trust.p12");
    let start =
        command(keytool, proxy).args(["-importcert", "-noprompt", "-alias", "pinproxy", "-storepass", "changeit"]);
    start.arg("-file").arg(ca_file(proxy)).arg("-keystore").arg(&store).run().await.with_code(0);
    store
}

/// Java, ready to fetch through the proxy, if it is installed.
pub(super) async fn java(proxy: &TestProxy) -> Option<impl Fn(&str, &str) -> Start + use<>> {
    let keytool = process::find("keytool")?;
    java_with(proxy, trust_store(&keytool, proxy).await)
}

/// The same with this trust store.
fn java_with(proxy: &TestProxy, store: PathBuf) -> Option<impl Fn(&str, &str) -> Start + use<>> {
    let java = process::find("java")?;
    let (home, address) = (proxy.folder.path().to_owned(), proxy.addr);
    Some(move |way: &str, url: &str| {
        process::command(&java, &home)
            .arg(format!("-Dhttps.proxyHost={}", address.ip()))
            .arg(format!("-Dhttps.proxyPort={}", address.port()))
            .arg(format!("-Djavax.net.ssl.trustStore={}", store.display()))
            .args(["-Djavax.net.ssl.trustStorePassword=changeit", "-XX:TieredStopAtLevel=1", FETCH, way, url])
    })
}

#[tokio::test]
async fn http_client_and_url_connection_pass_with_the_pinned_key() {
    let bank = Bank::new();
    let origin = bank.origin().await;
    let mut proxy = bank.proxy().await;
    let Some(java) = java(&proxy).await else { return };
    for way in ["client", "connection"] {
        let done = java(way, &url(origin.port(), "/balance")).run().await.with_code(0);
        assert!(done.out.ends_with(&format!("GET /balance {BANK}:{}\n", origin.port())), "{done}");
        allowed(&mut proxy).await;
    }
}

/// As `pinproxy ca export` writes them.
#[tokio::test]
async fn both_forms_of_trust_stores_are_trusted() {
    let bank = Bank::new();
    let origin = bank.origin().await;
    let mut proxy = bank.proxy().await;
    let (folder, ca) = (proxy.folder.path().to_owned(), [proxy.ca.clone()]);
    let stores = [
        ("exported.jks", jks::trust_store(&ca, "changeit").expect("a store")),
        ("exported.p12", pkcs12::trust_store(&ca, "changeit").expect("a store")),
    ];
    for (name, octets) in stores {
        std::fs::write(folder.join(name), octets).expect("a file");
        let Some(java) = java_with(&proxy, folder.join(name)) else { return };
        java("connection", &url(origin.port(), "/balance")).run().await.with_code(0);
        allowed(&mut proxy).await;
    }
}

#[tokio::test]
async fn their_exceptions_tell_of_the_refusal() {
    let bank = Bank::new();
    let origin = bank.origin().await;
    let mut proxy = bank.refusing_proxy().await;
    let Some(java) = java(&proxy).await else { return };
    let connection = format!("Unable to tunnel through proxy. Proxy returns \"HTTP/1.1 502 {REFUSED}\"");
    // HttpClient keeps the reason to itself; host and pinset are then in the proxy's log only.
    for (way, text) in [("connection", connection.as_str()), ("client", "java.io.IOException: Tunnel failed, got: 502")]
    {
        let done = java(way, &url(origin.port(), "/balance")).run().await.with_code(1);
        done.says(&[text]);
        refused(&mut proxy).await;
    }
}

/// Java looks at the signature of the CA, and takes in it what it offers.
#[tokio::test]
async fn without_ecdsa_it_needs_a_ca_with_an_rsa_key() {
    let bank = Bank::new();
    let origin = bank.origin().await;
    let rsa = Ca::builder("The operator's own").key(&Key::rsa2048()).self_signed();
    for (mut proxy, code) in [(bank.proxy().await, 1), (bank.builder(&bank.chain.pin()).ca(&rsa).start().await, 0)] {
        let Some(java) = java(&proxy).await else { return };
        let fetch = java("connection", &url(origin.port(), "/balance"));
        let schemes = "-Djdk.tls.client.SignatureSchemes=rsa_pss_rsae_sha256,rsa_pkcs1_sha256";
        let done = fetch.env("JDK_JAVA_OPTIONS", schemes).run().await.with_code(code);
        let event = proxy.told().await.event;
        if code == 0 {
            assert_eq!((event.decision, event.detail), (Decided::Allow, None), "{done}");
        } else {
            done.says(&["Algorithm constraints check failed on signature algorithm: SHA256withECDSA"]);
            let detail = event.detail.expect("a failure has one");
            assert!(
                detail.contains("; it offers RSA signatures and no ECDSA, which is what the CA's key makes, so"),
                "{detail}"
            );
        }
    }
}
