//! Reloads beside sessions: what takes long is left to threads that run when nobody else wants the processor, and nothing
//! else is.

use crate::support::bench::{bank_with, rfc3339};
use crate::support::pki::{Ca, Key, now};
use crate::support::proxy::ProxyBuilder;
use crate::support::within_deadline;
use pinproxy::files::Stamps;
use pinproxy::operate::{Cause, Wanted};
use pinproxy::proxy::Clock;
use std::collections::HashSet;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// The name of the thread that asks, and whether it runs only when nobody else wants the processor.
fn who() -> (String, bool) {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("a thread has a state");
    // The field 41 of proc_pid_stat(5); the second may have spaces in it. SCHED_IDLE is 5.
    let policy = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(38));
    (std::thread::current().name().unwrap_or_default().to_owned(), policy == Some("5"))
}

/// Whoever holds a lock that sessions want has to get the processor when they do. All that the proxy has of a reload begins
/// with a look at its clock.
#[tokio::test]
async fn who_waits_for_the_processor_touches_nothing_that_sessions_use() {
    let asked = Arc::new(Mutex::new(HashSet::new()));
    let noted = Arc::clone(&asked);
    let clock = Clock::from_fn(move || {
        noted.lock().unwrap().insert(who());
        SystemTime::now()
    });
    let proxy = ProxyBuilder::new("").trusting([&Ca::root("Root")]).clock(clock).start().await;
    let rollout = format!(
        "mode = \"report-only\"\n[pinset.rollout]\nenforce_from = {}\nhold_if_violations_over = 0.5\n",
        rfc3339(now() + Duration::from_secs(3_600))
    );
    let config = Arc::new(proxy.config(&bank_with("leaf_pins", &[&Key::p256().pin(), &Key::p256().pin()], &rollout)));
    let (open, gate) = channel::<()>();
    let (gate, readers) = (Mutex::new(gate), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&readers);
    let operator = proxy.operator(Box::new(move |_| {
        let (name, idle) = who();
        noted.lock().unwrap().push((name, idle));
        if idle && noted.lock().unwrap().len() > 1 {
            // From the second time on, as on a machine that leaves no processor over.
            gate.lock().unwrap().recv().unwrap_err();
        }
        let (config, warnings) = (Clone::clone(&*config), Vec::new());
        Some((Stamps::new(), Ok(Wanted { config, warnings, materials: None, faults: Vec::new() })))
    }));
    for generation in [2, 3] {
        let reloaded = within_deadline(operator.reloads.reload(Cause::Control, false)).await.expect("in time");
        assert_eq!(reloaded.expect("it is taken").generation, generation);
        assert_eq!(proxy.proxy.generation().policy.generation(), generation);
    }
    drop(open);
    let (quiet, reload) = ("pinproxy-read".to_owned(), "pinproxy-reload".to_owned());
    let expected = [(quiet.clone(), true), (quiet, true), (reload.clone(), false)];
    assert_eq!(
        *readers.lock().unwrap(),
        expected,
        "once, and where that does not get on once more by who waits for it"
    );
    let asked = asked.lock().unwrap();
    assert!(asked.contains(&(reload, false)), "{asked:?}");
    assert!(asked.iter().all(|(_, idle)| !idle), "{asked:?}");
}
