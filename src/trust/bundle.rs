//! The CA and the public roots in one list, for clients that replace their own roots by it.

use crate::authority;
use crate::config::Upstream;
use crate::files;
use crate::materials::{added, source};
use crate::tls::anchors::{AnchorError, TrustAnchors};
use rustls::pki_types::CertificateDer;
use std::fmt::Write as _;
use std::path::Path;

/// How each bundle begins, by which one is known for what it is.
const HEADING: &str = "# Certificates for clients of pinproxy: its CA, and the roots that it trusts.\n";

/// Certificates that a client is to trust: those of the CA first, then the roots that the proxy itself trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    certificates: Vec<CertificateDer<'static>>,
}

impl Bundle {
    /// Reads the roots that chains of upstreams may end in, by `[upstream] roots` and `extra_roots`, and puts `ca`, the
    /// certificates of the proxy's own CA, before them. The environment has no say in what the roots are.
    ///
    /// # Errors
    /// When the roots cannot be read, there are none, or the CA stands in a file that the operator named.
    pub fn load(upstream: &Upstream, ca: &[CertificateDer<'static>]) -> Result<Self, AnchorError> {
        let extra: Vec<_> = upstream.extra_roots.iter().map(added).collect();
        Ok(Self::of(ca, &TrustAnchors::load(&source(&upstream.roots), &extra, ca)?))
    }

    /// The same of roots that were read already.
    pub fn of(ca: &[CertificateDer<'static>], roots: &TrustAnchors) -> Self {
        let mut certificates: Vec<CertificateDer<'static>> = Vec::with_capacity(ca.len() + roots.len());
        // Anchors are there once each; the CA is never among them.
        for certificate in ca {
            if !certificates.contains(certificate) {
                certificates.push(certificate.clone());
            }
        }
        certificates.extend(roots.records().iter().map(|record| record.certificate.clone()));
        Self { certificates }
    }

    /// Each of them, once; the issuing CA first.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// PEM, with the subject as a comment before each certificate. ASCII: readers that know no other encoding, Python 2
    /// among them, fail over a comment that is none.
    pub fn to_pem(&self) -> String {
        let mut text = HEADING.to_owned();
        for certificate in &self.certificates {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# {}", subject(certificate).escape_default());
            text.push_str(&authority::certificate_pem(certificate));
        }
        text
    }
}

/// Whether a file is a bundle that this program has made.
pub fn is_bundle(path: &Path) -> bool {
    files::read(path, HEADING.len()).is_ok_and(|begin| begin == HEADING.as_bytes())
}

/// Empty for what is no certificate, which nothing here is.
pub(super) fn subject(certificate: &CertificateDer<'_>) -> String {
    x509_parser::parse_x509_certificate(certificate).map(|(_, parsed)| parsed.subject().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Roots};
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
    use rustls::pki_types::pem::PemObject as _;
    use std::process::Command;
    use std::time::SystemTime;

    fn root(name: &str) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn upstream() -> Upstream {
        Config::parse("", Path::new("test.toml"), SystemTime::now()).unwrap().0.upstream
    }

    fn read(pem: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn the_ca_comes_first_and_each_certificate_once() {
        let (ca, parent, corporate) = (root("ca"), root("parent"), root("corporate"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roots.pem");
        let both = [&corporate, &corporate].map(|der| authority::certificate_pem(der)).concat();
        std::fs::write(&path, both).unwrap();
        let upstream = Upstream { roots: Roots::File(path), ..upstream() };
        let bundle = Bundle::load(&upstream, &[ca.clone(), parent.clone(), ca.clone()]).unwrap();
        assert_eq!(bundle.certificates(), [ca.clone(), parent.clone(), corporate.clone()]);
        assert_eq!(read(&bundle.to_pem()), [ca, parent, corporate]);
    }

    #[test]
    fn the_public_roots_are_all_there() {
        let ca = root("ca");
        let bundle = Bundle::load(&Upstream { roots: Roots::Webpki, ..upstream() }, std::slice::from_ref(&ca)).unwrap();
        let mut expected = vec![ca];
        expected.extend(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        assert!(expected.len() > 100, "{}", expected.len());
        assert_eq!(bundle.certificates(), expected);
        assert_eq!(read(&bundle.to_pem()), expected);
        assert!(bundle.to_pem().is_ascii());
    }

    #[test]
    fn a_subject_breaks_out_of_no_comment() {
        let ca = root("a\n-----BEGIN CERTIFICATE-----\nb\u{fc}\u{202e}");
        let pem = Bundle::of(std::slice::from_ref(&ca), &TrustAnchors::from_certificates([]).unwrap()).to_pem();
        assert_eq!(pem.lines().filter(|line| line.starts_with("-----BEGIN")).count(), 1, "{pem}");
        let comment = pem.strip_prefix(HEADING).unwrap();
        assert!(comment.starts_with("# CN=a\\n-----BEGIN CERTIFICATE-----\\nb\\u{fc}\\u{202e}\n"), "{pem}");
        assert_eq!(read(&pem), [ca]);
    }

    /// OpenSSL takes the text as it is.
    #[test]
    fn openssl_reads_the_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let (bundle, ca) = (folder.path().join("bundle.pem"), folder.path().join("ca.pem"));
        let der = root("ca");
        let all = Bundle::load(&Upstream { roots: Roots::Webpki, ..upstream() }, std::slice::from_ref(&der)).unwrap();
        std::fs::write(&bundle, all.to_pem()).unwrap();
        assert!(is_bundle(&bundle));
        std::fs::write(&ca, authority::certificate_pem(&der)).unwrap();
        let output = Command::new("openssl").args(["verify", "-CAfile"]).args([&bundle, &ca]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(!is_bundle(&ca) && !is_bundle(&folder.path().join("none")) && !is_bundle(folder.path()));
    }
}
