//! pinproxy: certificate pinning for clients that cannot pin.

pub mod authority;
pub mod cli;
pub mod config;
pub mod intercept;
pub mod policy;
pub mod proxy;
pub mod relay;
pub mod report;
pub mod tls;
pub mod upstream;
