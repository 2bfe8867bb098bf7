//! The JSON Schema of the configuration, judged by another implementation: it refuses nothing that the program takes,
//! and much of what the program refuses.

use crate::support::process;
use pinproxy::config::{Config, schema};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const JUDGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/schema/judge.py");

const R4: &str = "sha256/mEflZT5enoR1FuXLgYYGqnVEoZvmf9c2bVBpiOjYQ0c=";
/// Keys that nobody uses, and no roots.
const K1: &str = "sha256/afwiKY3RxoMmLkuRW1l7QsPZTJPwDS2pdDROQjXw8ig=";
const K2: &str = "sha256/IPMbDAjLVSGntGO3WP53X/zilCVndez5YJ2+vJvhJsA=";
const X1: &str = "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=";
const X2: &str = "sha256/diGVwiVYbubAI3RW4hB9xU8e/CH2GnkuvVFZE8zmgzI=";
/// A digest of nothing that is known: not even whether of a key or of a certificate.
const HEX: &str = "69fc22298dd1c683262e4b915b597b42c3d94c93f00d2da974344e4235f0f228";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// 2026-11-21T00:00:00Z.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200)
}

/// What is wrong with each text by the schema; nothing at all where no interpreter can judge.
async fn judge(texts: &[String]) -> Option<Vec<Option<String>>> {
    let python = std::env::var_os("PINPROXY_TEST_PYTHON").map(PathBuf::from).or_else(|| process::find("python3"))?;
    let home = tempfile::tempdir().expect("a folder");
    if process::command(&python, home.path()).args(["-c", "import jsonschema, tomllib"]).run().await.code != Some(0) {
        process::skipped("Python has no package jsonschema; name an interpreter that has in PINPROXY_TEST_PYTHON");
        return None;
    }
    let asked = json!({ "schema": schema(), "texts": texts }).to_string();
    let done = process::command(&python, home.path()).arg(JUDGE).input(&asked).run().await.with_code(0);
    Some(serde_json::from_str(&done.out).expect("a list of verdicts"))
}

#[test]
fn the_shipped_schema_is_in_step() {
    let path = folder().join("pinproxy.schema.json");
    let shipped = std::fs::read_to_string(&path).unwrap_or_default();
    let expected = format!("{:#}\n", schema());
    assert!(shipped == expected, "pinproxy config schema > config/pinproxy.schema.json");
    let file = std::fs::read_to_string(folder().join("pinproxy.toml")).expect("the reference file");
    assert_eq!(file.lines().next(), Some("#:schema pinproxy.schema.json"), "editors find it");
}

/// The reference file, and for each of its lines `# key = …` one where that line counts.
fn variants_of_the_shipped_file() -> Vec<String> {
    let text = std::fs::read_to_string(folder().join("pinproxy.toml")).expect("the reference file");
    let lines: Vec<_> = text.lines().collect();
    let uncommented = (0..lines.len()).filter_map(|index| {
        let setting = lines[index].strip_prefix("# ").filter(|line| line.contains(" = "))?;
        let mut changed = lines.clone();
        changed[index] = setting;
        Some(changed.join("\n"))
    });
    let readable = |text: &String| Config::parse(text, &folder().join("pinproxy.toml"), now()).is_ok();
    let variants: Vec<_> = std::iter::once(text.clone()).chain(uncommented.filter(readable)).collect();
    assert!(variants.len() > 35, "{}", variants.len());
    variants
}

/// The examples of the findings that have no error in them.
fn examples() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/lint");
    let paths = std::fs::read_dir(folder).expect("the examples").map(|entry| entry.expect("an entry").path());
    let readable =
        paths.filter(|path| path.extension().is_some_and(|e| e == "toml") && Config::load(path, now()).is_ok());
    let texts: Vec<_> = readable.map(|path| std::fs::read_to_string(path).expect("an example")).collect();
    assert!(texts.len() > 50, "{}", texts.len());
    texts
}

fn pinset(lines: &str) -> String {
    format!("[[pinset]]\nname = \"p\"\nhosts = [\"a.example\"]\n{lines}")
}

/// Every form that a value may have.
fn forms() -> Vec<String> {
    let colons: Vec<_> = HEX.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits")).collect();
    let (colons, base64) = (colons.join(":"), &X1["sha256/".len()..]);
    let spki = [
        X1.to_owned(),
        format!("sha256//{base64}"),
        format!("pin-sha256=\\\"{base64}\\\""),
        base64.to_owned(),
        format!("sha256:{HEX}"),
        format!("sha256:{}", HEX.to_uppercase()),
        format!("sha256:{colons}"),
    ];
    let certificates = [format!("cert:sha256:{HEX}"), format!("cert:sha256:{colons}")];
    let only_named = [
        format!("spki = \"{HEX}\""),
        format!("spki = \"{colons}\""),
        format!("cert = \"{HEX}\""),
        format!("cert = \"sha256:{colons}\""),
        format!("cert = \"cert:{HEX}\""),
    ];
    let pins = spki.iter().chain(&certificates).map(|pin| pinset(&format!("pins = [\"{pin}\"]\nbackup = [\"{R4}\"]")));
    let keys = spki.iter().map(|pin| format!("spki = \"{pin}\""));
    let keys = keys.chain(certificates.iter().map(|pin| format!("cert = \"{pin}\""))).chain(only_named);
    let keys = keys.map(|line| format!("[keys.\"A-z.0_9\"]\n{line}\nrole = \"intermediate\""));
    let hosts = [
        "A.example.",
        "b\u{fc}cher.example:8443",
        "*.a.example",
        "**.b.example:1",
        "192.0.2.1:8443",
        "[2001:db8::1]:1",
    ];
    let hosts =
        hosts.map(|host| format!("[[pinset]]\nname = \"p\"\nhosts = [\"{host}\"]\npins = [\"{X1}\", \"{R4}\"]"));
    let durations = ["1ms", "1h 30m", " 1h30m ", "1 0 s", "1.5h", "365days", "1 month", "5\u{b5}s 1s", "52weeks"];
    let durations = durations.map(|text| format!("[limits]\nidle_timeout = \"{text}\""));
    let sizes = ["\"64KiB\"", "\"1 MiB\"", "\"8192B\"", "8192", "0x2000", "8_192"];
    let sizes = sizes.map(|size| format!("[limits]\nheader_bytes = {size}"));
    let addresses = ["127.0.0.1:0", "[::1]:8080", "[::ffff:127.0.0.1]:65535"];
    let addresses = addresses.map(|address| format!("[[listener]]\naddress = \"{address}\""));
    let times = ["2027-06-30", "2027-06-30T12:00:00Z", "2027-06-30 12:00:00.5+02:00"];
    let times = times
        .map(|at| pinset(&format!("pins = [\"{X1}\", \"{R4}\"]\n[pinset.expiry]\nat = {at}\nthen = \"unpinned\"")));
    let others = [
        String::new(),
        "schema = 1".into(),
        "[access]\nclients = [\"10.0.0.0/8\", \"::1\"]\ndestinations_deny = [\"private\", \"**.x.example\"]".into(),
        "[upstream]\nroots = \"./roots.pem\"\nextra_roots = [\"a b.pem\"]".into(),
        "[upstream]\nparent = \"https://u:p@[2001:db8::1]:3128/\"\nno_parent = [\"10.0.0.0/8\", \"*.a.example\"]\nsource = \"::1\"".into(),
        "[upstream]\nsource = [\"127.0.0.1\", \"::1\"]\nclient_certificates = [{ hosts = [\"a.example\"], certificate = \"c\", key = \"k\" }]"
            .into(),
        "include = []\npinset = []\nkeys = {}".into(),
        "[upstream]\nextra_roots = [\"a.pem\", { file = \"b.pem\", exempts_pins = true }]".into(),
        pinset(&format!("pins = [\"{X1}\", \"{R4}\"]\ndeny = [\"{X2}\"]\nroots = \"a.pem\"\nsince = 2026-01-01")),
        pinset(&format!("pins = [\"{K1}\", \"{K2}\"]\ntrust = \"pin-only\"\nverify_name = \"as:b.example\"")),
        pinset(&format!(
            "pins = [\"{X1}\", \"{R4}\"]\nmode = \"report-only\"\n[pinset.rollout]\nenforce_from = 2027-02-08\n\
             ramp = [{{ from = 2027-01-11, percent = 5.5 }}]\nhold_if_violations_over = 0.001"
        )),
        pinset(&format!("leaf_pins = [\"{K1}\", \"{K2}\"]\nca_pins = [\"{X2}\"]\ncombine = \"any\"\nmode = \"off\"")),
    ];
    let all = pins.chain(keys).chain(hosts).chain(durations).chain(sizes).chain(addresses).chain(times).chain(others);
    all.collect()
}

#[tokio::test]
async fn the_schema_takes_what_the_program_takes() {
    let forms = forms();
    for text in &forms {
        Config::parse(text, &folder().join("pinproxy.toml"), now()).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    }
    // An environment variable may stand for any text.
    let variables = [
        "[log]\nlevel = \"${V}\"\naccess = \"${V}\"".to_owned(),
        "[upstream]\nroots = \"${V}\"\nconnect_timeout = \"${V}\"".into(),
        "[limits]\nheader_bytes = \"${V}\"\n[[listener]]\naddress = \"${V}\"".into(),
        "[[pinset]]\nname = \"${V}\"\nhosts = [\"*.${V}*\"]\npins = [\"${V}\"]\n[keys.k]\ncert = \"${V}\"".into(),
        "[access]\nclients = [\"${V}\"]\n[ca]\ndirectory = \"$${literal}\"".into(),
    ];
    let texts: Vec<_> =
        variants_of_the_shipped_file().into_iter().chain(examples()).chain(forms).chain(variables).collect();
    let Some(verdicts) = judge(&texts).await else { return };
    assert_eq!(verdicts.len(), texts.len());
    for (text, error) in texts.iter().zip(verdicts) {
        assert_eq!(error, None, "{text}");
    }
}

#[tokio::test]
async fn the_schema_refuses_what_the_program_refuses() {
    let key = |lines: &str| format!("[keys.k]\n{lines}");
    let mut texts: Vec<_> = [
        "schema = 2",
        "schema = \"1\"",
        "colour = true",
        "[observe]",
        "[admin]\naddress = \"localhost:9090\"",
        "[admin]\naddress = \"127.0.0.1:9090\"\ntls = { key = \"a.key\" }",
        "[admin]\naddress = \"127.0.0.1:9090\"\ntls = true",
        "include = \"a.toml\"",
        "include = [1]",
        "[listener]",
        "[[listener]]",
        "[[listener]]\naddress = 8080",
        "[[listener]]\naddress = \"localhost:8080\"",
        "[[listener]]\naddress = \"127.0.0.1\"",
        "[[listener]]\naddress = \"127.0.0.1:1\"\nkind = \"socks\"",
        "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = {}",
        "[ca]\ndirectory = \"\"",
        "[ca]\nleaf_key = \"p265\"",
        "[ca]\nleaf_lifetime = 7",
        "[ca]\nleaf_lifetime = \"7\"",
        "[ca]\nleaf_cache = 0",
        "[ca]\nleaf_cache = 1_000_001",
        "[ca]\nleaf_cache = 1.5",
        "[ca]\nleaf_cache = \"many\"",
        "[upstream]\nroots = \"sytem\"",
        "[upstream]\nextra_roots = \"a.pem\"",
        "[upstream]\nextra_roots = [{ exempts_pins = true }]",
        "[upstream]\ncertificate_transparency = \"report\"",
        "[upstream]\nresumption = \"false\"",
        "[upstream]\nparent = \"http://proxy.example\"",
        "[upstream]\nparent = \"ftp://proxy.example:21\"",
        "[upstream]\nsource = []",
        "[upstream]\nsource = \"eth0\"",
        "[upstream]\nclient_certificates = [{ hosts = [\"a.example\"], certificate = \"c\" }]",
        "[access]\nclients = []",
        "[access]\nports_allow = [0]",
        "[access]\nports_allow = [65536]",
        "[access]\nports_allow = [\"https\"]",
        "[limits]\nheader_bytes = 8191",
        "[limits]\nheader_bytes = \"64kb\"",
        "[limits]\nheader_bytes = \"64\"",
        "[limits]\nsession = 1",
        "[defaults]\nmode = \"enforced\"",
        "[defaults]\nplaintext = true",
        "[reports]\nurls = [\"r.example\"]",
        "[reports]\nspool_max = 0",
        "[reports]\nper_minute = 6001",
        "[reports]\nsyslog = \"/dev/log\"",
        "[log]\nlevel = \"INFO\"",
        "[keys]\na = 1",
        "[[tunnel]]\nhosts = [\"a.example\"]",
        "[[tunnel]]\nreason = \"r\"",
        "[[exempt]]\nhosts = [\"a.example\"]\nreason = \"r\"",
        "[[exempt]]\nhosts = [\"a.example\"]\nreason = \"r\"\nuntil = 1",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.extend([
        key(""),
        key("spki = \"sha256/AAAA\""),
        key(&format!("spki = \"cert:sha256:{HEX}\"")),
        key(&format!("cert = \"{X1}\"")),
        key(&format!("spki = \"{X1}\"\nrole = \"ca\"")),
        key(&format!("spki = \"{X1}\"\nstate = \"live\"")),
        format!("[keys.\"a b\"]\nspki = \"{X1}\""),
        pinset(""),
        pinset("pins = []"),
        pinset(&format!("pins = \"{X1}\"")),
        pinset("pins = [\"sha1/C5+lpZ7tcVwmwQIMcRtPbsQtWLA=\"]"),
        pinset("pins = [\"sha256/C5-lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=\"]"),
        pinset("pins = [\"\"]"),
        pinset(&format!("pins = [\"{X1}\"]\n[pinset.expiry]\nat = 2027-01-01")),
        pinset(&format!("pins = [\"{X1}\"]\nmode = \"report-only\"\n[pinset.rollout]\nramp = []")),
        pinset(&format!(
            "pins = [\"{X1}\"]\nmode = \"report-only\"\n[pinset.rollout]\nenforce_from = 2027-02-08\n\
             ramp = [{{ from = 2027-01-11, percent = 101 }}]"
        )),
        pinset(&format!("pins = [\"{K1}\"]\ntrust = \"pin-only\"\nverify_name = \"as:\"")),
        pinset(&format!("pins = [\"{X1}\"]\n[pinset.expiry]\nat = 2027-01-01\nthen = \"open\"")),
        format!("[[pinset]]\nname = \"p\"\npins = [\"{X1}\"]"),
        format!("[[pinset]]\nname = \"a b\"\nhosts = [\"a.example\"]\npins = [\"{X1}\"]"),
        format!("[[blocklist]]\nname = \"b\"\nspki = [\"{X1}\"]"),
    ]);
    let hosts = ["", "*", "a*.example", "api.*.example", "https://bank.example", "bank.example/api", "u@bank.example"];
    texts.extend(hosts.map(|host| format!("[[pinset]]\nname = \"p\"\nhosts = [\"{host}\"]\npins = [\"{X1}\"]")));
    for text in &texts {
        assert!(Config::parse(text, &folder().join("pinproxy.toml"), now()).is_err(), "{text}");
    }
    let Some(verdicts) = judge(&texts).await else { return };
    assert_eq!(verdicts.len(), texts.len());
    for (text, error) in texts.iter().zip(verdicts) {
        assert!(error.is_some(), "{text}");
    }
}
