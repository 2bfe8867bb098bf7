//! Names, pins, rules and verdicts. Pure: no sockets, no files, no clock; it can fail only at parsing.

pub mod access;
pub mod by_host;
pub mod compare;
pub mod decision;
pub mod explain;
pub mod host;
pub mod moment;
pub mod overrides;
pub mod pattern;
pub mod pin;
pub mod pinset;
pub mod printable;
pub mod protection;
pub mod rollout;
pub mod rules;
pub mod timestamp;
pub mod way;

#[cfg(test)]
pub(crate) mod tests_support;
