//! WebSocket (RFC 6455): the upgrade is HTTP/1.1, and then the connection belongs to both sides.

use super::*;

use crate::support::client::{ClientTls, RawClient};
use crate::support::provider;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use rustls::sign::SingleCertAndKey;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Section 1.3 of the RFC.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An origin that agrees to upgrade and sends back each frame of a client, unmasked. It serves one connection after
/// the other, and ends with the test.
async fn echo_origin(bank: &Bank) -> u16 {
    let certificate: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(bank.chain.certified_key()));
    let versions = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has them");
    let acceptor = TlsAcceptor::from(Arc::new(versions.with_no_client_auth().with_cert_resolver(certificate)));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                // However the conversation ends, the client's side of it is what the test looks at.
                drop(echo(&mut tls).await);
                drop(tls.shutdown().await);
            }
        }
    });
    port
}

async fn echo(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let key = head.lines().filter_map(header).find(|(name, _)| name == "sec-websocket-key");
    let (_, key) = key.ok_or_else(|| std::io::Error::other("no key"))?;
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{KEY_SUFFIX}").as_bytes(),
    );
    let accept = STANDARD.encode(digest);
    let reply = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(reply.as_bytes()).await?;
    loop {
        // A short frame (section 5.2): its kind, its length with the bit for the mask, the mask, the payload.
        let (kind, length) = (stream.read_u8().await?, stream.read_u8().await? & 0x7f);
        let mut mask = [0; 4];
        stream.read_exact(&mut mask).await?;
        let mut frame = vec![0; usize::from(length)];
        stream.read_exact(&mut frame).await?;
        frame.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        frame.splice(0..0, [kind, length]);
        stream.write_all(&frame).await?;
        stream.flush().await?;
    }
}

#[tokio::test]
async fn java_talks_with_an_origin() {
    let bank = Bank::new();
    let port = echo_origin(&bank).await;
    let mut proxy = bank.proxy().await;
    let Some(java) = java::java(&proxy).await else { return };
    let done = java("websocket", &format!("wss://{BANK}:{port}/feed")).run().await.with_code(0);
    assert_eq!(done.out, "echo: hello\n", "{done}");
    allowed(&mut proxy).await;
}

#[tokio::test]
async fn java_is_refused() {
    let bank = Bank::new();
    let port = echo_origin(&bank).await;
    let mut proxy = bank.refusing_proxy().await;
    let Some(java) = java::java(&proxy).await else { return };
    let done = java("websocket", &format!("wss://{BANK}:{port}/feed")).run().await.with_code(1);
    done.says(&["502"]);
    refused(&mut proxy).await;
}

/// The first frame travels with the request, before the origin has agreed: nothing of it may be lost or held back.
#[tokio::test]
async fn bytes_around_the_upgrade_pass_unchanged() {
    let bank = Bank::new();
    let port = echo_origin(&bank).await;
    let mut proxy = bank.proxy().await;
    let mut client = RawClient::connect(proxy.addr).await.unwrap();
    assert_eq!(client.connect_to(&format!("{BANK}:{port}")).await.unwrap().status, 200);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(proxy.ca.clone()).unwrap();
    let mut tls = client.tls(&ClientTls::to(BANK).roots(roots).build()).await.unwrap();
    let request = format!(
        "GET /feed HTTP/1.1\r\nHost: {BANK}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let masked = [0x81, 0x83, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2, b'c' ^ 3];
    tls.send(&[request.as_bytes(), &masked].concat()).await.unwrap();
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let expected = [head.as_bytes(), b"\x81\x03abc"].concat();
    assert_eq!(tls.read_exact(expected.len()).await.unwrap(), expected);
    tls.shutdown().await.unwrap();
    allowed(&mut proxy).await;
}
