//! Signals: the first lets open sessions end, the second does not.

use super::*;

use crate::support::client::{ClientTls, RawClient, TlsClient};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::time::Duration;

/// A session that is open and relays.
async fn session(user: &User, program: &Program, site: &Site) -> TlsClient {
    let mut client = RawClient::connect(program.address).await.expect("the proxy listens");
    let reply = client.connect_to(&format!("{HOST}:{}", site.origin.port())).await.expect("a reply");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(user.ca().join("ca.pem")).expect("the CA")).expect("an anchor");
    let mut tls = client.tls(&ClientTls::to(HOST).roots(roots).build()).await.expect("a handshake");
    echo(&mut tls).await;
    tls
}

async fn echo(tls: &mut TlsClient) {
    tls.send(b"hello").await.expect("the session is open");
    assert_eq!(tls.read_exact(5).await.expect("an echo"), b"hello");
}

/// Whether connections come to be refused, which is right after the line of the log, but not in the same moment.
async fn stops_listening(program: &Program) -> bool {
    for _ in 0..500 {
        if RawClient::connect(program.address).await.is_err() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn either_signal_ends_an_idle_proxy_at_once() {
    for signal in ["TERM", "INT"] {
        let user = User::new();
        let program = Program::start(user.run(None)).await;
        program.running.signal(signal).await;
        let ended = program.running.ended().await.with_code(0);
        ended.says(&["stopping: no new sessions", "stopped"]);
    }
}

#[tokio::test]
async fn open_sessions_may_end_but_no_new_ones_begin() {
    for signal in ["TERM", "INT"] {
        let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
        let mut program = Program::start(user.run(Some(&site.trusted_by(&user, "")))).await;
        let mut open = session(&user, &program, &site).await;
        program.running.signal(signal).await;
        program.running.err.until("stopping: no new sessions").await;
        echo(&mut open).await;
        assert!(stops_listening(&program).await, "it takes new connections");
        echo(&mut open).await;
        open.shutdown().await.unwrap();
        let ended = program.running.ended().await.with_code(0);
        ended.says(&[&format!("allow {HOST}:"), "stopped"]);
    }
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let config = site.trusted_by(&user, "[limits]\ndrain_timeout = \"1s\"\n");
    let program = Program::start(user.run(Some(&config))).await;
    let _open = session(&user, &program, &site).await;
    let ended = program.stop().await;
    ended.says(&["1 sessions are still open after 1s; ending them", &format!("{HOST}:"), "stopped"]);
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let log = user.folder().join("access.jsonl");
    let toml = format!("[log]\naccess = \"{}\"\n", log.display());
    let mut program = Program::start(user.run(Some(&site.trusted_by(&user, &toml)))).await;
    let _open = session(&user, &program, &site).await;
    program.running.signal("TERM").await;
    program.running.err.until("stopping: no new sessions").await;
    program.running.signal("INT").await;
    let ended = program.running.ended().await.with_code(1);
    // The open session has its event, and the file the line of it.
    ended.says(&["ended=\"shutdown\"", "stopped"]);
    let lines = std::fs::read_to_string(log).expect("the access log");
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(lines.contains("\"ended\":\"shutdown\""), "{lines}");
}

/// What a hook before the stop and then the service manager do: the signal is the first one, and cuts off nobody.
#[tokio::test]
async fn the_first_signal_behind_a_drain_lets_it_go_on() {
    for (second, code) in [(None, 0), (Some("TERM"), 1)] {
        let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
        let toml = "[admin]\nsocket = \"control.sock\"\n";
        let mut program = Program::start(user.run(Some(&site.trusted_by(&user, toml)))).await;
        let mut open = session(&user, &program, &site).await;
        let socket = user.folder().join("control.sock");
        user.pinproxy(["ctl", "drain", "--socket"]).arg(&socket).run().await.with_code(0);
        program.running.err.until("stopping: no new sessions; open ones may end (two signals end them now)").await;
        echo(&mut open).await;
        program.running.signal("TERM").await;
        program.running.err.until("open sessions may end, as asked for before this signal (a second signal").await;
        echo(&mut open).await;
        match second {
            None => open.shutdown().await.unwrap(),
            Some(signal) => program.running.signal(signal).await,
        }
        let ended = program.running.ended().await.with_code(code);
        assert_eq!(ended.err.contains("ended=\"shutdown\""), second.is_some(), "{ended}");
    }
}

/// A client that is being told why it was refused has no session, and none is told of.
#[tokio::test]
async fn refused_clients_are_no_sessions() {
    let user = User::new();
    let config =
        user.file("pinproxy.toml", "[access]\nclients = [\"10.0.0.0/8\"]\n[limits]\ndrain_timeout = \"1ms\"\n");
    let program = Program::start(user.run(Some(&config))).await;
    let mut refused = RawClient::connect(program.address).await.expect("the proxy listens");
    refused.read_exact(1).await.expect("a refusal");
    let ended = program.stop().await;
    ended.says(&["stopping: no new sessions", "stopped"]);
    assert!(!ended.err.contains("still open"), "{ended}");
}
