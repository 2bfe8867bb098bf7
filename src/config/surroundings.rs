//! What stands outside of the rules and decides about every host all the same: trust anchors, revocation, access.

use super::model::{Config, ExtraRoots, Revocation, Roots};
use crate::policy::compare::{Aspect, Difference, Direction, access_differences};
use std::fmt;
use std::path::Path;

/// A configuration and where it was read from: paths are compared as the two files give them.
pub struct Whole<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Its file.
    pub file: &'a Path,
    /// A text without the values of environment variables.
    pub redacted: &'a dyn Fn(&str) -> String,
}

/// What is different between two configurations apart from their rules.
pub fn differences(old: &Whole<'_>, new: &Whole<'_>) -> Vec<Difference> {
    let lists = [
        (Aspect::ExemptFromPins, false, old.extra_roots(true), new.extra_roots(true)),
        (Aspect::TrustAnchors, false, old.extra_roots(false), new.extra_roots(false)),
        (Aspect::RevocationLists, true, old.lists(), new.lists()),
    ];
    let lists = lists.into_iter().filter_map(|(aspect, refuses, old, new)| of_lists(aspect, refuses, &old, &new));
    let roots = (old.roots() != new.roots())
        .then(|| Difference::words(Aspect::TrustAnchors, Direction::Both, old.roots(), new.roots()));
    let revocation = revocation(old.config.upstream.revocation, new.config.upstream.revocation);
    let access = access_differences(&old.config.access, &new.config.access);
    lists.chain(roots).chain(revocation).chain(access).collect()
}

/// Of files that let more through, or, where they refuse, of those that let less through.
fn of_lists(aspect: Aspect, refuses: bool, old: &[String], new: &[String]) -> Option<Difference> {
    let without = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|file| !other.contains(file)).cloned().collect()
    };
    let (removed, added) = (without(old, new), without(new, old));
    let direction = match (removed.is_empty(), added.is_empty()) {
        (true, true) => return None,
        (false, false) => Direction::Both,
        (removed_nothing, _) if removed_nothing == refuses => Direction::Stricter,
        _ => Direction::Looser,
    };
    Some(Difference::lists(aspect, direction, removed, added))
}

fn revocation(old: Revocation, new: Revocation) -> Option<Difference> {
    let told = |revocation| match revocation {
        Revocation::Off => (0, "off"),
        Revocation::WhenAvailable => (1, "when-available"),
        Revocation::Require => (2, "require"),
    };
    let ((old_rank, old), (new_rank, new)) = (told(old), told(new));
    let direction = if new_rank < old_rank { Direction::Looser } else { Direction::Stricter };
    (old_rank != new_rank).then(|| Difference::words(Aspect::Revocation, direction, old, new))
}

/// Shows the file alone.
impl fmt::Debug for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Whole({})", self.file.display())
    }
}

impl Whole<'_> {
    fn extra_roots(&self, exempting: bool) -> Vec<String> {
        let files = self.config.upstream.extra_roots.iter().filter(|extra| extra.exempts_pins == exempting);
        files.map(|ExtraRoots { file, .. }| self.as_given(file)).collect()
    }

    fn lists(&self) -> Vec<String> {
        self.config.upstream.crls.iter().map(|file| self.as_given(file)).collect()
    }

    fn roots(&self) -> String {
        match &self.config.upstream.roots {
            Roots::System => "system".to_owned(),
            Roots::Webpki => "webpki".to_owned(),
            Roots::File(file) => self.as_given(file),
        }
    }

    fn as_given(&self, file: &Path) -> String {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let given = file.strip_prefix(folder).unwrap_or(file).display().to_string();
        let whole = file.display().to_string();
        // Of the value of a variable no piece may be cut off: what is left would not be known as a value any more.
        let cut_apart = !(self.redacted)(&whole).ends_with(&(self.redacted)(&given));
        if cut_apart { whole } else { given }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    /// What is different between two texts of `[upstream]` and `[access]`, read in two folders.
    fn told(old: &str, new: &str) -> Vec<String> {
        let parse = |text: &str, file: &str| {
            let parsed = Config::parse(text, Path::new(file), SystemTime::now());
            parsed.unwrap_or_else(|errors| panic!("{errors}")).0
        };
        let (old, new) = (parse(old, "etc/old.toml"), parse(new, "new/new.toml"));
        let old = Whole { config: &old, file: Path::new("etc/old.toml"), redacted: &str::to_owned };
        let new = Whole { config: &new, file: Path::new("new/new.toml"), redacted: &str::to_owned };
        let tell = |difference: Difference| {
            let words = difference.old.iter().chain(&difference.new).cloned();
            let lists = [("-", difference.removed), ("+", difference.added)];
            let files =
                lists.into_iter().flat_map(|(sign, files)| files.into_iter().map(move |file| format!("{sign}{file}")));
            let all: Vec<_> = words.chain(files).collect();
            format!("{:?} {:?} {}", difference.aspect, difference.direction, all.join(" "))
        };
        differences(&old, &new).into_iter().map(tell).collect()
    }

    #[test]
    fn both_ways() {
        let extra = |list: &str| format!("[upstream]\nextra_roots = [{list}]");
        let exempting = extra("{ file = \"a.pem\", exempts_pins = true }");
        let require = "[upstream]\ncrls = [\"a.crl\"]\nrevocation = \"require\"";
        let off = "[upstream]\ncrls = [\"a.crl\"]\nrevocation = \"off\"";
        // old, new, what it is, what the way back is
        let table: Vec<(String, String, Vec<&str>, Vec<&str>)> = vec![
            (extra("\"a.pem\""), extra("\"a.pem\""), vec![], vec![]),
            (
                String::new(),
                extra("\"a.pem\""),
                vec!["TrustAnchors Looser +a.pem"],
                vec!["TrustAnchors Stricter -a.pem"],
            ),
            (
                extra("\"a.pem\""),
                extra("\"b.pem\""),
                vec!["TrustAnchors Both -a.pem +b.pem"],
                vec!["TrustAnchors Both -b.pem +a.pem"],
            ),
            (
                extra("\"a.pem\""),
                exempting,
                vec!["ExemptFromPins Looser +a.pem", "TrustAnchors Stricter -a.pem"],
                vec!["ExemptFromPins Stricter -a.pem", "TrustAnchors Looser +a.pem"],
            ),
            (
                require.to_owned(),
                off.to_owned(),
                vec!["Revocation Looser require off"],
                vec!["Revocation Stricter off require"],
            ),
            (
                off.to_owned(),
                "[upstream]\nrevocation = \"off\"".to_owned(),
                vec!["RevocationLists Looser -a.crl"],
                vec!["RevocationLists Stricter +a.crl"],
            ),
            (
                String::new(),
                "[upstream]\nroots = \"webpki\"".to_owned(),
                vec!["TrustAnchors Both system webpki"],
                vec!["TrustAnchors Both webpki system"],
            ),
            (
                String::new(),
                "[access]".to_owned(),
                vec![
                    "Access Stricter +destinations_deny private",
                    "Access Stricter -ports_allow all but 25 +ports_allow 443 +ports_allow 8443 +ports_allow 80",
                ],
                vec![
                    "Access Looser -destinations_deny private",
                    "Access Looser -ports_allow 443 -ports_allow 8443 -ports_allow 80 +ports_allow all but 25",
                ],
            ),
        ];
        for (old, new, there, back) in table {
            assert_eq!(
                (told(&old, &new), told(&new, &old)),
                (there.iter().map(ToString::to_string).collect(), back.iter().map(ToString::to_string).collect()),
                "{old}\n{new}"
            );
        }
    }
}
