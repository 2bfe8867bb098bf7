//! Every reader of host names on any text: no panic, and a canonical form is accepted and is its own canonical form.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pinproxy::policy::host::{Authority, Host};
use pinproxy::policy::pattern::HostPattern;
use std::fmt::{Debug, Display};

fuzz_target!(|octets: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(octets) else { return Corpus::Reject };
    is_canonical(Host::parse(text), Host::parse);
    is_canonical(Host::parse_configured(text), Host::parse);
    is_canonical(Authority::parse(text), Authority::parse);
    is_canonical(HostPattern::parse(text), HostPattern::parse);
    if let Ok(host) = Host::parse(text) {
        assert_eq!(Host::parse_configured(text), Ok(host.clone()), "what the wire accepts, the file accepts");
        assert!(host.to_string().is_ascii());
        let authority = Authority::parse(&format!("{host}:443")).expect("a canonical host has a canonical authority");
        let pattern = HostPattern::parse(text).expect("a host is a pattern");
        assert!(pattern.matches(&authority), "{pattern:?} is the pattern of {authority:?}");
    }
    Corpus::Keep
});

fn is_canonical<T: PartialEq + Debug + Display, E: PartialEq + Debug>(
    parsed: Result<T, impl Display>,
    parse: impl Fn(&str) -> Result<T, E>,
) {
    match parsed {
        Ok(value) => assert_eq!(parse(&value.to_string()), Ok(value)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
