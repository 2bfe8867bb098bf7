//! One request over a control socket.

use super::super::Failure;
use crate::proxy;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Octets of an answer.
const ANSWER_OCTETS_MAX: usize = 4 << 20;

/// For an answer. A reload of a large configuration takes seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// What a proxy answers.
pub(super) enum Answer {
    Done(Value),
    Refused(Value),
}

/// Asks a proxy, and waits for its answer.
pub(super) fn ask(socket: &Path, method: Method, path: &str, content: Option<Value>) -> Result<Answer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::unreachable)?;
    let asked = runtime.block_on(async { timeout(ANSWER_TIMEOUT, exchange(socket, method, path, content)).await });
    asked.unwrap_or_else(|_| {
        Err(Failure::unreachable(format!("no answer from {} within {ANSWER_TIMEOUT:?}", socket.display())))
    })
}

async fn exchange(socket: &Path, method: Method, path: &str, content: Option<Value>) -> Result<Answer, Failure> {
    let stream = UnixStream::connect(socket).await.map_err(|error| cannot_reach(socket, &error))?;
    let failed =
        |error: String| Failure::unreachable(format!("{} does not answer as a proxy does: {error}", socket.display()));
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
    Ok(if head.status.is_success() { Answer::Done(value) } else { refused(head.status, value) })
}

fn refused(status: StatusCode, value: Value) -> Answer {
    if value.get("error").is_some() {
        Answer::Refused(value)
    } else {
        Answer::Refused(serde_json::json!({ "error": status.to_string() }))
    }
}

fn cannot_reach(socket: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => {
            ": name the one of the proxy with --socket FILE; it has one where [admin] socket is set"
        }
        io::ErrorKind::ConnectionRefused => ": no proxy listens there any more",
        io::ErrorKind::PermissionDenied => ": only the user that the proxy runs as may open it, and root",
        _ => "",
    };
    Failure::unreachable(format!("cannot reach the control socket {}: {error}{remedy}", socket.display()))
}
