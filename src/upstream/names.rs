//! Addresses of names, kept for a short while.
//!
//! The system's resolver tells no time to live, so what it said is kept for [`ADDRESSES_KEPT`] only. Who asks for a name
//! that is being resolved waits for the answer to the first one who asked. Addresses are judged by the access rules each
//! time that one is dialled, kept or not.

use super::resolve::{Resolve, Resolving};
use crate::policy::host::DnsName;
use quick_cache::sync::{Cache, EntryAction, EntryResult};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long addresses of a name are kept.
pub const ADDRESSES_KEPT: Duration = Duration::from_secs(5);
/// How long it is kept that a name could not be resolved.
pub const FAILURES_KEPT: Duration = Duration::from_secs(1);
/// Names kept at a time; the least used one goes first.
pub const NAMES_MAX: usize = 10_000;

/// A resolver in front of another one, which remembers what that said.
#[derive(Debug)]
pub struct Remembering<R> {
    resolver: R,
    names: Cache<DnsName, Kept>,
}

/// What was said about a name, and until when that is believed.
#[derive(Clone, Debug)]
struct Kept {
    until: Instant,
    said: Result<Arc<[IpAddr]>, Failure>,
}

/// An error that can be told several times.
#[derive(Clone, Debug)]
struct Failure {
    kind: io::ErrorKind,
    text: Arc<str>,
}

impl Kept {
    fn new(said: io::Result<Vec<IpAddr>>) -> Self {
        let now = Instant::now();
        match said {
            Ok(addresses) => Self { until: now + ADDRESSES_KEPT, said: Ok(addresses.into()) },
            Err(error) => {
                let failure = Failure { kind: error.kind(), text: error.to_string().into() };
                Self { until: now + FAILURES_KEPT, said: Err(failure) }
            }
        }
    }

    fn answer(&self) -> io::Result<Vec<IpAddr>> {
        match &self.said {
            Ok(addresses) => Ok(addresses.to_vec()),
            Err(Failure { kind, text }) => Err(io::Error::new(*kind, text.to_string())),
        }
    }

    fn is_fresh(&self) -> bool {
        Instant::now() < self.until
    }
}

impl<R: Resolve> Remembering<R> {
    /// In front of `resolver`.
    pub fn new(resolver: R) -> Self {
        Self { resolver, names: Cache::new(NAMES_MAX) }
    }

    async fn ask(&self, name: &DnsName) -> io::Result<Vec<IpAddr>> {
        if let Some(kept) = self.names.get(name).filter(Kept::is_fresh) {
            return kept.answer();
        }
        let decide = |_: &DnsName, kept: &mut Kept| {
            if kept.is_fresh() { EntryAction::Retain(kept.clone()) } else { EntryAction::ReplaceWithGuard }
        };
        match self.names.entry_async(name, decide).await {
            EntryResult::Retained(kept) => kept.answer(),
            EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => {
                // Whoever gives up meanwhile drops the guard, and the next one who waits asks.
                let kept = Kept::new(self.resolver.resolve(name).await);
                let answer = kept.answer();
                // Refused only if the place was removed meanwhile; the answer is good nevertheless.
                let _ = guard.insert(kept);
                answer
            }
            // We neither remove nor wait with a limit; should the library do so, nothing is kept.
            EntryResult::Removed(..) | EntryResult::Timeout => self.resolver.resolve(name).await,
        }
    }
}

impl<R: Resolve> Resolve for Remembering<R> {
    fn resolve<'a>(&'a self, name: &'a DnsName) -> Resolving<'a> {
        Box::pin(self.ask(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::host::Host;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;
    use tokio::time::advance;

    /// Tells how often it was asked, waits for a sign, and knows one name.
    #[derive(Debug, Default)]
    struct Asked {
        times: AtomicUsize,
        go: Notify,
    }

    impl Resolve for Arc<Asked> {
        fn resolve<'a>(&'a self, name: &'a DnsName) -> Resolving<'a> {
            Box::pin(async move {
                let time = self.times.fetch_add(1, Ordering::Relaxed);
                self.go.notified().await;
                match name.as_str() {
                    "known.example" => Ok(vec![IpAddr::from([192, 0, 2, u8::try_from(time).unwrap()])]),
                    _ => Err(io::Error::new(io::ErrorKind::NotFound, format!("no {}", name.as_str()))),
                }
            })
        }
    }

    fn name(text: &str) -> DnsName {
        let Ok(Host::Name(name)) = Host::parse(text) else { panic!("{text}") };
        name
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_and_for_how_long() {
        let asked = Arc::new(Asked::default());
        let resolver = Remembering::new(Arc::clone(&asked));
        let (known, unknown) = (name("known.example"), name("unknown.example"));
        let millis = Duration::from_millis;
        assert_eq!((ADDRESSES_KEPT, FAILURES_KEPT), (millis(5_000), millis(1_000)));
        // after this long, who is asked for, and how often the resolver was asked by then
        let table = [
            (Duration::ZERO, &known, 1, Ok("192.0.2.0")),
            (millis(4_999), &known, 1, Ok("192.0.2.0")),
            (millis(1), &known, 2, Ok("192.0.2.1")),
            (Duration::ZERO, &unknown, 3, Err("no unknown.example")),
            (millis(999), &unknown, 3, Err("no unknown.example")),
            (millis(1), &unknown, 4, Err("no unknown.example")),
            (millis(3_999), &known, 4, Ok("192.0.2.1")),
        ];
        for (after, name, times, expected) in table {
            advance(after).await;
            asked.go.notify_one();
            let said = resolver.resolve(name).await;
            let told = said.map(|addresses| addresses[0].to_string()).map_err(|error| error.to_string());
            assert_eq!(told, expected.map(str::to_owned).map_err(str::to_owned), "{name:?} after {after:?}");
            assert_eq!(asked.times.load(Ordering::Relaxed), times, "{name:?} after {after:?}");
            // A sign that nobody waited for is taken back.
            drop(tokio::time::timeout(Duration::ZERO, asked.go.notified()).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_at_the_same_time_waits_for_the_first_and_for_the_next_when_that_gives_up() {
        let asked = Arc::new(Asked::default());
        let resolver = Remembering::new(Arc::clone(&asked));
        let known = name("known.example");
        let mut first = resolver.resolve(&known);
        let (mut second, mut third) = (resolver.resolve(&known), resolver.resolve(&known));
        for waiting in [&mut first, &mut second, &mut third] {
            assert!(polled_once(waiting).await.is_none());
        }
        assert_eq!(asked.times.load(Ordering::Relaxed), 1);
        drop(first);
        for waiting in [&mut second, &mut third] {
            assert!(polled_once(waiting).await.is_none());
        }
        assert_eq!(asked.times.load(Ordering::Relaxed), 2);
        asked.go.notify_one();
        let expected = vec![IpAddr::from([192, 0, 2, 1])];
        let (second, third) = tokio::join!(second, third);
        assert_eq!((second.unwrap(), third.unwrap()), (expected.clone(), expected));
        assert_eq!(asked.times.load(Ordering::Relaxed), 2);
    }

    /// One poll.
    async fn polled_once(resolving: &mut Resolving<'_>) -> Option<io::Result<Vec<IpAddr>>> {
        use std::task::Poll;
        std::future::poll_fn(|cx| {
            Poll::Ready(match resolving.as_mut().poll(cx) {
                Poll::Ready(said) => Some(said),
                Poll::Pending => None,
            })
        })
        .await
    }
}
