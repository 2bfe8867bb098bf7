//! `[reports]`: where violations are told.

use super::code::Code;
use super::item::{Item, Located, Word};
use super::report_url::{ReportUrl, ReportUrlError, is_this_machine};
use super::shape::{Key, Keys, Shape};
use super::table::Table;
use crate::policy::host::Authority;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Receivers of reports by `urls`. Each has a place of its own in the spool, and connections of its own.
pub const REPORT_URLS_MAX: usize = 16;

/// How long one report may stand for those that say the same. Longer, an attack looks like an old story.
const DEDUPLICATE_FOR: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 60 * 60);
/// Reports that are sent to each receiver a minute: more than a hundred a second are more than anybody reads.
const PER_MINUTE: RangeInclusive<u64> = 1..=6_000;
/// Reports that the spool keeps. One has about 8 KiB, and a hostile upstream can make it 100.
const SPOOL_MAX: RangeInclusive<u64> = 1..=100_000;

/// What every address of a report begins with.
const URL: &str = "^https?://[^/]";
/// What every address of a syslog daemon begins with.
const SYSLOG: &str = "^(unix:/|udp://|tcp://)";

pub(super) const REPORTS: Keys = Keys::new(&[
    Key::new(
        "urls",
        Shape::List(&Shape::Address(URL)),
        "Where violations are sent by POST; https, or http to this machine.",
    )
    .by_default("[]"),
    Key::new("syslog", Shape::Text(SYSLOG), "Where they are sent as RFC 5424 messages; else nowhere."),
    Key::new("spool", Shape::Path, "The folder that keeps reports until they are sent; needed with urls and syslog."),
    Key::new(
        "spool_max",
        Shape::Number(&SPOOL_MAX),
        "Reports that the spool keeps; further ones are lost, and counted.",
    )
    .by_default("10_000"),
    Key::new(
        "deduplicate_for",
        Shape::Duration(&DEDUPLICATE_FOR),
        "How long one report stands for all alike, 1s to 7d.",
    )
    .by_default("\"1h\""),
    Key::new("per_minute", Shape::Number(&PER_MINUTE), "Reports that each receiver gets in a minute; others wait.")
        .by_default("60"),
    Key::new("file", Shape::Path, "One JSON object for each pin violation; else no file."),
    Key::new("client_id", Shape::Word(&CLIENT_IDS), "How a report names the client.").by_default("\"hashed\""),
]);

const CLIENT_IDS: &[Word<ClientId>] =
    &[("none", Some(ClientId::None)), ("hashed", Some(ClientId::Hashed)), ("plain", Some(ClientId::Plain))];

/// Reports of pin violations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reports {
    /// Receivers by HTTP. Default: none.
    pub urls: Vec<ReportUrl>,
    /// A syslog daemon. Default: none.
    pub syslog: Option<SyslogAddress>,
    /// The folder that keeps reports until they are sent. Never absent where there is somebody to send them to.
    pub spool: Option<PathBuf>,
    /// Reports that the spool keeps. Default: 10 000.
    pub spool_max: u64,
    /// How long one report stands for all that say the same. Default: an hour.
    pub deduplicate_for: Duration,
    /// Reports that each receiver gets in a minute. Default: 60.
    pub per_minute: usize,
    /// A file that gets one JSON object a line. Default: none.
    pub file: Option<PathBuf>,
    /// How a report names the client. Default: hashed.
    pub client_id: ClientId,
}

/// How a report names the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientId {
    /// Not at all.
    None,
    /// By a digest of its address that only this run of the proxy can repeat.
    Hashed,
    /// By its address.
    Plain,
}

/// Where a syslog daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// Datagrams to a socket of this machine.
    Unix(PathBuf),
    /// Datagrams.
    Udp(Authority),
    /// A stream, each message behind the count of its octets (RFC 6587 section 3.4.1).
    Tcp(Authority),
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            syslog: None,
            spool: None,
            spool_max: 10_000,
            deduplicate_for: Duration::from_secs(60 * 60),
            per_minute: 60,
            file: None,
            client_id: ClientId::Hashed,
        }
    }
}

impl SyslogAddress {
    /// `unix:/dev/log`, `udp://HOST:PORT`, `tcp://HOST:PORT`; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return path.starts_with('/').then(|| Self::Unix(path.into()));
        }
        let (scheme, authority) = text.split_once("://")?;
        let authority = Authority::parse(authority).ok()?;
        match scheme {
            "udp" => Some(Self::Udp(authority)),
            "tcp" => Some(Self::Tcp(authority)),
            _ => None,
        }
    }
}

/// The form of the configuration.
impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(authority) => write!(f, "udp://{authority}"),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
        }
    }
}

pub(super) fn read_reports(root: &Table<'_>) -> Reports {
    let mut reports = Reports::default();
    let Some(table) = root.table("reports") else { return reports };
    reports.file = table.item("file").and_then(|item| item.path());
    reports.urls = table.item("urls").map(|item| read_urls(&item)).unwrap_or_default();
    reports.syslog = table.item("syslog").and_then(|item| read_syslog(&item));
    reports.spool = table.item("spool").and_then(|item| item.path());
    let number = |key: &str| table.item(key).and_then(|item| item.number());
    reports.spool_max = number("spool_max").unwrap_or(reports.spool_max);
    let per_minute = number("per_minute").and_then(|number| usize::try_from(number).ok());
    reports.per_minute = per_minute.unwrap_or(reports.per_minute);
    let duration = table.item("deduplicate_for").and_then(|item| item.duration());
    reports.deduplicate_for = duration.unwrap_or(reports.deduplicate_for);
    let client_id = table.item("client_id").and_then(|item| item.choice(CLIENT_IDS));
    reports.client_id = client_id.unwrap_or(reports.client_id);
    if !reports.urls.is_empty() || reports.syslog.is_some() {
        let help = "reports that are sent wait in a folder of the proxy, so that none is lost when a receiver or the proxy \
                    is down: write spool = \"/var/lib/pinproxy/reports\"";
        table.required("spool", Code::E14, help);
    }
    reports
}

fn read_urls(item: &Item<'_>) -> Vec<ReportUrl> {
    let elements = item.elements().unwrap_or_default();
    if elements.len() > REPORT_URLS_MAX {
        item.refuse(
            &format!("has more than {REPORT_URLS_MAX} addresses"),
            "send to one of them, and let it pass them on",
        );
        return Vec::new();
    }
    let mut urls: Vec<Located<ReportUrl>> = Vec::new();
    for element in &elements {
        let Some(Located { value: text, span }) = element.words() else { continue };
        match ReportUrl::parse(text) {
            Err(error @ ReportUrlError::ClearText) => {
                let help = "write https://; http:// is for receivers on this machine, as in http://127.0.0.1:8000/";
                item.findings.error(Code::E70, &span, format!("{} {error}", item.path), help);
            }
            Err(error) => {
                let help = "write it as https://host/path, or https://user:password@host/path with what is special in the \
                            password as %XX";
                element.refuse(&error.to_string(), help);
            }
            Ok(url) => {
                if let Some(first) = urls.iter().find(|known| known.value.uri() == url.uri()) {
                    let note = (&first.span, "first given here");
                    let message = "one address for reports is given twice";
                    item.findings.conflict(Code::E46, &span, message, note, "remove one of them");
                    continue;
                }
                urls.push(Located { value: url, span });
            }
        }
    }
    urls.into_iter().map(|url| url.value).collect()
}

fn read_syslog(item: &Item<'_>) -> Option<SyslogAddress> {
    let text = item.words()?;
    let address = SyslogAddress::parse(text.value);
    if address.is_none() {
        let help = "write \"unix:/dev/log\", \"udp://HOST:PORT\" or \"tcp://HOST:PORT\"";
        item.refuse("is not the address of a syslog daemon", help);
    }
    if let Some(SyslogAddress::Udp(to) | SyslogAddress::Tcp(to)) = &address
        && !is_this_machine(&to.host)
    {
        let help =
            "write \"unix:/dev/log\", and let the daemon of this machine pass them on by TLS; or send reports to urls";
        item.findings.warning(Code::W82, &item.span(), "reports are sent to syslog in clear text", help);
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_syslog() {
        for text in ["unix:/dev/log", "udp://log.example:514", "tcp://127.0.0.1:601", "tcp://[::1]:601"] {
            assert_eq!(SyslogAddress::parse(text).map(|address| address.to_string()).as_deref(), Some(text));
        }
        for text in
            ["", "unix:", "unix:dev/log", "/dev/log", "udp://log.example", "tls://log.example:6514", "tcp://:601"]
        {
            assert_eq!(SyslogAddress::parse(text), None, "{text}");
        }
    }
}
