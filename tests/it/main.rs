//! The integration tests: one binary, so that it links once.
#![forbid(unsafe_code)]

mod chains;
mod enforce;
mod hosts;
mod modes;
mod structure;
mod support;
mod support_selftest;
