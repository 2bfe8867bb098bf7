//! What a service manager is told (sd_notify(3)). Where none has asked, which the environment says, nothing is.

use sd_notify::{NotifyState, notify, watchdog_enabled};
use std::env;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;
use tokio::time::interval;

/// A service manager that wants to hear more often is not right.
const LIFE_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// Sessions are taken.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again; [`ready`] follows, whatever comes of it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("the service manager is not told of the reload: {error}"),
    }
}

/// No new sessions; open ones end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells that the runtime is alive, twice as often as the service manager wants to hear it. Never completes where it does.
pub(super) async fn keep_watchdog() {
    let Some(limit) = watchdog_enabled().filter(|limit| !limit.is_zero()) else { return };
    let mut ticks = interval((limit / 2).max(LIFE_INTERVAL_MIN));
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // A name in the abstract namespace begins with an @, which `notify` takes for a file.
    // One that is empty is none.
    let Some(address) = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else { return };
    let told = match address.as_bytes() {
        [b'@', name @ ..] => notify_abstract(name, state),
        [b'/', ..] => notify(state),
        _ => Err(io::Error::other("NOTIFY_SOCKET is neither the path of a socket nor @ and a name")),
    };
    if let Err(error) = told {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}

#[cfg(target_os = "linux")]
fn notify_abstract(name: &[u8], state: &[NotifyState<'_>]) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let lines: Vec<_> = state.iter().map(ToString::to_string).collect();
    let message = lines.join("\n") + "\n";
    let address = SocketAddr::from_abstract_name(name)?;
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address).map(|_| ())
}

#[cfg(not(target_os = "linux"))]
fn notify_abstract(_: &[u8], _: &[NotifyState<'_>]) -> io::Result<()> {
    Err(io::Error::other("NOTIFY_SOCKET begins with @, and only Linux has such sockets"))
}
