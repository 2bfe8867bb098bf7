//! mitmproxy, by its program without a screen.

use super::{Peer, Place, from_anywhere, version_of};
use crate::Result;
use std::path::PathBuf;
use std::process::Command;

pub(super) struct Mitmproxy {
    program: PathBuf,
}

impl Mitmproxy {
    pub(super) fn new(program: Option<PathBuf>) -> Self {
        Self { program: from_anywhere(program.unwrap_or_else(|| PathBuf::from("mitmdump"))) }
    }
}

impl Peer for Mitmproxy {
    fn name(&self) -> &'static str {
        "mitmproxy"
    }

    fn version(&self) -> std::result::Result<String, String> {
        let remedy = "install it with: python3 -m venv FOLDER && FOLDER/bin/pip install mitmproxy, \
                      and say --mitmdump FOLDER/bin/mitmdump";
        version_of(&self.program, "--version", remedy)
    }

    fn command(&self, place: &Place<'_>) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command.args(["--quiet", "--listen-host", "127.0.0.1", "--listen-port", &place.port.to_string()]);
        command.arg("--set").arg(format!("confdir={}", place.shared.display()));
        command.arg("--set").arg(format!("ssl_verify_upstream_trusted_ca={}", place.pki.roots().display()));
        Ok(command)
    }

    fn trust(&self, place: &Place<'_>) -> Vec<PathBuf> {
        vec![place.shared.join("mitmproxy-ca-cert.pem")]
    }
}
