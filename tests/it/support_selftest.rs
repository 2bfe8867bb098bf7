//! Proves the support itself: chains that webpki judges, and a client that talks directly to an origin.

mod certificates;
mod connections;
mod handshakes;

/// What a test returns, so that helpers' errors need no unwrapping.
type Outcome = Result<(), Box<dyn std::error::Error>>;
