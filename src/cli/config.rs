//! `pinproxy config`: what a configuration file says, and what is wrong with it.

use super::check::{self, Check};
use super::{Exit, Failure, print};
use crate::config::{Code, explanation, lints_page, lints_table, rules_json};
use clap::Subcommand;

/// Check a configuration, and explain what can be wrong with one
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pinproxy config check --strict pinproxy.toml")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(Check),
    Explain(Explain),
    Lints(Lints),
}

/// Tell what a code means: what goes wrong if it stays, the fix, and a file that has it and one that has not
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pinproxy config explain E21")]
struct Explain {
    /// The code, as a finding shows it
    #[arg(value_name = "CODE")]
    code: Code,
}

/// List all codes
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pinproxy config lints")]
struct Lints {
    /// Print a JSON array of all codes with their texts
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print the page config/LINTS.md
    #[arg(long)]
    markdown: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`], when the answer cannot be written.
pub fn execute(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        Command::Check(arguments) => check::execute(arguments),
        Command::Explain(arguments) => print(&explanation(arguments.code)).map(|()| Exit::Done),
        Command::Lints(Lints { json: true, .. }) => print(&rules_json()).map(|()| Exit::Done),
        Command::Lints(Lints { markdown: true, .. }) => print(&lints_page()).map(|()| Exit::Done),
        Command::Lints(_) => print(&lints_table()).map(|()| Exit::Done),
    }
}
