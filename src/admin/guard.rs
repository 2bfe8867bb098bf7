//! Who may read what the admin address tells.
//!
//! Beyond loopback the configuration demands a token or client certificates; what it names is asked for, all of it. On
//! loopback it may name nothing: then every local user may read, and the one who must not is a web page in a browser of
//! this machine. It reaches 127.0.0.1 by a name of its own that it leads there (DNS rebinding), and the browser tells that
//! name in the Host field.

use super::answer::Refusal;
use super::connections::Peer;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use std::sync::Arc;

/// Paths for those who look after processes, which have nothing to show who they are. They say one word.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// What whoever asks has to show.
#[derive(Clone)]
pub struct Guard {
    /// A digest, so that two texts of different lengths are compared in the same time, too.
    token: Option<[u8; 32]>,
    certificate: bool,
}

impl Guard {
    /// Asks for this token, and for a certificate of a client.
    pub fn new(token: Option<&str>, certificate: bool) -> Self {
        Self { token: token.map(|token| Sha256::digest(token).into()), certificate }
    }

    /// Why a request is not answered; nothing where it is.
    fn refusal(&self, peer: Peer, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
        if self.token.is_none() && !self.certificate && !names_this_machine(uri, headers) {
            let words =
                "ask by an address or by localhost: the Host field has another name, as that of a web page would be";
            return Some(Refusal::new(StatusCode::MISDIRECTED_REQUEST, words).into_response());
        }
        if OPEN_PATHS.contains(&uri.path()) {
            return None;
        }
        if self.certificate && !matches!(peer, Peer::Certified) {
            let words = "show a client certificate from an authority in [admin] tls client_ca";
            return Some(Refusal::new(StatusCode::FORBIDDEN, words).into_response());
        }
        let token = self.token.as_ref()?;
        let knows = shown(headers).is_some_and(|shown| is_same(&shown, token));
        (!knows).then(unauthorized)
    }
}

/// Lets through who may read.
pub(super) async fn stand(
    State(guard): State<Arc<Guard>>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    match guard.refusal(peer, request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(refusal) => refusal,
    }
}

fn unauthorized() -> Response {
    let words = "send the token of [admin] as Authorization: Bearer, or as the password of any user";
    let mut response = Refusal::new(StatusCode::UNAUTHORIZED, words).into_response();
    for scheme in ["Bearer realm=\"pinproxy\"", "Basic realm=\"pinproxy\", charset=\"UTF-8\""] {
        response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    response
}

/// The token as it was sent; of several fields none.
fn shown(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, rest) = field.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|octet| *octet == b':')?;
    Some(pair[colon + 1..].to_vec())
}

fn is_same(shown: &[u8], token: &[u8; 32]) -> bool {
    let shown: [u8; 32] = Sha256::digest(shown).into();
    aws_lc_rs::constant_time::verify_slices_are_equal(&shown, token).is_ok()
}

/// Whether the request is for an address, or for `localhost`. A page cannot have a name of that kind.
fn names_this_machine(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(HOST).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    let is_ours = |authority: &Authority| {
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_plain = !authority.as_str().contains('@');
        is_plain && (bare.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost"))
    };
    let named = field.to_str().ok().and_then(|field| field.parse::<Authority>().ok());
    named.is_some_and(|named| is_ours(&named)) && uri.authority().is_none_or(is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::HeaderName;

    const TOKEN: &str = "0123456789abcdef";

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn status(guard: &Guard, peer: Peer, uri: &str, headers: &HeaderMap) -> u16 {
        let uri: Uri = uri.parse().unwrap();
        guard.refusal(peer, &uri, headers).map_or(200, |refusal| refusal.status().as_u16())
    }

    #[test]
    fn who_does_not_know_the_token() {
        let guard = Guard::new(Some(TOKEN), false);
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let table = [
            (String::new(), 401),
            ("Bearer".to_owned(), 401),
            ("Bearer ".to_owned(), 401),
            ("Bearer 0123456789abcde".to_owned(), 401),
            ("Bearer 0123456789abcdef0".to_owned(), 401),
            ("Bearer 0123456789ABCDEF".to_owned(), 401),
            (format!("Digest {TOKEN}"), 401),
            (TOKEN.to_owned(), 401),
            (format!("Bearer,{TOKEN}"), 401),
            ("Basic".to_owned(), 401),
            ("Basic !".to_owned(), 401),
            (basic(TOKEN), 401),
            (basic(&format!("{TOKEN}:")), 401),
            (basic("ann:"), 401),
            (basic(&format!("ann:{TOKEN}x")), 401),
            (format!("Bearer {TOKEN}"), 200),
            (format!("bearer   {TOKEN}"), 200),
            (basic(&format!("ann:{TOKEN}")), 200),
            (basic(&format!(":{TOKEN}")), 200),
        ];
        for (field, expected) in table {
            let headers = headers(&[(AUTHORIZATION, &field)]);
            assert_eq!(status(&guard, Peer::Network, "/metrics", &headers), expected, "{field:?}");
            assert_eq!(status(&guard, Peer::Certified, "/metrics", &headers), expected, "{field:?}");
            assert_eq!(status(&guard, Peer::Network, "/readyz", &headers), 200, "{field:?}");
        }
        let (right, wrong) = (format!("Bearer {TOKEN}"), "Bearer x".to_owned());
        let twice = headers(&[(AUTHORIZATION, &right), (AUTHORIZATION, &wrong)]);
        assert_eq!(status(&guard, Peer::Network, "/metrics", &twice), 401);
        assert_eq!(status(&guard, Peer::Network, "/healthz/", &HeaderMap::new()), 401);
    }

    #[test]
    fn who_shows_no_certificate() {
        let host = headers(&[(HOST, "monitoring.example")]);
        let token = headers(&[(AUTHORIZATION, &format!("Bearer {TOKEN}"))]);
        let (one, both) = (Guard::new(None, true), Guard::new(Some(TOKEN), true));
        assert_eq!(status(&one, Peer::Network, "/metrics", &host), 403);
        assert_eq!(status(&one, Peer::Certified, "/metrics", &host), 200);
        assert_eq!(status(&one, Peer::Network, "/healthz", &host), 200);
        assert_eq!(status(&both, Peer::Network, "/metrics", &token), 403);
        assert_eq!(status(&both, Peer::Certified, "/metrics", &host), 401);
        assert_eq!(status(&both, Peer::Certified, "/metrics", &token), 200);
    }

    #[test]
    fn what_a_web_page_would_ask_for() {
        let guard = Guard::new(None, false);
        let refused = [
            "",
            "evil.example",
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "localhost.",
            "a@127.0.0.1",
            "127.0.0.1@evil.example",
            "0x7f000001",
            "[evil]",
            "127.0.0.1:9090, evil",
        ];
        for host in refused {
            for path in ["/", "/healthz", "/readyz", "/metrics"] {
                assert_eq!(status(&guard, Peer::Network, path, &headers(&[(HOST, host)])), 421, "{host:?} {path}");
            }
        }
        for host in
            ["127.0.0.1", "127.0.0.1:9090", "[::1]:9090", "[::1]", "192.0.2.7:80", "localhost", "LOCALHOST:9090"]
        {
            assert_eq!(status(&guard, Peer::Network, "/metrics", &headers(&[(HOST, host)])), 200, "{host:?}");
        }
        let (good, evil) = ("127.0.0.1", "evil.example");
        assert_eq!(status(&guard, Peer::Network, "/metrics", &HeaderMap::new()), 421);
        assert_eq!(status(&guard, Peer::Network, "/metrics", &headers(&[(HOST, good), (HOST, evil)])), 421);
        assert_eq!(status(&guard, Peer::Network, "http://evil.example/metrics", &headers(&[(HOST, good)])), 421);
        // The token is what a page does not know.
        let guard = Guard::new(Some(TOKEN), false);
        let fields = headers(&[(HOST, evil), (AUTHORIZATION, &format!("Bearer {TOKEN}"))]);
        assert_eq!(status(&guard, Peer::Network, "/metrics", &fields), 200);
    }
}
