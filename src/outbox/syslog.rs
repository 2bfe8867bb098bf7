//! Reports as messages of RFC 5424.

use super::delivery::{Answer, Receiver};
use super::spool::Spooled;
use crate::config::SyslogAddress;
use serde_json::Value;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, lookup_host};
use tokio::time::timeout;

/// Octets of a message by UDP: what every receiver should take (RFC 5424 section 6.1).
pub const UDP_OCTETS_MAX: usize = 2048;
/// Octets of a message to a socket of this machine: what common daemons take without being told.
pub const UNIX_OCTETS_MAX: usize = 8192;
/// For connecting and sending.
pub const SYSLOG_TIMEOUT: Duration = Duration::from_secs(10);

/// Facility 10, security messages; severity 4, warning.
const PRIORITY: u8 = 10 * 8 + 4;
/// The structured data of a report. 32473 is the number that RFC 5612 sets aside for those who have none.
const STRUCTURED_DATA_ID: &str = "pinproxy@32473";
/// Octets of HOSTNAME.
const HOSTNAME_OCTETS_MAX: usize = 255;
/// Octets of the value of a parameter; a session is named by fewer.
const VALUE_OCTETS_MAX: usize = 256;
/// What is left out of a message that is too long: whoever wants certificates takes reports by another way.
const CHAINS: [&str; 2] = ["served-certificate-chain", "validated-certificate-chain"];

/// A syslog daemon.
#[derive(Debug)]
pub(super) struct Syslog {
    address: SyslogAddress,
    hostname: String,
    /// Kept between messages.
    stream: Option<TcpStream>,
}

impl Syslog {
    pub(super) fn new(address: SyslogAddress) -> Self {
        let name = rustix::system::uname();
        Self { address, hostname: hostname(&name.nodename().to_string_lossy()), stream: None }
    }

    async fn pass_on(&mut self, report: &Spooled) -> io::Result<()> {
        match self.address.clone() {
            SyslogAddress::Unix(path) => {
                let message = message(report, &self.hostname, Some(UNIX_OCTETS_MAX));
                whole(&message, send_unix(&path, &message).await?)
            }
            SyslogAddress::Udp(authority) => {
                let message = message(report, &self.hostname, Some(UDP_OCTETS_MAX));
                whole(&message, send_udp(&authority.to_string(), &message).await?)
            }
            SyslogAddress::Tcp(authority) => {
                let message = message(report, &self.hostname, None);
                let mut framed = format!("{} ", message.len()).into_bytes();
                framed.extend_from_slice(&message);
                // Put back when all is written: a stream that broke off in a message is of no further use.
                let mut stream = match self.stream.take().filter(is_open) {
                    Some(stream) => stream,
                    None => TcpStream::connect(authority.to_string()).await?,
                };
                stream.write_all(&framed).await?;
                self.stream = Some(stream);
                Ok(())
            }
        }
    }
}

impl Receiver for Syslog {
    /// Syslog answers nothing: a message is taken when the system has taken it.
    async fn send(&mut self, report: &Spooled) -> Answer {
        let why = match timeout(SYSLOG_TIMEOUT, self.pass_on(report)).await {
            Ok(Ok(())) => return Answer::Taken,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it was not sent within {} seconds", SYSLOG_TIMEOUT.as_secs()),
        };
        Answer::Failed { why, retry_after: None }
    }
}

/// Whether the other side has not closed it. A daemon sends nothing, so what can be read is the end.
fn is_open(stream: &TcpStream) -> bool {
    let mut octet = [0];
    stream.try_read(&mut octet).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

async fn send_unix(path: &Path, message: &[u8]) -> io::Result<usize> {
    let socket = UnixDatagram::unbound()?;
    socket.send_to(message, path).await
}

async fn send_udp(authority: &str, message: &[u8]) -> io::Result<usize> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host(authority).await? {
        let any = match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        match UdpSocket::bind((any, 0)).await?.send_to(message, address).await {
            Ok(sent) => return Ok(sent),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn whole(message: &[u8], sent: usize) -> io::Result<()> {
    if sent == message.len() { Ok(()) } else { Err(io::Error::other("a part of the message was sent")) }
}

/// A message with this many octets at most. One that is longer goes without its certificates, and says so; one that is
/// longer still ends where it has to.
fn message(report: &Spooled, hostname: &str, octets_max: Option<usize>) -> Vec<u8> {
    let fields: Value = serde_json::from_slice(&report.body).unwrap_or_default();
    let head = |truncated| header(&fields, report, hostname, truncated);
    let mut message = head(false).into_bytes();
    message.extend_from_slice(&report.body);
    let Some(octets_max) = octets_max.filter(|max| message.len() > *max) else { return message };
    let mut shorter = fields.clone();
    for chain in CHAINS {
        if let Some(certificates) = shorter.get_mut(chain).and_then(Value::as_array_mut) {
            certificates.clear();
        }
    }
    let mut text = head(true);
    // Writing to a String cannot fail.
    let _ = write!(text, "{shorter}");
    text.truncate(text.floor_char_boundary(octets_max));
    text.into_bytes()
}

/// Everything in front of the JSON (RFC 5424 section 6: HEADER SP STRUCTURED-DATA SP).
fn header(fields: &Value, report: &Spooled, hostname: &str, truncated: bool) -> String {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let timestamp = Some(text("date-time")).filter(|text| !text.is_empty());
    let timestamp = timestamp.map_or_else(|| crate::report::date_time(report.at), ToOwned::to_owned);
    let process = std::process::id();
    let mut head =
        format!("<{PRIORITY}>1 {timestamp} {hostname} pinproxy {process} pin-violation [{STRUCTURED_DATA_ID}");
    let port = fields.get("port").and_then(Value::as_u64).map(|port| port.to_string()).unwrap_or_default();
    let parameters = [
        ("pinset", text("pinset")),
        ("host", text("hostname")),
        ("port", &port),
        ("class", text("failure-class")),
        ("session", text("session")),
        ("report", text("report-id")),
        ("truncated", if truncated { "yes" } else { "no" }),
    ];
    for (name, value) in parameters {
        let _ = write!(head, " {name}=\"{}\"", parameter(value));
    }
    head.push_str("] ");
    head
}

/// The value of a parameter: `"`, `\` and `]` behind a backslash (RFC 5424 section 6.3.3), and no control characters.
fn parameter(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for c in text[..text.floor_char_boundary(VALUE_OCTETS_MAX)].chars() {
        if matches!(c, '"' | '\\' | ']') {
            value.push('\\');
        }
        value.push(if c.is_control() { '?' } else { c });
    }
    value
}

/// A HOSTNAME: visible ASCII, or the dash that stands for none.
fn hostname(name: &str) -> String {
    let name: String = name.chars().filter(char::is_ascii_graphic).take(HOSTNAME_OCTETS_MAX).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

#[cfg(test)]
mod tests;
