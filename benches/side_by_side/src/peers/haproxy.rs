//! haproxy as a listener for TLS that issues a certificate for each server name and encrypts again. It takes no CONNECT:
//! clients come to it by name, as they would behind a redirection.

use super::{Peer, Place, version_of};
use crate::Result;
use crate::load::Reach;
use crate::names::Site;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = "/usr/sbin/haproxy";

pub(super) struct Haproxy;

impl Peer for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy"
    }

    fn version(&self) -> std::result::Result<String, String> {
        version_of(Path::new(PROGRAM), "-v", "install it with: apt-get install haproxy")
    }

    fn command(&self, place: &Place<'_>) -> Result<Command> {
        let ca = fs::read_to_string(place.pki.ca(place.ca))? + &fs::read_to_string(place.pki.ca_key(place.ca))?;
        fs::write(place.folder.join("ca.pem"), ca)?;
        let file = place.folder.join("haproxy.cfg");
        fs::write(&file, configuration(place))?;
        let mut command = Command::new(PROGRAM);
        command.args(["-db", "-f"]).arg(file);
        Ok(command)
    }

    fn trust(&self, place: &Place<'_>) -> Vec<PathBuf> {
        vec![place.pki.ca(place.ca)]
    }

    fn reach(&self) -> Reach {
        Reach::Direct
    }
}

fn configuration(place: &Place<'_>) -> String {
    let mut text = format!(
        "global\n nbthread 1\n\
         defaults\n mode http\n timeout connect 10s\n timeout client 10m\n timeout server 10m\n\
         frontend tls\n bind {} ssl crt {} generate-certificates ca-sign-file {} alpn h2,http/1.1\n",
        place.address(),
        place.pki.ready_made(place.ca).display(),
        place.folder.join("ca.pem").display(),
    );
    for site in Site::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(text, " use_backend {0} if {{ ssl_fc_sni -m end {0} }}", site.zone());
    }
    for site in Site::ALL {
        let _ = writeln!(
            text,
            "backend {}\n server origin {}:443 ssl sni ssl_fc_sni verify required ca-file {}",
            site.zone(),
            site.address(),
            place.pki.roots().display()
        );
    }
    text
}
