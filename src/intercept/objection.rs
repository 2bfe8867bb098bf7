//! What a client may have against the leaf that it was shown and turned down: most TLS stacks say no more than a number.
//! A client that offers nothing which the key of the leaf goes with is shown none; that takes `[ca] leaf_key`, and is
//! [`AcceptError::Unsuited`].

use super::accept::AcceptError;
use crate::authority::{CertificateAuthority, KeyFamily};
use rustls::AlertDescription;
use std::fmt;
use std::path::{Path, PathBuf};

/// The client offers signatures of one family only, and the CA signs with the other, whatever key the leaf has. Some verify
/// the leaf all the same, so it is shown, and this is told only of those that fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMismatch {
    /// The one family in the ClientHello.
    client: KeyFamily,
    /// That of the CA's key.
    ca: KeyFamily,
    /// Where another CA would have to be.
    directory: PathBuf,
}

impl KeyMismatch {
    /// Whether a client that offers to verify this family alone may be unable to verify what was signed with the other.
    pub(super) fn of(client: KeyFamily, ca: KeyFamily, authority: &CertificateAuthority) -> Option<Self> {
        if client == ca {
            return None;
        }
        let directory = authority.certificate_path().parent().unwrap_or(Path::new("."));
        // Who reads the log is seldom where the proxy was started.
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        Some(Self { client, ca, directory })
    }

    /// Adds this to a failure that it can be the cause of.
    pub(super) fn explain(self, failure: AcceptError) -> AcceptError {
        if may_be_over_signatures(&failure) {
            AcceptError::Unverifiable { failure: Box::new(failure), mismatch: self }
        } else {
            failure
        }
    }
}

impl fmt::Display for KeyMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, ca, directory } = self;
        write!(
            f,
            "it offers {client} signatures and no {ca}, which is what the CA's key makes, so it may be unable to verify \
             the leaf: if it does trust the CA, put one with an {client} key into {} (README.md says how, under \
             \"Old clients\")",
            directory.display()
        )
    }
}

/// Whether it can be what a client does that cannot verify the CA's signature. Stacks differ much in the alert for it:
/// rustls says decrypt_error, Java certificate_unknown, NSS bad_certificate, GnuTLS closes. Other alerts name another
/// cause.
fn may_be_over_signatures(failure: &AcceptError) -> bool {
    use AlertDescription as A;
    match failure {
        AcceptError::Closed | AcceptError::Io(_) => true,
        AcceptError::Alert(alert) => matches!(
            alert,
            A::HandshakeFailure
                | A::BadCertificate
                | A::UnsupportedCertificate
                | A::CertificateUnknown
                | A::IllegalParameter
                | A::DecryptError
                | A::InsufficientSecurity
                | A::InternalError
        ),
        AcceptError::Issue(_)
        | AcceptError::Name(_)
        | AcceptError::NoPermit
        | AcceptError::Unverifiable { .. }
        | AcceptError::Unsuited { .. }
        | AcceptError::Protocol(_)
        | AcceptError::Timeout(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::time::Duration;

    fn explained(failure: AcceptError, client: KeyFamily, ca: KeyFamily) -> String {
        KeyMismatch { client, ca, directory: "/srv/ca".into() }.explain(failure).to_string()
    }

    #[test]
    fn the_words_say_what_the_client_takes_what_the_ca_has_and_what_to_do() {
        const RSA_CLIENT: &str = "; it offers RSA signatures and no ECDSA, which is what the CA's key makes, so it may be \
                                  unable to verify the leaf: if it does trust the CA, put one with an RSA key into \
                                  /srv/ca (README.md says how, under \"Old clients\")";
        let reset = || AcceptError::Io(io::ErrorKind::ConnectionReset.into());
        let table = [
            (
                AcceptError::Alert(AlertDescription::DecryptError),
                "the client ended the TLS handshake with the alert DecryptError",
            ),
            (
                AcceptError::Alert(AlertDescription::CertificateUnknown),
                "the client ended the TLS handshake with the alert CertificateUnknown: it may not trust the proxy's CA \
                 certificate",
            ),
            (
                AcceptError::Closed,
                "the client closed the connection during the TLS handshake; it may not trust the proxy's CA",
            ),
            (reset(), "the connection to the client failed: connection reset"),
        ];
        for (failure, words) in table {
            assert_eq!(failure.to_string(), words);
            assert_eq!(explained(failure, KeyFamily::Rsa, KeyFamily::Ecdsa), format!("{words}{RSA_CLIENT}"));
        }
        let modern = explained(AcceptError::Closed, KeyFamily::Ecdsa, KeyFamily::Rsa);
        assert!(
            modern.contains("; it offers ECDSA signatures and no RSA, which is what the CA's key makes, so"),
            "{modern}"
        );
        assert!(modern.contains(", put one with an ECDSA key into /srv/ca ("), "{modern}");
    }

    #[test]
    fn failures_with_another_cause_are_told_as_they_are() {
        let table = [
            AcceptError::Alert(AlertDescription::UnknownCA),
            AcceptError::Alert(AlertDescription::CertificateExpired),
            AcceptError::Alert(AlertDescription::CertificateRevoked),
            AcceptError::Alert(AlertDescription::NoApplicationProtocol),
            AcceptError::Alert(AlertDescription::ProtocolVersion),
            AcceptError::Protocol(rustls::Error::HandshakeNotComplete),
            AcceptError::Timeout(Duration::from_secs(1)),
            AcceptError::NoPermit,
        ];
        for failure in table {
            let words = failure.to_string();
            assert_eq!(explained(failure, KeyFamily::Rsa, KeyFamily::Ecdsa), words);
        }
    }
}
