//! Hosts as TLS names them.

use crate::policy::host::Host;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use std::net::IpAddr;
use x509_parser::extensions::GeneralName;

/// Names of a certificate that are told. Some have hundreds.
const NAMES_TOLD_MAX: usize = 5;
/// Characters of each; DNS has no longer ones.
const NAME_CHARACTERS_MAX: usize = 253;

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

/// What a certificate says that it is for, in words, be it a name that nobody can have or one that is never accepted, such as
/// a wildcard over a whole top-level domain.
pub(super) fn names_of(end_entity: &CertificateDer<'_>) -> String {
    let parsed = x509_parser::parse_x509_certificate(end_entity).ok();
    let extension = parsed.as_ref().and_then(|(_, certificate)| certificate.subject_alternative_name().ok()?);
    let names = extension.iter().flat_map(|extension| &extension.value.general_names).filter_map(told);
    let names: Vec<_> = names.take(NAMES_TOLD_MAX).collect();
    if names.is_empty() { "no valid DNS name".to_owned() } else { names.join(", ") }
}

/// A name that a server can have; what anybody may have written into it is made legible.
fn told(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => {
            let visible = name.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' });
            Some(visible.take(NAME_CHARACTERS_MAX).collect())
        }
        GeneralName::IPAddress(octets) => {
            let address = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let address = address.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}
