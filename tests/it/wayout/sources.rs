//! A fixed source address.

use super::*;
use std::net::IpAddr;
use tokio::net::TcpListener;

const LOOPBACK: &str = "127.0.0.7";

#[tokio::test]
async fn connections_go_out_from_it() {
    let bank = Bank::new();
    let source: IpAddr = LOOPBACK.parse().unwrap();
    let tunnel = "[[tunnel]]\nhosts = [\"**.example\"]\nreason = \"x\"";
    // One address, and several, which are tried by other means.
    for addresses in [&["127.0.0.1"][..], &["127.0.0.1", "127.0.0.2", "::1"]] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = format!("git.example:{}", listener.local_addr().unwrap().port());
        let builder = bank.builder(&format!("source = \"{LOOPBACK}\""), tunnel).name("git.example", addresses);
        let mut proxy = builder.start().await;
        // What is accepted is closed again, which ends the session.
        let accepted = async { listener.accept().await.unwrap().1.ip() };
        let (asked, from) = tokio::join!(asked(&mut proxy, &target), accepted);
        assert_eq!((asked.0.status, from), (200, source), "{addresses:?}");
    }
    // Towards a parent, too.
    let parent = ParentServer::start(vec![Step::Head]).await;
    let upstream = format!("source = [\"{LOOPBACK}\"]\nparent = \"{}\"", parent.url("http"));
    asked(&mut bank.builder(&upstream, "").start().await, &format!("{HOST}:443")).await;
    assert_eq!(parent.asked()[0].from.ip(), source);
}

#[tokio::test]
async fn nothing_goes_out_from_anywhere_else() {
    let bank = Bank::new();
    let origin = bank.origin().await;
    let target = format!("{HOST}:{}", origin.port());
    let parent = ParentServer::start(connects(origin.port())).await;
    let no_source = format!("{target} has no address of a family that [upstream] source has one of");
    let table: [(String, &[&str], String); 5] = [
        // For documentation: no machine has it.
        (
            "source = \"192.0.2.7\"".into(),
            &["127.0.0.1"],
            format!("cannot connect to {target} from this machine's addresses in [upstream] source: "),
        ),
        (
            "source = \"192.0.2.7\"".into(),
            &["127.0.0.1", "127.0.0.2"],
            format!("cannot connect to {target} from this machine's addresses in [upstream] source: "),
        ),
        ("source = \"::1\"".into(), &["127.0.0.1"], no_source.clone()),
        ("source = \"127.0.0.7\"".into(), &["::1"], no_source),
        (
            format!("source = \"192.0.2.7\"\nparent = \"{}\"", parent.url("http")),
            &["127.0.0.1"],
            format!("cannot connect to {} from this machine's addresses in [upstream] source: ", parent.addr),
        ),
    ];
    for (upstream, addresses, words) in table {
        let mut proxy = bank.builder(&upstream, "").name(HOST, addresses).start().await;
        let (reply, event) = asked(&mut proxy, &target).await;
        assert_eq!((reply.status, proxy_error(&reply)), (502, "proxy_configuration_error"), "{upstream} {event}");
        let seen = (event.stage, event.decision, event.failure_class);
        assert_eq!(seen, (Stage::Dial, Decided::Failed, Some(FailureClass::Unreachable)), "{upstream}");
        assert!(event.detail.as_deref().unwrap().starts_with(&words), "{event}");
        assert!(flat(&reply).contains("corrects [upstream] source"), "{}", reply.text());
    }
    assert_eq!((origin.tally().tcp_connections(), parent.asked().len()), (0, 0));
}
