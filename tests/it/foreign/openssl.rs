//! openssl: `s_client`, which operators look with, and `s_server`, the plainest of origins.

use super::*;

fn s_client(program: &Path, proxy: &TestProxy, port: u16) -> Start {
    command(program, proxy)
        .args(["s_client", "-proxy"])
        .arg(proxy.addr.to_string())
        .arg("-connect")
        .arg(format!("{BANK}:{port}"))
        .args(["-servername", BANK, "-verify_hostname", BANK, "-verify_return_error", "-showcerts", "-CAfile"])
        .arg(ca_file(proxy))
}

#[tokio::test]
async fn s_client_shows_a_leaf_of_our_ca() {
    let Some(program) = process::find("openssl") else { return };
    let bank = Bank::new();
    let origin = bank.origin().await;
    let mut proxy = bank.proxy().await;
    let request = format!("GET /balance HTTP/1.1\r\nHost: {BANK}\r\nConnection: close\r\n\r\n");
    let start = s_client(&program, &proxy, origin.port()).arg("-ign_eof").input(&request);
    let done = start.run().await.with_code(0);
    for part in [
        &format!(" 0 s:CN = {BANK}\n   i:O = pinproxy, CN = pinproxy local CA "),
        "Verification: OK\n",
        &format!("Verified peername: {BANK}\n"),
        "Server public key is 256 bit\n",
        &format!("GET /balance {BANK}\n"),
    ] {
        assert!(done.out.contains(part), "{part:?} is missing in {done}");
    }
    assert!(!done.out.contains(" 1 s:"), "the CA itself is not sent along: {done}");
    allowed(&mut proxy).await;
}

#[tokio::test]
async fn s_client_without_ecdsa_gets_an_rsa_leaf() {
    let Some(program) = process::find("openssl") else { return };
    let bank = Bank::new();
    let origin = bank.origin().await;
    let mut proxy = bank.proxy().await;
    let start = s_client(&program, &proxy, origin.port());
    let old = ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256"];
    let done = start.args(old).run().await.with_code(0);
    for part in [
        "   a:PKEY: rsaEncryption, 2048 (bit)",
        "Peer signature type: RSA-PSS\n",
        "New, TLSv1.2, Cipher is ECDHE-RSA-AES128-GCM-SHA256\n",
        "Verification: OK\n",
        &format!("Verified peername: {BANK}\n"),
    ] {
        assert!(done.out.contains(part), "{part:?} is missing in {done}");
    }
    assert_eq!(proxy.told().await.event.decision, Decided::Allow);
}

#[tokio::test]
async fn s_client_prints_the_refusal() {
    let Some(program) = process::find("openssl") else { return };
    let bank = Bank::new();
    let origin = bank.origin().await;
    let mut proxy = bank.refusing_proxy().await;
    let done = s_client(&program, &proxy, origin.port()).run().await.with_code(1);
    done.says(&[&format!("s_client: HTTP CONNECT failed, reason= 502 {REFUSED}\n")]);
    refused(&mut proxy).await;
}
