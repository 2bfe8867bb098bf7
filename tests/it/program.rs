//! The program itself, as a child process: what it prints, which code it ends with, and what signals do to it.

mod admin;
mod ca;
mod check;
mod control;
mod entrances;
mod env;
mod exec;
mod large;
mod logs;
mod page;
mod paste;
mod pins;
mod probe;
mod refusals;
mod reload;
mod renewed;
mod reports;
mod revoked;
mod rolling;
mod rotation;
mod secrets;
mod service;
mod signals;
mod start;
mod streams;
mod watch;
mod wayout;

use crate::support::origin::{Behaviour, Origin, OriginConfig};
use crate::support::pki::{Ca, Chain, Key, Leaf};
use crate::support::process::{self, Running, Start};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The origin of these tests. The program asks the system for addresses, which knows this name everywhere.
const HOST: &str = "localhost";

/// A user without files, whose name of a folder is not a plain word of the shell.
struct User(tempfile::TempDir);

/// The program, running.
struct Program {
    running: Running,
    /// Where it listens.
    address: SocketAddr,
    /// What it printed at the start.
    greeting: String,
}

impl User {
    fn new() -> Self {
        let prefix = "a user's folder ";
        // Whatever the umask: a CA is refused where others can write.
        let private = std::fs::Permissions::from_mode(0o700);
        Self(tempfile::Builder::new().prefix(prefix).permissions(private).tempdir().expect("a temporary folder"))
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Where the CA is kept without a word about it.
    fn ca(&self) -> PathBuf {
        self.folder().join("data/pinproxy")
    }

    /// Writes a file and gives its path.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        let parent = path.parent().expect("a folder");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).expect("the folder is made");
        std::fs::write(&path, text).expect("the file is written");
        path
    }

    /// The program with these arguments.
    fn pinproxy<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Start {
        let program = Path::new(env!("CARGO_BIN_EXE_pinproxy"));
        process::command(program, self.folder()).env("XDG_DATA_HOME", self.folder().join("data")).args(arguments)
    }

    /// `pinproxy run` on a socket that it is handed, as a service manager does it.
    fn run_on(&self, socket: &std::net::TcpListener, configuration: &Path) -> Start {
        // The number of the process has to be in its environment, so the shell becomes the program.
        let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" run --config \"$1\"";
        let socket = socket.try_clone().expect("a second descriptor");
        process::command(Path::new("/bin/sh"), self.folder())
            .env("XDG_DATA_HOME", self.folder().join("data"))
            .args(["-c", script, env!("CARGO_BIN_EXE_pinproxy")])
            .arg(configuration)
            .with(|command| {
                command.stdin(std::os::fd::OwnedFd::from(socket));
            })
    }

    /// `pinproxy run` on a free port, with a configuration if there is one.
    fn run(&self, configuration: Option<&Path>) -> Start {
        let start = self.pinproxy(["run", "--listen", "127.0.0.1:0"]);
        match configuration {
            Some(path) => start.arg("--config").arg(path),
            None => start,
        }
    }
}

impl Program {
    /// Starts it, and waits until it has printed its last line.
    async fn start(start: Start) -> Self {
        let mut running = start.start();
        let greeting = running.out.until("\n  export ").await;
        let address = value(&greeting, "listening").parse().expect("an address");
        Self { running, address, greeting }
    }

    /// The same where it listens as its file says, perhaps not in the clear first.
    async fn start_anywhere(start: Start) -> Self {
        let mut running = start.start();
        let greeting = running.out.until("\n  export ").await;
        Self { running, address: SocketAddr::from(([0, 0, 0, 0], 0)), greeting }
    }

    /// Ends it and asserts that it ends as asked.
    async fn stop(self) -> process::Finished {
        self.running.signal("TERM").await;
        self.running.ended().await.with_code(0)
    }

    /// The line to paste.
    fn paste(&self) -> &str {
        self.greeting.lines().last().expect("a line").trim_start()
    }
}

/// The value in the greeting's line of this name.
fn value<'a>(greeting: &'a str, name: &str) -> &'a str {
    let line = greeting.lines().find_map(|line| line.trim_start().strip_prefix(name));
    line.unwrap_or_else(|| panic!("no line {name} in:\n{greeting}")).trim()
}

/// An origin for [`HOST`] with a private CA.
struct Site {
    root: Ca,
    chain: Chain,
    origin: Origin,
}

impl Site {
    async fn start(behaviour: Behaviour) -> Self {
        let root = Ca::root("A private CA");
        let chain = Leaf::named(HOST).signed_by(&root);
        let origin = Origin::start(OriginConfig::new(chain.clone()).behaviour(behaviour)).await;
        Self { root, chain, origin }
    }

    /// A configuration that trusts the private CA and says this besides.
    fn trusted_by(&self, user: &User, more: &str) -> PathBuf {
        user.file("private ca.pem", &self.root.pem());
        user.file("pinproxy.toml", &format!("[upstream]\nextra_roots = [\"private ca.pem\"]\n{more}"))
    }

    fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.origin.port())
    }
}

/// A pinset for [`HOST`].
fn pinset(pin: &str) -> String {
    let backup = Key::p256().pin();
    format!("[[pinset]]\nname = \"site\"\nhosts = [\"{HOST}\"]\nleaf_pins = [\"{pin}\"]\nbackup = [\"{backup}\"]\n")
}
