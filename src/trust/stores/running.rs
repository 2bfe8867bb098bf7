//! Programs of others, run without a shell.

use super::found::Machine;
use super::plan::Call;
use crate::policy::printable::tellable;
use std::io::{self, Write as _};
use std::process::Command;
use std::thread;

/// Characters that are told of what a program has said.
const SAID_CHARACTERS_MAX: usize = 600;

/// How a program ended.
pub(super) struct Ended {
    /// Its exit code; none when a signal ended it.
    pub(super) code: Option<i32>,
    /// What it wrote to its standard output.
    pub(super) out: Vec<u8>,
    /// What it wrote to both, in one line.
    pub(super) said: String,
}

/// Runs a program to its end, and gives it this to read. `None` when it is not installed.
///
/// # Errors
/// When it cannot be started.
pub(super) fn run(call: &Call, machine: &Machine, certificate_pem: &str) -> io::Result<Option<Ended>> {
    let Some(program) = machine.program(&call.program) else { return Ok(None) };
    let mut command = Command::new(program);
    // What they say is read, so that it has to be in one language; and Java says more, and may trust others, by its options.
    command.args(&call.arguments).env("LC_ALL", "C").env_remove("JAVA_TOOL_OPTIONS").env_remove("JDK_JAVA_OPTIONS");
    let (input, mut feed) = io::pipe()?;
    let text = if call.reads_certificate { certificate_pem.to_owned() } else { String::new() };
    // A pipe takes only so much, and a program may end without having read all of it, which it is judged by, not by this.
    let feeding = thread::spawn(move || drop(feed.write_all(text.as_bytes())));
    let output = command.stdin(input).output();
    // Our end for reading goes with it, so that the other one does not wait.
    drop(command);
    let _ = feeding.join();
    let output = output?;
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
    let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said = tellable(&lines.join(" / "), SAID_CHARACTERS_MAX);
    Ok(Some(Ended { code: output.status.code(), out: output.stdout, said }))
}
