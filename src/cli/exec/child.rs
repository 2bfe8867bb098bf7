//! The command, and the signals for it.

use super::super::{Exit, Failure};
use super::set;
use crate::trust::variables::Setting;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::exfiltrator::WithRawSiginfo;
use signal_hook::iterator::{Handle, SignalsInfo};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::thread;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{Receiver, channel};

/// Signals that would end this process, and are meant for the command.
const PASSED_ON: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// Signals that wait to be passed on; the system counts none that comes while the same one waits.
const SIGNALS_WAITING_MAX: usize = 16;

/// What a shell calls a command that is there and cannot be run, and one that is not there (POSIX, 2.8.2).
const CANNOT_BE_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Added to the number of a signal that has ended a command.
const BY_SIGNAL: i32 = 128;

/// Signals that were sent to this process, from now on.
pub(super) struct Signals {
    sent: Receiver<i32>,
    handle: Handle,
}

impl Signals {
    /// The command is in our process group. What the terminal sends goes to the whole group, so that the command has got it
    /// already; the system marks it as its own (`si_code` above zero, sigaction(2)). What a process sends to us alone is
    /// passed on. Signals that were ignored when we began, as by nohup(1), stay so, also for the command.
    pub(super) fn take() -> io::Result<Self> {
        let ignored = ignored();
        let wanted = PASSED_ON.iter().filter(|signal| ignored & (1 << (*signal - 1)) == 0);
        let mut signals = SignalsInfo::<WithRawSiginfo>::new(wanted)?;
        let handle = signals.handle();
        let (sender, sent) = channel(SIGNALS_WAITING_MAX);
        thread::Builder::new().name("pinproxy-signals".to_owned()).spawn(move || {
            for info in signals.forever().filter(|info| info.si_code <= 0) {
                if sender.blocking_send(info.si_signo).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { sent, handle })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// A bit for each signal that this process ignores, number 1 the lowest. None where the system has no such file.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}

/// Runs a command to its end, and gives its exit code.
///
/// # Errors
/// When it cannot be run.
pub(super) async fn run(command: &[OsString], settings: &[Setting], signals: Signals) -> Result<u8, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::unusable("name a command behind --"));
    };
    let mut command = Command::new(program);
    set(command.args(arguments), settings);
    let child = command.spawn().map_err(|error| {
        let program = program.to_string_lossy();
        let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_BE_RUN };
        Failure { exit: Exit::Of(code), message: format!("cannot run {program}: {error}") }
    })?;
    let status = wait(child, signals).await.map_err(Failure::unreachable)?;
    Ok(code(status))
}

async fn wait(mut child: Child, mut signals: Signals) -> io::Result<ExitStatus> {
    loop {
        tokio::select! {
            ended = child.wait() => return ended,
            Some(signal) = signals.sent.recv() => pass_on(&child, signal),
        }
    }
}

fn pass_on(child: &Child, signal: i32) {
    // Nobody has waited for it yet, so that the number is still its own.
    let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal))
        && let Err(error) = kill_process(pid, signal)
    {
        tracing::warn!("a signal could not be passed on: {error}");
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| BY_SIGNAL + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        // As wait(2) gives them: the last one has left a core.
        for (raw, expected) in [(0, 0), (0x700, 7), (0xff00, 255), (15, 143), (2, 130), (0x8b, 139)] {
            assert_eq!(code(ExitStatus::from_raw(raw)), expected, "{raw}");
        }
    }
}
