//! Heads that are no HTTP/1.1, or ask for something else than a tunnel.

use super::Unreached;
use crate::support::client::client_hello_bytes;
use pinproxy::policy::decision::FailureClass;

const UNPARSED: &str = "The request is not valid HTTP/1.1: ";

#[tokio::test]
async fn heads_that_cannot_be_parsed_are_refused_with_a_reason() {
    let mut unreached = Unreached::start("").await;
    let hello = client_hello_bytes(Some("bank.example"), &["h2"]);
    let table: &[&[u8]] = &[
        b"CONNECT\r\n\r\n",
        b"CONNECT\tbank.example:443 HTTP/1.1\r\n\r\n",
        b"CONNECT bank.example:443\r\n\r\n",
        b"CONNECT bank.example:443 HTTP/1.2\r\n\r\n",
        b"CONNECT bank.example:443 HTTP/2.0\r\n\r\n",
        b"CONNECT bank.example:443 http/1.1\r\n\r\n",
        b"CONNECT bank.example:443 HTTP/1.1\r\nno colon\r\n\r\n",
        b"CONNECT bank.example:443 HTTP/1.1\r\n: no name\r\n\r\n",
        b"CONNECT bank.example:443 HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        b"CONNECT bank.example:443 HTTP/1.1\r\nA : b\r\n\r\n",
        b"CONNECT bank.example:443 HTTP/1.1\r\nA: b\0c\r\n\r\n",
        b"CONNECT bank.example:443 HTTP/1.1\r\nA: b\rX: c\r\n\r\n",
        b"CONNECT bank.example:443 HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"CONNECT bank.example:443 HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"CONNECT bank.example:443 HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"\0\0\0\0",
        b"\x05\x01\x00",
        b"\x04\x01\x01\xbb\x7f\0\0\x01\0",
        b"\xff\xfe\xfd\xfc\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nCONNECT bank.example:443 HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"{\"jsonrpc\": \"2.0\"}\r\n\r\n",
        &hello,
    ];
    for request in table {
        let (_, event) = unreached.refuses(request, 400, UNPARSED).await;
        assert_eq!(event.failure_class, Some(FailureClass::Request), "{:?}", String::from_utf8_lossy(request));
    }
    unreached.ends();
}

/// It cannot read the answer, but whoever looks into the log can.
#[tokio::test]
async fn a_client_that_speaks_tls_is_told_of_as_one() {
    let mut unreached = Unreached::start("").await;
    let hello = client_hello_bytes(Some("bank.example"), &["h2"]);
    let (_, event) = unreached.refuses(&hello, 400, UNPARSED).await;
    let detail = event.detail.as_deref().unwrap_or_default();
    assert!(detail.contains("it begins as TLS, and this listener takes CONNECT in the clear"), "{detail}");
    unreached.ends();
}

#[tokio::test]
async fn any_bytes_get_a_reason_or_a_close_and_one_event() {
    let mut unreached = Unreached::start("[limits]\nheader_timeout = \"300ms\"").await;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for length in 1..=64 {
        let mut request = Vec::new();
        for _ in 0..length {
            // xorshift64: the same bytes in every run.
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            request.push(seed.to_le_bytes()[0]);
        }
        // An empty line ends what might otherwise be the beginning of a head.
        request.extend(b"\r\n\r\n");
        unreached.refuses(&request, 400, UNPARSED).await;
    }
    unreached.ends();
}

#[tokio::test]
async fn other_methods_are_told_what_this_proxy_takes() {
    let mut unreached = Unreached::start("").await;
    let table = [
        ("GET http://bank.example:443/ HTTP/1.1", "GET"),
        ("GET https://bank.example:443/ HTTP/1.1", "GET"),
        ("GET / HTTP/1.1", "GET"),
        ("GET bank.example:443 HTTP/1.1", "GET"),
        ("POST http://bank.example:443/ HTTP/1.0", "POST"),
        ("OPTIONS * HTTP/1.1", "OPTIONS"),
        ("connect bank.example:443 HTTP/1.1", "connect"),
        ("CONNECTX bank.example:443 HTTP/1.1", "CONNECTX"),
        ("TRACE bank.example:443 HTTP/1.1", "TRACE"),
    ];
    for (line, method) in table {
        let reason = format!("This proxy takes CONNECT only, not {method}; plain http:// is not relayed");
        let request = unreached.aimed(&format!("{line}\r\nHost: bank.example\r\n\r\n"));
        let (reply, event) = unreached.refuses(&request, 405, &reason).await;
        assert_eq!(reply.header("allow"), Some("CONNECT"), "{line}");
        assert_eq!(event.failure_class, Some(FailureClass::Request), "{line}");
    }
    unreached.ends();
}

#[tokio::test]
async fn heads_beyond_the_limits_are_answered_431() {
    let mut unreached = Unreached::start("[limits]\nheader_bytes = \"8KiB\"").await;
    let long = "The request head is longer than 8192 bytes or has more than 100 fields";
    let table = [
        format!("CONNECT {}:443 HTTP/1.1\r\n\r\n", "a".repeat(70_000)),
        format!("CONNECT {}", "a".repeat(8_300)),
        format!("CONNECT bank.example:443 HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(8_192)),
        format!("CONNECT bank.example:443 HTTP/1.1\r\nX: {}", "a".repeat(200_000)),
        format!("CONNECT bank.example:443 HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101)),
    ];
    for request in table {
        let request = unreached.aimed(&request);
        let (_, event) = unreached.refuses(&request, 431, long).await;
        assert_eq!(event.failure_class, Some(FailureClass::Request));
        assert!(event.connect_authority.len() <= 300, "{}", event.connect_authority.len());
    }
    unreached.ends();
}

#[tokio::test]
async fn what_follows_a_refused_head_is_not_a_second_request() {
    let mut unreached = Unreached::start("").await;
    for rest in ["GET / HTTP/1.1\r\n\r\n", "CONNECT bank.example:443 HTTP/1.1\r\n\r\n", "\0\0\0\0"] {
        let request = unreached.aimed(&format!("CONNECT bank.example HTTP/1.1\r\n\r\n{rest}"));
        unreached.refuses(&request, 400, super::NO_PORT).await;
    }
    unreached.ends();
}
