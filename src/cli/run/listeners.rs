//! The sockets that clients connect to: bound here, or handed over by whoever starts the program (sd_listen_fds(3)).

use super::super::Failure;
use listenfd::ListenFd;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Sockets that were handed over. They outlive this process in the hands of whoever has them too: what connects between the
/// end of one process and the start of the next waits there.
#[derive(Debug, Default)]
pub(super) struct Handed(Vec<std::net::TcpListener>);

impl Handed {
    /// Those that the environment tells of; none where it tells of none, or of those of another process.
    pub(super) fn take() -> Result<Self, Failure> {
        let mut handed = ListenFd::from_env();
        let sockets = (0..handed.len()).map(|number| {
            let taken = handed.take_tcp_listener(number).and_then(|socket| {
                let socket = socket.ok_or_else(|| io::Error::other("it is taken already"))?;
                if !SockRef::from(&socket).is_listener()? {
                    return Err(io::Error::other("it does not listen"));
                }
                socket.set_nonblocking(true)?;
                Ok(socket)
            });
            taken.map_err(|error| {
                let count = number + 1;
                Failure::unusable(format!(
                    "socket {count} of those handed over (LISTEN_FDS) cannot be listened on: {error}; clients are taken \
                     on TCP sockets alone (ListenStream=ADDRESS:PORT)"
                ))
            })
        });
        sockets.collect::<Result<_, _>>().map(Self)
    }

    /// Where they listen.
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        self.0.iter().map(|socket| socket.local_addr().map_err(Failure::unreachable)).collect()
    }

    /// These sockets, or where there are none, new ones that listen on these addresses.
    pub(super) async fn or_bound(self, addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
        if !self.0.is_empty() {
            return self
                .0
                .into_iter()
                .map(|socket| TcpListener::from_std(socket).map_err(Failure::unreachable))
                .collect();
        }
        let mut listeners = Vec::new();
        for address in addresses {
            let listener = TcpListener::bind(address).await;
            listeners.push(
                listener
                    .map_err(|error| Failure::unreachable(cannot_listen(&address.to_string(), "--listen", &error)))?,
            );
        }
        Ok(listeners)
    }
}

/// `setting` is where another one is chosen.
pub(super) fn cannot_listen(address: &str, setting: &str, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => &format!(": another program listens there; choose another port with {setting}"),
        io::ErrorKind::PermissionDenied => ": ports below 1024 need the capability CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => ": no interface of this machine has that address",
        _ => "",
    };
    format!("cannot listen on {address}: {error}{remedy}")
}
