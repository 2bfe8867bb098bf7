//! The integration tests: one binary, so that it links once.
#![forbid(unsafe_code)]

mod access;
mod alpn;
mod enforce;
mod hello;
mod relaying;
mod requests;
mod support;
mod support_selftest;
