//! The two limits, which are commands of this program.

use super::{Peer, Place};
use crate::Result;
use crate::names::Key;
use std::path::PathBuf;
use std::process::Command;

/// The relay, or what becomes of it with one thing done otherwise.
pub(super) struct Relay {
    name: &'static str,
    options: &'static [&'static str],
}

/// As rustls does by itself.
pub(super) const RELAY: Relay = Relay { name: "relay", options: &[] };
/// Without post-quantum key exchange: what earlier measurements had, and cheaper.
pub(super) const RELAY_X25519: Relay = Relay { name: "relay-x25519", options: &["--x25519"] };
/// It verifies each chain once and prefers AES-128: what is left of a session when all that can be spared is.
pub(super) const RELAY_LEAST: Relay = Relay { name: "relay-least", options: &["--least"] };

pub(super) struct Blind;

impl Peer for Relay {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> std::result::Result<String, String> {
        Ok(env!("CARGO_PKG_VERSION").to_owned())
    }

    fn command(&self, place: &Place<'_>) -> Result<Command> {
        let mut command = command("relay", place)?;
        command.args(self.options);
        Ok(command)
    }

    fn trust(&self, place: &Place<'_>) -> Vec<PathBuf> {
        vec![place.pki.ca(Key::Ecdsa), place.pki.ca(Key::Rsa)]
    }
}

impl Peer for Blind {
    fn name(&self) -> &'static str {
        "blind"
    }

    fn version(&self) -> std::result::Result<String, String> {
        Ok(env!("CARGO_PKG_VERSION").to_owned())
    }

    fn command(&self, place: &Place<'_>) -> Result<Command> {
        command("blind", place)
    }

    /// Nobody is between the client and the origin.
    fn trust(&self, place: &Place<'_>) -> Vec<PathBuf> {
        vec![place.pki.roots()]
    }
}

fn command(which: &str, place: &Place<'_>) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([which, "--listen", &place.address(), "--roots"]).arg(place.pki.roots());
    command.arg("--ecdsa").arg(place.pki.ready_made(Key::Ecdsa));
    command.arg("--rsa").arg(place.pki.ready_made(Key::Rsa));
    Ok(command)
}
