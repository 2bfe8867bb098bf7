//! Somebody who takes reports by POST, and does so as the test says.
//!
//! ```ignore
//! let mut receiver = Receiver::start().await;
//! receiver.react([Reaction::Status(503)]);
//! // … a violation …
//! let reports = receiver.until(2).await;
//! ```

use super::pki::Chain;
use super::{provider, within_deadline};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use serde_json::Value;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What is done with a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Answers with this status.
    Status(u16),
    /// Answers that it is elsewhere.
    Redirect(String),
    /// Reads it and never answers.
    Hang,
    /// Reads it and hangs up: the answer is lost.
    LoseAnswer,
}

/// A report as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) report: Value,
    pub(crate) reaction: Reaction,
}

/// See the module.
pub(crate) struct Receiver {
    pub(crate) addr: SocketAddr,
    received: watch::Receiver<Vec<Received>>,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

struct State {
    received: watch::Sender<Vec<Received>>,
    next: Mutex<VecDeque<Reaction>>,
    usual: Mutex<Reaction>,
}

impl Received {
    /// The name of the report.
    pub(crate) fn id(&self) -> &str {
        self.report["report-id"].as_str().expect("every report has an id")
    }

    /// Whether the receiver has it, as far as it knows.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self.reaction, Reaction::Status(200..300) | Reaction::LoseAnswer)
    }
}

impl Receiver {
    /// Without TLS; answers 200.
    pub(crate) async fn start() -> Self {
        Self::with(None).await
    }

    /// With this chain; answers 200.
    pub(crate) async fn with_tls(chain: &Chain) -> Self {
        Self::with(Some(chain)).await
    }

    async fn with(chain: Option<&Chain>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        let (sender, received) = watch::channel(Vec::new());
        let usual = Mutex::new(Reaction::Status(200));
        let state = Arc::new(State { received: sender, next: Mutex::default(), usual });
        let tls = chain.map(acceptor);
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(tcp, state).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                serve(stream, state).await;
                            }
                        }
                    }
                });
            }
        });
        Self { addr, received, state, serving }
    }

    /// Where reports go.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// What is done with the next reports, one after the other; the usual with those behind them.
    pub(crate) fn react(&self, next: impl IntoIterator<Item = Reaction>) {
        self.state.next.lock().expect("the reactions").extend(next);
    }

    /// What is done with all others.
    pub(crate) fn usually(&self, reaction: Reaction) {
        *self.state.usual.lock().expect("the reaction") = reaction;
    }

    /// What came so far.
    pub(crate) fn so_far(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// Waits until this holds of what came.
    pub(crate) async fn until_all(&mut self, what: impl FnMut(&Vec<Received>) -> bool) -> Vec<Received> {
        let waited = within_deadline(self.received.wait_for(what)).await;
        let received = waited.map(|received| received.expect("the receiver runs").clone());
        received.unwrap_or_else(|| panic!("only {:?}", self.so_far()))
    }

    /// Waits until so many came.
    pub(crate) async fn until(&mut self, count: usize) -> Vec<Received> {
        self.until_all(|received| received.len() >= count).await
    }

    /// Waits until so many were taken, and gives those.
    pub(crate) async fn until_taken(&mut self, count: usize) -> Vec<Received> {
        let all = self.until_all(|all| all.iter().filter(|received| received.is_taken()).count() >= count).await;
        all.into_iter().filter(Received::is_taken).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn acceptor(chain: &Chain) -> TlsAcceptor {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let key = SingleCertAndKey::from(chain.certified_key());
    TlsAcceptor::from(Arc::new(builder.expect("versions").with_no_client_auth().with_cert_resolver(Arc::new(key))))
}

/// One connection.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, state: Arc<State>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    // A peer that hangs up, or whose answer is lost, ends it.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

#[derive(Debug, thiserror::Error)]
#[error("the answer is lost")]
struct Lost;

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Full<Bytes>>, Lost> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
    let next = state.next.lock().expect("the reactions").pop_front();
    let reaction = next.unwrap_or_else(|| state.usual.lock().expect("the reaction").clone());
    let report = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"));
    let received = Received { path: head.uri.to_string(), headers: head.headers, report, reaction: reaction.clone() };
    assert_eq!(head.method, "POST");
    state.received.send_modify(|all| all.push(received));
    let response = match reaction {
        Reaction::Status(status) => Response::builder().status(status),
        Reaction::Redirect(to) => Response::builder().status(307).header("location", to),
        Reaction::Hang => match std::future::pending::<Infallible>().await {},
        Reaction::LoseAnswer => return Err(Lost),
    };
    Ok(response.body(Full::default()).expect("a response"))
}
