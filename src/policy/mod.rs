//! Names, pins, rules and verdicts. Pure: no sockets, no files, no clock; it can fail only at parsing.

pub mod access;
pub mod decision;
pub mod host;
pub mod moment;
pub mod pattern;
pub mod pin;
pub mod pinset;
pub mod rollout;
pub mod rules;
