//! Hosts as TLS names them.

use crate::policy::host::Host;
use rustls::pki_types::{InvalidDnsNameError, ServerName};

/// A host as rustls takes it: the name that is sent as SNI and checked against the certificate.
///
/// # Errors
/// For names that DNS knows and certificates do not.
pub fn server_name(host: &Host) -> Result<ServerName<'static>, InvalidDnsNameError> {
    match host {
        Host::Name(name) => ServerName::try_from(name.as_str().to_owned()),
        Host::Address(address) => Ok(ServerName::from(*address)),
    }
}
