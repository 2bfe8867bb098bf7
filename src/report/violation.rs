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

/// There is no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct RandomError;

/// A report. Field names of RFC 7469 section 3 first, ours behind.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Report<'a> {
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
    matched_position: Option<usize>,
    candidate_paths: usize,
    seen_pins: &'a [Pin],
    sni: Option<&'a str>,
    connect_authority: &'a str,
    upstream_address: Option<String>,
    client: Option<String>,
    proxy_id: &'static str,
    session: &'a str,
    suppressed_count: u64,
}

impl Violation {
    pub(super) fn report<'a>(&'a self, event: &'a Event, client_id: &ClientId) -> Report<'a> {
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
            client: client_id.of(event.client.0.ip()),
            proxy_id: concat!("pinproxy/", env!("CARGO_PKG_VERSION")),
            session: &event.session,
            suppressed_count: 0,
        }
    }
}

impl ClientId {
    /// By a hash under a key made now.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn hashed() -> Result<Self, RandomError> {
        let mut key = [0; 16];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| RandomError)?;
        Ok(Self::Hashed(key))
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
