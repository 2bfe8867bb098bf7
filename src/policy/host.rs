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
        // The strict form knows no root label; one trailing dot is as good here as in an ASCII name.
        let name = text.strip_suffix('.').unwrap_or(text);
        let ascii = idna::domain_to_ascii_strict(name).map_err(|_| HostError::Idna)?;
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

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Targets {
        refused: Vec<Target>,
    }

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Target {
        target: String,
        error: String,
    }

    /// The table that the requests of `tests/it/requests/targets.rs` go through too. Canonical forms are in
    /// `tests/vectors/hosts.toml`.
    #[test]
    fn refused_targets() {
        let Targets { refused } = toml::from_str(include_str!("../../tests/vectors/targets.toml")).unwrap();
        assert!(!refused.is_empty());
        for Target { target, error } in refused {
            assert_eq!(format!("{:?}", Authority::parse(&target)), format!("Err({error})"), "{target:?}");
        }
    }
}
