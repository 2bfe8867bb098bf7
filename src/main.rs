//! The program: arguments to a command, its outcome to an exit code.

use clap::Parser as _;
use pinproxy::cli::{Arguments, execute};
use std::io::Write as _;
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

/// Gives memory back: what a burst of sessions needed goes to the system within seconds of their end.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match execute(Arguments::parse()) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // Where the message cannot be written the exit code still tells.
            drop(writeln!(std::io::stderr().lock(), "pinproxy: {}", failure.message));
            failure.exit.into()
        }
    }
}
