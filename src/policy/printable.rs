//! Which characters are shown. One rule for what somebody else has written, in events, reports, pages and findings about
//! certificates; a laxer one for what the operator has, whose own script may need marks.

/// Whether a character is shown as it is: no control, and nothing that joins, hides or turns around what stands beside it. Of
/// what is not ASCII the standard library knows; a mark that belongs to the character before it is escaped, too.
#[must_use]
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() { c == ' ' || c.is_ascii_graphic() } else { c.escape_debug().len() == 1 }
}

/// A name that anybody may have written: of one line that is read in the order in which it is written, and no longer than
/// this many characters.
#[must_use]
pub fn tellable(name: &str, characters_max: usize) -> String {
    let shown = |c: char| if is_printable(c) { c } else { char::REPLACEMENT_CHARACTER };
    let mut told: String = name.chars().take(characters_max).map(shown).collect();
    if name.chars().nth(characters_max).is_some() {
        told.push('…');
    }
    told
}

/// Controls, and what joins, hides or turns around the characters beside it (UAX 9, UTR 36), tags included.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_or_hides_is_not_shown() {
        let hidden = [
            '\0',
            '\t',
            '\n',
            '\r',
            '\u{1b}',
            '\u{7f}',
            '\u{80}',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200f}',
            '\u{2028}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{206f}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e000}',
            '\u{e0001}',
            '\u{e007f}',
            '\u{e0100}',
            '\u{10ffff}',
        ];
        for c in hidden {
            assert!(!is_printable(c), "{c:?}");
            assert_eq!(tellable(&format!("a{c}b"), 3), "a\u{fffd}b");
        }
        for c in " ~\"\\é証\u{1f512}\u{fffd}".chars() {
            assert!(is_printable(c), "{c:?}");
        }
    }

    #[test]
    fn long_names_are_cut() {
        for (name, told) in [("", ""), ("ééé", "ééé"), ("éééé", "ééé…"), ("\n\n\n\n", "\u{fffd}\u{fffd}\u{fffd}…")]
        {
            assert_eq!(tellable(name, 3), told);
        }
    }
}
