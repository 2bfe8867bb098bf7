//! What is shown of texts that anybody may have written: nothing that steers a terminal or hides beside other characters,
//! and no password of a URL.

use crate::policy::printable::is_invisible;
use std::ops::Range;

/// Characters of a name or a value that a sentence tells again.
const QUOTED_CHARACTERS_MAX: usize = 200;

/// Stands for a character that is not shown.
const REPLACEMENT: char = '\u{fffd}';

/// A path or a sentence. Sentences may have several lines.
pub(super) fn legible(text: &str) -> String {
    text.chars().map(|c| if is_invisible(c) && c != '\n' { REPLACEMENT } else { c }).collect()
}

/// A line of a file, and the marked part of it. Each character of a password, and of what is concealed, becomes one star, so
/// that what is marked keeps its place.
pub(super) fn legible_line(
    line: &str,
    marked: &Range<usize>,
    concealed: impl IntoIterator<Item = Range<usize>>,
) -> (String, Range<usize>) {
    let mut passwords = passwords(line);
    passwords.extend(concealed);
    passwords.sort_by_key(|range| range.start);
    let mut shown = String::with_capacity(line.len());
    let (mut start, mut end) = (None, None);
    let mut next = 0;
    for (at, c) in line.char_indices() {
        if at >= marked.start {
            start.get_or_insert(shown.len());
        }
        if at >= marked.end {
            end.get_or_insert(shown.len());
        }
        while passwords.get(next).is_some_and(|password| password.end <= at) {
            next += 1;
        }
        let secret = passwords.get(next).is_some_and(|password| password.contains(&at));
        shown.push(match c {
            _ if secret => '*',
            '\t' => '\t',
            c if is_invisible(c) => REPLACEMENT,
            c => c,
        });
    }
    let behind = shown.len();
    (shown, start.unwrap_or(behind)..end.unwrap_or(behind))
}

/// A sentence in which what stands between double quotes is no longer than people read.
pub(super) fn shortened(text: String) -> String {
    if text.len() <= QUOTED_CHARACTERS_MAX {
        return text;
    }
    let mut cut = String::with_capacity(text.len());
    let (mut quoted, mut escaped) = (None, false);
    for c in text.chars() {
        if c == '"' && !escaped {
            quoted = if quoted.is_some() { None } else { Some(0) };
            cut.push(c);
        } else {
            let before = quoted.unwrap_or(0);
            quoted = quoted.map(|count| count + 1);
            match before {
                0..QUOTED_CHARACTERS_MAX => cut.push(c),
                QUOTED_CHARACTERS_MAX => cut.push('…'),
                _ => {}
            }
        }
        escaped = c == '\\' && !escaped;
    }
    cut
}

/// Where the password of each `scheme://user:password@` stands. Characters that no URL has there unescaped are taken for
/// a part of it, so that none of a malformed one is shown.
fn passwords(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = line[from..].find("://") {
        let begin = from + at + "://".len();
        let rest = &line[begin..];
        let text = &rest[..rest.find(['"', '\'', ' ', '\t']).unwrap_or(rest.len())];
        from = begin;
        if let Some((user, password)) = text.rsplit_once('@').and_then(|(before, _)| before.split_once(':')) {
            // What has its own scheme is another URL; a port in front of a path is no password.
            let port = password.split_once('/').is_some_and(|(port, _)| port.bytes().all(|b| b.is_ascii_digit()));
            if !user.contains('/') && !port {
                let start = begin + user.len() + 1;
                found.push(start..start + password.len());
                from = start + password.len();
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::concealed::concealed;
    use super::*;

    #[test]
    fn lines_and_what_is_marked() {
        let table = [
            ("a = \"b\"", 4..7, "a = \"b\"", 4..7),
            ("\u{9b}31m = \u{e0041}", 2..5, "\u{fffd}31m = \u{fffd}", 3..6),
            ("\u{202e}\u{200b}x", 3..6, "\u{fffd}\u{fffd}x", 3..6),
            ("é\u{ad}\tx", 5..6, "é\u{fffd}\tx", 6..7),
            ("\u{1b}[2J", 0..4, "\u{fffd}[2J", 0..6),
            ("u = \"http://u:sécret@h\"", 4..24, "u = \"http://u:******@h\"", 4..23),
            ("http://u:p/w@h", 14..14, "http://u:***@h", 14..14),
            ("http://a:b@c http://d:e@f", 0..0, "http://a:*@c http://d:*@f", 0..0),
            ("http://h:3128/a@b", 0..1, "http://h:3128/a@b", 0..1),
            ("http://h/a:b@c", 0..1, "http://h/a:b@c", 0..1),
            ("token = \"s3cret\"", 8..16, "token = \"******\"", 8..16),
            ("a = { token='s3cret', b = 1 }", 0..1, "a = { token='******', b = 1 }", 0..1),
            ("\"token\" = \"s3cret", 0..1, "\"token\" = \"******", 0..1),
            ("token = s3cret", 0..1, "token = ******", 0..1),
            ("token = \"${T}x\"", 0..1, "token = \"*****\"", 0..1),
            ("token = \"${T}\"", 0..1, "token = \"${T}\"", 0..1),
            ("tokens = \"a\"", 0..1, "tokens = \"a\"", 0..1),
            ("my_token = \"a\" # token", 0..1, "my_token = \"a\" # token", 0..1),
            ("", 0..0, "", 0..0),
        ];
        for (line, marked, shown, mark) in table {
            assert_eq!(legible_line(line, &marked, concealed(line)), (shown.to_owned(), mark), "{line:?}");
        }
    }

    #[test]
    fn long_values_in_sentences() {
        let long = "é".repeat(201);
        let cut = "é".repeat(200) + "…";
        let table = [
            (format!("a {long:?} b {long:?}"), format!("a \"{cut}\" b \"{cut}\"")),
            (format!("a {:?} b", "é".repeat(200)), format!("a {:?} b", "é".repeat(200))),
            (format!("{long} {:?}", "x\"y"), format!("{long} {:?}", "x\"y")),
            (format!("\"{long}"), format!("\"{cut}")),
            (format!("{:?}.", "\\".repeat(300)), format!("\"{}…\".", "\\".repeat(200))),
        ];
        for (text, expected) in table {
            assert_eq!(shortened(text), expected);
        }
    }

    #[test]
    fn paths_and_sentences() {
        let hidden = "\u{1b}\u{7f}\u{80}\u{9f}\u{ad}\u{61c}\u{200b}\u{200f}\u{2028}\u{202e}\u{2060}\u{206f}\u{feff}\u{e0000}\u{e007f}";
        assert_eq!(legible(&format!("é{hidden}\n")), format!("é{}\n", "\u{fffd}".repeat(hidden.chars().count())));
    }
}
