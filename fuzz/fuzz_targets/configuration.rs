//! `Config::parse` on any text: no panic, and every diagnostic can be shown.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pinproxy::config::Config;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// 2027-01-01T00:00:00Z: the dates of the seeds lie around it.
const NOW: Duration = Duration::from_secs(1_798_761_600);

fuzz_target!(|octets: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(octets) else { return Corpus::Reject };
    let now = SystemTime::UNIX_EPOCH + NOW;
    match Config::parse(text, Path::new("fuzz.toml"), now) {
        Ok((config, warnings)) => {
            let policy = config.policy(1);
            assert_eq!(policy.rules().len(), config.rules.rules().len());
            show(&warnings);
        }
        Err(errors) => {
            assert!(!errors.diagnostics().is_empty(), "refused without a reason");
            assert!(!errors.render(true).is_empty() && !errors.to_string().is_empty());
            show(errors.diagnostics());
        }
    }
    Corpus::Keep
});

fn show(diagnostics: &[pinproxy::config::Diagnostic]) {
    for diagnostic in diagnostics {
        assert!(!diagnostic.message().is_empty() && !diagnostic.help().is_empty(), "{diagnostic:?}");
        if let Some((line, column)) = diagnostic.position() {
            assert!(line >= 1 && column >= 1, "{diagnostic:?}");
        }
        assert!(diagnostic.to_string().contains(&diagnostic.code().to_string()));
    }
}
