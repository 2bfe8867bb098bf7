//! Upstream resumption, for those who switch it on: which handshakes may resume one another.
//!
//! Tickets link the connections they join. They are kept apart by everything that may tell two sessions apart: client,
//! host and port, rule, policy generation, application protocols. The verdict is taken anew on every connection.

use crate::policy::host::Authority;
use crate::policy::moment::Circumstances;
use crate::tls::client::{SessionVerifier, resuming_config};
use crate::tls::identity::Identity;
use crate::tls::verify::Question;
use quick_cache::sync::Cache;
use rustls::ClientConfig;
use std::net::IpAddr;
use std::sync::Arc;

/// Configurations with tickets kept at a time; the least used one goes first.
const CONFIGS_MAX: usize = 4_096;

/// What two sessions must have in common to resume one another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    client: IpAddr,
    target: Authority,
    host: crate::policy::host::Host,
    generation: u64,
    rule: usize,
    alpn: Vec<Vec<u8>>,
}

/// The tickets of all sessions.
#[derive(Debug)]
pub struct Tickets {
    configs: Cache<Key, (Arc<SessionVerifier>, Arc<ClientConfig>)>,
}

impl Default for Tickets {
    fn default() -> Self {
        Self { configs: Cache::new(CONFIGS_MAX) }
    }
}

impl Tickets {
    /// The verifier and configuration shared by the sessions of one client to one host under one rule. Host, port and
    /// generation say which identity it is.
    pub fn config(
        &self,
        circumstances: Circumstances,
        target: &Authority,
        question: &Arc<Question>,
        alpn: &[Vec<u8>],
        identity: Option<&Identity>,
    ) -> (Arc<SessionVerifier>, Arc<ClientConfig>) {
        let key = Key {
            client: circumstances.client,
            target: target.clone(),
            host: question.host.clone(),
            generation: question.policy.generation(),
            // Rules live as long as their generation, so the address tells them apart within one.
            rule: Arc::as_ptr(&question.rule).addr(),
            alpn: alpn.to_vec(),
        };
        let made = self.configs.get_or_insert_with(&key, || {
            let verifier = Arc::new(SessionVerifier::shared(Arc::clone(question), circumstances));
            let config = resuming_config(&verifier, alpn, identity);
            Ok::<_, std::convert::Infallible>((verifier, config))
        });
        match made {
            Ok((verifier, config)) => {
                verifier.used_under(circumstances);
                (verifier, config)
            }
            Err(never) => match never {},
        }
    }
}
