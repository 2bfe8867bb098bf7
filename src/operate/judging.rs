//! Open sessions judged again, on a thread that does nothing else: what is refused is to end within a second, whatever else
//! the process waits for, a resolver that hangs or a reload that runs when nobody else wants the processor.

use crate::proxy::Proxy;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use tokio::sync::oneshot;

/// The thread. It ends with the last of these.
#[derive(Clone, Debug)]
pub(super) struct Judging(Sender<oneshot::Sender<usize>>);

impl Judging {
    /// Starts it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(proxy: Arc<Proxy>) -> io::Result<Self> {
        let (ask, asked) = channel::<oneshot::Sender<usize>>();
        thread::Builder::new().name("pinproxy-judge".to_owned()).spawn(move || {
            while let Ok(answer) = asked.recv() {
                let closed = proxy.judge_open_sessions();
                // Who has stopped waiting has lost nothing: the sessions have ended.
                let _unheard = answer.send(closed);
            }
        })?;
        Ok(Self(ask))
    }

    /// Has open sessions judged by what is in force now. The answer is how many were ended; none comes where judging has
    /// failed.
    pub(super) fn judge(&self) -> oneshot::Receiver<usize> {
        let (answer, answered) = oneshot::channel();
        drop(self.0.send(answer));
        answered
    }
}
