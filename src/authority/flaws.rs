//! What is wrong with a rotation as far as everybody may know it: no key is opened, and no owner is judged.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::look::{certificates_at, content_of};
use super::rotation::{Rotation, RotationError, files};
use super::validity::{date_text, unix_seconds};

/// Something that is wrong with a rotation.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// The proxy does not start with it.
    #[error(transparent)]
    Unusable(RotationError),
    /// What is there has no effect.
    #[error("{} is left of a rotation, and has no effect", .0.display())]
    Left(PathBuf),
    /// The CA that was has ended, or ends too early.
    #[error("the CA that the next one follows on ends on {end}, {}", if *is_over {
        "and is still there"
    } else {
        "before the next one signs: no client can connect in between"
    })]
    Ends {
        /// When, RFC 3339.
        end: String,
        /// Whether that has been.
        is_over: bool,
    },
}

/// What is wrong with the rotation in a directory of a CA; nothing where there is none.
pub fn flaws(directory: &Path, now: SystemTime) -> Vec<Flaw> {
    let [certificate, key, next, next_key, rotation, _] = files(directory);
    let Some(content) = content_of(&rotation) else {
        let left = [next, next_key].into_iter().find(|path| path.exists());
        return left.map(Flaw::Left).into_iter().collect();
    };
    let unusable = |error| vec![Flaw::Unusable(error)];
    let written = match Rotation::parse(&rotation, &content) {
        Ok(written) => written,
        Err(error) => return unusable(error),
    };
    // Without a CA there is more to tell than this, and others do.
    let Some(current) = certificates_at(&certificate).into_iter().next() else { return Vec::new() };
    if written.is_to(&current) {
        // The last step of a rotation that was finished; the step before takes the key away.
        let is_halved = next_key.exists();
        return if is_halved {
            unusable(RotationError::Interrupted { certificate, key })
        } else {
            vec![Flaw::Left(rotation)]
        };
    }
    let following = certificates_at(&next).into_iter().next();
    match following {
        _ if !written.is_from(&current) => unusable(RotationError::Another { rotation, path: certificate }),
        None => unusable(RotationError::Missing { rotation, missing: next }),
        Some(following) if !written.is_to(&following) => unusable(RotationError::Another { rotation, path: next }),
        Some(_) if !next_key.exists() => unusable(RotationError::Missing { rotation, missing: next_key }),
        Some(_) => ends(&current, &written, now).into_iter().collect(),
    }
}

fn ends(current: &CertificateDer<'_>, rotation: &Rotation, now: SystemTime) -> Option<Flaw> {
    let (_, parsed) = X509Certificate::from_der(current).ok()?;
    let end = parsed.validity().not_after.timestamp();
    let is_over = unix_seconds(now) > end;
    (is_over || end < rotation.from).then(|| Flaw::Ends { end: date_text(end), is_over })
}
