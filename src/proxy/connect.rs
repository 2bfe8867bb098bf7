//! The way in by HTTP: one CONNECT a connection.

use super::Proxy;
use super::capacity::Place;
use super::client_half::ClientStream;
use super::entrance::Speech;
use super::error::SessionError;
use super::head::{Ended, Head, Progress, Unparsed};
use super::listener::{FRESH, HEADER_FIELDS_MAX};
use super::opening::Opening;
use super::record::Record;
use super::refusing::{failed, refuse, send_last};
use super::reply::{BodyForm, Refusal};
use super::session::Session;
use super::wire::Wire;
use crate::intercept::Prefixed;
use crate::policy::host::Authority;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};

/// One request a connection: CONNECT turns it into a tunnel, everything else is refused and ends it.
pub(super) async fn serve(proxy: Arc<Proxy>, wire: Wire, client: SocketAddr, accepted: Instant, place: Place) {
    let progress = Arc::new(Progress::default());
    let place = Arc::new(place);
    let ended = parse_and_serve(&proxy, wire, client, &place, &progress).await;
    let Some(Unparsed { stream, target, error }) = progress.unparsed(&ended, proxy.limits.header_bytes) else { return };
    // Without a connection there is nobody to be told, and the event has no status.
    let Some(stream) = stream else { return failed(&proxy, client, accepted, &target, &error).finish() };
    let refusal = refuse(&proxy, Speech::Http, client, accepted, &target, &error);
    send_last(stream, &refusal).await;
}

/// HTTP by hyper, and how it ended. When this returns, the connection belongs to a session, or is closed, or is left in
/// `progress`.
async fn parse_and_serve(
    proxy: &Arc<Proxy>,
    wire: Wire,
    client: SocketAddr,
    place: &Arc<Place>,
    progress: &Arc<Progress>,
) -> Ended {
    let head = Head::new(wire, Arc::clone(progress), proxy.limits.header_bytes);
    let service = service_fn(|request| {
        progress.parsed();
        // Opened here and not in the future, which is dropped without a poll when the client has left already.
        let record = Record::open(&proxy.reporter, proxy.session_name(), client, proxy.time.now());
        let session = open(Arc::clone(proxy), client, Arc::clone(place), request, record);
        async { Ok::<_, Infallible>(session.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(proxy.limits.header_timeout)
        .max_buf_size(proxy.limits.header_bytes)
        .max_headers(HEADER_FIELDS_MAX)
        // Some old clients choke on any header in the reply to a CONNECT.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(head), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let accepted = Instant::now();
    tokio::select! {
        ended = connection.as_mut() => return ended.map_or_else(Ended::Http, |()| Ended::Closed),
        () = proxy.stopping.cancelled() => {}
    }
    // Who has just connected is about to ask, and would have to be told to ask again.
    tokio::select! {
        ended = connection.as_mut() => return ended.map_or_else(Ended::Http, |()| Ended::Closed),
        () = sleep_until(accepted + FRESH) => connection.as_mut().graceful_shutdown(),
        () = proxy.ending.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = connection.as_mut() => return ended.map_or_else(Ended::Http, |()| Ended::Closed),
        () = proxy.ending.cancelled() => {}
    }
    // A session ends itself, and answers.
    if progress.is_parsed() { connection.await.map_or_else(Ended::Http, |()| Ended::Closed) } else { Ended::Shutdown }
}

/// Runs a session up to its reply; what follows a 200 goes on in a task of its own.
async fn open(
    proxy: Arc<Proxy>,
    client: SocketAddr,
    place: Arc<Place>,
    request: Request<Incoming>,
    mut record: Box<Record>,
) -> Response<Full<Bytes>> {
    let session = Session::begin(proxy, client, request.headers(), &record);
    let form = BodyForm::of(request.headers());
    let asked = asked(&request, &mut record).and_then(|target| {
        session.proxy.via.check(request.headers())?;
        Ok(target)
    });
    match session.grant(asked, &mut record).await {
        Ok(granted) => {
            record.replied(StatusCode::OK);
            let sessions = session.proxy.sessions.clone();
            let opening = Opening::Upgrade(hyper::upgrade::on(request));
            // Boxed, so that its memory is free again while the session relays.
            let carried = Box::pin(session.carry(granted, opening, record));
            sessions.spawn(async move {
                if let Some(tunnel) = carried.await {
                    tunnel.relay().await;
                }
                drop(place);
            });
            established()
        }
        Err(error) => {
            record.fail(&error);
            let refusal = Refusal::new(&error, record.event(), record.expected_pins());
            record.replied(refusal.status());
            record.finish();
            refusal.response(form)
        }
    }
}

/// What a request asks for.
fn asked(request: &Request<Incoming>, record: &mut Record) -> Result<Authority, SessionError> {
    let asked = request.uri().to_string();
    record.asked_for(&asked);
    if request.method() != Method::CONNECT {
        return Err(SessionError::Method(request.method().clone()));
    }
    check_framing(request.headers())?;
    Ok(Authority::parse(&asked)?)
}

/// What follows a CONNECT is the tunnel (RFC 9110 section 9.3.6). A head that says otherwise, or names two hosts, may
/// have been read otherwise by somebody on the way (RFC 9112 sections 3.2 and 11.2).
fn check_framing(headers: &HeaderMap) -> Result<(), SessionError> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(SessionError::Ambiguous("Transfer-Encoding"));
    }
    if headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
        return Err(SessionError::Ambiguous("Content-Length"));
    }
    if headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(SessionError::Ambiguous("several Host fields"));
    }
    Ok(())
}

fn established() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    response.extensions_mut().insert(ReasonPhrase::from_static(b"Connection established"));
    response
}

/// The client's connection behind the 200, with what it sent ahead of it.
pub(super) async fn tunnel(upgrade: OnUpgrade) -> Result<ClientStream, SessionError> {
    let upgraded = upgrade.await.map_err(|_| SessionError::Gone)?;
    let parts = upgraded.downcast::<TokioIo<Head>>().map_err(|_| SessionError::Gone)?;
    let stream = parts.io.into_inner().into_inner().ok_or(SessionError::Gone)?;
    Ok(Prefixed::new(parts.read_buf, stream))
}
