//! What holds for every input: names, pins, configurations and lookups that nobody wrote down. The numbers of cases are
//! small enough to run always; `fuzz/` looks further.

mod configuration;
mod hosts;
mod lookup;
mod pins;

use proptest::prelude::*;

/// Texts that are nearly something: fragments in a row.
fn fragments(of: &'static [&'static str], count: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(of), 0..count).prop_map(|parts| parts.concat())
}
