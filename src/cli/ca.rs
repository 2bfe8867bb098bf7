//! `pinproxy ca`: the local CA, and having it trusted.

mod create;
mod given;
mod rotate;
mod show;
mod trusted;

use super::{Exit, Failure, usual_ca_directory};
use crate::config::Config;
use crate::trust::public::{PublicCa, PublicCaError};
use clap::Subcommand;
use std::path::PathBuf;
use std::time::SystemTime;

/// Show the local CA, hand it on, and have it trusted
///
/// The key of the CA stays where it is; none of these shows or copies it.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Examples:\n  pinproxy ca show\n  pinproxy ca rotate --in 30d\n  sudo pinproxy ca install --store system --config /etc/pinproxy/pinproxy.toml"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(show::Show),
    Create(create::Create),
    Bundle(given::Bundle),
    Export(given::Export),
    Install(trusted::Install),
    Uninstall(trusted::Uninstall),
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
        Command::Show(arguments) => show::execute(arguments),
        Command::Create(arguments) => create::execute(arguments),
        Command::Bundle(arguments) => given::bundle(arguments),
        Command::Export(arguments) => given::export(arguments),
        Command::Install(arguments) => trusted::install(arguments),
        Command::Uninstall(arguments) => trusted::uninstall(arguments),
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

    /// The CA, valid or not.
    fn public(&self, config: &Config) -> Result<PublicCa, Failure> {
        PublicCa::load(&self.directory(config)?).map_err(Failure::unreachable)
    }

    /// The CA, which clients would accept: another one is handed to nobody.
    fn valid(&self, config: &Config) -> Result<PublicCa, Failure> {
        let ca = self.public(config)?;
        ca.check_valid(SystemTime::now()).map_err(|error| not_valid(&error))?;
        Ok(ca)
    }
}

fn not_valid(error: &PublicCaError) -> Failure {
    Failure { exit: Exit::NotAsItShouldBe, message: error.to_string() }
}
