//! Observed chains from a file of JSON lines.

use super::super::Failure;
use crate::policy::compare::{Judge, Observation, Tally, Verdicts};
use crate::policy::host::{Authority, Host};
use crate::policy::pin::Pin;
use crate::policy::timestamp::Timestamp;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::num::NonZeroU16;
use std::path::Path;

/// Longest line in octets.
const LINE_OCTETS_MAX: u64 = 64 << 10;

/// Most lines of a file.
const LINES_MAX: u64 = 1_000_000;

/// As it is written. A later version may write more about a chain; what is not known here is passed over.
#[derive(Debug, Deserialize)]
struct Line {
    host: String,
    port: NonZeroU16,
    path: Vec<String>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
enum ObservedError {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("line {number}: {what}")]
    Line { number: u64, what: String },
    #[error("there are more than {0} lines; give the latest of them")]
    Lines(u64),
}

/// Holds every chain of a file against two sides.
pub(super) fn judge(path: &Path, old: Judge<'_>, new: Judge<'_>, at: Timestamp) -> Result<Verdicts, Failure> {
    let mut tally = Tally::new(old, new, at);
    let judged = File::open(path)
        .map_err(ObservedError::from)
        .and_then(|file| read(BufReader::new(file), LINES_MAX, |observation| tally.add(&observation)));
    judged.map_err(|error| {
        let message = format!("the observed chains in {} cannot be used: {error}", path.display());
        match error {
            ObservedError::Read(_) => Failure::unreachable(message),
            ObservedError::Line { .. } | ObservedError::Lines(_) => Failure::unusable(message),
        }
    })?;
    Ok(tally.finish())
}

fn read(mut source: impl BufRead, lines_max: u64, mut take: impl FnMut(Observation)) -> Result<(), ObservedError> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if source.by_ref().take(LINE_OCTETS_MAX + 1).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if number > lines_max {
            return Err(ObservedError::Lines(lines_max));
        }
        let wrong = |what: String| ObservedError::Line { number, what };
        if line.strip_suffix(b"\n").unwrap_or(&line).len() as u64 > LINE_OCTETS_MAX {
            return Err(wrong(format!("it is longer than {} KiB", LINE_OCTETS_MAX >> 10)));
        }
        take(parse(&line).map_err(wrong)?);
    }
    Ok(())
}

fn parse(line: &[u8]) -> Result<Observation, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| {
        // Of a single line the column is enough.
        let column = error.column();
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or_default();
        format!(
            "{what} (column {column}); write {{\"host\":\"api.bank.example\",\"port\":443,\"path\":[\"sha256/…\"]}}"
        )
    })?;
    let host = Host::parse(&line.host).map_err(|error| format!("{:?}: {error}", line.host))?;
    let path = line.path.iter().map(|text| match Pin::parse(text) {
        Ok(Pin::Spki(digest)) => Ok(digest),
        Ok(Pin::Certificate(_)) => Err(format!("{text:?} is the digest of a certificate; a path has those of keys")),
        Err(error) => Err(format!("{text:?}: {error}")),
    });
    let path = path.collect::<Result<Vec<_>, _>>()?;
    if path.is_empty() {
        return Err("the path is empty".to_owned());
    }
    Ok(Observation { authority: Authority { host, port: line.port }, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "3f8518a9bb7c473e92e1b334b7588b1e237e1775df079ade78d7a0b36219b4f0";
    const KEY: &str = "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=";

    fn outcome(text: &[u8]) -> Result<Vec<String>, String> {
        let mut taken = Vec::new();
        let mut take = |observation: Observation| {
            taken.push(format!("{:?} {}", observation.authority.host, observation.path.len()));
        };
        read(text, LINES_MAX, &mut take).map(|()| taken).map_err(|error| error.to_string())
    }

    #[test]
    fn refused_lines() {
        let good = format!("{{\"host\":\"a.example\",\"port\":443,\"path\":[\"{KEY}\"]}}\n");
        let line = |host: &str, port: &str, path: &str| format!("{{\"host\":{host},\"port\":{port},\"path\":{path}}}");
        let table = [
            (String::new(), "EOF while parsing"),
            ("[]".into(), "invalid length 0"),
            ("{}".into(), "missing field `host`"),
            (line("\"a.example\"", "443", "[]"), "the path is empty"),
            (line("\"a.example\"", "443", &format!("[\"{KEY}\"")), "expected `,` or `]`"),
            (line("\"a.example\"", "0", &format!("[\"{KEY}\"]")), "nonzero"),
            (line("\"a.example\"", "65536", &format!("[\"{KEY}\"]")), "65536"),
            (line("\"a..example\"", "443", &format!("[\"{KEY}\"]")), "empty label"),
            (line("\"*.example\"", "443", &format!("[\"{KEY}\"]")), "no host name may contain"),
            (line("\"a.example\"", "443", "[\"sha1/x\"]"), "SHA-1 pins are refused"),
            (line("\"a.example\"", "443", "[\"sha256/x\"]"), "not base64"),
            (line("\"a.example\"", "443", &format!("[\"cert:sha256:{CERTIFICATE}\"]")), "of a certificate"),
            (format!("{} {{}}", good.trim_end()), "trailing characters"),
        ];
        for (text, part) in table {
            let error = outcome(format!("{good}{text}\n").as_bytes()).expect_err(&text);
            assert!(error.starts_with("line 2: ") && error.contains(part), "{text:?} gave {error:?}");
        }
        let invalid = outcome(b"{\"host\":\"\xff\"}\n").unwrap_err();
        assert!(invalid.starts_with("line 1: "), "{invalid}");
    }

    #[test]
    fn lines_are_bounded() {
        let limit = usize::try_from(LINE_OCTETS_MAX).unwrap();
        let line = |length: usize| {
            let line = format!("{{\"host\":\"a.example\",\"port\":443,\"path\":[\"{KEY}\"]}}");
            format!("{line}{}", " ".repeat(length - line.len()))
        };
        assert_eq!(outcome(line(limit).as_bytes()), Ok(vec!["a.example 1".to_owned()]));
        assert_eq!(outcome(format!("{}\n", line(limit)).as_bytes()), Ok(vec!["a.example 1".to_owned()]));
        assert_eq!(outcome(line(limit + 1).as_bytes()), Err("line 1: it is longer than 64 KiB".to_owned()));
        let endless = BufReader::new(io::repeat(b'x'));
        assert_eq!(read(endless, LINES_MAX, |_| ()).unwrap_err().to_string(), "line 1: it is longer than 64 KiB");
    }

    #[test]
    fn lines_are_counted() {
        let line = format!("{{\"host\":\"a.example\",\"port\":443,\"path\":[\"{KEY}\"]}}\n");
        let counted = |lines: usize| {
            let mut taken = 0;
            read(line.repeat(lines).as_bytes(), 3, |_| taken += 1).map(|()| taken).map_err(|error| error.to_string())
        };
        assert_eq!(counted(3), Ok(3));
        assert_eq!(counted(4), Err("there are more than 3 lines; give the latest of them".to_owned()));
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        let text = format!("{{\"host\":\"[2001:DB8::1]\",\"port\":8443,\"path\":[\"{KEY}\",\"{KEY}\"],\"count\":7}}");
        assert_eq!(outcome(text.as_bytes()), Ok(vec!["[2001:db8::1] 2".to_owned()]));
        assert_eq!(outcome(b""), Ok(vec![]));
    }
}
