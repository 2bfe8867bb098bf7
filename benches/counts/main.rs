//! Instructions of the parts of a session that wait for nobody else, held against `baseline.toml`. A busy machine does not
//! change them, so that a part that has become dearer is seen where times tell nothing.
//!
//! ```sh
//! cargo bench --profile counts --bench counts                 # all parts; an error where one differs
//! cargo bench --profile counts --bench counts -- verify       # those whose names contain this
//! cargo bench --profile counts --bench counts -- --renew      # writes the figures down
//! ```
//!
//! Each part is done by the one thread of a process of its own under valgrind's callgrind, which is to be installed (Debian:
//! `valgrind`). valgrind shows programs a processor of its own, on machines with AVX2 one without AVX-512 and without the
//! instructions for SHA: cryptography and searches are counted as they are done there, so the file says what was seen of it.
//! The allocator is that of the C library, and nothing is optimised across crates, unlike in the program: figures are to be
//! held against those of the same part before, not against times.

mod baseline;
mod parts;

use baseline::{Baseline, FILE, RENEW};
use parts::{PARTS, Part};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

/// How this is built so that the name of [`counted_rounds`] is kept, and run.
const RUN: &str = "cargo bench --profile counts --bench counts";
/// What the bench tells this program to be the child that is counted.
const COUNTED: &str = "--counted";
/// What it tells it to be the child that says which processor it sees.
const PROCESSOR: &str = "--processor";

/// What is counted: callgrind looks for the name of this function.
#[inline(never)]
fn counted_rounds(part: &mut dyn FnMut(usize), rounds: usize) {
    for round in 1..=rounds {
        part(round);
    }
}

fn main() -> ExitCode {
    // cargo adds a word of its own.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [COUNTED, name] => be_counted(name),
        [PROCESSOR] => {
            tell(&processor());
            Ok(())
        }
        ["--renew"] => renew(),
        ref words if words.iter().all(|word| !word.starts_with('-')) => compare(words),
        _ => {
            Err(format!("instruction counts take words that parts are chosen by, or --renew alone, not: {arguments:?}"))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Where it cannot be written the exit code still tells.
            drop(writeln!(std::io::stderr().lock(), "error: {message}"));
            ExitCode::FAILURE
        }
    }
}

fn tell(line: &str) {
    // Where it cannot be written the exit code still tells.
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

/// Does the rounds of a part, and one before them which is not counted: it fills what is made on first use.
fn be_counted(name: &str) -> Result<(), String> {
    let part = PARTS.iter().find(|part| part.name == name).ok_or_else(|| format!("there is no part {name}"))?;
    let mut prepared = (part.prepare)();
    prepared(0);
    one_thread(name)?;
    counted_rounds(&mut *prepared, part.rounds);
    one_thread(name)
}

/// callgrind counts nothing that another thread does, and what one thread leaves to another differs from run to run.
fn one_thread(name: &str) -> Result<(), String> {
    let threads = std::fs::read_dir("/proc/self/task").map_err(|error| format!("the threads of {name}: {error}"))?;
    match threads.count() {
        1 => Ok(()),
        count => Err(format!("{name} is to be done by one thread, and has {count}")),
    }
}

/// What the libraries choose their code by. Empty on architectures that are not known here.
fn processor() -> String {
    macro_rules! seen {
        ($detected:ident, $($feature:tt),*) => {
            [$(($feature, std::arch::$detected!($feature))),*].into_iter().filter(|(_, seen)| *seen)
        };
    }
    #[cfg(target_arch = "x86_64")]
    let seen = seen!(
        is_x86_feature_detected,
        "ssse3",
        "sse4.1",
        "sse4.2",
        "aes",
        "pclmulqdq",
        "avx",
        "avx2",
        "bmi1",
        "bmi2",
        "adx",
        "movbe",
        "sha",
        "vaes",
        "avx512f"
    );
    #[cfg(target_arch = "aarch64")]
    let seen = seen!(is_aarch64_feature_detected, "neon", "aes", "sha2", "sha3", "sve");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let seen = std::iter::empty::<(&str, bool)>();
    seen.map(|(feature, _)| feature).collect::<Vec<_>>().join(" ")
}

/// Holds parts against the baseline: those whose names contain one of the words, or all if there is none.
fn compare(words: &[&str]) -> Result<(), String> {
    let text = std::fs::read_to_string(file()).map_err(|error| format!("{FILE}: {error}; make it with: {RENEW}"))?;
    let baseline: Baseline = toml::from_str(&text).map_err(|error| format!("{FILE}: {error}"))?;
    let names: Vec<_> = PARTS.iter().map(|part| part.name).collect();
    let mut faults: Vec<_> = baseline.gone(&names).collect();
    let chosen = |part: &&Part| words.is_empty() || words.iter().any(|word| part.name.contains(word));
    if !PARTS.iter().any(|part| chosen(&part)) {
        return Err(format!("no part is called so: {}; there are {}", words.join(" "), names.join(", ")));
    }
    let here = counted_with();
    let (tolerance, others) = (baseline.tolerance(&here), baseline.others(&here).join("; "));
    if !others.is_empty() {
        tell(&format!("the baseline was counted with others, so {tolerance} % are allowed: {others}"));
    }
    for part in PARTS.iter().filter(chosen) {
        let figure = count(part)?;
        let known = baseline.instructions.get(part.name);
        let change = known.map_or("new".to_owned(), |known| format!("{:+.2} %", baseline::change(figure, *known)));
        tell(&format!("{:<26} {figure:>9} instructions {change:>9}", part.name));
        faults.extend(baseline.fault(part.name, figure, tolerance));
    }
    if faults.is_empty() {
        return Ok(());
    }
    if !others.is_empty() {
        faults.push(format!("the baseline was counted with others, which may be all of it: {others}"));
    }
    Err(faults.join("\nerror: "))
}

/// Writes the baseline anew, whatever was in it.
fn renew() -> Result<(), String> {
    let figures = PARTS.iter().map(|part| Ok((part.name, count(part)?))).collect::<Result<Vec<_>, String>>()?;
    let text = baseline::text(&counted_with(), &figures);
    std::fs::write(file(), &text).map_err(|error| format!("{FILE}: {error}"))?;
    tell(&format!("{FILE} is written:\n\n{text}"));
    Ok(())
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE)
}

/// Instructions of one round.
fn count(part: &Part) -> Result<u64, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("a temporary folder: {error}"))?;
    let told = folder.path().join("callgrind");
    let out = format!("--callgrind-out-file={}", told.display());
    under_valgrind(&["--tool=callgrind", "--toggle-collect=*counted_rounds*", &out], &[COUNTED, part.name])
        .map_err(|error| format!("{}: {error}", part.name))?;
    let text = std::fs::read_to_string(&told).map_err(|error| format!("{}: {error}", told.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<u64>().ok());
    match total {
        Some(total) if total > 0 => Ok(total / part.rounds as u64),
        // Other profiles strip the name of the function.
        _ => Err(format!("callgrind has counted nothing of {}; build the bench by its profile: {RUN}", part.name)),
    }
}

/// Runs this program under a tool of valgrind.
fn under_valgrind(tool: &[&str], arguments: &[&str]) -> Result<Output, String> {
    let program = std::env::current_exe().map_err(|error| format!("the path of this program: {error}"))?;
    let mut valgrind = Command::new("valgrind");
    // OPENSSL_ia32cap and GLIBC_TUNABLES choose other code, LD_PRELOAD brings more.
    valgrind.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
    run(valgrind.arg("--quiet").args(tool).arg(program).args(arguments))
}

/// What the counts depend on besides the sources: programs, and the processor that valgrind shows, by which libraries
/// choose their code.
fn counted_with() -> BTreeMap<String, String> {
    let processor = under_valgrind(&["--tool=none"], &[PROCESSOR]);
    let processor = processor.map(|output| String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    let version = |program: &str| {
        // rustup goes by the folder.
        let output = run(Command::new(program).arg("--version").current_dir(env!("CARGO_MANIFEST_DIR"))).ok()?;
        String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
    };
    let programs = ["cc", "ldd", "rustc", "valgrind"].map(|program| (program, version(program)));
    let versions = programs.map(|(program, version)| (program.to_owned(), version.unwrap_or("unknown".to_owned())));
    let machine = [
        ("machine".to_owned(), std::env::consts::ARCH.to_owned()),
        ("processor".to_owned(), processor.unwrap_or("unknown".to_owned())),
    ];
    versions.into_iter().chain(machine).collect()
}

/// Runs a program to its end.
fn run(command: &mut Command) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name} cannot be run: {error}; install it"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{name} ended with {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end()))
}
