//! `pinproxy ca bundle` and `pinproxy ca export`: the CA as a file for clients.

use super::super::{Exit, Failure, print};
use super::Which;
use crate::authority::{self, certificate_pem};
use crate::files;
use crate::trust::public::PublicCa;
use crate::trust::{bundle, jks, mobileconfig, pkcs12};
use clap::ValueEnum;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

/// Everybody may read what is handed on.
const FILE_MODE: u32 = 0o644;
/// keytool refuses shorter ones.
const PASSWORD_CHARACTERS_MIN: usize = 6;

/// Print the CA and the public roots as PEM
///
/// For clients that replace their own roots by a file (SSL_CERT_FILE, CURL_CA_BUNDLE, REQUESTS_CA_BUNDLE and others): with the
/// CA alone they could not verify a host that the proxy passes through without looking inside. The roots are those of
/// [upstream] roots and extra_roots, the system's without a configuration. The CA comes first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  pinproxy ca bundle --out ~/pinproxy-bundle.pem && export SSL_CERT_FILE=~/pinproxy-bundle.pem"
)]
pub(super) struct Bundle {
    #[command(flatten)]
    which: Which,
    /// Write it into this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Print the CA in a form that a client takes
///
/// PEM, PKCS#12 and JKS hold all certificates of the CA's file; DER holds one, the root if the file has it. PKCS#12 and JKS
/// are trust stores for Java, without a key. A .mobileconfig is opened on an iPhone, an iPad or a Mac, and has to be approved
/// there in the settings.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  pinproxy ca export --format pem --out ca.pem\n  \
                        pinproxy ca export --format p12 --out trust.p12 --password changeit")]
pub(super) struct Export {
    #[command(flatten)]
    which: Which,
    /// The form
    #[arg(long, value_enum, default_value_t = Format::Pem)]
    format: Format,
    /// Write it into this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The password of a trust store, which keeps nobody out but Java wants one [default: changeit]
    #[arg(long, value_name = "TEXT", value_parser = password)]
    password: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Pem,
    Der,
    P12,
    Jks,
    Mobileconfig,
}

impl Format {
    const fn has_password(self) -> bool {
        matches!(self, Self::P12 | Self::Jks)
    }

    const fn is_text(self) -> bool {
        matches!(self, Self::Pem | Self::Mobileconfig)
    }
}

pub(super) fn bundle(arguments: &Bundle) -> Result<Exit, Failure> {
    let config = arguments.which.config()?;
    let ca = arguments.which.valid(&config)?;
    let bundle = bundle::Bundle::load(&config.upstream, ca.certificates()).map_err(Failure::unreachable)?;
    hand_over(&ca, bundle.to_pem().as_bytes(), arguments.out.as_deref(), true)
}

pub(super) fn export(arguments: &Export) -> Result<Exit, Failure> {
    let Export { which, format, out, password } = arguments;
    if password.is_some() && !format.has_password() {
        return Err(Failure::unusable("--password is for --format p12 and jks; the others have none"));
    }
    let ca = which.valid(&which.config()?)?;
    let all = ca.certificates();
    let password = password.as_deref().unwrap_or(pkcs12::USUAL_PASSWORD);
    let octets = match format {
        Format::Pem => all.iter().map(certificate_pem).collect::<String>().into_bytes(),
        // It has room for one.
        Format::Der => ca.anchors.first().map(|anchor| anchor.to_vec()).unwrap_or_default(),
        Format::P12 => pkcs12::trust_store(all, password).map_err(Failure::unreachable)?,
        Format::Jks => jks::trust_store(all, password).map_err(Failure::unreachable)?,
        Format::Mobileconfig => mobileconfig::profile(all).map_err(Failure::unreachable)?,
    };
    hand_over(&ca, &octets, out.as_deref(), format.is_text())
}

/// Into the file, or to standard output.
fn hand_over(ca: &PublicCa, octets: &[u8], out: Option<&Path>, is_text: bool) -> Result<Exit, Failure> {
    let Some(path) = out else {
        return to_standard_output(octets, is_text).map(|()| Exit::Done);
    };
    if is_of_ca(ca, path) {
        return Err(Failure::unusable(format!("{} is a file of the CA itself, and is not replaced", path.display())));
    }
    files::replace(path, octets, FILE_MODE)
        .map_err(|error| Failure::unreachable(format!("cannot write {}: {error}", path.display())))?;
    Ok(Exit::Done)
}

/// Whether a path leads to one of the files of the CA.
fn is_of_ca(ca: &PublicCa, path: &Path) -> bool {
    let end = |path: &Path| path.canonicalize().ok();
    let own = ca.path.parent().map(authority::files).into_iter().flatten();
    end(path).is_some_and(|asked| own.into_iter().any(|own| end(&own).as_ref() == Some(&asked)))
}

fn to_standard_output(octets: &[u8], is_text: bool) -> Result<(), Failure> {
    if is_text {
        return print(&String::from_utf8_lossy(octets));
    }
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        return Err(Failure::unusable("this is no text for a terminal; name a file with --out FILE"));
    }
    let written = out.write_all(octets).and_then(|()| out.flush());
    written.map_err(|error| Failure::unreachable(format!("cannot write to standard output: {error}")))
}

fn password(text: &str) -> Result<String, String> {
    if text.chars().count() < PASSWORD_CHARACTERS_MIN {
        return Err(format!("Java takes {PASSWORD_CHARACTERS_MIN} characters or more"));
    }
    // Java 17 derives no keys of PKCS#12 from others.
    if !text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Err("Java takes ASCII characters only".into());
    }
    Ok(text.to_owned())
}
