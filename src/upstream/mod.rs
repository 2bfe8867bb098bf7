//! From a host and port to a TLS stream whose chain was verified: resolve, dial, shake hands.

mod connect;
pub mod dial;
pub mod doors;
pub mod handshake;
pub mod names;
pub mod parent;
pub mod resolve;
pub(crate) mod socks;
mod through;
pub mod tickets;
pub mod via;
pub mod way;
pub mod wire;
