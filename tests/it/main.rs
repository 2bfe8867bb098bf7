//! The integration tests: one binary, so that it links once.
#![forbid(unsafe_code)]

mod access;
mod alpn;
mod chains;
mod clock;
mod counts;
mod enforce;
mod events;
mod fields;
mod foreign;
mod hello;
mod hosts;
mod limbo;
mod limits;
mod lints;
mod memory;
mod modes;
mod program;
mod properties;
mod relaying;
mod reloading;
mod reports;
mod requests;
mod resumption;
mod schema;
mod shutdown;
mod standing;
mod stores;
mod structure;
mod support;
mod support_selftest;
mod traces;
mod vectors;
mod wayout;
mod ways;
mod wire;
