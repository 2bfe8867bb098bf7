//! The files of the admin address.

use super::fault::Finding;
use crate::config::{At, Code, Named, NamedFile, Places};
use crate::tls::server::serving;

/// Loads them as a start would, and tells what keeps it from that where the file is named.
pub(super) fn inspect(places: &Places) -> Vec<Finding> {
    let of_admin = |named: &&NamedFile| matches!(named.what, Named::OfAdmin { .. });
    // Each of them has all of them with it.
    let Some(Named::OfAdmin { tls, .. }) = places.named().iter().find(of_admin).map(|named| &named.what) else {
        return Vec::new();
    };
    let Err(error) = serving(&tls.certificate, &tls.key, tls.client_ca.as_deref()) else { return Vec::new() };
    let meant = |named: &&NamedFile| of_admin(named) && named.file() == Some(error.path());
    let at = places.named().iter().find(meant).map_or(At::File, At::Named);
    let help = "name PEM files that the user of the proxy can read; the key belongs to it alone (chmod 600)";
    vec![places.finding(Code::E82, at, error.to_string(), help).into()]
}
