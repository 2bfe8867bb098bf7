//! The two limits, which are commands of this program.

use super::{Peer, Place};
use crate::Result;
use crate::names::Key;
use std::path::PathBuf;
use std::process::Command;

pub(super) struct Relay;
/// The relay without post-quantum key exchange: what earlier measurements had, and cheaper than what rustls does by itself.
pub(super) struct RelayX25519;
pub(super) struct Blind;

impl Peer for Relay {
    fn name(&self) -> &'static str {
        "relay"
    }

    fn version(&self) -> std::result::Result<String, String> {
        Ok(env!("CARGO_PKG_VERSION").to_owned())
    }

    fn command(&self, place: &Place<'_>) -> Result<Command> {
        command("relay", place)
    }

    fn trust(&self, place: &Place<'_>) -> Vec<PathBuf> {
        vec![place.pki.ca(Key::Ecdsa), place.pki.ca(Key::Rsa)]
    }
}

impl Peer for RelayX25519 {
    fn name(&self) -> &'static str {
        "relay-x25519"
    }

    fn version(&self) -> std::result::Result<String, String> {
        Relay.version()
    }

    fn command(&self, place: &Place<'_>) -> Result<Command> {
        let mut command = Relay.command(place)?;
        command.arg("--x25519");
        Ok(command)
    }

    fn trust(&self, place: &Place<'_>) -> Vec<PathBuf> {
        Relay.trust(place)
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
