//! The configuration: from TOML text to a typed [`Config`], or to everything that is wrong with it at once.
//!
//! `document` parses the text and lets each section be read; `table` and `item` check keys and read values; `sections`,
//! `access`, `keys`, `pinsets`, `pins` and `rules` know what the keys mean; `diagnostic` tells what is wrong, where, and
//! what to write instead. Nothing of the text's form leaves this room.

mod access;
mod code;
mod diagnostic;
mod document;
mod findings;
mod inherit;
mod item;
mod keys;
mod listing;
mod model;
mod page;
mod pins;
mod pinsets;
mod rollout;
mod rules;
mod sarif;
mod sections;
mod table;
mod words;

#[cfg(test)]
mod tests;

pub use code::{Class, Code, Severity, UnknownCode};
pub use diagnostic::{ConfigErrors, Diagnostic, Place, Region};
pub use document::FILE_OCTETS_MAX;
pub use listing::{DIAGNOSTICS_SHOWN_MAX, Listing};
pub use model::{
    Ca, ClientId, Config, DEFAULT_LISTENER, ExtraRoots, LeafKey, Limits, Log, LogFormat, LogLevel, Refusal, Reports,
    Revocation, Roots, RuleSet, Upstream,
};
pub use page::{explanation, lints_page, lints_table, rules_json};
