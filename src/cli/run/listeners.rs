//! The sockets that clients connect to: bound here, or handed over by whoever starts the program (sd_listen_fds(3)).

use super::super::Failure;
use crate::config::Listener;
use crate::operate::Beside;
use crate::proxy::Entrance;
use listenfd::ListenFd;
use socket2::SockRef;
use std::env;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Sockets that are taken from a service manager.
const HANDED_MAX: u16 = 1_000;

/// Sockets that were handed over. They outlive this process in the hands of whoever has them too: what connects between the
/// end of one process and the start of the next waits there.
#[derive(Debug, Default)]
pub(super) struct Handed(Vec<std::net::TcpListener>);

impl Handed {
    /// Those that the environment tells of; none where it tells of none, or of those of another process.
    pub(super) fn take() -> Result<Self, Failure> {
        check_announced(|name| env::var_os(name), std::process::id()).map_err(Failure::unusable)?;
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

    /// These sockets, or where there are none, new ones that listen where these do.
    pub(super) async fn or_bound(self, wanted: &[Listener]) -> Result<Vec<TcpListener>, Failure> {
        if !self.0.is_empty() {
            return self
                .0
                .into_iter()
                .map(|socket| TcpListener::from_std(socket).map_err(Failure::unreachable))
                .collect();
        }
        let mut listeners = Vec::new();
        for Listener { address, .. } in wanted {
            let listener = TcpListener::bind(address).await;
            listeners.push(
                listener
                    .map_err(|error| Failure::unreachable(cannot_listen(&address.to_string(), "--listen", &error)))?,
            );
        }
        Ok(listeners)
    }
}

/// Makes of each socket what is wanted of it, and notes where it listens.
pub(super) fn open(sockets: Vec<TcpListener>, wanted: &mut [Listener]) -> Result<Vec<Entrance>, Failure> {
    let opened = sockets.into_iter().zip(wanted).map(|(socket, listener)| {
        listener.address = socket.local_addr().map_err(Failure::unreachable)?;
        Entrance::new(socket, listener).map_err(Failure::unreachable)
    });
    opened.collect()
}

/// What a reload reads again: the certificates of those that speak TLS.
pub(super) fn beside(entrances: &[Entrance]) -> impl Iterator<Item = Beside> {
    let spoken = entrances.iter().filter_map(Entrance::tls).cloned();
    spoken.map(|tls| Beside { paths: tls.paths(), renew: Box::new(move || tls.renew()) })
}

/// Refuses what a manager says of its sockets and cannot be understood: a proxy that took no notice would listen somewhere
/// else. What is said to another process is none of ours.
fn check_announced(variable: impl Fn(&str) -> Option<OsString>, process: u32) -> Result<(), String> {
    let Some(count) = variable("LISTEN_FDS") else { return Ok(()) };
    let unclear = |name: &str, told: &OsString, wanted: &str| {
        let told = told.to_string_lossy();
        format!("{name} is {told:?}, and has to be {wanted}; whoever starts this program sets it (sd_listen_fds(3))")
    };
    let number = |told: &OsString| told.to_str().and_then(|text| text.parse::<u32>().ok());
    if let Some(meant) = variable("LISTEN_PID").filter(|meant| !meant.is_empty()) {
        match number(&meant) {
            None => return Err(unclear("LISTEN_PID", &meant, "the number of a process")),
            Some(meant) if meant != process => return Ok(()),
            Some(_) => {}
        }
    }
    let few = |told: &OsString| number(told).filter(|told| *told <= u32::from(HANDED_MAX));
    let counted = few(&count)
        .ok_or_else(|| unclear("LISTEN_FDS", &count, &format!("the number of sockets, of at most {HANDED_MAX}")))?;
    if let Some(first) = variable("LISTEN_FDS_FIRST_FD").filter(|first| few(first).is_none()) {
        return Err(unclear("LISTEN_FDS_FIRST_FD", &first, "the number of the first socket, where that is not 3"));
    }
    let names = variable("LISTEN_FDNAMES");
    // The names themselves say nothing to us.
    let named = |names: &OsString| names.to_str().map(|names| names.split(':').count());
    match names.filter(|names| counted > 0 && named(names) != usize::try_from(counted).ok()) {
        Some(names) => Err(unclear("LISTEN_FDNAMES", &names, &format!("one name for each of {counted} sockets"))),
        None => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn what_a_manager_says() {
        let table: [(Variables<'_>, Result<(), &str>); 22] = [
            (&[], Ok(())),
            (&[("LISTEN_PID", "x"), ("LISTEN_FDNAMES", "a:b")], Ok(())),
            (&[("LISTEN_FDS", "1")], Ok(())),
            (&[("LISTEN_FDS", "0")], Ok(())),
            (&[("LISTEN_FDS", "1000")], Ok(())),
            (&[("LISTEN_FDS", "1"), ("LISTEN_PID", "7")], Ok(())),
            (&[("LISTEN_FDS", "1"), ("LISTEN_PID", "")], Ok(())),
            (&[("LISTEN_FDS", "x"), ("LISTEN_PID", "8"), ("LISTEN_FDNAMES", "a:b")], Ok(())),
            (&[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "a:b")], Ok(())),
            (&[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "a:")], Ok(())),
            (&[("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "5")], Ok(())),
            (&[("LISTEN_FDS", "")], Err("LISTEN_FDS is \"\"")),
            (&[("LISTEN_FDS", "one")], Err("LISTEN_FDS is \"one\"")),
            (&[("LISTEN_FDS", "-1")], Err("LISTEN_FDS is \"-1\"")),
            (&[("LISTEN_FDS", " 1")], Err("LISTEN_FDS is \" 1\"")),
            (&[("LISTEN_FDS", "1001")], Err("LISTEN_FDS is \"1001\"")),
            (&[("LISTEN_FDS", "99999999999999999999")], Err("LISTEN_FDS is \"99999999999999999999\"")),
            (&[("LISTEN_FDS", "x"), ("LISTEN_PID", "7")], Err("LISTEN_FDS is \"x\"")),
            (&[("LISTEN_FDS", "1"), ("LISTEN_PID", "x")], Err("LISTEN_PID is \"x\"")),
            (&[("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "a:b")], Err("LISTEN_FDNAMES is \"a:b\"")),
            (&[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "a")], Err("LISTEN_FDNAMES is \"a\"")),
            (&[("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "x")], Err("LISTEN_FDS_FIRST_FD is \"x\"")),
        ];
        for (told, expected) in table {
            let variable = |name: &str| told.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
            match (check_announced(variable, 7), expected) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(begin)) => assert!(error.starts_with(&format!("{begin}, and has to be ")), "{error}"),
                (found, _) => panic!("{told:?}: {found:?}"),
            }
        }
        let no_text = |name: &str| (name == "LISTEN_FDS").then(|| OsString::from_vec(vec![0xff]));
        assert!(check_announced(no_text, 7).is_err());
    }
}
