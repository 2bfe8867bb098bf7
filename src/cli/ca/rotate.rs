//! `pinproxy ca rotate`: another CA, which clients learn to trust before it signs.

use super::super::rows::Rows;
use super::super::{Exit, Failure, print};
use super::Which;
use crate::authority::{
    self, Algorithm, CERTIFICATE_FILE, Known, NEXT_CERTIFICATE_FILE, Outlook, PREVIOUS_CERTIFICATE_FILE, RotateError,
    Rotating,
};
use crate::policy::timestamp::Timestamp;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long clients that know the old CA alone should get along after the date; less is told.
const OVERLAP_WANTED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Replace the CA without a day on which clients fail
///
/// Makes a second CA beside the first (ca-next.pem, ca-next.key), which signs from a date on. Until then there is time to
/// have every client trust ca-next.pem, too. Both certify each other, so that a client works that trusts only one of them:
/// only the new one before the date, only the old one from then on, until the rotation is finished or the old CA ends.
/// A running proxy takes this over with its next reload; when the date comes it needs none.
///
/// --finish puts the new CA in the place of the old one, whose certificate is kept as ca-previous.pem, and whose key is
/// removed. It is refused until the new one has signed for a week. --abort removes the new CA; it is refused once that signs.
///
/// Ends with 0 when it is done, with 1 when it is not the time for it, with 2 when the date cannot be, and with 3 when the
/// files of the CA cannot be used.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Example:\n  pinproxy ca rotate --config /etc/pinproxy/pinproxy.toml --in 30d"
)]
pub(super) struct Rotate {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    order: Order,
    /// The key of the new CA; without it, of the kind that the old one has
    #[arg(long, value_name = "KEY", value_enum, conflicts_with_all = ["status", "finish", "abort"])]
    algorithm: Option<Kind>,
    /// Finish or abort all the same, whoever is locked out
    #[arg(long, conflicts_with_all = ["from", "within", "status"])]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What to do; one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Order {
    /// The new CA signs from then on: 2027-01-31, or with time and offset 2027-01-31T06:00:00Z
    #[arg(long, value_name = "DATE", value_parser = date)]
    from: Option<Timestamp>,
    /// The new CA signs when this time is over
    #[arg(long = "in", id = "within", value_name = "TIME", value_parser = humantime::parse_duration)]
    within: Option<Duration>,
    /// Show which CA signs, which one follows from when on, and until when clients with only the old one work
    #[arg(long)]
    status: bool,
    /// Retire the old CA
    #[arg(long)]
    finish: bool,
    /// Give the new CA up
    #[arg(long)]
    abort: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    P256,
    Rsa2048,
}

impl From<Kind> for Algorithm {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::P256 => Self::P256,
            Kind::Rsa2048 => Self::Rsa2048,
        }
    }
}

/// A day means its first second in UTC.
fn date(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse(text)
        .or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")))
        .ok_or("write a day, such as 2027-01-31, or a day with time and offset, such as 2027-01-31T06:00:00Z")
}

/// Does what is asked.
///
/// # Errors
/// [`Failure`], when it cannot be done, or must not.
pub(super) fn execute(arguments: &Rotate) -> Result<Exit, Failure> {
    let now = SystemTime::now();
    let directory = arguments.which.directory(&arguments.which.config()?)?;
    if arguments.order.abort {
        let removed = authority::abort(&directory, arguments.force, now).map_err(|error| failure(&error))?;
        return tell(arguments, &aborted_json(&removed), &aborted(&removed));
    }
    if arguments.order.finish {
        let outlook = authority::finish(&directory, arguments.force, now).map_err(|error| failure(&error))?;
        return tell(arguments, &as_json(&outlook, now), &finished(&outlook, &directory));
    }
    let outlook = match from(&arguments.order, now)? {
        None => authority::outlook(&directory, now).map_err(|error| failure(&error.into()))?,
        Some(from) => {
            let algorithm = arguments.algorithm.map(Algorithm::from);
            authority::begin(&directory, from, algorithm, now).map_err(|error| failure(&error))?
        }
    };
    let mut text = status(&outlook, now);
    if !arguments.order.status {
        text.push_str(&to_do(&outlook, &directory));
    }
    tell(arguments, &as_json(&outlook, now), &text)
}

/// The date of a rotation that is to begin.
fn from(order: &Order, now: SystemTime) -> Result<Option<SystemTime>, Failure> {
    match (order.from, order.within) {
        (Some(Timestamp(from)), _) => Ok(Some(from)),
        (None, Some(within)) => {
            let from = now.checked_add(within);
            from.map(Some).ok_or_else(|| Failure::unusable("that is beyond the calendar; name an earlier date"))
        }
        (None, None) => Ok(None),
    }
}

fn failure(error: &RotateError) -> Failure {
    let exit = match error {
        RotateError::Ca(_) => Exit::Unreachable,
        other if other.is_of_arguments() => Exit::Unusable,
        _ => Exit::NotAsItShouldBe,
    };
    let owner = match error {
        RotateError::Ca(error) => error.owner(),
        _ => None,
    };
    // A root who does as the error says takes the CA from the proxy.
    let hint = owner
        .map(|owner| format!("\nif the proxy runs as uid {owner}, run this as that user, and leave them as they are"));
    Failure { exit, message: format!("{error}{}", hint.unwrap_or_default()) }
}

fn tell(arguments: &Rotate, value: &Value, text: &str) -> Result<Exit, Failure> {
    if arguments.json { print(&format!("{value:#}")) } else { print(text) }?;
    Ok(Exit::Done)
}

/// Which CA signs, and which one follows.
fn status(outlook: &Outlook, now: SystemTime) -> String {
    let mut rows = Rows::default();
    let known = |rows: &mut Rows, name: &str, ca: &Known| {
        rows.row(name, &format!("{}, until {}", ca.subject, Timestamp(ca.not_after)));
        rows.more(&format!("SHA-256 {}", ca.fingerprint));
    };
    match &outlook.rotation {
        None => {
            rows.line("no rotation of the CA runs");
            known(&mut rows, "signs", &outlook.current);
        }
        Some(Rotating { next, from, old_until, .. }) if now < *from => {
            rows.line(&format!("the next CA signs from {} on", Timestamp(*from)));
            known(&mut rows, "signs now", &outlook.current);
            known(&mut rows, "then", next);
            rows.row("old clients", &until(*old_until));
        }
        Some(Rotating { next, from, old_until, .. }) => {
            rows.line(&format!("the next CA signs since {}", Timestamp(*from)));
            known(&mut rows, "signs", next);
            known(&mut rows, "before", &outlook.current);
            rows.row("old clients", &until(*old_until));
        }
    }
    rows.into_text()
}

fn until(end: SystemTime) -> String {
    let end = Timestamp(end);
    format!("those that trust the old CA alone work until {end}, or until the rotation is finished")
}

/// What there is to do when a rotation has begun.
fn to_do(outlook: &Outlook, directory: &Path) -> String {
    let Some(Rotating { from, old_until, is_of_one_name, .. }) = &outlook.rotation else { return String::new() };
    let mut rows = Rows::default();
    let next = directory.join(NEXT_CERTIFICATE_FILE);
    rows.line("to do");
    rows.row("now", "reload each proxy that uses this CA (pinproxy ctl reload, or SIGHUP)");
    rows.row("until then", &format!("have clients trust {} beside {CERTIFICATE_FILE}", next.display()));
    rows.row("later", "pinproxy ca rotate --finish, when the next one has signed for a week");
    if *is_of_one_name {
        rows.line(
            "warning: the CA that signs now allows no other below it (pathlen:0). Programs with GnuTLS (wget, git, apt of \
             Debian), programs in Go, and Firefox that trust it alone fail from the date on; have those trust the next one \
             before",
        );
    }
    if from.checked_add(OVERLAP_WANTED).is_some_and(|wanted| *old_until < wanted) {
        let end = Timestamp(*old_until);
        rows.line(&format!("warning: the CA that signs now ends on {end}; clients that trust it alone fail then"));
    }
    rows.into_text()
}

fn finished(outlook: &Outlook, directory: &Path) -> String {
    let Known { subject, fingerprint, not_after } = &outlook.current;
    let mut rows = Rows::default();
    rows.line("the rotation is finished; clients that trust the old CA alone do not work any more");
    rows.row("signs", &format!("{subject}, until {}", Timestamp(*not_after)));
    rows.more(&format!("SHA-256 {fingerprint}"));
    rows.row("retired", &format!("{}; its key has been removed", directory.join(PREVIOUS_CERTIFICATE_FILE).display()));
    rows.row("to do", "reload each proxy that uses this CA, and take the retired one from the clients");
    rows.into_text()
}

fn aborted(removed: &[PathBuf]) -> String {
    let mut rows = Rows::default();
    rows.line("the rotation is given up, the CA stays what it was; removed:");
    for path in removed {
        rows.row("", &path.display().to_string());
    }
    rows.row("to do", "reload each proxy that uses this CA, and take the next one from the clients");
    rows.into_text()
}

fn aborted_json(removed: &[PathBuf]) -> Value {
    let removed: Vec<_> = removed.iter().map(|path| path.display().to_string()).collect();
    json!({ "removed": removed })
}

fn as_json(outlook: &Outlook, now: SystemTime) -> Value {
    let known = |ca: &Known| json!({ "subject": ca.subject, "fingerprint": ca.fingerprint, "not-after": Timestamp(ca.not_after) });
    let rotation = outlook.rotation.as_ref();
    json!({
        "current": known(&outlook.current),
        "next": rotation.map(|rotation| known(&rotation.next)),
        "signs-from": rotation.map(|rotation| Timestamp(rotation.from)),
        "has-taken-over": rotation.is_some_and(|rotation| now >= rotation.from),
        "old-clients-until": rotation.map(|rotation| Timestamp(rotation.old_until)),
    })
}
