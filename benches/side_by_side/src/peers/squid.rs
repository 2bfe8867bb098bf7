//! squid with ssl_bump at the first step: it issues a certificate for the CONNECT host, and verifies the upstream when the
//! request comes. To look at the upstream first (peek, then bump) costs it a new certificate for every session.

use super::{Peer, Place, version_of};
use crate::Result;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = "/usr/sbin/squid";
const ISSUER: &str = "/usr/lib/squid/security_file_certgen";

pub(super) struct Squid;

impl Peer for Squid {
    fn name(&self) -> &'static str {
        "squid"
    }

    fn version(&self) -> std::result::Result<String, String> {
        let remedy = "install it with: apt-get install squid-openssl";
        if !Path::new(ISSUER).exists() {
            return Err(format!("{ISSUER} is missing; {remedy}"));
        }
        version_of(Path::new(PROGRAM), "-v", remedy)
    }

    fn command(&self, place: &Place<'_>) -> Result<Command> {
        make_database(&database(place))?;
        let file = place.folder.join("squid.conf");
        fs::write(&file, configuration(place))?;
        let mut command = Command::new(PROGRAM);
        command.args(["-N", "-f"]).arg(file);
        Ok(command)
    }

    fn trust(&self, place: &Place<'_>) -> Vec<PathBuf> {
        vec![place.pki.ca(place.ca)]
    }
}

/// Nothing is cached, since nothing that is measured can be.
fn configuration(place: &Place<'_>) -> String {
    format!(
        "http_port {} ssl-bump generate-host-certificates=on tls-cert={} tls-key={}\n\
         sslcrtd_program {ISSUER} -s {} -M 16MB\n\
         ssl_bump bump all\n\
         tls_outgoing_options cafile={}\n\
         http_access allow all\ncache deny all\naccess_log none\ncache_log /dev/null\n\
         pid_filename none\npinger_enable off\ncoredump_dir none\nshutdown_lifetime 0 seconds\nmax_filedescriptors 65536\n",
        place.address(),
        place.pki.ca(place.ca).display(),
        place.pki.ca_key(place.ca).display(),
        database(place).display(),
        place.pki.roots().display(),
    )
}

fn database(place: &Place<'_>) -> PathBuf {
    place.folder.join("certificates")
}

/// Makes the folder of issued certificates, and gives it to everybody: squid does not stay root.
fn make_database(folder: &Path) -> Result<()> {
    let output = Command::new(ISSUER).arg("-c").arg("-s").arg(folder).args(["-M", "16MB"]).output()?;
    if !output.status.success() {
        return Err(format!("{ISSUER} -c: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let mode = if entry.file_type()?.is_dir() { 0o777 } else { 0o666 };
        fs::set_permissions(entry.path(), Permissions::from_mode(mode))?;
    }
    Ok(fs::set_permissions(folder, Permissions::from_mode(0o777))?)
}
