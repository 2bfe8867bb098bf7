//! SOCKS5: RFC 1928.

use super::{Rubbish, World, balance, curl, listener, sees_through, told, wrong};
use crate::support::bench::Bench;
use crate::support::client::{RawClient, client_hello_bytes};
use crate::support::process;
use crate::support::verdict::{BANK, NO_PINNED_KEY};
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::{Decided, Stage};

const SUCCEEDED: [u8; 10] = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

fn socks(more: &str) -> String {
    listener("kind = \"socks5\"") + more
}

/// A request for a domain name or an IPv4 address.
fn request(host: &str, port: u16) -> Vec<u8> {
    let address = match host.parse::<std::net::Ipv4Addr>() {
        Ok(address) => [&[1][..], &address.octets()].concat(),
        Err(_) => [&[3, u8::try_from(host.len()).expect("a name or a number")][..], host.as_bytes()].concat(),
    };
    [&[5, 1, 0][..], &address, &port.to_be_bytes()].concat()
}

/// A client that has come as far as its request.
async fn greeted(bench: &Bench) -> RawClient {
    let mut client = RawClient::connect(bench.proxy.addr).await.expect("a connection");
    client.send(&[5, 1, 0]).await.expect("it is sent");
    assert_eq!(client.read_exact(2).await.expect("an answer"), [5, 0]);
    client
}

#[tokio::test]
async fn a_name_is_judged_before_the_success_and_an_address_by_the_server_name() {
    let world = World::new();
    for host in [BANK, "API.BANK.EXAMPLE.", "127.0.0.1"] {
        let mut bench = world.start(&socks(&world.right())).await;
        let port = bench.origin.port();
        let mut client = greeted(&bench).await;
        client.send(&request(host, port)).await.unwrap();
        assert_eq!(client.read_exact(10).await.unwrap(), SUCCEEDED, "{host}");
        let session = balance(&bench, client).await;
        assert!(session.answer.starts_with("GET /balance"), "{}", session.answer);
        let event = told(&mut bench).await;
        let canonical = host.to_ascii_lowercase();
        let canonical = canonical.trim_end_matches('.');
        assert_eq!(*event.connect_authority, *format!("{canonical}:{port}"));
        assert_eq!(event.hostname.as_deref(), Some(BANK), "{host}");
        assert_eq!((event.decision, event.matched_position, event.status), (Decided::Allow, Some(0), None), "{host}");
        assert_eq!((event.stage, event.pinset.as_deref()), (Stage::Relay, Some("bank")), "{host}");
    }
}

/// Rules, host, port if another, code, class, words.
type Row<'a> = (String, &'a str, Option<u16>, u8, FailureClass, &'a str);

#[tokio::test]
async fn what_is_refused_is_refused_by_its_code() {
    let world = World::new();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let denied = "[access]\ndestinations_deny = [\"bank.example\", \"api.bank.example\"]\nports_allow = [443]\n";
    let table: Vec<Row<'_>> = vec![
        (wrong(), BANK, None, 2, FailureClass::Pin, NO_PINNED_KEY),
        ("[defaults]\nunpinned = \"deny\"\n".to_owned(), BANK, None, 2, FailureClass::Access, "no pinset for"),
        (denied.to_owned(), BANK, Some(443), 2, FailureClass::Access, "destination api.bank.example:443 may not"),
        (denied.to_owned(), "other.example", Some(25), 2, FailureClass::Access, "port 25 may not be reached"),
        (String::new(), "gone.example", None, 4, FailureClass::Unreachable, "no address for gone.example"),
        (String::new(), BANK, Some(closed), 5, FailureClass::Unreachable, "cannot connect to"),
        (String::new(), "127.1", None, 1, FailureClass::Request, "ends in a number"),
        (String::new(), "b\u{e4}nk.example", None, 1, FailureClass::Request, "not ASCII"),
        (String::new(), "::1", None, 1, FailureClass::Request, "in brackets"),
        (String::new(), "", None, 1, FailureClass::Request, "the host is empty"),
        (String::new(), BANK, Some(0), 1, FailureClass::Request, "the port is not a number"),
    ];
    for (rules, host, port, code, class, words) in table {
        let mut bench = world.start_with(&socks(&rules), |proxy| proxy.no_such_name("gone.example")).await;
        let mut client = greeted(&bench).await;
        client.send(&request(host, port.unwrap_or(bench.origin.port()))).await.unwrap();
        let answer = client.read_to_end().await.unwrap();
        assert_eq!(answer, [5, code, 0, 1, 0, 0, 0, 0, 0, 0], "{host} {rules}");
        let event = told(&mut bench).await;
        assert_eq!((event.failure_class, event.status), (Some(class), None), "{host} {event}");
        assert!(event.detail.as_deref().unwrap_or_default().contains(words), "{host}: {event}");
        assert_eq!(bench.origin.tally().received(), 0, "{host}");
    }
}

/// A session is one, whichever way it has come in: a later generation ends it.
#[tokio::test]
async fn a_session_that_new_rules_refuse_is_ended() {
    let world = World::new();
    let mut bench = world.start(&socks(&world.right())).await;
    let mut client = greeted(&bench).await;
    client.send(&request(BANK, bench.origin.port())).await.unwrap();
    assert_eq!(client.read_exact(10).await.unwrap(), SUCCEEDED);
    let mut tls = client.tls(&bench.client(BANK).build()).await.unwrap();
    tls.get(BANK, "/balance").await.unwrap();
    drop(bench.proxy.replace(&socks(&wrong()), 2));
    assert_eq!(bench.proxy.proxy.judge_open_sessions(), 1);
    let event = told(&mut bench).await;
    assert_eq!((event.decision, event.failure_class), (Decided::Refuse, Some(FailureClass::Pin)), "{event}");
    assert!(event.was_closed_by_policy(), "{event}");
}

/// What comes behind the request in one write is what the client says to its host.
#[tokio::test]
async fn nothing_that_is_sent_ahead_gets_lost() {
    let world = World::new();
    let bench = world.start(&socks(&world.right())).await;
    let mut client = RawClient::connect(bench.proxy.addr).await.unwrap();
    let hello = client_hello_bytes(Some(BANK), &["http/1.1"]);
    client.send(&[&[5, 1, 0][..], &request(BANK, bench.origin.port()), &hello].concat()).await.unwrap();
    assert_eq!(client.read_exact(12).await.unwrap(), [&[5, 0][..], &SUCCEEDED].concat());
    // The ServerHello, in a record of the handshake.
    assert_eq!(client.read_exact(1).await.unwrap(), [22]);
}

#[tokio::test]
async fn clients_that_say_something_else_or_stop_in_the_middle() {
    let world = World::new();
    let mut bench = world.start(&socks("[limits]\nheader_timeout = \"300ms\"\n")).await;
    let hello = client_hello_bytes(Some(BANK), &[]);
    let slow = Some("within the time allowed");
    let failed = [5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0];
    let [command, address_type] = [7, 8].map(|code| [5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
    let mut many = vec![5, 255];
    many.extend([9; 255]);
    let rubbish = |sent, answered, detail| Rubbish { sent, answered, detail };
    let table = [
        rubbish(b"", b"", None),
        rubbish(b"\x04\x01\x01\xbb\x7f\0\0\x01\0", b"", Some("SOCKS4")),
        rubbish(&hello, b"", Some("that of TLS")),
        rubbish(
            b"CONNECT bank.example:443 HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 400 The client does not speak SOCKS5",
            Some("as of HTTP"),
        ),
        rubbish(b"\xff\xfe\xfd", b"", Some("first octet is 0xff")),
        rubbish(b"\x05", b"\x05\xff", slow),
        rubbish(b"\x05\x02\x00", b"\x05\xff", slow),
        rubbish(b"\x05\x01\x02", b"\x05\xff", Some("no way to prove")),
        rubbish(&many, b"\x05\xff", Some("no way to prove")),
        rubbish(b"\x05\x01\x00\x05\x01", &failed, slow),
        rubbish(b"\x05\x01\x00\x05\x01\x00\x03\x0cbank", &failed, slow),
        rubbish(b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01\x01", &failed, slow),
        rubbish(b"\x05\x01\x00\x04\x01\x00\x01", &failed, Some("malformed")),
        rubbish(b"\x05\x01\x00\x05\x01\x07\x01", &failed, Some("malformed")),
        rubbish(b"\x05\x01\x00\x05\x02\x00\x01\x7f\0\0\x01\x01\xbb", &command, Some("BIND")),
        rubbish(b"\x05\x01\x00\x05\x03\x00\x01\x7f\0\0\x01\x01\xbb", &command, Some("UDP ASSOCIATE")),
        rubbish(b"\x05\x01\x00\x05\x01\x00\x02\x7f\0\0\x01\x01\xbb", &address_type, Some("address type 2")),
    ];
    sees_through(&mut bench, &table).await;
}

/// Somebody who sends nothing is in nobody's way.
#[tokio::test]
async fn the_silent_keep_nobody_out() {
    let world = World::new();
    let mut bench = world.start(&socks(&world.right())).await;
    let _silent = [RawClient::connect(bench.proxy.addr).await.unwrap(), greeted(&bench).await];
    let mut client = greeted(&bench).await;
    client.send(&request(BANK, bench.origin.port())).await.unwrap();
    assert_eq!(client.read_exact(10).await.unwrap(), SUCCEEDED);
    balance(&bench, client).await;
    assert_eq!(told(&mut bench).await.decision, Decided::Allow);
}

#[tokio::test]
async fn curl_by_name_and_by_address() {
    let Some(program) = process::find("curl") else { return };
    let world = World::new();
    for (rules, code) in [(world.right(), 0), (wrong(), 97)] {
        let mut bench = world.start(&socks(&rules)).await;
        let (proxy, port) = (bench.proxy.addr, bench.origin.port());
        let url = format!("https://{BANK}:{port}/balance");
        let by_name = curl(&program, &bench).arg("--socks5-hostname").arg(proxy.to_string()).arg(&url);
        let done = by_name.run().await.with_code(code);
        let event = told(&mut bench).await;
        assert_eq!(*event.connect_authority, *format!("{BANK}:{port}"));
        if code == 0 {
            assert!(done.out.starts_with("GET /balance ") && event.decision == Decided::Allow, "{done}");
        } else {
            done.says(&["(2)"]);
            assert_eq!((event.decision, event.failure_class), (Decided::Refuse, Some(FailureClass::Pin)));
        }
        // curl asks its own resolver; the address gets its answer, and the server name its verdict.
        let resolved = format!("{BANK}:{port}:127.0.0.1");
        let by_address = curl(&program, &bench).args(["--resolve", &resolved, "--socks5"]).arg(proxy.to_string());
        by_address.arg(&url).run().await.with_code(if code == 0 { 0 } else { 35 });
        let event = told(&mut bench).await;
        assert_eq!(*event.connect_authority, *format!("127.0.0.1:{port}"));
        assert_eq!(event.hostname.as_deref(), Some(BANK));
        assert_eq!(event.decision, if code == 0 { Decided::Allow } else { Decided::Refuse });
    }
}
