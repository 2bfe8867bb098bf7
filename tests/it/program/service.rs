//! What a service manager hands over and is told.

use super::*;

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use tokio::net::UnixDatagram;

/// The socket of a service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        Self(UnixDatagram::bind(path).expect("a socket"))
    }

    /// In the abstract namespace of Linux, where no file is.
    fn named(name: &str) -> Self {
        use std::os::linux::net::SocketAddrExt as _;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).expect("a name");
        let socket = std::os::unix::net::UnixDatagram::bind_addr(&address).expect("a socket");
        socket.set_nonblocking(true).expect("a socket that does not block");
        Self(UnixDatagram::from_std(socket).expect("a socket"))
    }

    /// The next message that is no sign of life.
    async fn told(&self) -> String {
        loop {
            let message = self.any().await;
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }

    async fn any(&self) -> String {
        let mut octets = [0; 4_096];
        let received = crate::support::within_deadline(self.0.recv(&mut octets)).await;
        let length = received.expect("a message in time").expect("a message");
        String::from_utf8(octets[..length].to_vec()).expect("text")
    }
}

#[tokio::test]
async fn the_service_manager_is_told_of_every_step() {
    let user = User::new();
    let path = user.file("pinproxy.toml", "");
    let manager = Manager::at(&user.folder().join("notify"));
    let start = user.run(Some(&path)).env("NOTIFY_SOCKET", user.folder().join("notify"));
    let program = Program::start(start.env("WATCHDOG_USEC", "200000")).await;
    assert_eq!(manager.told().await, "READY=1\n");
    for _ in 0..3 {
        while manager.any().await != "WATCHDOG=1\n" {}
    }
    program.running.signal("HUP").await;
    let reloading = manager.told().await;
    let (first, second) = reloading.split_once('\n').expect("two lines");
    assert_eq!(first, "RELOADING=1");
    let moment = second.strip_prefix("MONOTONIC_USEC=").expect("the moment of it").trim_end();
    assert!(moment.parse::<u64>().expect("a number") > 0);
    assert_eq!(manager.told().await, "READY=1\n");
    // A reload that is refused is over, too.
    std::fs::write(&path, "[[").unwrap();
    program.running.signal("HUP").await;
    assert!(manager.told().await.starts_with("RELOADING=1\n"));
    assert_eq!(manager.told().await, "READY=1\n");
    program.running.signal("TERM").await;
    assert_eq!(manager.told().await, "STOPPING=1\n");
    program.running.ended().await.with_code(0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_service_manager_without_a_file_is_told_too() {
    let user = User::new();
    let name = format!("pinproxy-test-{}", user.folder().display());
    let manager = Manager::named(&name);
    let program = Program::start(user.run(None).env("NOTIFY_SOCKET", format!("@{name}"))).await;
    assert_eq!(manager.told().await, "READY=1\n");
    let ended = program.stop().await;
    assert_eq!(manager.told().await, "STOPPING=1\n");
    assert!(!ended.err.contains("service manager"), "{ended}");
}

#[tokio::test]
async fn a_service_manager_whose_address_is_none() {
    let user = User::new();
    for address in ["vsock:2:1234", "@nobody listens here", "notify"] {
        let ended = Program::start(user.run(None).env("NOTIFY_SOCKET", address)).await.stop().await;
        ended.says(&["the service manager cannot be told: ", "stopped"]);
    }
}

#[tokio::test]
async fn without_a_service_manager_nothing_is_amiss() {
    let user = User::new();
    let program = Program::start(user.run(None).env("NOTIFY_SOCKET", "/nowhere/notify")).await;
    let ended = program.stop().await;
    ended.says(&["the service manager cannot be told: ", "stopped"]);
    let program = Program::start(user.run(None)).await;
    assert!(!program.stop().await.err.contains("service manager"));
}

/// It does not listen somewhere else then.
#[tokio::test]
async fn sockets_that_are_told_of_in_other_words() {
    let user = User::new();
    let start = || user.run(None).env("LISTEN_FDS", "one");
    let ended = start().run().await.with_code(2);
    ended.says(&["LISTEN_FDS is \"one\", and has to be the number of sockets", "sd_listen_fds(3)"]);
    assert_eq!(ended.out, "");
    Program::start(start().env("LISTEN_PID", "1")).await.stop().await;
}

#[tokio::test]
async fn sockets_that_cannot_be_listened_on() {
    let user = User::new();
    let path = user.file("pinproxy.toml", "");
    let handed = |descriptor: OwnedFd, more: &str| {
        let script =
            format!("exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" run --config \"$1\" {more}");
        process::command(Path::new("/bin/sh"), user.folder())
            .env("XDG_DATA_HOME", user.folder().join("data"))
            .args(["-c", &script, env!("CARGO_BIN_EXE_pinproxy")])
            .arg(&path)
            .with(|command| {
                command.stdin(descriptor);
            })
    };
    let file = OwnedFd::from(std::fs::File::open(&path).unwrap());
    let datagrams = OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    for descriptor in [file, datagrams] {
        let ended = handed(descriptor, "").run().await.with_code(2);
        ended.says(&["socket 1 of those handed over (LISTEN_FDS) cannot be listened on", "ListenStream=ADDRESS:PORT"]);
    }
    let local = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let both = handed(local(), "--listen 127.0.0.1:0").run().await.with_code(2);
    both.says(&["sockets were handed over (LISTEN_FDS) beside --listen"]);
    // Who hands over a socket that is open to others has not said who they are.
    let open = OwnedFd::from(TcpListener::bind("0.0.0.0:0").unwrap());
    let ended = handed(open, "").run().await.with_code(2);
    ended.says(&[" is open to other machines, and nothing says who may use the proxy"]);
}
