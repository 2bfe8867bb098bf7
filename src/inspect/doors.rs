//! The files of the addresses of ours that speak TLS: the admin address, and listeners.

use super::fault::Finding;
use crate::config::{At, Code, Named, NamedFile, Places};
use crate::materials::own;
use crate::tls::server::{Files, serving};

/// Loads them as a start would, and tells what keeps it from that where the file is named.
pub(super) fn inspect(places: &Places) -> Vec<Finding> {
    let mut looked_at: Vec<(Code, Files)> = Vec::new();
    // Each of the files of an address has all of them with it.
    for asked in places.named().iter().filter_map(files_of) {
        if !looked_at.contains(&asked) {
            looked_at.push(asked);
        }
    }
    looked_at.into_iter().filter_map(|asked| fault_of(places, &asked)).collect()
}

/// What the address speaks TLS with that a file belongs to, and the code of what is wrong with it.
fn files_of(named: &NamedFile) -> Option<(Code, Files)> {
    match &named.what {
        Named::OfAdmin { tls, .. } => Some((Code::E82, own::admin(tls))),
        // Its kind decides what is spoken inside, and nothing about the files.
        Named::OfListener { tls, .. } => Some((Code::E90, own::listener(tls, &[]))),
        _ => None,
    }
}

fn fault_of(places: &Places, asked: &(Code, Files)) -> Option<Finding> {
    let error = serving(&asked.1).err()?;
    let meant =
        |named: &&NamedFile| named.file() == Some(error.path()) && files_of(named).is_some_and(|files| files == *asked);
    let at = places.named().iter().find(meant).map_or(At::File, At::Named);
    let help = "name PEM files that the user of the proxy can read; the key belongs to it alone (chmod 600)";
    Some(places.finding(asked.0, at, error.to_string(), help).into())
}
