//! The rooms of the program and what each may use: the table of ARCHITECTURE.md, which cargo cannot enforce inside one
//! crate.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A room, the rooms it may use (`room::part` for a part alone), and the crates it must not name.
const ROOMS: &[(&str, &[&str], &[&str])] = &[
    (
        "policy",
        &[],
        &["tokio", "rustls", "webpki", "rcgen", "hyper", "tracing", "std::fs", "std::env", "SystemTime::now"],
    ),
    ("files", &[], &["tokio", "rustls", "webpki", "rcgen", "hyper", "SystemTime::now"]),
    (
        "config",
        &["files", "policy"],
        &["tokio", "rustls", "webpki", "rcgen", "hyper", "std::net::Tcp", "SystemTime::now"],
    ),
    ("tls", &["files", "policy"], &["tokio", "hyper", "http", "rcgen", "SystemTime::now"]),
    ("materials", &["policy", "config", "tls"], &["tokio", "webpki", "rcgen", "hyper", "dangerous", "SystemTime::now"]),
    ("upstream", &["policy", "config", "tls"], &["webpki", "rcgen", "dangerous", "SystemTime::now"]),
    (
        "authority",
        &["files", "policy::moment", "policy::timestamp"],
        &["tokio", "hyper", "webpki", "dangerous", "SystemTime::now"],
    ),
    (
        "trust",
        &["policy", "files", "config", "tls", "materials", "authority"],
        &["tokio", "webpki", "rcgen", "hyper", "dangerous", "SystemTime::now"],
    ),
    (
        "intercept",
        &["authority", "policy", "tls::provider", "tls::name", "tls::words"],
        &["hyper", "webpki", "rcgen", "dangerous", "SystemTime::now"],
    ),
    (
        "inspect",
        &["policy", "files", "config", "tls", "materials", "upstream", "authority"],
        &["webpki", "rcgen", "hyper", "dangerous", "SystemTime::now"],
    ),
    ("relay", &[], &["rustls", "tokio_rustls", "webpki", "rcgen", "hyper", "SystemTime::now"]),
    ("report", &["policy"], &["rustls", "webpki", "rcgen", "hyper", "SystemTime::now"]),
    ("outbox", &["policy", "files", "config", "tls", "report"], &["webpki", "rcgen", "dangerous", "SystemTime::now"]),
    (
        "proxy",
        &["policy", "config", "tls", "materials", "upstream", "authority", "intercept", "relay", "report", "outbox"],
        &["webpki", "rcgen", "dangerous"],
    ),
    (
        "operate",
        &["policy", "files", "config", "materials", "authority", "inspect", "report", "outbox", "proxy"],
        &["webpki", "rcgen", "hyper", "dangerous", "SystemTime::now"],
    ),
    (
        "metrics",
        &["policy", "report", "operate"],
        &["tokio", "rustls", "webpki", "rcgen", "hyper", "dangerous", "SystemTime::now"],
    ),
    (
        "overview",
        &["policy", "report", "proxy", "operate", "metrics"],
        &["tokio", "rustls", "webpki", "rcgen", "hyper", "dangerous", "SystemTime::now"],
    ),
    (
        "admin",
        &["files", "policy", "config", "tls::server", "operate", "metrics", "overview"],
        &["webpki", "rcgen", "dangerous", "SystemTime::now"],
    ),
    (
        "cli",
        &[
            "policy",
            "files",
            "config",
            "tls",
            "materials",
            "upstream",
            "authority",
            "trust",
            "intercept",
            "inspect",
            "relay",
            "report",
            "proxy",
            "operate",
            "metrics",
            "overview",
            "admin",
        ],
        &["webpki", "rcgen", "dangerous"],
    ),
];

/// Rooms that may start tasks.
const SPAWNING: &[&str] = &["outbox", "proxy", "operate", "admin", "cli"];

/// The sources by room, tests cut off, comments and strings left in.
fn sources() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut rooms = BTreeMap::<String, Vec<(PathBuf, String)>>::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src is readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(&root).expect("below src").to_owned();
            let is_test = inside.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
            let mut parts = inside.components();
            let (Some(room), Some(_)) = (parts.next(), parts.next()) else { continue };
            if !is_test {
                let text = fs::read_to_string(&path).expect("a source file");
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
                rooms.entry(room.as_os_str().to_string_lossy().into_owned()).or_default().push((inside, text));
            }
        }
    }
    rooms
}

/// Lines that are not comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(n, line)| (n + 1, line))
}

/// The paths behind `crate::` in a line: `crate::tls::provider` gives `tls::provider`.
fn crate_paths(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        rest[..end].trim_end_matches(':')
    })
}

#[test]
fn rooms_use_what_the_table_allows() {
    let rooms = sources();
    let mut faults = Vec::new();
    for (room, files) in &rooms {
        let Some((_, allowed, _)) = ROOMS.iter().find(|(name, ..)| name == room) else {
            faults.push(format!("the room {room} is not in the table"));
            continue;
        };
        for (file, text) in files {
            for (number, line) in code(text) {
                for path in crate_paths(line) {
                    let own = path.split("::").next() == Some(room);
                    let fits = |allowed: &&&str| path == **allowed || path.starts_with(&format!("{allowed}::"));
                    if !own && allowed.iter().find(fits).is_none() {
                        faults.push(format!("{}:{number}: {room} must not use {path}", file.display()));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(rooms.len(), ROOMS.len(), "every room of the table exists");
}

#[test]
fn rooms_do_not_name_what_is_not_theirs() {
    let rooms = sources();
    let mut faults = Vec::new();
    for (room, _, banned) in ROOMS {
        for (file, text) in &rooms[*room] {
            for (number, line) in code(text) {
                for word in banned.iter().filter(|word| names(line, word)) {
                    faults.push(format!("{}:{number}: {room} must not name {word}", file.display()));
                }
                if line.contains("spawn(") && !line.contains("thread::") && !SPAWNING.contains(room) {
                    faults.push(format!("{}:{number}: {room} must not start tasks", file.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Whether a line names a crate or item: the word, not as a part of another one, followed by a path or a call.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let behind = &line[at + word.len()..];
        !before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '"'))
            && (behind.starts_with("::") || behind.starts_with('(') || word.contains("::"))
    })
}

#[test]
fn proofs_and_permits_have_one_maker() {
    let rooms = sources();
    let only_in = |needle: &str, allowed: &str, count: usize| {
        let files = rooms.values().flatten();
        let hits = files.flat_map(|(file, text)| {
            let made = code(text).filter(|(_, line)| line.contains(needle) && !line.contains("impl VerifiedChain"));
            made.map(move |(n, _)| format!("{}:{n}", file.display()))
        });
        let found: Vec<_> = hits.collect();
        assert!(
            found.len() == count && found.iter().all(|place| place.starts_with(allowed)),
            "{needle:?} belongs {count} times into {allowed}, found {found:?}"
        );
    };
    only_in("impl ChainProof for", "tls/chain.rs:", 1);
    // Where it is declared, and where verification makes one: anchored, by a pinned key, with pins softened, and of a
    // path that is remembered.
    only_in("struct VerifiedChain {", "tls/chain.rs:", 1);
    only_in("VerifiedChain { passed_over", "tls/verify.rs:", 1);
    only_in("Ok(VerifiedChain {", "tls/verify.rs:", 2);
    only_in("VerifiedChain { host: self.host.clone(), ..known", "tls/verify.rs:", 1);
    only_in("VerifiedChain {", "tls/", 6);
    only_in("const fn grant(host: Host, passage: Passage) -> Self", "policy/decision.rs:", 1);
    only_in("Self { host, passage }", "policy/decision.rs:", 1);
    only_in("Permit {", "policy/decision.rs:", 2);
}

#[test]
fn the_table_stands_in_the_document() {
    let document =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for (room, allowed, _) in ROOMS {
        let listed = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
        let row = format!("| `{room}` | {listed} |");
        assert!(document.contains(&row), "ARCHITECTURE.md lacks the row {row}");
    }
}

#[test]
fn the_inventory_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    let mut names = Vec::new();
    let mut folders = vec![root.join("src"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &fs::read_to_string(&path).expect("a source file");
            }
        }
    }
    let inventory = fs::read_to_string(root.join("tests/README.md")).expect("tests/README.md");
    let rows = inventory.lines().filter(|line| line.starts_with('|'));
    let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).filter(|name| name.contains("::"));
    let unknown: Vec<_> = quoted
        .filter(|name| {
            let last = name.rsplit("::").next().unwrap_or_default();
            let declared = ["fn ", "mod ", "struct "].iter().any(|kind| text.contains(&format!("{kind}{last}")));
            !declared && !names.iter().any(|file| file == last)
        })
        .collect();
    assert!(unknown.is_empty(), "tests/README.md names what is not there: {unknown:?}");
}
