//! Work that may take seconds of processor time and must not slow down the sessions: on threads of their own, with a
//! priority that lets everything else go first.

use std::io;
use std::thread::{Builder, JoinHandle};

/// The lowest that the system has (see sched(7)). Where nothing else runs it makes no difference.
const NICE: i32 = 19;

/// Runs it on a thread of this name, which may have 15 octets.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn in_background(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        // Of this thread alone, on Linux. Where it cannot be had, the work is done with the usual one.
        let _as_usual = rustix::process::setpriority_process(None, NICE);
        work();
    })
}
