//! What the way out needs of this machine: client certificates, and an address to go out from.

use super::certificate::{Facts, day};
use super::fault::Finding;
use crate::config::{At, Code, Named, Places};
use crate::tls::identity::{Identity, certificates};
use crate::upstream::doors::is_of_this_machine;
use std::path::Path;
use std::time::SystemTime;

/// Loads client certificates as a start would, and looks for the addresses, each where it is named.
pub(super) fn inspect(places: &Places, now: SystemTime) -> Vec<Finding> {
    let mut found = Vec::new();
    for named in places.named() {
        let at = At::Named(named);
        match &named.what {
            Named::Source(address) if !is_of_this_machine(*address) => {
                let message = format!("{address} is no address of this machine: nothing can go out from it");
                let help = "write an address of this machine; keep it if the address comes later";
                found.push(places.finding(Code::W86, at, message, help).into());
            }
            Named::OfClient { file, certificate } => {
                let loaded = Identity::load(&certificate.certificate, &certificate.key);
                // Told where the file is named that it is about.
                if let Some(error) = loaded.err().filter(|error| error.path() == file) {
                    let help =
                        "name PEM files that the user of the proxy can read; the key belongs to it alone (chmod 600)";
                    found.push(places.finding(Code::E87, at, error.to_string(), help).into());
                }
                if *file == certificate.certificate {
                    found.extend(end(places, at, file, now));
                }
            }
            _ => {}
        }
    }
    found
}

fn end(places: &Places, at: At<'_>, file: &Path, now: SystemTime) -> Option<Finding> {
    let facts = Facts::of(certificates(file).ok()?.first()?)?;
    if facts.not_after > now + places.expiry_warning() {
        return None;
    }
    let verb = if now > facts.not_after { "ended" } else { "ends" };
    let message = format!("the client certificate of {} {verb} on {}", facts.subject, day(facts.not_after));
    let help = "have it renewed, replace certificate and key, and reload";
    Some(places.finding(Code::W87, at, message, help).into())
}
