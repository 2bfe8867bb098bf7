//! TLS towards upstreams: the crypto provider, the trust anchors, and verification that hands out the chain it built. And
//! what the admin address speaks.
//!
//! The only room that names webpki and that sets a certificate verifier.

pub mod anchors;
pub mod chain;
pub mod client;
mod fault;
pub mod identity;
pub mod memory;
pub mod name;
pub mod ordinary;
pub mod own;
pub mod provider;
pub mod revocation;
mod search;
pub mod served;
pub mod server;
pub mod survey;
pub mod verify;
pub mod words;
