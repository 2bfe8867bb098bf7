//! TLS to the proxy itself, by which a client comes to what it speaks: HTTP, or SOCKS5.

use super::entrance::Speech;
use super::error::SessionError;
use super::head::TLS_HANDSHAKE;
use super::listener::Caller;
use super::refusing::{failed, refuse, send_last};
use super::wire::Wire;
use crate::tls::words::words;
use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Why there is no TLS with a client.
enum Failure {
    /// It has closed the connection, or is not waited for any more, and has said nothing.
    Silent,
    /// It has said something else.
    ClearText(TcpStream, u8),
    /// Its handshake has failed; it was told by TLS as far as it could be.
    Failed(SessionError),
}

/// The connection, with TLS where the listener speaks it. Where there is none, the client and the log have been told.
pub(super) async fn greet(caller: &Caller, stream: TcpStream) -> Option<Wire> {
    let Some(tls) = &caller.manner.tls else { return Some(Wire::Tcp(stream)) };
    let proxy = &caller.proxy;
    let shaken = tokio::select! {
        shaken = timeout(proxy.limits.client_hello_timeout, shake(stream, tls.config())) => {
            shaken.unwrap_or(Err(Failure::Failed(SessionError::SlowRequest)))
        }
        () = proxy.waits_no_longer(caller.accepted) => Err(Failure::Silent),
    };
    let fail = |error: &SessionError| failed(proxy, caller.client, caller.accepted, "", error).finish();
    match shaken {
        Ok(wire) => return Some(wire),
        Err(Failure::Silent) => {}
        Err(Failure::ClearText(stream, first)) if first.is_ascii_uppercase() => {
            let error = SessionError::ClearText;
            let words = refuse(proxy, Speech::Http, caller.client, caller.accepted, "", &error);
            send_last(stream, &words).await;
        }
        Err(Failure::ClearText(stream, _)) => {
            fail(&SessionError::ClearText);
            send_last(stream, &[]).await;
        }
        Err(Failure::Failed(error)) => fail(&error),
    }
    None
}

async fn shake(stream: TcpStream, config: Arc<ServerConfig>) -> Result<Wire, Failure> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(0) | Err(_) => return Err(Failure::Silent),
        Ok(_) if first[0] != TLS_HANDSHAKE => return Err(Failure::ClearText(stream, first[0])),
        Ok(_) => {}
    }
    match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => Ok(Wire::Tls(Box::new(stream))),
        Err(error) => Err(Failure::Failed(SessionError::Greeting(told(&error)))),
    }
}

/// The failure of a handshake in words.
fn told(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("the client ended it with the alert {alert:?}; it may not trust the certificate of the listener")
        }
        Some(other) => words(other),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the client closed the connection; it may not trust the certificate of the listener".to_owned()
        }
        None => error.to_string(),
    }
}
