//! The integration tests: one binary, so that it links once.
#![forbid(unsafe_code)]

mod access;
mod alpn;
mod enforce;
mod hello;
mod limits;
mod relaying;
mod reports;
mod requests;
mod shutdown;
mod structure;
mod support;
mod support_selftest;
mod wire;
