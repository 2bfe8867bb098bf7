//! Host patterns of the configuration and which authorities they match.

use super::host::{Authority, DnsName, Host, HostError, parse_port, split_port};
use std::fmt;
use std::num::NonZeroU16;

/// What a pattern says of the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// This host alone.
    Exact(Host),
    /// `*.suffix`: exactly one label in front of the suffix; not the suffix itself.
    OneLabel(DnsName),
    /// `**.suffix`: the suffix itself (the apex) and every name below it.
    Subtree(DnsName),
}

/// A host pattern: a scope, and a port when it is for that port only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    /// Which hosts.
    pub scope: Scope,
    /// Which port; all of them when absent.
    pub port: Option<NonZeroU16>,
}

/// Why a text is not a host pattern. The texts are shown to operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The host part is not a host.
    #[error("{0}")]
    Host(#[from] HostError),
    /// A star that does not stand alone as the first label.
    #[error("a star stands only in front, as `*.` (exactly one label) or `**.` (the name itself and every depth)")]
    Star,
    /// `*`, `*.` or `**.` with nothing behind.
    #[error("the wildcard has no name behind it; say which domain it is for")]
    NoSuffix,
    /// A wildcard in front of an address.
    #[error("an IP address takes no wildcard; list each address")]
    WildcardAddress,
    /// `https://…` or a path.
    #[error("this is a URL; write the host alone, or host:port")]
    Url,
}

impl HostPattern {
    /// Parses `host`, `host:port`, `*.suffix` or `**.suffix` (with a port if wanted); U-labels become A-labels.
    ///
    /// # Errors
    /// [`PatternError`] telling what to write instead.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.contains(['/', '?', '#', '\\', '@']) {
            return Err(PatternError::Url);
        }
        let (host, port) = split_port(text)?;
        let port = port.map(parse_port).transpose()?;
        if let Some(suffix) = host.strip_prefix("**.") {
            return Ok(Self { scope: Scope::Subtree(parse_suffix(suffix)?), port });
        }
        if let Some(suffix) = host.strip_prefix("*.") {
            return Ok(Self { scope: Scope::OneLabel(parse_suffix(suffix)?), port });
        }
        if host == "*" || host == "**" {
            return Err(PatternError::NoSuffix);
        }
        if host.contains('*') {
            return Err(PatternError::Star);
        }
        Ok(Self { scope: Scope::Exact(Host::parse_configured(host)?), port })
    }

    /// Whether the pattern matches this host and port.
    pub fn matches(&self, authority: &Authority) -> bool {
        self.port.is_none_or(|port| port == authority.port) && self.scope.matches(&authority.host)
    }

    /// The patterns that hold every host and port of this one and more, in the order in which they would win.
    pub fn wider(&self) -> Vec<Self> {
        let mut scopes = vec![self.scope.clone()];
        // Names below a name that parsed are names.
        let name = |text: &str| Host::parse(text).ok().and_then(|host| host.name().cloned());
        match &self.scope {
            Scope::Exact(Host::Address(_)) => {}
            Scope::Exact(Host::Name(host)) => {
                scopes.extend(parent(host.as_str()).and_then(name).map(Scope::OneLabel));
                scopes.extend(ancestors(host.as_str()).filter_map(name).map(Scope::Subtree));
            }
            Scope::OneLabel(suffix) => scopes.extend(ancestors(suffix.as_str()).filter_map(name).map(Scope::Subtree)),
            Scope::Subtree(suffix) => {
                scopes.extend(ancestors(suffix.as_str()).skip(1).filter_map(name).map(Scope::Subtree));
            }
        }
        let ports = if self.port.is_some() { vec![self.port, None] } else { vec![None] };
        let patterns = scopes.into_iter().flat_map(|scope| {
            let with = |port| Self { scope: scope.clone(), port };
            ports.iter().copied().map(with).collect::<Vec<_>>()
        });
        patterns.filter(|pattern| pattern != self).collect()
    }

    /// Whether some host and port match both patterns.
    pub fn overlaps(&self, other: &Self) -> bool {
        let ports = match (self.port, other.port) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        ports && self.scope.overlaps(&other.scope)
    }
}

impl Scope {
    /// Whether the scope holds this host.
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Exact(exact), host) => exact == host,
            (Self::OneLabel(suffix), Host::Name(name)) => parent(name.as_str()) == Some(suffix.as_str()),
            (Self::Subtree(suffix), Host::Name(name)) => ancestors(name.as_str()).any(|a| a == suffix.as_str()),
            (Self::OneLabel(_) | Self::Subtree(_), Host::Address(_)) => false,
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(host), scope) | (scope, Self::Exact(host)) => scope.matches(host),
            (Self::OneLabel(a), Self::OneLabel(b)) => a == b,
            (Self::OneLabel(one), Self::Subtree(tree)) | (Self::Subtree(tree), Self::OneLabel(one)) => {
                // Names of `*.one` lie below the tree when `one` does, or when one of them is the apex.
                ancestors(one.as_str()).any(|a| a == tree.as_str()) || parent(tree.as_str()) == Some(one.as_str())
            }
            (Self::Subtree(a), Self::Subtree(b)) => {
                ancestors(a.as_str()).any(|x| x == b.as_str()) || ancestors(b.as_str()).any(|x| x == a.as_str())
            }
        }
    }
}

fn parse_suffix(text: &str) -> Result<DnsName, PatternError> {
    if text.is_empty() {
        return Err(PatternError::NoSuffix);
    }
    if text.contains('*') {
        return Err(PatternError::Star);
    }
    match Host::parse_configured(text)? {
        Host::Name(name) => Ok(name),
        Host::Address(_) => Err(PatternError::WildcardAddress),
    }
}

/// The name without its first label.
pub(crate) fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, rest)| rest)
}

/// The name itself, then each name above it, down to the last label.
pub(crate) fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |n| parent(n))
}

/// As an operator would write it.
impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::Exact(host) => write!(f, "{host}")?,
            Scope::OneLabel(suffix) => write!(f, "*.{suffix}")?,
            Scope::Subtree(suffix) => write!(f, "**.{suffix}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Which texts are patterns and what each matches: tests/vectors/hosts.toml.

    #[test]
    fn overlapping() {
        let table = [
            ("a.example", "b.example", false),
            ("a.example", "a.example:443", true),
            ("a.example:1", "a.example:2", false),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", false),
            ("**.example", "a.b.example", true),
            ("**.example", "example", true),
            ("*.example", "**.b.example", true),
            ("*.example", "**.c.b.example", false),
            ("*.b.example", "**.example", true),
            ("**.b.example", "**.example", true),
            ("**.b.example", "**.c.example", false),
        ];
        for (a, b, expected) in table {
            let (left, right) = (HostPattern::parse(a).unwrap(), HostPattern::parse(b).unwrap());
            assert_eq!(left.overlaps(&right), expected, "{a} and {b}");
            assert_eq!(right.overlaps(&left), expected, "{b} and {a}");
        }
    }
}
