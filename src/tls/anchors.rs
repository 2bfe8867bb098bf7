//! Trust anchors, each with the certificate it came from, so that its key, its certificate and its dates can be judged.

use crate::policy::pin::Sha256;
use crate::policy::pinset::PathElement;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use sha2::{Digest as _, Sha256 as Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A set of trust anchors.
#[derive(Debug)]
pub struct TrustAnchors {
    anchors: Vec<TrustAnchor<'static>>,
    records: Vec<AnchorRecord>,
}

/// What webpki's form of a trust anchor leaves out (RFC 5280 section 6.1.1 makes it optional input).
#[derive(Debug)]
pub struct AnchorRecord {
    /// Key and certificate digest.
    pub element: PathElement,
    /// The certificate the anchor was read from.
    pub certificate: CertificateDer<'static>,
    /// Beginning of its validity.
    pub not_before: SystemTime,
    /// End of its validity.
    pub not_after: SystemTime,
    /// Whether chains that end here are exempt from pins.
    pub exempts_pins: bool,
}

/// A file with anchors added to a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraAnchors {
    /// PEM.
    pub path: PathBuf,
    /// Whether chains that end in one of them are exempt from pins.
    pub exempts_pins: bool,
}

/// Where anchors come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnchorSource {
    /// The bundle of the operating system.
    System,
    /// Mozilla's list, compiled in.
    Mozilla,
    /// A PEM file.
    File(PathBuf),
}

/// Why there are no usable anchors. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The file could not be read.
    #[error("cannot read the trust anchors in {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not PEM, or holds what is not a certificate.
    #[error("{path} holds something that is not a certificate in PEM form: {detail}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What.
        detail: String,
    },
    /// The file holds no certificate.
    #[error("{path} holds no certificate")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The operating system has no bundle at the known places.
    #[error(
        "no bundle of trust anchors found on this system (looked for {}); install the package ca-certificates, \
         or set [upstream] roots to \"webpki\" or to a PEM file",
        SYSTEM_BUNDLES.join(", ")
    )]
    NoSystemBundle,
    /// A file whose chains are to be exempt from pins holds a root of Mozilla's list.
    #[error(
        "{path} is to exempt its chains from pins and holds a public root ({name}): any certificate of that authority \
         would pass for every pinned host. Keep the roots of your own inspection in a file by themselves"
    )]
    PublicExempt {
        /// The file.
        path: PathBuf,
        /// The subject of the root.
        name: String,
    },
    /// The proxy's own CA is among the files named by the operator.
    #[error(
        "{path} holds the proxy's own CA certificate; whoever can use that CA could then pose as any upstream. \
         Take it out of the file"
    )]
    OwnCa {
        /// The file.
        path: PathBuf,
    },
}

/// Bundles of Debian, Alpine, Arch and OpenWrt; Fedora and RHEL; openSUSE; FreeBSD; OpenBSD, macOS. SSL_CERT_FILE is not
/// consulted: it is what clients of this proxy set, and it would make the proxy trust only itself.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
    "/etc/ssl/cert.pem",
];

impl TrustAnchors {
    /// Loads `roots` and the files of `extra`. Certificates in `own`, the proxy's CA, never become anchors: in the
    /// system's bundle, where clients on the same machine need them, they are passed over; in a file that the
    /// operator named they are an error.
    ///
    /// # Errors
    /// [`AnchorError`]; an empty set is one.
    pub fn load(
        roots: &AnchorSource,
        extra: &[ExtraAnchors],
        own: &[CertificateDer<'static>],
    ) -> Result<Self, AnchorError> {
        let mut set = Self { anchors: Vec::new(), records: Vec::new() };
        match roots {
            AnchorSource::System => {
                let bundle = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists());
                let path = bundle.ok_or(AnchorError::NoSystemBundle)?;
                let foreign = read_pem(path)?.into_iter().filter(|certificate| !is_among(certificate, own));
                // A bundle of the system may hold what webpki cannot read (version 1 roots); that is not our fault to
                // report to somebody who cannot change it.
                foreign.for_each(|certificate| drop(set.add(certificate, false)));
                if set.anchors.is_empty() {
                    return Err(AnchorError::Empty { path: path.to_owned() });
                }
            }
            AnchorSource::Mozilla => {
                for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
                    // Every one of them is an anchor of webpki; a test counts them.
                    drop(set.add(root.clone(), false));
                }
            }
            AnchorSource::File(path) => set.add_file(path, own, false)?,
        }
        extra.iter().try_for_each(|file| set.add_file(&file.path, own, file.exempts_pins))?;
        Ok(set)
    }

    /// The anchors of one file that is to be added to others.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn load_extra(extra: &ExtraAnchors, own: &[CertificateDer<'static>]) -> Result<Self, AnchorError> {
        let mut set = Self { anchors: Vec::new(), records: Vec::new() };
        set.add_file(&extra.path, own, extra.exempts_pins)?;
        Ok(set)
    }

    /// Anchors from certificates.
    ///
    /// # Errors
    /// The text of the first certificate that cannot be one.
    pub fn from_certificates(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Result<Self, String> {
        let mut set = Self { anchors: Vec::new(), records: Vec::new() };
        certificates.into_iter().try_for_each(|certificate| set.add(certificate, false))?;
        Ok(set)
    }

    fn add_file(
        &mut self,
        path: &Path,
        own: &[CertificateDer<'static>],
        exempts_pins: bool,
    ) -> Result<(), AnchorError> {
        for certificate in read_pem(path)? {
            if is_among(&certificate, own) {
                return Err(AnchorError::OwnCa { path: path.to_owned() });
            }
            if exempts_pins && is_among(&certificate, webpki_root_certs::TLS_SERVER_ROOT_CERTS) {
                return Err(AnchorError::PublicExempt { path: path.to_owned(), name: subject(&certificate) });
            }
            self.add(certificate, exempts_pins)
                .map_err(|detail| AnchorError::Malformed { path: path.to_owned(), detail })?;
        }
        Ok(())
    }

    fn add(&mut self, certificate: CertificateDer<'static>, exempts_pins: bool) -> Result<(), String> {
        if let Some(known) = self.records.iter_mut().find(|record| record.certificate == certificate) {
            // A corporate root often stands in the system's bundle too; what the operator says of it counts.
            known.exempts_pins |= exempts_pins;
            return Ok(());
        }
        let anchor = webpki::anchor_from_trusted_cert(&certificate).map_err(|e| e.to_string())?.to_owned();
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|e| e.to_string())?;
        let record = AnchorRecord {
            element: PathElement { spki: anchor_spki_sha256(&anchor), certificate: Some(sha256(&certificate)) },
            not_before: super::chain::system_time(parsed.validity().not_before.timestamp()),
            not_after: super::chain::system_time(parsed.validity().not_after.timestamp()),
            certificate,
            exempts_pins,
        };
        self.anchors.push(anchor);
        self.records.push(record);
        Ok(())
    }

    /// The anchors in webpki's form.
    pub fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// The record of an anchor of this set that webpki handed back. `None` for one that is not of this set.
    pub fn record(&self, anchor: &TrustAnchor<'_>) -> Option<&AnchorRecord> {
        // webpki hands out references into the slice it was given; comparing addresses spares hashing the key again.
        let index = self.anchors.iter().position(|own| std::ptr::eq(std::ptr::from_ref(own).cast(), anchor))?;
        self.records.get(index)
    }

    /// Digests and dates of the anchors.
    pub fn records(&self) -> &[AnchorRecord] {
        &self.records
    }

    /// The moments at which one of them begins, and those at which one is over.
    pub(super) fn bounds(&self) -> impl Iterator<Item = SystemTime> {
        self.records.iter().flat_map(|record| [record.not_before, super::chain::after(record.not_after)])
    }

    /// Whether a certificate has subject and key of an anchor.
    pub fn holds_key(&self, subject: &[u8], spki: &Sha256) -> bool {
        let mut records = self.anchors.iter().zip(&self.records);
        records.any(|(anchor, record)| anchor.subject.as_ref() == subject && record.element.spki == *spki)
    }

    /// When the last of them ends. `None` where there are none.
    pub fn end(&self) -> Option<SystemTime> {
        self.records.iter().map(|record| record.not_after).max()
    }

    /// How many anchors there are.
    pub fn len(&self) -> usize {
        self.anchors.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }
}

/// The certificates of a PEM file, whatever they are.
///
/// # Errors
/// [`AnchorError`]; no certificate is one.
pub fn read_pem(path: &Path) -> Result<Vec<CertificateDer<'static>>, AnchorError> {
    let text = read_material(path).map_err(|source| AnchorError::Read { path: path.to_owned(), source })?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| AnchorError::Malformed { path: path.to_owned(), detail: error.to_string() })?;
    if certificates.is_empty() {
        return Err(AnchorError::Empty { path: path.to_owned() });
    }
    Ok(certificates)
}

/// Largest file with anchors or revocation lists in octets.
const MATERIAL_OCTETS_MAX: usize = 64 << 20;

/// A file with anchors or revocation lists, whole.
pub(super) fn read_material(path: &Path) -> io::Result<Vec<u8>> {
    let octets = crate::files::read(path, MATERIAL_OCTETS_MAX + 1)?;
    if octets.len() > MATERIAL_OCTETS_MAX {
        return Err(io::Error::other(format!("it is larger than {} MiB", MATERIAL_OCTETS_MAX >> 20)));
    }
    Ok(octets)
}

fn subject(certificate: &CertificateDer<'_>) -> String {
    x509_parser::parse_x509_certificate(certificate).map(|(_, parsed)| parsed.subject().to_string()).unwrap_or_default()
}

/// Whether a certificate is one of these or for the key of one: a CA that was renewed signs with the key it had.
fn is_among(certificate: &CertificateDer<'_>, own: &[CertificateDer<'_>]) -> bool {
    let key = |der: &CertificateDer<'_>| {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(sha256(parsed.public_key().raw))
    };
    own.contains(certificate) || key(certificate).is_some_and(|seen| own.iter().any(|der| key(der) == Some(seen)))
}

/// SHA-256 of anything.
pub(super) fn sha256(bytes: &[u8]) -> Sha256 {
    Hasher::digest(bytes).into()
}

/// SHA-256 of an anchor's SubjectPublicKeyInfo. webpki keeps the contents of that SEQUENCE without tag and length, so
/// both are put back in front; hashing the bare contents gives a digest that no tool agrees with.
fn anchor_spki_sha256(anchor: &TrustAnchor<'_>) -> Sha256 {
    let contents = anchor.subject_public_key_info.as_ref();
    let mut hasher = Hasher::new();
    hasher.update(sequence_header(contents.len()));
    hasher.update(contents);
    hasher.finalize().into()
}

/// Tag and DER length of a SEQUENCE (X.690 section 8.1.3).
fn sequence_header(length: usize) -> Vec<u8> {
    const SEQUENCE: u8 = 0x30;
    if let Ok(short @ ..0x80) = u8::try_from(length) {
        return vec![SEQUENCE, short];
    }
    let octets: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
    // At most eight octets, so their count fits beside the flag.
    [&[SEQUENCE, 0x80 | u8::try_from(octets.len()).unwrap_or(8)], octets.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::pin::Pin;
    use std::fs;

    fn mozilla(pin: &str) -> (TrustAnchors, Option<usize>) {
        let set = TrustAnchors::load(&AnchorSource::Mozilla, &[], &[]).unwrap();
        let pin = Pin::parse(pin).unwrap();
        let index = set.records.iter().position(|record| record.element.spki == *pin.digest());
        (set, index)
    }

    #[test]
    fn the_bare_contents_are_not_what_is_hashed() {
        let (set, index) = mozilla("sha256/o6Ps3BqdZiBjXQLC6Gvp9V34Ezi/PeXYLtqdKhjkkxU=");
        assert_eq!(index, None, "this is ISRG Root X1 without the SEQUENCE header");
        let wrong = set.anchors.iter().any(|anchor| {
            Pin::Spki(sha256(anchor.subject_public_key_info.as_ref())).to_string()
                == "sha256/o6Ps3BqdZiBjXQLC6Gvp9V34Ezi/PeXYLtqdKhjkkxU="
        });
        assert!(wrong, "the wrong digest is the one of the bare contents");
    }

    #[test]
    fn published_pins_of_public_roots() {
        let table = [
            ("C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=", "ISRG Root X1"),
            ("diGVwiVYbubAI3RW4hB9xU8e/CH2GnkuvVFZE8zmgzI=", "ISRG Root X2"),
            ("hxqRlPTu1bMS/0DITB1SSu0vd4u/8l8TjPgfaAp63Gc=", "GTS Root R1"),
            ("mEflZT5enoR1FuXLgYYGqnVEoZvmf9c2bVBpiOjYQ0c=", "GTS Root R4"),
            ("++MBgDH5WGvL9Bcn5Be30cRcL0f5O+NyoXuWtQdX1aI=", "Amazon Root CA 1"),
            ("i7WTqTvh0OioIruIfFR4kMPnBqrS2rdiVPl/s2uC/CY=", "DigiCert Global Root G2"),
        ];
        for (pin, name) in table {
            let (set, index) = mozilla(pin);
            let record = &set.records[index.unwrap_or_else(|| panic!("{name} not found by its pin"))];
            let (_, parsed) = x509_parser::parse_x509_certificate(&record.certificate).unwrap();
            assert!(parsed.subject().to_string().contains(name), "{} is not {name}", parsed.subject());
            assert_eq!(sha256(parsed.public_key().raw), record.element.spki, "x509-parser agrees on {name}");
        }
    }

    #[test]
    fn every_key_is_the_one_in_its_certificate() {
        let set = TrustAnchors::load(&AnchorSource::Mozilla, &[], &[]).unwrap();
        assert!(set.len() > 100);
        for (anchor, record) in set.anchors.iter().zip(&set.records) {
            let header = sequence_header(anchor.subject_public_key_info.len());
            let whole = [header.as_slice(), anchor.subject_public_key_info.as_ref()].concat();
            assert!(record.certificate.windows(whole.len()).any(|window| window == whole));
            assert_eq!(set.record(anchor).map(|r| &r.certificate), Some(&record.certificate));
        }
    }

    #[test]
    fn lengths() {
        assert_eq!(sequence_header(0x7f), [0x30, 0x7f]);
        assert_eq!(sequence_header(0x80), [0x30, 0x81, 0x80]);
        assert_eq!(sequence_header(0x100), [0x30, 0x82, 1, 0]);
        assert_eq!(sequence_header(0x1_0000), [0x30, 0x83, 1, 0, 0]);
    }

    #[test]
    fn files_that_are_no_anchors() {
        let folder = tempfile::tempdir().unwrap();
        let load = |name: &str, text: &[u8], own: &[CertificateDer<'static>]| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            TrustAnchors::load(&AnchorSource::File(path), &[], own).map(|set| set.len()).map_err(|e| e.to_string())
        };
        let root = webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].clone();
        let pem = |der: &[u8]| {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(der);
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n").into_bytes()
        };
        assert!(load("empty", b"", &[]).unwrap_err().contains("holds no certificate"));
        assert!(load("text", b"hello", &[]).unwrap_err().contains("holds no certificate"));
        assert!(load("junk", &pem(b"junk"), &[]).unwrap_err().contains("not a certificate"));
        assert!(load("cut", &pem(&root)[..300], &[]).unwrap_err().contains("not a certificate in PEM form"));
        assert!(load("own", &pem(&root), std::slice::from_ref(&root)).unwrap_err().contains("proxy's own CA"));
        let key = rcgen::KeyPair::generate().unwrap();
        let issued = || rcgen::CertificateParams::default().self_signed(&key).unwrap().der().clone();
        let (first, renewed) = (issued(), issued());
        assert_ne!(first, renewed);
        assert!(load("renewed", &pem(&renewed), &[first]).unwrap_err().contains("proxy's own CA"));
        assert_eq!(load("twice", &[pem(&root), pem(&root)].concat(), &[]), Ok(1));
        let exempting = |name: &str| {
            let extra = ExtraAnchors { path: folder.path().join(name), exempts_pins: true };
            let set = TrustAnchors::load(&AnchorSource::Mozilla, &[extra], &[]);
            set.map(|set| set.records().iter().filter(|record| record.exempts_pins).count()).map_err(|e| e.to_string())
        };
        fs::write(folder.path().join("mixed"), [pem(&renewed), pem(&root)].concat()).unwrap();
        assert!(exempting("mixed").unwrap_err().contains("holds a public root ("));
        assert_eq!(exempting("renewed"), Ok(1));
        let missing = TrustAnchors::load(&AnchorSource::File(folder.path().join("none")), &[], &[]);
        assert!(missing.unwrap_err().to_string().contains("cannot read the trust anchors"));
    }
}
