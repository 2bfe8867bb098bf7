//! CONNECT targets that have no canonical form.

use super::Unreached;
use pinproxy::policy::decision::FailureClass;
use pinproxy::policy::host::HostError;
use pinproxy::report::Decided;

/// What the reason phrase makes of an error: visible ASCII, 160 characters.
fn reason(error: HostError) -> String {
    let text = format!("Bad CONNECT target: {error}");
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(160).collect()
}

#[tokio::test]
async fn targets_without_canonical_form_are_refused_and_looked_up_nowhere() {
    let mut unreached = Unreached::start("").await;
    let long_label = format!("{}.example:443", "a".repeat(64));
    let long_name = format!("{}example:443", "abcdefg.".repeat(32));
    let longer_name = format!("{}:443", "a".repeat(5_000));
    let table: &[(&str, HostError)] = &[
        ("", HostError::NoPort),
        (":443", HostError::Empty),
        (".:443", HostError::EmptyLabel),
        ("..:443", HostError::EmptyLabel),
        ("bank.example", HostError::NoPort),
        ("bank.example:", HostError::NoPort),
        ("bank.example:0", HostError::Port),
        ("bank.example:00443", HostError::Port),
        ("bank.example:+443", HostError::Port),
        ("bank.example:-1", HostError::Port),
        ("bank.example:65536", HostError::Port),
        ("bank.example:443 ", HostError::Port),
        ("bank.example:https", HostError::Port),
        ("bank.example:443:443", HostError::Ipv6),
        ("bank.example..:443", HostError::EmptyLabel),
        (".bank.example:443", HostError::EmptyLabel),
        ("api..bank.example:443", HostError::EmptyLabel),
        ("user@bank.example:443", HostError::Userinfo),
        ("user:secret@bank.example:443", HostError::Userinfo),
        ("@bank.example:443", HostError::Userinfo),
        ("https://bank.example:443", HostError::NotAnAuthority),
        ("https://bank.example/", HostError::NotAnAuthority),
        ("http://bank.example:443/", HostError::NotAnAuthority),
        ("bank.example:443/", HostError::NotAnAuthority),
        ("bank.example:443/path", HostError::NotAnAuthority),
        ("bank.example:443?q", HostError::NotAnAuthority),
        ("bank.example:443#f", HostError::NotAnAuthority),
        ("bank.example:443#", HostError::NotAnAuthority),
        ("bank.example\\evil.example:443", HostError::NotAnAuthority),
        ("//bank.example:443", HostError::NotAnAuthority),
        ("/", HostError::NotAnAuthority),
        ("*", HostError::NoPort),
        ("*.bank.example:443", HostError::Character('*')),
        (" bank.example:443", HostError::Character(' ')),
        ("bank example:443", HostError::Character(' ')),
        ("bank.example%00.evil.example:443", HostError::Character('%')),
        ("bank.example%2eevil.example:443", HostError::Character('%')),
        ("bank.example\0.evil.example:443", HostError::Character('\0')),
        ("bank.example\u{1}:443", HostError::Character('\u{1}')),
        ("bank.example\t:443", HostError::Character('\t')),
        ("bank.example\r:443", HostError::Character('\r')),
        ("bank.example\u{1b}[2J:443", HostError::Character('\u{1b}')),
        ("bank.example\u{7f}:443", HostError::Character('\u{7f}')),
        ("bank\"example:443", HostError::Character('"')),
        ("api\u{3002}bank.example:443", HostError::NotAscii),
        ("api\u{ff0e}bank.example:443", HostError::NotAscii),
        ("b\u{fc}cher.example:443", HostError::NotAscii),
        ("127.0.0.\u{b9}:443", HostError::NotAscii),
        ("-a.example:443", HostError::Hyphen),
        ("a-.example:443", HostError::Hyphen),
        ("127.1:443", HostError::NumericName),
        ("2130706433:443", HostError::NumericName),
        ("0x7f000001:443", HostError::NumericName),
        ("0x7f.1:443", HostError::NumericName),
        ("127.0.0.0x1:443", HostError::NumericName),
        ("127.0.0.01:443", HostError::NumericName),
        ("127.0.0.1.:443", HostError::NumericName),
        ("127.0.0.1.5:443", HostError::NumericName),
        ("256.1.1.1:443", HostError::NumericName),
        ("a.0x:443", HostError::NumericName),
        ("::1:443", HostError::Ipv6),
        ("2001:db8::1", HostError::Ipv6),
        ("[::1]", HostError::NoPort),
        ("[::1]443", HostError::Ipv6),
        ("[::1:443", HostError::Ipv6),
        ("[fe80::1%eth0]:443", HostError::Ipv6),
        ("[fe80::1%25eth0]:443", HostError::Ipv6),
        ("[127.0.0.1]:443", HostError::Ipv6),
        ("[bank.example]:443", HostError::Ipv6),
        ("[]:443", HostError::Ipv6),
        (&long_label, HostError::LongLabel),
        (&long_name, HostError::LongName),
        (&longer_name, HostError::LongName),
    ];
    for (target, error) in table {
        let request = unreached.aimed(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
        let (reply, event) = unreached.refuses(&request, 400, &reason(*error)).await;
        assert_eq!(event.failure_class, Some(FailureClass::Request), "{target:?}");
        assert_eq!(event.decision, Decided::Refuse, "{target:?}");
        assert_eq!(event.detail, Some(format!("bad CONNECT target: {error}")), "{target:?}");
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
