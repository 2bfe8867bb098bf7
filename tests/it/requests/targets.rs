//! CONNECT targets that have no canonical form.

use super::Unreached;
use crate::vectors::{self, Target, Targets};
use pinproxy::policy::decision::FailureClass;
use pinproxy::policy::host::{Authority, HostError};
use pinproxy::report::Decided;

/// What the reason phrase makes of an error: visible ASCII, 160 characters.
fn reason(error: HostError) -> String {
    let text = format!("Bad CONNECT target: {error}");
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(160).collect()
}

#[tokio::test]
async fn targets_without_canonical_form_are_refused_and_looked_up_nowhere() {
    let mut unreached = Unreached::start("").await;
    let refused = vectors::read::<Targets>("targets.toml").refused;
    // Longer than any name, and well within the limit of a head.
    let longer = Target { target: format!("{}:443", "a".repeat(5_000)), error: "LongName".into() };
    for Target { target, error: expected } in refused.into_iter().chain([longer]) {
        let error = Authority::parse(&target).expect_err(&target);
        assert_eq!(format!("{error:?}"), expected, "{target:?}");
        let request = unreached.aimed(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
        let (reply, event) = unreached.refuses(&request, 400, &reason(error)).await;
        assert_eq!(event.failure_class, Some(FailureClass::Request), "{target:?}");
        assert_eq!(event.decision, Decided::Refuse, "{target:?}");
        assert_eq!(event.detail.as_deref(), Some(format!("bad CONNECT target: {error}").as_str()), "{target:?}");
        let status = reply.header("proxy-status").unwrap();
        assert!(status.starts_with("pinproxy; error=http_request_error; details=\"bad CONNECT target: "), "{status}");
    }
    unreached.ends();
}

#[tokio::test]
async fn a_target_that_is_no_utf8_is_refused_as_not_ascii() {
    let mut unreached = Unreached::start("").await;
    for target in [b"b\xfccher.example:443".as_slice(), b"\xff\xfe:443", b"bank.example\xc3:443", b"\xc0\xae:443"] {
        let request = [b"CONNECT ", target, b" HTTP/1.1\r\n\r\n"].concat();
        let (_, event) = unreached.refuses(&request, 400, &reason(HostError::NotAscii)).await;
        assert_eq!(event.decision, Decided::Refuse);
    }
    unreached.ends();
}
