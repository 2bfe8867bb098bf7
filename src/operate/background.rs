//! Work that may take seconds of processor time and must not slow down the sessions: on threads of their own, which the
//! system runs when nobody else wants the processor.
//!
//! Such a thread takes no lock that a session may wait for: while others want the processor, it would not give it back.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How often it is looked whether work that is waited for gets on.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// It gets on with one part of so many of a processor. With less it is not waited for any longer.
const PARTS_OF_A_PROCESSOR: u32 = 4;

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

/// Work that somebody waits for, done in the background as long as it gets on there.
pub(super) struct Leisure {
    look_interval: Duration,
    /// For how long the thread with this file has had a processor; it has none before it has begun.
    had: fn(Option<&Path>) -> Option<Duration>,
    /// The last thread, which may be at work that was done without it in the end.
    last: Option<JoinHandle<()>>,
}

impl Default for Leisure {
    fn default() -> Self {
        Self { look_interval: LOOK_INTERVAL, had, last: None }
    }
}

impl fmt::Debug for Leisure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leisure").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Leisure {
    /// What comes of this work. On a machine that leaves no processor over it is begun anew on the thread that waits: the
    /// other one cannot be hurried, since without privileges no thread gets back the priority that it has given away.
    pub(super) fn wait_for<T: Send + 'static>(
        &mut self,
        name: &str,
        work: impl Fn() -> T + Send + Sync + 'static,
    ) -> T {
        let work = Arc::new(work);
        // One at a time: a machine that leaves no processor over would gather them.
        if self.last.as_ref().is_some_and(|last| !last.is_finished()) {
            return work();
        }
        let (tell, told) = sync_channel(1);
        let file = Arc::new(OnceLock::new());
        let (there, file_there) = (Arc::clone(&work), Arc::clone(&file));
        let begun = in_background(name, move || {
            if let Some(own) = own_file() {
                file_there.get_or_init(|| own);
            }
            // Nobody may be waiting any more.
            drop(tell.send(there()));
        });
        let Ok(begun) = begun else { return work() };
        self.last = Some(begun);
        let mut before = Duration::ZERO;
        loop {
            match told.recv_timeout(self.look_interval) {
                Ok(done) => {
                    // It may not have left yet, but it has nothing to do any more.
                    self.last = None;
                    return done;
                }
                Err(RecvTimeoutError::Disconnected) => return work(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let had = (self.had)(file.get().map(PathBuf::as_path)).unwrap_or_default();
            if had.saturating_sub(before) * PARTS_OF_A_PROCESSOR < self.look_interval {
                return work();
            }
            before = had;
        }
    }
}

/// Where the system tells for how long the thread that asks has had a processor. None without /proc.
fn own_file() -> Option<PathBuf> {
    Some(Path::new("/proc").join(fs::read_link("/proc/thread-self").ok()?).join("schedstat"))
}

fn had(file: Option<&Path>) -> Option<Duration> {
    let told = fs::read_to_string(file?).ok()?;
    told.split(' ').next()?.parse().ok().map(Duration::from_nanos)
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
    // A filter of system calls may refuse it. It is not told from here: the log has a lock.
    drop(set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy));
}

/// Other systems have nothing like it.
#[cfg(not(target_os = "linux"))]
fn when_idle() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    /// Whether the thread that asks runs only when nobody else wants the processor.
    fn is_idle() -> bool {
        let stat = fs::read_to_string("/proc/thread-self/stat").expect("a thread has a state");
        // The field 41 of proc_pid_stat(5); the second may have spaces in it. SCHED_IDLE is 5.
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(38)) == Some("5")
    }

    fn leisure(had: fn(Option<&Path>) -> Option<Duration>) -> Leisure {
        Leisure { look_interval: Duration::from_millis(5), had, last: None }
    }

    #[test]
    fn it_is_done_when_nobody_else_wants_the_processor() {
        let mut patient = Leisure { look_interval: Duration::from_secs(600), ..Leisure::default() };
        assert!(patient.wait_for("test", is_idle));
        assert!(patient.wait_for("test", is_idle), "and so is the next");
    }

    /// A thread that the machine leaves nothing over for holds nobody up, neither who waits for it nor who comes after.
    #[test]
    fn what_does_not_get_on_is_done_all_the_same() {
        for had in [|_: Option<&Path>| Some(Duration::ZERO), |_: Option<&Path>| None] {
            let mut leisure = leisure(had);
            let (open, gate) = channel::<()>();
            let gate = Mutex::new(gate);
            let held_up = move || {
                let idle = is_idle();
                if idle {
                    gate.lock().unwrap().recv().unwrap_err();
                }
                idle
            };
            assert!(!leisure.wait_for("test", held_up), "by the thread that waits");
            leisure.look_interval = Duration::from_secs(600);
            assert!(!leisure.wait_for("test", is_idle), "there is no second one while the first is at it");
            drop(open);
            leisure.last.take().expect("a thread").join().expect("no panic");
            assert!(leisure.wait_for("test", is_idle));
        }
    }

    #[test]
    fn what_gets_on_is_waited_for() {
        // As if each look found it to have had all of a processor; they end the waiting, so that there is more than one.
        static LOOKS: Mutex<(u32, Option<std::sync::mpsc::Sender<()>>)> = Mutex::new((0, None));
        let mut leisure = leisure(|_| {
            let mut looks = LOOKS.lock().unwrap();
            looks.0 += 1;
            if looks.0 == 3 {
                looks.1 = None;
            }
            Some(Duration::from_secs(1) * looks.0)
        });
        let (open, gate) = channel::<()>();
        LOOKS.lock().unwrap().1 = Some(open);
        let gate = Mutex::new(gate);
        let held_up = move || {
            gate.lock().unwrap().recv().unwrap_err();
            is_idle()
        };
        assert!(leisure.wait_for("test", held_up));
        assert!(LOOKS.lock().unwrap().0 >= 3);
    }

    #[test]
    fn the_system_tells_what_a_thread_has_had() {
        let file = own_file().expect("/proc");
        let before = had(Some(&file)).expect("a figure");
        while had(Some(&file)).expect("a figure") == before {
            std::hint::spin_loop();
        }
        assert_eq!([had(Some(Path::new("/proc/none"))), had(None)], [None, None]);
    }
}
