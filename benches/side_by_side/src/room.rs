//! Where the measurement takes place: namespaces of its own, so that nothing reaches a network, port 53 and 443 are free,
//! and the system's resolver asks the harness; and two processors, one for the proxy and one for everything else.

use crate::Result;
use crate::names::DNS_SERVER;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Pid, geteuid};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// Tells the inner run from the outer one.
const INSIDE: &str = "SIDE_BY_SIDE_INSIDE";

/// The two processors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) proxy: usize,
    pub(crate) load: usize,
}

/// Whether this process is in namespaces of its own already.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this command again in namespaces of its own.
pub(crate) fn run_inside() -> Result<ExitStatus> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "unshare", "--mount", "--net"]);
    if !geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.arg("--").arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    let status = command.status().map_err(|error| format!("cannot run setpriv (package util-linux): {error}"))?;
    if status.code() == Some(1) {
        return Err("it did not run to its end; if unshare complains above, be root (CAP_SYS_ADMIN), or allow \
                    unprivileged user namespaces"
            .into());
    }
    Ok(status)
}

/// Puts up loopback and replaces the files that the system's resolver reads. Seen in these namespaces only.
pub(crate) fn furnish(folder: &Path) -> Result<()> {
    run("ip", &["link", "set", "lo", "up"], "iproute2")?;
    let files = [
        ("/etc/resolv.conf", format!("nameserver {DNS_SERVER}\n")),
        ("/etc/hosts", "127.0.0.1 localhost\n".to_owned()),
        ("/etc/nsswitch.conf", "hosts: files dns\n".to_owned()),
    ];
    for (target, text) in files {
        let source = folder.join(target.replace('/', "_"));
        fs::write(&source, text)?;
        run("mount", &["--bind", &source.to_string_lossy(), target], "util-linux")?;
    }
    Ok(())
}

/// What a process opens besides its tunnels.
const OTHER_FILES: u64 = 400;
/// Both the proxy and the harness, which is client and origin, have so many files open for each tunnel.
const FILES_A_TUNNEL: u64 = 2;

/// How many tunnels fit into so many open files.
pub(crate) fn tunnels_max(open_files: u64) -> usize {
    usize::try_from(open_files.saturating_sub(OTHER_FILES) / FILES_A_TUNNEL).unwrap_or(usize::MAX)
}

/// How many open files so many tunnels take.
pub(crate) fn files_for(tunnels: usize) -> u64 {
    tunnels as u64 * FILES_A_TUNNEL + OTHER_FILES
}

/// Lets this process and its children open as many files as the hard limit allows, and tells how many that is.
pub(crate) fn raise_open_files() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

impl Cores {
    /// The first two processors that this process may use, unless others are asked for.
    pub(crate) fn choose(proxy: Option<usize>, load: Option<usize>) -> Result<Self> {
        let usable = sched_getaffinity(Pid::from_raw(0))?;
        let mut free = (0..CpuSet::count()).filter(|&core| usable.is_set(core).unwrap_or(false));
        let mut next = |taken: Option<usize>| free.find(|&core| Some(core) != taken);
        let proxy = proxy.or_else(|| next(load));
        let load = load.or_else(|| next(proxy));
        match (proxy, load) {
            (Some(proxy), Some(load)) if proxy != load => Ok(Self { proxy, load }),
            _ => Err("two processors are needed: one for the proxy, one for the load and the origins".into()),
        }
    }

    /// Puts this process on the load's processor.
    pub(crate) fn settle(self) -> Result<()> {
        settle_on(self.load)
    }
}

/// Puts the thread that calls on a processor; threads that it makes follow it.
pub(crate) fn settle_on(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

fn run(program: &str, arguments: &[&str], package: &str) -> Result<()> {
    let status = Command::new(program).args(arguments).status();
    let status = status.map_err(|error| format!("cannot run {program} (package {package}): {error}"))?;
    if !status.success() {
        return Err(format!("{program} {}: {status}", arguments.join(" ")).into());
    }
    Ok(())
}
