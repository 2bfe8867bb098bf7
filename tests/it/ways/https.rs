//! TLS to the proxy itself: `https://` before its address.

use super::{Rubbish, World, curl, listener, sees_through, told, wrong};
use crate::support::bench::Bench;
use crate::support::origin::{Behaviour, End, Origin, OriginConfig};
use crate::support::pki::{Ca, Leaf};
use crate::support::process;
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::BANK;
use crate::support::within_deadline;
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::{Decided, Event};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const TLS: &str = "tls = { certificate = \"proxy.pem\", key = \"proxy.key\" }";
const DOOR: &str = "localhost";

/// Who has issued the certificate of the listener.
struct Door(Ca);

impl Door {
    fn new() -> Self {
        Self(Ca::root("The authority of the door"))
    }

    fn install(&self, proxy: ProxyBuilder) -> ProxyBuilder {
        let chain = Leaf::named(DOOR).ip([127, 0, 0, 1].into()).signed_by(&self.0);
        let proxy = proxy.file("door.pem", self.0.pem());
        proxy.file("proxy.pem", chain.pem()).file("proxy.key", chain.key.private_pem())
    }

    async fn start(&self, world: &World, more: &str) -> Bench {
        world.start_with(&(listener(TLS) + more), |proxy| self.install(proxy)).await
    }

    /// TLS with the proxy.
    async fn enter(&self, bench: &Bench) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(bench.proxy.addr).await.expect("a connection");
        connector(self.0.der().clone())
            .connect(ServerName::try_from(DOOR).expect("a name or a number"), tcp)
            .await
            .expect("a name or a number")
    }

    /// The same with a tunnel through the proxy.
    async fn tunnel(&self, bench: &Bench, port: u16) -> TlsStream<TcpStream> {
        let mut stream = self.enter(bench).await;
        stream.write_all(format!("CONNECT {BANK}:{port} HTTP/1.1\r\n\r\n").as_bytes()).await.expect("it is sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
        assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
        stream
    }
}

fn connector(anchor: rustls::pki_types::CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(anchor).expect("an anchor");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
    TlsConnector::from(Arc::new(config.with_no_client_auth()))
}

async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut text = String::new();
    within_deadline(stream.read_to_string(&mut text)).await.expect("an end within the deadline")?;
    Ok(text)
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.expect("it is sent");
    stream.flush().await.expect("it is sent");
}

#[tokio::test]
async fn curl_comes_by_tls() {
    let Some(program) = process::find("curl") else { return };
    let (world, door) = (World::new(), Door::new());
    for (rules, code, status) in [(world.right(), 0, Some(200)), (wrong(), 56, Some(502))] {
        let mut bench = door.start(&world, &rules).await;
        let folder = bench.proxy.folder.path().to_owned();
        let url = format!("https://{BANK}:{}/balance", bench.origin.port());
        let address = format!("https://{DOOR}:{}", bench.proxy.addr.port());
        let ask = || curl(&program, &bench).args(["--proxy", &address]).arg(&url);
        let done = ask().arg("--proxy-cacert").arg(folder.join("door.pem")).run().await.with_code(code);
        let unknown = ask().arg("--proxy-cacert").arg(folder.join("ca/ca.pem")).run().await.with_code(60);
        let event = bench.proxy.told().await.event;
        assert_eq!(event.status, status, "{event}");
        if code == 0 {
            assert!(done.out.starts_with("GET /balance ") && event.decision == Decided::Allow, "{done}");
        } else {
            done.says(&["response 502"]);
            assert_eq!(event.failure_class, Some(FailureClass::Pin));
        }
        // A client that does not know who has issued the certificate of the door does not come in.
        let event = told(&mut bench).await;
        let detail = event.detail.as_deref().unwrap_or_default();
        assert!(detail.starts_with("the TLS handshake with the proxy failed: "), "{detail} {unknown}");
        assert_eq!((event.failure_class, event.decision), (Some(FailureClass::Client), Decided::Failed));
    }
}

#[tokio::test]
async fn what_is_no_tls_is_told_so_where_it_can_be() {
    let (world, door) = (World::new(), Door::new());
    let mut bench = door.start(&world, "[limits]\nclient_hello_timeout = \"300ms\"\n").await;
    let clear = Some("does not speak TLS, by which alone");
    let rubbish = |sent, answered, detail| Rubbish { sent, answered, detail };
    let table = [
        rubbish(b"", b"", None),
        rubbish(b"CONNECT bank.example:443 HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 The client does not speak TLS", clear),
        rubbish(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 ", clear),
        rubbish(b"\x05\x01\x00", b"", clear),
        rubbish(b"PROXY TCP4 192.0.2.7 198.51.100.1 1 443\r\n", b"HTTP/1.1 400 ", clear),
        rubbish(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", b"\x15\x03", Some("the TLS handshake with the proxy failed")),
        rubbish(b"\x16\x03\x01", b"", Some("within the time allowed")),
    ];
    sees_through(&mut bench, &table).await;
}

/// A tunnel to an upstream without TLS, which answers when the client has finished.
async fn blind(door: &Door, world: &World, cuts: bool) -> (String, io::Result<String>, Event) {
    let tunnel = format!("[[tunnel]]\nhosts = [{BANK:?}]\nreason = \"test\"\n");
    let mut bench = door.start(world, &tunnel).await;
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut stream = door.tunnel(&bench, upstream.local_addr().expect("its address").port()).await;
    let (mut tcp, _) = upstream.accept().await.expect("a connection");
    say(&mut stream, "ping").await;
    if cuts {
        // The end of TCP without the end of TLS.
        stream.get_mut().0.shutdown().await.expect("an end");
    } else {
        stream.shutdown().await.expect("an end");
    }
    let heard = read_all(&mut tcp).await.expect("an end");
    say(&mut tcp, "pong").await;
    drop(tcp);
    let answer = read_all(&mut stream).await;
    drop(stream);
    (heard, answer, told(&mut bench).await)
}

/// One direction may end before the other, and an end that is none is told from one that is.
#[tokio::test]
async fn ends_stay_visible_through_a_blind_tunnel() {
    let (world, door) = (World::new(), Door::new());
    let (heard, answer, event) = blind(&door, &world, false).await;
    assert_eq!((heard.as_str(), answer.unwrap().as_str()), ("ping", "pong"));
    assert_eq!((event.decision, event.ended.as_deref()), (Decided::Tunnel, Some("closed")));
    let (heard, answer, event) = blind(&door, &world, true).await;
    assert_eq!((heard.as_str(), answer.unwrap().as_str()), ("ping", "pong"));
    assert_eq!(event.ended.as_deref(), Some("client closed without close_notify"));
}

/// TLS within TLS: who cuts the outer one has cut the inner one.
#[tokio::test]
async fn a_cut_of_the_outer_tls_is_a_cut_for_the_upstream() {
    let (world, door) = (World::new(), Door::new());
    for (cuts, expected) in [(false, End::PeerClosed), (true, End::PeerTruncated)] {
        let proxy = door.install(ProxyBuilder::new(listener(TLS) + &world.right()).trusting([&world.root]));
        let mut bench = Bench::start(proxy, OriginConfig::new(world.chain.clone())).await;
        bench.origin = Origin::start(OriginConfig::new(world.chain.clone()).behaviour(Behaviour::Echo)).await;
        let outer = door.tunnel(&bench, bench.origin.port()).await;
        let inner = connector(bench.proxy.ca.clone());
        let mut inner = inner.connect(ServerName::try_from(BANK).unwrap(), outer).await.unwrap();
        say(&mut inner, "ping").await;
        let mut echo = [0; 4];
        inner.read_exact(&mut echo).await.unwrap();
        if cuts {
            inner.get_mut().0.get_mut().0.shutdown().await.unwrap();
        } else {
            inner.shutdown().await.unwrap();
        }
        drop(read_all(&mut inner).await);
        let tally = bench.origin.until_ended(1).await.unwrap();
        assert_eq!(tally.connections[0].end, Some(expected));
        assert_eq!(tally.connections[0].data, b"ping");
        drop(inner);
        let event = told(&mut bench).await;
        assert_eq!((event.decision, event.matched_position), (Decided::Allow, Some(0)), "{event}");
    }
}
