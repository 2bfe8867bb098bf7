//! hudsucker as its example has it, but for the trust anchors: `hudsucker-peer ADDRESS CA.pem CA.key ROOTS.pem`.

use hudsucker::Proxy;
use hudsucker::certificate_authority::RcgenAuthority;
use hudsucker::rcgen::{Issuer, KeyPair};
use hudsucker::rustls::crypto::aws_lc_rs::default_provider;
use hudsucker::rustls::{ClientConfig, RootCertStore};
use hyper_rustls::HttpsConnectorBuilder;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::error::Error;
use std::fs::read_to_string;
use std::io::Write as _;
use std::sync::Arc;

/// Certificates that are kept; the number of the example.
const CERTIFICATES_KEPT: u64 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, ca, ca_key, roots] = arguments.as_slice() else {
        writeln!(std::io::stdout(), "hudsucker-peer {}", env!("CARGO_PKG_VERSION"))?;
        return Ok(());
    };
    let issuer = Issuer::from_ca_cert_pem(&read_to_string(ca)?, KeyPair::from_pem(&read_to_string(ca_key)?)?)?;
    let authority = RcgenAuthority::new(issuer, CERTIFICATES_KEPT, default_provider());
    let mut anchors = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(roots)? {
        anchors.add(certificate?)?;
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(anchors)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions().build();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let proxy = Proxy::builder().with_addr(address.parse()?).with_ca(authority);
        proxy.with_http_connector(connector).build()?.start().await?;
        Ok(())
    })
}
