mod descriptions;
mod includes;
mod language;
mod large;
mod lint;
mod show;
mod variables;
mod way;

use super::*;
use crate::policy::access::{Access, AddressClass, Deny, Ports};
use crate::policy::host::Authority;
use crate::policy::moment::Circumstances;
use crate::policy::pin::{Pin, Sha256};
use crate::policy::pinset::{AfterExpiry, Basis, Demand, NameCheck, ValidityCheck};
use crate::policy::printable::is_invisible;
use crate::policy::rules::{RuleKind, Unpinned};
use sha2::{Digest as _, Sha256 as Hasher};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const X1: &str = "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=";
const X2: &str = "sha256/diGVwiVYbubAI3RW4hB9xU8e/CH2GnkuvVFZE8zmgzI=";
const R1: &str = "sha256/hxqRlPTu1bMS/0DITB1SSu0vd4u/8l8TjPgfaAp63Gc=";
const R3: &str = "sha256/QXnt2YHvdHR3tJYmQIr0Paosp6t/nggsEGD4QJZ3Q0g=";
/// Keys that nobody uses, and no roots.
const K1: &str = "sha256/afwiKY3RxoMmLkuRW1l7QsPZTJPwDS2pdDROQjXw8ig=";
const K2: &str = "sha256/IPMbDAjLVSGntGO3WP53X/zilCVndez5YJ2+vJvhJsA=";
const K3: &str = "sha256/r/mIkG3eEpVdm+u/ko/cwxzOMo1bk4TyHIlByibiA5E=";
const K4: &str = "sha256/TQEtdMbmwFgYUifM4LDF+xgEtd0z69mPGmkp014d6ZY=";
const R4: &str = "sha256/mEflZT5enoR1FuXLgYYGqnVEoZvmf9c2bVBpiOjYQ0c=";
const X1_HEX: &str = "0b9fa5a59eed715c26c1020c711b4f6ec42d58b0015e14337a39dad301c5afc3";

/// A digest that belongs to nothing.
fn digest_of_nothing(number: usize) -> Sha256 {
    Hasher::digest(number.to_be_bytes()).into()
}

/// The pin of a key that nobody has.
pub(super) fn nobodys(number: usize) -> String {
    Pin::Spki(digest_of_nothing(number)).to_string()
}

/// The same in hexadecimal digits, without a word before them.
fn nobodys_hex(number: usize) -> String {
    Pin::Certificate(digest_of_nothing(number)).to_string().replace("cert:sha256:", "")
}

/// 2027-01-01T00:00:00Z.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_798_761_600)
}

fn parse(text: &str) -> Result<(Config, Vec<Diagnostic>), ConfigErrors> {
    Config::parse(text, Path::new("etc/pinproxy.toml"), now())
}

fn config(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{text}\n{errors}")).0
}

/// A pinset named p for a.example, with more lines.
fn pinset(lines: &str) -> String {
    format!("[[pinset]]\nname = \"p\"\nhosts = [\"a.example\"]\n{lines}")
}

/// Text, then for each expected diagnostic: code, line, column, part of the message or the help.
type Refused<'a> = (&'a str, &'a [(Code, usize, usize, &'a str)]);

fn refuse_each(table: &[Refused<'_>]) {
    for (text, expected) in table {
        let errors = parse(text).err().unwrap_or_else(|| panic!("accepted:\n{text}"));
        let told: Vec<_> = errors.diagnostics().iter().filter(|d| d.severity() == Severity::Error).collect();
        assert_eq!(told.len(), expected.len(), "{text}\n{errors}");
        for (told, (code, line, column, part)) in told.iter().zip(*expected) {
            assert_eq!((told.code(), told.position()), (*code, Some((*line, *column))), "{text}\n{errors}");
            let words = format!("{} / {}", told.message(), told.help());
            assert!(words.contains(part), "{words:?} lacks {part:?}\n{text}");
            assert!(!told.help().is_empty(), "{text}");
            let place = format!("etc/pinproxy.toml:{line}:{column}");
            assert!(told.to_string().contains(&place), "{told} lacks {place}");
        }
    }
}

/// Somebody may name a key in the place of a configuration.
#[test]
fn a_key_is_not_quoted() {
    let text = "\n-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n";
    let errors = parse(text).unwrap_err();
    let told: Vec<_> = errors.diagnostics().iter().map(|told| (told.code(), told.position())).collect();
    assert_eq!(told, [(Code::E17, None)]);
    assert!(!errors.to_string().contains("MIGH"), "{errors}");
}

#[test]
fn refused_documents() {
    refuse_each(&[
        ("schema = 2", &[(Code::E02, 1, 10, "write schema = 1")]),
        ("schema = \"1\"", &[(Code::E02, 1, 10, "schema")]),
        ("schema = 99999999999999999999999999", &[(Code::E02, 1, 10, "schema")]),
        ("schema 1", &[(Code::E17, 1, 8, "expected")]),
        ("schema = 1\nschema = 1", &[(Code::E17, 2, 1, "given twice")]),
        ("[log]\n[log]\nlevel = \"loud\"", &[(Code::E17, 2, 2, "given twice"), (Code::E01, 3, 9, "loud")]),
        ("[[pinset]]\n[pinset]", &[(Code::E15, 2, 1, "[[pinset]]"), (Code::E17, 2, 2, "twice")]),
        ("a = \"\u{1}\"", &[(Code::E17, 1, 6, "")]),
        ("a = 1\0", &[(Code::E17, 1, 6, "NUL")]),
        ("[[listner]]\naddress = \"127.0.0.1:1\"", &[(Code::E01, 1, 3, "did you mean `listener`?")]),
        ("colour = true", &[(Code::E01, 1, 1, "known here: schema, include, watch, listener")]),
        ("[log]\nlevle = \"info\"", &[(Code::E01, 2, 1, "did you mean `level`?")]),
        ("log = { lvl = 1, Level = 2 }", &[(Code::E01, 1, 9, "level"), (Code::E01, 1, 18, "level")]),
        ("# \u{fc}\u{1f600}\n\"\u{fc}\" = 1", &[(Code::E01, 2, 1, "\u{fc}")]),
        ("log = { \"\u{fc}\u{1f600}\" = 1, x = 1 }", &[(Code::E01, 1, 9, ""), (Code::E01, 1, 19, "\"x\" in [log]")]),
        ("log = 3", &[(Code::E15, 1, 7, "a table, not a number")]),
        ("[listener]\naddress = \"127.0.0.1:1\"", &[(Code::E15, 1, 1, "[[listener]]")]),
        ("listener = [1]", &[(Code::E15, 1, 13, "a table, not a number")]),
        ("keys = 1", &[(Code::E15, 1, 8, "[keys.NAME]")]),
        ("[keys]\na = 1", &[(Code::E15, 2, 5, "a table")]),
        ("[log]\r\nlevel = 1\r\n", &[(Code::E15, 2, 9, "a text, not a number")]),
    ]);
}

#[test]
fn not_implemented_yet() {
    let table = [
        ("[observe]\nstore = \"off\"", 1, 2, "observe"),
        ("[upstream]\ncertificate_transparency = \"report\"", 2, 28, "upstream.certificate_transparency = \"report\""),
        ("[upstream]\nct_log_list = \"x\"", 2, 1, "upstream.ct_log_list"),
        ("[access]\nusers = \"x\"", 2, 1, "access.users"),
    ];
    for (text, line, column, part) in table {
        refuse_each(&[(text, &[(Code::E18, line, column, &format!("not implemented yet: {part}") as &str)])]);
    }
}

#[test]
fn traces() {
    let read = config(
        "[traces]\nurl = \"https://collector.example/v1/traces\"\nsample = 0.25\nheaders = [\"Authorization: Bearer s3cret\"]",
    );
    let traces = &read.traces;
    assert_eq!(traces.url.as_ref().unwrap(), "https://collector.example/v1/traces");
    assert!((traces.sample - 0.25).abs() < f64::EPSILON);
    let [(name, secret)] = traces.headers.as_slice() else { panic!("{traces:?}") };
    assert_eq!((name.as_str(), secret.reveal()), ("authorization", "Bearer s3cret"));
    assert_eq!((secret.to_string().as_str(), format!("{secret:?}").as_str()), ("***", "***"));
    assert!(!format!("{read:?}").contains("s3cret") && !format!("{read:?}").contains("v1/traces"));
    assert_eq!(config("[traces]").traces, Config::builtin().traces);
    for url in
        ["http://127.0.0.1:4318/v1/traces", "http://[::1]:4318", "http://localhost", "HTTPS://x.example:1/a@b?c=d"]
    {
        config(&format!("[traces]\nurl = \"{url}\"\nheaders = [\"a: b\"]"));
    }
    config("[traces]\nurl = \"http://collector.example/v1/traces\"");
}

#[test]
fn refused_traces() {
    let is_none = "traces.url is no URL of a collector";
    for url in [
        "",
        "x",
        "collector.example:4318",
        "ftp://x.example/",
        "http://",
        "https://u:p@x.example/",
        "http://x.example/#a",
        "/v1/traces",
        "http://x y/",
    ] {
        let errors = parse(&format!("[traces]\nurl = \"{url}\"")).unwrap_err();
        let [error] = errors.diagnostics() else { panic!("{url}: {errors}") };
        let expected = if url.is_empty() { "traces.url is empty" } else { is_none };
        assert_eq!((error.code(), error.message(), error.position()), (Code::E16, expected, Some((2, 7))), "{url}");
    }
    refuse_each(&[
        ("[traces]\nsample = 1.01", &[(Code::E16, 2, 10, "traces.sample is out of bounds")]),
        ("[traces]\nsample = -0.1", &[(Code::E16, 2, 10, "traces.sample is out of bounds")]),
        (
            "[traces]\nurl = \"http://x.example/\"\nheaders = [\"a: b\"]",
            &[(Code::E16, 2, 7, "would show its headers to everybody on the way")],
        ),
    ]);
    // A header that is none may be a secret that stands in the wrong place: no character of it is told.
    for header in
        ["s3cret", "s3cret: ", ": s3cret", "a s3cret: b", "x: s3cret\u{fc}", "host: s3cret", "Content-Type: s3cret"]
    {
        let errors = parse(&format!("[traces]\nheaders = [\"a: b\", \"{header}\"]")).unwrap_err();
        let told = errors.to_string();
        assert!(told.contains("traces.headers: number 2 is ") && !told.contains("s3cret"), "{header:?}: {told}");
        assert_eq!(errors.diagnostics().len(), 1, "{told}");
    }
}

#[test]
fn refused_settings() {
    refuse_each(&[
        ("[[listener]]", &[(Code::E14, 1, 1, "listener.address is missing")]),
        ("listener = []", &[(Code::E36, 1, 12, "empty list")]),
        ("[[listener]]\naddress = \"localhost:8080\"", &[(Code::E16, 2, 11, "an IP address and a port")]),
        ("[[listener]]\naddress = \"127.0.0.1\"", &[(Code::E16, 2, 11, "")]),
        ("[[listener]]\naddress = \"127.0.0.1:70000\"", &[(Code::E16, 2, 11, "")]),
        ("[[listener]]\naddress = 8080", &[(Code::E15, 2, 11, "a text, not a number")]),
        ("[[listener]]\naddress = \"127.0.0.1:1\"\nkind = \"foward\"", &[(Code::E01, 3, 8, "\"forward\"?")]),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\n[[listener]]\naddress = \"127.0.0.1:1\"",
            &[(Code::E46, 4, 11, "two listeners")],
        ),
        ("[[listener]]\naddress = \"127.0.0.1:1\"\nredirect = \"nat\"", &[(Code::E91, 3, 12, "of this kind")]),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nkind = \"socks5\"\nredirect = \"tproxy\"",
            &[(Code::E91, 4, 12, "of this kind")],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nkind = \"transparent\"\nredirect = \"dnat\"",
            &[(Code::E01, 4, 12, "\"nat\"")],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nkind = \"transparent\"\ntls = { certificate = \"c\", key = \"k\" }",
            &[(Code::E91, 4, 7, "do not know of the proxy")],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = {}",
            &[
                (Code::E14, 3, 7, "listener.tls.certificate is missing"),
                (Code::E14, 3, 7, "listener.tls.key is missing"),
            ],
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = { certificate = \"c\", key = \"k\", client_ca = \"a\" }",
            &[(Code::E01, 3, 39, "client_ca")],
        ),
        ("[[listener]]\naddress = \"127.0.0.1:1\"\nproxy_protocol_from = []", &[(Code::E36, 3, 23, "empty list")]),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nproxy_protocol_from = [\"10.0.0.1/8\", \"private\"]",
            &[(Code::E16, 3, 24, "10.0.0.0/8"), (Code::E16, 3, 38, "not the class")],
        ),
        ("[[listener]]\naddress = \"0.0.0.0:1\"", &[(Code::E80, 2, 11, "clients")]),
        ("[[listener]]\naddress = \"[::]:1\"\n[access]", &[(Code::E80, 2, 11, "clients")]),
        ("[ca]\ndirectory = \"\"", &[(Code::E16, 2, 13, "is empty")]),
        ("[ca]\ndirectory = \"a\\u0000b\"", &[(Code::E16, 2, 13, "control character")]),
        ("[ca]\nleaf_key = \"p265\"", &[(Code::E01, 2, 12, "did you mean \"p256\"?")]),
        ("[ca]\nleaf_lifetime = \"8d\"", &[(Code::E16, 2, 17, "from 2h to 7days")]),
        ("[ca]\nleaf_lifetime = \"119m\"", &[(Code::E16, 2, 17, "out of bounds")]),
        ("[ca]\nleaf_lifetime = \"0s\"", &[(Code::E16, 2, 17, "never means \"no limit\"")]),
        ("[ca]\nleaf_lifetime = \"0\"", &[(Code::E16, 2, 17, "zero")]),
        ("[ca]\nleaf_lifetime = \"7\"", &[(Code::E16, 2, 17, "is not a duration")]),
        ("[ca]\nleaf_lifetime = 7", &[(Code::E15, 2, 17, "a unit between quotes")]),
        ("[ca]\nleaf_lifetime = \"99999999999999999999y\"", &[(Code::E16, 2, 17, "is not a duration")]),
        ("[ca]\nleaf_cache = 0", &[(Code::E16, 2, 14, "from 1 to 1000000")]),
        ("[ca]\nleaf_cache = -1", &[(Code::E16, 2, 14, "out of bounds")]),
        ("[ca]\nleaf_cache = 1_000_001", &[(Code::E16, 2, 14, "out of bounds")]),
        ("[ca]\nleaf_cache = 0xffffffffffffffffffff", &[(Code::E16, 2, 14, "out of bounds")]),
        ("[ca]\nleaf_cache = 1.5", &[(Code::E15, 2, 14, "a whole number, not a number with a point")]),
        ("[ca]\nleaf_cache = \"many\"", &[(Code::E15, 2, 14, "a whole number, not a text")]),
        ("[upstream]\nroots = \"sytem\"", &[(Code::E01, 2, 9, "did you mean \"system\"?")]),
        ("[upstream]\nroots = \"mozilla\"", &[(Code::E01, 2, 9, "the path of a PEM file")]),
        ("[upstream]\nextra_roots = \"a.pem\"", &[(Code::E15, 2, 15, "a list, not a text")]),
        ("[upstream]\nextra_roots = [1, \"\"]", &[(Code::E15, 2, 16, ""), (Code::E16, 2, 19, "empty")]),
        ("[upstream]\nrevocation = \"require\"", &[(Code::E68, 2, 14, "upstream.crls")]),
        ("[upstream]\nrevocation = \"require\"\ncrls = []", &[(Code::E68, 2, 14, "upstream.crls")]),
        ("[upstream]\nrevocation = \"maybe\"", &[(Code::E01, 2, 14, "\"when-available\" or \"require\"")]),
        ("[upstream]\nconnect_timeout = \"2y\"", &[(Code::E16, 2, 19, "out of bounds")]),
        ("[upstream]\nresumption = \"false\"", &[(Code::E15, 2, 14, "true or false, not a text")]),
        ("[limits]\nsessions = 0", &[(Code::E16, 2, 12, "out of bounds")]),
        ("[limits]\nheader_bytes = \"4KiB\"", &[(Code::E16, 2, 16, "from 8KiB to 1024KiB")]),
        ("[limits]\nheader_bytes = 8191", &[(Code::E16, 2, 16, "out of bounds")]),
        ("[limits]\nheader_bytes = \"64kb\"", &[(Code::E16, 2, 16, "B, KiB or MiB")]),
        ("[limits]\nheader_bytes = \"64\"", &[(Code::E16, 2, 16, "is not a size")]),
        ("[limits]\nheader_bytes = \"99999999999999999999MiB\"", &[(Code::E16, 2, 16, "is not a size")]),
        ("[limits]\nclient_hello_bytes = \"1MiB\"", &[(Code::E16, 2, 22, "from 1KiB to 64KiB")]),
        ("[limits]\nidle_timeout = \"0ms\"", &[(Code::E16, 2, 16, "zero")]),
        ("[defaults]\nmode = \"enforced\"", &[(Code::E01, 2, 8, "did you mean \"enforce\"?")]),
        ("[defaults]\nunpinned = \"allow\"", &[(Code::E01, 2, 12, "\"intercept\", \"tunnel\" or \"deny\"")]),
        ("[defaults]\nexpiry_warning = 30", &[(Code::E15, 2, 18, "a duration")]),
        ("[reports]\nclient_id = \"hash\"", &[(Code::E01, 2, 13, "did you mean \"hashed\"?")]),
        ("[log]\nlevel = \"INFO\"", &[(Code::E01, 2, 9, "did you mean \"info\"?")]),
    ]);
}

#[test]
fn a_token_in_the_clear() {
    let token = "token = \"0123456789abcdef\"";
    let tls = "tls = { certificate = \"a.pem\", key = \"a.key\"";
    let table = [
        ("0.0.0.0:1", token.to_owned(), true),
        ("[2001:db8::1]:1", token.to_owned(), true),
        ("[::ffff:192.0.2.7]:1", token.to_owned(), true),
        ("127.0.0.1:1", token.to_owned(), false),
        ("[::1]:1", token.to_owned(), false),
        ("[::ffff:127.0.0.1]:1", token.to_owned(), false),
        ("0.0.0.0:1", format!("{token}\n{tls} }}"), false),
        ("0.0.0.0:1", format!("{tls}, client_ca = \"c.pem\" }}"), false),
    ];
    for (address, more, expected) in table {
        let text = format!("[admin]\naddress = \"{address}\"\n{more}\n");
        let (_, diagnostics) = parse(&text).unwrap_or_else(|errors| panic!("{text}: {errors}"));
        let found: Vec<_> = diagnostics.iter().filter(|found| found.code() == Code::W81).collect();
        assert_eq!(found.len(), usize::from(expected), "{text}");
        assert!(found.iter().all(|found| found.position() == Some((2, 11))), "{text}");
    }
}

#[test]
fn refused_admin() {
    let files = "certificate = \"a.pem\", key = \"a.key\"";
    let tls = |more: &str| format!("[admin]\naddress = \"[::]:1\"\ntls = {{ {files}{more} }}");
    let token = |token: &str| format!("[admin]\naddress = \"0.0.0.0:1\"\ntoken = {token}");
    let table: &[(String, Code, usize, usize, &str)] = &[
        ("[admin]\naddress = \"localhost:1\"".into(), Code::E16, 2, 11, "an IP address and a port"),
        ("[admin]\naddress = \"0.0.0.0:1\"".into(), Code::E81, 2, 11, "token = \"${PINPROXY_ADMIN_TOKEN}\""),
        ("[admin]\naddress = \"192.0.2.7:1\"".into(), Code::E81, 2, 11, "192.0.2.7:1 can be reached"),
        ("[admin]\naddress = \"[::ffff:192.0.2.7]:1\"".into(), Code::E81, 2, 11, ""),
        (tls(""), Code::E81, 2, 11, "client_ca"),
        (tls(", client_ca = 1"), Code::E15, 3, 59, "a text"),
        (
            "[admin]\naddress = \"0.0.0.0:1\"\ntls = { key = \"k\" }".into(),
            Code::E14,
            3,
            7,
            "admin.tls.certificate is missing",
        ),
        ("[admin]\naddress = \"0.0.0.0:1\"\ntls = 1".into(), Code::E15, 3, 7, "a table"),
        (token("\"0123456789abcde\""), Code::E16, 3, 9, "shorter than 16 characters"),
        (token("\"\""), Code::E16, 3, 9, "shorter"),
        (token("\"0123456789 abcdef\""), Code::E16, 3, 9, "blanks"),
        (token("\"0123456789ábcdef\""), Code::E16, 3, 9, "blanks"),
        (token("1"), Code::E15, 3, 9, "a text"),
        ("[admin]\ntoken = \"0123456789abcdef\"".into(), Code::E14, 1, 1, "admin.address is missing"),
        (format!("[admin]\ntls = {{ {files} }}"), Code::E14, 1, 1, "admin.address is missing"),
        (
            "[admin]\naddress = \"127.0.0.1:8080\"\n[[listener]]\naddress = \"127.0.0.1:8080\"".into(),
            Code::E46,
            2,
            11,
            "another port",
        ),
        ("[admin]\naddress = \"127.0.0.1:8080\"".into(), Code::E46, 2, 11, "is a listener for clients"),
    ];
    for (text, code, line, column, says) in table {
        refuse_each(&[(text, &[(*code, *line, *column, says)])]);
    }
}

#[test]
fn admin_addresses() {
    let admin = |lines: &str| {
        let parsed = Config::parse(&format!("[admin]\n{lines}"), Path::new("etc/p.toml"), now());
        parsed.unwrap_or_else(|errors| panic!("{errors}")).0.admin.address.expect("an address")
    };
    for local in ["127.0.0.1:1", "127.9.9.9:0", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        let expected = AdminAddress { bind: local.parse().unwrap(), token: None, tls: None };
        assert_eq!(admin(&format!("address = \"{local}\"")), expected);
    }
    let token = admin("address = \"0.0.0.0:1\"\ntoken = \"0123456789abcdef\"");
    assert_eq!(token.token.as_ref().map(Secret::reveal), Some("0123456789abcdef"));
    assert!(!format!("{token:?}").contains("0123"), "{token:?}");
    let files = "certificate = \"a.pem\", key = \"a.key\", client_ca = \"/b.pem\"";
    let tls = admin(&format!("address = \"0.0.0.0:1\"\ntls = {{ {files} }}")).tls.unwrap();
    let expected =
        AdminTls { certificate: "etc/a.pem".into(), key: "etc/a.key".into(), client_ca: Some("/b.pem".into()) };
    assert_eq!(tls, expected);
}

#[test]
fn refused_reports() {
    let spool = "[reports]\nspool = \"s\"\n";
    let many: Vec<_> = (0..=REPORT_URLS_MAX).map(|n| format!("\"https://r{n}.example\"")).collect();
    let many = format!("{spool}urls = [{}]", many.join(", "));
    let of = |line: &str| format!("{spool}{line}");
    refuse_each(&[
        ("[reports]\nurls = [\"https://r.example\"]", &[(Code::E14, 1, 1, "reports.spool is missing")]),
        ("[reports]\nsyslog = \"unix:/dev/log\"", &[(Code::E14, 1, 1, "reports.spool is missing")]),
        (&of("urls = \"https://r.example\""), &[(Code::E15, 3, 8, "a list, not a text")]),
        (&of("urls = [1]"), &[(Code::E15, 3, 9, "a text, not a number")]),
        (&of("urls = [\"\"]"), &[(Code::E16, 3, 9, "is empty")]),
        (&of("urls = [\"http://r.example/v1\"]"), &[(Code::E70, 3, 9, "has no TLS")]),
        (&of("urls = [\"http://192.0.2.1/\"]"), &[(Code::E70, 3, 9, "http:// is for receivers on this machine")]),
        (&of("urls = [\"r.example\"]"), &[(Code::E16, 3, 9, "is not a URL")]),
        (&of("urls = [\"ftp://r.example/\"]"), &[(Code::E16, 3, 9, "another scheme")]),
        (&of("urls = [\"https://token@r.example/\"]"), &[(Code::E16, 3, 9, "not a user and a password")]),
        (&of("urls = [\"https://r.example/#x\"]"), &[(Code::E16, 3, 9, "a fragment")]),
        (&of("urls = [\"https://-/\"]"), &[(Code::E16, 3, 9, "a host that is none")]),
        (
            &of("urls = [\"https://r.example/\", \"https://u:p@R.example\"]"),
            &[(Code::E46, 3, 31, "one address for reports is given twice")],
        ),
        (&many, &[(Code::E16, 3, 8, "more than 16 addresses")]),
        (&of("syslog = true"), &[(Code::E15, 3, 10, "a text, not true or false")]),
        (&of("syslog = \"/dev/log\""), &[(Code::E16, 3, 10, "unix:/dev/log")]),
        (&of("syslog = \"tls://log.example:6514\""), &[(Code::E16, 3, 10, "tcp://HOST:PORT")]),
        (&of("syslog = \"udp://log.example\""), &[(Code::E16, 3, 10, "udp://HOST:PORT")]),
        ("[reports]\nspool = \"\"", &[(Code::E16, 2, 9, "is empty")]),
        ("[reports]\nspool = 1", &[(Code::E15, 2, 9, "a text, not a number")]),
        ("[reports]\nspool_max = 0", &[(Code::E16, 2, 13, "from 1 to 100000")]),
        ("[reports]\nspool_max = 100_001", &[(Code::E16, 2, 13, "out of bounds")]),
        ("[reports]\nspool_max = \"1\"", &[(Code::E15, 2, 13, "a whole number")]),
        ("[reports]\nper_minute = 0", &[(Code::E16, 2, 14, "from 1 to 6000")]),
        ("[reports]\nper_minute = 6001", &[(Code::E16, 2, 14, "out of bounds")]),
        ("[reports]\ndeduplicate_for = \"0s\"", &[(Code::E16, 2, 19, "zero")]),
        ("[reports]\ndeduplicate_for = \"999ms\"", &[(Code::E16, 2, 19, "out of bounds")]),
        ("[reports]\ndeduplicate_for = \"8d\"", &[(Code::E16, 2, 19, "from 1s to 7days")]),
    ]);
}

/// Neither what is found nor what is shown tells a password.
#[test]
fn passwords_of_report_addresses() {
    let errors = parse("[reports]\nurls = [\"http://ada:s3cret@r.example/\"]").unwrap_err().to_string();
    assert!(errors.contains("E70") && !errors.contains("s3cret"), "{errors}");
    let config = config("[reports]\nspool = \"s\"\nurls = [\"https://ada:s3cret@r.example/token\"]");
    assert_eq!(config.reports.urls[0].credentials().map(Secret::reveal), Some("ada:s3cret"));
    let debug = format!("{config:?}");
    assert!(debug.contains("r.example") && !debug.contains("s3cret") && !debug.contains("token"), "{debug}");
}

/// Where a line of a value is marked, the key may stand on another one.
#[test]
fn secrets_beside_what_is_marked() {
    let table: [(&str, Code, &str); 5] = [
        ("[traces]\nheaders = [\n  \"authorization: Bearer S3CRET\"\n  \"x-key: S3CRET\",\n]", Code::E17, "toml:"),
        ("[admin]\ntoken = \"\"\"\nx\nS3CRET\"\"\"S3CRET", Code::E17, "toml:"),
        ("[admin]\r\ntoken = '''\r\nS3CRET\r\nS3CRET", Code::E17, "toml:"),
        (
            "[reports]\nspool = \"s\"\nurls = [\n  \"https://r.example/S3CRET\",\n  \"https://r.example/S3CRET\",\n]",
            Code::E46,
            ":5:",
        ),
        ("[traces]\nurl = \"ftp://r.example/S3CRET\"", Code::E16, ":2:"),
    ];
    for (text, code, place) in table {
        let errors = parse(text).unwrap_err();
        assert!(errors.diagnostics().iter().any(|told| told.code() == code), "{text}\n{errors}");
        let told = errors.to_string();
        assert!(told.contains(place) && !told.contains("S3CRET"), "{text}\n{told}");
    }
}

#[test]
fn refused_access() {
    refuse_each(&[
        ("[access]\nclients = []", &[(Code::E36, 2, 11, "empty list")]),
        ("[access]\nclients = [\"10.0.0.1/8\"]", &[(Code::E16, 2, 12, "\"10.0.0.0/8\"")]),
        ("[access]\nclients = [\"::ffff:10.0.0.0/104\"]", &[(Code::E16, 2, 12, "IPv4 network")]),
        ("[access]\nclients = [\"10.0.0.0/33\"]", &[(Code::E16, 2, 12, "no network")]),
        ("[access]\nclients = [\"office.example\"]", &[(Code::E16, 2, 12, "not the host")]),
        ("[access]\nclients = [\"private\"]", &[(Code::E16, 2, 12, "not the class")]),
        ("[access]\ndestinations_allow = [\"metadata\"]", &[(Code::E16, 2, 23, "networks and addresses")]),
        ("[access]\ndestinations_allow = [\"**.example\"]", &[(Code::E16, 2, 23, "networks and addresses")]),
        ("[access]\ndestinations_deny = [\"Private\"]", &[(Code::E01, 2, 22, "did you mean \"private\"?")]),
        ("[access]\ndestinations_deny = [\"link_local\"]", &[(Code::E01, 2, 22, "\"link-local\"?")]),
        ("[access]\ndestinations_deny = [\"10.0.0.0/99\"]", &[(Code::E16, 2, 22, "no network")]),
        ("[access]\ndestinations_deny = [\"10.0.0.1:80\"]", &[(Code::E16, 2, 22, "without the port")]),
        ("[access]\ndestinations_deny = [\"evil.*\"]", &[(Code::E20, 2, 22, "star")]),
        ("[access]\nports_allow = [0]", &[(Code::E16, 2, 16, "from 1 to 65535")]),
        ("[access]\nports_allow = [65536, \"https\"]", &[(Code::E16, 2, 16, ""), (Code::E15, 2, 23, "")]),
        ("[access]\nports_allow = []", &[(Code::E36, 2, 15, "")]),
    ]);
}

/// F31, F30, F15: sloppy encodings and placeholders are errors, and never an empty pinset.
#[test]
fn refused_pins() {
    let table: &[(&str, Code, &str)] = &[
        ("sha1/C5+lpZ7tcVwmwQIMcRtPbsQtWLA=", Code::E03, "SHA-1"),
        ("md5/7G3pbP/AowXGuu/WYvZqWQ==", Code::E03, "MD5"),
        ("sha512/AAAA", Code::E03, "SHA-512"),
        ("sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLA=", Code::E04, "20 is SHA-1"),
        ("sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8N=", Code::E05, "mistyped"),
        ("sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M", Code::E05, "= at the end"),
        ("sha256/C5-lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=", Code::E05, "URL-safe"),
        ("SHA256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=", Code::E05, "not a pin"),
        (" sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=", Code::E05, "not a pin"),
        (X1_HEX, Code::E05, "may be a key or a certificate"),
        ("", Code::E05, "the pin is empty"),
        ("sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", Code::E06, "SHA-256 of nothing"),
        ("sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", Code::E06, "all-zero"),
        ("sha256/LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=", Code::E06, "RFC 7469"),
        ("bank-laef", Code::E10, "did you mean \"bank-leaf\"?"),
        ("nobody", Code::E10, "define it: [keys.nobody]"),
    ];
    for (pin, code, part) in table {
        for list in ["pins", "leaf_pins", "ca_pins"] {
            let keys = format!("\n[keys.bank-leaf]\nspki = \"{X1}\"");
            let text = format!("{}{keys}", pinset(&format!("{list} = [\"{pin}\"]")));
            refuse_each(&[(&text, &[(*code, 4, list.len() + 5, part)])]);
        }
    }
}

#[test]
fn refused_keys() {
    let key = |lines: &str| format!("[keys.k]\n{lines}\n");
    let two = |a: &str, b: &str| format!("[keys.a]\n{a}\n[keys.b]\n{b}");
    let (spki, cert) = (format!("spki = \"{X1}\""), format!("cert = \"sha256:{X1_HEX}\""));
    let nobodys_certificate = format!("cert = \"sha256:{}\"", nobodys_hex(1));
    let table: &[(String, Code, usize, usize, &str)] = &[
        (key(""), Code::E14, 1, 1, "keys.k.spki is missing"),
        (key("spki = 1"), Code::E15, 2, 8, "a text"),
        (key("spki = \"sha256/AAAA\""), Code::E04, 2, 8, "3 bytes"),
        (key(&format!("spki = \"cert:sha256:{X1_HEX}\"")), Code::E05, 2, 8, "certificate pin"),
        (key(&format!("cert = \"{X1}\"")), Code::E05, 2, 8, "key pin"),
        (key("cert = \"sha1:00\""), Code::E03, 2, 8, "SHA-1"),
        (key(&format!("{spki}\n{cert}")), Code::E12, 3, 8, "twice"),
        (key(&format!("{spki}\nrole = \"ca\"")), Code::E01, 3, 8, "\"intermediate\" or \"root\""),
        (key(&format!("{spki}\nstate = \"live\"")), Code::E01, 3, 1, "unknown key \"state\" in [keys.k]"),
        (key(&format!("{spki}\nowner = \" \"")), Code::E16, 3, 9, "empty"),
        (key(&format!("{spki}\nnote = \"a\\nb\"")), Code::E16, 3, 8, "control character"),
        (format!("[keys.\"a b\"]\n{spki}"), Code::E16, 1, 7, "is not a name"),
        (format!("[keys.\"\"]\n{spki}"), Code::E16, 1, 7, "is not a name"),
        (two(&spki, &spki), Code::E09, 3, 7, "are one key"),
        (two(&spki, &format!("spki = \"sha256:{X1_HEX}\"")), Code::E09, 3, 7, "are one key"),
        (two(&spki, &cert), Code::E12, 4, 8, "the digest of a key, not of a certificate"),
        (
            two(&format!("spki = \"{}\"", nobodys(1)), &nobodys_certificate),
            Code::E12,
            4,
            8,
            "as a certificate elsewhere",
        ),
    ];
    for (text, code, line, column, part) in table {
        refuse_each(&[(text, &[(*code, *line, *column, part)])]);
    }
    let errors = parse(&two(&spki, &spki)).unwrap_err().to_string();
    assert!(errors.contains("etc/pinproxy.toml:3:7") && errors.contains("first given here"), "{errors}");
}

#[test]
fn refused_pinsets() {
    let roles = format!(
        "\n[keys.leaf]\nspki = \"{K1}\"\nrole = \"leaf\"\n[keys.root]\nspki = \"{X2}\"\nrole = \"root\"\n\
         [keys.plain]\nspki = \"{K3}\""
    );
    let table: &[(&str, &str, Code, usize, usize, &str)] = &[
        ("", "", Code::E36, 1, 1, "no pins"),
        ("backup = [\"X1\"]", "", Code::E36, 1, 1, "no pins"),
        ("pins = []", "", Code::E36, 4, 8, "empty list"),
        ("pins = [\"X1\"]\nbackup = []", "", Code::E36, 5, 10, "empty list"),
        ("pins = \"X1\"", "", Code::E15, 4, 8, "a list, not a text"),
        ("pins = [\"X1\", \"X1\"]", "", Code::E09, 4, 64, "twice in pins"),
        ("pins = [\"X1\"]\nbackup = [\"X1\"]", "", Code::E09, 5, 11, "another key"),
        ("leaf_pins = [\"K1\"]\nca_pins = [\"X2\"]", "", Code::E37, 5, 11, "combine = \"all\""),
        ("leaf_pins = [\"K1\"]\nca_pins = [\"X2\"]\ncombine = \"both\"", "", Code::E01, 6, 11, "\"all\" or \"any\""),
        (
            "leaf_pins = [\"leaf\"]\nca_pins = [\"root\"]\ncombine = \"all\"\nbackup = [\"plain\"]",
            &roles,
            Code::E37,
            7,
            11,
            "role",
        ),
        ("ca_pins = [\"leaf\", \"plain\"]", &roles, Code::E13, 4, 12, "role leaf in ca_pins"),
        ("leaf_pins = [\"root\", \"plain\"]", &roles, Code::E13, 4, 14, "role root in leaf_pins"),
        ("leaf_pins = [\"leaf\"]\nbackup = [\"root\"]", &roles, Code::E13, 5, 11, "role root in leaf_pins"),
        ("trust = \"pin-only\"\nca_pins = [\"X1\", \"X2\"]", "", Code::E60, 5, 11, "no chain is built"),
        ("trust = \"pin-only\"\npins = [\"root\", \"plain\"]", &roles, Code::E60, 5, 9, "role root"),
        ("trust = \"pin-only\"\nmode = \"off\"\npins = [\"K1\", \"K2\"]", "", Code::E69, 5, 8, "nothing is left"),
        (
            "trust = \"pin-only\"\nmode = \"report-only\"\npins = [\"K1\", \"K2\"]",
            "",
            Code::E69,
            5,
            8,
            "nothing is left",
        ),
        ("trust = \"pin-only\"\npins = [\"K1\", \"K2\"]", "\n[defaults]\nmode = \"off\"", Code::E69, 4, 9, "enforce"),
        ("trust = \"tofu\"\npins = [\"X1\", \"X2\"]", "", Code::E01, 4, 9, "\"roots\" or \"pin-only\""),
        ("verify_name = \"skip\"\npins = [\"X1\", \"X2\"]", "", Code::E69, 4, 15, "needs trust = \"pin-only\""),
        ("verify_validity = \"ignore\"\npins = [\"X1\", \"X2\"]", "", Code::E69, 4, 19, "needs trust = \"pin-only\""),
        ("pins = [\"X1\", \"X2\"]\nplaintext = \"dney\"", "", Code::E01, 5, 13, "\"deny\"?"),
        ("pins = [\"X1\", \"X2\"]\nmoed = \"off\"", "", Code::E01, 5, 1, "did you mean `mode`?"),
        (
            "pins = [\"X1\", \"X2\"]",
            "\n[[blocklist]]\nname = \"b\"\nreason = \"r\"\nspki = [\"X1\"]",
            Code::E38,
            4,
            9,
            "blocked by \"b\"",
        ),
    ];
    for (lines, rest, code, line, column, part) in table {
        let text =
            format!("{}{rest}", pinset(lines)).replace("X1", X1).replace("X2", X2).replace("K1", K1).replace("K2", K2);
        refuse_each(&[(&text, &[(*code, *line, *column, part)])]);
    }
}

#[test]
fn refused_names_of_pinsets() {
    let long = "x".repeat(65);
    let whole: &[(String, Code, usize, usize, &str)] = &[
        (
            format!("[[pinset]]\nhosts = [\"a.example\"]\npins = [\"{X1}\", \"{X2}\"]"),
            Code::E14,
            1,
            1,
            "pinset.name is missing",
        ),
        (format!("[[pinset]]\nname = \"p\"\npins = [\"{X1}\", \"{X2}\"]"), Code::E14, 1, 1, "pinset.hosts is missing"),
        (format!("[[pinset]]\nname = \"p\"\nhosts = []\npins = [\"{X1}\", \"{X2}\"]"), Code::E36, 3, 9, "empty"),
        (
            format!("[[pinset]]\nname = \"a b\"\nhosts = [\"a.example\"]\npins = [\"{X1}\", \"{X2}\"]"),
            Code::E16,
            2,
            8,
            "name",
        ),
        (
            format!("[[pinset]]\nname = \"{long}\"\nhosts = [\"b.example\"]\npins = [\"{X1}\", \"{X2}\"]"),
            Code::E16,
            2,
            8,
            "64",
        ),
        (
            format!("[[pinset]]\nname = \"tunnel\"\nhosts = [\"b.example\"]\npins = [\"{X1}\", \"{X2}\"]"),
            Code::E16,
            2,
            8,
            "logs",
        ),
        (
            format!(
                "{}\n[[pinset]]\nname = \"p\"\nhosts = [\"b.example\"]\npins = [\"{X1}\", \"{X2}\"]",
                pinset(&format!("pins = [\"{X1}\", \"{X2}\"]"))
            ),
            Code::E46,
            6,
            8,
            "given twice",
        ),
    ];
    for (text, code, line, column, part) in whole {
        refuse_each(&[(text, &[(*code, *line, *column, part)])]);
    }
}

/// F12: patterns of other tools are errors, not dead entries.
#[test]
fn refused_hosts() {
    for host in [
        "",
        "*",
        "**",
        "*.",
        "a*.example",
        "api.*.example",
        ".bank.example",
        "https://bank.example",
        "bank.example/api",
        "^bank\\\\.example$",
        "bank.example:0",
        "bank.example:https",
        "*.192.0.2.1",
        "10.0.0.0/8",
        "2001:db8::1",
        "127.1",
        "bank..example",
    ] {
        let text =
            format!("[[pinset]]\nname = \"p\"\npins = [\"{X1}\", \"{X2}\"]\nhosts = [\"{host}\", \"a.example\"]");
        refuse_each(&[(&text, &[(Code::E20, 4, 10, "is no host pattern")])]);
    }
    let twice = [
        ("hosts = [\"a.example\", \"A.example.\"]", "", 4, 23),
        ("hosts = [\"a.example\"]", "[[tunnel]]\nreason = \"r\"\nhosts = [\"a.example\"]", 7, 10),
        (
            "hosts = [\"**.b.example:443\"]",
            "[[exempt]]\nreason = \"r\"\nuntil = 2030-01-01\nhosts = [\"**.b.example:443\"]",
            8,
            10,
        ),
        ("hosts = [\"b\u{fc}cher.example\"]", "[[tunnel]]\nreason = \"r\"\nhosts = [\"xn--bcher-kva.example\"]", 7, 10),
        ("hosts = [\"[::ffff:192.0.2.1]\"]", "[[tunnel]]\nreason = \"r\"\nhosts = [\"192.0.2.1\"]", 7, 10),
    ];
    for (hosts, rest, line, column) in twice {
        let text = format!("[[pinset]]\nname = \"p\"\npins = [\"{X1}\", \"{X2}\"]\n{hosts}\n{rest}");
        refuse_each(&[(&text, &[(Code::E21, line, column, "given twice")])]);
    }
}

#[test]
fn holes() {
    // pinned pattern, hole, whether the hole wins somewhere
    let table = [
        ("**.example", "a.example", true),
        ("**.example", "example", true),
        ("**.example", "*.example", true),
        ("**.b.example", "*.example", true),
        ("**.example", "**.a.example", true),
        ("*.example", "a.example", true),
        ("*.example:443", "a.example", true),
        ("a.example", "a.example:443", true),
        ("192.0.2.1", "192.0.2.1:443", true),
        ("a.example:443", "a.example", false),
        ("a.example", "*.example", false),
        ("a.example", "**.example", false),
        ("*.example", "**.example", false),
        ("**.a.example", "**.example", false),
        ("**.a.example", "*.b.example", false),
        ("**.example:443", "a.example:80", false),
        ("a.example", "b.example", false),
        ("192.0.2.1:443", "192.0.2.1", false),
    ];
    for (pinned, hole, wins) in table {
        let [pinned, hole] = [pinned, hole].map(|pattern| pattern.replace("example", "bank.example"));
        let base = format!("[[pinset]]\nname = \"p\"\npins = [\"{X1}\", \"{X2}\"]\nhosts = [\"{pinned}\"]\n");
        let tunnel = format!("{base}[[tunnel]]\nreason = \"r\"\nhosts = [\"{hole}\"]");
        let exempt = format!("{base}[[exempt]]\nreason = \"r\"\nuntil = 2030-01-01\nhosts = [\"{hole}\"]");
        let first_error = |e: ConfigErrors| {
            e.diagnostics().iter().map(Diagnostic::code).find(|code| code.severity() == Severity::Error)
        };
        let told = |text: &str| parse(text).err().and_then(first_error);
        assert_eq!(told(&tunnel), wins.then_some(Code::E27), "{hole} through {pinned}");
        assert_eq!(told(&exempt), (!wins).then_some(Code::E26), "{hole} out of {pinned}");
    }
    let exempt = |lines: &str| format!("[[exempt]]\n{lines}\n{}", pinset(&format!("pins = [\"{X1}\", \"{X2}\"]")));
    let until = "until = 2030-01-01";
    for (lines, code, line, column) in [
        (format!("reason = \"r\"\n{until}"), Code::E26, 1, 1),
        (format!("hosts = [\"a.example:1\"]\n{until}"), Code::E26, 1, 1),
        ("hosts = [\"a.example:1\"]\nreason = \"r\"".into(), Code::E26, 1, 1),
        (format!("hosts = [\"a.example:1\"]\nreason = \"\"\n{until}"), Code::E16, 3, 10),
        (format!("hosts = [\"b.example\"]\nreason = \"r\"\n{until}"), Code::E26, 2, 10),
        (format!("hosts = []\nreason = \"r\"\n{until}"), Code::E36, 2, 9),
    ] {
        refuse_each(&[(&exempt(&lines), &[(code, line, column, "")])]);
    }
    refuse_each(&[
        ("[[tunnel]]\nhosts = [\"a.example\"]", &[(Code::E14, 1, 1, "tunnel.reason is missing")]),
        ("[[tunnel]]\nreason = \"r\"", &[(Code::E14, 1, 1, "tunnel.hosts is missing")]),
    ]);
}

#[test]
fn refused_blocklists() {
    let entry = |spki: &str| format!("[[blocklist]]\nname = \"b\"\nreason = \"r\"\nspki = [{spki}]");
    let table: &[(String, Code, usize, usize, &str)] = &[
        (entry(""), Code::E36, 4, 8, "empty"),
        (entry("\"sha256/AAAA\""), Code::E04, 4, 9, "3 bytes"),
        (entry(&format!("\"cert:sha256:{}\"", nobodys_hex(1))), Code::E05, 4, 9, "block the key"),
        (entry(&format!("\"{X1}\", \"{X1}\"")), Code::E09, 4, 64, "blocked twice"),
        (format!("[[blocklist]]\nname = \"b\"\nspki = [\"{X1}\"]"), Code::E14, 1, 1, "blocklist.reason is missing"),
        (format!("[[blocklist]]\nreason = \"r\"\nspki = [\"{X1}\"]"), Code::E14, 1, 1, "blocklist.name is missing"),
        ("[[blocklist]]\nreason = \"r\"\nname = \"b\"".into(), Code::E14, 1, 1, "blocklist.spki is missing"),
    ];
    for (text, code, line, column, part) in table {
        refuse_each(&[(text, &[(*code, *line, *column, part)])]);
    }
}

/// F17: no end that cannot be read turns into no end.
#[test]
fn refused_times() {
    let table = [
        ("at = 2027-13-01", Code::E17, 6, ""),
        ("at = 2027-02-30", Code::E17, 6, ""),
        ("at = 2027-06-30T25:00:00Z", Code::E17, 6, ""),
        ("at = \"2027-13-01\"", Code::E15, 6, "without quotes"),
        ("at = \"never\"", Code::E15, 6, "without quotes"),
        ("at = 2027", Code::E15, 6, "a date, not a number"),
        ("at = 2027-06-30T00:00:00", Code::E50, 6, "offset"),
        ("at = 2027-06-30 00:00:00", Code::E50, 6, "offset"),
        ("at = 12:00:00", Code::E50, 6, "a time without a date"),
        ("at = 2027-06-30T23:59:60Z", Code::E16, 6, "calendar"),
    ];
    for (at, code, column, part) in table {
        let text = pinset(&format!("pins = [\"{X1}\", \"{X2}\"]\n[pinset.expiry]\nthen = \"unpinned\"\n{at}"));
        let errors = parse(&text).unwrap_err();
        let first = errors.diagnostics().iter().find(|told| told.severity() == Severity::Error).unwrap();
        assert_eq!((first.code(), first.position().map(|p| p.0)), (code, Some(7)), "{at}\n{errors}");
        if code != Code::E17 {
            assert_eq!(first.position(), Some((7, column)), "{errors}");
        }
        assert!(format!("{} {}", first.message(), first.help()).contains(part), "{errors}");
    }
    let expiry = |lines: &str| pinset(&format!("pins = [\"{X1}\", \"{X2}\"]\n[pinset.expiry]\n{lines}"));
    refuse_each(&[
        (&expiry("at = 2027-06-30"), &[(Code::E51, 5, 1, "there is no default")]),
        (&expiry("then = \"unpinned\""), &[(Code::E14, 5, 1, "pinset.expiry.at is missing")]),
        (&expiry("at = 2027-06-30\nthen = \"open\""), &[(Code::E01, 7, 8, "\"fail-closed\"")]),
        (
            &pinset(&format!(
                "trust = \"pin-only\"\npins = [\"{K1}\", \"{K2}\"]\n[pinset.expiry]\nat = 2027-06-30\nthen = \"report-only\""
            )),
            &[(Code::E69, 8, 8, "nothing is left")],
        ),
    ]);
}

#[test]
fn all_errors_at_once_in_the_order_of_the_file() {
    let text = "schema = 3\n[[listener]]\naddress = \"nowhere\"\nknd = \"forward\"\n[limits]\nsessions = 0\n\
                [[pinset]]\nname = \"p\"\nhosts = [\"*\", \"a.example\"]\npins = [\"sha1/x\", \"nobody\"]\n\
                [[tunnel]]\nhosts = [\"a.example\"]\n";
    let errors = parse(text).unwrap_err();
    let told: Vec<_> = errors.diagnostics().iter().map(|d| (d.code(), d.position().unwrap())).collect();
    let expected = [
        (Code::E02, (1, 10)),
        (Code::E16, (3, 11)),
        (Code::E01, (4, 1)),
        (Code::E16, (6, 12)),
        (Code::E20, (9, 10)),
        (Code::E03, (10, 9)),
        (Code::E10, (10, 19)),
        (Code::E14, (11, 1)),
        (Code::E21, (12, 10)),
    ];
    assert_eq!(told, expected, "{errors}");
    let rendered = errors.to_string();
    for (code, (line, column)) in expected {
        assert!(rendered.contains(&format!("error[{code}]")), "{rendered}");
        assert!(rendered.contains(&format!("etc/pinproxy.toml:{line}:{column}")), "{rendered}");
    }
    assert!(rendered.ends_with("9 errors in the configuration"), "{rendered}");
    assert!(errors.render(true).contains('\u{1b}') && !rendered.contains('\u{1b}'));
}

#[test]
fn how_a_diagnostic_looks() {
    let errors = parse("# \u{fc}\n[log]\nlevle = \"\u{fc}\"   # \u{202e}\u{7}").unwrap_err();
    assert!(!errors.to_string().contains(['\u{7}', '\u{202e}']), "control characters are not echoed");
    let errors = parse("[log]\nlevle = \"info\"").unwrap_err();
    let expected = "\
error[E01]: unknown key \"levle\" in [log]
 --> etc/pinproxy.toml:2:1
  |
2 | levle = \"info\"
  | ^^^^^
  |
  = note: A misspelt setting would silently not apply: with `moed = \"report-only\"` a pinset would refuse what it was only to report.
  = help: did you mean `level`?

1 error in the configuration";
    assert_eq!(errors.to_string(), expected);
}

#[test]
fn a_very_long_line_is_not_shown() {
    let keys: Vec<_> = (0..5000).map(|n| format!("k{n} = 1")).collect();
    let errors = parse(&format!("log = {{ {} }}", keys.join(", "))).unwrap_err();
    let second = errors.diagnostics()[1].to_string();
    assert!(second.contains("etc/pinproxy.toml:1:17") && !second.contains("k2"), "{second}");
}

#[test]
fn many_errors_are_counted() {
    let text = (0..250).fold(String::new(), |mut text, n| {
        writeln!(text, "unheard{n} = {n}").unwrap();
        text
    });
    let rendered = parse(&text).unwrap_err().to_string();
    assert!(rendered.ends_with("150 more are not shown; 250 errors in the configuration"), "{rendered}");
}

#[test]
fn unreadable_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    let load = |path: &Path| Config::load(path, now()).unwrap_err();
    let absent = load(&path);
    assert!(absent.is_unreadable());
    assert!(absent.to_string().contains("c.toml") && absent.to_string().contains("cannot read"), "{absent}");
    assert!(load(folder.path()).is_unreadable(), "a folder is no file");
    let cases: [(&[u8], Code, &str); 3] = [
        (b"schema = 1\n# \xff", Code::E17, "line 2"),
        (b"s\0c\0h\0", Code::E17, "NUL"),
        (&vec![b'#'; FILE_OCTETS_MAX + 1], Code::E19, "larger than 16 MiB"),
    ];
    for (octets, code, part) in cases {
        std::fs::write(&path, octets).unwrap();
        let errors = load(&path);
        assert_eq!(errors.diagnostics()[0].code(), code);
        let rendered = errors.to_string();
        assert!(rendered.contains(part) && rendered.contains("c.toml"), "{rendered}");
    }
}

#[test]
fn an_empty_file_is_the_builtin_configuration() {
    for text in ["", "schema = 1", "\u{feff}schema = 1\r\n", "[log]\n[limits]\n[upstream]\n[ca]\n[defaults]\n[reports]"]
    {
        assert_eq!(config(text), Config::builtin(), "{text:?}");
    }
    let builtin = Config::builtin();
    assert_eq!(builtin.listeners, [Listener::forward(DEFAULT_LISTENER)]);
    assert_eq!(builtin.access, Access::local());
    assert_eq!(builtin.policy(7).generation(), 7);
}

#[test]
fn settings() {
    let config = config(
        "watch = true\n[[listener]]\naddress = \"127.0.0.1:0\"\nkind = \"forward\"\n[[listener]]\naddress = \"[::]:3128\"\n\
         [ca]\ndirectory = \"../certs\"\nleaf_key = \"rsa2048\"\nleaf_lifetime = \"2h\"\nleaf_cache = 1\n\
         [upstream]\nroots = \"r.pem\"\nextra_roots = [\"/x.pem\"]\ncrls = [\"a.crl\"]\nrevocation = \"require\"\n\
         certificate_transparency = \"off\"\nconnect_timeout = \"1s\"\nhandshake_timeout = \"2s\"\nresumption = true\n\
         [access]\nclients = [\"10.0.0.0/8\", \"::1\", \"[2001:db8::1]\", \"::ffff:192.0.2.1\"]\n\
         destinations_deny = [\"metadata\", \"192.0.2.0/24\", \"192.0.2.1\", \"**.evil.example\", \"private.\"]\n\
         destinations_allow = [\"10.1.0.0/16\"]\nports_allow = [443]\n\
         [limits]\nsessions = 5\nsessions_per_client = 4\nheader_bytes = 0x4000\nclient_hello_bytes = \"2 KiB\"\n\
         client_hello_timeout = \"3s\"\nheader_timeout = \"4s\"\nidle_timeout = \"5m\"\nsession_lifetime = \"6h\"\n\
         drain_delay = \"8s\"\ndrain_timeout = \"7s\"\n\
         [defaults]\nunpinned = \"deny\"\nplaintext = \"deny\"\nname_mismatch = \"deny\"\nrefusal = \"status\"\n\
         [reports]\nurls = [\"https://r.example/v1\", \"http://127.0.0.1:8000/\"]\nsyslog = \"tcp://log.example:601\"\n\
         spool = \"spool\"\nspool_max = 7\ndeduplicate_for = \"2h\"\nper_minute = 9\nfile = \"v.jsonl\"\n\
         client_id = \"plain\"\n\
         [log]\nformat = \"json\"\nlevel = \"trace\"\naccess = \"a.jsonl\"\n\
         [admin]\nsocket = \"c.sock\"",
    );
    assert_eq!(config.listeners, ["127.0.0.1:0", "[::]:3128"].map(|a| Listener::forward(a.parse().unwrap())));
    assert_eq!(config.ca.directory, Some(PathBuf::from("etc/../certs")));
    assert_eq!((config.ca.leaf_key, config.ca.leaf_cache), (LeafKey::Rsa2048, 1));
    assert_eq!(config.ca.leaf_lifetime, Duration::from_secs(7200));
    assert_eq!(config.upstream.roots, Roots::File("etc/r.pem".into()));
    assert_eq!(config.upstream.extra_roots, [ExtraRoots { file: "/x.pem".into(), exempts_pins: false }]);
    assert_eq!(config.upstream.crls, [PathBuf::from("etc/a.crl")]);
    assert_eq!((config.upstream.revocation, config.upstream.resumption), (Revocation::Require, true));
    assert_eq!(config.upstream.connect_timeout + config.upstream.handshake_timeout, Duration::from_secs(3));
    let networks: Vec<_> = config.access.clients.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128", "2001:db8::1/128", "192.0.2.1/32"]);
    assert_eq!(config.access.deny[0], Deny::Class(AddressClass::Metadata));
    assert!(matches!(config.access.deny[1..3], [Deny::Network(_), Deny::Network(_)]));
    assert!(matches!(config.access.deny[3..], [Deny::Hosts(_), Deny::Hosts(_)]));
    assert_eq!(config.access.ports, Ports::Only(vec![443.try_into().unwrap()]));
    let limits = Limits {
        sessions: 5,
        sessions_per_client: 4,
        header_bytes: 0x4000,
        client_hello_bytes: 2048,
        client_hello_timeout: Duration::from_secs(3),
        header_timeout: Duration::from_secs(4),
        idle_timeout: Duration::from_secs(300),
        session_lifetime: Duration::from_secs(6 * 3600),
        drain_delay: Duration::from_secs(8),
        drain_timeout: Duration::from_secs(7),
    };
    assert_eq!(config.limits, limits);
    assert_eq!(config.rules.defaults().unpinned, Unpinned::Deny);
    let reports = Reports {
        urls: ["https://r.example/v1", "http://127.0.0.1:8000/"].map(|url| ReportUrl::parse(url).unwrap()).into(),
        syslog: SyslogAddress::parse("tcp://log.example:601"),
        spool: Some("etc/spool".into()),
        spool_max: 7,
        deduplicate_for: Duration::from_secs(2 * 3600),
        per_minute: 9,
        file: Some("etc/v.jsonl".into()),
        client_id: ClientId::Plain,
    };
    assert_eq!(config.reports, reports);
    assert_eq!((config.log.format, config.log.level), (LogFormat::Json, LogLevel::Trace));
    assert_eq!((config.watch, config.admin), (true, Admin { address: None, socket: Some("etc/c.sock".into()) }));
}

#[test]
fn access_of_loopback_listeners() {
    let access = config("[access]").access;
    assert_eq!(access.clients, Access::local().clients);
    assert_eq!(access.deny, [Deny::Class(AddressClass::Private)]);
    assert_eq!(access.ports, Ports::Only([443, 8443, 80].map(|p| p.try_into().unwrap()).to_vec()));
    assert_eq!(config("[[listener]]\naddress = \"[::1]:1\"").access, Access::local());
    assert_eq!(config("[[listener]]\naddress = \"[::ffff:127.0.0.1]:1\"").access, Access::local());
    assert_eq!(config("[access]\ndestinations_deny = []").access.deny, []);
}

/// The label of the rule that governs a host, and what it demands.
fn ruled(config: &Config, target: &str, at: SystemTime) -> String {
    let policy = config.policy(1);
    let rule = policy.select(&Authority::parse(target).unwrap(), at);
    let circumstances = Circumstances::new(at, std::net::Ipv4Addr::LOCALHOST.into());
    let demand = match rule.demand(&circumstances) {
        Demand::Chain => "chain",
        Demand::Pins { enforced: true, .. } => "enforced",
        Demand::Pins { enforced: false, .. } => "reported",
        Demand::PinOnly { .. } => "pin-only",
        Demand::Expired => "expired",
    };
    format!("{} {demand}", rule.label())
}

/// Neither the line nor the name of the file steers the terminal, and the mark stands below what is meant.
#[test]
fn hostile_characters_are_not_shown() {
    let text = "[log]\nlevel = \"\u{202e}lo\u{9b}ud\" # http://u:hidden@h\n";
    let errors = Config::parse(text, Path::new("a\u{1b}[2J\u{9b}.toml"), now()).unwrap_err();
    let rendered = errors.to_string();
    assert!(!rendered.contains(|c: char| is_invisible(c) && c != '\n') && !rendered.contains("hidden"), "{rendered:?}");
    assert!(rendered.contains("--> a\u{fffd}[2J\u{fffd}.toml:2:9\n"), "{rendered}");
    assert!(rendered.contains("# http://u:******@h"), "{rendered}");
    let mut parsed = "[log]\nlevle = 1 # \u{9b}\u{e0041}\u{200b}";
    for _ in 0..2 {
        let shown = parse(parsed).unwrap_err().to_string();
        assert!(shown.contains("  | ^^^^^"), "{shown}");
        parsed = "[log]\nlevle = \"http://u:p@h\"";
    }
}

#[test]
fn rules() {
    let text = format!(
        "[keys.root]\nspki = \"{X1}\"\nrole = \"root\"\nowner = \"o\"\nnote = \"n\"\n\
         [keys.plain]\ncert = \"3f:85:18:a9:bb:7c:47:3e:92:e1:b3:34:b7:58:8b:1e:23:7e:17:75:df:07:9a:de:78:d7:a0:b3:62:19:b4:f0\"\n\
         [keys.hex]\nspki = \"{}\"\nrole = \"leaf\"\n\
         [[pinset]]\nname = \"wide\"\nhosts = [\"**.shop.example\"]\nca_pins = [\"root\"]\nleaf_pins = [\"plain\"]\n\
         combine = \"any\"\nbackup = [\"hex\"]\n\
         [[pinset]]\nname = \"soft\"\nhosts = [\"*.eu.shop.example:8443\"]\npins = [\"{X2}\"]\nmode = \"report-only\"\n\
         [[pinset]]\nname = \"device\"\nhosts = [\"192.0.2.7\"]\ntrust = \"pin-only\"\nleaf_pins = [\"plain\", \"{K3}\"]\n\
         verify_name = \"skip\"\nverify_validity = \"ignore\"\n\
         [pinset.expiry]\nat = 2027-06-30\nthen = \"fail-closed\"\n\
         [[exempt]]\nhosts = [\"old.shop.example\"]\nreason = \"CHG\"\nuntil = 2027-03-01T01:00:00+01:00\n\
         [[tunnel]]\nhosts = [\"updates.vendor.example\", \"**.shared.example\"]\nreason = \"pins itself\"\n\
         [[blocklist]]\nname = \"lost\"\nspki = [\"{R1}\"]\nreason = \"published\"",
        nobodys_hex(1)
    );
    let (config, warnings) = parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let told: Vec<_> = warnings.iter().map(Diagnostic::code).collect();
    assert_eq!(told, [Code::I35, Code::W42, Code::W24, Code::I35, Code::W73, Code::W31, Code::W61]);
    let day = Duration::from_secs(24 * 3600);
    let table = [
        ("shop.example:443", 0, "wide enforced"),
        ("a.eu.shop.example:8443", 0, "soft reported"),
        ("a.eu.shop.example:443", 0, "wide enforced"),
        ("192.0.2.7:1", 0, "device pin-only"),
        ("192.0.2.7:1", 180, "device expired"),
        ("old.shop.example:443", 58, "exempt chain"),
        ("old.shop.example:443", 59, "wide enforced"),
        ("b.shared.example:443", 0, "tunnel chain"),
        ("other.test:443", 0, "unpinned chain"),
    ];
    for (target, days, expected) in table {
        assert_eq!(ruled(&config, target, now() + days * day), expected, "{target} on day {days}");
    }
    let RuleKind::Pinned(wide) = &config.rules.rules()[0].kind else { panic!() };
    assert_eq!(wide.accepts().pins().count(), 3);
    let RuleKind::Pinned(device) = &config.rules.rules()[2].kind else { panic!() };
    assert!(matches!(device.basis, Basis::PinOnly { name: NameCheck::Skip, validity: ValidityCheck::Ignore, .. }));
    assert_eq!(device.expiry.map(|e| e.then), Some(AfterExpiry::FailClosed));
    let digest = *Pin::parse(R1).unwrap().digest();
    assert_eq!(config.policy(1).blocklist().get(&digest).map(|b| b.reason.as_str()), Some("published"));
    assert_eq!(config.rules.blocklist().len(), 1);
}

#[test]
fn warnings() {
    let lists = format!("pins = [\"{K1}\"]\nbackup = [\"{K2}\"]");
    let expiry = |at: &str| pinset(&format!("{lists}\n[pinset.expiry]\nat = {at}\nthen = \"fail-closed\"\n"));
    let exempt = |until: &str| {
        let rest = format!("[[exempt]]\nhosts = [\"a.example:1\"]\nreason = \"r\"\nuntil = {until}\n");
        pinset(&format!("{lists}\n{rest}"))
    };
    let table = [
        (expiry("2027-02-01"), None),
        (expiry("2027-01-31"), Some((Code::W53, "ends in 30 days"))),
        (expiry("2027-01-01T00:00:01Z"), Some((Code::W53, "ends in less than a day"))),
        (expiry("2027-01-01"), Some((Code::W54, "has ended"))),
        (expiry("1969-12-31"), Some((Code::W54, "has ended"))),
        (expiry("9999-12-31T23:59:59.999999999-23:59"), None),
        (expiry("2027-01-20") + "[defaults]\nexpiry_warning = \"7d\"", None),
        (exempt("2027-02-01"), None),
        (exempt("2027-01-15"), Some((Code::W53, "ends in 14 days"))),
        (exempt("2026-12-31"), Some((Code::W26, "is over"))),
        (pinset(&format!("{lists}\n[keys.k]\nspki = \"{X1}\"")), Some((Code::W11, "nothing uses the key \"k\""))),
    ];
    for (text, expected) in table {
        let (_, warnings) = parse(&text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
        let told: Vec<_> = warnings.iter().map(|w| (w.severity(), w.code())).collect();
        assert_eq!(told, Vec::from_iter(expected.map(|(code, _)| (Severity::Warning, code))), "{text}");
        if let Some((code, part)) = expected {
            assert!(warnings[0].message().contains(part), "{warnings:?}");
            assert!(warnings[0].to_string().contains(&format!("warning[{code}]")), "{}", warnings[0]);
        }
    }
}

#[test]
fn texts_that_are_not_meant_to_make_sense() {
    let nested = format!("a = {}1{}", "[".repeat(5000), "]".repeat(5000));
    let dotted = format!("{} = 1", vec!["a"; 5000].join("."));
    let long = format!("{} = 1", "k".repeat(100_000));
    for text in
        [nested.as_str(), &dotted, &long, "[[[", "[pinset.expiry]", "=", "a.b = 1\na = 2", "\"", "'''", "[keys.a.b]"]
    {
        let errors = parse(text).err().unwrap_or_else(|| panic!("{text}"));
        assert!(!errors.to_string().is_empty());
    }
}

#[test]
fn shipped_files_load() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let (_, told) = Config::load(&path, now()).unwrap_or_else(|errors| panic!("{errors}"));
            let warning = told.iter().find(|told| told.severity() == Severity::Warning);
            assert!(warning.is_none(), "{}", warning.unwrap());
            count += 1;
        }
    }
    assert!(count > 0);
    let (shipped, _) = Config::load(&folder.join("pinproxy.toml"), now()).unwrap();
    let expected = Config {
        ca: Ca { directory: Some(folder.join("../certs")), ..Ca::default() },
        rules: shipped.rules.clone(),
        ..Config::builtin()
    };
    assert_eq!(shipped, expected, "the reference file shows defaults");
    assert_eq!(ruled(&shipped, "a.eu.shop.example:443", now()), "api enforced");
}

/// The comments of the reference file promise defaults: each, uncommented, changes nothing.
#[test]
fn commented_defaults_are_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/pinproxy.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let plain = Config::parse(&text, &path, now()).unwrap().0;
    let mut compared = 0;
    for section in ["[[listener]]", "[ca]", "[upstream]", "[limits]", "[defaults]", "[log]", "[reports]"] {
        let (before, rest) = text.split_once(&format!("\n{section}")).unwrap();
        let body: Vec<_> = rest.lines().collect();
        for (index, line) in body.iter().enumerate().skip(1).take_while(|(_, line)| !line.is_empty()) {
            let optional = line.contains("left out: no ");
            let Some(setting) = line.strip_prefix("# ").filter(|_| !optional) else { continue };
            let mut changed = body.clone();
            changed[index] = setting;
            let changed = format!("{before}\n{section}{}", changed.join("\n"));
            let config = Config::parse(&changed, &path, now()).unwrap_or_else(|errors| panic!("{errors}")).0;
            assert_eq!(config, plain, "{setting}");
            compared += 1;
        }
    }
    assert!(compared > 25, "{compared}");
}
