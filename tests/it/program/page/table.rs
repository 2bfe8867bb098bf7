//! `config/API.md` against what is really answered.

use super::*;
use std::collections::BTreeSet;

const PATHS: [&str; 4] = ["/api/status", "/api/overrides", "/api/pinsets", "/api/violations"];

/// Fields of an answer, as the table has them.
fn fields(path: &str, at: &str, value: &Value, found: &mut BTreeSet<(String, String)>) {
    // What is told elsewhere, and names that are not ours.
    let is_whole = matches!((path, at), ("/api/status", "overrides" | "lost-events"));
    match value {
        Value::Object(object) if !is_whole => {
            for (name, value) in object {
                let dot = if at.is_empty() { "" } else { "." };
                fields(path, &format!("{at}{dot}{name}"), value, found);
            }
        }
        Value::Array(list) if !is_whole && list.iter().any(Value::is_object) => {
            for value in list {
                fields(path, &format!("{at}[]"), value, found);
            }
        }
        _ => drop(found.insert((path.to_owned(), at.to_owned()))),
    }
}

/// What there is to tell at a moment.
async fn gather(shown: &Shown, found: &mut BTreeSet<(String, String)>) {
    for path in PATHS {
        fields(path, "", &shown.json(path).await, found);
    }
}

#[tokio::test]
async fn every_field_stands_in_the_table_and_no_other() {
    // A spool that somebody else has at first, and a receiver that is not there.
    let spool = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(spool.path().join("lock")).unwrap();
    lock.try_lock().expect("nobody has it");
    let reports = format!("[reports]\nurls = [\"http://127.0.0.1:9/\"]\nspool = {:?}\n", spool.path());
    let shown = Shown::start(|_| format!("{reports}{}", pinset(&Key::p256().pin()))).await;
    let mut found = BTreeSet::new();
    shown.ctl(&["reload"]).await.with_code(0);
    assert_eq!(shown.session().await, 502);
    shown.override_site("CHG-4711", "ann").await;
    shown.violations(1).await;
    gather(&shown, &mut found).await;
    drop(lock);
    let fails = async { while shown.json("/api/status").await["reports"]["receivers"][0]["trouble"].is_null() {} };
    within_deadline(fails).await.expect("its receiver is not there");
    let now = std::time::SystemTime::now();
    pinproxy::authority::begin(&shown.user.ca(), now + std::time::Duration::from_secs(60), None, now)
        .expect("a rotation");
    shown.ctl(&["reload"]).await.with_code(0);
    std::fs::write(&shown.path, "[[pinset").unwrap();
    shown.ctl(&["reload"]).await.with_code(1);
    gather(&shown, &mut found).await;
    // Absent as a whole in one of the two.
    for field in ["last-reload.taken", "ca.rotation", "reports.spool-trouble", "reports.receivers[].trouble"] {
        assert!(found.remove(&("/api/status".to_owned(), field.to_owned())), "{field}");
    }

    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/API.md")).unwrap();
    let rows = document.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| `")?.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [path, field, meaning, ..] = cells[..] else { panic!("{line}") };
        assert!(!meaning.is_empty(), "{line}");
        Some((path.to_owned(), field.to_owned()))
    });
    let documented: Vec<_> = rows.collect();
    let unique: BTreeSet<_> = documented.iter().cloned().collect();
    assert_eq!(unique.len(), documented.len(), "a field stands there twice");
    let missing: Vec<_> = found.difference(&unique).collect();
    let unknown: Vec<_> = unique.difference(&found).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not in the table: {missing:?}; only there: {unknown:?}");
    shown.program.stop().await;
}

/// Everything on the page is JSON, too; and the numbers that the document tells are those of the program.
#[test]
fn the_bounds_are_those_of_the_program() {
    use pinproxy::{config, metrics, outbox, overview};
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/API.md")).unwrap();
    let document = document.replace('\n', " ");
    assert_eq!(metrics::PINSETS_MAX, 1_000);
    let said = [
        format!("{} pinsets, {} host patterns of each", overview::PINSETS_TOLD_MAX, overview::HOSTS_TOLD_MAX),
        format!(
            "the latest {} violations, {} pins of each",
            overview::VIOLATIONS_KEPT_MAX,
            overview::EXPECTED_TOLD_MAX
        ),
        "more than 1,000 pinsets".to_owned(),
        format!("{} characters of why something does not work", outbox::WHY_CHARACTERS_MAX),
    ];
    let metrics = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/METRICS.md")).unwrap();
    // Syslog is one more.
    assert!(metrics.contains(&format!("There are at most {}.", config::REPORT_URLS_MAX + 1)));
    for part in said {
        assert!(document.contains(&part), "{part} is missing");
    }
}
