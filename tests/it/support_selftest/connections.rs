//! What goes over a connection and how it ends.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::Outcome;
use crate::support::{
    client::{ClientTls, Ending, Fault, RawClient, TlsClient},
    origin::{Behaviour, End, Origin, OriginConfig, pattern},
    pki::{Ca, Leaf},
};

const HOST: &str = "api.bank.example";

/// An origin with this behaviour and a client connected to it.
async fn connected(behaviour: Behaviour) -> Result<(Origin, TlsClient), Box<dyn std::error::Error>> {
    let root = Ca::root("Root");
    let config = OriginConfig::new(Leaf::named(HOST).signed_by(&root)).behaviour(behaviour);
    let origin = Origin::start(config).await;
    let tls = ClientTls::to(HOST).trusting([&root]).build();
    let client = RawClient::connect(origin.addr()).await?.tls(&tls).await?;
    Ok((origin, client))
}

#[tokio::test]
async fn an_echo_is_counted_and_closed_on_both_sides() -> Outcome {
    let (origin, mut client) = connected(Behaviour::Echo).await?;
    client.send(b"hello").await?;
    assert_eq!(client.read_exact(2).await?, b"he");
    client.shutdown().await?;
    assert_eq!(client.read_to_end().await?, (b"llo".to_vec(), Ending::Clean));
    let tally = origin.until_ended(1).await?;
    assert_eq!((tally.tcp_connections(), tally.received(), tally.clean_closes()), (1, 5, 1));
    assert_eq!(tally.connections[0].data, b"hello");
    Ok(())
}

#[tokio::test]
async fn a_truncation_is_no_clean_close() -> Outcome {
    let (origin, mut client) = connected(Behaviour::Echo).await?;
    client.send(b"half a sen").await?;
    assert_eq!(client.read_exact(10).await?.len(), 10);
    client.truncate().await?;
    let tally = origin.until_ended(1).await?;
    assert_eq!((tally.truncations(), tally.clean_closes()), (1, 0));

    for (clean, ending) in [(true, Ending::Clean), (false, Ending::Truncated)] {
        let bytes = b"greetings".to_vec();
        let (origin, mut client) = connected(Behaviour::SendThenClose { bytes: bytes.clone(), clean }).await?;
        assert_eq!(client.read_to_end().await?, (bytes, ending));
        client.shutdown().await?;
        assert_eq!(origin.until_ended(1).await?.clean_closes(), 1, "the other direction is intact");
    }
    Ok(())
}

#[tokio::test]
async fn a_reset_is_neither() -> Outcome {
    let (origin, mut client) = connected(Behaviour::Reset).await?;
    client.send(b"break").await?;
    let (_, ending) = client.read_to_end().await?;
    assert!(matches!(ending, Ending::Failed(_)), "{ending:?}");
    assert_eq!(origin.until_ended(1).await?.connections[0].end, Some(End::Closed));

    let (origin, mut client) = connected(Behaviour::Echo).await?;
    client.send(b"?").await?;
    assert_eq!(client.read_exact(1).await?, b"?");
    client.reset()?;
    let tally = origin.until_ended(1).await?;
    assert!(matches!(tally.connections[0].end, Some(End::Failed(_))), "{tally:?}");
    Ok(())
}

#[tokio::test]
async fn a_half_closed_connection_still_answers() -> Outcome {
    let (origin, mut client) = connected(Behaviour::HalfClose).await?;
    client.send(&pattern(0, 100_000)).await?;
    client.shutdown().await?;
    assert_eq!(client.read_to_end().await?, (b"100000".to_vec(), Ending::Clean));
    let tally = origin.until_ended(1).await?;
    assert_eq!(tally.connections[0].data, pattern(0, 100_000));
    Ok(())
}

#[tokio::test]
async fn a_download_is_complete() -> Outcome {
    let (_origin, mut client) = connected(Behaviour::Download(1_000_000)).await?;
    let (bytes, ending) = client.read_to_end().await?;
    assert_eq!(ending, Ending::Clean);
    assert!(bytes == pattern(0, 1_000_000), "{} bytes", bytes.len());
    Ok(())
}

#[tokio::test]
async fn only_the_first_mebibyte_is_kept_and_all_of_it_counted() -> Outcome {
    let (origin, mut client) = connected(Behaviour::Drain).await?;
    client.send(&vec![7; 1_500_000]).await?;
    client.shutdown().await?;
    let tally = origin.until_ended(1).await?;
    assert_eq!((tally.received(), tally.connections[0].data.len()), (1_500_000, 1024 * 1024));
    Ok(())
}

#[tokio::test]
async fn http_requests_follow_each_other_until_one_says_close() -> Outcome {
    let (origin, mut client) = connected(Behaviour::Http1).await?;
    let post = "POST /form HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nbody";
    let last = "GET /last HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    assert_eq!(client.get("a.example", "/first").await?.text(), "GET /first a.example\n");
    client.send(format!("{post}{last}").as_bytes()).await?;
    assert_eq!(client.read_reply().await?.text(), "POST /form a.example\n");
    let reply = client.read_reply().await?;
    assert_eq!((reply.status, reply.text().as_str()), (200, "GET /last a.example\n"));
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(client.read_to_end().await?, (Vec::new(), Ending::Clean));
    drop(client);
    origin.until_ended(1).await?;
    Ok(())
}

/// The replies of a proxy that says exactly this, whatever it is asked.
async fn scripted(bytes: &[u8]) -> Result<(Origin, RawClient), Fault> {
    let chain = Leaf::named(HOST).self_signed();
    let origin = Origin::start(OriginConfig::new(chain).behaviour(Behaviour::PlainText(bytes.to_vec()))).await;
    let client = RawClient::connect(origin.addr()).await?;
    Ok((origin, client))
}

/// The smallest proxy there is: says 200 to one client and passes on whatever came with or after its request.
async fn tunnel_to(origin: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        let (client, _) = listener.accept().await?;
        let mut client = BufReader::new(client);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            client.read_line(&mut line).await?;
        }
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        copy_bidirectional(&mut client, &mut TcpStream::connect(origin).await?).await
    });
    Ok(addr)
}

#[tokio::test]
async fn a_hello_may_come_before_or_after_the_200() -> Outcome {
    let root = Ca::root("Root");
    let origin = Origin::start(OriginConfig::new(Leaf::named(HOST).signed_by(&root))).await;
    let tls = ClientTls::to(HOST).trusting([&root]).build();

    let mut client = RawClient::connect(tunnel_to(origin.addr()).await?).await?;
    assert_eq!(client.connect_to("api.bank.example:443").await?.status, 200);
    let patient = client.tls(&tls).await?;
    assert!(!patient.resumed());

    let client = RawClient::connect(tunnel_to(origin.addr()).await?).await?;
    let (reply, impatient) = client.connect_and_tls_at_once("api.bank.example:443", &tls).await?;
    assert_eq!(reply.status, 200);
    let mut impatient = impatient.expect("a handshake after a 200")?;
    impatient.send(b"hurry").await?;
    assert_eq!(impatient.read_exact(5).await?, b"hurry");

    let (_refusing, client) = scripted(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await?;
    let (reply, tls) = client.connect_and_tls_at_once("api.bank.example:443", &tls).await?;
    assert!(reply.status == 502 && tls.is_none());
    Ok(())
}

#[tokio::test]
async fn a_reply_is_read_to_its_end_and_no_further() -> Outcome {
    let script = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nCONTENT-length:  3\r\n\
        X-Empty:\r\n\r\nno!HTTP/1.1 200\r\n\r\n\x16\x03\x01";
    let (_origin, mut client) = scripted(script).await?;
    let reply = client.connect_to("api.bank.example:443").await?;
    assert_eq!((reply.status, reply.reason.as_str()), (407, "Proxy Authentication Required"));
    assert_eq!((reply.text().as_str(), reply.header("x-empty")), ("no!", Some("")));
    assert_eq!(reply.headers[0], ("proxy-authenticate".to_owned(), "Basic".to_owned()));
    let reply = client.read_reply().await?;
    assert_eq!((reply.status, reply.reason.as_str(), reply.headers.len()), (200, "", 0));
    assert_eq!(client.read_some().await?, b"\x16\x03\x01", "what follows is kept");
    assert!(client.read_some().await.is_err_and(|fault| fault.is_bare_eof()));
    Ok(())
}

#[tokio::test]
async fn replies_that_end_early_or_make_no_sense_are_faults() -> Outcome {
    let (_origin, mut client) = scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort").await?;
    assert!(matches!(client.read_reply().await, Err(Fault::Eof { got }) if got.ends_with(b"short")));
    let (_origin, mut client) = scripted(b"").await?;
    assert!(client.read_reply().await.is_err_and(|fault| fault.is_bare_eof()));
    let (_origin, mut client) = scripted(b"SSH-2.0-OpenSSH_9.9\r\n\r\n").await?;
    assert!(matches!(client.read_reply().await, Err(Fault::Malformed(_))));
    Ok(())
}

#[tokio::test]
async fn a_silent_origin_stays_silent_and_sees_the_client_leave() -> Outcome {
    let chain = Leaf::named(HOST).self_signed();
    let origin = Origin::start(OriginConfig::new(chain).behaviour(Behaviour::NeverHandshake)).await;
    let mut client = RawClient::connect(origin.addr()).await?;
    client.send(b"anybody?").await?;
    client.shutdown().await?;
    let tally = origin.until_ended(1).await?;
    assert_eq!(tally.connections[0].end, Some(End::WithoutTls));
    assert!(client.read_to_end().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn dropping_an_origin_ends_its_connections_and_its_port() -> Outcome {
    let (origin, mut client) = connected(Behaviour::Echo).await?;
    client.send(b"there?").await?;
    assert_eq!(client.read_exact(6).await?, b"there?");
    let addr = origin.addr();
    drop(origin);
    assert_eq!(client.read_to_end().await?, (Vec::new(), Ending::Truncated));
    // A child process that another test starts has a copy of the listener, for the moment until it runs its program.
    for _ in 0..500 {
        if matches!(RawClient::connect(addr).await, Err(Fault::Io { .. })) {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("somebody still listens there");
}

#[tokio::test]
async fn an_origin_may_live_on_ipv6() -> Outcome {
    let root = Ca::root("Root");
    let config = OriginConfig::new(Leaf::named("::1").signed_by(&root)).ipv6();
    // A machine without IPv6 has nothing to show here.
    let Ok(origin) = Origin::try_start(config).await else { return Ok(()) };
    let tls = ClientTls::to("::1").trusting([&root]).build();
    let mut client = RawClient::connect(origin.addr()).await?.tls(&tls).await?;
    client.send(b"six").await?;
    assert_eq!(client.read_exact(3).await?, b"six");
    Ok(())
}
