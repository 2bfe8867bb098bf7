//! A proxy that runs.

use super::{Peer, Place};
use crate::Result;
use crate::load::{Accepts, Client, Reach};
use crate::measure::Tree;
use crate::pki::root_store;
use crate::room::Cores;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A proxy that does not listen after this has failed.
const START_MAX: Duration = Duration::from_secs(60);
/// What a proxy is given to end on its own.
const STOP_MAX: Duration = Duration::from_secs(2);
/// Lines of its output that are told when it does not start.
const LINES_TOLD: usize = 8;

/// A running proxy; ended when dropped.
pub(crate) struct Instance {
    child: Child,
    address: SocketAddr,
    reach: Reach,
    trust: Vec<PathBuf>,
    output: PathBuf,
    /// When the process was made.
    pub(crate) spawned: Instant,
}

impl Instance {
    /// Starts a proxy on its processor, and waits until it listens.
    pub(crate) fn start(peer: &dyn Peer, place: &Place<'_>, cores: Cores) -> Result<Self> {
        fs::create_dir_all(&place.folder)?;
        fs::create_dir_all(&place.shared)?;
        let asked = peer.command(place)?;
        let output = place.folder.join("output.txt");
        let file = File::create(&output)?;
        // It ends with the harness, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "taskset", "--cpu-list", &cores.proxy.to_string()]);
        command.arg(asked.get_program()).args(asked.get_args());
        command.current_dir(&place.folder).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let spawned = Instant::now();
        let child = command.spawn().map_err(|error| format!("cannot run setpriv (package util-linux): {error}"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, place.port));
        let mut instance = Self { child, address, reach: peer.reach(), trust: Vec::new(), output, spawned };
        instance.wait_until_it_listens().map_err(|error| format!("{} does not start: {error}", peer.name()))?;
        instance.trust = peer.trust(place);
        Ok(instance)
    }

    /// Clients of this proxy.
    pub(crate) fn client(&self, accepts: Accepts) -> Result<Arc<Client>> {
        Client::new(self.address, self.reach, root_store(&self.trust)?, accepts)
    }

    /// Its processes.
    pub(crate) fn tree(&self) -> Tree {
        Tree::of(self.pid().as_raw())
    }

    /// Tells it to read its configuration again.
    pub(crate) fn reload(&self) -> Result<()> {
        Ok(kill(self.pid(), Signal::SIGHUP)?)
    }

    /// Everything it has printed.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        const STEP: Duration = Duration::from_micros(200);
        while self.spawned.elapsed() < START_MAX {
            match TcpStream::connect(self.address) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => sleep(STEP),
                Err(error) => return Err(error.into()),
            }
            if let Some(status) = self.child.try_wait()? {
                let output = self.output();
                let lines: Vec<&str> = output.lines().collect();
                let told = lines[lines.len().saturating_sub(LINES_TOLD)..].join("\n");
                return Err(format!("{status}\n{told}").into());
            }
        }
        Err(format!("it does not listen on {} within {START_MAX:?}", self.address).into())
    }

    /// Whether it has ended within the time.
    fn ends_within(&mut self, time: Duration) -> bool {
        const STEP: Duration = Duration::from_millis(2);
        let asked = Instant::now();
        while asked.elapsed() < time {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            sleep(STEP);
        }
        false
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let members = self.tree().members();
        // The second signal is for those that wait for open sessions after the first.
        for signal in [Signal::SIGTERM, Signal::SIGTERM, Signal::SIGKILL] {
            // It may have ended already.
            let _ = kill(self.pid(), signal);
            if self.ends_within(STOP_MAX) {
                break;
            }
        }
        // Helpers that have outlived it.
        for process in members {
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
    }
}
