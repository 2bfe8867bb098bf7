//! `pinproxy ca show`: what the CA is known by.

use super::super::rows::Rows;
use super::super::{Exit, Failure, print};
use super::{Which, not_valid};
use crate::trust::public::{Identity, PublicCa, with_colons};
use serde_json::{Value, json};
use std::time::SystemTime;

/// Show the CA: subject, dates, fingerprints, and where it lies
///
/// Ends with 1 when it is not valid now, and with 3 when there is none.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pinproxy ca show --config /etc/pinproxy/pinproxy.toml")]
pub(super) struct Show {
    #[command(flatten)]
    which: Which,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(arguments: &Show) -> Result<Exit, Failure> {
    let ca = arguments.which.public(&arguments.which.config()?)?;
    print(&if arguments.json { format!("{:#}", told(&ca)) } else { text(&ca) })?;
    ca.check_valid(SystemTime::now()).map_err(|error| not_valid(&error))?;
    Ok(Exit::Done)
}

/// For people. Each certificate of the file, the issuing one first.
pub(super) fn text(ca: &PublicCa) -> String {
    let mut rows = Rows::default();
    rows.row("CA", &ca.path.display().to_string());
    if let Some(uid) = ca.stranger {
        rows.row("owner", &format!("uid {uid}, who has its key"));
    }
    for identity in ca.certificates().iter().filter_map(Identity::of) {
        rows.row("subject", &identity.subject);
        rows.row("valid", &format!("{} to {}", identity.not_before, identity.not_after));
        rows.row("SHA-256", &with_colons(&identity.sha256));
        rows.row("SHA-1", &with_colons(&identity.sha1));
        rows.row("pin", &identity.pin.to_string());
    }
    rows.into_text()
}

/// For programs.
fn told(ca: &PublicCa) -> Value {
    let certificates: Vec<_> = ca
        .certificates()
        .iter()
        .filter_map(Identity::of)
        .map(|identity| {
            json!({
                "subject": identity.subject,
                "not_before": identity.not_before,
                "not_after": identity.not_after,
                "sha256": with_colons(&identity.sha256),
                "sha1": with_colons(&identity.sha1),
                "pin": identity.pin.to_string(),
                "name_in_stores": identity.name(),
            })
        })
        .collect();
    json!({ "file": ca.path, "owner": ca.stranger, "certificates": certificates })
}
