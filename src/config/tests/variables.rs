//! `${NAME}` in texts.

use super::includes::Memory;
use super::*;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

fn load(text: &str, variables: &[(&'static str, &str)]) -> Result<(Config, Vec<Diagnostic>), ConfigErrors> {
    let memory = Memory::new(&[("etc/main.toml", text)]);
    variables.iter().fold(memory, |memory, (name, value)| memory.with(name, value)).load()
}

#[test]
fn texts_are_filled_in() {
    let table = [
        ("${A}", "a"),
        ("x${A}y${B_2}z${A}", "xaybza"),
        ("${_}", "u"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A $ $$ {A}", "$A $ $$ {A}"),
        ("$${", "${"),
        ("x${EMPTY}", "x"),
        ("${NESTED}", "${A}"),
    ];
    let variables = [("A", "a"), ("B_2", "b"), ("_", "u"), ("EMPTY", ""), ("NESTED", "${A}")];
    for (text, expected) in table {
        let (config, _) = load(&format!("[ca]\ndirectory = \"/{text}\""), &variables).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.ca.directory, Some(PathBuf::from(format!("/{expected}"))), "{text}");
    }
    let text = "[[pinset]]\nname = \"${N}\"\nhosts = [\"${H}\"]\npins = [\"${P}\"]\nmode = \"${M}\"";
    let variables = [("N", "bank"), ("H", "a.example"), ("P", X1), ("M", "report-only")];
    assert_eq!(ruled(&load(text, &variables).unwrap().0, "a.example:443", now()), "bank reported");
    let text = "[[listener]]\naddress = \"127.0.0.1:${PORT}\"\n[limits]\nidle_timeout = \"${PORT}s\"";
    assert_eq!(load(text, &[("PORT", "8081")]).unwrap().0.listeners[0].address, "127.0.0.1:8081".parse().unwrap());
}

#[test]
fn keys_are_not_filled_in() {
    let errors = load("[log]\n\"${K}\" = \"info\"", &[("K", "level")]).unwrap_err();
    assert_eq!(errors.diagnostics()[0].code(), Code::E01, "{errors}");
}

#[test]
fn refused_variables() {
    let table = [
        ("${NONE}", "NONE is not set"),
        ("x${A}${NONE}", "NONE is not set"),
        ("${NOTEXT}", "NOTEXT is not UTF-8"),
        ("${", "without the name"),
        ("${A", "without the name"),
        ("${}", "without the name"),
        ("${1A}", "without the name"),
        ("${A-B}", "without the name"),
        ("${A${A}}", "without the name"),
        ("${\u{e4}}", "without the name"),
    ];
    for (text, part) in table {
        // Whatever would be read there says nothing on top of it.
        for (key, column) in [("[ca]\ndirectory", 13), ("[log]\nlevel", 9), ("[limits]\nidle_timeout", 16)] {
            let mut memory = Memory::new(&[("etc/main.toml", &format!("{key} = \"{text}\""))]).with("A", "a");
            memory.variables.insert("NOTEXT", OsString::from_vec(vec![0xff]));
            let errors = memory.load().unwrap_err();
            assert_eq!(errors.diagnostics().len(), 1, "{errors}");
            let told = &errors.diagnostics()[0];
            assert_eq!((told.code(), told.position()), (Code::E49, Some((2, column))), "{errors}");
            assert!(told.message().contains(part) && !errors.is_unreadable(), "{errors}");
        }
    }
    let errors = parse("[ca]\ndirectory = \"${HOME}\"").unwrap_err();
    assert_eq!(errors.diagnostics()[0].code(), Code::E49, "a text by itself has no variables: {errors}");
}

#[test]
fn a_variable_cannot_fill_the_memory() {
    let texts = vec!["\"${A}\""; 1000].join(", ");
    let value = "a".repeat(FILLED_IN_OCTETS_MAX / 999);
    let errors = load(&format!("[access]\nclients = [{texts}]"), &[("A", &value)]).unwrap_err();
    let told: Vec<_> = errors.diagnostics().iter().filter(|d| d.code() == Code::E49).collect();
    assert!(told[0].message().contains("more than 16 MiB"), "{}", told[0]);
    assert_eq!(told.len(), 1);
    assert!(!errors.to_string().contains("aaaa"));
}

/// Each text is refused, and says nothing of the secret, in no form.
#[test]
fn values_are_not_told() {
    let secrets = [
        "S3cretWord",
        "geheim\"\\\n",
        "Stra\u{df}e.example",
        "\u{ff53}\u{ff45}cret",
        "10.9.8.7/8",
        "7",
        "as:x.example",
    ];
    let x1 = format!("pins = [\"{X1}\", \"{X2}\"]");
    let texts = [
        "[ca]\nleaf_key = \"${S}\"".to_owned(),
        "[ca]\nleaf_lifetime = \"${S}\"".to_owned(),
        "[ca]\nleaf_lifetime = \"5${S}\"".to_owned(),
        "[limits]\nheader_bytes = \"${S}\"".to_owned(),
        "[[listener]]\naddress = \"x${S}:8080\"".to_owned(),
        "[[listener]]\naddress = \"127.0.0.1:1\"\nkind = \"${S}\"".to_owned(),
        "[access]\nclients = [\"${S}\"]".to_owned(),
        "[access]\ndestinations_deny = [\"*${S}\", \"x@${S}\"]".to_owned(),
        "[upstream]\nroots = \"${S}\"\nrevocation = \"${S}\"".to_owned(),
        "include = [\"${S}.toml\", \"${S}*/**\"]".to_owned(),
        "[keys.k]\nspki = \"${S}\"\n[keys.l]\ncert = \"sha256:${S}\"".to_owned(),
        pinset("pins = [\"${S}\", \"sha256/${S}\"]\nverify_name = \"${S}\""),
        format!("[[pinset]]\nname = \"a ${{S}}\"\nhosts = [\"*${{S}}\", \"http://${{S}}\"]\n{x1}"),
        format!("[[pinset]]\nname = \"p\"\nhosts = [\"x${{S}}.example\", \"X${{S}}.example\", \"*${{S}}\"]\n{x1}"),
    ];
    for secret in secrets {
        for text in &texts {
            let Err(errors) = load(text, &[("S", secret)]) else { continue };
            for told in errors.diagnostics() {
                let words = format!("{} {}", told.message(), told.help()).to_lowercase();
                let pieces = secret.chars().collect::<Vec<_>>();
                for piece in pieces.windows(4.min(pieces.len())) {
                    let piece = piece.iter().collect::<String>().to_lowercase();
                    let by_itself = words.split(|c: char| !c.is_alphanumeric()).any(|word| word == piece);
                    assert!(if piece.len() < 4 { !by_itself } else { !words.contains(&piece) }, "{told}\n{text}");
                }
            }
        }
    }
    // Where nothing but the value is left out, the words stay.
    let errors = load("[[listener]]\naddress = \"${S}:80\"", &[("S", "S3cretWord")]).unwrap_err();
    assert!(errors.diagnostics()[0].message().ends_with("is not an address to listen on: \"${S}:80\""), "{errors}");
}

/// A value that a diagnostic about another place repeats.
#[test]
fn values_are_not_told_elsewhere() {
    let text = format!(
        "[[blocklist]]\nname = \"${{S}}\"\nreason = \"r\"\nspki = [\"{X1}\"]\n{}",
        pinset(&format!("pins = [\"{X1}\", \"{X2}\"]"))
    );
    let errors = load(&text, &[("S", "S3cretWord"), ("T", "blocked")]).unwrap_err();
    let blocked = errors.diagnostics().iter().find(|told| told.code() == Code::E38).unwrap();
    assert_eq!(blocked.message(), "this pin is accepted here and blocked by \"${S}\"");
    let expiry =
        format!("pins = [\"{K1}\"]\nbackup = [\"{K2}\"]\n[pinset.expiry]\nat = 2020-01-01\nthen = \"fail-closed\"");
    for (name, expected) in [("S3cretWord", "the pinset \"${S}\" has ended"), ("pin", "the pinset \"${S}\" has ended")]
    {
        let text = format!("[[pinset]]\nname = \"${{S}}\"\nhosts = [\"a.example\"]\n{expiry}");
        assert_eq!(load(&text, &[("S", name)]).unwrap().1[0].message(), expected);
    }
}
