//! `pinproxy config`: what a configuration file says, and what is wrong with it.

use super::check::{self, Check};
use super::{Exit, Failure, print};
use crate::config::{Code, Config, Listing, explanation, lints_page, lints_table, rules_json, schema};
use clap::Subcommand;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::SystemTime;

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
    Show(Show),
    Schema(Schema),
    Explain(Explain),
    Lints(Lints),
}

/// Print the effective configuration as one file
///
/// Includes are merged and every default is written out; a password in a URL is masked, so is the path of
/// an address for reports or traces, and ${NAME} stays as it is
/// written. What is printed is a configuration again. Findings are told on standard error.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  pinproxy config show /etc/pinproxy/pinproxy.toml\n  \
                        pinproxy config show --defaults")]
struct Show {
    /// The configuration file
    #[arg(value_name = "FILE", required_unless_present = "defaults")]
    file: Option<PathBuf>,
    /// What holds without a file
    #[arg(long, conflicts_with = "file")]
    defaults: bool,
}

/// Print the JSON Schema of the configuration
///
/// Editors complete and check by it: a file whose first line is `#:schema pinproxy.schema.json`, with the schema beside
/// it, needs nothing else in those that know Taplo or Even Better TOML.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pinproxy config schema > pinproxy.schema.json")]
struct Schema {}

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
        Command::Show(arguments) => show(arguments),
        Command::Schema(Schema {}) => print(&format!("{:#}", schema())).map(|()| Exit::Done),
        Command::Explain(arguments) => print(&explanation(arguments.code)).map(|()| Exit::Done),
        Command::Lints(Lints { json: true, .. }) => print(&rules_json()).map(|()| Exit::Done),
        Command::Lints(Lints { markdown: true, .. }) => print(&lints_page()).map(|()| Exit::Done),
        Command::Lints(_) => print(&lints_table()).map(|()| Exit::Done),
    }
}

fn show(arguments: &Show) -> Result<Exit, Failure> {
    let Some(file) = &arguments.file else {
        return print(&Config::show_builtin()).map(|()| Exit::Done);
    };
    match Config::show(file, SystemTime::now()) {
        Ok((text, findings)) => {
            let listing = Listing::new(&findings);
            if !listing.is_empty() {
                drop(writeln!(io::stderr().lock(), "{}", listing.render(false)));
            }
            print(&text).map(|()| Exit::Done)
        }
        Err(errors) => Err(Failure::configuration(&errors)),
    }
}
