//! The origins: TLS servers on loopback that answer a small request, send many bytes, or take many, over HTTP/1.1 and
//! HTTP/2: a proxy that speaks HTTP itself may turn one into the other.

use crate::Result;
use crate::leaves::resolver;
use crate::names::{Site, Version};
use crate::pki::Pki;
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use rustls::ServerConfig;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a small request is answered with.
pub(crate) const SMALL: &[u8; 256] = &[b'.'; 256];

/// Bytes that go out in one write of a download: four records of TLS.
const PIECE: usize = 64 * 1024;
static PIECES: [u8; PIECE] = [0; PIECE];

/// How long an origin waits that could not take a connection.
const AGAIN: Duration = Duration::from_millis(10);

/// Starts an origin for each site.
pub(crate) async fn start_all(pki: &Pki) -> Result<()> {
    for site in Site::ALL {
        let acceptor = TlsAcceptor::from(Arc::new(tls(pki, site)));
        let listener = TcpListener::bind(SocketAddr::from((site.address(), 443))).await?;
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // No file is free now; the modes that come later need this origin all the same.
                    tokio::time::sleep(AGAIN).await;
                    continue;
                };
                let acceptor = acceptor.clone();
                // What fails here is seen by the client of the session, which tells it.
                tokio::spawn(async move { drop(converse(stream, acceptor).await) });
            }
        });
    }
    Ok(())
}

fn tls(pki: &Pki, site: Site) -> ServerConfig {
    let version = match site.version {
        Version::Tls12 => &rustls::version::TLS12,
        Version::Tls13 => &rustls::version::TLS13,
    };
    let builder = ServerConfig::builder_with_protocol_versions(&[version]).with_no_client_auth();
    let mut config = builder.with_cert_resolver(resolver(pki.leaves(), site));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

async fn converse(stream: TcpStream, acceptor: TlsAcceptor) -> Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        return http2(stream).await;
    }
    http1(BufReader::with_capacity(PIECE, stream)).await
}

async fn http2(stream: TlsStream<TcpStream>) -> Result<()> {
    const STREAM_WINDOW: u32 = 1 << 20;
    const CONNECTION_WINDOW: u32 = 1 << 23;
    const STREAMS_MAX: u32 = 1_000;
    let mut server = h2::server::Builder::new();
    server.max_concurrent_streams(STREAMS_MAX).initial_window_size(STREAM_WINDOW);
    let mut connection = server.initial_connection_window_size(CONNECTION_WINDOW).handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        if request.uri().path() == "/" && request.body().is_end_stream() {
            let mut body = respond.send_response(http::Response::new(()), false)?;
            body.send_data(Bytes::from_static(SMALL), true)?;
        } else {
            tokio::spawn(async move { drop(http2_bulk(request, respond).await) });
        }
    }
    Ok(())
}

/// Takes the content of a request, and sends what it asks for.
async fn http2_bulk(request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<()> {
    let (head, mut content) = request.into_parts();
    while let Some(piece) = content.data().await {
        content.flow_control().release_capacity(piece?.len())?;
    }
    let mut body = respond.send_response(http::Response::new(()), false)?;
    let Some(mut left) = bytes_asked_for(head.uri.path()) else {
        return Ok(body.send_data(Bytes::from_static(SMALL), true)?);
    };
    while left > 0 {
        body.reserve_capacity(left.min(PIECE));
        let capacity = poll_fn(|cx| body.poll_capacity(cx)).await.ok_or("the stream is over")??;
        let length = left.min(PIECE).min(capacity);
        left -= length;
        body.send_data(Bytes::from_static(&PIECES[..length]), left == 0)?;
    }
    Ok(())
}

fn bytes_asked_for(path: &str) -> Option<usize> {
    path.strip_prefix("/bytes/")?.parse().ok()
}

/// HTTP/1.1 as far as the load speaks it: `GET /`, `GET /bytes/COUNT`, `POST /` with Content-Length.
async fn http1(mut stream: BufReader<TlsStream<TcpStream>>) -> Result<()> {
    let mut line = String::new();
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", SMALL.len()).into_bytes();
    answer.extend(SMALL);
    loop {
        let mut content = 0;
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            stream.shutdown().await?;
            return Ok(());
        }
        let bytes = line.split(' ').nth(1).and_then(bytes_asked_for);
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Err("the head ends early".into());
            }
            if let Some(length) = line.strip_prefix("Content-Length: ") {
                content = length.trim_end().parse()?;
            }
        }
        while content > 0 {
            let length = stream.fill_buf().await?.len().min(content);
            if length == 0 {
                return Err("the content ends early".into());
            }
            stream.consume(length);
            content -= length;
        }
        match bytes {
            None => stream.write_all(&answer).await?,
            Some(count) => send_bytes(&mut stream, count).await?,
        }
        stream.flush().await?;
    }
}

async fn send_bytes(stream: &mut BufReader<TlsStream<TcpStream>>, count: usize) -> Result<()> {
    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {count}\r\n\r\n").as_bytes()).await?;
    let mut left = count;
    while left > 0 {
        let length = left.min(PIECE);
        stream.write_all(&PIECES[..length]).await?;
        left -= length;
    }
    Ok(())
}
