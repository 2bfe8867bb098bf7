//! A rolling restart: the next process takes over a socket that both have, and nobody notices.

use super::*;

use crate::support::client::{ClientTls, RawClient};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Clients at a time, and how often each asks: together a thousand times a second at most.
const CLIENTS: usize = 50;
const ASK_INTERVAL: Duration = Duration::from_millis(50);
/// Requests of a session; then the client connects anew.
const SESSION_REQUESTS: usize = 10;
/// Answers a second, all in all, below which nothing would be seen: what a busy machine manages without optimisation.
const RATE_MIN: f64 = 25.0;
/// Requests that are answered before each step.
const REQUESTS_A_STEP: usize = 1_000;

#[derive(Default)]
struct Load {
    answered: AtomicUsize,
    stop: AtomicBool,
}

impl Load {
    /// Waits until so many more requests have been answered.
    async fn goes_on(&self) {
        let goal = self.answered.load(Ordering::Relaxed) + REQUESTS_A_STEP;
        let answered = async {
            while self.answered.load(Ordering::Relaxed) < goal {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), answered).await.expect("requests are answered");
    }

    /// Sessions one after the other until it is enough; every failure ends the test.
    async fn ask(self: Arc<Self>, address: SocketAddr, target: String, tls: ClientTls) -> Result<(), String> {
        let mut pace = interval(ASK_INTERVAL);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.stop.load(Ordering::Relaxed) {
            let failed = |what: &str, error: String| format!("{what}: {error}");
            let mut client = RawClient::connect(address).await.map_err(|e| failed("connect", format!("{e:?}")))?;
            let reply = client.connect_to(&target).await.map_err(|e| failed("CONNECT", format!("{e:?}")))?;
            if reply.status != 200 {
                return Err(failed("CONNECT", reply.text()));
            }
            let mut client = client.tls(&tls).await.map_err(|e| failed("handshake", format!("{e:?}")))?;
            for _ in 0..SESSION_REQUESTS {
                pace.tick().await;
                client.send(b"ping").await.map_err(|e| failed("request", format!("{e:?}")))?;
                let answer = client.read_exact(4).await.map_err(|e| failed("answer", format!("{e:?}")))?;
                assert_eq!(answer, b"ping");
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            client.shutdown().await.map_err(|e| failed("end", format!("{e:?}")))?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_processes_follow_each_other() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let path = site.trusted_by(&user, &pinset(&site.chain.pin()));
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut running = Program::start(user.run_on(&socket, &path)).await;
    assert_eq!(running.address, socket.local_addr().unwrap());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(user.ca().join("ca.pem")).expect("the CA")).expect("an anchor");
    let tls = ClientTls::to(HOST).roots(roots).build();
    let target = format!("{HOST}:{}", site.origin.port());
    let load = Arc::new(Load::default());
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(Arc::clone(&load).ask(running.address, target.clone(), tls.clone()));
    }
    let mut served = Vec::new();
    for _ in 0..2 {
        load.goes_on().await;
        let next = Program::start(user.run_on(&socket, &path)).await;
        running.running.signal("TERM").await;
        let ended = std::mem::replace(&mut running, next).running.ended().await.with_code(0);
        served.push(ended.err.matches(" session: allow ").count());
        load.goes_on().await;
    }
    load.stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.expect("no panic").unwrap_or_else(|failure| panic!("a client failed: {failure}"));
    }
    let (answered, took) = (load.answered.load(Ordering::Relaxed), begun.elapsed());
    let least = took.mul_f64(RATE_MIN).as_secs();
    assert!(answered as u64 >= least, "{answered} answers in {took:?}");
    let last = running.stop().await;
    served.push(last.err.matches(" session: allow ").count());
    assert!(served.iter().all(|sessions| *sessions > 0), "{served:?}");
    let sessions: usize = served.iter().sum();
    assert_eq!(sessions * SESSION_REQUESTS, load.answered.load(Ordering::Relaxed), "each session has its event");
}
