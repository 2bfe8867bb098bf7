//! What the lints tell beyond the examples in `tests/vectors/lint`: the bounds, and what must not be told.

use super::*;

mod files;
mod hosts;
mod pins;
mod roles;
mod time;
mod trust;

/// Everything that is told about a text, by code, in the order of the file.
fn told(text: &str) -> Vec<Diagnostic> {
    parse(text).map_or_else(|errors| errors.diagnostics().to_vec(), |(_, told)| told)
}

/// Whether a code is told, and how often.
fn count(text: &str, code: Code) -> usize {
    told(text).iter().filter(|told| told.code() == code).count()
}

/// Texts, and how often the code is told about each.
fn expect(code: Code, table: &[(String, usize)]) {
    for (text, times) in table {
        let told: String = told(text).iter().map(ToString::to_string).collect();
        assert_eq!(count(text, code), *times, "{code}\n{text}\n{told}");
    }
}
