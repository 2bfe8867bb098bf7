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
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Rotate(rotate::Rotate),
}

/// Which CA.
#[derive(Debug, clap::Args)]
struct Which {
    /// The configuration file, which says where the CA is kept
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of the CA, instead of where the configuration says [default: the user's data folder]
    #[arg(long, value_name = "DIR")]
    ca_dir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`], when it cannot be done as asked.
pub fn execute(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        Command::Rotate(arguments) => rotate::execute(arguments),
    }
}

impl Which {
    fn config(&self) -> Result<Config, Failure> {
        let Some(path) = &self.config else { return Ok(Config::builtin()) };
        let loaded = Config::load(path, SystemTime::now());
        loaded.map(|(config, _)| config).map_err(|errors| Failure::configuration(&errors))
    }

    fn directory(&self, config: &Config) -> Result<PathBuf, Failure> {
        let directory = self.ca_dir.clone().or_else(|| config.ca.directory.clone()).or_else(usual_ca_directory);
        let directory = directory.ok_or_else(|| {
            Failure::unusable("this user has no data folder; say where the CA is kept with --ca-dir DIR")
        })?;
        // For people, and for commands that are run from another folder.
        Ok(std::path::absolute(&directory).unwrap_or(directory))
    }
}
