//! The integration tests: one binary, so that it links once.
#![forbid(unsafe_code)]

mod enforce;
mod foreign;
mod program;
mod structure;
mod support;
mod support_selftest;
