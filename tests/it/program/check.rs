//! `pinproxy config`: what is printed, and with which code it ends.

use super::*;

use serde_json::{Value, json};

const GOOD: &str = "[[pinset]]\nname = \"bank\"\nhosts = [\"api.bank.example\", \"pay.bank.example:8443\"]\n\
                    pins = [\"sha256/afwiKY3RxoMmLkuRW1l7QsPZTJPwDS2pdDROQjXw8ig=\"]\n\
                    backup = [\"sha256/IPMbDAjLVSGntGO3WP53X/zilCVndez5YJ2+vJvhJsA=\"]\n";

/// A warning (W11), in line 1.
const UNUSED: &str = "[keys.spare]\nspki = \"sha256/r/mIkG3eEpVdm+u/ko/cwxzOMo1bk4TyHIlByibiA5E=\"\n";

/// An error of the class unsafe (E21) of two places, behind text of which a character is not an octet.
const TWICE: &str = "[[tunnel]]\nreason = \"é\"\nhosts = [\"é.example\", \"b.example\", \"b.example\"]\n";

/// An error of the class malformed.
const MISSPELT: &str = "lisener = 1\n";

/// Runs `config check` in the user's folder on a file that is named as a relative path.
async fn check(user: &User, text: &str, options: &[&str], code: i32) -> process::Finished {
    user.file("etc/pin proxy.toml", text);
    let start = user.pinproxy(["config", "check", "etc/pin proxy.toml"]).args(options).folder(user.folder());
    let ended = start.run().await.with_code(code);
    assert_eq!(ended.err, "", "{ended}");
    assert!(!ended.out.contains('\x1b'), "no colours but on a terminal: {ended}");
    ended
}

fn parsed(ended: &process::Finished) -> Value {
    assert_eq!(ended.out.lines().count(), 1, "{ended}");
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended}"))
}

#[tokio::test]
async fn the_worst_finding_decides_the_exit_code() {
    let user = User::new();
    for format in [&[][..], &["--json"], &["--sarif"]] {
        for (text, code, strict) in [
            (GOOD.to_owned(), 0, 0),
            (UNUSED.to_owned(), 0, 1),
            (TWICE.to_owned(), 1, 1),
            (format!("{UNUSED}{TWICE}"), 1, 1),
            (MISSPELT.to_owned(), 2, 2),
            (format!("{MISSPELT}{TWICE}{UNUSED}"), 2, 2),
            ("schema 1".to_owned(), 2, 2),
            ("schema = 1\0".to_owned(), 2, 2),
        ] {
            check(&user, &text, format, code).await;
            check(&user, &text, &[format, &["--strict"]].concat(), strict).await;
        }
    }
}

#[tokio::test]
async fn files_that_cannot_be_checked() {
    let user = User::new();
    std::fs::write(user.folder().join("latin.toml"), b"# \xe9\n").unwrap();
    std::fs::write(user.folder().join("large.toml"), vec![b'#'; (16 << 20) + 1]).unwrap();
    for (file, code, part) in [
        ("missing.toml", "E19", "cannot read"),
        (".", "E19", "cannot read"),
        ("latin.toml", "E17", "not UTF-8"),
        ("large.toml", "E19", "larger than 16 MiB"),
    ] {
        let ended = user.pinproxy(["config", "check", file]).folder(user.folder()).run().await.with_code(2);
        let title = format!("error[{code}]: ");
        assert!(ended.out.starts_with(&title) && ended.out.contains(part) && ended.out.contains(file), "{ended}");
        let ended = user.pinproxy(["config", "check", "--json", file]).folder(user.folder()).run().await.with_code(2);
        let told = &parsed(&ended)["diagnostics"][0];
        assert_eq!((&told["code"], &told["file"], told.get("line")), (&json!(code), &json!(file), None), "{ended}");
    }
    let usual = user.pinproxy(["config", "check"]).folder(user.folder()).run().await.with_code(2);
    assert!(usual.out.contains("pinproxy.toml"), "without a name it is pinproxy.toml: {usual}");
    let both = user.pinproxy(["config", "check", "--json", "--sarif"]).run().await.with_code(2);
    both.says(&["cannot be used with"]);
}

/// What is printed is a configuration again, without includes and without the values of variables.
#[tokio::test]
async fn the_effective_configuration() {
    const SECRET: &str = "hunter2-example";
    let user = User::new();
    user.file("pinsets.d/bank.toml", GOOD);
    let file = format!("include = [\"pinsets.d/*.toml\"]\n[reports]\nfile = \"${{PLACE}}/v.jsonl\"\n{UNUSED}");
    user.file("main.toml", &file);
    let start = |arguments: &[&str]| user.pinproxy(arguments).folder(user.folder()).env("PLACE", SECRET);
    let shown = start(&["config", "show", "main.toml"]).run().await.with_code(0);
    shown.says(&["warning[W11]"]);
    assert!(!shown.to_string().contains(SECRET), "{shown}");
    for part in ["api.bank.example", "file = \"${PLACE}/v.jsonl\"", "unpinned = \"intercept\""] {
        assert!(shown.out.contains(part), "{part} is missing in {shown}");
    }
    assert!(!shown.out.contains("include"), "{shown}");
    user.file("shown.toml", &shown.out);
    let again = start(&["config", "show", "shown.toml"]).run().await.with_code(0);
    assert_eq!(again.out, shown.out);

    user.file("wrong.toml", MISSPELT);
    for (file, code, part) in [("missing.toml", 3, "error[E19]"), ("wrong.toml", 2, "error[E01]")] {
        let refused = start(&["config", "show", file]).run().await.with_code(code);
        refused.says(&["the configuration cannot be used", part]);
        assert_eq!(refused.out, "", "{refused}");
    }
}

#[tokio::test]
async fn the_schema_for_editors() {
    let shipped = include_str!("../../../config/pinproxy.schema.json");
    let printed = User::new().pinproxy(["config", "schema"]).run().await.with_code(0);
    assert_eq!(printed.out.trim_end(), shipped.trim_end());
}

#[tokio::test]
async fn text_for_people() {
    let user = User::new();
    let good = check(&user, GOOD, &[], 0).await;
    assert_eq!(good.out, "etc/pin proxy.toml: no findings; 1 pinset, 2 hosts, 2 keys\n");
    let unused = format!("{UNUSED}{GOOD}");
    let strict = check(&user, &unused, &["--strict"], 1).await;
    assert!(strict.out.starts_with("error[W11]: nothing uses the key \"spare\"\n"), "{strict}");
    assert!(strict.out.ends_with("\n1 error in the configuration\n"), "{strict}");
    let warned = check(&user, &unused, &[], 0).await;
    let expected = "\
warning[W11]: nothing uses the key \"spare\"
 --> etc/pin proxy.toml:1:7
  |
1 | [keys.spare]
  |       ^^^^^
  |
  = note: It looks pinned and is not: a host that changes to this key is refused.
  = help: name it in a pinset, or remove it

1 warning in the configuration
";
    assert_eq!(warned.out, expected);
}

/// What a terminal gets, without one: CLICOLOR_FORCE stands in for it (bixense.com/clicolors).
#[tokio::test]
async fn colours() {
    let user = User::new();
    let file = user.file("pinproxy.toml", MISSPELT);
    for (variables, coloured) in [
        (&[][..], false),
        (&[("CLICOLOR_FORCE", "1")], true),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "")], true),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
    ] {
        for (option, takes_colours) in [(None, true), (Some("--json"), false), (Some("--sarif"), false)] {
            let start = user.pinproxy(["config", "check"]).arg(&file).args(option);
            let start = variables.iter().fold(start, |start, (name, value)| start.env(name, value));
            let ended = start.run().await.with_code(2);
            assert_eq!(ended.out.contains('\x1b'), coloured && takes_colours, "{variables:?} {option:?}: {ended}");
        }
    }
}

#[tokio::test]
async fn json_for_programs() {
    let user = User::new();
    let nothing = json!({
        "format": 1, "strict": false, "fault": null, "errors": 0, "warnings": 0, "infos": 0, "left-out": 0,
        "diagnostics": [],
    });
    assert_eq!(parsed(&check(&user, GOOD, &["--json"], 0).await), nothing);
    let told = parsed(&check(&user, &format!("{UNUSED}{TWICE}"), &["--json", "--strict"], 1).await);
    let (unused, twice) = (&told["diagnostics"][0], &told["diagnostics"][1]);
    assert_eq!((&told["strict"], &told["fault"], &told["errors"]), (&json!(true), &json!("unsafe"), &json!(2)));
    assert_eq!((&unused["code"], &unused["severity"]), (&json!("W11"), &json!("error")));
    let expected = json!({
        "code": "E21", "severity": "error", "class": "unsafe",
        "message": "b.example is given twice",
        "consequence": pinproxy::config::Code::E21.consequence(),
        "help": "keep one; for a host a single rule decides, and rules are never merged",
        "file": "etc/pin proxy.toml", "line": 5, "column": 36, "end-line": 5, "end-column": 47,
        "related": [{
            "message": "first given here",
            "file": "etc/pin proxy.toml", "line": 5, "column": 23, "end-line": 5, "end-column": 34,
        }],
    });
    assert_eq!(*twice, expected);
}

/// The members that SARIF 2.1.0 requires, and that code review tools need; the whole was compared with the schema of
/// OASIS by hand.
#[tokio::test]
async fn sarif_for_code_review() {
    let user = User::new();
    let log = parsed(&check(&user, &format!("{UNUSED}{TWICE}"), &["--sarif"], 1).await);
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().is_some_and(|uri| uri.ends_with("/sarif-schema-2.1.0.json")), "{log}");
    assert_eq!(log["runs"].as_array().map(Vec::len), Some(1));
    let run = &log["runs"][0];
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    assert_eq!(run["tool"]["driver"]["name"], "pinproxy");
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    for rule in rules {
        for text in ["shortDescription", "fullDescription", "help"] {
            assert!(rule[text]["text"].as_str().is_some_and(|text| !text.is_empty()), "{rule}");
        }
        let level = match rule["id"].as_str().and_then(|id| id.chars().next()) {
            Some('E') => "error",
            Some('W') => "warning",
            _ => "note",
        };
        assert_eq!(rule["defaultConfiguration"]["level"], level, "{rule}");
    }
    let results = run["results"].as_array().expect("results");
    let told: Vec<_> = results.iter().map(|result| (&result["ruleId"], &result["level"])).collect();
    assert_eq!(told, [(&json!("W11"), &json!("warning")), (&json!("E21"), &json!("error"))]);
    for result in results {
        let index = result["ruleIndex"].as_u64().and_then(|index| usize::try_from(index).ok()).expect("an index");
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    let place = |from: u32, to: u32| {
        json!({
            "artifactLocation": { "uri": "etc/pin%20proxy.toml", "uriBaseId": "%SRCROOT%" },
            "region": { "startLine": 5, "startColumn": from, "endLine": 5, "endColumn": to },
        })
    };
    assert_eq!(results[1]["locations"], json!([{ "physicalLocation": place(36, 47) }]));
    let related = json!([{ "id": 0, "message": { "text": "first given here" }, "physicalLocation": place(23, 34) }]);
    assert_eq!(results[1]["relatedLocations"], related);
    let message = results[1]["message"]["text"].as_str().expect("a message");
    assert!(message.starts_with("b.example is given twice. One of the two rules"), "{message}");
    assert!(message.ends_with(" To fix it: keep one; for a host a single rule decides, and rules are never merged"));
}

#[tokio::test]
async fn codes_can_be_looked_up() {
    let user = User::new();
    for code in ["E21", "e21"] {
        let ended = user.pinproxy(["config", "explain", code]).run().await.with_code(0);
        assert!(ended.out.starts_with("E21: One host in two rules\n"), "{ended}");
        for part in ["If it stays: ", "Fix: ", "Fails:\n\n    [[pinset]]\n", "Passes:\n\n    [[pinset]]\n"] {
            assert!(ended.out.contains(part), "{part:?} is missing in {ended}");
        }
    }
    let ended = user.pinproxy(["config", "explain", "E99"]).run().await.with_code(2);
    ended.says(&["there is no code \"E99\"", "config lints"]);
    let table = user.pinproxy(["config", "lints"]).run().await.with_code(0);
    let all = pinproxy::config::Code::ALL;
    assert_eq!(table.out.lines().count(), 1 + all.len(), "{table}");
    let rules = parsed(&user.pinproxy(["config", "lints", "--json"]).run().await.with_code(0));
    let codes: Vec<_> = rules.as_array().into_iter().flatten().map(|rule| rule["code"].clone()).collect();
    assert_eq!(codes, all.iter().map(|code| json!(code)).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_command_shows_an_example() {
    let user = User::new();
    for command in ["check", "explain", "lints"] {
        let help = user.pinproxy(["config", command, "--help"]).run().await.with_code(0);
        assert!(help.out.contains(&format!("  pinproxy config {command}")), "{help}");
    }
    let help = user.pinproxy(["config", "check", "--help"]).run().await.with_code(0);
    assert!(help.out.contains("Exit code: 0 ") && help.out.contains("--strict"), "{help}");
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let user = User::new();
    let start = user.pinproxy(["config", "lints", "--markdown"]).with(|command| {
        command.stdout(std::io::pipe().expect("a pipe").1);
    });
    let ended = start.run().await.with_code(0);
    assert_eq!(ended.err, "", "{ended}");
}
