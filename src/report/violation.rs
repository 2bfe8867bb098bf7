//! Violation reports: the JSON of RFC 7469 section 3, and fields of our own.

use super::event::{Event, date_time};
use crate::policy::decision::FailureClass;
use crate::policy::pin::{Pin, hex};
use crate::policy::pinset::Position;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

/// What a report needs beyond the event of its session.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What was violated.
    pub class: FailureClass,
    /// The certificates as the upstream served them, DER.
    pub served: Vec<Vec<u8>>,
    /// The verified path that was turned down first, DER.
    pub validated: Vec<Vec<u8>>,
    /// The pins that would have been accepted.
    pub known_pins: Vec<String>,
    /// The same, each with where in a path its key has to stand.
    pub expected: Vec<(Position, Pin)>,
    /// The host that the pinset names: the one asked for, or the one above it that a wildcard was written for.
    pub noted_hostname: Option<String>,
    /// Whether the pinset covers names below that host.
    pub include_subdomains: bool,
    /// End of the pinset.
    pub expires: Option<SystemTime>,
}

/// How clients are named in reports, which may leave the house.
#[derive(Clone)]
pub enum ClientId {
    /// Not at all.
    None,
    /// By a keyed hash: the same client has the same name for the life of the process.
    Hashed([u8; 16]),
    /// By address.
    Plain,
}

/// What a process puts into each of its reports: how it names clients, and what sets its reports apart from those of other
/// processes. Every sink has the same, so that the same violation is the same report in each of them.
#[derive(Clone)]
pub struct Naming {
    /// How clients are named.
    client_id: ClientId,
    /// Drawn at the start of the process.
    run: [u8; 16],
}

/// There is no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct RandomError;

/// A report. Field names of RFC 7469 section 3 first, ours behind.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report<'a> {
    date_time: String,
    hostname: Option<&'a str>,
    port: Option<u16>,
    effective_expiration_date: Option<String>,
    include_subdomains: bool,
    noted_hostname: Option<&'a str>,
    served_certificate_chain: Vec<String>,
    validated_certificate_chain: Vec<String>,
    known_pins: Vec<String>,
    decision: &'static str,
    failure_class: &'static str,
    detail: Option<&'a str>,
    enforced: bool,
    pinset: Option<&'a str>,
    policy_generation: u64,
    matched_position: Option<u32>,
    candidate_paths: u32,
    seen_pins: &'a [Pin],
    sni: Option<&'a str>,
    connect_authority: &'a str,
    upstream_address: Option<String>,
    client: Option<String>,
    proxy_id: &'static str,
    session: &'a str,
    #[serde(rename = "report-id")]
    id: String,
    suppressed_count: u64,
}

impl Violation {
    /// The report as one line of JSON, without a line break. So many reports of the same were held back before it.
    pub fn json(&self, event: &Event, naming: &Naming, suppressed: u64) -> Vec<u8> {
        // Strings, numbers and booleans in structs: nothing that serialising to memory can fail on.
        serde_json::to_vec(&self.report(event, naming, suppressed)).unwrap_or_default()
    }

    fn report<'a>(&'a self, event: &'a Event, naming: &Naming, suppressed_count: u64) -> Report<'a> {
        Report {
            date_time: date_time(event.date_time),
            hostname: event.hostname.as_deref(),
            port: event.port,
            effective_expiration_date: self.expires.map(date_time),
            include_subdomains: self.include_subdomains,
            noted_hostname: self.noted_hostname.as_deref(),
            served_certificate_chain: self.served.iter().map(|der| pem(der)).collect(),
            validated_certificate_chain: self.validated.iter().map(|der| pem(der)).collect(),
            known_pins: self.known_pins.clone(),
            decision: event.decision.as_str(),
            failure_class: self.class.as_str(),
            detail: event.detail.as_deref(),
            enforced: event.enforced,
            pinset: event.pinset.as_deref(),
            policy_generation: event.policy_generation,
            matched_position: event.matched_position,
            candidate_paths: event.candidate_paths,
            seen_pins: &event.seen_pins,
            sni: event.sni.as_deref(),
            connect_authority: &event.connect_authority,
            upstream_address: event.upstream_address.map(|address| address.to_string()),
            client: naming.client_id.of(event.client.0.ip()),
            proxy_id: concat!("pinproxy/", env!("CARGO_PKG_VERSION")),
            session: &event.session,
            id: naming.report_id(&event.session),
            suppressed_count,
        }
    }
}

impl Naming {
    /// For a process that starts now.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn new(client_id: ClientId) -> Result<Self, RandomError> {
        Ok(Self { client_id, run: random()? })
    }

    /// The same for the same session, of which there is one report; another one for every other session of any process.
    fn report_id(&self, session: &str) -> String {
        let digest = Sha256::new().chain_update(self.run).chain_update(session).finalize();
        let (head, _) = digest.split_at(16);
        hex(head)
    }
}

/// Tells nothing of what it draws on.
impl fmt::Debug for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Naming({:?})", self.client_id)
    }
}

fn random() -> Result<[u8; 16], RandomError> {
    let mut octets = [0; 16];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| RandomError)?;
    Ok(octets)
}

impl ClientId {
    /// By a hash under a key made now.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn hashed() -> Result<Self, RandomError> {
        random().map(Self::Hashed)
    }

    fn of(&self, address: IpAddr) -> Option<String> {
        let address = address.to_canonical().to_string();
        match self {
            Self::None => None,
            Self::Plain => Some(address),
            Self::Hashed(key) => {
                let digest = Sha256::new().chain_update(key).chain_update(&address).finalize();
                let (head, _) = digest.split_at(8);
                Some(hex(head))
            }
        }
    }
}

/// Keeps the key out of logs.
impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Hashed(_) => "Hashed",
            Self::Plain => "Plain",
        })
    }
}

/// PEM (RFC 7468): 64 columns.
fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::with_capacity(text.len() + text.len() / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
