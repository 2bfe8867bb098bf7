//! curl, which most scripts use. Of a refused CONNECT it prints the status at best: reason and body are for `-v`.

use super::*;

/// curl as a script calls it: silent but for errors, and with one line about the connection at the end.
pub(super) fn curl(program: &Path, proxy: &TestProxy) -> Start {
    command(program, proxy)
        .args(["-sS", "--max-time", "60", "-w", "|%{http_connect} %{http_code} HTTP/%{http_version}\\n", "--proxy"])
        .arg(format!("http://{}", proxy.addr))
        .arg("--cacert")
        .arg(ca_file(proxy))
}

#[tokio::test]
async fn http_1_over_each_version_of_tls() {
    let Some(program) = process::find("curl") else { return };
    let bank = Bank::new();
    let origin = bank.origin().await;
    let mut proxy = bank.proxy().await;
    for (version, expected) in [(["--tlsv1.2", "--tls-max", "1.2"], "1.2"), (["--tlsv1.3", "--tls-max", "1.3"], "1.3")]
    {
        let start = curl(&program, &proxy).args(version).arg("--http1.1").arg(url(origin.port(), "/balance"));
        let done = start.run().await.with_code(0);
        assert_eq!(done.out, format!("GET /balance {BANK}:{}\n|200 200 HTTP/1.1\n", origin.port()), "{done}");
        let event = proxy.told().await.event;
        assert_eq!((event.decision, event.client_tls), (Decided::Allow, Some(expected)), "{event:?}");
    }
}

#[tokio::test]
async fn uploads_arrive_whole() {
    const LENGTH: u64 = 3_000_000;
    let Some(program) = process::find("curl") else { return };
    let bank = Bank::new();
    let origin = bank.origin().await;
    let mut proxy = bank.proxy().await;
    let file = proxy.folder.path().join("statement");
    std::fs::write(&file, vec![b'x'; 3_000_000]).unwrap();
    let start = curl(&program, &proxy).arg("--http1.1").arg("--upload-file").arg(&file);
    let done = start.arg(url(origin.port(), "/statement")).run().await.with_code(0);
    assert!(done.out.starts_with("PUT /statement "), "{done}");
    allowed(&mut proxy).await;
    let tally = origin.until_ended(1).await.unwrap();
    assert!(tally.received() > LENGTH, "{} bytes", tally.received());
}

#[tokio::test]
async fn a_refusal_is_an_exit_code_and_a_status_and_with_v_the_reason() {
    let Some(program) = process::find("curl") else { return };
    let bank = Bank::new();
    let origin = bank.origin().await;
    let mut proxy = bank.refusing_proxy().await;

    let done = curl(&program, &proxy).arg(url(origin.port(), "/balance")).run().await.with_code(56);
    assert_eq!(done.err, "curl: (56) CONNECT tunnel failed, response 502\n");
    assert_eq!(done.out, "|502 000 HTTP/0\n");
    refused(&mut proxy).await;

    let done = curl(&program, &proxy).arg("-v").arg(url(origin.port(), "/balance")).run().await.with_code(56);
    done.says(&[&format!("< HTTP/1.1 502 {REFUSED}\r\n"), "< proxy-status: pinproxy; error=tls_certificate_error"]);
    refused(&mut proxy).await;
    assert_eq!(origin.until_ended(2).await.unwrap().received(), 0);
}

#[tokio::test]
async fn the_body_of_a_refusal_comes_as_json_on_request() {
    let Some(program) = process::find("curl") else { return };
    let bank = Bank::new();
    let origin = bank.origin().await;
    let mut proxy = bank.refusing_proxy().await;
    let start = curl(&program, &proxy).args(["-v", "--proxy-header", "Accept: application/json"]);
    let done = start.arg(url(origin.port(), "/balance")).run().await.with_code(56);
    done.says(&["< content-type: application/json"]);
    refused(&mut proxy).await;
}
