//! Programs of others, and our own, as child processes: an environment that the test chooses, every line kept, and an
//! end no later than the test's.
//!
//! ```ignore
//! let Some(curl) = find("curl") else { return };
//! let done = command(&curl, folder).args(["-sS", "https://api.bank.example/"]).run().await;
//! assert_eq!(done.code, Some(0), "{done}");
//! ```

use std::{
    env, fmt, fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    sync::watch,
};

/// How long a program may take for anything it is waited for. A Java compiler on a busy machine takes its time.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(90);
/// How often a port is tried before its program counts as not listening, and the pause in between.
const PORT_ATTEMPTS: u32 = 500;
const PORT_PAUSE: Duration = Duration::from_millis(20);

/// The program of this name on the `PATH`, or where servers are kept. Without it the test cannot run, which [`skipped`]
/// tells.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut files = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).map(|folder| folder.join(name));
    let found = files.find(|file| is_executable(file));
    if found.is_none() {
        skipped(&format!("the program {name} is not installed"));
    }
    found
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Tells that a test does not run, and why, past the test runner's capture of output. Where `PINPROXY_TEST_NO_SKIP` is
/// set, as in CI, that is a failure.
pub(crate) fn skipped(why: &str) {
    assert!(env::var_os("PINPROXY_TEST_NO_SKIP").is_none(), "this test must not be skipped, but {why}");
    tell_skipped(why);
}

/// The same where it is never a failure.
pub(crate) fn tell_skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // One write, so that the lines of tests that run side by side do not mix.
    std::io::stderr().write_all(format!("SKIPPED: {test}: {why}\n").as_bytes()).ok();
}

/// A program about to be started. Of our environment it gets the `PATH` alone: variables that point clients at proxies
/// and CA files are the subject of the tests, and must not come from outside.
pub(crate) fn command(program: &Path, home: &Path) -> Start {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    command.env("HOME", home).env("LANG", "C.UTF-8").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Start { command, input: None }
}

/// See [`command`].
#[must_use]
pub(crate) struct Start {
    command: Command,
    input: Option<String>,
}

impl Start {
    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<std::ffi::OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts in this folder.
    pub(crate) fn folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Gives it this to read, and then the end of its input.
    pub(crate) fn input(mut self, text: &str) -> Self {
        self.command.stdin(Stdio::piped());
        self.input = Some(text.to_owned());
        self
    }

    /// Whatever else the operating system offers.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.command);
        self
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Running {
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        if let (Some(text), Some(mut stdin)) = (self.input, child.stdin.take()) {
            // A program that ends without reading is judged by how it ends.
            tokio::spawn(async move { stdin.write_all(text.as_bytes()).await });
        }
        let (out, err) = (Collected::of(child.stdout.take()), Collected::of(child.stderr.take()));
        Running { child, out, err }
    }

    /// Runs it to its end.
    pub(crate) async fn run(self) -> Finished {
        self.start().ended().await
    }
}

/// A running program. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    /// Its standard output.
    pub(crate) out: Collected,
    /// Its standard error.
    pub(crate) err: Collected,
}

/// What a program has written to one of its outputs so far.
pub(crate) struct Collected(watch::Receiver<String>);

/// How a program ended, and all it wrote.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    /// The exit code; none when a signal ended it.
    pub(crate) code: Option<i32>,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl Collected {
    fn of(source: Option<impl AsyncRead + Send + Unpin + 'static>) -> Self {
        let (sender, receiver) = watch::channel(String::new());
        if let Some(source) = source {
            tokio::spawn(async move {
                let mut source = BufReader::new(source);
                let mut line = Vec::new();
                while source.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
                    sender.send_modify(|text| text.push_str(&String::from_utf8_lossy(&line)));
                    line.clear();
                }
            });
        }
        Self(receiver)
    }

    /// Waits until the output holds this text, and gives all of it so far.
    pub(crate) async fn until(&mut self, part: &str) -> String {
        self.until_times(part, 1).await
    }

    /// Waits until the output holds this text so many times.
    pub(crate) async fn until_times(&mut self, part: &str, times: usize) -> String {
        let waiting = self.0.wait_for(|text| text.matches(part).count() >= times);
        let how = match tokio::time::timeout(PROGRAM_DEADLINE, waiting).await {
            Ok(Ok(text)) => return text.clone(),
            Ok(Err(_)) => "ended",
            Err(_) => "goes on",
        };
        panic!("the output {how} without {part:?}:\n{}", self.so_far());
    }

    /// What there is now.
    pub(crate) fn so_far(&self) -> String {
        self.0.borrow().clone()
    }

    /// Everything, once the program has closed the output.
    async fn all(&mut self) -> String {
        drop(tokio::time::timeout(PROGRAM_DEADLINE, self.0.wait_for(|_| false)).await);
        self.so_far()
    }
}

impl Running {
    /// Its process number, for as long as it has not been waited for.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("the program has not been waited for")
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) async fn signal(&self, name: &str) {
        let script = format!("kill -s {name} {}", self.id());
        let sent = Command::new("sh").args(["-c", &script]).status().await.expect("sh runs");
        assert!(sent.success(), "{script}: {sent}");
    }

    /// Whether it has ended by now.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the child can be asked").is_some()
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Finished {
        let status = tokio::time::timeout(PROGRAM_DEADLINE, self.child.wait()).await;
        let Ok(status) = status else {
            panic!("it does not end; so far:\n{}\n{}", self.out.so_far(), self.err.so_far());
        };
        let code = status.expect("the child can be waited for").code();
        Finished { code, out: self.out.all().await, err: self.err.all().await }
    }

    /// Waits until something listens on this port of 127.0.0.1, or tells that the program has ended before.
    pub(crate) async fn listens(&mut self, port: u16) -> bool {
        for _ in 0..PORT_ATTEMPTS {
            if self.has_ended() {
                return false;
            }
            // While nothing listens, the system may choose the very same port for our end, and connect us to ourselves.
            let connected = TcpStream::connect(("127.0.0.1", port)).await;
            if connected.is_ok_and(|stream| stream.local_addr().is_ok_and(|own| own.port() != port)) {
                return true;
            }
            tokio::time::sleep(PORT_PAUSE).await;
        }
        panic!("nothing listens on port {port}:\n{}", self.err.so_far());
    }
}

impl Finished {
    /// Asserts that it ended with this code.
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Asserts that its standard error holds each of these texts.
    pub(crate) fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is missing in {self}");
        }
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {:?}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.out, self.err)
    }
}
