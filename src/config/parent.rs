//! The address of a parent proxy.

use super::report_url::credentials;
use super::secret::Secret;
use crate::policy::host::{Authority, Host, HostError};
use http::Uri;
use std::fmt;
use std::num::NonZeroU16;

/// Octets of a user, and of a password, that SOCKS5 has room for (RFC 1929 section 2).
const SOCKS_OCTETS_MAX: usize = 255;

/// What a parent proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentKind {
    /// CONNECT over HTTP/1.1.
    Http,
    /// The same inside TLS.
    Https,
    /// SOCKS version 5 (RFC 1928).
    Socks5,
}

/// A parent proxy: what it speaks, where it is, and who we are to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Parent {
    kind: ParentKind,
    authority: Authority,
    credentials: Option<Secret>,
}

/// Why a text is no parent proxy. It never quotes the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParentError {
    /// No URL.
    #[error("is not a URL of scheme, host and port")]
    Form,
    /// Another scheme.
    #[error("has another scheme than http, https and socks5")]
    Scheme,
    /// Ports of proxies differ too much for a default.
    #[error("has no port")]
    Port,
    /// A user without a password.
    #[error(
        "has something before the @ that is not a user and a password; signs such as @ : / % are written %40 %3A %2F %25"
    )]
    Credentials,
    /// More than SOCKS5 can send.
    #[error("has a user or a password longer than {SOCKS_OCTETS_MAX} octets, which SOCKS5 cannot send")]
    LongCredentials,
    /// A host without canonical form.
    #[error("has a host that is none: {0}")]
    Host(HostError),
    /// A proxy has no pages.
    #[error("has something behind the port")]
    Path,
}

impl Parent {
    /// A parent as it is written: `http://`, `https://` or `socks5://`, `user:password@` where it asks for them, host and
    /// port.
    ///
    /// # Errors
    /// [`ParentError`].
    pub fn parse(text: &str) -> Result<Self, ParentError> {
        let kind = match text.split_once("://") {
            Some(("http", _)) => ParentKind::Http,
            Some(("https", _)) => ParentKind::Https,
            Some(("socks5", _)) => ParentKind::Socks5,
            Some(_) => return Err(ParentError::Scheme),
            None => return Err(ParentError::Form),
        };
        if text.contains('#') {
            return Err(ParentError::Path);
        }
        let uri = text.parse::<Uri>().map_err(|_| ParentError::Form)?;
        let authority = uri.authority().ok_or(ParentError::Form)?;
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(ParentError::Path);
        }
        let credentials = match authority.as_str().rsplit_once('@') {
            None => None,
            Some((userinfo, _)) => Some(credentials(userinfo).ok_or(ParentError::Credentials)?),
        };
        let parts = credentials.as_ref().and_then(|secret| secret.reveal().split_once(':'));
        let is_long = |(user, password): (&str, &str)| user.len().max(password.len()) > SOCKS_OCTETS_MAX;
        if kind == ParentKind::Socks5 && parts.is_some_and(is_long) {
            return Err(ParentError::LongCredentials);
        }
        let host = Host::parse(authority.host()).map_err(ParentError::Host)?;
        let port = authority.port_u16().and_then(NonZeroU16::new).ok_or(ParentError::Port)?;
        Ok(Self { kind, authority: Authority { host, port }, credentials })
    }

    /// What it speaks.
    pub const fn kind(&self) -> ParentKind {
        self.kind
    }

    /// Where it is.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// `user:password`; the user has no colon.
    pub const fn credentials(&self) -> Option<&Secret> {
        self.credentials.as_ref()
    }
}

/// Without credentials, as everybody may know it.
impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ParentKind::Http => "http",
            ParentKind::Https => "https",
            ParentKind::Socks5 => "socks5",
        };
        write!(f, "{scheme}://{}", self.authority)
    }
}

/// The same.
impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parent({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How it is shown, and its credentials.
    type Expected<'a> = Result<(&'a str, Option<String>), ParentError>;

    #[test]
    fn parents() {
        let long = format!("socks5://ada:{}@p.example:1080", "a".repeat(256));
        let long_http = format!("http://ada:{}@p.example:1080", "a".repeat(256));
        let password = "a".repeat(256);
        let table: [(&str, Expected<'_>); 23] = [
            ("http://10.1.2.3:3128", Ok(("http://10.1.2.3:3128", None))),
            ("http://10.1.2.3:3128/", Ok(("http://10.1.2.3:3128", None))),
            ("https://P.Example.:443", Ok(("https://p.example:443", None))),
            ("socks5://[2001:db8::1]:1080", Ok(("socks5://[2001:db8::1]:1080", None))),
            ("http://ada:s3cret@p.example:80", Ok(("http://p.example:80", Some("ada:s3cret".into())))),
            ("http://ada:s3%40%3a%25@p.example:80", Ok(("http://p.example:80", Some("ada:s3@:%".into())))),
            ("socks5://ada:s3:cret@p.example:80", Ok(("socks5://p.example:80", Some("ada:s3:cret".into())))),
            (&long_http, Ok(("http://p.example:1080", Some(format!("ada:{password}"))))),
            (&long, Err(ParentError::LongCredentials)),
            ("10.1.2.3:3128", Err(ParentError::Form)),
            ("", Err(ParentError::Form)),
            ("http://", Err(ParentError::Form)),
            ("http:///", Err(ParentError::Form)),
            ("ftp://p.example:21", Err(ParentError::Scheme)),
            ("socks5h://p.example:21", Err(ParentError::Scheme)),
            ("http://p.example", Err(ParentError::Port)),
            ("http://p.example:0", Err(ParentError::Port)),
            ("http://p.example:80/a", Err(ParentError::Path)),
            ("http://p.example:80?a", Err(ParentError::Path)),
            ("http://p.example:80/#a", Err(ParentError::Path)),
            ("http://ada@p.example:80", Err(ParentError::Credentials)),
            ("http://ada:%0d@p.example:80", Err(ParentError::Credentials)),
            ("http://a_b..c:80", Err(ParentError::Host(HostError::EmptyLabel))),
        ];
        for (text, expected) in table {
            let parsed = Parent::parse(text);
            let told = parsed.as_ref().map(|parent| {
                let secret = parent.credentials().map(|secret| secret.reveal().to_owned());
                assert!(!format!("{parent:?} {parent}").contains("cret"), "{parent:?}");
                (parent.to_string(), secret)
            });
            assert_eq!(
                told.map_err(|error| *error),
                expected.map(|(shown, secret)| (shown.to_owned(), secret)),
                "{text}"
            );
        }
    }
}
