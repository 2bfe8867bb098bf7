//! The command line: one file a command.

pub mod ca;
mod check;
pub mod config;
pub mod ctl;
pub mod env;
pub mod exec;
pub mod healthcheck;
pub mod pins;
mod rows;
pub mod run;

use crate::config::{ConfigErrors, Diagnostic, Listing};
use clap::{Parser, Subcommand};
use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Certificate pinning for clients that cannot pin.
///
/// An intercepting forward proxy: for each CONNECT it verifies the upstream's certificate chain, judges it against the
/// pinsets of its configuration, and re-signs towards the client with a local CA.
#[derive(Debug, Parser)]
#[command(
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "To begin, start the proxy; it prints what to paste into a shell whose programs shall use it:\n  pinproxy run\n\n\
                  Or run one command behind a proxy of its own:\n  pinproxy exec --pin api.bank.example=sha256/… -- COMMAND"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Exec(exec::Arguments),
    Env(env::Arguments),
    Config(config::Arguments),
    Ca(ca::Arguments),
    Pins(pins::Arguments),
    Ctl(ctl::Arguments),
    Healthcheck(healthcheck::Arguments),
}

/// How a command ended. The numbers are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As asked.
    Done,
    /// The thing checked is not as it should be.
    NotAsItShouldBe,
    /// Unusable arguments or configuration.
    Unusable,
    /// Something could not be reached or read.
    Unreachable,
    /// That of the command that was run.
    Of(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::NotAsItShouldBe => 1,
            Exit::Unusable => 2,
            Exit::Unreachable => 3,
            Exit::Of(code) => code,
        })
    }
}

/// Why a command could not do what it was asked, and with which exit code it ends.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong and what to do, for people.
    pub message: String,
}

impl Failure {
    fn unusable(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Unusable, message: message.to_string() }
    }

    fn unreachable(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Unreachable, message: message.to_string() }
    }

    /// A configuration that a command needs and that cannot be used.
    fn configuration(errors: &ConfigErrors) -> Self {
        let exit = if errors.is_unreadable() { Exit::Unreachable } else { Exit::Unusable };
        Self { exit, message: format!("the configuration cannot be used\n\n{errors}") }
    }

    /// A configuration that can be read, and names files that cannot be used, as these tell.
    fn files(found: &[Diagnostic]) -> Self {
        let found = Listing::new(found).render(false);
        Self { exit: Exit::Unreachable, message: format!("what the configuration names cannot be used\n\n{found}") }
    }

    /// A configuration that a start would put up with, and that has faults which the one in force has not.
    fn worse(found: &[Diagnostic]) -> Self {
        let found = Listing::new(found).render(false);
        Self {
            exit: Exit::Unusable,
            message: format!("it has errors that the configuration in force has not\n\n{found}"),
        }
    }
}

/// Runs the command that the arguments name.
///
/// # Errors
/// [`Failure`], to be printed.
pub fn execute(arguments: Arguments) -> Result<Exit, Failure> {
    match arguments.command {
        Command::Run(arguments) => run::execute(arguments),
        Command::Exec(arguments) => exec::execute(arguments),
        Command::Env(arguments) => env::execute(&arguments),
        Command::Config(arguments) => config::execute(&arguments),
        Command::Ca(arguments) => ca::execute(&arguments),
        Command::Pins(arguments) => pins::execute(arguments),
        Command::Ctl(arguments) => ctl::execute(arguments),
        Command::Healthcheck(arguments) => healthcheck::execute(&arguments),
    }
}

/// Where the CA is kept when nothing says where: the user's data folder.
fn usual_ca_directory() -> Option<PathBuf> {
    dirs::data_dir().map(|folder| folder.join("pinproxy"))
}

/// Writes an answer and a line break to standard output. That nobody reads to the end is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::unreachable(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
