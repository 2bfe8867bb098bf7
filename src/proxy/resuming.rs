//! Which sessions give their client a ticket to resume with (RFC 8446 section 4.6.1). Most old programs never use one, and
//! deriving, sealing and sending it is a twentieth of what the proxy does for a session.

use super::alpn::ClientKey;
use crate::intercept::Ticket;
use quick_cache::sync::Cache;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Clients that are remembered; the least used one goes first, and begins anew.
const CLIENTS_MAX: usize = 4_096;

/// Sessions in a row that resume nothing, after which a client is taken for one that uses no tickets. From then on one session
/// in as many gives it one, so that a client that does use them is found out.
const TRIAL: u32 = 32;

/// How many sessions of each client have resumed nothing since the last that did.
#[derive(Debug)]
pub(super) struct Resuming {
    full: Cache<ClientKey, Arc<AtomicU32>>,
}

impl Default for Resuming {
    fn default() -> Self {
        Self { full: Cache::new(CLIENTS_MAX) }
    }
}

impl Resuming {
    /// For a session that begins.
    pub(super) fn next(&self, client: ClientKey) -> Ticket {
        let full = self.full.get_or_insert_with(&client, || Ok::<_, Infallible>(Arc::default()));
        let full = full.unwrap_or_else(|never| match never {});
        let before = full.fetch_add(1, Ordering::Relaxed);
        if before < TRIAL || before.is_multiple_of(TRIAL) { Ticket::Given } else { Ticket::Spared }
    }

    /// The client has used one.
    pub(super) fn has_resumed(&self, client: ClientKey) {
        if let Some(full) = self.full.get(&client) {
            full.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::alpn::Offers;
    use std::net::IpAddr;

    fn given(resuming: &Resuming, client: ClientKey, sessions: u32) -> u32 {
        (0..sessions).map(|_| u32::from(resuming.next(client) == Ticket::Given)).sum()
    }

    #[test]
    fn a_client_that_uses_none_is_given_few() {
        let (resuming, offers) = (Resuming::default(), Offers::default());
        let [curl, java] = [&b"curl/8"[..], b"Java/17"].map(|agent| offers.key(IpAddr::from([127, 0, 0, 1]), agent));
        assert_eq!(given(&resuming, curl, TRIAL), TRIAL, "it may be one that uses them");
        assert_eq!(given(&resuming, curl, 10 * TRIAL), 10, "it is not, or has begun to be");
        assert_eq!(given(&resuming, java, TRIAL), TRIAL, "another program at the same address");
        resuming.has_resumed(curl);
        assert_eq!(given(&resuming, curl, TRIAL), TRIAL, "it has begun to");
    }
}
