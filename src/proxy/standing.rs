//! Sessions behind their 200, kept so that they can be ended: all of them when the proxy ends, and those that a new
//! generation refuses when it comes into force.
//!
//! A session was judged once, by the generation that it began with, and may last for a day. When the rules change, it is
//! judged again by what its upstream showed then: an operator who blocks a key at noon does not mean only those who come
//! after lunch.

mod judge;

use super::record::Record;
use super::{Generation, Proxy, Turn};
use crate::config::Limits;
use crate::policy::decision::Rejection;
use crate::policy::host::{Authority, Host};
use crate::policy::moment::Circumstances;
use crate::policy::rules::Rule;
use crate::tls::chain::Attempt;
use judge::Judge;
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::Notify;

/// Parts of the list, each with a lock of its own, so that sessions seldom wait for each other.
const PARTS: usize = 16;

/// The sessions that relay, or are about to.
#[derive(Debug, Default)]
pub(super) struct Standings {
    parts: [Mutex<HashMap<u64, Arc<Standing>>>; PARTS],
    count: AtomicU64,
}

/// A session: what it was judged by, and the bell that ends it.
#[derive(Debug)]
pub(super) struct Standing {
    /// The target of its CONNECT.
    asked: Authority,
    /// Who asked.
    client: IpAddr,
    upstream: Mutex<Seen>,
    bell: Notify,
    why: OnceLock<Closing>,
}

/// What is known of the upstream of a session.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The address that was dialled.
    pub(super) address: Option<SocketAddr>,
    /// What it showed.
    pub(super) shown: Shown,
}

/// What the verdict on a session rests on.
struct Grounds<'s> {
    asked: &'s Authority,
    client: IpAddr,
    address: Option<SocketAddr>,
    shown: Shown,
}

/// What an upstream showed.
#[derive(Clone, Debug)]
pub(super) enum Shown {
    /// It was not asked yet: which rule counts is in the ClientHello.
    Unasked,
    /// Certificates, for the host that was asked for, or for this one. There are many of these, so nothing is told twice.
    Chain(Option<Host>, Arc<[CertificateDer<'static>]>),
    /// Nothing that was looked at; but its client may have named this host in a ClientHello.
    Nothing(Option<Host>),
}

/// By what a session was let through.
#[derive(Debug)]
pub(super) struct Verdict<'a> {
    pub(super) generation: &'a Arc<Generation>,
    /// When it began.
    pub(super) turn: Turn,
    pub(super) overridden: bool,
}

/// Why a session is ended before its time.
#[derive(Debug)]
pub(super) enum Closing {
    /// The proxy ends.
    Shutdown,
    /// The generation in force refuses it.
    Refused(Arc<Refused>),
}

/// What a generation finds against a session.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) generation: u64,
    pub(super) rejection: Rejection,
    /// The rule that refuses it, where it is one.
    pub(super) rule: Option<Refusing>,
}

/// The rule that refuses a session.
#[derive(Debug)]
pub(super) struct Refusing {
    pub(super) rule: Arc<Rule>,
    pub(super) circumstances: Circumstances,
    /// Where it is the chain that is refused: what verification found.
    pub(super) attempt: Option<Attempt>,
}

/// The place of a session in the list; given back when dropped.
#[derive(Debug)]
pub(super) struct Listed {
    proxy: Arc<Proxy>,
    number: u64,
    standing: Arc<Standing>,
}

impl Standings {
    fn part(&self, number: u64) -> MutexGuard<'_, HashMap<u64, Arc<Standing>>> {
        let index = usize::try_from(number % PARTS as u64).unwrap_or_default();
        self.parts[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, standing: Arc<Standing>) -> u64 {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.part(number).insert(number, standing);
        number
    }

    /// Those that relay now.
    fn all(&self) -> Vec<Arc<Standing>> {
        let parts = self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner));
        parts.flat_map(|part| part.values().cloned().collect::<Vec<_>>()).collect()
    }

    /// Ends them all, because the proxy ends.
    pub(super) fn close(&self) {
        self.all().iter().for_each(|standing| standing.close(Closing::Shutdown));
    }
}

impl Standing {
    /// As they are now.
    fn grounds(&self) -> Grounds<'_> {
        let Seen { address, shown } = self.upstream.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Grounds { asked: &self.asked, client: self.client, address, shown }
    }

    /// The first reason counts.
    fn close(&self, why: Closing) {
        if self.why.set(why).is_ok() {
            self.bell.notify_one();
        }
    }
}

impl Listed {
    /// Lists a session. It is to be confirmed, since whoever replaced the generation before may not have seen it in the list.
    pub(super) fn new(proxy: Arc<Proxy>, asked: Authority, client: IpAddr, seen: Seen) -> Self {
        let (bell, why) = (Notify::new(), OnceLock::new());
        let standing = Arc::new(Standing { asked, client, upstream: Mutex::new(seen), bell, why });
        let number = proxy.standings.enter(Arc::clone(&standing));
        if proxy.ending.is_cancelled() {
            standing.close(Closing::Shutdown);
        }
        Self { proxy, number, standing }
    }

    /// What its upstream has shown now. Whoever changed the rules before this line has judged by what was known then.
    pub(super) fn saw(&self, seen: Seen, verdict: &Verdict<'_>) {
        *self.standing.upstream.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        self.confirm(verdict);
    }

    /// Judges the session where its verdict may not be the last word any more: the generation has been replaced, or time, a
    /// rollout or an operator may have changed it since.
    pub(super) fn confirm(&self, verdict: &Verdict<'_>) {
        let (proxy, now) = (&self.proxy, self.proxy.generation());
        let has_turned = proxy.turn(proxy.time.moment()) != verdict.turn;
        if has_turned || verdict.overridden || !Arc::ptr_eq(&now, verdict.generation) {
            Judge::new(proxy, now).judge(&self.standing);
        }
    }

    /// The target of its CONNECT.
    pub(super) fn asked(&self) -> &Authority {
        &self.standing.asked
    }

    /// The limits of the session.
    pub(super) fn limits(&self) -> &Limits {
        &self.proxy.limits
    }

    /// Completes when the session has to end.
    pub(super) async fn closing(&self) {
        if self.standing.why.get().is_none() {
            // Who closes it gives the reason first; the bell keeps a ring that nobody waits for yet.
            self.standing.bell.notified().await;
        }
    }

    /// Tells the record if it is a generation that refuses the session. Whether it is.
    pub(super) fn tell_refusal(&self, record: &mut Record) -> bool {
        let Some(Closing::Refused(refused)) = self.standing.why.get() else { return false };
        record.refused_later(refused);
        true
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.proxy.standings.part(self.number).remove(&self.number);
    }
}
