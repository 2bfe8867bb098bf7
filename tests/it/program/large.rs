//! A large configuration that changes while sessions come and go.

use super::*;

use crate::support::client::{ClientTls, RawClient, TlsClient};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

const PINSETS: usize = 10_000;
const CLIENTS: usize = 4;
/// How often each of them asks.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// Pinsets for hosts that nobody asks for.
fn others() -> String {
    let pin = |number: usize| STANDARD.encode(Sha256::digest(number.to_be_bytes()));
    (0..PINSETS).fold(String::new(), |mut text, number| {
        let (first, second) = (pin(2 * number), pin(2 * number + 1));
        let name = format!("name = \"n{number}\"\nhosts = [\"n{number}.example\"]");
        writeln!(text, "[[pinset]]\n{name}\nleaf_pins = [\"sha256/{first}\"]\nbackup = [\"sha256/{second}\"]")
            .expect("a text grows");
        text
    })
}

/// A session, or the status that refuses it. None where it ends behind its 200, before the handshake is done.
async fn try_connect(address: SocketAddr, target: &str, tls: &ClientTls) -> Result<Option<TlsClient>, u16> {
    let mut client = RawClient::connect(address).await.expect("the proxy listens");
    let reply = client.connect_to(target).await.expect("a reply");
    if reply.status != 200 {
        return Err(reply.status);
    }
    Ok(client.tls(tls).await.ok())
}

async fn connect(address: SocketAddr, target: &str, tls: &ClientTls) -> Result<TlsClient, u16> {
    try_connect(address, target, tls).await.map(|client| client.expect("a handshake"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_pinsets_are_replaced_under_load() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let others = others();
    let path = site.trusted_by(&user, &(others.clone() + &pinset(&site.chain.pin())));
    let mut program = Program::start(user.run(Some(&path))).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(user.ca().join("ca.pem")).expect("the CA")).expect("an anchor");
    let tls = ClientTls::to(HOST).roots(roots).build();
    let (address, target) = (program.address, format!("{HOST}:{}", site.origin.port()));
    let mut open = connect(address, &target, &tls).await.expect("a session");
    assert_eq!(open.exchange(b"ping", 4).await.unwrap(), b"ping");

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let asked = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (stop, done, asked) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&asked));
        let (target, tls) = (target.clone(), tls.clone());
        clients.spawn(async move {
            let mut refused = 0;
            // A reload runs when the processor has nothing else to do, and so has to have that now and then.
            let mut pace = interval(ASK_INTERVAL);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !stop.load(Ordering::Relaxed) {
                pace.tick().await;
                match try_connect(address, &target, &tls).await {
                    // Judged before the rules changed, it may be ended right behind, or in its handshake.
                    Ok(Some(mut client)) => drop(client.exchange(b"ping", 4).await),
                    Ok(None) => assert!(asked.load(Ordering::Relaxed), "a handshake failed before the reload"),
                    Err(status) => {
                        assert_eq!(status, 502);
                        refused += 1;
                    }
                }
                assert!(refused == 0 || connect(address, &target, &tls).await.is_err(), "a refusal is not taken back");
                done.fetch_add(1, Ordering::Relaxed);
            }
            refused
        });
    }
    let before = done.load(Ordering::Relaxed);
    crate::support::until(|| done.load(Ordering::Relaxed) > before + 20).await;
    site.trusted_by(&user, &(others + &pinset(&Key::p256().pin())));
    asked.store(true, Ordering::Relaxed);
    program.running.signal("HUP").await;
    program.running.err.until(&format!("generation 2 with {} rules is in force", PINSETS + 1)).await;
    assert!(open.read_exact(1).await.is_err(), "the session that was open has ended");
    program.running.err.until("open sessions are closed: generation 2 refuses them").await;
    assert_eq!(connect(address, &target, &tls).await.err(), Some(502));
    let before = done.load(Ordering::Relaxed);
    crate::support::until(|| done.load(Ordering::Relaxed) > before + 20).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        assert!(client.expect("no session failed") > 0, "each client has seen it");
    }
    program.stop().await;
}
