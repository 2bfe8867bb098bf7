//! The proxies that are compared: how each is configured, started and ended.

mod haproxy;
mod hudsucker;
mod instance;
mod mitmproxy;
mod own;
mod pinproxy;
mod squid;

pub(crate) use instance::Instance;

use crate::Result;
use crate::load::Reach;
use crate::names::Key;
use crate::pki::Pki;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where programs are that no package manager puts into the search path.
#[derive(Debug, clap::Args)]
pub(crate) struct Programs {
    /// The pinproxy to measure [default: target/release/pinproxy of this checkout]
    #[arg(long, value_name = "FILE")]
    pinproxy: Option<PathBuf>,
    /// mitmdump, for instance of a virtual environment [default: searched in PATH]
    #[arg(long, value_name = "FILE")]
    mitmdump: Option<PathBuf>,
    /// The hudsucker program [default: beside this program]
    #[arg(long, value_name = "FILE")]
    hudsucker: Option<PathBuf>,
}

/// One proxy, as a user would run it.
pub(crate) trait Peer {
    fn name(&self) -> &'static str;

    /// Its version; or, where it is not there, what to do to have it.
    fn version(&self) -> std::result::Result<String, String>;

    /// Writes its configuration and gives the command that runs it in the foreground.
    fn command(&self, place: &Place<'_>) -> Result<Command>;

    /// What its clients trust, in PEM. Asked for once it has been started.
    fn trust(&self, place: &Place<'_>) -> Vec<PathBuf>;

    fn reach(&self) -> Reach {
        Reach::Connect
    }

    /// The file whose size is that of the program; none where it is more than one file.
    fn binary(&self) -> Option<PathBuf> {
        None
    }

    /// For a proxy that has pinsets: what it prints when it has read them again.
    fn reloaded(&self) -> Option<&'static str> {
        None
    }
}

/// What one run of a proxy is given.
pub(crate) struct Place<'a> {
    pub(crate) pki: &'a Pki,
    /// For this run alone.
    pub(crate) folder: PathBuf,
    /// For all runs of this proxy: its CA.
    pub(crate) shared: PathBuf,
    pub(crate) port: u16,
    /// How many pinsets, for a proxy that has such.
    pub(crate) pinsets: usize,
    /// The kind of key that its CA has, for a proxy that can be given one.
    pub(crate) ca: Key,
}

impl Place<'_> {
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// All of them, in the order of the table.
pub(crate) fn all(programs: &Programs) -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(pinproxy::Pinproxy::new(programs.pinproxy.clone())),
        Box::new(own::RELAY),
        Box::new(own::RELAY_X25519),
        Box::new(own::RELAY_LEAST),
        Box::new(own::Blind),
        Box::new(hudsucker::Hudsucker::new(programs.hudsucker.clone())),
        Box::new(squid::Squid),
        Box::new(haproxy::Haproxy),
        Box::new(mitmproxy::Mitmproxy::new(programs.mitmdump.clone())),
    ]
}

/// A proxy runs in a folder of its own, where a relative path would lead elsewhere. A bare name is searched in PATH.
fn from_anywhere(program: PathBuf) -> PathBuf {
    let is_path = program.components().count() > 1;
    std::path::absolute(&program).ok().filter(|_| is_path).unwrap_or(program)
}

/// The first line that a program prints about its version.
fn first_line(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Some(String::from_utf8_lossy(&text).lines().next()?.trim().to_owned())
}

/// The first number with dots in a text.
fn version_number(text: &str) -> Option<String> {
    let is_number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    text.split([' ', '-', ',']).find(is_number).map(str::to_owned)
}

fn version_of(program: &Path, argument: &str, remedy: &str) -> std::result::Result<String, String> {
    let version = first_line(program, argument).as_deref().and_then(version_number);
    version.ok_or_else(|| format!("{} does not run; {remedy}", program.display()))
}
