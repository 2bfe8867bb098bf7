//! The way to the collector of traces: OTLP over HTTP/1.1, from a thread of its own. A collector that is slow or gone costs
//! the sessions nothing; what it does not take is counted and told.

use super::{Clock, exchange};
use crate::config;
use crate::outbox::retry_after;
use crate::report::{Event, Told, TraceCounts, export_request, rejected_spans};
use crate::tls::anchors::TrustAnchors;
use crate::tls::ordinary::ordinary;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::sync::mpsc as threads;
use std::thread;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

/// Traces in one request.
pub const TRACES_A_REQUEST_MAX: usize = 200;
/// How long traces gather for a request.
const GATHERING: Duration = Duration::from_secs(1);
/// For one request, from the name of the collector to the end of its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses before a request that has failed is made again; after the last one its traces are dropped.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];
/// For the last traces to be delivered, when the program ends.
const LAST_TIMEOUT: Duration = Duration::from_secs(1);
/// For the thread to end. Each of its last waits has an end.
pub(super) const END_MAX: Duration = LAST_TIMEOUT.saturating_mul(4);
/// The longest pause that a collector can ask for (Retry-After): what waits behind it has a bound, too.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// Octets of an answer that are read; what a longer one says does not count.
const ANSWER_OCTETS_MAX: usize = 64 << 10;

/// Where traces are sent.
pub(super) struct Collector {
    url: Uri,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    headers: HeaderMap,
    clock: Clock,
}

/// Delivers what is queued, and ends the thread, when it is dropped.
#[derive(Debug)]
pub struct CollectorGuard {
    closing: CancellationToken,
    ended: threads::Receiver<()>,
}

/// Why traces cannot be sent. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The name in the URL.
    #[error("traces.url: {0:?} is no name that a certificate can be for")]
    Name(String),
    /// The TLS library.
    #[error("TLS towards the collector of traces cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// A header of the configuration.
    #[error("traces.headers: a value of {0} that cannot be sent")]
    Header(HeaderName),
    /// The system gives no thread.
    #[error("no thread for the collector of traces: {0}")]
    Thread(#[from] io::Error),
}

/// Why a request has failed.
#[derive(Debug, thiserror::Error)]
enum Undelivered {
    #[error("it cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    #[error("it does not answer as a collector does: {0}")]
    Protocol(String),
    #[error("it answers {status}")]
    Status { status: StatusCode, retry_after: Option<Duration> },
    #[error("it rejects {spans} spans: {why}")]
    Rejected { spans: u64, why: Told },
    #[error("no answer within {REQUEST_TIMEOUT:?}")]
    Timeout,
    #[error("{0}")]
    Unwritten(String),
}

impl Undelivered {
    /// Whether the same request may do better later (the OTLP specification, "Failures").
    fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Protocol(_) | Self::Timeout => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 429 | 502..=504),
            Self::Rejected { .. } | Self::Unwritten(_) => false,
        }
    }

    /// The pause before the same request is sent again, where this one is usual.
    fn pause(&self, usual: Duration) -> Duration {
        match self {
            Self::Status { retry_after: Some(asked), .. } => usual.max((*asked).min(RETRY_AFTER_MAX)),
            _ => usual,
        }
    }

    /// How many of the traces that were sent are lost by it. A span that was rejected spoils one.
    fn lost_of(&self, sent: usize) -> usize {
        match self {
            Self::Rejected { spans, .. } => usize::try_from(*spans).map_or(sent, |spans| spans.min(sent)),
            _ => sent,
        }
    }
}

impl Collector {
    /// The collector that a configuration names, if it does.
    pub(super) fn of(
        settings: &config::Traces,
        anchors: &TrustAnchors,
        clock: Clock,
    ) -> Result<Option<Self>, CollectorError> {
        let Some(url) = settings.url.clone() else { return Ok(None) };
        let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_https = url.scheme_str() == Some("https");
        let tls = if is_https {
            let name = ServerName::try_from(host.clone()).map_err(|_| CollectorError::Name(host.clone()))?;
            Some((TlsConnector::from(Arc::new(ordinary(anchors)?)), name))
        } else {
            None
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("pinproxy/", env!("CARGO_PKG_VERSION"))));
        for (name, secret) in &settings.headers {
            let mut value = HeaderValue::from_str(secret.reveal()).map_err(|_| CollectorError::Header(name.clone()))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Ok(Some(Self { url, host, port, tls, headers, clock }))
    }

    /// Begins to deliver what is taken. On a thread of its own, so that writing traces takes no time of the workers that
    /// sessions run on.
    pub(super) fn start(
        self,
        taken: mpsc::Receiver<Event>,
        counts: TraceCounts,
    ) -> Result<CollectorGuard, CollectorError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let closing = CancellationToken::new();
        let (last, ended) = threads::channel();
        let delivery = Delivery { collector: self, counts, closing: closing.clone(), failing: false };
        thread::Builder::new().name("pinproxy-traces".to_owned()).spawn(move || {
            runtime.block_on(delivery.run(taken));
            // A resolver that hangs is left behind.
            runtime.shutdown_timeout(Duration::ZERO);
            drop(last);
        })?;
        Ok(CollectorGuard { closing, ended })
    }

    /// Without path and query, which may hold a key.
    fn shown(&self) -> Told {
        Told::target(&self.url.to_string())
    }

    async fn send(&self, body: Bytes) -> Result<(), Undelivered> {
        let sending = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            match &self.tls {
                Some((connector, name)) => self.post(connector.connect(name.clone(), stream).await?, body).await,
                None => self.post(stream, body).await,
            }
        };
        timeout(REQUEST_TIMEOUT, sending).await.unwrap_or(Err(Undelivered::Timeout))
    }

    /// One request on a connection of its own: there is one a second at most.
    async fn post(&self, stream: impl AsyncRead + AsyncWrite + Unpin, body: Bytes) -> Result<(), Undelivered> {
        let authority = self.url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let path = self.url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let mut request = Request::post(path)
            .header(HOST, authority)
            .body(Full::new(body))
            .map_err(|error| Undelivered::Unwritten(error.to_string()))?;
        request.headers_mut().extend(self.headers.clone());
        let answered = exchange(stream, request, ANSWER_OCTETS_MAX).await;
        let (head, content) = answered.map_err(|error| Undelivered::Protocol(error.to_string()))?;
        if !head.status.is_success() {
            let retry_after = retry_after(&head.headers, self.clock.now());
            return Err(Undelivered::Status { status: head.status, retry_after });
        }
        // A status says that it was taken; what cannot be read beside it changes nothing.
        match content.ok().and_then(|content| rejected_spans(&content)) {
            Some((spans, why)) => Err(Undelivered::Rejected { spans, why }),
            None => Ok(()),
        }
    }
}

/// The work of the thread.
struct Delivery {
    collector: Collector,
    counts: TraceCounts,
    closing: CancellationToken,
    /// Whether the last request failed, so that it is told once and not each time.
    failing: bool,
}

impl Delivery {
    async fn run(mut self, mut taken: mpsc::Receiver<Event>) {
        let closing = self.closing.clone();
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                () = gather(&mut taken, &mut batch) => {}
                () = closing.cancelled() => break,
            }
            self.deliver(&batch).await;
            batch.clear();
        }
        // What comes from now on is counted where it is taken.
        taken.close();
        let until = Instant::now() + LAST_TIMEOUT;
        loop {
            batch.extend(std::iter::from_fn(|| taken.try_recv().ok()).take(TRACES_A_REQUEST_MAX));
            if batch.is_empty() {
                return;
            }
            let delivered = match written(&batch) {
                Ok(body) => timeout_at(until, self.collector.send(body)).await.unwrap_or(Err(Undelivered::Timeout)),
                Err(error) => Err(error),
            };
            self.count(batch.len(), delivered.err().as_ref());
            batch.clear();
        }
    }

    /// Sends one request, and again where that may help; counts its traces where none did.
    async fn deliver(&mut self, batch: &[Event]) {
        let error = match written(batch) {
            Ok(body) => match self.insist(&body).await {
                Ok(()) => {
                    self.count(batch.len(), None);
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("traces are delivered to {} again", self.collector.shown());
                    }
                    return;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        self.count(batch.len(), Some(&error));
        self.tell(&error);
    }

    /// Counts what became of the traces of a request.
    fn count(&self, traces: usize, failure: Option<&Undelivered>) {
        let lost = failure.map_or(0, |failure| failure.lost_of(traces));
        self.counts.add_sent(traces - lost);
        self.counts.add_lost(lost);
    }

    async fn insist(&mut self, body: &Bytes) -> Result<(), Undelivered> {
        for usual in PAUSES {
            let pause = match self.send(body).await {
                Err(error) if error.may_pass() && !self.closing.is_cancelled() => {
                    self.tell(&error);
                    error.pause(usual)
                }
                other => return other,
            };
            tokio::select! {
                () = sleep(pause) => {}
                // There is time for one more.
                () = self.closing.cancelled() => break,
            }
        }
        self.send(body).await
    }

    /// With less patience once the program ends.
    async fn send(&self, body: &Bytes) -> Result<(), Undelivered> {
        let patience_ends = async {
            self.closing.cancelled().await;
            sleep(LAST_TIMEOUT).await;
        };
        tokio::select! {
            sent = self.collector.send(body.clone()) => sent,
            () = patience_ends => Err(Undelivered::Timeout),
        }
    }

    fn tell(&mut self, error: &Undelivered) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!("traces cannot be delivered to {}: {error}", self.collector.shown());
        }
    }
}

fn written(batch: &[Event]) -> Result<Bytes, Undelivered> {
    export_request(batch).map(Bytes::from).map_err(|error| Undelivered::Unwritten(error.to_string()))
}

/// Waits for a trace, and a while for more. Where it is dropped, what has come is in the batch.
async fn gather(taken: &mut mpsc::Receiver<Event>, batch: &mut Vec<Event>) {
    taken.recv_many(batch, TRACES_A_REQUEST_MAX).await;
    let until = Instant::now() + GATHERING;
    while batch.len() < TRACES_A_REQUEST_MAX {
        let room = TRACES_A_REQUEST_MAX - batch.len();
        match timeout_at(until, taken.recv_many(batch, room)).await {
            Ok(more) if more > 0 => {}
            _ => return,
        }
    }
}

impl Drop for CollectorGuard {
    fn drop(&mut self) {
        self.closing.cancel();
        // The thread sends nothing; it is heard when it ends.
        let _ended = self.ended.recv_timeout(END_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failure_costs() {
        let status = |status: u16, seconds: Option<u64>| Undelivered::Status {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: seconds.map(Duration::from_secs),
        };
        let rejected = |spans| Undelivered::Rejected { spans, why: Told::words("the span is too long") };
        // what failed, whether it may pass, the pause after one of two seconds, traces lost of five
        let table = [
            (status(503, None), true, 2, 5),
            (status(503, Some(1)), true, 2, 5),
            (status(429, Some(7)), true, 7, 5),
            (status(503, Some(30)), true, 30, 5),
            (status(503, Some(31)), true, 30, 5),
            (status(503, Some(u64::MAX)), true, 30, 5),
            (status(400, None), false, 2, 5),
            (Undelivered::Timeout, true, 2, 5),
            (rejected(1), false, 2, 1),
            (rejected(5), false, 2, 5),
            (rejected(u64::MAX), false, 2, 5),
        ];
        for (failure, may_pass, pause, lost) in table {
            let paused = failure.pause(Duration::from_secs(2)).as_secs();
            assert_eq!((failure.may_pass(), paused, failure.lost_of(5)), (may_pass, pause, lost), "{failure:?}");
        }
        assert_eq!(rejected(7).to_string(), "it rejects 7 spans: the span is too long");
    }
}
