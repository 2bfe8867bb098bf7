//! Origins that are real servers: nginx, which most sites run behind, and `openssl s_server`.

use super::*;

use crate::support::client::{ClientTls, RawClient};
use crate::support::origin::pattern;
use pinproxy::report::Stage;
use std::net::{Ipv4Addr, TcpListener};

/// A running server, and its files.
pub(super) struct Server {
    /// The port of 127.0.0.1 that it listens on.
    pub(super) port: u16,
    _running: Running,
    _folder: tempfile::TempDir,
}

/// How many free ports are tried for a server that cannot choose one itself. Another program may be faster.
const PORTS_TRIED: usize = 5;

/// nginx with HTTP/1.1 and HTTP/2, in the foreground, as one process, with every file in its own folder.
fn nginx_configuration(port: u16) -> String {
    format!(
        r"
        daemon off;
        master_process off;
        pid nginx.pid;
        error_log stderr notice;
        events {{ worker_connections 64; }}
        http {{
            access_log off;
            client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi; scgi_temp_path scgi;
            server {{
                listen 127.0.0.1:{port} ssl http2;
                server_name {BANK};
                ssl_certificate chain.pem;
                ssl_certificate_key key.pem;
                ssl_protocols TLSv1.2 TLSv1.3;
                client_max_body_size 0;
                default_type text/plain;
                location / {{ return 200 '$request_method $uri $host $server_protocol $ssl_server_name\n'; }}
                location /files {{ root .; }}
                location /bank.Accounts/ {{
                    default_type application/grpc;
                    root .;
                    error_page 405 =200 $uri;
                }}
            }}
        }}
        "
    )
}

/// nginx as the bank's server, with these files below its root.
pub(super) async fn nginx(bank: &Bank, files: &[(&str, &[u8])]) -> Option<Server> {
    let program = process::find("nginx")?;
    for _ in 0..PORTS_TRIED {
        let folder = tempfile::tempdir().expect("a temporary folder");
        bank.chain.write_to(folder.path()).expect("the chain is written");
        for (name, bytes) in files {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("the folder is made");
            std::fs::write(file, bytes).expect("the file is written");
        }
        let port = free_port();
        let configuration = folder.path().join("nginx.conf");
        std::fs::write(&configuration, nginx_configuration(port)).expect("the file is written");
        let start = process::command(&program, folder.path()).args(["-e", "stderr", "-p"]).arg(folder.path());
        let mut running = start.arg("-c").arg(&configuration).start();
        if running.listens(port).await {
            return Some(Server { port, _running: running, _folder: folder });
        }
        let ended = running.ended().await;
        assert!(ended.err.contains("Address already in use"), "nginx does not start: {ended}");
    }
    panic!("{PORTS_TRIED} ports were free and then were not");
}

/// `openssl s_server`, which describes each connection on a web page.
async fn s_server(program: &Path, bank: &Bank, options: &[&str]) -> Server {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (leaf, issuers) = (bank.chain.clone().leaf_only(), bank.chain.clone().reorder(&[1]));
    for (name, text) in
        [("leaf.pem", leaf.pem()), ("issuers.pem", issuers.pem()), ("key.pem", bank.chain.key.private_pem())]
    {
        std::fs::write(folder.path().join(name), text).expect("the file is written");
    }
    let start = process::command(program, folder.path()).folder(folder.path());
    let start = start.args(["s_server", "-accept", "127.0.0.1:0", "-www", "-cert", "leaf.pem", "-key", "key.pem"]);
    let mut running = start.args(["-cert_chain", "issuers.pem"]).args(options).start();
    let told = running.out.until("ACCEPT 127.0.0.1:").await;
    let port = told.trim().rsplit(':').next().and_then(|port| port.parse().ok());
    Server { port: port.unwrap_or_else(|| panic!("no port in {told}")), _running: running, _folder: folder }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn fetch(curl: &Path, proxy: &TestProxy, server: &Server, path: &str) -> Start {
    curl::curl(curl, proxy).arg(url(server.port, path))
}

/// Asserts that the same server is refused where another key is pinned.
async fn is_refused(curl: &Path, bank: &Bank, server: &Server) {
    let mut proxy = bank.refusing_proxy().await;
    let done = fetch(curl, &proxy, server, "/").arg("-v").run().await.with_code(56);
    done.says(&[&format!("< HTTP/1.1 502 {REFUSED}\r\n")]);
    refused(&mut proxy).await;
}

#[tokio::test]
async fn nginx_speaks_http_2_and_http_1_with_ecdsa_and_with_rsa() {
    let Some(curl) = process::find("curl") else { return };
    for new_key in [Key::p256 as fn() -> Key, Key::p384, Key::rsa2048] {
        let bank = Bank::with_keys(new_key);
        let Some(nginx) = nginx(&bank, &[]).await else { return };
        let mut proxy = bank.proxy().await;
        for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
            let done = fetch(&curl, &proxy, &nginx, "/balance").arg(option).run().await.with_code(0);
            let shown = if version == "2" { "HTTP/2.0" } else { "HTTP/1.1" };
            let expected = format!("GET /balance {BANK} {shown} {BANK}\n|200 200 HTTP/{version}\n");
            assert_eq!(done.out, expected, "{done}");
            allowed(&mut proxy).await;
        }
        is_refused(&curl, &bank, &nginx).await;
    }
}

#[tokio::test]
async fn a_large_file_comes_through_http_2_whole() {
    const LENGTH: usize = 5_000_000;
    let Some(curl) = process::find("curl") else { return };
    let bank = Bank::new();
    let file = pattern(0, LENGTH);
    let Some(nginx) = nginx(&bank, &[("files", &file)]).await else { return };
    let mut proxy = bank.proxy().await;
    let received = proxy.folder.path().join("received");
    let start = fetch(&curl, &proxy, &nginx, "/files").arg("--http2").arg("--output").arg(&received);
    let done = start.run().await.with_code(0);
    assert_eq!(done.out, "|200 200 HTTP/2\n", "{done}");
    assert!(std::fs::read(&received).unwrap() == file, "the file is another one");
    allowed(&mut proxy).await;
}

#[tokio::test]
async fn a_call_in_the_manner_of_grpc() {
    let Some(curl) = process::find("curl") else { return };
    let bank = Bank::new();
    // One message of gRPC: not compressed, three bytes.
    let message = b"\0\0\0\0\x03abc";
    let Some(nginx) = nginx(&bank, &[("bank.Accounts/Get", message)]).await else { return };
    let mut proxy = bank.proxy().await;
    let sent = proxy.folder.path().join("message");
    std::fs::write(&sent, message).unwrap();
    let start = fetch(&curl, &proxy, &nginx, "/bank.Accounts/Get").args(["--http2-prior-knowledge", "-v"]);
    let start = start.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary"]);
    let done = start.arg(format!("@{}", sent.display())).run().await.with_code(0);
    assert_eq!(done.out, format!("{}|200 200 HTTP/2\n", String::from_utf8_lossy(message)), "{done}");
    done.says(&["< HTTP/2 200", "< content-type: application/grpc"]);
    allowed(&mut proxy).await;
}

#[tokio::test]
async fn s_server_with_either_version_of_tls() {
    let (Some(openssl), Some(curl)) = (process::find("openssl"), process::find("curl")) else { return };
    let bank = Bank::new();
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let server = s_server(&openssl, &bank, &[option]).await;
        let mut proxy = bank.proxy().await;
        let done = fetch(&curl, &proxy, &server, "/").run().await.with_code(0);
        assert!(done.out.contains(&format!("    Protocol  : {version}\n")), "{done}");
        allowed(&mut proxy).await;
        is_refused(&curl, &bank, &server).await;
    }
}

/// aws-lc makes no such key, and signs with none: OpenSSL does both. Its size is why the signature of the handshake is not
/// believed; that somebody has forged it would be another matter.
#[tokio::test]
async fn s_server_with_a_key_that_is_too_short() {
    const WORDS: &str = "the upstream's certificate has an RSA key of 1024 bits, and signatures are verified with keys of 2048 \
                         to 8192 bits only";
    let Some(openssl) = process::find("openssl") else { return };
    let root = Ca::root("The root");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in [("root.pem", root.pem()), ("root.key", root.key().private_pem())] {
        std::fs::write(folder.path().join(name), text).expect("the file is written");
    }
    let name = format!("subjectAltName=DNS:{BANK}");
    let start = process::command(&openssl, folder.path()).folder(folder.path());
    let start = start.args(["req", "-x509", "-newkey", "rsa:1024", "-nodes", "-CA", "root.pem", "-CAkey", "root.key"]);
    let start = start.args(["-subj", "/CN=bank", "-addext", &name, "-addext", "basicConstraints=CA:FALSE"]);
    start.args(["-keyout", "key.pem", "-out", "leaf.pem"]).run().await.with_code(0);
    for version in ["-tls1_2", "-tls1_3"] {
        let start = process::command(&openssl, folder.path()).folder(folder.path());
        let start = start.args(["s_server", "-accept", "127.0.0.1:0", "-www", "-cert", "leaf.pem", "-key", "key.pem"]);
        let mut running = start.args(["-cipher", "DEFAULT@SECLEVEL=0", version]).start();
        let told = running.out.until("ACCEPT 127.0.0.1:").await;
        let port: u16 = told.trim().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let mut proxy = ProxyBuilder::new("").trusting([&root]).start().await;
        let mut client = RawClient::connect(proxy.addr).await.expect("the proxy listens");
        let reply = client.connect_to(&format!("{BANK}:{port}")).await.expect("a reply");
        let error = format!("pinproxy; error=tls_certificate_error; details=\"{WORDS}\"");
        assert_eq!((reply.status, reply.header("proxy-status")), (502, Some(error.as_str())), "{version}");
        let event = proxy.told().await.event;
        let told = (event.decision, event.failure_class, event.stage, event.detail.as_deref(), event.bytes.upstream);
        let expected = (Decided::Refuse, Some(FailureClass::Chain), Stage::UpstreamTls, Some(WORDS), 0);
        assert_eq!(told, expected, "{version}");
    }
}

/// OpenSSL answers a connection that is cut with a fatal alert. It was the client that cut it.
#[tokio::test]
async fn s_server_that_answers_a_cut_with_an_alert() {
    let Some(openssl) = process::find("openssl") else { return };
    let bank = Bank::new();
    let server = s_server(&openssl, &bank, &[]).await;
    let mut proxy = bank.proxy().await;
    let client = RawClient::connect(proxy.addr).await.expect("the proxy listens");
    let mut client = client;
    let reply = client.connect_to(&format!("{BANK}:{}", server.port)).await.expect("a reply");
    assert_eq!(reply.status, 200);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(proxy.ca.clone()).expect("the CA of the proxy is an anchor");
    let mut client = client.tls(&ClientTls::to(BANK).roots(roots).build()).await.expect("a session");
    client.send(b"GET /half HT").await.expect("the session is open");
    client.truncate().await.expect("the session is open");
    let event = proxy.told().await.event;
    let ended = event.ended.as_deref().expect("the relay ended");
    let words =
        "client closed without close_notify; the connection to the upstream failed then: received fatal alert: ";
    assert!(ended.starts_with(words), "{event}");
}
