//! `pinproxy pins`: questions about pins, answered from configuration files.

mod diff;
mod diff_text;
mod explain;
mod explain_text;
mod observed;

use super::rows::Rows;
use super::{Exit, Failure};
use crate::config::{Config, Places, Reading};
use crate::policy::timestamp::Timestamp;
use clap::Subcommand;
use serde::Serialize;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Ask about pins
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct Arguments {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Subcommand)]
enum Question {
    Explain(explain::Arguments),
    Diff(diff::Arguments),
}

/// Answers the question.
///
/// # Errors
/// [`Failure`], when it cannot be answered.
pub fn execute(arguments: Arguments) -> Result<Exit, Failure> {
    match arguments.question {
        Question::Explain(arguments) => explain::execute(&arguments),
        Question::Diff(arguments) => diff::execute(&arguments),
    }
}

/// The configuration of a file, and how its values of environment variables are kept back. Its warnings are the
/// business of `config check`.
fn load(path: &Path, at: Timestamp) -> Result<(Config, Places), Failure> {
    let Reading { outcome, places, .. } = Config::load_with_places(path, at.0);
    let (config, _) = outcome.map_err(|errors| Failure::configuration(&errors))?;
    Ok((config, places))
}

/// As operators write it.
fn now() -> Timestamp {
    to_the_second(Timestamp(SystemTime::now()))
}

/// Without the fraction of its second.
fn to_the_second(time: Timestamp) -> Timestamp {
    let Timestamp(time) = time;
    Timestamp(match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => SystemTime::UNIX_EPOCH + Duration::from_secs(after.as_secs()),
        Err(before) => {
            let before = before.duration();
            let fraction = before.subsec_nanos();
            // Backwards from 1970, the second began a whole second before what is left.
            time - Duration::from_nanos(if fraction == 0 { 0 } else { 1_000_000_000 - u64::from(fraction) })
        }
    })
}

fn moment(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse(text).ok_or("write a date, a time and the offset from UTC, such as 2027-01-11T00:00:00Z")
}

/// Prints an answer. Where nobody reads it, the exit code is still the answer.
fn print(text: &str) {
    drop(io::stdout().lock().write_all(text.as_bytes()));
}

fn json(answer: &impl Serialize) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(answer).map_err(Failure::unusable)?;
    text.push('\n');
    Ok(text)
}
