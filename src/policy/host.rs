//! Names of hosts, canonicalised in one place.
//!
//! Every name that the program compares, looks up, certifies or logs went through [`Host::parse`]: the CONNECT target,
//! the SNI of a ClientHello, the patterns of the configuration. What it refuses has no canonical form, so it can
//! neither match a pinset nor miss one: the caller answers 400 and the name never reaches a lookup.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

/// Longest host name in octets, without a trailing dot (RFC 1035 section 2.3.4).
pub const NAME_OCTETS_MAX: usize = 253;
/// Longest label of a host name in octets (RFC 1035 section 2.3.4).
pub const LABEL_OCTETS_MAX: usize = 63;

/// A DNS name in canonical form: lower-case ASCII, no trailing dot, no empty label, not mistakable for an address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(Box<str>);

/// A host in canonical form: a DNS name or an IP address (RFC 3986 section 3.2.2).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A DNS name.
    Name(DnsName),
    /// An IP address; IPv4-mapped IPv6 addresses are folded into IPv4.
    Address(IpAddr),
}

/// The target of a CONNECT: host and port (the authority of RFC 9110 section 9.3.6, without userinfo).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority {
    /// The canonical host.
    pub host: Host,
    /// The port, 1 to 65535.
    pub port: NonZeroU16,
}

/// Why a text is not a host or an authority. The texts are shown to clients and operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// Bytes outside ASCII; on the wire an internationalised name travels as A-labels (RFC 5890).
    #[error("the host is not ASCII; write an internationalised name as A-labels (xn--...)")]
    NotAscii,
    /// A character that no host name contains.
    #[error("the host contains {0:?}, which no host name may contain")]
    Character(char),
    /// Two dots in a row, a leading dot, or more than one trailing dot.
    #[error("the host has an empty label (two dots in a row, or a leading dot)")]
    EmptyLabel,
    /// A label that begins or ends with a hyphen.
    #[error("a label of the host begins or ends with a hyphen")]
    Hyphen,
    /// More than [`LABEL_OCTETS_MAX`] octets in a label.
    #[error("a label of the host is longer than {LABEL_OCTETS_MAX} octets")]
    LongLabel,
    /// More than [`NAME_OCTETS_MAX`] octets.
    #[error("the host is longer than {NAME_OCTETS_MAX} octets")]
    LongName,
    /// Ends in a number without being a dotted-quad IPv4 address: `127.1`, `0x7f.1`, `2130706433`.
    #[error("the host ends in a number but is not an IPv4 address of four decimal parts")]
    NumericName,
    /// Brackets that do not enclose an IPv6 address, or an IPv6 address without them.
    #[error("an IPv6 address is written in brackets, without a zone: [2001:db8::1]")]
    Ipv6,
    /// `user@host`.
    #[error("userinfo is not allowed in front of the host")]
    Userinfo,
    /// A scheme, path, query or fragment.
    #[error("the target is a URL or a path; CONNECT takes host:port only")]
    NotAnAuthority,
    /// No port, or an empty one.
    #[error("the port is missing; CONNECT takes host:port")]
    NoPort,
    /// A port that is not a decimal number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// A U-label that IDNA (UTS 46) does not map to an A-label.
    #[error("the internationalised name has no valid A-label form")]
    Idna,
}

impl Host {
    /// Parses and canonicalises a host as it stands on the wire: ASCII; an IPv6 address in brackets; at most one
    /// trailing dot, which is stripped.
    ///
    /// # Errors
    /// [`HostError`], when the text has no canonical form.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(HostError::Ipv6)?;
            let address: Ipv6Addr = inner.parse().map_err(|_| HostError::Ipv6)?;
            return Ok(Self::from(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        if text.contains(':') {
            return Err(HostError::Ipv6);
        }
        DnsName::parse(text).map(Self::Name)
    }

    /// Parses a host as an operator writes it in the configuration: as [`Host::parse`], and U-labels are mapped to
    /// A-labels (UTS 46, non-transitional, STD3 rules).
    ///
    /// # Errors
    /// [`HostError`], when the text has no canonical form.
    pub fn parse_configured(text: &str) -> Result<Self, HostError> {
        if text.is_ascii() {
            return Self::parse(text);
        }
        let ascii = idna::domain_to_ascii_strict(text).map_err(|_| HostError::Idna)?;
        Self::parse(&ascii)
    }

    /// The DNS name, when the host is one.
    #[must_use]
    pub const fn name(&self) -> Option<&DnsName> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

/// Folds IPv4-mapped addresses, so that `[::ffff:192.0.2.1]` and `192.0.2.1` are one host.
impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }
}

impl DnsName {
    /// The name as text: lower-case ASCII without a trailing dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, HostError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(if text.is_empty() { HostError::Empty } else { HostError::EmptyLabel });
        }
        if !name.is_ascii() {
            return Err(HostError::NotAscii);
        }
        if let Some(strange) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))) {
            return Err(HostError::Character(strange));
        }
        if name.len() > NAME_OCTETS_MAX {
            return Err(HostError::LongName);
        }
        name.split('.').try_for_each(check_label)?;
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err(HostError::NumericName);
        }
        Ok(Self(name.to_ascii_lowercase().into_boxed_str()))
    }
}

fn check_label(label: &str) -> Result<(), HostError> {
    if label.is_empty() {
        return Err(HostError::EmptyLabel);
    }
    if label.len() > LABEL_OCTETS_MAX {
        return Err(HostError::LongLabel);
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(HostError::Hyphen);
    }
    Ok(())
}

/// Whether a resolver that accepts the forms of inet_aton(3) could take a name ending in this label for an address
/// (the "ends in a number" rule of the WHATWG URL standard).
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    label.bytes().all(|b| b.is_ascii_digit()) || hexadecimal.is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl Authority {
    /// Parses the target of a CONNECT: `host:port`, nothing else (RFC 9110 section 9.3.6, RFC 9112 section 3.2.3).
    ///
    /// # Errors
    /// [`HostError`] with the first reason found.
    pub fn parse(target: &str) -> Result<Self, HostError> {
        if target.contains(['/', '?', '#', '\\']) {
            return Err(HostError::NotAnAuthority);
        }
        if target.contains('@') {
            return Err(HostError::Userinfo);
        }
        let (host, port) = split_port(target)?;
        let port = port.ok_or(HostError::NoPort)?;
        Ok(Self { host: Host::parse(host)?, port: parse_port(port)? })
    }
}

/// Splits `host:port`, `[v6]:port`, `host` and `[v6]`; the port is not parsed yet.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<&str>), HostError> {
    if text.starts_with('[') {
        let end = text.find(']').ok_or(HostError::Ipv6)?;
        let (host, rest) = text.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(HostError::Ipv6),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Err(HostError::Ipv6),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

/// A decimal port from 1 to 65535, without sign or leading zeros.
pub(super) fn parse_port(text: &str) -> Result<NonZeroU16, HostError> {
    if text.is_empty() {
        return Err(HostError::NoPort);
    }
    if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HostError::Port);
    }
    text.parse().map_err(|_| HostError::Port)
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// IPv6 addresses in brackets, as in an authority.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_targets() {
        let long_label = format!("{}.example:443", "a".repeat(64));
        let long_name = format!("{}example:443", "abcdefg.".repeat(32));
        let table: &[(&str, HostError)] = &[
            ("", HostError::NoPort),
            (":443", HostError::Empty),
            (".:443", HostError::EmptyLabel),
            ("..:443", HostError::EmptyLabel),
            ("...:443", HostError::EmptyLabel),
            ("bank.example", HostError::NoPort),
            ("bank.example:", HostError::NoPort),
            ("bank.example:0", HostError::Port),
            ("bank.example:00443", HostError::Port),
            ("bank.example:+443", HostError::Port),
            ("bank.example:-1", HostError::Port),
            ("bank.example:65536", HostError::Port),
            ("bank.example:443 ", HostError::Port),
            ("bank.example:https", HostError::Port),
            ("bank.example:443:443", HostError::Ipv6),
            ("bank.example..:443", HostError::EmptyLabel),
            (".bank.example:443", HostError::EmptyLabel),
            ("api..bank.example:443", HostError::EmptyLabel),
            ("user@bank.example:443", HostError::Userinfo),
            ("user:secret@bank.example:443", HostError::Userinfo),
            ("https://bank.example:443", HostError::NotAnAuthority),
            ("https://bank.example/", HostError::NotAnAuthority),
            ("bank.example:443/path", HostError::NotAnAuthority),
            ("bank.example:443?q", HostError::NotAnAuthority),
            ("bank.example:443#f", HostError::NotAnAuthority),
            ("bank.example\\evil.example:443", HostError::NotAnAuthority),
            ("/", HostError::NotAnAuthority),
            ("*", HostError::NoPort),
            ("*.bank.example:443", HostError::Character('*')),
            ("bank example:443", HostError::Character(' ')),
            ("bank.example%00.evil.example:443", HostError::Character('%')),
            ("bank.example\0.evil.example:443", HostError::Character('\0')),
            ("api\u{3002}bank.example:443", HostError::NotAscii),
            ("api\u{ff0e}bank.example:443", HostError::NotAscii),
            ("b\u{fc}cher.example:443", HostError::NotAscii),
            ("127.0.0.\u{b9}:443", HostError::NotAscii),
            ("-a.example:443", HostError::Hyphen),
            ("a-.example:443", HostError::Hyphen),
            ("127.1:443", HostError::NumericName),
            ("2130706433:443", HostError::NumericName),
            ("0x7f000001:443", HostError::NumericName),
            ("0x7f.1:443", HostError::NumericName),
            ("127.0.0.0x1:443", HostError::NumericName),
            ("127.0.0.01:443", HostError::NumericName),
            ("127.0.0.1.:443", HostError::NumericName),
            ("127.0.0.1.5:443", HostError::NumericName),
            ("256.1.1.1:443", HostError::NumericName),
            ("a.0x:443", HostError::NumericName),
            ("::1:443", HostError::Ipv6),
            ("2001:db8::1", HostError::Ipv6),
            ("[::1]", HostError::NoPort),
            ("[::1]443", HostError::Ipv6),
            ("[::1:443", HostError::Ipv6),
            ("[fe80::1%eth0]:443", HostError::Ipv6),
            ("[fe80::1%25eth0]:443", HostError::Ipv6),
            ("[127.0.0.1]:443", HostError::Ipv6),
            ("[bank.example]:443", HostError::Ipv6),
            ("[]:443", HostError::Ipv6),
            (&long_label, HostError::LongLabel),
            (&long_name, HostError::LongName),
        ];
        for (target, expected) in table {
            assert_eq!(Authority::parse(target), Err(*expected), "{target:?}");
        }
    }

    #[test]
    fn canonical_targets() {
        let longest = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
        let table: &[(String, String)] = &[
            ("bank.example:443".into(), "bank.example:443".into()),
            ("API.Bank.Example:8443".into(), "api.bank.example:8443".into()),
            ("bank.example.:443".into(), "bank.example:443".into()),
            ("XN--FKTHP-N2A.com:443".into(), "xn--fkthp-n2a.com:443".into()),
            ("my_bucket.s3.example:443".into(), "my_bucket.s3.example:443".into()),
            ("localhost:1".into(), "localhost:1".into()),
            ("3com.example:65535".into(), "3com.example:65535".into()),
            ("192.0.2.1:443".into(), "192.0.2.1:443".into()),
            ("[2001:DB8:0:0::1]:443".into(), "[2001:db8::1]:443".into()),
            ("[::ffff:192.0.2.1]:443".into(), "192.0.2.1:443".into()),
            ("[::ffff:c000:201]:443".into(), "192.0.2.1:443".into()),
            (format!("{longest}:443"), format!("{longest}:443")),
        ];
        for (target, expected) in table {
            let authority = Authority::parse(target).unwrap_or_else(|e| panic!("{target:?}: {e}"));
            assert_eq!(&authority.to_string(), expected);
            assert_eq!(Authority::parse(&authority.to_string()), Ok(authority), "canonical form is a fixed point");
        }
    }

    #[test]
    fn configured_names_may_be_internationalised() {
        let table = [
            ("\u{3c3}khttp.com", Ok("xn--khttp-fde.com")),
            ("B\u{fc}cher.Example", Ok("xn--bcher-kva.example")),
            ("api\u{3002}bank.example", Ok("api.bank.example")),
            ("a\u{0}\u{fc}.example", Err(HostError::Idna)),
            ("\u{200d}a.example", Err(HostError::Idna)),
        ];
        for (text, expected) in table {
            let host = Host::parse_configured(text).map(|h| h.to_string());
            assert_eq!(host, expected.map(str::to_owned), "{text:?}");
        }
    }
}
