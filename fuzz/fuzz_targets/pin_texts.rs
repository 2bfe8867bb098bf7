//! `Pin::parse` on any text: no panic, and every written form of what was accepted is the same pin.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use pinproxy::policy::pin::Pin;

fuzz_target!(|octets: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(octets) else { return Corpus::Reject };
    match Pin::parse(text) {
        Ok(pin) => {
            let hex: String = pin.digest().iter().map(|octet| format!("{octet:02x}")).collect();
            let canonical = pin.to_string();
            let forms = match pin {
                Pin::Certificate(_) => vec![canonical, format!("cert:sha256:{}", hex.to_uppercase())],
                Pin::Spki(_) => {
                    let base64 = canonical.strip_prefix("sha256/").expect("the canonical form").to_owned();
                    // Base64 that begins like the name of a hash is refused where it stands alone: read as a digest, a
                    // pin cut short behind its prefix would be another pin.
                    let lower = base64.to_lowercase();
                    let alone =
                        !["md5/", "sha1/", "sha256/", "sha384/", "sha512/"].iter().any(|h| lower.starts_with(h));
                    let rest =
                        [format!("sha256//{base64}"), format!("pin-sha256=\"{base64}\""), format!("sha256:{hex}")];
                    [canonical].into_iter().chain(alone.then_some(base64)).chain(rest).collect()
                }
            };
            for form in forms {
                assert_eq!(Pin::parse(&form), Ok(pin), "{form}");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    Corpus::Keep
});
