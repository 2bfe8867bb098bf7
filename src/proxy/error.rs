//! Why a session failed: the side it failed on, the stage, and the class that replies, logs and metrics share.

use super::listener::HEADER_FIELDS_MAX;
use super::preface::PrefaceError;
use super::socks::SocksError;
use crate::intercept::{AcceptError, ClientHelloError};
use crate::policy::access::AccessError;
use crate::policy::decision::{FailureClass, Rejection};
use crate::policy::host::{Host, HostError};
use crate::policy::rules::Disagreement;
use crate::report::Stage;
use crate::upstream::dial::DialError;
use crate::upstream::handshake::HandshakeError;
use crate::upstream::parent::ParentFault;
use crate::upstream::via::Circle;
use http::Method;
use rustls::AlertDescription;

/// Why a session failed. Every stage has its errors; what follows from them is decided in this file and in `reply`.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("bad CONNECT target: {0}")]
    Target(#[from] HostError),
    #[error("this proxy takes CONNECT only, not {0}; plain http:// is not relayed")]
    Method(Method),
    #[error("the request is not valid HTTP/1.1: {0}")]
    Malformed(String),
    #[error("a CONNECT has no content and one Host at most, this one has {0}")]
    Ambiguous(&'static str),
    #[error("no complete request head within the time allowed")]
    SlowRequest,
    #[error("the request head is longer than {0} bytes or has more than {HEADER_FIELDS_MAX} fields")]
    LongRequest(usize),
    #[error(transparent)]
    Circle(#[from] Circle),
    #[error(transparent)]
    Preface(#[from] PrefaceError),
    #[error(transparent)]
    Socks(#[from] SocksError),
    #[error(
        "the client does not speak TLS, by which alone this listener takes clients (write https:// before the address of the \
         proxy)"
    )]
    ClearText,
    #[error("the TLS handshake with the proxy failed: {0}")]
    Greeting(String),
    #[error("the connection was not redirected to this transparent listener: {0}")]
    NotRedirected(String),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("no pinset for {0}, and hosts without one are denied ([defaults] unpinned = \"deny\")")]
    Unlisted(Host),
    #[error("the proxy has reached its limit of {limit} sessions{whose} ([limits] {key})")]
    Overload { limit: usize, whose: &'static str, key: &'static str },
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("pinset {0} has expired and is set to fail closed")]
    PinsetExpired(String),
    #[error("{}", .0.detail)]
    Rejected(Rejection),
    #[error(transparent)]
    ClientHello(#[from] ClientHelloError),
    #[error("the server name in the client's ClientHello has no canonical form: {0}")]
    ServerNameForm(HostError),
    #[error("the client asked for {asked} by CONNECT and for {named} in its ClientHello")]
    ServerName { asked: Host, named: Host },
    #[error(transparent)]
    Disagreement(#[from] Disagreement),
    #[error(transparent)]
    Accept(#[from] AcceptError),
    #[error("the client went away before the session was set up")]
    Gone,
    #[error("the proxy is shutting down")]
    Shutdown,
}

impl SessionError {
    /// The class told in logs, metrics and reports.
    pub(super) const fn class(&self) -> FailureClass {
        match self {
            Self::Target(_)
            | Self::Method(_)
            | Self::Malformed(_)
            | Self::Ambiguous(_)
            | Self::LongRequest(_)
            | Self::Preface(PrefaceError::Missing(_) | PrefaceError::Malformed(_) | PrefaceError::TooLong(_))
            | Self::Socks(
                SocksError::Version(_) | SocksError::Malformed(_) | SocksError::Command(_) | SocksError::AddressType(_),
            )
            | Self::ClearText
            | Self::NotRedirected(_) => FailureClass::Request,
            Self::Access(_)
            | Self::Unlisted(_)
            | Self::Circle(_)
            | Self::Dial(DialError::Denied(_))
            | Self::Socks(SocksError::Method | SocksError::Password) => FailureClass::Access,
            Self::Overload { .. } | Self::Shutdown => FailureClass::Overload,
            Self::SlowRequest
            | Self::Preface(PrefaceError::Slow(_))
            | Self::Dial(
                DialError::ResolveTimeout { .. }
                | DialError::ConnectTimeout { .. }
                | DialError::Parent { fault: ParentFault::Timeout(_), .. },
            )
            | Self::Handshake(HandshakeError::Timeout(_))
            | Self::ClientHello(ClientHelloError::Timeout(_))
            | Self::Accept(AcceptError::Timeout(_)) => FailureClass::Timeout,
            Self::Dial(
                DialError::NotFound { .. }
                | DialError::Unjudged { .. }
                | DialError::Connect { .. }
                | DialError::Source { .. }
                | DialError::NoSource { .. }
                | DialError::Parent { .. },
            ) => FailureClass::Unreachable,
            Self::Handshake(HandshakeError::Name) => FailureClass::Name,
            Self::Handshake(HandshakeError::Key(_) | HandshakeError::KeySize { .. }) => FailureClass::Chain,
            Self::Handshake(
                HandshakeError::NoApplicationProtocol
                | HandshakeError::Alert(_)
                | HandshakeError::Closed
                | HandshakeError::Protocol(_)
                | HandshakeError::Io(_),
            ) => FailureClass::Protocol,
            Self::PinsetExpired(_) => FailureClass::Pin,
            Self::Rejected(rejection) => rejection.class,
            Self::ClientHello(
                ClientHelloError::NotTls
                | ClientHelloError::TooLong(_)
                | ClientHelloError::LongAlpn
                | ClientHelloError::Closed
                | ClientHelloError::Invalid(_)
                | ClientHelloError::Io(_),
            )
            | Self::ServerNameForm(_)
            | Self::ServerName { .. }
            | Self::Disagreement(_)
            | Self::Accept(
                AcceptError::Alert(_)
                | AcceptError::Closed
                | AcceptError::Unverifiable { .. }
                | AcceptError::Unsuited { .. }
                | AcceptError::Protocol(_)
                | AcceptError::Io(_),
            )
            | Self::Preface(PrefaceError::Silent | PrefaceError::Closed(_) | PrefaceError::Io(..))
            | Self::Greeting(_)
            | Self::Gone => FailureClass::Client,
            Self::Accept(AcceptError::Issue(_) | AcceptError::Name(_) | AcceptError::NoPermit) => {
                FailureClass::Internal
            }
        }
    }

    /// The stage that failed. `None` for what can happen in any of them.
    pub(super) const fn stage(&self) -> Option<Stage> {
        match self {
            Self::Target(_)
            | Self::Method(_)
            | Self::Malformed(_)
            | Self::Ambiguous(_)
            | Self::SlowRequest
            | Self::LongRequest(_)
            | Self::Circle(_)
            | Self::Preface(_)
            | Self::Socks(_)
            | Self::ClearText
            | Self::Greeting(_)
            | Self::NotRedirected(_)
            | Self::Overload { .. } => Some(Stage::Request),
            Self::Dial(_) => Some(Stage::Dial),
            Self::Handshake(_) => Some(Stage::UpstreamTls),
            Self::PinsetExpired(_) => Some(Stage::Pin),
            Self::Rejected(rejection) => Some(match rejection.class {
                FailureClass::Pin | FailureClass::Blocklist => Stage::Pin,
                _ => Stage::UpstreamTls,
            }),
            Self::ClientHello(_) | Self::ServerNameForm(_) | Self::ServerName { .. } | Self::Accept(_) => {
                Some(Stage::ClientTls)
            }
            // The rules are asked before the dial, and again where the ClientHello brings another name.
            Self::Access(_) | Self::Unlisted(_) | Self::Disagreement(_) | Self::Gone | Self::Shutdown => None,
        }
    }

    /// Whether a rule refused the session, as against something that did not work.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Target(_)
                | Self::Method(_)
                | Self::Malformed(_)
                | Self::Ambiguous(_)
                | Self::LongRequest(_)
                | Self::Circle(_)
                | Self::Preface(PrefaceError::Missing(_) | PrefaceError::Malformed(_) | PrefaceError::TooLong(_))
                | Self::Socks(_)
                | Self::ClearText
                | Self::NotRedirected(_)
                | Self::Access(_)
                | Self::Unlisted(_)
                | Self::Overload { .. }
                | Self::Dial(DialError::Denied(_))
                | Self::Handshake(HandshakeError::Key(_) | HandshakeError::KeySize { .. } | HandshakeError::Name)
                | Self::PinsetExpired(_)
                | Self::Rejected(_)
                | Self::ClientHello(ClientHelloError::NotTls)
                | Self::ServerNameForm(_)
                | Self::ServerName { .. }
                | Self::Disagreement(_)
        )
    }

    /// The alert for a client that waits with its ClientHello sent and not answered. `None` where TLS has been
    /// answered already, or was never spoken.
    pub(super) const fn alert(&self) -> Option<AlertDescription> {
        match self {
            Self::ServerName { .. } | Self::ServerNameForm(_) => Some(AlertDescription::UnrecognisedName),
            Self::PinsetExpired(_)
            | Self::Rejected(_)
            | Self::Access(_)
            | Self::Unlisted(_)
            | Self::NotRedirected(_)
            | Self::Disagreement(_) => Some(AlertDescription::AccessDenied),
            Self::Handshake(HandshakeError::NoApplicationProtocol) => Some(AlertDescription::NoApplicationProtocol),
            Self::Dial(_) | Self::Handshake(_) => Some(AlertDescription::InternalError),
            Self::ClientHello(ClientHelloError::TooLong(_) | ClientHelloError::LongAlpn) => {
                Some(AlertDescription::DecodeError)
            }
            Self::ClientHello(_)
            | Self::Accept(_)
            | Self::Target(_)
            | Self::Method(_)
            | Self::Malformed(_)
            | Self::Ambiguous(_)
            | Self::SlowRequest
            | Self::LongRequest(_)
            | Self::Circle(_)
            | Self::Preface(_)
            | Self::Socks(_)
            | Self::ClearText
            | Self::Greeting(_)
            | Self::Overload { .. }
            | Self::Gone
            | Self::Shutdown => None,
        }
    }
}
