//! How a client that may go on is told so, and what it speaks from there on.

use super::client_half::ClientStream;
use super::connect;
use super::error::SessionError;
use super::wire::Wire;
use crate::intercept::Prefixed;
use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use tokio::io::AsyncWriteExt as _;

/// A client that is about to be told that it may go on.
pub(super) enum Opening {
    /// By the 200 that hyper sends; the connection comes when it has.
    Upgrade(OnUpgrade),
    /// By these octets.
    Answer(Wire, &'static [u8]),
    /// By nothing: it speaks to its host already.
    None(ClientStream),
}

impl Opening {
    /// Tells it. What is read from here on is what the client says to its host.
    pub(super) async fn open(self) -> Result<ClientStream, SessionError> {
        match self {
            Self::Upgrade(upgrade) => connect::tunnel(upgrade).await,
            Self::Answer(mut wire, octets) => {
                let answered = async {
                    wire.write_all(octets).await?;
                    wire.flush().await
                };
                answered.await.map_err(|_| SessionError::Gone)?;
                Ok(Prefixed::new(Bytes::new(), wire))
            }
            Self::None(client) => Ok(client),
        }
    }
}
