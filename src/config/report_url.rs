//! Addresses that reports are sent to by HTTP.

use super::secret::Secret;
use crate::policy::host::{Host, HostError};
use http::Uri;
use std::fmt;
use zeroize::Zeroizing;

/// An address that takes reports by POST.
#[derive(Clone, PartialEq, Eq)]
pub struct ReportUrl {
    uri: Uri,
    credentials: Option<Secret>,
}

/// Why a text is no address for reports. It never quotes the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportUrlError {
    /// No URL.
    #[error("is not a URL")]
    Form,
    /// Another scheme.
    #[error("has another scheme than https and http")]
    Scheme,
    /// Reports would be read on the way.
    #[error("has no TLS: whoever is on the way reads which hosts are visited, and can keep a report back")]
    ClearText,
    /// A user without a password.
    #[error("has something before the @ that is not a user and a password")]
    Credentials,
    /// A host without canonical form.
    #[error("has a host that is none: {0}")]
    Host(HostError),
    /// What a server never sees.
    #[error("has a fragment (#), which is not sent")]
    Fragment,
}

impl ReportUrl {
    /// An address as it is written, with a user and a password if the receiver asks for them.
    ///
    /// # Errors
    /// [`ReportUrlError`].
    pub fn parse(text: &str) -> Result<Self, ReportUrlError> {
        if text.contains('#') {
            return Err(ReportUrlError::Fragment);
        }
        let is_clear = match text.split_once("://") {
            Some(("https", _)) => false,
            Some(("http", _)) => true,
            Some(_) => return Err(ReportUrlError::Scheme),
            None => return Err(ReportUrlError::Form),
        };
        let parts = text.parse::<Uri>().map_err(|_| ReportUrlError::Form)?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(ReportUrlError::Form) };
        let credentials = match authority.as_str().rsplit_once('@') {
            None => None,
            Some((userinfo, _)) => Some(credentials(userinfo).ok_or(ReportUrlError::Credentials)?),
        };
        let host = Host::parse(authority.host()).map_err(ReportUrlError::Host)?;
        if is_clear && !is_this_machine(&host) {
            return Err(ReportUrlError::ClearText);
        }
        // A port that is no number is none that can be asked for; `http` leaves it to us.
        let port = match authority.as_str().rsplit('@').next().and_then(|rest| rest.strip_prefix(authority.host())) {
            Some("") => String::new(),
            Some(_) => format!(":{}", authority.port_u16().filter(|port| *port != 0).ok_or(ReportUrlError::Form)?),
            None => return Err(ReportUrlError::Form),
        };
        let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
        let uri = Uri::builder().scheme(scheme).authority(format!("{host}{port}")).path_and_query(path).build();
        Ok(Self { uri: uri.map_err(|_| ReportUrlError::Form)?, credentials })
    }

    /// The address without credentials. Its path and query may be secrets all the same.
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// `user:password`.
    pub const fn credentials(&self) -> Option<&Secret> {
        self.credentials.as_ref()
    }

    /// Host and port, which everybody may know.
    pub fn place(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }
}

/// Neither password nor path, which is a password with many receivers.
impl fmt::Debug for ReportUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReportUrl({})", self.place())
    }
}

/// `user:password` from their form in a URL (RFC 3986 section 2.1); neither may be empty.
pub(super) fn credentials(userinfo: &str) -> Option<Secret> {
    let (user, password) = userinfo.split_once(':')?;
    let (user, password) = (unescaped(user)?, unescaped(password)?);
    // A colon would end the user early where they are sent (RFC 7617 section 2).
    let sound = !user.is_empty() && !password.is_empty() && !user.contains(':');
    sound.then(|| Secret::new(&Zeroizing::new(format!("{user}:{password}"))))
}

fn unescaped(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            octets.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()))?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(octets).ok().filter(|text| !text.contains(char::is_control))
}

/// What is sent there does not leave the machine. `localhost` is that by RFC 6761 section 6.3.
pub(super) fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Address(address) => address.to_canonical().is_loopback(),
        Host::Name(name) => name.as_str() == "localhost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address and the credentials, or a part of what is said.
    type Expected<'a> = Result<(&'a str, Option<&'a str>), &'a str>;

    #[test]
    fn addresses_for_reports() {
        let long = format!("https://{}.example/", "a".repeat(64));
        let table: [(&str, Expected<'_>); 25] = [
            ("https://r.example", Ok(("https://r.example/", None))),
            ("https://R.Example./v1?k=v", Ok(("https://r.example/v1?k=v", None))),
            ("https://r.example:8443/v1", Ok(("https://r.example:8443/v1", None))),
            ("https://ada:s3%3Acret@r.example/v1", Ok(("https://r.example/v1", Some("ada:s3:cret")))),
            ("http://127.0.0.1:80/", Ok(("http://127.0.0.1:80/", None))),
            ("http://[::1]:8000/a", Ok(("http://[::1]:8000/a", None))),
            ("http://localhost/", Ok(("http://localhost/", None))),
            ("http://r.example/", Err("has no TLS")),
            ("http://127.0.0.1.r.example/", Err("has no TLS")),
            ("http://127.0.0.1@r.example/", Err("not a user and a password")),
            ("http://127.0.0.1:80@r.example/", Err("has no TLS")),
            ("http://10.0.0.1/", Err("has no TLS")),
            ("http://localhost.r.example/", Err("has no TLS")),
            ("https://token@r.example/", Err("not a user and a password")),
            ("https://ada:@r.example/", Err("not a user and a password")),
            ("https://ada:%4@r.example/", Err("not a user and a password")),
            ("https://ada:%0a@r.example/", Err("not a user and a password")),
            ("https://r.example/#a", Err("fragment")),
            ("https://r.example:99999/", Err("is not a URL")),
            ("https://r.example:0/", Err("is not a URL")),
            ("https://r.example:/", Err("is not a URL")),
            ("https:///v1", Err("is not a URL")),
            ("r.example/v1", Err("is not a URL")),
            ("ftp://r.example/", Err("another scheme")),
            (&long, Err("has a host that is none")),
        ];
        for (text, expected) in table {
            match (ReportUrl::parse(text), expected) {
                (Ok(url), Ok((uri, credentials))) => {
                    assert_eq!(
                        (url.uri().to_string().as_str(), url.credentials().map(Secret::reveal)),
                        (uri, credentials),
                        "{text}"
                    );
                    assert!(!format!("{url:?}").contains("cret"), "{url:?}");
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
