//! What is written about the codes: the page `config/LINTS.md`, and what `pinproxy config explain` and `config lints`
//! print.

use super::code::{Class, Code, Severity};
use serde::Serialize;
use std::fmt::Write as _;

/// What stands in front of the codes.
const HEAD: &str = r"# Findings of `pinproxy config check`

Printed by `pinproxy config lints --markdown`; a test keeps the two in step. Every example is a file of
`tests/vectors/lint`, checked as on 2026-11-21.

The letter of a code is its severity. An **E**rror keeps the configuration from being used: `pinproxy run` does not start
with it, and a running proxy that is told to reload keeps what it has. One exception: where the text and every file can be
read, and only what trust anchors hold is at fault (E65 about anchors that cannot be used any more; E12, E13, E38 and E60
where an anchor shows it), a start goes on, because other hosts need not depend on it. A reload does not, unless what is in
force has the same fault by then: the new file is no worse, and what else it says, such as a key that is blocked, must not
be kept out. Nor does what a block does to anchors that are in force keep a reload out, even where it leaves a pinset
without one; a key that is both blocked and pinned is E38 all the same. A **W**arning does not keep anything from being
used, but somebody should look; `--strict` makes it an error. An **I**nfo is worth knowing, and stays one.

| exit code of `config check` | when |
|---|---|
| 0 | no error; with `--strict` no warning either |
| 1 | everything can be read, and what it says would lock people out or protect less than it seems to (class `unsafe`) |
| 2 | the text, or a value in it, cannot be read, or a name in it stands for nothing or for two things (class `malformed`) |
| 3 | with `--probe`: there is no error, and a host could not be reached |

Where there are errors of both classes it is 2. `pinproxy run` ends with 3 where a file cannot be read or used (E19, E65,
E66), and with 2 for every other error.

`config check` looks at the text, and at the files and the clock of this machine (W41, W59, W64, E65, E66, W83, E84, W84). It connects to
nothing but with `--probe`: then it makes a TLS handshake with every pinned host that is no wildcard, as the proxy would,
and judges all paths that verify (E32, E39, W40, W55, and W28 for certain). The mode, the rollout and the end of a pinset
do not matter there: E39 tells what would happen if it were enforced.

`config check --json` prints one object: `format` (1), `strict`, `fault` (the worst class of an error, or null), `errors`,
`warnings`, `infos`, `left-out` (findings that are counted and not listed) and `diagnostics`, an array of objects with

| member | what |
|---|---|
| `code`, `severity`, `class` | as on this page; `--strict` changes the severity |
| `message` | what is wrong, with the names at this place |
| `consequence` | what goes wrong for users if it stays, as on this page |
| `help` | what to write at this place |
| `file` | as it was named |
| `line`, `column`, `end-line`, `end-column` | from 1, columns in characters, the end behind the last character; absent where the file as a whole is meant |
| `related` | an array of second places: `message`, `file`, and the four above |

With `--probe` the object has `probed`, an array of objects with `host`, `pinset`, `outcome` (`accepted`, `refused`,
`unreachable`, `forbidden` by the access rules, `not-probed` in time, or `skipped`), `detail`, `address` (where none
answered, the first one), `subject`, `issuer`, `ends`, `ended`, `days-left` (whole days; negative when it ended longer ago than a day), `paths` (how many
verified) and `matched` (`pin`, `position` in the path from 0, and the first `path` that has it, from 1); what is not
known is null.

Members may be added without a new `format`. `config check --sarif` prints the same as SARIF 2.1.0, with paths relative to
the current folder, and `probed` among the properties of the run.

";

/// What stands behind them.
const TAIL: &str = "## Codes that do not occur

E42 (a certificate pin on an anchor whose certificate is not known) and E72 (resumption shared across generations)
cannot occur here: every anchor keeps its certificate, and resumption never crosses generations. Nor can W74 (reports that
are not deduplicated): they are, for one second at least. A report URL whose host is pinned or blocked is no fault: reports do
not go through the proxy, and are sent under the roots of `[upstream]` alone.
";

/// The page of all codes, in Markdown.
pub fn lints_page() -> String {
    let mut page = HEAD.to_owned();
    page += "| code | severity | exit code | title |\n|---|---|---|---|\n";
    for code in Code::ALL {
        let anchor = code.as_str().to_lowercase();
        let (severity, title) = (code.severity().as_str(), code.title());
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| [{code}](#{anchor}) | {severity} | {} | {title} |", exit_code(*code));
    }
    for code in Code::ALL {
        let _ = write!(
            page,
            "\n## {code}\n\n{}. {}, exit code {}.\n\n**If it stays:** {}\n\n**Fix:** {}\n\nFails:\n\n```toml\n{}```\n\n\
             Passes:\n\n```toml\n{}```\n",
            code.title(),
            capitalised(code.severity()),
            exit_code(*code),
            code.consequence(),
            code.fix(),
            code.failing_example(),
            code.passing_example(),
        );
    }
    page + "\n" + TAIL
}

/// One code, for people at a terminal.
pub fn explanation(code: Code) -> String {
    format!(
        "{code}: {}\n{}, exit code {}\n\nIf it stays: {}\n\nFix: {}\n\nFails:\n\n{}\nPasses:\n\n{}",
        code.title(),
        code.severity().as_str(),
        exit_code(code),
        code.consequence(),
        code.fix(),
        indented(code.failing_example()),
        indented(code.passing_example()),
    )
}

/// All codes, a line each.
pub fn lints_table() -> String {
    let mut table = String::from("code  severity  exit code           title\n");
    for code in Code::ALL {
        let _ =
            writeln!(table, "{code:<4}  {:<8}  {:<18}  {}", code.severity().as_str(), exit_code(*code), code.title());
    }
    table
}

/// All codes with their texts, as a JSON array of one line.
pub fn rules_json() -> String {
    #[derive(Serialize)]
    struct Rule {
        code: Code,
        severity: Severity,
        class: Class,
        title: &'static str,
        consequence: &'static str,
        fix: &'static str,
    }
    let rules = Code::ALL.iter().map(|code| Rule {
        code: *code,
        severity: code.severity(),
        class: code.class(),
        title: code.title(),
        consequence: code.consequence(),
        fix: code.fix(),
    });
    serde_json::to_string(&rules.collect::<Vec<_>>()).unwrap_or_else(|error| unreachable!("texts alone: {error}"))
}

/// How `config check` ends when this is the worst finding.
const fn exit_code(code: Code) -> &'static str {
    match (code.severity(), code.class()) {
        (Severity::Error, Class::Malformed) => "2",
        (Severity::Error, Class::Unsafe) => "1",
        (Severity::Warning, _) => "0, with --strict 1",
        (Severity::Info, _) => "0",
    }
}

const fn capitalised(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "Error",
        Severity::Warning => "Warning",
        Severity::Info => "Info",
    }
}

fn indented(example: &str) -> String {
    example.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect()
}
