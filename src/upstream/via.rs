//! Whether a CONNECT has been here before: two proxies that are each other's parent would make sessions of one until
//! something gives way.
//!
//! Each process has a name of its own, at random, and adds it to the Via field (RFC 9110 section 7.6.3) of what it asks a
//! parent for, behind what the client sent there. Whoever finds its own name has come full circle.

use http::header::VIA;
use http::{HeaderMap, HeaderValue};
use std::hash::{BuildHasher as _, RandomState};

/// Proxies that a CONNECT may have come through. More are a circle through one that leaves Via out or writes it anew.
pub const VIA_HOPS_MAX: usize = 16;

/// The name of this process on the way of a CONNECT.
#[derive(Clone, Debug)]
pub struct Via {
    name: Box<str>,
}

/// What a CONNECT has come through, us included.
#[derive(Clone, Debug)]
pub struct Hops(HeaderValue);

/// A CONNECT that has been here before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Circle {
    /// Our own name is in it.
    #[error("this CONNECT has come through this proxy before (proxy_loop_detected): a parent proxy leads back here")]
    Closed,
    /// It has come a long way.
    #[error("this CONNECT has come through more than {VIA_HOPS_MAX} proxies (proxy_loop_detected)")]
    Long,
}

impl Via {
    /// A name that no other process has.
    pub fn random() -> Self {
        Self { name: format!("pinproxy-{:016x}", RandomState::new().hash_one(0)).into() }
    }

    /// Whether a request has been here before.
    ///
    /// # Errors
    /// When it has.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Circle> {
        let mut hops = 0;
        for value in headers.get_all(VIA) {
            for hop in value.as_bytes().split(|octet| *octet == b',') {
                if hop.split(u8::is_ascii_whitespace).any(|word| word == self.name.as_bytes()) {
                    return Err(Circle::Closed);
                }
                hops += 1;
            }
        }
        if hops > VIA_HOPS_MAX { Err(Circle::Long) } else { Ok(()) }
    }

    /// What a parent is told of the way of a request that has passed [`Self::check`].
    pub fn hops(&self, headers: &HeaderMap) -> Hops {
        let mut hops = Vec::new();
        for value in headers.get_all(VIA) {
            hops.extend_from_slice(value.as_bytes());
            hops.extend_from_slice(b", ");
        }
        hops.extend_from_slice(b"1.1 ");
        hops.extend_from_slice(self.name.as_bytes());
        // What values are made of makes a value.
        Hops(HeaderValue::from_bytes(&hops).unwrap_or_else(|_| HeaderValue::from_static("1.1 pinproxy")))
    }
}

impl Hops {
    pub(super) const fn value(&self) -> &HeaderValue {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (VIA, HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn who_comes_back_is_known() {
        let (via, other) = (Via::random(), Via::random());
        let own = String::from_utf8(via.hops(&headers(&[])).value().as_bytes().to_vec()).unwrap();
        let both =
            String::from_utf8(other.hops(&headers(&["1.0 fred (a, b)", &own])).value().as_bytes().to_vec()).unwrap();
        let many = ["1.1 a"; VIA_HOPS_MAX].join(",");
        let table: [(Vec<&str>, Result<(), Circle>); 9] = [
            (vec![], Ok(())),
            (vec!["1.1 pinproxy"], Ok(())),
            (vec!["1.0 fred, 1.1 p.example.net"], Ok(())),
            (vec![&own], Err(Circle::Closed)),
            (vec![&both], Err(Circle::Closed)),
            (vec!["1.0 fred", &both, "1.1 squid (6.1)"], Err(Circle::Closed)),
            (vec![&many], Ok(())),
            (vec![&many, "1.1 b"], Err(Circle::Long)),
            (vec![&many, "1.1 b", &own], Err(Circle::Closed)),
        ];
        for (values, expected) in table {
            assert_eq!(via.check(&headers(&values)), expected, "{values:?}");
        }
        assert!(both.starts_with("1.0 fred (a, b), 1.1 pinproxy-") && both.len() > own.len(), "{both}");
    }
}
