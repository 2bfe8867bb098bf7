//! Requests and bulk data on tunnels that stay open.

use super::client::{Client, PIECE, Tunnel, in_time};
use super::loops::{Bound, Done, together};
use crate::Result;
use crate::origin::SMALL;
use bytes::Bytes;
use h2::client::SendRequest;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

static PIECES: [u8; PIECE] = [0; PIECE];

/// Which way bulk data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Download,
    Upload,
}

/// Requests over HTTP/1.1, one after the other on each of these tunnels.
pub(crate) async fn h1_requests(client: &Arc<Client>, hosts: &[String], bound: Bound) -> Result<Done> {
    let mut tunnels = JoinSet::new();
    let started = Instant::now();
    for host in hosts {
        let mut tunnel = client.open(host.clone()).await?;
        let share = bound.count / hosts.len();
        tunnels.spawn(async move {
            let mut done = Done::default();
            for _ in 0..share {
                let sent = Instant::now();
                let answered = in_time(tunnel.get()).await.map(|()| sent.elapsed());
                let failed = answered.is_err();
                done.add(answered);
                if failed || started.elapsed() > bound.time {
                    break;
                }
            }
            drop(in_time(tunnel.close()).await);
            done
        });
    }
    together(tunnels).await
}

/// Requests over HTTP/2, so many at once on each of these tunnels.
pub(crate) async fn h2_requests(client: &Arc<Client>, hosts: &[String], at_once: usize, bound: Bound) -> Result<Done> {
    let mut streams = JoinSet::new();
    let mut connections = JoinSet::new();
    let started = Instant::now();
    for host in hosts {
        let tunnel = client.open_h2(host.clone()).await?;
        if tunnel.stream.get_ref().get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err("no HTTP/2 through this proxy".into());
        }
        let (sender, connection) =
            in_time(async { Ok(h2::client::handshake(tunnel.stream.into_inner()).await?) }).await?;
        connections.spawn(connection);
        let share = bound.count / hosts.len() / at_once;
        for _ in 0..at_once {
            let (sender, uri) = (sender.clone(), format!("https://{host}/"));
            streams.spawn(async move {
                let mut done = Done::default();
                for _ in 0..share {
                    let sent = Instant::now();
                    let answered = in_time(h2_get(&sender, &uri)).await.map(|()| sent.elapsed());
                    let failed = answered.is_err();
                    done.add(answered);
                    if failed || started.elapsed() > bound.time {
                        break;
                    }
                }
                done
            });
        }
    }
    let done = together(streams).await;
    // The last request is answered; how the connections end does not matter.
    connections.abort_all();
    done
}

async fn h2_get(sender: &SendRequest<Bytes>, uri: &str) -> Result<()> {
    let mut sender = sender.clone().ready().await?;
    let (answer, _) = sender.send_request(http::Request::get(uri).body(())?, true)?;
    let mut answer = answer.await?;
    if answer.status() != 200 {
        return Err(format!("a request is answered with {}", answer.status()).into());
    }
    while let Some(piece) = answer.body_mut().data().await {
        let length = piece?.len();
        answer.body_mut().flow_control().release_capacity(length)?;
    }
    Ok(())
}

/// So many bytes over all of these tunnels together. Gives how long it took.
pub(crate) async fn bulk(
    client: &Arc<Client>,
    hosts: &[String],
    direction: Direction,
    bytes: usize,
    limit: Duration,
) -> Result<Duration> {
    let mut tunnels = Vec::new();
    for host in hosts {
        tunnels.push(client.open(host.clone()).await?);
    }
    let share = bytes / hosts.len();
    let started = Instant::now();
    let mut transfers = JoinSet::new();
    for mut tunnel in tunnels {
        transfers.spawn(async move {
            match direction {
                Direction::Download => download(&mut tunnel, share).await?,
                Direction::Upload => upload(&mut tunnel, share).await?,
            }
            Result::Ok(tunnel)
        });
    }
    let all = async {
        let mut ended = Vec::new();
        while let Some(transfer) = transfers.join_next().await {
            ended.push(transfer??);
        }
        Result::Ok(ended)
    };
    let ended = tokio::time::timeout(limit, all).await.map_err(|_| format!("not through within {limit:?}"))??;
    let taken = started.elapsed();
    for tunnel in ended {
        in_time(tunnel.close()).await.map_err(|error| format!("while closing: {error}"))?;
    }
    Ok(taken)
}

async fn download(tunnel: &mut Tunnel, bytes: usize) -> Result<()> {
    tunnel.send_head("GET", &format!("/bytes/{bytes}"), "").await?;
    tunnel.answer(bytes).await
}

async fn upload(tunnel: &mut Tunnel, bytes: usize) -> Result<()> {
    let Err(error) = send_content(tunnel, bytes).await else { return tunnel.answer(SMALL.len()).await };
    // A proxy that refuses the content says so before it has all of it, and closes: that tells more than the reset.
    match in_time(tunnel.answer(SMALL.len())).await {
        Ok(()) => Err(format!("answered before it had everything; then: {error}").into()),
        Err(answer) => Err(format!("while sending: {error}; then: {answer}").into()),
    }
}

async fn send_content(tunnel: &mut Tunnel, bytes: usize) -> Result<()> {
    tunnel.send_head("POST", "/", &format!("Content-Length: {bytes}\r\n")).await?;
    let mut left = bytes;
    while left > 0 {
        let length = left.min(PIECE);
        tunnel.stream.write_all(&PIECES[..length]).await?;
        left -= length;
    }
    Ok(tunnel.stream.flush().await?)
}
