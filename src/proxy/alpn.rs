//! Which application protocols to offer upstream, before the client's own offer is known (RFC 7301).

use quick_cache::sync::Cache;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

/// Clients whose last offer is remembered; the least used one goes first.
const CLIENTS_MAX: usize = 4_096;

/// A list of protocol names, in order of preference.
pub(super) type Offer = Vec<Vec<u8>>;

/// What is offered for a client that nothing is known of.
const USUAL: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Which client: its address, and a hash of its User-Agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientKey(IpAddr, u64);

/// What clients offered last time.
#[derive(Debug)]
pub(super) struct Offers {
    last: Cache<ClientKey, Arc<Offer>>,
    hasher: RandomState,
}

impl Default for Offers {
    fn default() -> Self {
        Self { last: Cache::new(CLIENTS_MAX), hasher: RandomState::new() }
    }
}

impl Offers {
    pub(super) fn key(&self, client: IpAddr, user_agent: &[u8]) -> ClientKey {
        ClientKey(client, self.hasher.hash_one(user_agent))
    }

    /// What the client will probably offer.
    pub(super) fn guess(&self, client: ClientKey) -> Offer {
        self.last.get(&client).map_or_else(|| USUAL.map(<[u8]>::to_vec).into(), |last| Offer::clone(&last))
    }

    /// Remembers what it did offer.
    pub(super) fn remember(&self, client: ClientKey, offered: &Offer) {
        let is_known = self.last.get(&client).map_or_else(|| *offered == USUAL, |last| *last == *offered);
        if !is_known {
            self.last.insert(client, Arc::new(offered.clone()));
        }
    }
}

/// Whether a client that offers `client` can take what the upstream chose of `offered`. The client is always answered
/// with exactly that choice, so what it cannot take has to be asked for anew.
pub(super) fn suits(chosen: Option<&[u8]>, offered: &Offer, client: &Offer) -> bool {
    const HTTP_1_1: &[u8] = b"http/1.1";
    match chosen {
        Some(chosen) => client.iter().any(|c| c == chosen) || (client.is_empty() && chosen == HTTP_1_1),
        // Where nothing was offered, nothing could be chosen.
        None if offered.is_empty() => client.is_empty(),
        // No choice means HTTP/1.1 to those who speak it. Anyone else may still find what it wants upstream, unless
        // that was among the offers and the upstream passed over it.
        None => client.is_empty() || client.iter().any(|c| c == HTTP_1_1) || client.iter().all(|c| offered.contains(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(text: &str) -> Offer {
        text.split_whitespace().map(|p| p.as_bytes().to_vec()).collect()
    }

    #[test]
    fn what_a_client_can_take() {
        let table = [
            // chosen upstream, offered upstream, offered by the client, suits
            (Some("h2"), "h2 http/1.1", "http/1.1", false),
            (Some("h2"), "h2 http/1.1", "", false),
            (Some("http/1.1"), "h2 http/1.1", "h2", false),
            (Some("http/1.1"), "h2 http/1.1", "mqtt", false),
            (None, "", "h2", false),
            (None, "", "h2 http/1.1", false),
            (None, "h2 http/1.1", "mqtt", false),
            (Some("h2"), "h2 http/1.1", "h2 http/1.1", true),
            (Some("http/1.1"), "h2 http/1.1", "h2 http/1.1", true),
            (Some("http/1.1"), "h2 http/1.1", "", true),
            (None, "h2 http/1.1", "h2", true),
            (None, "h2 http/1.1", "h2 http/1.1", true),
            (None, "", "", true),
        ];
        for (chosen, offered, client, expected) in table {
            let result = suits(chosen.map(str::as_bytes), &offer(offered), &offer(client));
            assert_eq!(result, expected, "{chosen:?} of {offered:?} for {client:?}");
        }
    }

    #[test]
    fn the_last_offer_is_the_next_guess() {
        let offers = Offers::default();
        let client = IpAddr::from([127, 0, 0, 1]);
        let (java, curl) = (offers.key(client, b"Java/17"), offers.key(client, b"curl/8"));
        let default = offer("h2 http/1.1");
        assert_eq!(offers.guess(java), default);
        offers.remember(java, &Offer::new());
        assert_eq!(offers.guess(java), Offer::new());
        assert_eq!(offers.guess(curl), default, "another program at the same address keeps its own");
    }
}
