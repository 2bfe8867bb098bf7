//! From a host and port to a TLS stream whose chain was verified: resolve, dial, shake hands.

pub mod dial;
pub mod doors;
pub mod handshake;
pub mod names;
pub mod resolve;
pub mod tickets;
