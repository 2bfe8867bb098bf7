//! Words and numbers: the nearest known word, lists for people, sizes with units.

use std::fmt::Display;

/// Longer words are not compared with known ones.
const NEAREST_WORD_OCTETS_MAX: usize = 64;

/// More known words than this are not searched for the nearest.
const NEAREST_CANDIDATES_MAX: usize = 1000;

/// The known word that somebody may have meant.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > NEAREST_WORD_OCTETS_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    let distances = known.take(NEAREST_CANDIDATES_MAX).map(|k| (strsim::damerau_levenshtein(&lower, k), k));
    let (distance, known) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + word.len() / 4).then_some(known)
}

/// `"a", "b" or "c"`.
pub(super) fn quoted<T: Display>(words: &[T]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// `64KiB` in octets: digits and B, KiB or MiB.
pub(super) fn parse_octets(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(unit_at);
    let factor: u64 = match unit.trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}
