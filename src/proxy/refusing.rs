//! The last words to clients that no session answers.

use super::Proxy;
use super::entrance::Speech;
use super::error::SessionError;
use super::record::Record;
use super::reply::Refusal;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

/// How long a refused client may take to read its refusal and close.
const LINGER: Duration = Duration::from_secs(2);
/// What a refused client may still send meanwhile.
const LINGER_BYTES_MAX: u64 = 1024 * 1024;

/// None of the methods will do (RFC 1928 section 3).
pub(super) const SOCKS_NO_METHOD: [u8; 2] = [5, 0xff];
/// The alert access_denied, fatal, before any key was agreed on (RFC 8446 sections 5.1 and 6).
const TLS_ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// Refuses a client that has not asked for anything yet, or not so that it could be understood; emits the event. Gives what
/// it is to be told.
pub(super) fn refuse(
    proxy: &Proxy,
    speech: Speech,
    client: SocketAddr,
    accepted: Instant,
    target: &str,
    error: &SessionError,
) -> Vec<u8> {
    let mut record = failed(proxy, client, accepted, target, error);
    let words = match speech {
        Speech::Http => {
            let refusal = Refusal::new(error, record.event(), Vec::new());
            record.replied(refusal.status());
            refusal.to_bytes()
        }
        Speech::Socks => SOCKS_NO_METHOD.to_vec(),
        Speech::Tls => TLS_ACCESS_DENIED.to_vec(),
    };
    record.finish();
    words
}

/// The record of a session that failed before there was a request.
pub(super) fn failed(
    proxy: &Proxy,
    client: SocketAddr,
    accepted: Instant,
    target: &str,
    error: &SessionError,
) -> Box<Record> {
    let mut record = Record::open(&proxy.reporter, proxy.session_name(), client, proxy.time.now());
    record.begun(accepted);
    record.asked_for(target);
    record.fail(error);
    record
}

/// Sends the last bytes of a connection and waits for the client to close: to close first, with bytes of the client unread,
/// would reset the connection and could take the refusal with it (RFC 9112 section 9.6). The session has failed; whether the
/// client hears why does not change that.
pub(super) async fn send_last(stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) {
    drop(timeout(LINGER, say_and_wait(stream, bytes)).await);
}

async fn say_and_wait(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}
