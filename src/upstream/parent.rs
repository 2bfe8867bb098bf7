//! A parent proxy: how it is asked to connect an upstream, and what can come of it.

use super::socks;
use super::via::Hops;
use super::wire::{Leg, Wire};
use crate::config::{self, ParentKind, Secret};
use crate::policy::host::Authority;
use crate::tls::name::server_name;
use crate::tls::words::{certificate_words, words};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION, VIA};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::Builder;
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Octets of the head of a parent's reply.
pub const PARENT_HEAD_OCTETS_MAX: usize = 16 << 10;
/// Fields of the head of a parent's reply.
pub const PARENT_FIELDS_MAX: usize = 100;
/// Characters of its reason phrase that are told.
const REASON_CHARACTERS_MAX: usize = 80;

/// A parent proxy.
#[derive(Debug)]
pub struct Parent {
    name: Arc<String>,
    authority: Authority,
    kind: ParentKind,
    /// `user:password`.
    credentials: Option<Secret>,
    /// The same as a field, which nothing shows.
    authorization: Option<HeaderValue>,
    tls: Option<Arc<ClientConfig>>,
}

/// Why a parent proxy has not connected an upstream. The texts go on behind the name of the parent.
#[derive(Debug, thiserror::Error)]
pub enum ParentFault {
    /// Its name has no address.
    #[error("has no address: {0}")]
    NotFound(io::Error),
    /// It cannot be connected to.
    #[error("cannot be reached: {0}")]
    Connect(io::Error),
    /// It is one of our own listeners.
    #[error("is this proxy itself, and every session would come back to it")]
    Itself,
    /// It has not connected the upstream in time.
    #[error("has not opened a connection within {0:?}")]
    Timeout(Duration),
    /// It has refused.
    #[error("refuses: it answers {answer}")]
    Refused {
        /// The status of its reply.
        status: StatusCode,
        /// The same with its reason phrase, printable and short.
        answer: String,
    },
    /// It wants to know who we are.
    #[error("wants {}", if *.given { "other credentials than those that it was given" } else { "credentials, and has been given none" })]
    Credentials {
        /// Whether it was given some.
        given: bool,
    },
    /// The request has come back to where it was before.
    #[error("leads in a circle: a proxy behind it has seen this CONNECT before (proxy_loop_detected)")]
    Circle,
    /// Its reply is too long.
    #[error("answers with a head of more than {PARENT_HEAD_OCTETS_MAX} octets or {PARENT_FIELDS_MAX} fields")]
    LongHead,
    /// What it says is no reply.
    #[error("does not answer as a proxy of this kind does")]
    Garbage,
    /// It closed the connection.
    #[error("closed the connection before it had answered")]
    Closed,
    /// The connection failed.
    #[error("could not be asked: {0}")]
    Io(io::Error),
    /// Its certificate is not that of the parent.
    #[error("cannot be trusted: {0}")]
    Untrusted(&'static str),
    /// It does not speak TLS.
    #[error("does not speak TLS as it should: {0}")]
    Tls(String),
    /// It has refused, by SOCKS.
    #[error("refuses: {words} (SOCKS reply {0})", words = socks::words(*.0))]
    Socks(u8),
}

impl ParentFault {
    /// Whether another address of the upstream may fare better.
    pub(super) const fn may_be_of_address(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status.as_u16(), 502..=504),
            Self::Socks(reply) => matches!(reply, 1 | 3..=6 | 8),
            _ => false,
        }
    }
}

impl Parent {
    /// As the configuration has it.
    pub(super) fn of(parent: &config::Parent, tls: Option<Arc<ClientConfig>>) -> Self {
        let authorization = parent.credentials().and_then(|secret| {
            let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(secret.reveal()))).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self {
            name: Arc::new(parent.to_string()),
            authority: parent.authority().clone(),
            kind: parent.kind(),
            credentials: parent.credentials().cloned(),
            authorization,
            tls,
        }
    }

    /// As everybody may know it: scheme, host and port.
    pub(super) const fn name(&self) -> &Arc<String> {
        &self.name
    }

    /// Where it is.
    pub(super) const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Asks it, over a fresh connection to it, to connect an upstream.
    pub(super) async fn open(
        &self,
        tcp: TcpStream,
        target: &Authority,
        hops: Option<&Hops>,
    ) -> Result<Wire, ParentFault> {
        match self.kind {
            ParentKind::Http => {
                let (tcp, early) = self.connect(tcp, target, hops).await?;
                Ok(Wire::through(Leg::Tcp(tcp), early))
            }
            ParentKind::Https => {
                let tls = self.greet(tcp).await?;
                let (tls, early) = self.connect(tls, target, hops).await?;
                Ok(Wire::through(Leg::Tls(Box::new(tls)), early))
            }
            ParentKind::Socks5 => {
                let mut tcp = tcp;
                let credentials = self.credentials.as_ref().and_then(|secret| secret.reveal().split_once(':'));
                socks::connect(&mut tcp, target, credentials).await?;
                Ok(Wire::through(Leg::Tcp(tcp), Bytes::new()))
            }
        }
    }

    /// TLS with the parent, whose certificate has to be for its name.
    async fn greet(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, ParentFault> {
        let config = self.tls.as_ref().ok_or(ParentFault::Untrusted("there are no trust anchors for it"))?;
        let name = server_name(&self.authority.host)
            .map_err(|_| ParentFault::Untrusted("no certificate can name its host"))?;
        TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(rustls::Error::InvalidCertificate(why)) => ParentFault::Untrusted(certificate_words(why)),
                Some(tls) => ParentFault::Tls(words(tls)),
                None if error.kind() == io::ErrorKind::UnexpectedEof => ParentFault::Closed,
                None => ParentFault::Io(error),
            }
        })
    }

    /// CONNECT (RFC 9110 section 9.3.6). What the upstream has said already comes out with the stream.
    async fn connect<S>(&self, stream: S, target: &Authority, hops: Option<&Hops>) -> Result<(S, Bytes), ParentFault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let request = self.request(target, hops)?;
        let mut http = Builder::new();
        http.max_buf_size(PARENT_HEAD_OCTETS_MAX).max_headers(PARENT_FIELDS_MAX).title_case_headers(true);
        let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(|error| fault(&error))?;
        let mut driving = pin!(connection.without_shutdown());
        let mut asking = pin!(sender.send_request(request));
        let mut ended = None;
        let response = loop {
            tokio::select! {
                biased;
                response = &mut asking => break response.map_err(|error| fault(&error))?,
                parts = &mut driving, if ended.is_none() => ended = Some(parts),
            }
        };
        if !response.status().is_success() {
            return Err(self.refused(&response));
        }
        let parts = match ended {
            Some(parts) => parts,
            None => driving.await,
        };
        let parts = parts.map_err(|error| fault(&error))?;
        Ok((parts.io.into_inner(), parts.read_buf))
    }

    fn request(&self, target: &Authority, hops: Option<&Hops>) -> Result<Request<Empty<Bytes>>, ParentFault> {
        // What was parsed as an authority is one; no known input leads to an error.
        let asked = target.to_string();
        let uri = asked.parse::<Uri>().map_err(|error| ParentFault::Io(io::Error::other(error)))?;
        let host = HeaderValue::try_from(asked).map_err(|error| ParentFault::Io(io::Error::other(error)))?;
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        if let Some(hops) = hops {
            headers.insert(VIA, hops.value().clone());
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }

    fn refused(&self, response: &Response<Incoming>) -> ParentFault {
        let status = response.status();
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return ParentFault::Credentials { given: self.authorization.is_some() };
        }
        if says_circle(response.headers()) {
            return ParentFault::Circle;
        }
        let told =
            response.extensions().get::<ReasonPhrase>().map(ReasonPhrase::as_bytes).filter(|told| !told.is_empty());
        let told = told.unwrap_or_else(|| status.canonical_reason().unwrap_or_default().as_bytes());
        let visible = |octet: &u8| if *octet == b' ' || octet.is_ascii_graphic() { char::from(*octet) } else { '?' };
        let reason = self.blotted(told.iter().map(visible).collect());
        let reason: String = reason.chars().take(REASON_CHARACTERS_MAX).collect();
        ParentFault::Refused { status, answer: format!("{} {reason}", status.as_u16()).trim_end().to_owned() }
    }
}

impl Parent {
    /// Words of the parent without what it was told in confidence: they go into logs, and to clients.
    fn blotted(&self, words: String) -> String {
        let Some(secret) = &self.credentials else { return words };
        let all = secret.reveal();
        let password = all.split_once(':').map(|(_, password)| password).unwrap_or_default();
        let forms = [STANDARD.encode(all), all.to_owned(), password.to_owned()];
        forms.iter().filter(|form| !form.is_empty()).fold(words, |words, form| words.replace(form, "***"))
    }
}

/// Whether a proxy behind the parent has found that it has seen the request before (RFC 9209 section 2.3.24).
fn says_circle(headers: &HeaderMap) -> bool {
    let values = headers.get_all("proxy-status").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split([';', ','])).any(|part| part.trim() == "error=proxy_loop_detected")
}

/// What an error of the HTTP library is about.
fn fault(error: &hyper::Error) -> ParentFault {
    if error.is_parse_too_large() {
        return ParentFault::LongHead;
    }
    if error.is_parse() {
        return ParentFault::Garbage;
    }
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause {
        Some(cause) if cause.kind() != io::ErrorKind::UnexpectedEof => {
            ParentFault::Io(io::Error::new(cause.kind(), cause.to_string()))
        }
        _ if error.is_incomplete_message() || error.is_closed() || error.is_canceled() || cause.is_some() => {
            ParentFault::Closed
        }
        _ => ParentFault::Garbage,
    }
}
