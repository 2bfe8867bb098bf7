//! What can go wrong with the local CA, told with the file it is about and what to do.

use super::rotation::RotationError;
use crate::files::{AccessError, Role};
use std::io;
use std::path::PathBuf;

/// Why the local CA cannot be used. Nothing is ever regenerated because of one of these: clients trust the CA they were
/// given, and a new one would lock them all out.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The directory cannot be created, opened or synchronised.
    #[error("the CA directory {} cannot be used: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// The directory cannot be locked against another process that starts now.
    #[error("the CA directory {} cannot be locked: {source}", path.display())]
    Lock {
        /// The directory.
        path: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// Neither file is there, and creating was not asked for.
    #[error("there is no CA: neither {} nor {} exists", certificate.display(), key.display())]
    Missing {
        /// Where the certificate should be.
        certificate: PathBuf,
        /// Where the key should be.
        key: PathBuf,
    },
    /// A certificate without its key.
    #[error(
        "{} exists, but its key {} is missing; put the key back, or move the certificate away to have a new CA made \
         (every client must then trust the new one)",
        certificate.display(), key.display()
    )]
    MissingKey {
        /// The certificate that is there.
        certificate: PathBuf,
        /// The key that is not.
        key: PathBuf,
    },
    /// A key without its certificate.
    #[error(
        "{} exists, but its certificate {} is missing; put the certificate back, or move the key away to have a new \
         CA made (every client must then trust the new one)",
        key.display(), certificate.display()
    )]
    MissingCertificate {
        /// The certificate that is not there.
        certificate: PathBuf,
        /// The key that is.
        key: PathBuf,
    },
    /// A file cannot be opened or read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// A file cannot be created, written or synchronised.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// Others can put files into the CA directory, or into one on the way to it.
    #[error(
        "the directory {} has mode {mode:04o}, so others than its owner (uid {owner}) can replace the CA; \
         run: chmod go-w {}",
        path.display(), path.display()
    )]
    DirectoryPermissions {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The uid that owns it.
        owner: u32,
    },
    /// The CA directory, or one on the way to it, belongs to neither us nor root.
    #[error(
        "the directory {} (mode {mode:04o}) belongs to uid {owner}, who can replace the CA; \
         run: chown {expected} {}, or keep the CA elsewhere",
        path.display(), path.display()
    )]
    DirectoryOwner {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The uid that owns it.
        owner: u32,
        /// Our effective uid.
        expected: u32,
    },
    /// A symbolic link on the way to the CA belongs to neither us nor root.
    #[error(
        "the symbolic link {} belongs to uid {owner}, who can replace the CA; run: chown -h {expected} {}",
        path.display(), path.display()
    )]
    LinkOwner {
        /// The link.
        path: PathBuf,
        /// The uid that owns it.
        owner: u32,
        /// Our effective uid.
        expected: u32,
    },
    /// One of the two names is a pipe, a device, a socket or a directory.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// What should be a file.
        path: PathBuf,
    },
    /// Others can write to the certificate file.
    #[error(
        "{} has mode {mode:04o}, so others than its owner can replace the CA certificate; run: chmod go-w {}",
        path.display(), path.display()
    )]
    CertificatePermissions {
        /// The certificate file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The certificate file belongs to neither us nor root.
    #[error(
        "{} belongs to uid {owner}, who can replace the CA certificate; run: chown {expected} {}",
        path.display(), path.display()
    )]
    CertificateOwner {
        /// The certificate file.
        path: PathBuf,
        /// The uid that owns it.
        owner: u32,
        /// Our effective uid.
        expected: u32,
    },
    /// Somebody besides the owner may use the key file, and it is not a group of ours that may read what is root's.
    #[error(
        "{} has mode {mode:04o}, so others than its owner can get at the CA key; run: chmod 600 {}",
        path.display(), path.display()
    )]
    KeyPermissions {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file belongs to neither us nor root.
    #[error(
        "{} belongs to uid {owner}, who can replace the CA key; run: chown {expected} {}",
        path.display(), path.display()
    )]
    KeyOwner {
        /// The key file.
        path: PathBuf,
        /// The uid that owns it.
        owner: u32,
        /// Our effective uid.
        expected: u32,
    },
    /// The certificate file is not PEM, or is cut short.
    #[error("{} is not a PEM file of certificates: {reason}", path.display())]
    CertificatePem {
        /// The certificate file.
        path: PathBuf,
        /// What the PEM reader says.
        reason: String,
    },
    /// A certificate in the file is not an X.509 certificate.
    #[error("certificate {position} in {} cannot be parsed: {reason}", path.display())]
    CertificateDer {
        /// The certificate file.
        path: PathBuf,
        /// Which one, counted from 1.
        position: usize,
        /// What the parser says.
        reason: String,
    },
    /// The certificates after the first are not each the issuer of the one before.
    #[error(
        "certificate {position} in {} is not the issuer of the one before it; put the CA that owns ca.key first, \
         then its issuer, and so on",
        path.display()
    )]
    ChainOrder {
        /// The certificate file.
        path: PathBuf,
        /// Which one, counted from 1.
        position: usize,
    },
    /// The key file holds no private key in clear. What the reader found is not told, it may be key material.
    #[error("{} holds no complete unencrypted private key in PEM (PKCS#8, SEC1 or PKCS#1)", path.display())]
    KeyPem {
        /// The key file.
        path: PathBuf,
    },
    /// A key that clients would not accept signatures of, or that cannot be loaded.
    #[error("the key in {} is not usable for a CA: ECDSA P-256, ECDSA P-384 and RSA (2048 bits or more) are", path.display())]
    KeyUnsupported {
        /// The key file.
        path: PathBuf,
    },
    /// Certificate and key are not a pair.
    #[error("{} does not certify the key in {}; restore the two files together", certificate.display(), key.display())]
    KeyMismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The certificate is not one of a CA.
    #[error("the first certificate in {} is not a CA certificate (basicConstraints CA:TRUE)", path.display())]
    NotCa {
        /// The certificate file.
        path: PathBuf,
    },
    /// The certificate does not allow its key to sign certificates.
    #[error("the CA certificate in {} does not have keyCertSign in its keyUsage", path.display())]
    NoKeyCertSign {
        /// The certificate file.
        path: PathBuf,
    },
    /// The certificate is restricted to purposes other than TLS servers.
    #[error("the CA certificate in {} is restricted to uses (extendedKeyUsage) without serverAuth", path.display())]
    NoServerAuth {
        /// The certificate file.
        path: PathBuf,
    },
    /// No subject key identifier. RFC 5280 section 4.2.1.2 requires one of a CA, Python 3.13 and later refuse chains
    /// without it, and there would be nothing for the leaves to refer to.
    #[error("the CA certificate in {} has no subjectKeyIdentifier, which strict clients require", path.display())]
    NoSubjectKeyIdentifier {
        /// The certificate file.
        path: PathBuf,
    },
    /// The CA certificate has ended.
    #[error("the CA certificate in {} expired at {not_after} (now: {now})", path.display())]
    Expired {
        /// The certificate file.
        path: PathBuf,
        /// Its last second, RFC 3339.
        not_after: String,
        /// The time of the check, RFC 3339.
        now: String,
    },
    /// The CA certificate has not begun: a wrong date in it, or a wrong clock here.
    #[error("the CA certificate in {} is not valid before {not_before} (now: {now}; is the clock right?)", path.display())]
    NotYetValid {
        /// The certificate file.
        path: PathBuf,
        /// Its first second, RFC 3339.
        not_before: String,
        /// The time of the check, RFC 3339.
        now: String,
    },
    /// A rotation runs, and cannot be used.
    #[error(transparent)]
    Rotation(Box<RotationError>),
    /// Keys or certificates could not be made.
    #[error("the keys or the certificate of the local CA could not be generated: {0}")]
    Generate(String),
}

impl CaError {
    /// Who owns the files, if that is what is wrong with them: to that user they may be good.
    pub const fn owner(&self) -> Option<u32> {
        match self {
            Self::DirectoryOwner { owner, .. }
            | Self::LinkOwner { owner, .. }
            | Self::CertificateOwner { owner, .. }
            | Self::KeyOwner { owner, .. } => Some(*owner),
            _ => None,
        }
    }

    /// Of what the judge of files has found, in the words of the CA.
    pub(super) fn of_access(error: AccessError, role: Role) -> Self {
        match (error, role) {
            (AccessError::Folder { path, source }, _) => Self::Directory { path, source },
            (AccessError::Read { path, source }, _) => Self::Read { path, source },
            (AccessError::FolderPermissions { path, mode, owner }, _) => {
                Self::DirectoryPermissions { path, mode, owner }
            }
            (AccessError::FolderOwner { path, mode, owner, expected }, _) => {
                Self::DirectoryOwner { path, mode, owner, expected }
            }
            (AccessError::LinkOwner { path, owner, expected }, _) => Self::LinkOwner { path, owner, expected },
            (AccessError::NotRegular { path }, _) => Self::NotRegular { path },
            (AccessError::FilePermissions { path, mode }, Role::Public) => Self::CertificatePermissions { path, mode },
            (AccessError::FilePermissions { path, mode }, Role::Secret) => Self::KeyPermissions { path, mode },
            (AccessError::FileOwner { path, owner, expected }, Role::Public) => {
                Self::CertificateOwner { path, owner, expected }
            }
            (AccessError::FileOwner { path, owner, expected }, Role::Secret) => {
                Self::KeyOwner { path, owner, expected }
            }
        }
    }
}

/// Why no leaf was issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The name is not in canonical form (lower case, no trailing dot): the caller did not canonicalise it.
    #[error("{0:?} is not a canonical host name, so no certificate is issued for it")]
    Name(String),
    /// The CA certificate has ended since it was loaded.
    #[error("the local CA expired at {0}; it must be replaced")]
    CaExpired(String),
    /// The clock is before the start of the CA certificate.
    #[error("the local CA is not valid before {0}; is the clock right?")]
    CaNotYetValid(String),
    /// The upstream certificate has ended, so a leaf within its lifetime would have ended too.
    #[error("the upstream certificate expired at {0}")]
    UpstreamExpired(String),
    /// No random numbers from the operating system.
    #[error("no random numbers for a serial number")]
    Random,
    /// A leaf key could not be generated.
    #[error("a leaf key could not be generated: {0}")]
    LeafKey(String),
    /// The certificate could not be encoded.
    #[error("the certificate could not be encoded: {0}")]
    Encoding(String),
    /// The CA key refused to sign.
    #[error("the CA key could not sign: {0}")]
    Signing(String),
}

/// Why a leaf lifetime is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafLifetimeError {
    /// Shorter than [`super::LeafLifetime::MIN`].
    #[error("a leaf lifetime must be at least 2 hours, the first of which is past when the leaf is issued")]
    TooShort,
    /// Longer than [`super::LeafLifetime::MAX`].
    #[error("a leaf lifetime must be at most 7 days")]
    TooLong,
}
