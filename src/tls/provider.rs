//! The one crypto provider, passed explicitly wherever TLS is set up; the process-wide default is never consulted.

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::sync::{Arc, LazyLock};

/// aws-lc-rs with TLS 1.2 and 1.3 suites and X25519MLKEM768 as the preferred group, AES-128-GCM first: it is the suite
/// whose hash has hardware support on common processors. The peer's choice still decides.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        Arc::new(provider)
    });
    &PROVIDER
}
