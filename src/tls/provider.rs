//! The one crypto provider, passed explicitly wherever TLS is set up; the process-wide default is never consulted.

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::sync::{Arc, LazyLock};

/// aws-lc-rs with TLS 1.2 and 1.3 suites and X25519MLKEM768 as the preferred group. AES-128-GCM is first in each version:
/// its hash, SHA-256, has hardware support on common processors, and SHA-384 seldom has. The peer's choice still decides.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        // TLS 1.3 before TLS 1.2, as they were; the sort keeps the order of the rest.
        provider.cipher_suites.sort_by_key(|suite| (suite.tls13().is_none(), !is_aes_128(suite.suite())));
        Arc::new(provider)
    });
    &PROVIDER
}

const fn is_aes_128(suite: rustls::CipherSuite) -> bool {
    use rustls::CipherSuite as S;
    matches!(
        suite,
        S::TLS13_AES_128_GCM_SHA256
            | S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}
