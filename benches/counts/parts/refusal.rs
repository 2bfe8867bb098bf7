//! A CONNECT that is refused before anybody is dialled, from its connection to the last octet of its refusal: HTTP, the
//! rule, the words, the event. Client and proxy share one thread, and the loopback that is between them is not counted.

use super::chains::CHAIN;
use super::{HOST, now};
use pinproxy::authority::{Settings, load_or_create};
use pinproxy::config::Config;
use pinproxy::proxy::{Assembled, Clock, Entrance, Generation, assemble, serve};
use pinproxy::upstream::doors::Doors;
use pinproxy::upstream::resolve::SystemResolver;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const REFUSED: &str = "HTTP/1.1 403 No pinset for api.bank.example, ";

/// Hosts without a rule are denied. What a session does behind its answer is done in the next round.
pub(super) fn prepare() -> Box<dyn FnMut(usize)> {
    let private = std::fs::Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().permissions(private).tempdir().expect("a temporary folder");
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, CHAIN).expect("the file is written");
    let roots = toml::Value::from(roots.display().to_string());
    let text = format!("[upstream]\nroots = {roots}\n[defaults]\nunpinned = \"deny\"\n");
    let parsed = Config::parse(&text, &folder.path().join("bench.toml"), now());
    let config = parsed.unwrap_or_else(|errors| panic!("{errors}")).0;
    let authority = Arc::new(load_or_create(folder.path(), Settings::default(), now()).expect("a CA").0);
    let generation = Generation::load(&config, 1, authority.certificates()).expect("a generation");
    let clock = Clock::of(now, || Duration::ZERO);
    let assembled =
        assemble(&config, generation, &authority, Arc::new(SystemResolver), clock, Doors::default(), Vec::new());
    let Assembled { proxy, .. } = assembled.expect("a proxy");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port");
    let address = listener.local_addr().expect("its address");
    runtime.spawn(serve(vec![Entrance::forward(listener)], proxy, std::future::pending()));
    let head = format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\nUser-Agent: bench/1.0\r\n\r\n");
    Box::new(move |_| {
        let answer = runtime.block_on(async {
            let mut client = TcpStream::connect(address).await.expect("the proxy listens");
            client.write_all(head.as_bytes()).await.expect("the head is sent");
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("an answer");
            answer
        });
        assert!(answer.starts_with(REFUSED), "{answer}");
    })
}
