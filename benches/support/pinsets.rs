//! The text of a configuration with many pinsets, for `policy` and `memory`.

use pinproxy::policy::pin::Pin;
use sha2::{Digest as _, Sha256};

/// So many pinsets: a third exact names, a third `*.`, a third `**.`; each with a key of its own and a shared backup.
pub(crate) fn text(count: usize) -> String {
    let pin = |of: &str| Pin::Spki(Sha256::digest(of.as_bytes()).into()).to_string();
    let one = |n: usize| {
        let host = match n % 3 {
            0 => format!("host{n}.example.com"),
            1 => format!("*.site{n}.example.com"),
            _ => format!("**.tree{n}.example.com"),
        };
        let pin = pin(&n.to_string());
        format!("[[pinset]]\nname = \"p{n}\"\nhosts = [\"{host}\"]\npins = [\"{pin}\"]\nbackup = [\"spare\"]\n")
    };
    let spare = format!("[keys.spare]\nspki = \"{}\"\n", pin("spare"));
    std::iter::once(spare).chain((0..count).map(one)).collect()
}
