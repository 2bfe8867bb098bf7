//! pinproxy: certificate pinning for clients that cannot pin.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod authority;
pub mod policy;
pub mod tls;
pub mod upstream;
