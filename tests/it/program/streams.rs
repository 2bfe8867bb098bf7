//! Readers that go away: what nobody reads does not stop the proxy.

use super::*;

use crate::support::client::RawClient;
use std::io::{Read as _, pipe};
use std::net::{Ipv4Addr, TcpListener};

/// What a pipe of Linux holds, less the page that a line of the log may not fill (pipe(7)).
const PIPE_BYTES: usize = 60 * 1024;

/// The proxy on a port that the test chose, since nobody reads what it prints.
async fn started(start: impl Fn(u16) -> Start) -> (Running, u16) {
    for _ in 0..5 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let mut running = start(port).start();
        if running.listens(port).await {
            return (running, port);
        }
    }
    panic!("it does not start");
}

/// Refuses a few sessions, each of which is a line of the log, and still stops as asked.
async fn works(user: &User, running: Running, port: u16) {
    let curl = process::find("curl").expect("asked for before");
    for _ in 0..20 {
        let start = process::command(&curl, user.folder()).args(["-sSv", "--proxy"]);
        let done = start.arg(format!("http://127.0.0.1:{port}")).arg("https://localhost:1/").run().await.with_code(56);
        done.says(&["< HTTP/1.1 502 "]);
    }
    running.signal("TERM").await;
    running.ended().await.with_code(0);
}

#[tokio::test]
async fn a_reader_that_goes_away() {
    if process::find("curl").is_none() {
        return;
    }
    for (out, err) in [(true, false), (false, true), (true, true)] {
        let user = User::new();
        let (running, port) = started(|port| {
            user.pinproxy(["run", "--listen"]).arg(format!("127.0.0.1:{port}")).with(|command| {
                // The reading end is gone before the program can write.
                let closed = || pipe().expect("a pipe").1;
                if out {
                    command.stdout(closed());
                }
                if err {
                    command.stderr(closed());
                }
            })
        })
        .await;
        works(&user, running, port).await;
    }
}

#[tokio::test]
async fn no_outputs_at_all() {
    if process::find("curl").is_none() {
        return;
    }
    let user = User::new();
    let shell = process::find("sh").expect("every Unix has sh");
    let (running, port) = started(|port| {
        let start = process::command(&shell, user.folder()).env("XDG_DATA_HOME", user.folder().join("data"));
        let script = "exec \"$0\" \"$@\" <&- >&- 2>&-";
        let start = start.args(["-c", script, env!("CARGO_BIN_EXE_pinproxy"), "run", "--listen"]);
        start.arg(format!("127.0.0.1:{port}"))
    })
    .await;
    works(&user, running, port).await;
}

/// A terminal that is stopped, a pager: the pipe fills, and sessions go on.
#[tokio::test]
async fn a_reader_that_does_not_read() {
    let user = User::new();
    let (mut reader, writer) = pipe().unwrap();
    let config = user.file("pinproxy.toml", "[log]\nlevel = \"trace\"\n");
    let program = Program::start(user.run(Some(&config)).with(|command| {
        command.stderr(writer);
    }))
    .await;
    for _ in 0..1_000 {
        let mut client = RawClient::connect(program.address).await.unwrap();
        client.send(b"GET http://localhost:1/ HTTP/1.1\r\nHost: localhost:1\r\n\r\n").await.unwrap();
        assert_eq!(client.read_reply().await.unwrap().status, 405);
    }
    program.running.signal("TERM").await;
    program.running.ended().await.with_code(0);
    let mut unread = Vec::new();
    reader.read_to_end(&mut unread).unwrap();
    assert!(unread.len() >= PIPE_BYTES, "the pipe was not full: {} bytes", unread.len());
}
