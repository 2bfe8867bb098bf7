//! TLS for what the program asks for itself: no session, no rule, no pins; the peer is verified as any client does it.

use super::anchors::TrustAnchors;
use super::provider::provider;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// A configuration that trusts these anchors, for the name that is asked for.
///
/// # Errors
/// When the TLS library cannot be set up.
pub fn ordinary(anchors: &TrustAnchors) -> Result<ClientConfig, rustls::Error> {
    let roots = RootCertStore { roots: anchors.anchors().to_vec() };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider())).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
