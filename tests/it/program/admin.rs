//! The admin address of the program: who may ask, what is told, and what it stands.

mod metrics;
mod tls;

use super::reload::reply;
use super::*;

use crate::support::client::{RawClient, Reply};
use crate::support::within_deadline;
use std::time::Duration;

/// Less than who says nothing has to ask something, and more than a probe needs on a busy machine.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Long enough to be one.
const TOKEN: &str = "correct-horse-battery-staple";

/// A proxy that tells about itself on a port of 127.0.0.1.
struct Telling {
    user: User,
    site: Site,
    program: Program,
    path: PathBuf,
    admin: SocketAddr,
}

impl Telling {
    /// With these lines in `[admin]`, and this behind them.
    async fn start(admin: &str, toml: impl FnOnce(&Site) -> String) -> Self {
        Self::judging_by(|_, _| String::new(), admin, toml).await
    }

    /// With these lines in `[upstream]`, too.
    async fn judging_by(
        upstream: impl FnOnce(&User, &Site) -> String,
        admin: &str,
        toml: impl FnOnce(&Site) -> String,
    ) -> Self {
        let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
        let upstream = upstream(&user, &site);
        let toml = format!("{upstream}[admin]\naddress = \"127.0.0.1:0\"\n{admin}\n{}", toml(&site));
        let path = site.trusted_by(&user, &toml);
        let program = Program::start(user.run(Some(&path)).env("TOKEN", TOKEN)).await;
        let url = value(&program.greeting, "admin");
        let admin = url.split("://").nth(1).expect("a URL").parse().expect("an address");
        Self { user, site, program, path, admin }
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1"), &[]).await
    }

    /// A request with these fields; the Host field, unless there is one among them, is as it should be.
    async fn ask(&self, line: &str, fields: &[(&str, &str)]) -> Reply {
        let host = ("Host", self.admin.to_string());
        let own = (!fields.iter().any(|(name, _)| *name == "Host")).then_some((host.0, host.1.as_str()));
        let fields: String = own.iter().chain(fields).flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
        let mut client = RawClient::connect(self.admin).await.expect("the admin address listens");
        client.send(format!("{line}\r\n{fields}\r\n").as_bytes()).await.expect("it takes the request");
        client.read_reply().await.unwrap_or_else(|fault| panic!("{line}: {fault}"))
    }

    async fn healthcheck(&self) -> process::Finished {
        self.user.pinproxy(["healthcheck", "--address", &self.admin.to_string()]).run().await
    }
}

/// Fields that every answer carries.
fn assert_careful(reply: &Reply) {
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{reply:?}");
    assert!(reply.header("content-security-policy").is_some_and(|csp| csp.contains("default-src 'none'")), "{reply:?}");
}

#[tokio::test]
async fn who_may_ask_where_there_is_a_token() {
    use base64::Engine as _;
    let telling = Telling::start("token = \"${TOKEN}\"", |_| String::new()).await;
    let basic = |text: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
    let bearer = format!("Bearer {TOKEN}");
    let refused = [
        None,
        Some("Bearer".to_owned()),
        Some(format!("Bearer {TOKEN}x")),
        Some(format!("Bearer {}", &TOKEN[1..])),
        Some(format!("Bearer {}", TOKEN.to_uppercase())),
        Some(format!("Negotiate {TOKEN}")),
        Some(basic(TOKEN)),
        Some(basic(&format!("{TOKEN}:"))),
        Some("Basic ====".to_owned()),
    ];
    for field in refused {
        let fields: Vec<_> = field.iter().map(|field| ("Authorization", field.as_str())).collect();
        for path in ["/metrics", "/api/status", "/", "/none", "/healthz/", "//healthz"] {
            let reply = telling.ask(&format!("GET {path} HTTP/1.1"), &fields).await;
            assert_eq!(reply.status, 401, "{path} {field:?}");
            assert!(reply.header("www-authenticate").is_some_and(|asks| asks.starts_with("Bearer ")), "{reply:?}");
            assert!(!reply.text().contains("pinproxy_") && !reply.text().contains("generation"), "{reply:?}");
            assert_careful(&reply);
        }
        for path in ["/healthz", "/readyz"] {
            assert_eq!(telling.ask(&format!("GET {path} HTTP/1.1"), &fields).await.status, 200, "{path} {field:?}");
        }
    }
    for field in [bearer.clone(), bearer.replace("Bearer", "bearer"), basic(&format!("ann:{TOKEN}"))] {
        let fields = [("Authorization", field.as_str()), ("Host", "monitoring.example")];
        for path in ["/metrics", "/api/status"] {
            let reply = telling.ask(&format!("GET {path} HTTP/1.1"), &fields).await;
            assert_eq!(reply.status, 200, "{path} {field:?}");
            assert_careful(&reply);
        }
        assert_eq!(telling.ask("GET /none HTTP/1.1", &fields).await.status, 404);
    }
    // Two of them are none.
    let both = [("Authorization", bearer.as_str()), ("Authorization", bearer.as_str())];
    assert_eq!(telling.ask("GET /metrics HTTP/1.1", &both).await.status, 401);
    let ended = telling.program.stop().await;
    assert!(!ended.err.contains(TOKEN) && !ended.out.contains(TOKEN), "{ended}");
}

#[tokio::test]
async fn who_may_ask_where_there_is_none() {
    let telling = Telling::start("", |_| String::new()).await;
    let port = telling.admin.port();
    let named = |name: &str| [name.to_owned(), format!("{name}:{port}")];
    for name in
        ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "a@127.0.0.1", "2130706433", "pinproxy"]
    {
        for host in named(name) {
            for path in ["/", "/healthz", "/readyz", "/metrics", "/api/status"] {
                let reply = telling.ask(&format!("GET {path} HTTP/1.1"), &[("Host", &host)]).await;
                assert_eq!(reply.status, 421, "{host} {path}");
                assert_careful(&reply);
            }
        }
    }
    let two = [("Host", "127.0.0.1"), ("Host", "evil.example")];
    assert_eq!(telling.ask("GET /metrics HTTP/1.1", &two).await.status, 421);
    assert_eq!(telling.ask("GET http://evil.example/metrics HTTP/1.1", &[]).await.status, 421);
    for name in ["127.0.0.1", "localhost", "[::1]", "192.0.2.7"] {
        for host in named(name) {
            assert_eq!(telling.ask("GET /metrics HTTP/1.1", &[("Host", &host)]).await.status, 200, "{host}");
        }
    }
    telling.program.stop().await;
}

#[tokio::test]
async fn it_tells_and_changes_nothing() {
    let telling = Telling::start("", |site| pinset(&site.chain.pin())).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "RELOAD"] {
        for path in ["/metrics", "/healthz", "/v1/reload", "/v1/drain"] {
            let path = if method == "CONNECT" { "127.0.0.1:80" } else { path };
            let reply = telling.ask(&format!("{method} {path} HTTP/1.1"), &[("Content-Length", "0")]).await;
            assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
            assert_careful(&reply);
        }
    }
    assert_eq!(telling.get("/v1/status").await.status, 404);
    let mut client = RawClient::connect(telling.admin).await.unwrap();
    client.send(b"HEAD /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").await.unwrap();
    let head = String::from_utf8(client.read_to_end().await.unwrap()).unwrap();
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let reply = telling.get("/api/status").await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let status: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((&status["pid"], &status["rules"]), (&telling.program.running.id().into(), &1.into()));
    assert_eq!((&status["generation"], &status["draining"]), (&1.into(), &false.into()));
    telling.program.stop().await;
}

#[tokio::test]
async fn readiness_ends_before_the_listeners_do() {
    let telling = Telling::start("", |_| "[limits]\ndrain_delay = \"5m\"\n".to_owned()).await;
    let ready = telling.get("/readyz").await;
    assert_eq!((ready.status, ready.text().as_str()), (200, "ready\n"));
    let ready = telling.healthcheck().await.with_code(0);
    assert_eq!(ready.out, "ready\n");

    telling.program.running.signal("TERM").await;
    let draining = async {
        loop {
            let reply = telling.get("/readyz").await;
            if reply.status != 200 {
                return reply;
            }
        }
    };
    let draining = within_deadline(draining).await.expect("the announcement");
    assert_eq!((draining.status, draining.text().starts_with("draining: ")), (503, true), "{draining:?}");
    assert_eq!(telling.get("/healthz").await.status, 200, "it lives");
    assert!(telling.get("/metrics").await.text().contains("\npinproxy_draining 1\n"));
    telling.healthcheck().await.with_code(1).says(&["draining: "]);
    let address = telling.admin.to_string();
    let alive = telling.user.pinproxy(["healthcheck", "--alive", "--address", &address]).run().await.with_code(0);
    assert_eq!(alive.out, "ok\n");
    assert_eq!(reply(&telling.program, &telling.site).await.0, 200, "and still takes sessions");
    // The end of the delay, and of everything.
    telling.program.running.signal("TERM").await;
    telling.program.running.ended().await.with_code(1);
}

#[tokio::test]
async fn healthcheck_of_what_is_not_there() {
    let user = User::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let check = |arguments: &[&str]| user.pinproxy(["healthcheck"]).args(arguments).run();
    check(&["--address", &free]).await.with_code(3).says(&["does not answer: ", "[admin] address"]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for more in [&["--address", &address][..], &["--alive", "--address", &address]] {
        check(more).await.with_code(3).says(&["no answer from ", " within 3s"]);
    }
    // Something else that answers.
    let (other, none) = (Program::start(user.run(None)).await, user.file("none.toml", ""));
    check(&["--address", &other.address.to_string()]).await.with_code(1).says(&["answers as no proxy does: 405"]);
    check(&["--alive", "--address", &other.address.to_string()]).await.with_code(1);
    other.stop().await;
    check(&["--address", "localhost:1"]).await.with_code(2);
    check(&["--config", &none.display().to_string()]).await.with_code(2).says(&["names no [admin] address"]);
    let free = user.file("free.toml", &format!("[admin]\naddress = \"{free}\"\n"));
    check(&["--config", &free.display().to_string()]).await.with_code(3);
    check(&["--config", "x", "--address", "127.0.0.1:1"]).await.with_code(2);
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let user = User::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let path = user.file("pinproxy.toml", &format!("[admin]\naddress = \"{address}\"\n"));
    let ended = user.run(Some(&path)).run().await.with_code(3);
    ended.says(&[
        &format!("cannot listen on {address}, the [admin] address: Address already in use"),
        "choose another port",
    ]);
    assert_eq!(ended.out, "", "{ended}");
}

#[tokio::test]
async fn garbage_and_silence_hold_nobody_up() {
    let telling = Telling::start("", |_| String::new()).await;
    // Who says nothing takes one of the places for a while.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(RawClient::connect(telling.admin).await.unwrap());
    }
    let long = format!("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let many = format!("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n{}\r\n", "A: b\r\n".repeat(100));
    let garbage: [&[u8]; 7] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for octets in garbage {
        let mut client = RawClient::connect(telling.admin).await.unwrap();
        // The connection may end before all of it is sent.
        client.send(octets).await.ok();
        client.shutdown().await.ok();
        if let Ok(answer) = client.read_to_end().await {
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
        assert_eq!(reply(&telling.program, &telling.site).await.0, 200);
        assert_eq!(telling.get("/healthz").await.status, 200);
    }
    drop(silent);
    let ended = telling.program.stop().await;
    assert!(!ended.err.contains("panicked"), "{ended}");
}

/// More than there are places, and each has five seconds to ask something: a probe does not wait for them.
#[tokio::test]
async fn silence_on_all_places_keeps_no_probe_out() {
    let telling = Telling::start("", |_| String::new()).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(RawClient::connect(telling.admin).await.unwrap());
    }
    let probed = tokio::time::timeout(PROBE_TIMEOUT, async {
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(telling.get(path).await.status, 200, "{path}");
        }
    });
    probed.await.expect("answers in time");
    let ended = telling.program.stop().await;
    let told = "WARN pinproxy::admin::places: the admin address has as many connections as it takes (32, ";
    assert_eq!(ended.err.matches(told).count(), 1, "{ended}");
}

#[tokio::test]
async fn a_storm_of_scrapes_does_not_touch_sessions() {
    let telling = Telling::start("", |site| pinset(&site.chain.pin())).await;
    // Scrapers that ask and never read.
    let mut slow = Vec::new();
    for _ in 0..5 {
        let mut client = RawClient::connect(telling.admin).await.unwrap();
        client.send(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await.unwrap();
        slow.push(client);
    }
    let admin = telling.admin;
    let mut storm = tokio::task::JoinSet::new();
    for _ in 0..100 {
        storm.spawn(async move {
            let mut client = RawClient::connect(admin).await.expect("the admin address listens");
            let request = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
            client.send(request).await.expect("it takes the request");
            let reply = client.read_reply().await.expect("a reply");
            assert!(reply.status == 200 && reply.text().ends_with("# EOF\n"), "{reply:?}");
        });
    }
    for _ in 0..20 {
        assert_eq!(reply(&telling.program, &telling.site).await.0, 200);
    }
    let scrapes = within_deadline(storm.join_all()).await.expect("all scrapes in time");
    assert_eq!(scrapes.len(), 100);
    drop(slow);
    telling.program.stop().await;
}

/// Whatever the access rules allow: on the addresses that are dialled, behind names and as literals.
#[tokio::test]
async fn no_client_reaches_it_through_the_proxy() {
    let user = User::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (bind, token) in [("127.0.0.1", ""), ("0.0.0.0", "token = \"${TOKEN}\""), ("[::]", "token = \"${TOKEN}\"")] {
        let path = user.file(
            "pinproxy.toml",
            &format!(
                "[admin]\naddress = \"{bind}:{port}\"\n{token}\n[access]\nclients = [\"127.0.0.0/8\"]\n\
                 destinations_deny = []\ndestinations_allow = [\"0.0.0.0/0\", \"::/0\"]\nports_allow = [{port}]\n\
                 [[tunnel]]\nhosts = [\"localhost:{port}\", \"127.0.0.1:{port}\"]\nreason = \"x\"\n"
            ),
        );
        let program = Program::start(user.run(Some(&path)).env("TOKEN", TOKEN)).await;
        let everywhere: &[&str] = if bind == "127.0.0.1" { &[] } else { &["127.0.0.2", "127.255.255.254"] };
        for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]"]
            .iter()
            .chain(everywhere)
        {
            let mut client = RawClient::connect(program.address).await.unwrap();
            let reply = client.connect_to(&format!("{host}:{port}")).await.unwrap();
            assert_eq!(reply.status, 403, "{bind} {host}: {reply:?}");
            assert!(reply.reason.contains("is the admin address of this proxy"), "{bind} {host}: {}", reply.reason);
        }
        let told = program.stop().await;
        assert!(told.err.contains("class=access stage=dial"), "{told}");
    }
}
