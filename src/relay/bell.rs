//! A waker that remembers that it was woken, so that a task with many reasons to wake up knows this one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Polls a future that is dear to poll when it has something new to say, however often the task is polled. What it
/// allocates, it allocates once for a task.
#[derive(Default)]
pub(super) struct Bell(Option<Arc<Ringer>>);

struct Ringer {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Ringer {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Bell {
    /// Polls the future if it has woken this bell since the last time, or was never polled for this task.
    pub(super) fn poll_if_rung<F: Future>(&mut self, cx: &Context<'_>, future: Pin<&mut F>) -> Poll<F::Output> {
        let ringer = match &self.0 {
            Some(ringer) if ringer.task.will_wake(cx.waker()) => {
                if !ringer.rung.load(Ordering::Relaxed) || !ringer.rung.swap(false, Ordering::Acquire) {
                    return Poll::Pending;
                }
                ringer
            }
            _ => self.0.insert(Arc::new(Ringer { rung: AtomicBool::new(false), task: cx.waker().clone() })),
        };
        future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(ringer))))
    }
}
