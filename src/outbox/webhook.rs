//! Reports by POST. The connections are this program's own: they go to the receiver and through no proxy, this one included,
//! whatever the environment says; redirects are not followed.

use super::delivery::{Answer, Receiver};
use super::spool::{Now, Spooled};
use crate::config::ReportUrl;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use std::error::Error;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// For finding the address and connecting.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For a report as a whole: connecting, TLS, sending, and the answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Octets of an answer that are read, so that the connection can be used again; of a longer one it is closed.
pub const ANSWER_OCTETS_MAX: usize = 64 << 10;

/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A receiver by HTTP.
pub(super) struct Webhook {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    authorization: Option<HeaderValue>,
    now: Now,
}

impl Webhook {
    pub(super) fn new(url: &ReportUrl, tls: ClientConfig, now: Now) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.enforce_http(false);
        // The configuration has refused http:// to other machines.
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1)
            .build(https.wrap_connector(tcp));
        Self {
            client,
            uri: url.uri().clone(),
            authorization: url.credentials().and_then(|secret| basic(secret.reveal())),
            now,
        }
    }

    fn request(&self, report: &Spooled) -> Result<Request<Full<Bytes>>, http::Error> {
        let body = Full::new(Bytes::from(report.body.clone()));
        let request = Request::builder().method(Method::POST).uri(&self.uri);
        let mut request = request
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("pinproxy/", env!("CARGO_PKG_VERSION")))
            .body(body)?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }

    async fn post(&self, report: &Spooled) -> Answer {
        let request = match self.request(report) {
            Ok(request) => request,
            Err(error) => return failed(error.to_string()),
        };
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => return failed(causes(&error)),
        };
        let answer = judge(response.status(), response.headers(), (self.now)());
        // What it says does not count any more; a body that is too long or breaks off costs the connection alone.
        drop(Limited::new(response.into_body(), ANSWER_OCTETS_MAX).collect().await);
        answer
    }
}

impl Receiver for Webhook {
    async fn send(&mut self, report: &Spooled) -> Answer {
        match timeout(ANSWER_TIMEOUT, self.post(report)).await {
            Ok(answer) => answer,
            Err(_) => failed(format!("no answer within {} seconds", ANSWER_TIMEOUT.as_secs())),
        }
    }
}

/// Statuses that refuse the report itself, tomorrow as well. All others may pass: credentials that were changed, an entry that
/// leads nowhere while a receiver is replaced.
const REFUSALS: [StatusCode; 7] = [
    StatusCode::BAD_REQUEST,
    StatusCode::LENGTH_REQUIRED,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::URI_TOO_LONG,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::UNPROCESSABLE_ENTITY,
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
];

/// What a status says.
fn judge(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Answer {
    if status.is_success() {
        return Answer::Taken;
    }
    if REFUSALS.contains(&status) {
        return Answer::Refused(format!("status {}", status.as_u16()));
    }
    let why = match status {
        _ if status.is_redirection() => "; redirects are not followed: write the address it leads to",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; it may want other credentials in [reports] urls",
        _ => "",
    };
    Answer::Failed { why: format!("status {}{why}", status.as_u16()), retry_after: retry_after(headers, now) }
}

/// How long to wait before asking again, where an answer says so in seconds or by a date (RFC 9110 section 10.2.3). Without
/// bound.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.bytes().all(|octet| octet.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().ok()?));
    }
    httpdate::parse_http_date(text).ok()?.duration_since(now).ok()
}

/// RFC 7617. Nothing shows it: the header is marked as sensitive.
fn basic(credentials: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn failed(why: String) -> Answer {
    Answer::Failed { why, retry_after: None }
}

/// The library says "client error (Connect)", and its causes what went wrong.
fn causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T00:00:00Z.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200)
    }

    #[test]
    fn what_a_status_says() {
        let judged = |status: u16| judge(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), now());
        for status in 200..=299 {
            assert_eq!(judged(status), Answer::Taken, "{status}");
        }
        let refused = [400, 411, 413, 414, 415, 422, 431];
        for status in refused {
            assert_eq!(judged(status), Answer::Refused(format!("status {status}")), "{status}");
        }
        for status in (300..=599).filter(|status| !refused.contains(status)) {
            let Answer::Failed { why, retry_after: None } = judged(status) else { panic!("{status}") };
            assert!(why.starts_with(&format!("status {status}")), "{why}");
            assert_eq!(why.contains("redirects are not followed"), status < 400, "{why}");
            assert_eq!(why.contains("other credentials"), [401, 403].contains(&status), "{why}");
        }
    }

    #[test]
    fn when_it_wants_to_be_asked_again() {
        let table = [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Sat, 21 Nov 2026 00:02:00 GMT", Some(120)),
            ("Sat, 21 Nov 2026 00:00:00 GMT", Some(0)),
            ("Fri, 20 Nov 2026 23:59:59 GMT", None),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("99999999999999999999999", None),
        ];
        for (text, expected) in table {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            assert_eq!(retry_after(&headers, now()), expected.map(Duration::from_secs), "{text:?}");
        }
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("60"))]);
        let expected = Answer::Failed { why: "status 503".into(), retry_after: Some(Duration::from_secs(60)) };
        assert_eq!(judge(StatusCode::SERVICE_UNAVAILABLE, &headers, now()), expected);
    }

    #[test]
    fn credentials_are_sent_and_not_shown() {
        let value = basic("Aladdin:open sesame").unwrap();
        assert_eq!(value.as_bytes(), b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{value:?}"), "Sensitive");
    }
}
