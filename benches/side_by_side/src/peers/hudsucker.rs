//! hudsucker: the smallest program that uses the crate, built in this workspace.

use super::{Peer, Place, from_anywhere, version_of};
use crate::Result;
use std::path::PathBuf;
use std::process::Command;

pub(super) struct Hudsucker {
    program: PathBuf,
}

impl Hudsucker {
    pub(super) fn new(program: Option<PathBuf>) -> Self {
        let beside = || std::env::current_exe().unwrap_or_default().with_file_name("hudsucker-peer");
        Self { program: from_anywhere(program.unwrap_or_else(beside)) }
    }
}

impl Peer for Hudsucker {
    fn name(&self) -> &'static str {
        "hudsucker"
    }

    fn version(&self) -> std::result::Result<String, String> {
        let remedy =
            "build it with: cargo build --release --manifest-path benches/side_by_side/Cargo.toml -p hudsucker-peer";
        version_of(&self.program, "--version", remedy)
    }

    fn command(&self, place: &Place<'_>) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command.arg(place.address()).arg(place.pki.ca(place.ca)).arg(place.pki.ca_key(place.ca));
        command.arg(place.pki.roots());
        Ok(command)
    }

    fn trust(&self, place: &Place<'_>) -> Vec<PathBuf> {
        vec![place.pki.ca(place.ca)]
    }

    fn binary(&self) -> Option<PathBuf> {
        Some(self.program.clone())
    }
}
