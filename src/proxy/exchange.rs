//! One request of HTTP/1.1 on a connection of its own, as one puts to a collector or to another pinproxy.

use bytes::Bytes;
use http::Request;
use http::response::Parts;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::error::Error;
use tokio::io::{AsyncRead, AsyncWrite};

/// What an answer holds, unless it is too long or breaks off.
pub type Content = Result<Bytes, Box<dyn Error + Send + Sync>>;

/// Sends the request, and gives the answer with so many octets of content at most. Ends no later than it is dropped: it
/// starts no task.
///
/// # Errors
/// When there is no answer, or one that is no HTTP.
pub async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    octets_max: usize,
) -> Result<(Parts, Content), hyper::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let content = Limited::new(body, octets_max).collect().await;
        Ok((head, content.map(Collected::to_bytes)))
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        ended = &mut exchange => ended,
        ended = &mut connection => {
            // The answer may be there already; if not, the connection tells why.
            let answered = exchange.await;
            match ended {
                Ok(()) => answered,
                Err(error) => answered.map_err(|_: hyper::Error| error),
            }
        }
    }
}
