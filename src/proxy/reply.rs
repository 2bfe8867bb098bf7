//! What a refused client is told: a status, a reason phrase (all that many clients print), Proxy-Status (RFC 9209) and
//! a body.

use super::error::SessionError;
use super::preface::PrefaceError;
use crate::policy::decision::FailureClass;
use crate::policy::pin::Pin;
use crate::policy::pinset::Position;
use crate::report::{Event, Told};
use crate::upstream::dial::DialError;
use crate::upstream::handshake::HandshakeError;
use crate::upstream::parent::ParentFault;
use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use hyper::ext::ReasonPhrase;
use serde::Serialize;
use std::fmt::Write as _;
use std::io;

/// The form of the body a client wants (RFC 9110 section 12.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyForm {
    Text,
    Json,
}

/// A refusal before it is put into the form of a response.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Refusal {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    phrase: String,
    #[serde(skip)]
    proxy_error: &'static str,
    #[serde(skip)]
    alert: Option<rustls::AlertDescription>,
    /// The status that a parent proxy refused with.
    #[serde(skip)]
    received: Option<StatusCode>,
    error: &'static str,
    reason: Told,
    connect_authority: Told,
    hostname: Option<Told>,
    pinset: Option<Box<str>>,
    enforced: bool,
    seen_pins: Box<[Pin]>,
    expected_pins: Vec<ExpectedPin>,
    remedy: &'static str,
    session: Box<str>,
}

/// A pin that the rule would have accepted.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ExpectedPin {
    pub(super) pin: String,
    pub(super) position: Position,
}

impl From<&(Position, Pin)> for ExpectedPin {
    fn from((position, pin): &(Position, Pin)) -> Self {
        Self { pin: pin.to_string(), position: *position }
    }
}

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// Reason phrases are cut here; what a client prints has to fit a line.
const PHRASE_CHARACTERS_MAX: usize = 160;

impl BodyForm {
    /// JSON for a client that names it and does not rank text before it; text for everyone else.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let wants = accept.flat_map(|value| value.split(',')).map(|range| range.split(';').next().unwrap_or("").trim());
        let first = wants.into_iter().find(|range| {
            let subtype = range.strip_prefix("application/");
            range.starts_with("text/") || subtype.is_some_and(|s| s == "json" || s.ends_with("+json"))
        });
        match first {
            Some(range) if range.starts_with("application/") => Self::Json,
            _ => Self::Text,
        }
    }
}

impl Refusal {
    /// The refusal for an error, with what the event knows of the session.
    pub(super) fn new(error: &SessionError, event: &Event, expected_pins: Vec<ExpectedPin>) -> Self {
        let (status, proxy_error) = status(error);
        let alert = match error {
            SessionError::Handshake(HandshakeError::Alert(alert)) => Some(*alert),
            SessionError::Handshake(HandshakeError::NoApplicationProtocol) => {
                Some(rustls::AlertDescription::NoApplicationProtocol)
            }
            _ => None,
        };
        let received = match error {
            SessionError::Dial(DialError::Parent { fault: ParentFault::Refused { status, .. }, .. }) => Some(*status),
            _ => None,
        };
        Self {
            status,
            phrase: printable(&phrase(error, event), PHRASE_CHARACTERS_MAX),
            proxy_error,
            alert,
            received,
            error: error.class().as_str(),
            reason: Told::words(error.to_string()),
            connect_authority: event.connect_authority.clone(),
            hostname: event.hostname.clone(),
            pinset: event.pinset.clone(),
            enforced: event.enforced,
            seen_pins: event.seen_pins.clone(),
            expected_pins,
            remedy: remedy(error),
            session: event.session.clone(),
        }
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// The response. The connection ends with it, so that a client cannot mistake what follows for its tunnel.
    pub(super) fn response(&self, form: BodyForm) -> Response<Full<Bytes>> {
        let (content_type, body) = match form {
            BodyForm::Text => ("text/plain; charset=utf-8", self.text()),
            BodyForm::Json => ("application/json", serde_json::to_string_pretty(self).unwrap_or_default() + "\n"),
        };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = self.status;
        if let Ok(phrase) = ReasonPhrase::try_from(self.phrase.clone()) {
            response.extensions_mut().insert(phrase);
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if let Ok(value) = HeaderValue::from_str(&self.proxy_status()) {
            headers.insert(PROXY_STATUS, value);
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("CONNECT"));
        }
        response
    }

    /// The same as bytes of HTTP/1.1, for where there is no HTTP implementation to hand it to.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let body = self.text();
        let head = format!(
            "HTTP/1.1 {} {}\r\nproxy-status: {}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
            self.status.as_u16(),
            self.phrase,
            self.proxy_status(),
            body.len(),
        );
        (head + &body).into_bytes()
    }

    /// `pinproxy; error=…; details="…"`: a structured field (RFC 9651), whose strings are ASCII.
    fn proxy_status(&self) -> String {
        let details = printable(&self.reason, usize::MAX).replace('\\', "\\\\").replace('"', "\\\"");
        let mut value = format!("pinproxy; error={}", self.proxy_error);
        if let Some(alert) = self.alert {
            // Writing to a String cannot fail.
            let _ = write!(value, "; alert-id={}; alert-message=\"{alert:?}\"", u8::from(alert));
        }
        if let Some(received) = self.received {
            let _ = write!(value, "; received-status={}", received.as_u16());
        }
        let _ = write!(value, "; details=\"{details}\"");
        value
    }

    fn text(&self) -> String {
        let mut text = format!("pinproxy refused this request: {}\n\n", self.connect_authority);
        let mut row = |name: &str, value: &str| {
            for (index, line) in wrapped(value).enumerate() {
                let _ = writeln!(text, "  {:<9} {line}", if index == 0 { name } else { "" });
            }
        };
        row("reason", &self.reason);
        if let Some(host) = &self.hostname {
            row("host", host);
        }
        if let Some(pinset) = &self.pinset {
            row("pinset", &format!("{pinset}{}", if self.enforced { " (enforced)" } else { "" }));
        }
        let last = self.seen_pins.len().saturating_sub(1);
        for (position, pin) in self.seen_pins.iter().enumerate() {
            let role = match position {
                0 => " (end entity)",
                position if position == last => " (trust anchor)",
                _ => "",
            };
            row(if position == 0 { "seen" } else { "" }, &format!("{pin}{role}"));
        }
        for (index, expected) in self.expected_pins.iter().enumerate() {
            let place = match expected.position {
                Position::Leaf => "end entity",
                Position::Ca => "certificate authority",
                Position::Anywhere => "anywhere in the chain",
            };
            row(if index == 0 { "expected" } else { "" }, &format!("{} ({place})", expected.pin));
        }
        row("to do", self.remedy);
        row("session", &self.session);
        text
    }
}

/// Lines of at most 88 columns where spaces allow it, so that with its margin a row fits a terminal of 100.
fn wrapped(text: &str) -> impl Iterator<Item = String> {
    const COLUMNS: usize = 88;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= COLUMNS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.into_iter()
}

/// Visible ASCII and spaces; whatever else becomes a question mark, so that nothing a peer sent can end a line.
fn printable(text: &str, characters_max: usize) -> String {
    let visible = text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' });
    visible.take(characters_max).collect()
}

/// The status, and the error type of RFC 9209 section 2.3.
fn status(error: &SessionError) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match error {
        SessionError::Method(_) => (S::METHOD_NOT_ALLOWED, "http_request_error"),
        SessionError::SlowRequest | SessionError::Preface(PrefaceError::Slow(_)) => {
            (S::REQUEST_TIMEOUT, "http_request_error")
        }
        SessionError::Target(_)
        | SessionError::Malformed(_)
        | SessionError::Ambiguous(_)
        | SessionError::Preface(_)
        | SessionError::Socks(_)
        | SessionError::ClearText
        | SessionError::NotRedirected(_) => (S::BAD_REQUEST, "http_request_error"),
        SessionError::LongRequest(_) => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "http_request_error"),
        SessionError::Access(_) | SessionError::Unlisted(_) | SessionError::Disagreement(_) => {
            (S::FORBIDDEN, "http_request_denied")
        }
        SessionError::Circle(_) => (S::BAD_GATEWAY, "proxy_loop_detected"),
        SessionError::Overload { .. } | SessionError::Shutdown => (S::SERVICE_UNAVAILABLE, "connection_limit_reached"),
        SessionError::Dial(dial) => match dial {
            DialError::Denied(_) => (S::FORBIDDEN, "destination_ip_prohibited"),
            DialError::NotFound { .. } | DialError::Unjudged { .. } => (S::BAD_GATEWAY, "dns_error"),
            DialError::ResolveTimeout { .. } => (S::GATEWAY_TIMEOUT, "dns_timeout"),
            DialError::ConnectTimeout { .. } => (S::GATEWAY_TIMEOUT, "connection_timeout"),
            DialError::Source { .. } | DialError::NoSource { .. } => (S::BAD_GATEWAY, "proxy_configuration_error"),
            DialError::Parent { fault, .. } => status_of_parent(fault),
            DialError::Connect { source, .. } => match source.kind() {
                io::ErrorKind::ConnectionRefused => (S::BAD_GATEWAY, "connection_refused"),
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    (S::BAD_GATEWAY, "destination_ip_unroutable")
                }
                _ => (S::BAD_GATEWAY, "destination_unavailable"),
            },
        },
        SessionError::Handshake(handshake) => match handshake {
            HandshakeError::Timeout(_) => (S::GATEWAY_TIMEOUT, "connection_timeout"),
            HandshakeError::NoApplicationProtocol | HandshakeError::Alert(_) => (S::BAD_GATEWAY, "tls_alert_received"),
            HandshakeError::Closed | HandshakeError::Io(_) => (S::BAD_GATEWAY, "connection_terminated"),
            HandshakeError::Key(_) | HandshakeError::KeySize { .. } => (S::BAD_GATEWAY, "tls_certificate_error"),
            HandshakeError::Protocol(_) | HandshakeError::Name => (S::BAD_GATEWAY, "tls_protocol_error"),
        },
        SessionError::PinsetExpired(_) => (S::BAD_GATEWAY, "tls_certificate_error"),
        SessionError::Rejected(rejection) => match rejection.class {
            FailureClass::Internal => (S::INTERNAL_SERVER_ERROR, "proxy_internal_error"),
            _ => (S::BAD_GATEWAY, "tls_certificate_error"),
        },
        // These are told by an alert; the status is what the event would have shown.
        SessionError::Greeting(_)
        | SessionError::ClientHello(_)
        | SessionError::ServerNameForm(_)
        | SessionError::ServerName { .. }
        | SessionError::Accept(_)
        | SessionError::Gone => (S::BAD_GATEWAY, "proxy_internal_error"),
    }
}

/// The same where a parent proxy has not connected the upstream.
fn status_of_parent(fault: &ParentFault) -> (StatusCode, &'static str) {
    use ParentFault as F;
    use StatusCode as S;
    match fault {
        F::Timeout(_) => (S::GATEWAY_TIMEOUT, "connection_timeout"),
        F::Refused { status, .. } if *status == S::GATEWAY_TIMEOUT => (S::GATEWAY_TIMEOUT, "connection_timeout"),
        F::Refused { status, .. } if status.is_client_error() => (S::BAD_GATEWAY, "http_request_error"),
        F::Refused { .. } | F::Connect(_) | F::Socks(1) => (S::BAD_GATEWAY, "destination_unavailable"),
        F::Socks(2) => (S::BAD_GATEWAY, "http_request_error"),
        F::Socks(3 | 4 | 6) => (S::BAD_GATEWAY, "destination_ip_unroutable"),
        F::Socks(5) => (S::BAD_GATEWAY, "connection_refused"),
        F::Socks(_) | F::Credentials { .. } => (S::BAD_GATEWAY, "proxy_configuration_error"),
        F::NotFound(_) => (S::BAD_GATEWAY, "dns_error"),
        F::Itself | F::Circle => (S::BAD_GATEWAY, "proxy_loop_detected"),
        F::LongHead => (S::BAD_GATEWAY, "http_response_header_section_size"),
        F::Garbage => (S::BAD_GATEWAY, "http_protocol_error"),
        F::Closed => (S::BAD_GATEWAY, "http_response_incomplete"),
        F::Io(_) => (S::BAD_GATEWAY, "connection_terminated"),
        F::Untrusted(_) => (S::BAD_GATEWAY, "tls_certificate_error"),
        F::Tls(_) => (S::BAD_GATEWAY, "tls_protocol_error"),
    }
}

/// The reason phrase: what happened, to which host, under which pinset.
fn phrase(error: &SessionError, event: &Event) -> String {
    let host = event.hostname.as_deref().unwrap_or("this host");
    let pinset = event.pinset.as_deref().unwrap_or("none");
    match error {
        SessionError::Rejected(rejection) => match rejection.class {
            FailureClass::Pin => format!("Certificate pin mismatch for {host} (pinset {pinset})"),
            FailureClass::Blocklist => format!("Blocked key in the certificate chain of {host}"),
            FailureClass::Name => format!("Certificate of {host} is for another name"),
            FailureClass::Validity => format!("Certificate of {host} is expired or not yet valid"),
            FailureClass::Budget => format!("Certificate chain of {host} is too expensive to verify"),
            FailureClass::Internal => "Internal error of the proxy".to_owned(),
            _ => format!("Certificate chain of {host} is not trusted"),
        },
        other => {
            let mut text = other.to_string();
            if let Some(first) = text.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            text
        }
    }
}

/// What a person can do about it.
const fn remedy(error: &SessionError) -> &'static str {
    match error {
        SessionError::Target(_)
        | SessionError::Malformed(_)
        | SessionError::Ambiguous(_)
        | SessionError::LongRequest(_) => {
            "send CONNECT host:port HTTP/1.1, as every HTTP client does for https:// URLs"
        }
        SessionError::Method(_) => "use an https:// URL; the client then sends CONNECT",
        SessionError::SlowRequest => "send the request head without pauses",
        SessionError::Preface(_) => {
            "have the load balancer send the PROXY protocol, or the operator of the proxy take its address out of \
             proxy_protocol_from"
        }
        SessionError::Socks(_) => "use a SOCKS5 client: curl --proxy socks5h://HOST:PORT",
        SessionError::ClearText => {
            "write https:// before the address of the proxy, and trust the certificate of the listener"
        }
        SessionError::Access(_) | SessionError::Dial(DialError::Denied(_)) => {
            "if this should be allowed, the operator of the proxy changes [access]"
        }
        SessionError::Unlisted(_) => "the operator of the proxy adds a pinset for the host, or changes unpinned",
        SessionError::Overload { .. } | SessionError::Shutdown => "try again in a moment",
        SessionError::Circle(_) => "the operator of the proxy looks where [upstream] parent leads",
        SessionError::Dial(DialError::Unjudged { .. }) => {
            "the operator of the proxy gives this machine DNS, or leaves the rules about addresses to the parent with \
             destinations_deny = [] in [access]"
        }
        SessionError::Dial(DialError::Source { .. } | DialError::NoSource { .. }) => {
            "the operator of the proxy corrects [upstream] source"
        }
        SessionError::Dial(DialError::Parent { fault: ParentFault::Credentials { .. }, .. }) => {
            "the operator of the proxy corrects user and password in [upstream] parent"
        }
        SessionError::Dial(DialError::Parent { .. }) => {
            "the operator of the proxy looks at [upstream] parent, and at what the parent says of this session"
        }
        SessionError::Dial(_) => "check the name and that the proxy's host can reach it",
        SessionError::Handshake(HandshakeError::KeySize { .. }) => {
            "ask the operator of the host for a certificate with an RSA key of 2048 to 8192 bits"
        }
        SessionError::Handshake(_) => "check the upstream with: openssl s_client -connect HOST:PORT -servername HOST",
        SessionError::PinsetExpired(_) => {
            "the operator of the proxy reviews the pinset and gives it a new [pinset.expiry]; nothing was connected"
        }
        SessionError::Rejected(rejection) => match rejection.class {
            FailureClass::Pin => {
                "if the operator of the host changed its key, the operator of the proxy adds the new pin after \
                 comparing it through another channel; otherwise the connection is being intercepted: do not go on"
            }
            FailureClass::Blocklist => "the key is distrusted on purpose; ask the operator of the host to replace it",
            FailureClass::Name => "check that the host name is the one meant, and that the upstream serves it",
            FailureClass::Validity => {
                "ask the operator of the host to renew its certificate, and check the proxy's clock"
            }
            FailureClass::Chain => {
                "if the upstream uses a private CA, the operator of the proxy adds it to [upstream] extra_roots; if \
                 it leaves out its intermediate certificates, its operator has to add them"
            }
            _ => "ask the operator of the proxy, with the session below",
        },
        _ => "ask the operator of the proxy, with the session below",
    }
}
