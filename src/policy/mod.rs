//! Names, pins, rules and verdicts. Pure: no sockets, no files, no clock; it can fail only at parsing.

pub mod host;
