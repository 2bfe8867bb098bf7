//! The proxy under test: the real listener and the real assembly, with names, time and shutdown given by the test.

use super::pki::{Ca, pem_bundle};
use super::within_deadline;
use pinproxy::authority;
use pinproxy::config::Config;
use pinproxy::files::Stamps;
use pinproxy::operate::{Beginning, Operator, Read, Reloads};
use pinproxy::policy::access::Door;
use pinproxy::policy::host::DnsName;
use pinproxy::proxy::{Assembled, Clock, Deliveries, Entrance, Generation, Proxy, assemble, ca_settings, serve};
use pinproxy::report::{Event, Sink, Violation};
use pinproxy::upstream::doors::Doors;
use pinproxy::upstream::resolve::{Resolve, Resolving};
use rustls::pki_types::CertificateDer;
use std::collections::{HashMap, HashSet};
use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// What a proxy under test is made of.
pub(crate) struct ProxyBuilder {
    toml: String,
    roots: Vec<Ca>,
    ca: Option<Ca>,
    rotating: Option<Duration>,
    files: Vec<(String, Vec<u8>)>,
    addresses: HashMap<String, io::Result<Vec<IpAddr>>>,
    silent: HashSet<String>,
    doors: Vec<SocketAddr>,
    now: Option<SystemTime>,
    clock: Option<Clock>,
}

/// A proxy under test. It ends when this is dropped; [`TestProxy::stop`] ends it as a signal would.
pub(crate) struct TestProxy {
    /// Where it listens first. The addresses of its configuration give way to free ports.
    pub(crate) addr: SocketAddr,
    /// The proxy itself.
    pub(crate) proxy: Arc<Proxy>,
    /// The certificate of its CA, for clients to trust.
    pub(crate) ca: CertificateDer<'static>,
    /// The folder with its CA (`ca/ca.pem`), and whatever the configuration writes.
    pub(crate) folder: tempfile::TempDir,
    own: Vec<CertificateDer<'static>>,
    time: Arc<Mutex<Time>>,
    events: mpsc::UnboundedReceiver<Told>,
    shutdown: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

/// What the clocks of a proxy say.
#[derive(Debug)]
struct Time {
    wall: SystemTime,
    /// What the wall clock would say had nobody moved it.
    unmoved: SystemTime,
}

/// What a session told when it ended.
#[derive(Debug)]
pub(crate) struct Told {
    /// Its event.
    pub(crate) event: Event,
    /// Its violation, if there was one.
    pub(crate) violation: Option<Violation>,
}

#[derive(Debug)]
struct Channel(mpsc::UnboundedSender<Told>);

impl Sink for Channel {
    fn take(&self, event: &Event, violation: Option<&Violation>) {
        let told = Told { event: event.clone(), violation: violation.cloned() };
        drop(self.0.send(told));
    }
}

/// Every name is at 127.0.0.1 unless the test says otherwise.
#[derive(Debug)]
struct Names {
    addresses: HashMap<String, io::Result<Vec<IpAddr>>>,
    silent: HashSet<String>,
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, name: &'a DnsName) -> Resolving<'a> {
        if self.silent.contains(name.as_str()) {
            return Box::pin(std::future::pending());
        }
        let answer = match self.addresses.get(name.as_str()) {
            None => Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]),
            Some(Ok(addresses)) => Ok(addresses.clone()),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        Box::pin(async { answer })
    }
}

impl ProxyBuilder {
    /// A proxy with this configuration. `[upstream] roots` must not be in it: the trust anchors are those given by
    /// [`ProxyBuilder::trusting`].
    pub(crate) fn new(toml: impl Into<String>) -> Self {
        Self {
            toml: toml.into(),
            roots: Vec::new(),
            ca: None,
            rotating: None,
            files: Vec::new(),
            addresses: HashMap::new(),
            silent: HashSet::new(),
            doors: Vec::new(),
            now: None,
            clock: None,
        }
    }

    /// Upstream trust anchors.
    pub(crate) fn trusting<'a>(mut self, roots: impl IntoIterator<Item = &'a Ca>) -> Self {
        self.roots.extend(roots.into_iter().cloned());
        self
    }

    /// The operator's own CA, in place of the one that is made on first use.
    pub(crate) fn ca(mut self, ca: &Ca) -> Self {
        self.ca = Some(ca.clone());
        self
    }

    /// A rotation of the CA runs: the next one (`ca/ca-next.pem`) signs when this time is over.
    pub(crate) fn rotating(mut self, after: Duration) -> Self {
        self.rotating = Some(after);
        self
    }

    /// A file beside the configuration.
    pub(crate) fn file(mut self, name: &str, contents: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), contents.into()));
        self
    }

    /// What a name resolves to.
    pub(crate) fn name(mut self, name: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|a| a.parse().expect("an address")).collect();
        self.addresses.insert(name.to_owned(), Ok(addresses));
        self
    }

    /// A name that does not resolve.
    pub(crate) fn no_such_name(mut self, name: &str) -> Self {
        let error = io::Error::new(io::ErrorKind::NotFound, "no such host");
        self.addresses.insert(name.to_owned(), Err(error));
        self
    }

    /// A name about which no server ever answers.
    pub(crate) fn silent_name(mut self, name: &str) -> Self {
        self.silent.insert(name.to_owned());
        self
    }

    /// Where it would tell operators about itself.
    pub(crate) fn door(mut self, address: SocketAddr) -> Self {
        self.doors.push(address);
        self
    }

    /// What the clock says; the real time unless given.
    pub(crate) fn at(mut self, now: SystemTime) -> Self {
        self.now = Some(now);
        self
    }

    /// The clock itself; the time cannot be set then.
    pub(crate) fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Starts it.
    pub(crate) async fn start(mut self) -> TestProxy {
        if self.roots.is_empty() {
            // A proxy without anchors does not start.
            self.roots.push(Ca::root("root of nobody"));
        }
        // Whatever the umask: a CA is refused where others can write.
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().permissions(private).tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("roots.pem"), pem_bundle(&self.roots)).expect("roots.pem is written");
        for (name, contents) in &self.files {
            let path = folder.path().join(name);
            std::fs::write(&path, contents).expect("the file is written");
            if path.extension().is_some_and(|extension| extension == "key") {
                std::fs::set_permissions(path, Permissions::from_mode(0o600)).expect("it is ours");
            }
        }
        let ca_folder = folder.path().join("ca");
        if let Some(ca) = &self.ca {
            install_ca(ca, &ca_folder);
        }
        let config = parse(&self.toml, folder.path());
        let now = self.now.unwrap_or_else(SystemTime::now);
        let time = Arc::new(Mutex::new(Time { wall: now, unmoved: now }));
        let clock = if let Some(clock) = self.clock.take() {
            clock
        } else if self.now.is_none() {
            Clock::system()
        } else {
            let (wall, steady) = (Arc::clone(&time), Arc::clone(&time));
            let since_1970 =
                |moment: SystemTime| moment.duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
            let steady = move || since_1970(steady.lock().expect("the time").unmoved);
            Clock::of(move || wall.lock().expect("the time").wall, steady)
        };
        let settings = ca_settings(&config).expect("settings of the CA");
        if let Some(after) = self.rotating {
            let now = clock.now();
            authority::load_or_create(&ca_folder, settings, now).expect("a CA is made or loaded");
            authority::begin(&ca_folder, now + after, None, now).expect("a rotation begins");
        }
        let (authority, _) =
            authority::load_or_create(&ca_folder, settings, clock.now()).expect("a CA is made or loaded");
        let authority = Arc::new(authority);
        let (sender, events) = mpsc::unbounded_channel();
        let sinks: Vec<Box<dyn Sink>> = vec![Box::new(Channel(sender))];
        let names = Names { addresses: self.addresses, silent: self.silent };
        let generation = Generation::load(&config, 1, authority.certificates()).expect("a generation");
        let (mut entrances, mut addrs) = (Vec::new(), Vec::new());
        for wanted in &config.listeners {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
            addrs.push(listener.local_addr().expect("its address"));
            entrances.push(Entrance::new(listener, wanted).expect("an entrance"));
        }
        let doors = Doors::default().and(Door::Proxy, addrs.iter().copied()).and(Door::Admin, self.doors);
        let assembled = assemble(&config, generation, &authority, Arc::new(names), clock, doors, sinks);
        let Assembled { proxy, sinks, outbox, .. } = assembled.expect("the proxy is assembled");
        let (shutdown, stop) = oneshot::channel::<()>();
        let served = Arc::clone(&proxy);
        let serving = tokio::spawn(async move {
            serve(entrances, served, async { drop(stop.await) }).await;
            drop(sinks);
            if let Some(outbox) = outbox {
                outbox.end().await;
            }
        });
        TestProxy {
            addr: addrs[0],
            proxy,
            ca: authority.certificates()[0].clone(),
            folder,
            own: authority.certificates().to_vec(),
            time,
            events,
            shutdown: Some(shutdown),
            serving,
        }
    }
}

/// Puts a CA where the proxy looks for its own.
fn install_ca(ca: &Ca, folder: &Path) {
    let written = std::fs::create_dir(folder)
        .and_then(|()| std::fs::write(folder.join("ca.pem"), ca.pem()))
        .and_then(|()| std::fs::write(folder.join("ca.key"), ca.key().private_pem()))
        .and_then(|()| std::fs::set_permissions(folder, Permissions::from_mode(0o700)))
        .and_then(|()| std::fs::set_permissions(folder.join("ca.pem"), Permissions::from_mode(0o644)))
        .and_then(|()| std::fs::set_permissions(folder.join("ca.key"), Permissions::from_mode(0o600)));
    written.expect("the CA is written");
}

/// The configuration as the file would give it, its anchors replaced by those of the test.
fn parse(toml: &str, folder: &Path) -> Config {
    let path = folder.join("pinproxy.toml");
    let (mut config, _) = match Config::parse(toml, &path, SystemTime::now()) {
        Ok(parsed) => parsed,
        Err(errors) => panic!("the configuration of the test:\n{errors}"),
    };
    config.upstream.roots = pinproxy::config::Roots::File(folder.join("roots.pem"));
    config
}

impl TestProxy {
    /// The event of the next session that ends.
    pub(crate) async fn told(&mut self) -> Told {
        within_deadline(self.events.recv()).await.expect("an event within the deadline").expect("the proxy is running")
    }

    /// Asserts that no further session has ended. Meaningful once everything that could end has been awaited.
    pub(crate) fn no_more_events(&mut self) {
        if let Ok(told) = self.events.try_recv() {
            panic!("one event too many: {told:?}");
        }
    }

    /// Waits until this many connections and tunnels are open. A session gives its place back right after its event.
    pub(crate) async fn until_open(&self, count: usize) {
        let polled = async {
            while self.proxy.open_sessions() != count {
                tokio::task::yield_now().await;
            }
        };
        let reached = within_deadline(polled).await.is_some();
        assert!(reached, "{} sessions are open, and should be {count}", self.proxy.open_sessions());
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_serving(&self) -> bool {
        !self.serving.is_finished()
    }

    /// Lets time pass until now; only for a proxy started with [`ProxyBuilder::at`].
    pub(crate) fn set_time(&self, now: SystemTime) {
        *self.time.lock().expect("the time") = Time { wall: now, unmoved: now };
    }

    /// Sets the wall clock alone, as somebody does who tampers with it.
    pub(crate) fn set_wall_clock(&self, now: SystemTime) {
        self.time.lock().expect("the time").wall = now;
    }

    /// Puts another configuration's rules, anchors and lists in force; gives the old ones.
    pub(crate) fn replace(&self, toml: &str, number: u64) -> Arc<Generation> {
        self.proxy.replace(Generation::load(&self.config(toml), number, &self.own).expect("a generation"))
    }

    /// A configuration whose anchors are those of the test.
    pub(crate) fn config(&self, toml: &str) -> Config {
        parse(toml, self.folder.path())
    }

    /// The proxy in the hands of an operator who has this read again.
    pub(crate) fn operator(&self, read: Read) -> Operator {
        let beginning = Beginning {
            config: Config::builtin(),
            faults: Vec::new(),
            inputs: Stamps::new(),
            ca_directory: self.folder.path().join("ca"),
            beside: Vec::new(),
        };
        let reloads = Reloads::start(Arc::clone(&self.proxy), beginning, read).expect("a thread");
        Operator::new(Arc::clone(&self.proxy), reloads, Deliveries::default())
    }

    /// Tells the proxy to end, as a signal would.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.shutdown.take());
    }

    /// Waits until it has ended.
    pub(crate) async fn stopped(&mut self) {
        within_deadline(&mut self.serving).await.expect("it ends within the deadline").expect("it does not panic");
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
