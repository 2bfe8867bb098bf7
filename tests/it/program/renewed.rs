//! What a reload takes over besides rules: the CA, the access rules, files that were moved away.

use super::reload::reply;
use super::*;

use crate::support::client::{ClientTls, RawClient};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

fn established() -> (u16, String) {
    (200, "Connection established".to_owned())
}

/// Whether a client that trusts this CA alone gets through.
pub(super) async fn trusts(program: &Program, site: &Site, ca: &Path) -> bool {
    let mut client = RawClient::connect(program.address).await.expect("the proxy listens");
    let reply = client.connect_to(&format!("{HOST}:{}", site.origin.port())).await.expect("a reply");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("the CA")).expect("an anchor");
    client.tls(&ClientTls::to(HOST).roots(roots).build()).await.is_ok()
}

pub(super) async fn reload(program: &mut Program, says: &str) {
    program.running.signal("HUP").await;
    program.running.err.until(says).await;
}

#[tokio::test]
async fn another_ca_signs_from_the_reload_on() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let mut program = Program::start(user.run(Some(&site.trusted_by(&user, "")))).await;
    let other = User::new();
    Program::start(other.run(None)).await.stop().await;
    let (old, new) = (user.folder().join("old.pem"), other.ca().join("ca.pem"));
    std::fs::copy(user.ca().join("ca.pem"), &old).unwrap();
    assert!(trusts(&program, &site, &old).await);

    // One half of a pair, then none at all: the CA that signs goes on.
    std::fs::copy(&new, user.ca().join("ca.pem")).unwrap();
    reload(&mut program, "reload refused, generation 1 stays in force: ").await;
    assert!(trusts(&program, &site, &old).await && !trusts(&program, &site, &new).await);
    std::fs::remove_file(user.ca().join("ca.pem")).unwrap();
    reload(&mut program, "the CA in force stays in force, but the next start would fail: ").await;
    program.running.err.until("generation 2 with 0 rules is in force").await;
    assert!(trusts(&program, &site, &old).await);

    std::fs::copy(&new, user.ca().join("ca.pem")).unwrap();
    std::fs::copy(other.ca().join("ca.key"), user.ca().join("ca.key")).unwrap();
    reload(&mut program, "the CA is another one now: ").await;
    program.running.err.until("generation 3 with 0 rules is in force").await;
    assert!(trusts(&program, &site, &new).await && !trusts(&program, &site, &old).await);
    program.stop().await;
}

/// The proxy's CA is no trust anchor towards upstreams, the new one no more than the old.
#[tokio::test]
async fn another_ca_does_not_become_a_trust_anchor() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let path = site.trusted_by(&user, "");
    let mut program = Program::start(user.run(Some(&path))).await;
    // The very CA that the site's chain ends in.
    std::fs::write(user.ca().join("ca.pem"), site.root.pem()).unwrap();
    std::fs::write(user.ca().join("ca.key"), site.root.key().private_pem()).unwrap();
    reload(&mut program, "reload refused, generation 1 stays in force: ").await;
    let told = program.running.err.so_far();
    assert!(told.contains("private ca.pem"), "{told}");
    program.stop().await;
}

#[tokio::test]
async fn access_rules_take_effect() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let port = site.origin.port();
    let access = |rules: &str| format!("[access]\nports_allow = [{port}]\n{rules}\n");
    let allowed = access("destinations_deny = []");
    let mut program = Program::start(user.run(Some(&site.trusted_by(&user, &allowed)))).await;
    assert_eq!(reply(&program, &site).await, established());
    site.trusted_by(&user, &access("destinations_deny = [\"localhost\"]"));
    reload(&mut program, "generation 2 with 0 rules is in force").await;
    assert_eq!(reply(&program, &site).await.0, 403);
    site.trusted_by(&user, &access("clients = [\"10.0.0.0/8\"]\ndestinations_deny = []"));
    reload(&mut program, "generation 3 with 0 rules is in force").await;
    let mut client = RawClient::connect(program.address).await.expect("the proxy listens");
    assert_eq!(client.connect_to(&format!("{HOST}:{port}")).await.expect("a reply").status, 403);
    site.trusted_by(&user, &allowed);
    reload(&mut program, "generation 4 with 0 rules is in force").await;
    assert_eq!(reply(&program, &site).await, established());
    program.stop().await;
}

/// As logrotate does it: the file is moved away, and the next line begins a new one.
#[tokio::test]
async fn a_file_that_was_moved_away_is_begun_anew() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let toml = format!(
        "[log]\naccess = \"access.jsonl\"\n[reports]\nfile = \"reports.jsonl\"\n{}",
        pinset(&Key::p256().pin())
    );
    let mut program = Program::start(user.run(Some(&site.trusted_by(&user, &toml)))).await;
    let files = ["access.jsonl", "reports.jsonl"].map(|name| user.folder().join(name));
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    reply(&program, &site).await;
    crate::support::until(|| files.iter().all(|file| lines(file) == 1)).await;
    for file in &files {
        std::fs::rename(file, file.with_extension("1")).unwrap();
    }
    reply(&program, &site).await;
    crate::support::until(|| files.iter().all(|file| lines(&file.with_extension("1")) == 2)).await;
    assert!(files.iter().all(|file| !file.exists()), "until the reload, lines go where they went");
    reload(&mut program, "generation 2 with 1 rules is in force").await;
    reply(&program, &site).await;
    crate::support::until(|| files.iter().all(|file| lines(file) == 1)).await;
    assert!(files.iter().all(|file| lines(&file.with_extension("1")) == 2));
    program.stop().await;
}

/// The configuration may be broken for days, and logrotate comes every night.
#[tokio::test]
async fn a_file_that_was_moved_away_is_begun_anew_beside_a_broken_configuration() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let toml = "[log]\naccess = \"access.jsonl\"\n[admin]\nsocket = \"control.sock\"\n";
    let path = site.trusted_by(&user, toml);
    let mut program = Program::start(user.run(Some(&path))).await;
    let [file, moved, socket] = ["access.jsonl", "access.1", "control.sock"].map(|name| user.folder().join(name));
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    reply(&program, &site).await;
    crate::support::until(|| lines(&file) == 1).await;
    std::fs::write(&path, "[[pinset").unwrap();
    std::fs::rename(&file, &moved).unwrap();
    reload(&mut program, "reload refused, generation 1 stays in force: ").await;
    reply(&program, &site).await;
    crate::support::until(|| lines(&file) == 1).await;
    assert_eq!(lines(&moved), 1);

    // That it could not be, is told with the refusal.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let refused = user.pinproxy(["ctl", "reload", "--socket"]).arg(&socket).run().await.with_code(1);
    refused.says(&["error[E17]", "access.jsonl cannot be opened anew", "it is a folder now"]);
    let status = user.pinproxy(["ctl", "status", "--socket"]).arg(&socket).run().await.with_code(0);
    assert!(status.out.contains("error[E17]") && status.out.contains("access.jsonl cannot be opened anew"), "{status}");
    program.stop().await;
}
