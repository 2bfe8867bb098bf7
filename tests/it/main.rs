//! The integration tests: one binary, so that it links once.
#![forbid(unsafe_code)]

mod chains;
mod enforce;
mod hosts;
mod limbo;
mod modes;
mod open_bugs;
mod resumption;
mod structure;
mod support;
mod support_selftest;
