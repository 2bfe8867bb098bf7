//! Where secrets stand in the text of a configuration. The text may be no TOML, and then no parser tells where a value ends:
//! so what is found here hangs on the names of keys alone, and on those of the tables that hold secrets: there a key that nobody
//! knows may be one of them misspelt. A value that is well formed is concealed to its end; of any
//! other everything behind it is, since a quote that is missing makes text of what was meant to be around it.

use super::admin::ADMIN;
use super::reports::REPORTS;
use super::sections::UPSTREAM;
use super::shape::Keys;
use super::traces::TRACES;
use std::ops::Range;

/// Keys whose values are not shown: those that are described as secret.
pub(super) const SECRET_KEYS: &[&str] = &["token", "headers"];

/// Keys with URLs, of which only scheme and host are shown: those that are described as addresses that let in.
pub(super) const ADDRESS_KEYS: &[&str] = &["url", "urls", "parent"];

/// Tables with such keys.
const SECRET_TABLES: [(&str, &Keys); 4] =
    [("admin", &ADMIN), ("traces", &TRACES), ("reports", &REPORTS), ("upstream", &UPSTREAM)];

/// How far a line is looked at, back and ahead, for what it is; a longer one is taken for a statement.
const LINE_LOOKED_AT_MAX: usize = 200;

/// Containers in each other that are followed.
const DEPTH_MAX: usize = 32;

/// What is not shown of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    /// What is behind the host of a URL, and what is before it.
    AroundHosts,
}

/// The octets that are not shown, in the order of the text and on the boundaries of characters.
pub(super) fn concealed(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut around = Around::default();
    while let Some(word) = word_from(text, at) {
        at = word.end;
        around.come_to(text, &word);
        let Some(part) = part_of(text, &word).or_else(|| around.unknown(text, &word)) else { continue };
        let Some((behind, certain)) = behind_key(text, &word) else { continue };
        let start = behind + text[behind..].len() - text[behind..].trim_start_matches([' ', '\t']).len();
        let mut strings = Vec::new();
        let end = Scan { text, at: start }.value(&mut strings).filter(|_| certain);
        // An empty text is what is left of three quotes without one.
        let end = end.filter(|_| strings.first().is_none_or(|first| !first.is_empty()));
        at = end.unwrap_or_else(|| if is_comment(text, word.start) { comments_end(text, start) } else { text.len() });
        if end.is_none() {
            let shown = text[start..at].trim_start_matches(['"', '\'', '[', ' ', '\t']);
            found.push(at - shown.len()..at);
        } else {
            strings.retain(|range| !is_variable(&text[range.clone()]));
            found.extend(strings.into_iter().flat_map(|range| match part {
                Part::All => vec![range],
                Part::AroundHosts => around_host(text, range),
            }));
        }
    }
    found
}

/// Which table of secrets a word stands in, if in any.
#[derive(Default)]
struct Around {
    /// By the last header.
    header: Option<&'static Keys>,
    /// By a table on one line, and where that ends; or by the name in front of a dot.
    inline: Option<(&'static Keys, usize)>,
}

impl Around {
    fn come_to(&mut self, text: &str, word: &Range<usize>) {
        self.inline = self.inline.filter(|(_, end)| word.start < *end);
        let named = SECRET_TABLES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text[word.clone()]));
        let named = named.map(|(_, keys)| *keys);
        let before = line_before(text, word.start).map(str::trim_start).unwrap_or_default();
        let before = before.trim_end_matches(['"', '\'', ' ', '\t']);
        if matches!(before, "[" | "[[") {
            self.header = named;
        } else if let (Some(keys), true) = (named, before.is_empty()) {
            let line = text[word.end..].find('\n').map_or(text.len(), |length| word.end + length);
            self.inline = Some((keys, line));
        }
    }

    /// All of the value of a key that is none of its table.
    fn unknown(&self, text: &str, word: &Range<usize>) -> Option<Part> {
        let keys = self.inline.map(|(keys, _)| keys).or(self.header)?;
        let name = &text[word.clone()];
        let mut below = keys.keys.iter().filter_map(|key| key.shape.element().keys());
        let is_known = keys.get(name).is_some() || below.any(|keys| keys.get(name).is_some());
        let is_table = SECRET_TABLES.iter().any(|(table, _)| *table == name);
        let is_key = || matches!(behind_key(text, word), Some((_, true)));
        (!is_known && !is_table && is_key()).then_some(Part::All)
    }
}

/// The next run of octets that a bare key may have.
fn word_from(text: &str, at: usize) -> Option<Range<usize>> {
    let is_of_word = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-' | b'\\');
    let octets = text.as_bytes();
    let start = at + octets[at..].iter().position(is_of_word)?;
    let length = octets[start..].iter().position(|octet| !is_of_word(octet)).unwrap_or(octets.len() - start);
    Some(start..start + length)
}

fn part_of(text: &str, word: &Range<usize>) -> Option<Part> {
    let name = &text[word.clone()];
    let is_one_of = |keys: &[&str]| keys.iter().any(|key| key.eq_ignore_ascii_case(name));
    // A key that is written with escapes may be any.
    let is_escaped = || name.contains('\\') && text[..word.start].ends_with('"') && text[word.end..].starts_with('"');
    if is_one_of(SECRET_KEYS) || is_escaped() {
        return Some(Part::All);
    }
    is_one_of(ADDRESS_KEYS).then_some(Part::AroundHosts)
}

/// Where the value of a key begins, if the word is one, and whether it is written as TOML has it.
fn behind_key(text: &str, word: &Range<usize>) -> Option<(usize, bool)> {
    let place = |rest: &str| text.len() - rest.len();
    let quotes_off = text[word.end..].trim_start_matches(['"', '\'']);
    let rest = quotes_off.trim_start_matches([' ', '\t']);
    let is_dotted = rest.starts_with('.');
    let rest = if is_dotted { behind_dotted(rest) } else { rest };
    if let Some(value) = rest.strip_prefix('=') {
        return Some((place(value), true));
    }
    if let Some(behind) = rest.strip_prefix(']') {
        let line = line_before(text, word.start)?.trim_start();
        // A key of `[keys]` may have any name.
        return (line.starts_with('[') && !line.contains("keys")).then(|| (place(behind), false));
    }
    if let Some(value) = quotes_off.trim_start().strip_prefix('=') {
        return Some((place(value), false));
    }
    let before = text[..word.start].trim_end_matches(['"', '\'']).trim_end_matches([' ', '\t']);
    let begins = before.is_empty() || before.ends_with(['\n', '{']);
    let is_none = is_dotted || rest.is_empty() || rest.starts_with(['\n', '\r', ',', '}', '#', ')']);
    (begins && !is_none).then(|| (place(rest.trim_start_matches(':')), false))
}

/// Behind further names of a key.
fn behind_dotted(rest: &str) -> &str {
    let is_of_key = |octet: &u8| octet.is_ascii_alphanumeric() || b"_-. \t\"'".contains(octet);
    &rest[rest.bytes().take(LINE_LOOKED_AT_MAX).take_while(is_of_key).count()..]
}

/// What stands in front of a place on its line; none of a very long one.
fn line_before(text: &str, at: usize) -> Option<&str> {
    let octets = &text.as_bytes()[at.saturating_sub(LINE_LOOKED_AT_MAX)..at];
    match octets.iter().rposition(|octet| *octet == b'\n') {
        Some(end) => text.get(at - octets.len() + end + 1..at),
        None => text.get(..at).filter(|_| at < LINE_LOOKED_AT_MAX),
    }
}

fn is_comment(text: &str, at: usize) -> bool {
    line_before(text, at).is_some_and(|line| line.trim_start().starts_with('#'))
}

/// Where the lines end that are comments, from one on.
fn comments_end(text: &str, from: usize) -> usize {
    let mut end = text[from..].find('\n').map_or(text.len(), |length| from + length);
    while let Some(next) =
        text[end..].strip_prefix('\n').filter(|next| next.trim_start_matches([' ', '\t']).starts_with('#'))
    {
        end = text.len() - next.len() + next.find('\n').unwrap_or(next.len());
    }
    end
}

/// Whether this is `${NAME}` and nothing else.
fn is_variable(text: &str) -> bool {
    text.strip_prefix("${").and_then(|name| name.strip_suffix('}')).is_some_and(|name| !name.contains('}'))
}

/// Of a URL what may let in: what stands behind the host, and before it if it is more than a user with a password, which
/// is concealed everywhere.
fn around_host(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let url = &text[range.clone()];
    let Some(scheme) = url.find("://") else { return vec![range] };
    let authority = scheme + "://".len();
    let behind = url[authority..].find(['/', '?', '#', '\\']).map_or(url.len(), |length| authority + length);
    let userinfo = url[authority..behind].rfind('@').unwrap_or(0);
    let path = url[behind..].trim_start_matches('/');
    let path = if is_variable(path) { "" } else { path };
    let found = [range.start + authority..range.start + authority + userinfo, range.end - path.len()..range.end];
    found.into_iter().filter(|range| !range.is_empty()).collect()
}

/// Reads a value as TOML has it, and nothing else.
struct Scan<'t> {
    text: &'t str,
    at: usize,
}

impl Scan<'_> {
    /// Where the value ends, if it is one and what follows may follow it. What it holds besides signs is noted.
    fn value(mut self, texts: &mut Vec<Range<usize>>) -> Option<usize> {
        let mut open = Vec::new();
        loop {
            match self.peek() {
                Some(opening @ ('[' | '{')) if open.len() < DEPTH_MAX => {
                    self.at += 1;
                    open.push(if opening == '[' { ']' } else { '}' });
                }
                Some(closing @ (']' | '}')) => {
                    self.at += 1;
                    open.pop().filter(|expected| *expected == closing)?;
                }
                Some('"' | '\'') => self.string(texts)?,
                Some('#') if !open.is_empty() => texts.push(self.comment()),
                Some(',' | '=' | ' ' | '\t' | '\n' | '\r') if !open.is_empty() => {
                    self.at += 1;
                    continue;
                }
                // In a list of texts it is a text without its quote.
                Some(_) if open.last() != Some(&']') => self.bare(texts)?,
                _ => return None,
            }
            if open.is_empty() {
                return self.end(texts);
            }
        }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn string(&mut self, texts: &mut Vec<Range<usize>>) -> Option<()> {
        let quote = self.peek()?;
        let long = if quote == '"' { "\"\"\"" } else { "'''" };
        let is_long = self.rest().starts_with(long);
        let mark = if is_long { long } else { &long[..1] };
        let start = self.at + mark.len();
        let mut at = start;
        while !self.text[at..].starts_with(mark) {
            let c = self.text[at..].chars().next().filter(|c| is_long || *c != '\n')?;
            at += c.len_utf8();
            if c == '\\' && quote == '"' {
                at += self.text[at..].chars().next().filter(|c| is_long || *c != '\n')?.len_utf8();
            }
        }
        // The last two of five quotes are the end of the text.
        let more = if is_long {
            self.text[at + 3..].bytes().take(2).take_while(|octet| *octet == mark.as_bytes()[0]).count()
        } else {
            0
        };
        texts.push(start..at + more);
        self.at = at + more + mark.len();
        let may_follow =
            self.peek().is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | ',' | ']' | '}' | '#' | '=' | '.'));
        may_follow.then_some(())
    }

    /// To the end of the line.
    fn comment(&mut self) -> Range<usize> {
        let start = self.at;
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        start..self.at
    }

    fn bare(&mut self, texts: &mut Vec<Range<usize>>) -> Option<()> {
        let is_sign = |c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}' | '=' | '#' | '"' | '\'');
        let length = self.rest().find(is_sign).unwrap_or(self.rest().len());
        texts.push(self.at..self.at + length);
        self.at += length;
        let quoted = matches!(self.peek(), Some('"' | '\'' | '[' | '{'));
        (length > 0 && !quoted).then_some(())
    }

    /// The end of the value, if a line, a table or a key begins behind it, or nothing.
    fn end(&mut self, texts: &mut Vec<Range<usize>>) -> Option<usize> {
        let end = self.at;
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
        match self.peek() {
            None | Some('\n' | '}') => Some(end),
            Some('\r') if self.rest().starts_with("\r\n") => Some(end),
            // What was the secret before may stand there.
            Some('#') => {
                texts.push(self.comment());
                Some(self.at)
            }
            Some(',') => {
                let behind = self.rest()[1..].trim_start();
                let key = behind.trim_start_matches(|c: char| {
                    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\'')
                });
                let is_key = key.len() < behind.len() && key.trim_start_matches([' ', '\t']).starts_with('=');
                (is_key || behind.starts_with('}')).then_some(end)
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with stars, one for each character, line ends kept.
    fn starred(text: &str) -> String {
        let concealed = concealed(text);
        let is_hidden = |at: usize| concealed.iter().any(|range| range.contains(&at));
        let star = |(at, c)| if c != '\n' && is_hidden(at) { '*' } else { c };
        text.char_indices().map(star).collect()
    }

    /// `S` stands for a secret, and must not be there afterwards; `o` is open and has to be.
    #[test]
    fn no_secret_is_shown_however_it_is_written() {
        let table = [
            // One value after the other, as it should be.
            "token = \"S\"\no = 1",
            "token='S' # S\r\no = 1",
            "a = { token = \"S\", o = 1 }",
            "a = { token = \"S\" }\no = 1",
            "a = { o = 1, \"token\" = 'S', }\no = 1",
            "Token = \"S\"\no = 1",
            "\"tok\\u0065n\" = \"S\"\no = 1",
            "'token' = \"S\\\"S\"\no = 1",
            "admin.token = \"S\"\no = 1",
            "admin . \"token\" = \"S\"\no = 1",
            "token = \"\"\"\nS\nS = \"S\"\n[S]\n\"\"\"\no = 1",
            "token = '''S\r\nS''S'S'''''\r\no = 1",
            "token = \"\"\"S\\\"\"\"S\"\"\"\no = 1",
            "headers = [\n  \"S\",\n  # S\n  'S', # ]\n]\no = 1",
            "headers = [[\"S\"], { S = \"S\" }]\no = 1",
            "headers.o = \"S\"\no = 1",
            "# token = \"S\"\no = 1",
            "o = 1 # token = \"S\"\no = 1",
            "# headers = [\n#   \"S\",\n#   \"S\u{1}\"\n# ]\no = 1",
            "# o\n  # token = S and S\n # S\no = 1",
            "token = 5\no = 1",
            "token = \"\"\nS\nS\"\"\"",
            "o = \"token\"\no = [\"o\", \"token\"]\nhosts = [\n  \"token\",\n  \"headers.o\",\n]",
            "[keys.token]\no = \"o\"",
            "[keys]\ntoken = { S = \"S\" }\no = 1",
            "o = \"http://o/o\"\ntokens = \"o\"\nx-token = \"o\"",
            // Where secrets are, what nobody knows may be one.
            "[admin]\ntokn = \"S\"\naddress = \"o\"",
            "[admin]\nTOKEN = \"S\"\ntls = { certificate = \"o\", kye = \"S\" }\no = 1",
            "[traces]\nheader = [\"S\"]\n[log]\nlevle = \"o\"",
            "[ \"admin\" ]\nsecret.x = \"S\"\n[[pinset]]\no = \"o\"",
            "admin.tokn = \"S\"\nx = \"o\"",
            "admin = { tokn = \"S\", address = \"o\" }\nx = \"o\"",
            "[reports]\npasswort = 'S' # S\nspool = \"o\"",
            "[upstream]\nparnet = \"S\"\nextra_roots = [{ file = \"o\" }]\nclient_certificates = [{ hosts = [\"o\"], key = \"o\" }]",
            // With a fault in it. What is behind may be a part of it.
            "headers = [\n  \"S\"\n  \"S\"\n]\no = 1",
            "headers = [\n  \"S\",\n  \"S,\n  \"S\",\n]\nS = \"S\"",
            "headers = [\n  \"S\",\n  S\",\n  \"S\"\n]\nS",
            "headers = [\"S\"\nS = \"S\"\n[S]\nS",
            "headers = [\n  \"S]S\", S]S\", \"S\"\n]",
            "headers = \"S\", \"S\"\nS",
            "headers = [\"S\"], [\"S\"]",
            "headers = { \"S\" = \"S\"\n\"S\" = \"S\" }\no",
            "token = \"S\nS = \"S\"",
            "token = \"\"\"S\nS = 1\n[S]",
            "token = \"S\"S\"\nS",
            "token = \"\"S\"\"\nS",
            "token = S\"\"\"S\nS\"\"\"\nS",
            "token = S S\nS",
            "token = S",
            "token =\n\"S\"\nS",
            "token\n= \"S\"",
            "token \"S\"\nS",
            "token: \"S\"\nS",
            "\"token\" : S",
            "{ token 'S' }",
            "token = ${S\nS",
            "[traces.headers]\nS = \"S\"\nS = S",
            "[traces.\"headers\".o]\nS = S",
            "[[ headers ]]\nS = S",
        ];
        for text in table {
            let shown = starred(text);
            assert!(!shown.contains('S'), "{text}\n->\n{shown}");
            assert_eq!(shown.matches('o').count(), text.matches('o').count(), "{text}\n->\n{shown}");
        }
    }

    #[test]
    fn of_addresses_scheme_and_host_are_shown() {
        let table = [
            ("url = \"https://h.example:1/a?b\"", "url = \"https://h.example:1/***\""),
            ("url = \"https://h.example?b\" # c", "url = \"https://h.example**\" ***"),
            ("url = \"https://h.example/\"", "url = \"https://h.example/\""),
            ("url = \"https://h.example/${P}\"", "url = \"https://h.example/${P}\""),
            ("url = \"https://h.example/x${P}\"", "url = \"https://h.example/*****\""),
            ("url = \"${URL}\"", "url = \"${URL}\""),
            ("url = \"https://tok@h.example/\"", "url = \"https://***@h.example/\""),
            ("url = \"https:/h/tok\"", "url = \"************\""),
            ("urls = [\n\"https://h/a\"\n'https://i/b',\n]\no", "urls = [\n\"https://h/*\"\n'https://i/*',\n]\no"),
            ("urls = [\"https://h/a, \"https://i/b\"]\no", "urls = [\"***************************\n*"),
            ("reports = { urls = ['https://h/a'] }", "reports = { urls = ['https://h/*'] }"),
            ("parent = \"http://a:b@h:1\"", "parent = \"http://***@h:1\""),
            ("parent = \"http://a:b@c@h:1\"", "parent = \"http://*****@h:1\""),
            ("curl = \"https://h/a\"", "curl = \"https://h/a\""),
        ];
        for (text, expected) in table {
            assert_eq!(starred(text), expected, "{text}");
        }
    }

    /// In every text that is cut off anywhere, or lacks any one sign, no secret is shown.
    #[test]
    fn one_sign_less() {
        let whole = "[a]\nb = 1\n[traces]\nheaders = [\n  \"SECRET\", # SECRET\n  'SECRET'\n]\n[admin]\ntoken = \"\"\"\nSECRET\nSECRET\"\"\"\n";
        let keys = [whole.find("headers").unwrap(), whole.find("token").unwrap()];
        for at in whole.find("headers").unwrap()..whole.len() {
            assert!(!starred(&whole[..at]).contains("SECR"), "{}", &whole[..at]);
            let is_key =
                keys.iter().zip(["headers", "token"]).any(|(from, key)| (*from..from + key.len()).contains(&at));
            if !is_key {
                let text = format!("{}{}", &whole[..at], &whole[at + 1..]);
                assert!(!starred(&text).contains("SECR"), "{text}\n->\n{}", starred(&text));
            }
        }
    }

    /// Work for a large file is a small multiple of its size.
    #[test]
    fn hostile_texts_are_read_once() {
        for unit in [
            "token",
            "token=",
            "token.",
            "token]",
            "token = [",
            "\"token\" ",
            "# token = [\n",
            "token = \"\"\"a\"\"\"\n",
            "{",
        ] {
            let text = unit.repeat((1 << 20) / unit.len());
            let started = std::time::Instant::now();
            let found = concealed(&text);
            assert!(found.iter().all(|range| text.get(range.clone()).is_some()), "{unit}");
            assert!(started.elapsed().as_secs() < 20, "{unit}");
        }
    }
}
