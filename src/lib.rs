//! pinproxy: certificate pinning for clients that cannot pin.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod config;
pub mod policy;
