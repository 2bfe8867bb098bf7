//! Python: requests and urllib, configured by the environment as most programs are.

use super::*;

/// Fetches with one of two libraries; see the file itself.
const FETCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/foreign/fetch.py");

/// The interpreter: that of `PINPROXY_TEST_PYTHON`, which has requests, or the one on the `PATH`.
pub(crate) fn python() -> Option<PathBuf> {
    std::env::var_os("PINPROXY_TEST_PYTHON").map(PathBuf::from).or_else(|| process::find("python3"))
}

/// Both libraries with the interpreter that has them.
async fn libraries(proxy: &TestProxy) -> Option<(PathBuf, [&'static str; 2])> {
    let python = python()?;
    if command(&python, proxy).args(["-c", "import requests"]).run().await.code != Some(0) {
        process::skipped("Python has no package requests; name an interpreter that has in PINPROXY_TEST_PYTHON");
        return None;
    }
    Some((python, ["requests", "urllib"]))
}

fn fetch(python: &Path, proxy: &TestProxy, library: &str) -> Start {
    let ca = ca_file(proxy);
    command(python, proxy)
        .env("HTTPS_PROXY", format!("http://{}", proxy.addr))
        .env("REQUESTS_CA_BUNDLE", &ca)
        .env("SSL_CERT_FILE", &ca)
        .args([FETCH, library])
}

#[tokio::test]
async fn the_pinned_key_passes_with_strict_checks_too() {
    let bank = Bank::new();
    let origin = bank.origin().await;
    let mut proxy = bank.proxy().await;
    let Some((python, libraries)) = libraries(&proxy).await else { return };
    for library in libraries {
        for options in [&[][..], &["--strict"]] {
            let start = fetch(&python, &proxy, library).args(options).arg(url(origin.port(), "/balance"));
            let done = start.run().await.with_code(0);
            assert_eq!(done.out, format!("GET /balance {BANK}:{}\n", origin.port()), "{done}");
            allowed(&mut proxy).await;
        }
    }
}

#[tokio::test]
async fn the_exception_tells_host_pinset_and_reason() {
    let bank = Bank::new();
    let origin = bank.origin().await;
    let mut proxy = bank.refusing_proxy().await;
    let Some((python, libraries)) = libraries(&proxy).await else { return };
    for library in libraries {
        let done = fetch(&python, &proxy, library).arg(url(origin.port(), "/balance")).run().await.with_code(1);
        done.says(&[&format!("Tunnel connection failed: 502 {REFUSED}")]);
        refused(&mut proxy).await;
    }
}
