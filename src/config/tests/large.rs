//! Large files: read in a time that a person waits for, and refused without filling the memory.

use super::*;
use crate::config::findings::SUGGESTIONS_MAX;
use std::time::Instant;

const LARGE: usize = 10 << 20;
/// Enough for a step of quadratic time to be told from others.
const MEDIUM: usize = 2 << 20;

/// Many times what an unoptimised build needs, so that a busy machine does not fail it; a step of quadratic time does.
const LONG: Duration = Duration::from_secs(60);

fn repeat(octets: usize, entry: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(octets + 1000);
    for n in 0.. {
        if text.len() > octets {
            break;
        }
        text.push_str(&entry(n));
    }
    text
}

#[test]
fn large_and_valid() {
    let text = repeat(LARGE, |n| {
        format!(
            "[[pinset]]\nname = \"p{n}\"\nhosts = [\"h{n}.example\", \"*.h{n}.example\"]\npins = [\"{X1}\", \"{X2}\"]\n"
        )
    });
    let begun = Instant::now();
    let config = config(&text);
    let took = begun.elapsed();
    assert!(config.rules.rules().len() > 40_000);
    assert!(took < LONG, "{took:?}");
}

/// One habit gives as many warnings as there are pinsets: some are kept, all are counted, and others have room.
#[test]
fn advice_beyond_what_is_kept() {
    let count = KEPT_OF_A_CODE_MAX + 9;
    let entry = |n| format!("[[pinset]]\nname = \"p{n}\"\nhosts = [\"h{n}.example\"]\npins = [\"{K1}\", \"{K2}\"]\n");
    let text = (0..count).map(entry).collect::<String>() + &format!("[keys.unused]\nspki = \"{R1}\"\n");
    let (_, told) = parse(&text).unwrap();
    let kept = |code| told.iter().filter(|told| told.code() == code).count();
    assert_eq!((told.len(), kept(Code::W31), kept(Code::W11)), (KEPT_OF_A_CODE_MAX + 1, KEPT_OF_A_CODE_MAX, 1));
    let listing = Listing::new(&told);
    assert_eq!(listing.count(Severity::Warning), count + 1);
    assert_eq!((listing.count(Severity::Error), listing.strict(true).count(Severity::Error)), (0, count + 1));
    assert!(listing.json().contains("\"warnings\":210,\"infos\":0,\"left-out\":9,"), "{}", &listing.json()[..120]);
    let expected = "110 more are not shown; 210 warnings in the configuration";
    assert!(listing.render(false).ends_with(expected), "{}", listing.render(false).lines().last().unwrap());
}

#[test]
fn large_and_wrong() {
    let texts = [
        repeat(LARGE, |n| format!("k{n} = 1\n")),
        repeat(FILE_OCTETS_MAX - 2000, |_| "=\n".to_owned()),
        repeat(FILE_OCTETS_MAX - 2000, |_| "[[\n".to_owned()),
        repeat(FILE_OCTETS_MAX - 2000, |_| "a=\"\n".to_owned()),
        repeat(FILE_OCTETS_MAX - 2000, |_| "a=aaaaaaa\n".to_owned()),
        format!("pinset = [{}]", repeat(14 << 20, |_| "{},".to_owned())),
        format!("pinset = [{}]", repeat(4 << 20, |_| "{},".to_owned())),
        repeat(MEDIUM, |n| format!("[[pinset]]\nname = \"p\"\nhosts = [\"h{}.example\"]\n", n % 2)),
        repeat(MEDIUM, |n| format!("k{n} = = 1\n")),
        repeat(MEDIUM, |_| "k = 1\n".to_owned()),
        repeat(MEDIUM, |_| "[".to_owned()),
        format!("a = [{}", repeat(MEDIUM, |n| format!("{n}, "))),
        format!("log = {{ {} z = 1 }}", repeat(MEDIUM, |n| format!("k{n} = 1, "))),
        format!("[ca]\ndirectory = \"{}\"", repeat(MEDIUM, |_| "${A}$".to_owned())),
        format!("[access]\nclients = [{}]", repeat(MEDIUM, |_| "\"${A}\",".to_owned())),
    ];
    for text in texts {
        let begun = Instant::now();
        let errors = parse(&text).unwrap_err();
        let took = begun.elapsed();
        let begun = Instant::now();
        let rendered = errors.to_string();
        let rendering = begun.elapsed();
        let start = &text[..40];
        assert!(errors.diagnostics().len() <= ERRORS_KEPT_MAX, "{start}");
        assert!(rendered.len() < 1 << 20, "{start}: {}", rendered.len());
        assert!(took < LONG && rendering < LONG, "{start}: {took:?} and {rendering:?}");
    }
}

/// The rest is counted, and the count is right.
#[test]
fn errors_beyond_those_that_are_kept() {
    let text = (0..ERRORS_KEPT_MAX + 7).fold(String::new(), |text, n| text + &format!("unheard{n} = 1\n"));
    let errors = parse(&text).unwrap_err();
    assert_eq!(
        (errors.diagnostics().len(), errors.listing().count(Severity::Error)),
        (ERRORS_KEPT_MAX, ERRORS_KEPT_MAX + 7)
    );
    let expected = "907 more are not shown; 1007 errors in the configuration";
    assert!(errors.to_string().ends_with(expected), "{}", errors.to_string().lines().last().unwrap());
}

/// What keeps the memory small: the parser keeps every error and makes much of every sign.
#[test]
fn hostile_texts_are_refused_with_few_words() {
    let signs = repeat(FILE_OCTETS_MAX - 2000, |_| "=\n".to_owned());
    let lines = repeat(FILE_OCTETS_MAX - 2000, |_| "a = aaaaaaaaa\n".to_owned());
    let twice = repeat(MEDIUM, |_| "k = 1\n".to_owned());
    let tables = format!("pinset = [{}]", repeat(4 << 20, |_| "{},".to_owned()));
    let table = [(signs, Code::E19, 1, None), (lines, Code::E17, 1, Some((1, 5))), (twice, Code::E17, 1, Some((2, 1)))];
    for (text, code, count, position) in table {
        let errors = parse(&text).unwrap_err();
        let first = &errors.diagnostics()[0];
        let found = (first.code(), errors.listing().count(Severity::Error), first.position());
        assert_eq!(found, (code, count, position), "{first}");
    }
    let errors = parse(&tables).unwrap_err();
    let many = |told: &&Diagnostic| told.message() == "pinset is there more than 250000 times";
    assert_eq!(errors.diagnostics().iter().filter(many).count(), 1, "{}", errors.diagnostics()[0]);
}

/// Each search for the word that was meant goes through all names.
#[test]
fn many_names_that_nobody_has_defined() {
    let keys =
        (0..1000).fold(String::new(), |text, n| text + &format!("[keys.some-key-{n:04}]\nspki = \"{}\"\n", nobodys(n)));
    let names = (0..48_000).fold(String::new(), |text, n| text + &format!("\"some-kee-{n:05}\",\n"));
    let text = format!("[[pinset]]\nname = \"p\"\nhosts = [\"a.example\"]\npins = [\n{names}]\n{keys}");
    let begun = Instant::now();
    let errors = parse(&text).unwrap_err();
    let took = begun.elapsed();
    let undefined: Vec<_> = errors.diagnostics().iter().filter(|told| told.code() == Code::E10).collect();
    let suggested = undefined.iter().filter(|told| told.help().starts_with("did you mean")).count();
    assert!(undefined.len() > 900 && suggested == SUGGESTIONS_MAX, "{suggested} of {}", undefined.len());
    assert!(took < LONG, "{took:?}");
}

/// The exit code depends on the worst of all errors, also where it is one of those that are only counted.
#[test]
fn the_worst_class_of_all_errors() {
    let hosts = (0..=ERRORS_KEPT_MAX).fold(String::new(), |text, _| text + "\"a.example\", ");
    let unsafe_only = format!("[[tunnel]]\nreason = \"r\"\nhosts = [{hosts}]\n");
    let errors = parse(&unsafe_only).unwrap_err();
    assert_eq!(errors.listing().fault(), Some(Class::Unsafe));
    let one_more = format!("{}[log]\nlevel = \"loud\"\n", empty_exempts(ERRORS_KEPT_MAX + 1));
    let errors = parse(&one_more).unwrap_err();
    let classes: Vec<_> = errors.diagnostics().iter().map(|told| told.code().class()).collect();
    assert_eq!(classes, vec![Class::Unsafe; ERRORS_KEPT_MAX]);
    assert_eq!(errors.listing().fault(), Some(Class::Malformed));
    assert_eq!(errors.listing().strict(true).fault(), Some(Class::Malformed));
}

/// Each is one error that can be read: a hole without hosts.
fn empty_exempts(count: usize) -> String {
    let entry = "[[exempt]]\nreason = \"r\"\nuntil = 2028-01-01\n";
    entry.repeat(count)
}
