//! Work that may take seconds of processor time and must not slow down the sessions: on threads of their own, which the
//! system runs when nobody else wants the processor.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Runs it on a thread of this name, which may have 15 octets.
///
/// # Errors
/// When the system gives no thread.
pub fn in_background(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        when_idle();
        work();
    })
}

/// SCHED_IDLE for this thread (see sched(7)). Niceness is not enough: a thread of the lowest keeps the processor to the end
/// of its slice, some milliseconds, and a session wakes up half a dozen times.
#[cfg(target_os = "linux")]
fn when_idle() {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy) {
        // A filter of system calls, perhaps.
        tracing::debug!("background work goes on as all other: {error}");
    }
}

/// Other systems have nothing like it.
#[cfg(not(target_os = "linux"))]
fn when_idle() {}
