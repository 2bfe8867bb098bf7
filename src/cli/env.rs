//! `pinproxy env`: how the clients of a running proxy are set up.

mod shells;

use super::exec::{cautions, exceptions, tell};
use super::healthcheck::reachable;
use super::{Exit, Failure, print, usual_ca_directory};
use crate::authority::CERTIFICATE_FILE;
use crate::config::{Config, Listener, ListenerKind};
use crate::policy::pin::{Sha256, hex};
use crate::trust::bundle::Bundle;
use crate::trust::files::Files;
use crate::trust::public::{PublicCa, PublicCaError};
use crate::trust::variables::{self, Before, OwnRoots, VARIABLES};
use clap::ValueEnum;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256 as Hasher};
use std::env;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// For a proxy on this machine, or near it, to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Characters of the digest of the CA in the name of the folder; enough to keep the few of one user apart.
const TAG_CHARACTERS: usize = 16;

/// Print the environment that leads clients through a running proxy
///
/// Takes the address and the CA from the configuration, writes the files that the variables name, and prints a line for each
/// variable. The files are in the user's data folder, a folder for each CA: they stay where they are for as long as the CA does,
/// and are written anew each time. Variables that replace the roots of a client name a bundle of the public roots and the CA;
/// those that add to them name the CA alone. Hosts of this machine are reached without the proxy, unless a rule names them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eval \"$(pinproxy env)\"\n  pinproxy env --shell fish | source\n  \
                        pinproxy env --shell powershell | Out-String | Invoke-Expression\n  \
                        pinproxy env --list")]
pub struct Arguments {
    /// The configuration file of the proxy
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What reads the lines
    #[arg(long, value_enum, default_value_t = Shell::Bash, value_name = "SHELL")]
    shell: Shell,
    /// Print instead which variables there are, what each holds and who reads it
    #[arg(long)]
    list: bool,
    /// Of the list, print a JSON array
    #[arg(long, requires = "list")]
    json: bool,
}

/// What reads the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    /// bash, and every other shell of POSIX
    Bash,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
    /// a file of variables, as dotenv libraries read it
    Dotenv,
}

/// Prints it.
///
/// # Errors
/// [`Failure`], when there is no CA, or its files cannot be written.
pub fn execute(arguments: &Arguments) -> Result<Exit, Failure> {
    if arguments.list {
        return print(&if arguments.json { list_json() } else { list() }).map(|()| Exit::Done);
    }
    let config = match &arguments.config {
        None => Config::builtin(),
        Some(path) => Config::load(path, SystemTime::now()).map_err(|errors| Failure::configuration(&errors))?.0,
    };
    // What the variables name is a proxy by HTTP, in the clear.
    let plain = |listener: &&Listener| listener.kind == ListenerKind::Forward && listener.tls.is_none();
    let listener = config.listeners.iter().find(plain).ok_or_else(|| {
        Failure::unusable(
            "none of the listeners takes CONNECT without TLS, by which alone all of these clients can be pointed at it",
        )
    })?;
    let address = Some(reachable(listener.address)).filter(|address| address.port() != 0);
    let address = address.ok_or_else(|| {
        Failure::unusable("the proxy listens on a port that the system chooses, which nothing here tells; name one")
    })?;
    let ca = certificates(&config)?;
    let bundle = Bundle::load(&config.upstream, &ca).map_err(Failure::unreachable)?;
    let files = Files::write(&folder(&ca)?, &bundle, &ca).map_err(Failure::unreachable)?;
    let before = Before::of(|name| env::var_os(name)).map_err(Failure::unusable)?;
    let exceptions = exceptions(&config, &before);
    let settings = variables::settings(address, &files, &exceptions, &before).map_err(Failure::unusable)?;
    print(&shells::lines(arguments.shell, &settings))?;
    // Who evaluates this again has the bundle in its environment, and that is as it should be.
    let is_own = env::var_os("SSL_CERT_FILE").is_some_and(|file| Path::new(&file) == files.bundle);
    let told = cautions(&config, &exceptions).into_iter().filter(|told| !(is_own && told.contains("SSL_CERT_FILE")));
    tell(&told.collect::<Vec<_>>());
    tell_unless_there(address);
    Ok(Exit::Done)
}

fn certificates(config: &Config) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let directory = config.ca.directory.clone().or_else(usual_ca_directory).ok_or_else(|| {
        Failure::unusable("this user has no data folder; say where the CA is with [ca] directory in a configuration")
    })?;
    let ca = match PublicCa::load(&directory) {
        Ok(ca) => ca.certificates().to_vec(),
        Err(PublicCaError::Missing(_) | PublicCaError::Read { .. }) => Vec::new(),
        Err(error) => return Err(Failure::unreachable(error)),
    };
    if ca.is_empty() {
        let file = directory.join(CERTIFICATE_FILE);
        return Err(Failure::unreachable(format!(
            "no CA can be read from {}: start the proxy once, which makes one, or name its configuration with --config; \
             where another user runs it, that file has to be readable",
            file.display()
        )));
    }
    Ok(ca)
}

/// A CA has a folder of its own, so that what is set up for one proxy stays when another one is asked about.
fn folder(ca: &[CertificateDer<'_>]) -> Result<PathBuf, Failure> {
    let digest: Sha256 = Hasher::digest(ca.first().map(AsRef::as_ref).unwrap_or_default()).into();
    let name: String = hex(&digest).chars().take(TAG_CHARACTERS).collect();
    let data = dirs::data_dir().ok_or_else(|| Failure::unusable("this user has no data folder; set XDG_DATA_HOME"))?;
    Ok(data.join("pinproxy/clients").join(name))
}

fn tell_unless_there(address: SocketAddr) {
    if let Err(error) = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
        tell(&[format!("pinproxy: nothing listens on {address} now ({error}); start it with: pinproxy run")]);
    }
}

fn list() -> String {
    let lines = VARIABLES.iter().map(|variable| {
        let roots = match variable.own_roots {
            OwnRoots::Untouched => "-",
            OwnRoots::Extended => "adds",
            OwnRoots::Replaced => "replaces",
        };
        format!("{:<34}  {:<10}  {roots:<8}  {}", variable.name, variable.holds.as_str(), variable.read_by)
    });
    let head = format!("{:<34}  {:<10}  {:<8}  {}", "VARIABLE", "HOLDS", "ROOTS", "READ BY");
    std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
}

fn list_json() -> String {
    let rows: Vec<_> = VARIABLES
        .iter()
        .map(|variable| {
            serde_json::json!({
                "name": variable.name,
                "holds": variable.holds.as_str(),
                "own-roots": match variable.own_roots {
                    OwnRoots::Untouched => "untouched",
                    OwnRoots::Extended => "extended",
                    OwnRoots::Replaced => "replaced",
                },
                "read-by": variable.read_by,
                "source": variable.source,
            })
        })
        .collect();
    format!("{:#}", serde_json::Value::from(rows))
}
