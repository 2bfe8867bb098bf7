//! One request over a control socket.

use super::super::{Exit, Failure};
use crate::proxy;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

/// Octets of an answer.
const ANSWER_OCTETS_MAX: usize = 4 << 20;

/// For an answer that takes a proxy no time worth mentioning.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// For another one until people are told that it is waited for.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What a proxy answers.
#[derive(Debug)]
pub(super) enum Answer {
    /// It has done it, or has taken it on.
    Done(StatusCode, Value),
    /// It does not do it, and why; and how the command ends.
    Refused(Exit, String),
}

/// How long an answer is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// [`ANSWER_TIMEOUT`].
    Limited,
    /// As long as it takes: to read a large configuration on a busy machine.
    Endless,
}

/// Asks a proxy, and waits for its answer.
pub(super) fn ask(
    socket: &Path,
    patience: Patience,
    method: Method,
    path: &str,
    content: Option<Value>,
) -> Result<Answer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::unreachable)?;
    let exchange = exchange(socket, method, path, content);
    runtime.block_on(waited_for(exchange, socket, patience, &mut io::stderr()))
}

async fn waited_for(
    exchange: impl Future<Output = Result<Answer, Failure>>,
    socket: &Path,
    patience: Patience,
    out: &mut impl Write,
) -> Result<Answer, Failure> {
    let socket = socket.display();
    match patience {
        Patience::Limited => timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or_else(|_| {
            Err(Failure::unreachable(format!(
                "no answer from {socket} within {ANSWER_TIMEOUT:?}: a process is there, and it hangs or is no proxy"
            )))
        }),
        Patience::Endless => {
            let mut exchange = std::pin::pin!(exchange);
            tokio::select! {
                answer = exchange.as_mut() => return answer,
                () = sleep(SILENCE_MAX) => {}
            }
            // Nobody may be reading; it is waited for all the same.
            drop(writeln!(
                out,
                "pinproxy: no answer from {socket} within {SILENCE_MAX:?}; still waiting (it may be interrupted: what \
                 comes of it will be in the log, and in ctl status)"
            ));
            exchange.await
        }
    }
}

async fn exchange(socket: &Path, method: Method, path: &str, content: Option<Value>) -> Result<Answer, Failure> {
    let stream = UnixStream::connect(socket).await.map_err(|error| cannot_reach(socket, &error))?;
    let failed = |error: String| no_proxy(socket, &error);
    let octets = content.map(|content| content.to_string()).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "pinproxy")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(octets)));
    let request = request.map_err(|error| failed(error.to_string()))?;
    let answered = proxy::exchange(stream, request, ANSWER_OCTETS_MAX).await;
    let (head, content) = answered.map_err(|error| failed(error.to_string()))?;
    let octets = content.map_err(|error| failed(error.to_string()))?;
    let value = if octets.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&octets).map_err(|error| failed(error.to_string()))?
    };
    let status = head.status;
    if status.is_success() { Ok(Answer::Done(status, value)) } else { refused(socket, status, &value) }
}

/// Somebody answers, and it is no proxy: another server, perhaps.
pub(super) fn no_proxy(socket: &Path, why: &str) -> Failure {
    Failure::unreachable(format!("{} does not answer as a proxy does: {why}", socket.display()))
}

fn refused(socket: &Path, status: StatusCode, value: &Value) -> Result<Answer, Failure> {
    // What no proxy would do, and what this one does not do as it is.
    let exit = match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => Exit::Unusable,
        _ => Exit::NotAsItShouldBe,
    };
    match value.get("error") {
        Some(Value::String(error)) => Ok(Answer::Refused(exit, error.clone())),
        _ => Err(no_proxy(socket, &format!("{status} without a reason"))),
    }
}

fn cannot_reach(socket: &Path, error: &io::Error) -> Failure {
    // The system says of a file what it says of a socket that nobody listens on.
    let is_other = std::fs::metadata(socket).is_ok_and(|found| !found.file_type().is_socket());
    let remedy = match error.kind() {
        _ if is_other => ": it is no socket; name the one of the proxy, as its [admin] socket does, with --socket FILE",
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            ": name the one of the proxy with --socket FILE; it has one where [admin] socket is set"
        }
        io::ErrorKind::ConnectionRefused => {
            ": no proxy listens there any more; start it, or look in its log why it ended"
        }
        io::ErrorKind::PermissionDenied => {
            ": only the user that the proxy runs as may open it, and root; ask as one of them (sudo)"
        }
        _ => "",
    };
    Failure::unreachable(format!("cannot reach the control socket {}: {error}{remedy}", socket.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    /// What is asked of a process that answers after so long, and what was told meanwhile. The time is not the real one.
    async fn asked(patience: Patience, after: Duration) -> (Result<Answer, Failure>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            sleep(after).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n7").await.ok();
            // Reads on, so that the connection does not end with a reset.
            stream.read_to_end(&mut Vec::new()).await.ok();
        });
        let mut told = Vec::new();
        let exchange = exchange(&path, Method::GET, "/v1/status", None);
        let answer = waited_for(exchange, &path, patience, &mut told).await;
        (answer, String::from_utf8(told).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come() {
        let hour = Duration::from_secs(60 * 60);
        let (answer, told) = asked(Patience::Limited, hour).await;
        let failure = answer.unwrap_err();
        assert_eq!((failure.exit, told.as_str()), (Exit::Unreachable, ""));
        assert!(failure.message.contains(" within 10s: a process is there, and it hangs"), "{}", failure.message);
        let (answer, told) = asked(Patience::Endless, hour).await;
        assert!(matches!(answer, Ok(Answer::Done(_, value)) if value == 7));
        assert!(told.starts_with("pinproxy: no answer from ") && told.contains(" within 10s; still waiting"), "{told}");
        assert_eq!(told.lines().count(), 1);
        for patience in [Patience::Limited, Patience::Endless] {
            let (answer, told) = asked(patience, Duration::from_secs(9)).await;
            assert!(matches!(answer, Ok(Answer::Done(_, value)) if value == 7));
            assert_eq!(told, "");
        }
    }

    #[test]
    fn sockets_that_cannot_be_reached() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, file) = (folder.path().join("socket"), folder.path().join("file"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::fs::write(&file, "").unwrap();
        let table = [
            (&file, io::ErrorKind::ConnectionRefused, "it is no socket; name the one of the proxy"),
            (&folder.path().to_owned(), io::ErrorKind::ConnectionRefused, "it is no socket; name the one of the proxy"),
            (&folder.path().join("none"), io::ErrorKind::NotFound, "name the one of the proxy with --socket FILE"),
            (&file.join("none"), io::ErrorKind::NotADirectory, "name the one of the proxy with --socket FILE"),
            (&socket, io::ErrorKind::ConnectionRefused, "no proxy listens there any more; start it"),
            (&socket, io::ErrorKind::PermissionDenied, "only the user that the proxy runs as may open it, and root"),
        ];
        for (path, kind, says) in table {
            let failure = cannot_reach(path, &kind.into());
            assert_eq!(failure.exit, Exit::Unreachable);
            let told = failure.message;
            let begin = format!("cannot reach the control socket {}: ", path.display());
            assert!(told.starts_with(&begin) && told.contains(says), "{told}");
        }
    }
}
