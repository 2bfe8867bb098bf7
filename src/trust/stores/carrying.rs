//! Carrying out a plan.

use super::Order;
use super::found::Machine;
use super::plan::{Call, Look, Plan, Step};
use super::running::{Ended, run};
use crate::authority::certificate_pem;
use crate::files;
use rustix::fs::{Access, access};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Largest file of a store that is read, in octets.
const STORE_OCTETS_MAX: usize = 64 << 20;
/// The mode of a file with a certificate that everybody may read.
const CERTIFICATE_MODE: u32 = 0o644;

/// What came of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is trusted now.
    Installed,
    /// It was trusted before, by us.
    AlreadyInstalled,
    /// It was trusted before, and somebody else has seen to that.
    TrustedByOthers,
    /// It is gone.
    Removed,
    /// We had put nothing there.
    NothingToRemove,
    /// We had put nothing there; it is trusted all the same, which is left as it is.
    LeftToOthers,
}

impl Outcome {
    /// For programs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::AlreadyInstalled => "already_installed",
            Self::TrustedByOthers => "trusted_by_others",
            Self::Removed => "removed",
            Self::NothingToRemove => "nothing_to_remove",
            Self::LeftToOthers => "left_to_others",
        }
    }
}

/// Why a plan came to nothing. What it had done until then is undone.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// This user must not.
    #[error("this user must not write to {}", .0.display())]
    Rights(PathBuf),
    /// A program is not installed.
    #[error("{} is not installed{}", .0.display(), package(.0))]
    Missing(PathBuf),
    /// A program cannot be started.
    #[error("{call} cannot be run: {source}")]
    Start {
        /// The program.
        call: Call,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// A program says that it has not worked.
    #[error("{call} {}: {said}", end(*code))]
    Failed {
        /// The program.
        call: Call,
        /// Its exit code; none when a signal ended it.
        code: Option<i32>,
        /// What it said.
        said: String,
    },
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// A file cannot be written or removed.
    #[error("{} cannot be written: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// What has our name is not, or not only, this certificate.
    #[error("another certificate has the name that this one would have there; it is left alone")]
    Foreign,
    /// All went well, and nothing has come of it.
    #[error("everything was done, and the store shows no effect of it")]
    WithoutEffect,
}

/// What is in the place that has our name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    Nothing,
    This,
    Another,
}

/// What a look at a store has shown.
struct Seen {
    ours: Ours,
    /// Whether the store has the certificate, whoever has put it there.
    has_it: bool,
}

impl Plan {
    /// Does what it says, unless it is so already; looks before and after.
    ///
    /// # Errors
    /// [`CarryError`]; then the store is as it was, as far as that is in our hands.
    pub fn carry_out(&self, machine: &Machine) -> Result<Outcome, CarryError> {
        let seen = self.look_at(machine)?;
        match (self.order, seen.ours, seen.has_it) {
            (_, Ours::Another, _) => return Err(CarryError::Foreign),
            (Order::Install, Ours::This, true) => return Ok(Outcome::AlreadyInstalled),
            (Order::Install, Ours::Nothing, true) => return Ok(Outcome::TrustedByOthers),
            (Order::Uninstall, Ours::Nothing, true) => return Ok(Outcome::LeftToOthers),
            (Order::Uninstall, Ours::Nothing, false) => return Ok(Outcome::NothingToRemove),
            (Order::Install, Ours::This | Ours::Nothing, false) | (Order::Uninstall, Ours::This, _) => {}
        }
        if let Some(path) = self.writes.as_deref().filter(|path| access(*path, Access::WRITE_OK).is_err()) {
            return Err(CarryError::Rights(path.to_owned()));
        }
        for (position, step) in self.steps.iter().enumerate() {
            if let Err(error) = self.take(step, machine) {
                self.undo(&self.steps[..position]);
                return Err(error);
            }
        }
        let seen = self.look_at(machine)?;
        match (self.order, seen.ours) {
            (Order::Install, Ours::This) if seen.has_it => Ok(Outcome::Installed),
            (Order::Uninstall, Ours::Nothing) if !seen.has_it => Ok(Outcome::Removed),
            (Order::Uninstall, Ours::Nothing) => Ok(Outcome::LeftToOthers),
            _ => {
                self.undo(&self.steps);
                Err(CarryError::WithoutEffect)
            }
        }
    }

    fn take(&self, step: &Step, machine: &Machine) -> Result<(), CarryError> {
        let failed = |path: &Path, source| CarryError::File { path: path.to_owned(), source };
        match step {
            Step::Write(path) => {
                let pem = certificate_pem(&self.certificate);
                files::replace(path, pem.as_bytes(), CERTIFICATE_MODE).map_err(|source| failed(path, source))
            }
            Step::Remove(path) => fs::remove_file(path).map_err(|source| failed(path, source)),
            Step::Run(call) => match self.run(call, machine)? {
                Ended { code: Some(0), .. } => Ok(()),
                ended => Err(ended.into_error(call)),
            },
        }
    }

    /// Files as they were. A program that has run has left nothing that the next one does not take into account.
    fn undo(&self, taken: &[Step]) {
        for step in taken.iter().rev() {
            // The error that led here is the one to be told.
            match step {
                Step::Write(path) => drop(fs::remove_file(path)),
                Step::Remove(path) => {
                    drop(files::replace(path, certificate_pem(&self.certificate).as_bytes(), CERTIFICATE_MODE));
                }
                Step::Run(_) => {}
            }
        }
    }

    fn look_at(&self, machine: &Machine) -> Result<Seen, CarryError> {
        let (ours, has_it) = match &self.look {
            Look::Files { own, bundle } => {
                let ours = match certificates_in(own)? {
                    None => Ours::Nothing,
                    Some(found) if found == [self.certificate.clone()] => Ours::This,
                    Some(_) => Ours::Another,
                };
                (ours, certificates_in(bundle)?.is_some_and(|found| found.contains(&self.certificate)))
            }
            Look::Named { call, absent, trusted } => match self.run(call, machine)? {
                Ended { code: Some(0), out, .. } if certificates(&out) == [self.certificate.clone()] => {
                    let trusted = trusted.as_ref().map(|call| self.run(call, machine)).transpose()?;
                    (Ours::This, trusted.is_none_or(|ended| ended.code == Some(0)))
                }
                Ended { code: Some(0), .. } => (Ours::Another, false),
                ended if ended.said.contains(absent) => (Ours::Nothing, false),
                ended => return Err(ended.into_error(call)),
            },
            Look::Among(call) => match self.run(call, machine)? {
                Ended { code: Some(0), out, .. } if certificates(&out).contains(&self.certificate) => {
                    (Ours::This, true)
                }
                Ended { code: Some(0), .. } => (Ours::Nothing, false),
                ended => return Err(ended.into_error(call)),
            },
            Look::Found(call) => match self.run(call, machine)? {
                Ended { code: Some(0), .. } => (Ours::This, true),
                Ended { .. } => (Ours::Nothing, false),
            },
        };
        Ok(Seen { ours, has_it })
    }

    fn run(&self, call: &Call, machine: &Machine) -> Result<Ended, CarryError> {
        match run(call, machine, &certificate_pem(&self.certificate)) {
            Ok(Some(ended)) => Ok(ended),
            Ok(None) => Err(CarryError::Missing(call.program.clone())),
            Err(source) => Err(CarryError::Start { call: call.clone(), source }),
        }
    }
}

impl Ended {
    fn into_error(self, call: &Call) -> CarryError {
        CarryError::Failed { call: call.clone(), code: self.code, said: self.said }
    }
}

/// The certificates in a file; none where it is not there.
fn certificates_in(path: &Path) -> Result<Option<Vec<CertificateDer<'static>>>, CarryError> {
    match files::read(path, STORE_OCTETS_MAX) {
        Ok(octets) => Ok(Some(certificates(&octets))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CarryError::Read { path: path.to_owned(), source }),
    }
}

/// All certificates that can be read, whatever stands between them.
fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

fn end(code: Option<i32>) -> String {
    code.map_or_else(|| "was ended by a signal".into(), |code| format!("ended with code {code}"))
}

/// What brings a program that is not there.
fn package(program: &Path) -> &'static str {
    match program.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
        "certutil" => "; it comes with libnss3-tools (Debian), nss-tools (Red Hat), nss (Arch, Homebrew)",
        "keytool" => "; it comes with Java",
        "update-ca-certificates" | "update-ca-trust" => "; it comes with ca-certificates",
        _ => "",
    }
}
