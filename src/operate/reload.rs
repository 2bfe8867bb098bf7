//! The configuration read again while the proxy runs, all of it or nothing.

use super::judging::Judging;
use super::reloader::Reloader;
use crate::config::{Config, Diagnostic};
use crate::files::Stamps;
use crate::inspect::{Fault, Occasion};
use crate::materials::Materials;
use crate::proxy::Proxy;
use arc_swap::ArcSwap;
use serde::Serialize;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;
use tokio::sync::oneshot;

/// Reloads that may wait for their turn. Each of them reads everything anew, so that more are no use.
const WAITING_MAX: usize = 8;

/// What is said when the thread that reloads is gone.
const FAILED: &str = "reloads are not followed any more: one of them has failed; restart the proxy";

/// What a reload is made of.
#[derive(Debug)]
pub struct Wanted {
    /// The configuration.
    pub config: Config,
    /// What is to be told about the file, infos left out. There may be errors among it that need not keep the proxy from
    /// starting, such as roots of a pinset that have all ended: other hosts do not depend on them.
    pub warnings: Vec<Diagnostic>,
    /// What its files hold, as far as that has been read.
    pub materials: Option<Materials>,
    /// What the errors are about.
    pub faults: Vec<Fault>,
}

/// Reads the configuration: what came of it, and what it was read from, whatever that is. None where there is no file. It may
/// be asked a second time before it has answered, and takes no lock that sessions wait for, that of the log among them.
pub type Read = Box<dyn Fn(Occasion<'_>) -> Option<(Stamps, Result<Wanted, String>)> + Send + Sync>;

/// Something beside the configuration that is read again with it, such as a certificate.
pub struct Beside {
    /// The files.
    pub paths: Vec<PathBuf>,
    /// Reads them and puts them in force; or says why what was in force stays.
    pub renew: Box<dyn Fn() -> Result<(), String> + Send>,
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// Who wants a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// SIGHUP.
    Signal,
    /// A change of the files.
    Files,
    /// Somebody at the control socket.
    Control,
}

/// What a reload came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reloaded {
    /// The number of the generation that is in force now.
    pub generation: u64,
    /// How many rules it has.
    pub rules: usize,
    /// Sessions that were open and that it refuses.
    pub closed: usize,
    /// What passes from now on that was refused, a line each.
    pub looser: Vec<String>,
    /// Findings about the files.
    pub warnings: Vec<String>,
    /// Files of events that could not be opened anew, and why: events go on to those that were there before.
    pub not_reopened: Vec<String>,
    /// Sections that have changed and take effect at the next start only.
    pub at_next_start: Vec<&'static str>,
}

/// How the last reload ended.
#[derive(Clone, Debug)]
pub struct Last {
    /// When.
    pub at: SystemTime,
    /// Who wanted it.
    pub cause: Cause,
    /// What came of it, or why nothing did.
    pub outcome: Result<Reloaded, String>,
}

/// Where reloads are asked for, and what came of them.
#[derive(Clone, Debug)]
pub struct Reloads {
    wanted: SyncSender<Request>,
    judging: Judging,
    told: Arc<Told>,
}

/// What is told about reloads.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) last: Mutex<Option<Last>>,
    pub(super) inputs: ArcSwap<Stamps>,
    pub(super) taken: AtomicU64,
    pub(super) taken_at: Mutex<Option<SystemTime>>,
    pub(super) refused: AtomicU64,
}

/// A reload that is wanted, and who waits for what comes of it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) cause: Cause,
    pub(super) force: bool,
    pub(super) answer: oneshot::Sender<Result<Reloaded, String>>,
}

/// What is in force, for the first reload to be compared with.
#[derive(Debug)]
pub struct Beginning {
    /// The configuration that the process started with: what cannot be changed while it runs is compared with it.
    pub config: Config,
    /// The faults that were found when it was read.
    pub faults: Vec<Fault>,
    /// What it was read from.
    pub inputs: Stamps,
    /// Where the CA is kept.
    pub ca_directory: PathBuf,
    /// What else is read at a reload.
    pub beside: Vec<Beside>,
}

impl Reloads {
    /// Starts the thread that reloads. Files may be on a disk that hangs, and a large configuration takes seconds: the
    /// sessions do not wait for either.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(proxy: Arc<Proxy>, beginning: Beginning, read: Read) -> io::Result<Self> {
        let told = Arc::new(Told::default());
        let judging = Judging::start(Arc::clone(&proxy))?;
        let mut reloader = Reloader::new(proxy, beginning, read, Arc::clone(&told), judging.clone());
        let (wanted, asked) = sync_channel::<Request>(WAITING_MAX);
        thread::Builder::new().name("pinproxy-reload".to_owned()).spawn(move || {
            while let Some(request) = reloader.wait(&asked) {
                reloader.serve(request);
            }
        })?;
        Ok(Self { wanted, judging, told })
    }

    /// Reads the configuration again, and gives what came of it, or why what was in force stays in force. Where several
    /// wait, each has a turn of its own, so that none is answered by what was read before it was asked for.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub async fn reload(&self, cause: Cause, force: bool) -> Result<Reloaded, String> {
        let (answer, answered) = oneshot::channel();
        match self.wanted.try_send(Request { cause, force, answer }) {
            Ok(()) => answered.await.unwrap_or_else(|_| Err(FAILED.to_owned())),
            Err(TrySendError::Full(_)) => {
                Err(format!("{WAITING_MAX} reloads wait already; ask again when they are done"))
            }
            Err(TrySendError::Disconnected(_)) => Err(FAILED.to_owned()),
        }
    }

    /// Ends open sessions that the rules and overrides in force refuse. Gives their number; none where judging has failed.
    pub(super) async fn judge_open_sessions(&self) -> Option<usize> {
        self.judging.judge().await.ok()
    }

    /// How the last one ended; none where there was none.
    pub fn last(&self) -> Option<Last> {
        self.told.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the last one was taken; none where none was.
    pub fn taken_at(&self) -> Option<SystemTime> {
        *self.told.taken_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the configuration was last read from.
    pub fn inputs(&self) -> Arc<Stamps> {
        self.told.inputs.load_full()
    }

    /// How many were taken, and how many refused.
    pub fn counts(&self) -> (u64, u64) {
        (self.told.taken.load(Ordering::Relaxed), self.told.refused.load(Ordering::Relaxed))
    }
}
