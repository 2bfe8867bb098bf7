//! `pinproxy ca create`: what `run` does on first use.

use super::super::{Exit, Failure, print};
use super::{Which, show};
use crate::authority::{self, Provenance};
use crate::proxy::ca_settings;
use std::time::SystemTime;

/// Make the CA, unless there is one
///
/// `run` does the same on first use. A CA that is there is never replaced, whatever its state: clients trust it, and a new one
/// would lock them all out. Ends with 1 when there is one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pinproxy ca create --ca-dir ./certs")]
pub(super) struct Create {
    #[command(flatten)]
    which: Which,
}

pub(super) fn execute(arguments: &Create) -> Result<Exit, Failure> {
    let config = arguments.which.config()?;
    let directory = arguments.which.directory(&config)?;
    let settings = ca_settings(&config).map_err(Failure::unusable)?;
    let (authority, provenance) =
        authority::load_or_create(&directory, settings, SystemTime::now()).map_err(Failure::unreachable)?;
    match provenance {
        Provenance::Created => {
            print(&show::text(&arguments.which.public(&config)?))?;
            Ok(Exit::Done)
        }
        Provenance::Loaded => Err(Failure {
            exit: Exit::NotAsItShouldBe,
            message: format!(
                "there is a CA already, which is left as it is: {}; `pinproxy ca show` tells of it",
                authority.certificate_path().display()
            ),
        }),
    }
}
