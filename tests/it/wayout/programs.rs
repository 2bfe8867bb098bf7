//! Programs of others as parents, and as hosts that ask for a certificate.

use super::*;
use crate::support::process::{self, Running};
use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::TempDir;

/// How many free ports are tried for a program that cannot choose one itself.
const PORTS_TRIED: usize = 5;

/// A running program and its files.
struct Program {
    port: u16,
    _running: Running,
    _folder: TempDir,
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// Starts a program in a folder of its own on a free port; `None` where it is not installed.
async fn start(name: &str, prepare: impl Fn(&Path, u16) -> Vec<String>) -> Option<Program> {
    let program = process::find(name)?;
    for _ in 0..PORTS_TRIED {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let arguments = prepare(folder.path(), port);
        let start = process::command(&program, folder.path()).folder(folder.path());
        let mut running = start.args(arguments).start();
        if running.listens(port).await {
            return Some(Program { port, _running: running, _folder: folder });
        }
        let ended = running.ended().await;
        assert!(ended.err.contains("in use"), "{name} does not start: {ended}");
    }
    panic!("{PORTS_TRIED} ports were free and then were not");
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("the file is written");
    file.display().to_string()
}

/// squid as anybody runs it, with its files in a folder of its own: it looks names up in a file.
async fn squid(password: Option<&str>) -> Option<Program> {
    start("squid", |folder, port| {
        // Started by root it becomes another user.
        std::fs::set_permissions(folder, Permissions::from_mode(0o777)).expect("the folder is open");
        let hosts = write(folder, "hosts", &format!("127.0.0.1 localhost {HOST}\n"));
        let auth = password.map(|password| {
            // What squid ships for this needs files of the system; a helper is a program that says OK or ERR to each line.
            let script = format!("#!/bin/sh\nwhile read user rest; do [ \"$user $rest\" = 'ada {password}' ] && echo OK || echo ERR; done\n");
            let helper = write(folder, "helper", &script);
            format!("auth_param basic program /bin/sh {helper}\nacl known proxy_auth REQUIRED\nhttp_access allow known\n")
        });
        let shown = folder.display();
        let text = format!(
            "http_port 127.0.0.1:{port}\nhosts_file {hosts}\npid_filename {shown}/pid\ncache deny all\naccess_log none\n\
             cache_log {shown}/cache.log\ncoredump_dir {shown}\nshutdown_lifetime 0 seconds\npinger_enable off\n\
             visible_hostname parent.example\n{}http_access deny blocked\n",
            auth.unwrap_or_else(|| "acl blocked dstdomain blocked.example\nhttp_access deny blocked\nhttp_access allow all\n".into())
        );
        let text = if password.is_some() { text.replace("http_access deny blocked\n", "http_access deny all\n") } else { text };
        let configuration = write(folder, "squid.conf", &text);
        vec!["-N".into(), "-f".into(), configuration]
    })
    .await
}

#[tokio::test]
async fn squid_as_the_parent() {
    let Some(parent) = squid(None).await else { return };
    let bank = Bank::new();
    let origin = bank.origin().await;
    let url = format!("http://127.0.0.1:{}", parent.port);
    let mut proxy = bank.builder(&format!("parent = \"{url}\""), "").start().await;
    let event = conversed(&mut proxy, &format!("{HOST}:{}", origin.port())).await;
    assert_eq!((event.decision, event.parent.as_deref().map(String::as_str)), (Decided::Allow, Some(url.as_str())));
    let (reply, event) = asked(&mut proxy, "blocked.example:443").await;
    assert_eq!((reply.status, proxy_error(&reply)), (502, "http_request_error"), "{event}");
    let words = format!("the parent proxy {url} refuses: it answers 403 Forbidden");
    assert_eq!(event.detail.as_deref(), Some(words.as_str()));
    let (reply, event) = asked(&mut proxy, "127.0.0.1:1").await;
    assert_eq!((reply.status, event.stage), (502, Stage::Dial), "{event}");
    assert!(event.detail.as_deref().unwrap().contains("refuses: it answers 50"), "{event}");
    assert_eq!(origin.tally().tcp_connections(), 1);
}

#[tokio::test]
async fn squid_that_wants_a_password() {
    let Some(parent) = squid(Some("s3cret")).await else { return };
    let bank = Bank::new();
    let origin = bank.origin().await;
    let target = format!("{HOST}:{}", origin.port());
    for (userinfo, words) in [
        ("ada:s3cret@", ""),
        ("ada:wrong@", "wants other credentials than those that it was given"),
        ("", "wants credentials, and has been given none"),
    ] {
        let url = format!("http://{userinfo}127.0.0.1:{}", parent.port);
        let mut proxy = bank.builder(&format!("parent = \"{url}\""), "").start().await;
        if words.is_empty() {
            assert_eq!(conversed(&mut proxy, &target).await.decision, Decided::Allow);
        } else {
            let (reply, event) = asked(&mut proxy, &target).await;
            assert_eq!((reply.status, proxy_error(&reply)), (502, "proxy_configuration_error"), "{event}");
            let detail = event.detail.as_deref().unwrap();
            assert!(detail.ends_with(words) && !detail.contains("wrong"), "{detail}");
        }
    }
    assert_eq!(origin.tally().tcp_connections(), 1);
}

/// It answers in HTTP/1.0.
#[tokio::test]
async fn tinyproxy_as_the_parent() {
    let prepare = |folder: &Path, port: u16| {
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\nMaxClients 20\nBasicAuth ada s3cret\n"
        );
        vec!["-d".into(), "-c".into(), write(folder, "tinyproxy.conf", &text)]
    };
    let Some(parent) = start("tinyproxy", prepare).await else { return };
    let bank = Bank::new();
    let origin = bank.origin().await;
    // It looks names up by the system, which knows nothing of the bank: here it is asked for an address.
    let upstream = format!("parent = \"http://ada:s3cret@127.0.0.1:{}\"", parent.port);
    let access = format!("[access]\ndestinations_deny = [\"metadata\"]\nports_allow = [{}]", origin.port());
    let mut proxy = bank.builder(&upstream, &access).name(HOST, &["127.0.0.1"]).start().await;
    let event = conversed(&mut proxy, &format!("{HOST}:{}", origin.port())).await;
    assert_eq!((event.decision, event.upstream_address), (Decided::Allow, Some(origin.addr())), "{event}");
    let upstream = format!("parent = \"http://ada:wrong@127.0.0.1:{}\"", parent.port);
    let mut proxy = bank.builder(&upstream, "").start().await;
    let (reply, event) = asked(&mut proxy, &format!("{HOST}:443")).await;
    assert_eq!(reply.status, 502, "{event}");
    assert!(event.detail.as_deref().unwrap().contains("the parent proxy http://127.0.0.1:"), "{event}");
}

#[tokio::test]
async fn microsocks_as_the_parent() {
    let prepare = |_: &Path, port: u16| {
        ["-i", "127.0.0.1", "-p", &port.to_string(), "-u", "ada", "-P", "s3cret"].map(str::to_owned).to_vec()
    };
    let Some(parent) = start("microsocks", prepare).await else { return };
    let bank = Bank::new();
    let origin = bank.origin().await;
    let access = format!("[access]\ndestinations_deny = [\"metadata\"]\nports_allow = [{}, 443]", origin.port());
    let upstream = format!("parent = \"socks5://ada:s3cret@127.0.0.1:{}\"", parent.port);
    let mut proxy = bank.builder(&upstream, &access).name(HOST, &["127.0.0.1"]).start().await;
    let event = conversed(&mut proxy, &format!("{HOST}:{}", origin.port())).await;
    assert_eq!((event.decision, event.upstream_address), (Decided::Allow, Some(origin.addr())), "{event}");
    // Names that it cannot look up, and credentials that are not its own.
    let mut proxy = bank.builder(&upstream, "").start().await;
    let (reply, event) = asked(&mut proxy, "nobody.invalid:443").await;
    assert_eq!((reply.status, event.failure_class), (502, Some(FailureClass::Unreachable)), "{event}");
    let upstream = format!("parent = \"socks5://ada:wrong@127.0.0.1:{}\"", parent.port);
    let mut proxy = bank.builder(&upstream, "").start().await;
    let (reply, event) = asked(&mut proxy, &format!("{HOST}:443")).await;
    assert_eq!((reply.status, proxy_error(&reply)), (502, "proxy_configuration_error"), "{event}");
}

/// OpenSSL as a host that asks for a certificate and says whose it was shown.
#[tokio::test]
async fn openssl_is_shown_the_client_certificate() {
    let Some(openssl) = process::find("openssl") else { return };
    let bank = Bank::new();
    let clients = Ca::root("the bank's clients");
    let known = Leaf::named("known.client.example")
        .extended_key_usages(&[rcgen::ExtendedKeyUsagePurpose::ClientAuth])
        .signed_by(&clients);
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in
        [("leaf.pem", bank.chain.pem()), ("key.pem", bank.chain.key.private_pem()), ("clients.pem", clients.pem())]
    {
        write(folder.path(), name, &text);
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let start = process::command(&openssl, folder.path()).folder(folder.path());
        let start = start.args(["s_server", "-accept", "127.0.0.1:0", "-www", "-cert", "leaf.pem", "-key", "key.pem"]);
        let mut running =
            start.args(["-CAfile", "clients.pem", "-Verify", "2", "-verify_return_error", version]).start();
        let told = running.out.until("ACCEPT 127.0.0.1:").await;
        let port: u16 = told.trim().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        for (certificates, shown) in [
            ("{ hosts = [\"*.bank.example\"], certificate = \"known.pem\", key = \"known.key\" }", true),
            ("{ hosts = [\"other.example\"], certificate = \"known.pem\", key = \"known.key\" }", false),
        ] {
            let builder =
                bank.builder(&format!("client_certificates = [{certificates}]"), "").name(HOST, &["127.0.0.1"]);
            let builder = builder.file("known.pem", known.pem()).file("known.key", known.key.private_pem());
            let mut proxy = builder.start().await;
            let mut client = RawClient::connect(proxy.addr).await.unwrap();
            let reply = client.connect_to(&format!("{HOST}:{port}")).await.unwrap();
            let mut page = String::new();
            if reply.status == 200
                && let Ok(mut client) = client.tls(&tls(&proxy, HOST).build()).await
                && client.send(b"GET / HTTP/1.0\r\n\r\n").await.is_ok()
                && let Ok((octets, _)) = client.read_to_end().await
            {
                page = String::from_utf8_lossy(&octets).into_owned();
            }
            assert_eq!(page.contains("Client certificate"), shown, "{version} {}: {page}", reply.status);
            assert_eq!(page.contains("known.client.example"), shown, "{page}");
            proxy.told().await;
        }
    }
}
