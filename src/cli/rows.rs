//! Tables for people.

use annotate_snippets::normalize_untrusted_str;

/// Rows of a name and a text, the texts below each other.
#[derive(Debug, Default)]
pub(super) struct Rows(String);

impl Rows {
    const INDENT: usize = 2;
    const NAME_WIDTH: usize = 12;

    /// A row.
    pub(super) fn row(&mut self, name: &str, text: &str) {
        self.line(&format!("{:indent$}{name:<width$}{text}", "", indent = Self::INDENT, width = Self::NAME_WIDTH));
    }

    /// A further line of the text of the last row.
    pub(super) fn more(&mut self, text: &str) {
        self.row("", text);
    }

    /// The text.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    /// A line across. What comes from a file must not move the cursor, break the line or turn its direction.
    pub(super) fn line(&mut self, text: &str) {
        let text = text.replace('\n', "\u{240a}");
        self.0.push_str(normalize_untrusted_str(text.trim_end()).as_str());
        self.0.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_in_their_line() {
        let mut rows = Rows::default();
        rows.row("rule", "CHG\nnothing becomes looser");
        rows.more("\u{1b}[2Ka\u{202e}b");
        assert_eq!(rows.0, "  rule        CHG\u{240a}nothing becomes looser\n              \u{241b}[2Ka\u{fffd}b\n");
    }
}
