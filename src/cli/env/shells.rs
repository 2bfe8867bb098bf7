//! Variables as each shell reads them. Values are quoted, whatever is in them: a path may hold what a shell would run. Files of
//! the form dotenv are for readers that run nothing.

use super::Shell;
use crate::trust::stores::in_quotes;
use crate::trust::variables::Setting;

/// A line for each variable.
pub(super) fn lines(shell: Shell, settings: &[Setting]) -> String {
    let line = |(name, value): &Setting| match (shell, value) {
        (Shell::Bash, Some(value)) => format!("export {name}={}", in_quotes(value)),
        (Shell::Bash, None) => format!("unset {name}"),
        (Shell::Fish, Some(value)) => format!("set -gx {name} {}", fish(value)),
        (Shell::Fish, None) => format!("set -e {name}"),
        (Shell::Powershell, Some(value)) => format!("$env:{name} = {}", powershell(value)),
        (Shell::Powershell, None) => format!("$env:{name} = $null"),
        (Shell::Dotenv, Some(value)) => format!("{name}={}", dotenv(value)),
        (Shell::Dotenv, None) => format!("{name}="),
    };
    settings.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Within single quotes a backslash stands before a quote or another backslash.
fn fish(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// Typographic quotes end a string as well (about_Quoting_Rules).
fn powershell(value: &str) -> String {
    let mut quoted = String::from("'");
    for c in value.chars() {
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            quoted.push(c);
        }
        quoted.push(c);
    }
    quoted + "'"
}

/// There are as many readers as opinions. Without quotes they agree about most characters; docker takes quotes for a part of
/// the value.
fn dotenv(value: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '\'' | '"' | '\\' | '#' | '$' | '`');
    let spaced = |c: char| c == ' ';
    let is_plain = value.chars().all(|c| plain(c) || spaced(c)) && value.trim() == value;
    if is_plain { value.to_owned() } else { format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_of_each_shell() {
        let settings = [("A", Some("it's a \\path\u{2019}".to_owned())), ("B", None), ("C", Some(String::new()))];
        let table = [
            (Shell::Bash, "export A='it'\\''s a \\path\u{2019}'\nunset B\nexport C=''"),
            (Shell::Fish, "set -gx A 'it\\'s a \\\\path\u{2019}'\nset -e B\nset -gx C ''"),
            (Shell::Powershell, "$env:A = 'it''s a \\path\u{2019}\u{2019}'\n$env:B = $null\n$env:C = ''"),
            (Shell::Dotenv, "A='it\\'s a \\\\path\u{2019}'\nB=\nC="),
        ];
        for (shell, expected) in table {
            assert_eq!(lines(shell, &settings), expected, "{shell:?}");
        }
        let java = [("J", Some("-Da=b -Dc=d|*.d".to_owned()))];
        assert_eq!(lines(Shell::Dotenv, &java), "J=-Da=b -Dc=d|*.d");
    }
}
