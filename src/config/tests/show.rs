//! `config show`: the effective configuration as one file.

use super::super::shape::{ANY, Key, Keys, Shape};
use super::super::show::shown as write_value;
use super::includes::Memory;
use super::*;

const MAIN: &str = "etc/main.toml";

/// What is shown, after checking that it is the same configuration, and is shown as it is.
fn shown(memory: &Memory) -> String {
    let load = |memory: &Memory| memory.load().unwrap_or_else(|errors| panic!("{errors}")).0;
    let show = |memory: &Memory| Config::show_from(memory, Path::new(MAIN), now()).unwrap().0;
    let text = show(memory);
    let mut again = Memory::new(&[(MAIN, &text)]);
    again.variables.clone_from(&memory.variables);
    assert_eq!(load(memory), load(&again), "{text}");
    assert_eq!(show(&again), text);
    text
}

#[test]
fn without_a_file() {
    let text = Config::show_builtin();
    assert_eq!(config(&text), Config::builtin(), "{text}");
    assert_eq!(shown(&Memory::new(&[(MAIN, "")])), text);
    for line in ["schema = 1", "[[listener]]", "address = \"127.0.0.1:8080\"", "sessions = 20000", "mode = \"enforce\""]
    {
        assert!(text.lines().any(|shown| shown == line), "{text}");
    }
    assert!(!text.contains("[access]"), "without it another rule holds than with an empty one: {text}");
}

#[test]
fn the_shipped_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/pinproxy.toml");
    let (text, warnings) = Config::show(&path, now()).unwrap();
    assert!(warnings.iter().all(|told| told.code() == Code::I35), "{warnings:?}");
    assert_eq!(Config::parse(&text, &path, now()).unwrap().0, Config::load(&path, now()).unwrap().0, "{text}");
    assert!(text.contains("\n[keys.isrg-root-x1]\n") && text.contains("note = \"Let's Encrypt, RSA 4096\""), "{text}");
}

#[test]
fn a_rich_configuration() {
    let memory = Memory::new(&[
        (
            MAIN,
            &format!(
                "include = [\"d/*.toml\", \"../other.toml\", \"/abs/x.toml\"]\n\
                 [[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"[::]:3128\"\n\
                 [ca]\ndirectory = \"../certs\"\n[access]\nclients = [\"10.0.0.0/8\"]\n\
                 [limits]\nheader_bytes = 0x4000\nidle_timeout = \"1h 30m\"\n\
                 [upstream]\nextra_roots = [\"a.pem\", {{ file = \"b.pem\", exempts_pins = true }}]\n\
                 [defaults]\nunpinned = \"deny\"\n\
                 [[pinset]]\nname = \"own\"\nhosts = [\"a.b.example\"]\npins = [\"root\"]\ninherit = true\nroots = \"d/own.pem\"\n\
                 [[pinset]]\nname = \"device\"\nhosts = [\"192.0.2.7\"]\ntrust = \"pin-only\"\nleaf_pins = [\"{K1}\", \"{K2}\"]\n\
                 [pinset.expiry]\nat = 2027-06-30\nthen = \"fail-closed\"\n\
                 [[tunnel]]\nhosts = [\"t.example\"]\nreason = \"a \\\"b\\\" \u{fc} \\\\\"\n\
                 [log]\naccess = \"${{DIR}}/$${{x}}.jsonl\"\nlevel = \"${{LEVEL}}\""
            ),
        ),
        (
            "etc/d/1.toml",
            &format!(
                "[keys.root]\nspki = \"{X1}\"\nrole = \"root\"\n\
                 [[pinset]]\nname = \"wide\"\nhosts = [\"**.b.example\"]\npins = [\"root\"]\nbackup = [\"{R1}\"]\n\
                 mode = \"report-only\"\nroots = \"own.pem\"\n[pinset.rollout]\nenforce_from = 2027-02-08T00:00:00Z\n\
                 ramp = [{{ from = 2027-01-11T00:00:00+01:00, percent = 5.5 }}]\nhold_if_violations_over = 0.001"
            ),
        ),
        (
            "etc/../other.toml",
            "[[exempt]]\nhosts = [\"c.b.example\"]\nreason = \"r\"\nuntil = 2030-01-01\n\
             [[pinset]]\nname = \"other\"\nhosts = [\"o.example\"]\npins = [\"root\"]\nbackup = [\"sha256/diGVwiVYbubAI3RW4hB9xU8e/CH2GnkuvVFZE8zmgzI=\"]\nroots = \"o.pem\"",
        ),
        (
            "/abs/x.toml",
            &format!(
                "[[pinset]]\nname = \"abs\"\nhosts = [\"x.example\"]\npins = [\"{X1}\", \"{X2}\"]\nroots = \"${{ROOTS}}.pem\"\n\
                 [[pinset]]\nname = \"word\"\nhosts = [\"y.example\"]\npins = [\"{X1}\", \"{X2}\"]\nroots = \"webpki\"\n\
                 [[blocklist]]\nname = \"b\"\nreason = \"r\"\nspki = [\"{R3}\"]"
            ),
        ),
    ])
    .with("DIR", "/var/log")
    .with("LEVEL", "debug")
    .with("ROOTS", "s3cret");
    let text = shown(&memory);
    for line in [
        "access = \"${DIR}/$${x}.jsonl\"",
        "level = \"${LEVEL}\"",
        "roots = \"d/own.pem\"",
        "roots = \"../o.pem\"",
        "roots = \"/abs/${ROOTS}.pem\"",
        "roots = \"webpki\"",
        "header_bytes = 16384",
        "idle_timeout = \"1h 30m\"",
        "connect_timeout = \"10s\"",
        "kind = \"forward\"",
        "destinations_deny = [\"private\"]",
        "at = 2027-06-30",
        "from = 2027-01-11T00:00:00+01:00",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("include") && !text.contains("s3cret") && !text.contains("/var/log"), "{text}");
}

#[test]
fn what_has_errors_is_not_shown() {
    let memory = Memory::new(&[(MAIN, "[log]\nlevel = \"loud\"")]);
    let errors = Config::show_from(&memory, Path::new(MAIN), now()).unwrap_err();
    assert_eq!(errors.diagnostics()[0].code(), Code::E01);
}

#[test]
fn the_token_of_the_admin_address_is_not_shown() {
    let memory = Memory::new(&[(MAIN, "[admin]\naddress = \"127.0.0.1:1\"\ntoken = \"0123456789abcdef\"")]);
    let (text, _) = Config::show_from(&memory, Path::new(MAIN), now()).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(text.contains("token = \"***\"") && !text.contains("0123456789abcdef"), "{text}");
}

#[test]
fn headers_of_traces() {
    let memory =
        Memory::new(&[(MAIN, "[traces]\nurl = \"https://x.example/\"\nheaders = [\"a: s3cret\", \"b: ${B}\"]")])
            .with("B", "x");
    let text = Config::show_from(&memory, Path::new(MAIN), now()).unwrap().0;
    assert!(text.contains("\"***\"") && !text.contains("s3cret") && !text.contains("${B}"), "{text}");
}

#[test]
fn paths_of_addresses() {
    let text = "[reports]\nspool = \"s\"\nurls = [\"https://ada:s3cret@r.example:1/s3cret?s3cret\", \"https://q.example/${B}\"]\n\
                [traces]\nurl = \"https://x.example/v1/s3cret\"";
    let memory = Memory::new(&[(MAIN, text)]).with("B", "x");
    let text = Config::show_from(&memory, Path::new(MAIN), now()).unwrap().0;
    for shown in ["https://ada:***@r.example:1/***\"", "https://q.example/${B}\"", "https://x.example/***\""] {
        assert!(text.contains(shown), "{shown} is missing in\n{text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn secrets() {
    const INNER: Keys = Keys::new(&[
        Key { secret: true, ..Key::new("token", Shape::List(&Shape::Text(ANY)), "A secret.") },
        Key::new("url", Shape::Text(ANY), "No secret."),
    ]);
    const OUTER: Keys = Keys::new(&[
        Key::new("a", Shape::Table(&INNER), "A table."),
        Key { secret: true, ..Key::new("b", Shape::Table(&INNER), "A secret table.") },
    ]);
    let text = "a = { token = [\"x\", \"y\"], url = \"http://u:p@h\" }\nb = { url = \"z\" }";
    let (table, _) = toml::de::DeTable::parse_recoverable(text);
    let source = span::Source::new(Path::new(MAIN), text.to_owned());
    let findings = findings::Findings::new(source.into());
    let span = span::Span::default();
    let table = table::Table::top(&findings, span, table.get_ref(), &OUTER);
    let shown = |key: &Key| write_value(&table.item(key.name).unwrap(), key.secret).to_string();
    assert_eq!(shown(&OUTER.keys[0]), "{ token = [\"***\", \"***\"], url = \"http://u:***@h\" }");
    assert_eq!(shown(&OUTER.keys[1]), "{ url = \"***\" }");
}
