//! The client's side: its ClientHello, and a TLS session with a leaf of the local CA.
//!
//! This room never holds an upstream connection. It answers for a host only when it is handed the permit for it.

mod accept;
mod client_hello;
mod objection;
mod prefixed;

pub use accept::{AcceptError, Acceptance, Acceptor, LeafKeyChoice, Terms, Ticket};
pub use client_hello::{
    ALPN_BYTES_MAX, ALPN_NAMES_MAX, ClientHello, ClientHelloError, HelloLimits, Opening, read_client_hello,
    read_opening, refuse,
};
pub use objection::KeyMismatch;
pub use prefixed::Prefixed;
