//! `pinproxy ca`: the local CA.

mod rotate;

use super::{Exit, Failure, usual_ca_directory};
use crate::config::Config;
use clap::Subcommand;
use std::path::PathBuf;
use std::time::SystemTime;

/// Look after the local CA
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Example:\n  pinproxy ca rotate --status"
)]
pub struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    Rotate(rotate::Arguments),
}

/// Where the CA is, said in one of the ways of `pinproxy run`.
#[derive(Debug, clap::Args)]
struct Place {
    /// The configuration file, which says where the CA is kept
    #[arg(long, value_name = "FILE", conflicts_with = "ca_dir")]
    config: Option<PathBuf>,
    /// Where the CA is kept; without both, in the user's data folder
    #[arg(long, value_name = "DIR")]
    ca_dir: Option<PathBuf>,
}

impl Place {
    fn directory(&self, now: SystemTime) -> Result<PathBuf, Failure> {
        if let Some(directory) = &self.ca_dir {
            return Ok(directory.clone());
        }
        let written = match &self.config {
            Some(path) => Config::load(path, now).map_err(|errors| Failure::configuration(&errors))?.0.ca.directory,
            None => None,
        };
        written.or_else(usual_ca_directory).ok_or_else(|| {
            Failure::unusable("this user has no data folder; say where the CA is kept with --ca-dir DIR")
        })
    }
}

/// Does what is asked.
///
/// # Errors
/// [`Failure`], when it cannot be done, or must not.
pub fn execute(arguments: Arguments) -> Result<Exit, Failure> {
    match arguments.order {
        Order::Rotate(arguments) => rotate::execute(&arguments),
    }
}
