//! pinproxy itself: every origin pinned and enforced, one event a session in a file, else as it comes. Where the CA is to
//! have an RSA key, which pinproxy makes none with, it is put into the CA folder, as its operator would.

use super::{Peer, Place, from_anywhere, version_of};
use crate::Result;
use crate::names::Key;
use base64::Engine as _;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) struct Pinproxy {
    program: PathBuf,
}

impl Pinproxy {
    pub(super) fn new(program: Option<PathBuf>) -> Self {
        let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/pinproxy");
        Self { program: from_anywhere(program.unwrap_or_else(usual)) }
    }
}

impl Peer for Pinproxy {
    fn name(&self) -> &'static str {
        "pinproxy"
    }

    fn version(&self) -> std::result::Result<String, String> {
        version_of(&self.program, "--version", "build it with: cargo build --release, or name one with --pinproxy FILE")
    }

    fn command(&self, place: &Place<'_>) -> Result<Command> {
        if place.ca == Key::Rsa {
            put_ca(place)?;
        }
        let file = place.folder.join("pinproxy.toml");
        fs::write(&file, configuration(place))?;
        let mut command = Command::new(&self.program);
        command.args(["run", "--config"]).arg(file);
        Ok(command)
    }

    fn trust(&self, place: &Place<'_>) -> Vec<PathBuf> {
        vec![ca_folder(place).join("ca.pem")]
    }

    fn binary(&self) -> Option<PathBuf> {
        Some(self.program.clone())
    }

    fn reloaded(&self) -> Option<&'static str> {
        Some("reloaded the configuration")
    }
}

/// The CA that pinproxy makes is made once.
fn ca_folder(place: &Place<'_>) -> PathBuf {
    match place.ca {
        Key::Ecdsa => place.shared.join("ca"),
        Key::Rsa => place.folder.join("ca"),
    }
}

fn put_ca(place: &Place<'_>) -> Result<()> {
    let folder = ca_folder(place);
    fs::create_dir(&folder)?;
    let files = [(place.pki.ca(place.ca), "ca.pem", 0o644), (place.pki.ca_key(place.ca), "ca.key", 0o600)];
    for (source, name, mode) in files {
        fs::copy(source, folder.join(name))?;
        fs::set_permissions(folder.join(name), Permissions::from_mode(mode))?;
    }
    // Whatever the umask: pinproxy refuses a CA that others can replace.
    Ok(fs::set_permissions(folder, Permissions::from_mode(0o755))?)
}

/// The limit of a client is raised, since all of the load comes from one address.
fn configuration(place: &Place<'_>) -> String {
    let [pin, backup] = &place.pki.pins;
    let mut text = format!(
        "schema = 1\n\
         [[listener]]\naddress = \"{}\"\n\
         [ca]\ndirectory = \"{}\"\n\
         [upstream]\nextra_roots = [\"{}\"]\n\
         [limits]\nsessions = 30_000\nsessions_per_client = 30_000\n\
         [log]\naccess = \"access.jsonl\"\n\
         [keys.spare]\nspki = \"{backup}\"\n\
         [[pinset]]\nname = \"bench\"\nhosts = [\"**.bench.test\"]\npins = [\"{pin}\"]\nbackup = [\"spare\"]\n",
        place.address(),
        ca_folder(place).display(),
        place.pki.roots().display(),
    );
    for number in 1..place.pinsets {
        let host = match number % 3 {
            0 => format!("host{number}.example.com"),
            1 => format!("*.site{number}.example.com"),
            _ => format!("**.tree{number}.example.com"),
        };
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, host.as_bytes());
        let own = base64::engine::general_purpose::STANDARD.encode(digest);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "[[pinset]]\nname = \"p{number}\"\nhosts = [\"{host}\"]\npins = [\"sha256/{own}\"]\nbackup = [\"spare\"]\n"
        );
    }
    text
}
