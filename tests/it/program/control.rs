//! The control socket, as `pinproxy ctl` and anybody else sees it.

use super::reload::reply;
use super::*;

use crate::support::process::Finished;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// A proxy with a control socket, and what it is asked.
struct Controlled {
    user: User,
    site: Site,
    program: Program,
    socket: PathBuf,
    path: PathBuf,
}

impl Controlled {
    async fn start(toml: impl FnOnce(&Site) -> String) -> Self {
        let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
        let toml = format!("[admin]\nsocket = \"control.sock\"\n{}", toml(&site));
        let path = site.trusted_by(&user, &toml);
        let program = Program::start(user.run(Some(&path))).await;
        let socket = user.folder().join("control.sock");
        Self { user, site, program, socket, path }
    }

    async fn ctl(&self, arguments: &[&str]) -> Finished {
        self.user.pinproxy(["ctl", "--socket"]).arg(&self.socket).args(arguments).run().await
    }

    async fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let done = self.ctl(&[&["--json"], arguments].concat()).await.with_code(0);
        serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {done}"))
    }
}

#[tokio::test]
async fn the_socket_is_its_owners_and_goes_with_the_process() {
    let controlled = Controlled::start(|_| String::new()).await;
    let found = std::fs::symlink_metadata(&controlled.socket).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.mode() & 0o777, 0o600);
    let status = controlled.json(&["status"]).await;
    assert_eq!(status["pid"], controlled.program.running.id());
    assert_eq!((&status["generation"], &status["draining"]), (&1.into(), &false.into()));
    let told = controlled.ctl(&["status"]).await.with_code(0);
    assert!(told.out.starts_with("pinproxy ") && told.out.contains(": running\n"), "{told}");
    assert!(told.out.contains("  generation  1 with 0 rules, since "), "{told}");
    let drained = controlled.ctl(&["drain"]).await.with_code(0);
    assert!(drained.out.starts_with("no new sessions"), "{drained}");
    let ended = controlled.program.running.ended().await.with_code(0);
    ended.says(&["drain asked for over the control socket (user ", "stopping: no new sessions", "stopped"]);
    assert!(!controlled.socket.exists());
    let none =
        controlled.user.pinproxy(["ctl", "--socket"]).arg(&controlled.socket).arg("status").run().await.with_code(3);
    none.says(&["cannot reach the control socket", "name the one of the proxy with --socket FILE"]);
}

#[tokio::test]
async fn a_reload_answers_with_what_came_of_it() {
    let controlled = Controlled::start(|site| pinset(&site.chain.pin())).await;
    let good = std::fs::read_to_string(&controlled.path).unwrap();
    let done = controlled.json(&["reload"]).await;
    assert_eq!((&done["generation"], &done["rules"], &done["closed"]), (&2.into(), &1.into(), &0.into()));

    std::fs::write(&controlled.path, "[[pinset").unwrap();
    let refused = controlled.ctl(&["reload"]).await.with_code(1);
    refused.says(&["the configuration cannot be used", "error[E17]"]);
    let status = controlled.ctl(&["status"]).await.with_code(0);
    for part in ["  last reload REFUSED at ", " (control); what was in force stays in force:", "error[E17]"] {
        assert!(status.out.contains(part), "{part}: {status}");
    }

    // Without its pinset, which nobody takes back by accident.
    let (without, _) = good.split_once("[[pinset]]").unwrap();
    std::fs::write(&controlled.path, without).unwrap();
    let refused = controlled.ctl(&["reload"]).await.with_code(1);
    refused.says(&[
        "1 of 1 pinned host patterns would lose protection: 1 without a rule (localhost)",
        "pinproxy ctl reload --force",
    ]);
    let forced = controlled.ctl(&["reload", "--force"]).await.with_code(0);
    assert!(forced.out.starts_with("generation 3 with 0 rules is in force\n"), "{forced}");
    let status = controlled.ctl(&["status"]).await.with_code(0);
    assert!(status.out.contains("  last reload taken at "), "{status}");
    controlled.program.stop().await;
}

/// Who rotates files and asks for a reload learns that it did not work, and so does who looks later.
#[tokio::test]
async fn a_file_that_cannot_be_opened_anew_is_told() {
    let controlled = Controlled::start(|_| "[log]\naccess = \"access.jsonl\"\n".to_owned()).await;
    let (path, moved) = (controlled.user.folder().join("access.jsonl"), controlled.user.folder().join("access.1"));
    std::fs::rename(&path, &moved).unwrap();
    std::fs::create_dir(&path).unwrap();
    let says =
        "access.jsonl cannot be opened anew, and lines go on to the file that was there before: it is a folder now";
    let done = controlled.ctl(&["reload"]).await.with_code(0);
    let error = done.out.lines().find_map(|line| line.strip_prefix("ERROR: "));
    assert!(error.is_some_and(|error| error.contains(says)), "{done}");
    let status = controlled.ctl(&["status"]).await.with_code(0);
    assert!(status.out.contains("ERROR: ") && status.out.contains(says), "{status}");
    assert_eq!(reply(&controlled.program, &controlled.site).await.0, 200);
    crate::support::until(|| std::fs::read_to_string(&moved).unwrap().lines().count() == 1).await;
    std::fs::remove_dir(&path).unwrap();
    assert!(!controlled.ctl(&["reload"]).await.with_code(0).out.contains("ERROR"));
    assert!(!controlled.ctl(&["status"]).await.with_code(0).out.contains("ERROR"));
    assert_eq!(reply(&controlled.program, &controlled.site).await.0, 200);
    crate::support::until(|| std::fs::read_to_string(&path).unwrap().lines().count() == 1).await;
    controlled.program.stop().await.says(&["it is a folder now"]);
}

#[tokio::test]
async fn an_override_lets_one_host_through_until_it_is_taken_back() {
    let mut controlled = Controlled::start(|_| pinset(&Key::p256().pin())).await;
    let refused = (502, format!("Certificate pin mismatch for {HOST} (pinset site)"));
    let established = (200, "Connection established".to_owned());
    assert_eq!(reply(&controlled.program, &controlled.site).await, refused);
    let host = format!("{HOST}:{}", controlled.site.origin.port());
    let given = ["--for", "2h", "--reason", "CHG-4711", "--by", "ann"];
    let added = controlled.ctl(&[&["override", "add", &host], &given[..]].concat()).await.with_code(0);
    assert!(added.out.contains(&format!("the pins of {host} are reported instead of enforced until ")), "{added}");
    assert_eq!(reply(&controlled.program, &controlled.site).await, established);
    controlled.program.running.err.until("override added: pins of ").await;
    let told = controlled.program.running.err.until("by \"ann\" (user ").await;
    assert!(told.contains(": \"CHG-4711\""), "{told}");
    let list = controlled.json(&["override", "list"]).await;
    assert_eq!(
        (&list[0]["target"], &list[0]["reason"], &list[0]["by"]),
        (&host.as_str().into(), &"CHG-4711".into(), &"ann".into())
    );
    assert_eq!(controlled.json(&["status"]).await["overrides"], list);
    controlled.program.running.err.until(&format!("report {host} pinset=site overridden ")).await;

    let removed = controlled.ctl(&["override", "remove", &host, "--by", "bob"]).await.with_code(0);
    assert_eq!(removed.out, format!("the pins of {host} are enforced again\n"));
    assert_eq!(reply(&controlled.program, &controlled.site).await, refused);
    controlled
        .ctl(&["override", "remove", &host, "--by", "bob"])
        .await
        .with_code(1)
        .says(&["there is no override for"]);
    assert_eq!(controlled.ctl(&["override", "list"]).await.with_code(0).out, "nothing is overridden\n");
    controlled.program.stop().await;
}

#[tokio::test]
async fn overrides_that_are_none() {
    let controlled = Controlled::start(|_| pinset(&Key::p256().pin())).await;
    let long = "x".repeat(100_000);
    let given = |host: &str, lifetime: &str, reason: &str| {
        let given = ["override", "add", host, "--for", lifetime, "--reason", reason, "--by", "ann"];
        given.map(str::to_owned).to_vec()
    };
    let removed = |host: &str, by: &str| ["override", "remove", host, "--by", by].map(str::to_owned).to_vec();
    let mut table = vec![
        (given(HOST, "5h", "x"), 2, "at most 4 hours"),
        (given(HOST, "4h 1ms", "x"), 2, "at most 4 hours"),
        (given(HOST, "0s", "x"), 2, "at most 4 hours"),
        (given(HOST, "1h", " "), 2, "a reason has to be said"),
        (given(HOST, "1h", "a\nb"), 2, "a reason has to be said"),
        (given(HOST, "1h", "a\u{202e}b"), 2, "this one has U+202E as character 2"),
        (
            given(HOST, "1h", &long),
            2,
            "at most 200 octets without control and format characters; this one has 100000 octets",
        ),
        (given("other.example", "1h", "x"), 1, "nothing is enforced for other.example:443"),
        (given("a..b", "1h", "x"), 2, "the host has an empty label"),
        (given(&long, "1h", "x"), 2, "the host is longer than 253 octets"),
        (given(HOST, "soon", "x"), 2, "invalid value 'soon'"),
        (given(HOST, "1h", "x")[..7].to_vec(), 2, "--by"),
        (removed(HOST, "bob"), 1, "there is no override for"),
        (removed("a..b", "bob"), 2, "the host has an empty label"),
        (removed(HOST, "b\u{2066}"), 2, "who removes it has to be said"),
    ];
    table.push((["override", "add", HOST, "--for", "1h", "--by", "ann"].map(str::to_owned).to_vec(), 2, "--reason"));
    for (arguments, code, says) in table {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let ended = controlled.ctl(&arguments).await.with_code(code);
        ended.says(&[says]);
        assert!(ended.err.len() < 1_000, "{says}: {} octets", ended.err.len());
    }
    assert_eq!(controlled.ctl(&["override", "list"]).await.with_code(0).out, "nothing is overridden\n");
    controlled.program.stop().await;
}

/// Another client than ours.
#[tokio::test]
async fn a_proxy_judges_texts_by_itself() {
    let controlled = Controlled::start(|_| pinset(&Key::p256().pin())).await;
    let content = format!(r#"{{"target":"{HOST}","seconds":60,"reason":"a\u202eb","by":"ann"}}"#);
    let table = [
        (content.clone(), "HTTP/1.1 422", "this one has U+202E as character 2"),
        (content.replace("\\u202e", ""), "HTTP/1.1 409", "nothing is enforced for"),
        (content.replace("\\u202e", "").replace(HOST, "a..b"), "HTTP/1.1 422", "the host has an empty label"),
    ];
    for (content, status, says) in table {
        let content = content.replace(HOST, "other.example");
        let head = "POST /v1/overrides HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json";
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{content}", content.len());
        let mut stream = UnixStream::connect(&controlled.socket).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        crate::support::within_deadline(stream.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
        assert!(answer.starts_with(status) && answer.contains(says), "{answer}");
    }
    controlled.program.stop().await;
}

#[tokio::test]
async fn a_socket_that_is_none() {
    let user = User::new();
    let file = user.file("file", "");
    let ended = user.pinproxy(["ctl", "status", "--socket"]).arg(&file).run().await.with_code(3);
    ended.says(&["cannot reach the control socket ", ": it is no socket; name the one of the proxy"]);
}

/// Any server answers something.
#[tokio::test]
async fn a_server_that_is_no_proxy() {
    let user = User::new();
    let socket = user.folder().join("socket");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let json = "content-type: application/json\r\ncontent-length";
    let table = [
        ("200 OK", "content-length: 0\r\n\r\n".to_owned(), "no \"version\" in it"),
        ("204 No Content", "\r\n".to_owned(), "204 No Content where a proxy says 200 OK"),
        ("200 OK", format!("{json}: 2\r\n\r\n{{}}"), "no \"version\" in it"),
        ("200 OK", format!("{json}: 5\r\n\r\n<html"), "does not answer as a proxy does: "),
        ("404 Not Found", "content-length: 0\r\n\r\n".to_owned(), "404 Not Found without a reason"),
    ];
    for (status, rest, says) in table {
        let answer = format!("HTTP/1.1 {status}\r\n{rest}");
        for arguments in [&["status"][..], &["status", "--json"]] {
            let asking = user.pinproxy(["ctl", "--socket"]).arg(&socket).args(arguments).start();
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            let ended = asking.ended().await.with_code(3);
            ended.says(&["does not answer as a proxy does: ", says]);
            assert_eq!(ended.out, "");
        }
    }
}

/// Whatever a client of the socket does, sessions and other operators do not notice.
#[tokio::test]
async fn garbage_and_silence_on_the_socket_disturb_nobody() {
    let controlled = Controlled::start(|site| pinset(&site.chain.pin())).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(UnixStream::connect(&controlled.socket).await.unwrap());
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(64 << 10));
    let huge = format!(
        "POST /v1/overrides HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
        1 << 20,
        " ".repeat(1 << 20)
    );
    let table: [(&[u8], &str); 8] = [
        (b"\x16\x03\x01\x00\xff garbage\r\n\r\n", "HTTP/1.1 400"),
        (long.as_bytes(), "HTTP/1.1 4"),
        (huge.as_bytes(), "HTTP/1.1 413"),
        (b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "there is nothing under this path"),
        (b"DELETE /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "this path has no such method"),
        (b"POST /v1/reload?force=maybe HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 400"),
        (
            b"POST /v1/overrides HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
            "missing field `target`",
        ),
        (
            b"POST /v1/overrides HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n{",
            "HTTP/1.1 400",
        ),
    ];
    for (request, says) in table {
        let mut stream = UnixStream::connect(&controlled.socket).await.unwrap();
        // The answer may come before the end of the request, and the connection may end with it.
        stream.write_all(request).await.ok();
        let mut answer = Vec::new();
        crate::support::within_deadline(stream.read_to_end(&mut answer)).await.expect("an answer in time").ok();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains(says), "{says:?} is missing in {answer:?}");
        assert_eq!(reply(&controlled.program, &controlled.site).await.0, 200);
    }
    controlled.ctl(&["status"]).await.with_code(0);
    drop(silent);
    controlled.program.stop().await;
}

#[tokio::test]
async fn silence_on_all_places_keeps_nobody_out() {
    let controlled = Controlled::start(|_| String::new()).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(UnixStream::connect(&controlled.socket).await.unwrap());
    }
    let asked = tokio::time::timeout(std::time::Duration::from_secs(3), controlled.ctl(&["status"])).await;
    asked.expect("an answer before those who are silent have to leave").with_code(0);
    drop(silent);
    let told = "the control socket has as many connections as it takes";
    assert_eq!(controlled.program.stop().await.err.matches(told).count(), 1);
}

/// A rolling restart: the new process takes the socket, and the old one leaves it alone when it ends.
#[tokio::test]
async fn the_socket_goes_over_to_the_next_process() {
    let controlled = Controlled::start(|_| String::new()).await;
    let mut next = Program::start(controlled.user.run(Some(&controlled.path))).await;
    next.running.err.until("another process listens on the control socket").await;
    assert_eq!(controlled.json(&["status"]).await["pid"], next.running.id());
    controlled.program.running.signal("TERM").await;
    let (user, socket) = (controlled.user, controlled.socket);
    controlled.program.running.ended().await.with_code(0);
    assert!(socket.exists(), "the socket is the other one's");
    let status = user.pinproxy(["ctl", "--json", "status", "--socket"]).arg(&socket).run().await.with_code(0);
    assert!(status.out.contains(&format!("\"pid\": {}", next.running.id())), "{status}");
    next.stop().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_path_that_cannot_be_a_socket_is_told_at_the_start() {
    let user = User::new();
    user.file("taken", "a file of somebody");
    for (socket, says) in [("taken", "taken is no socket"), ("none/control.sock", "cannot make the control socket")] {
        let path = user.file("pinproxy.toml", &format!("[admin]\nsocket = \"{socket}\"\n"));
        user.run(Some(&path)).run().await.with_code(3).says(&[says]);
    }
    assert_eq!(std::fs::read_to_string(user.folder().join("taken")).unwrap(), "a file of somebody");
}
