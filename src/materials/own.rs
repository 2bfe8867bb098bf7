//! What a configuration has for TLS at the addresses of the proxy itself.

use crate::config::{AdminTls, ListenerTls};
use crate::tls::server::Files;

/// For the admin address.
pub fn admin(tls: &AdminTls) -> Files {
    let AdminTls { certificate, key, client_ca } = tls.clone();
    Files { whose: "[admin]", certificate, key, client_ca, protocols: &[b"http/1.1"] }
}

/// For a listener inside of whose TLS these protocols are spoken.
pub fn listener(tls: &ListenerTls, protocols: &'static [&'static [u8]]) -> Files {
    let ListenerTls { certificate, key } = tls.clone();
    Files { whose: "[[listener]]", certificate, key, client_ca: None, protocols }
}
