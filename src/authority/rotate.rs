//! Begins, ends and gives up a rotation ([`super::rotation`]), under the lock of the CA's directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use x509_parser::oid_registry::{
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_NAME_CONSTRAINTS,
};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Extension};

use super::certificate_pem;
use super::error::CaError;
use super::issue::Subject;
use super::keys::KeyFamily;
use super::look::certificates_at;
use super::make::{Algorithm, Made, PATH_LENGTH, make};
use super::pair::{CaPair, PairPaths, key_identifier};
use super::refusal::RotateError;
use super::rotation::Rotation;
use super::standing::Outlook;
use super::store::{Files, Loaded};
use super::text::pem;
use super::validity::{date_text, system_time, unix_seconds};
use super::write::{rename, replace, write_pair};

/// How long the CA that is replaced stays beside the next one after that has begun to sign, unless somebody insists: a week,
/// so that a client that still knows the old one alone is found before it is locked out.
pub const OVERLAP_MIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Makes the CA that follows, which signs from a date on, and certifies each of the two with the other. Without an algorithm
/// its key is of the family of the key of the one that signs now.
///
/// # Errors
/// [`RotateError`].
pub fn begin(
    directory: &Path,
    from: SystemTime,
    algorithm: Option<Algorithm>,
    now: SystemTime,
) -> Result<Outlook, RotateError> {
    let files = Files::existing(directory)?;
    let lock = files.lock()?;
    if files.rotation()?.is_some() {
        return Err(RotateError::UnderWay(files.rotation));
    }
    let next = [&files.next.key, &files.next.certificate];
    if let Some(left) = next.into_iter().find(|path| fs::symlink_metadata(path).is_ok()) {
        return Err(RotateError::Left(left.clone()));
    }
    let Loaded { pair: current, .. } = files.load_both(now)?;
    verify_dates(&current, from, now)?;
    let algorithm = algorithm.unwrap_or(match current.issuer.key_family() {
        KeyFamily::Ecdsa => Algorithm::P256,
        KeyFamily::Rsa => Algorithm::Rsa2048,
    });
    let (made, rotation) = follow(&files, &current, make(algorithm, now)?, from, now)?;
    write_pair(&files.next, &made, Some(&files.own))?;
    // What is not whole is not there: the pair alone makes no rotation.
    let written = files.sync(&lock).and_then(|()| replace(&files.rotation, &rotation.text(), &files.own.certificate));
    if let Err(error) = written.and_then(|()| files.sync(&lock)) {
        remove(&[&files.rotation, &files.next.key, &files.next.certificate]).ok();
        return Err(error.into());
    }
    Ok(Outlook::of(&files.load_both(now)?))
}

fn verify_dates(current: &CaPair, from: SystemTime, now: SystemTime) -> Result<(), RotateError> {
    let told = |time| date_text(unix_seconds(time));
    if unix_seconds(from) < unix_seconds(now) {
        return Err(RotateError::Past(told(from)));
    }
    let end = system_time(current.issuer.validity().not_after);
    if from >= end {
        return Err(RotateError::EndsBefore { end: told(end), from: told(from) });
    }
    Ok(())
}

/// The CA that was made, as the follower of another one, and the rotation between them.
///
/// Where the current CA lets no other be between itself and leaves, its follower gets its name: a CA between two of one name
/// is self-issued, and does not count (RFC 5280 sections 3.2 and 4.2.1.9, RFC 9810 section 4.4). Else it has a name of its
/// own, which people and trust stores tell apart more easily.
fn follow(
    files: &Files,
    current: &CaPair,
    made: Made,
    from: SystemTime,
    now: SystemTime,
) -> Result<(Made, Rotation), RotateError> {
    let generated = |reason: super::IssueError| CaError::Generate(reason.to_string());
    let outside = || CaError::Generate("the two CAs are never valid together".into());
    let (path, key) = (&files.own.certificate, &files.next.key);
    let own = parse(path, &current.certificates[0])?;
    verify_plain(&own)?;
    let key_pem = pem("PRIVATE KEY", &made.key_der);
    let paths = PairPaths { certificate: &files.next.certificate, key };
    let next = CaPair::parse(paths, pem("CERTIFICATE", &made.certificate).as_bytes(), key_pem.as_bytes(), now)?;
    let drafted = parse(&files.next.certificate, &made.certificate)?;
    let constraints = own.basic_constraints().ok().flatten();
    let is_last = constraints.is_some_and(|constraints| constraints.value.path_len_constraint == Some(0));
    let name = if is_last { own.subject() } else { drafted.subject() }.as_raw();
    let (own_identifier, identifier) = (key_identifier(path, &own)?, key_identifier(paths.certificate, &drafted)?);
    let current_subject =
        Subject { name: own.subject().as_raw(), public_key: own.public_key().raw, key_identifier: &own_identifier };
    let next_subject = Subject { name, public_key: drafted.public_key().raw, key_identifier: &identifier };
    let issuer = next.issuer.named(name.to_vec());
    let certificate = if is_last {
        issuer.certify(next_subject, issuer.validity(), PATH_LENGTH).map_err(generated)?
    } else {
        made.certificate.clone()
    };
    let both = current.issuer.validity().within(issuer.validity()).ok_or_else(outside)?;
    let current_by_next = issuer.certify(current_subject, both, 0).map_err(generated)?;
    let next_by_current = current.issuer.certify(next_subject, both, 0).map_err(generated)?;
    let rotation = Rotation::new(from, &current.certificates[0], &certificate, current_by_next, next_by_current);
    Ok((Made { certificate, ..made }, rotation))
}

fn parse<'d>(path: &Path, der: &'d CertificateDer<'_>) -> Result<X509Certificate<'d>, CaError> {
    let refused = |reason: String| CaError::CertificateDer { path: path.to_owned(), position: 1, reason };
    X509Certificate::from_der(der).map(|(_, parsed)| parsed).map_err(|error| refused(error.to_string()))
}

/// Refuses a CA that a root which is made here cannot take the place of.
fn verify_plain(ca: &X509Certificate<'_>) -> Result<(), RotateError> {
    if ca.issuer().as_raw() != ca.subject().as_raw() {
        let (subject, issuer) = (ca.subject().to_string(), ca.issuer().to_string());
        return Err(RotateError::Issued { subject, issuer });
    }
    let is_known = |extension: &X509Extension<'_>| {
        [OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_KEY_USAGE].contains(&extension.oid)
    };
    let restricts = |extension: &&X509Extension<'_>| {
        let uses = [OID_X509_EXT_NAME_CONSTRAINTS, OID_X509_EXT_EXTENDED_KEY_USAGE];
        uses.contains(&extension.oid) || (extension.critical && !is_known(extension))
    };
    match ca.extensions().iter().find(restricts) {
        Some(extension) => Err(RotateError::Restricted(extension.oid.to_id_string())),
        None => Ok(()),
    }
}

/// The CA, and the one that follows on it.
///
/// # Errors
/// [`CaError`], when either cannot be used.
pub fn outlook(directory: &Path, now: SystemTime) -> Result<Outlook, CaError> {
    let files = Files::existing(directory)?;
    let _lock = files.lock()?;
    Ok(Outlook::of(&files.load_both(now)?))
}

/// Puts the next CA into the place of the one that it follows on. The certificate of that is kept, its key is no more.
/// Goes on with what was interrupted.
///
/// # Errors
/// [`RotateError`]; unless `force` is set before [`OVERLAP_MIN`] is over.
pub fn finish(directory: &Path, force: bool, now: SystemTime) -> Result<Outlook, RotateError> {
    let files = Files::existing(directory)?;
    let lock = files.lock()?;
    let (_, rotation) = files.rotation()?.ok_or_else(|| RotateError::None(files.directory.clone()))?;
    if !is_half_finished(&files, &rotation)? {
        if !force {
            verify_overlap(&rotation, now)?;
        }
        let Loaded { pair, .. } = files.load_both(now)?;
        retire(&files, pair.certificates)?;
        rename(&files.next.certificate, &files.own.certificate)?;
    }
    if fs::symlink_metadata(&files.next.key).is_ok() {
        rename(&files.next.key, &files.own.key)?;
    }
    files.sync(&lock)?;
    remove(&[&files.rotation])?;
    files.sync(&lock)?;
    Ok(Outlook::of(&files.load_both(now)?))
}

fn verify_overlap(rotation: &Rotation, now: SystemTime) -> Result<(), RotateError> {
    let since = date_text(rotation.from);
    if now < rotation.from() {
        return Err(RotateError::TooEarly(since));
    }
    match rotation.from().checked_add(OVERLAP_MIN) {
        Some(until) if now < until => Err(RotateError::Overlapping { since, until: date_text(unix_seconds(until)) }),
        _ => Ok(()),
    }
}

/// Whether the certificate of the next CA has its new place.
fn is_half_finished(files: &Files, rotation: &Rotation) -> Result<bool, CaError> {
    let certificates = files.certificates(&files.own.certificate)?;
    Ok(certificates.is_some_and(|certificates| rotation.is_to(&certificates[0])))
}

/// Removes the next CA, or what is left of one. Gives the files that are no more.
///
/// # Errors
/// [`RotateError`]; unless `force` is set from the date of the rotation on.
pub fn abort(directory: &Path, force: bool, now: SystemTime) -> Result<Vec<PathBuf>, RotateError> {
    let files = Files::existing(directory)?;
    let lock = files.lock()?;
    match files.rotation() {
        Ok(Some((_, rotation))) if is_half_finished(&files, &rotation)? => return Err(RotateError::Finishing),
        Ok(Some((_, rotation))) if !force && now >= rotation.from() => {
            return Err(RotateError::TakenOver(date_text(rotation.from)));
        }
        Err(error) if !force => return Err(RotateError::Unknown(error)),
        Ok(_) | Err(_) => {}
    }
    // Somebody may have been told to trust it already.
    retire(&files, certificates_at(&files.next.certificate))?;
    // First of all what makes a rotation of the others.
    let mut removed = remove(&[&files.rotation])?;
    files.sync(&lock)?;
    removed.extend(remove(&[&files.next.key, &files.next.certificate])?);
    files.sync(&lock)?;
    if removed.is_empty() { Err(RotateError::None(files.directory)) } else { Ok(removed) }
}

/// Remembers certificates as those of a CA that is no more.
fn retire(files: &Files, certificates: Vec<CertificateDer<'static>>) -> Result<(), CaError> {
    let known = certificates_at(&files.previous);
    let new: Vec<_> = certificates.into_iter().filter(|certificate| !known.contains(certificate)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let pem: String = new.iter().chain(&known).map(certificate_pem).collect();
    replace(&files.previous, &pem, &files.own.certificate)
}

/// Removes files, and gives those that were there.
fn remove(paths: &[&PathBuf]) -> Result<Vec<PathBuf>, CaError> {
    let mut removed = Vec::new();
    for path in paths {
        match fs::remove_file(path) {
            Ok(()) => removed.push((*path).clone()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(CaError::Write { path: (*path).clone(), source }),
        }
    }
    Ok(removed)
}
