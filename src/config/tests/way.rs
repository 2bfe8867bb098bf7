//! The way out in `[upstream]`.

use super::*;
use crate::config::{ParentKind, Secret};
use crate::policy::pattern::HostPattern;
use crate::policy::way::{Exception, Sources};

fn upstream(lines: &str) -> String {
    format!("[upstream]\n{lines}")
}

#[test]
fn what_is_read() {
    let read = config(&upstream(
        "parent = \"socks5://ada:s3cret@Proxy.Example:1080\"\nno_parent = [\"*.corp.example\", \"10.0.0.0/8\", \"192.0.2.7\", \"a.example:8443\"]\n\
         source = [\"192.0.2.7\", \"2001:db8::7\"]\n\
         client_certificates = [{ hosts = [\"a.example\", \"**.b.example\"], certificate = \"c.pem\", key = \"k.pem\" }]",
    ))
    .upstream;
    let parent = read.parent.unwrap();
    assert_eq!((parent.kind(), parent.authority().to_string().as_str()), (ParentKind::Socks5, "proxy.example:1080"));
    assert_eq!(parent.credentials().map(Secret::reveal), Some("ada:s3cret"));
    let hosts = |text: &str| HostPattern::parse(text).unwrap();
    let network = |text: &str| Exception::Network(text.parse().unwrap());
    let expected = [
        Exception::Hosts(hosts("*.corp.example")),
        network("10.0.0.0/8"),
        network("192.0.2.7/32"),
        Exception::Hosts(hosts("a.example:8443")),
    ];
    assert_eq!(read.no_parent, expected);
    let both = Sources { v4: Some([192, 0, 2, 7].into()), v6: Some("2001:db8::7".parse().unwrap()) };
    assert_eq!(read.source, both);
    assert_eq!(config(&upstream("source = \"::ffff:192.0.2.7\"")).upstream.source, Sources { v6: None, ..both });
    let [certificate] = read.client_certificates.try_into().unwrap();
    assert_eq!(certificate.hosts, [hosts("a.example"), hosts("**.b.example")]);
    assert!(certificate.certificate.ends_with("c.pem") && certificate.key.ends_with("k.pem"));
}

/// Code, line, column, and a part of what is said.
type Told<'a> = (Code, usize, usize, &'a str);

#[test]
fn what_is_refused() {
    let certificate = |more: &str| upstream(&format!("client_certificates = [{{ {more} }}]"));
    let table: [(String, &[Told<'_>]); 17] = [
        (upstream("parent = \"10.1.2.3:3128\""), &[(Code::E16, 2, 10, "upstream.parent is not a URL of scheme")]),
        (upstream("parent = \"http://10.1.2.3\""), &[(Code::E16, 2, 10, "upstream.parent has no port")]),
        (upstream("parent = \"ftp://10.1.2.3:21\""), &[(Code::E16, 2, 10, "another scheme")]),
        (upstream("parent = \"http://127.0.0.1:8080\""), &[(Code::E85, 2, 10, "where this proxy itself listens")]),
        (upstream("parent = \"http://localhost:8080\""), &[(Code::E85, 2, 10, "")]),
        (
            upstream(
                "parent = \"http://127.0.0.9:1\"\n[[listener]]\naddress = \"0.0.0.0:1\"\n[access]\nclients = [\"10.0.0.0/8\"]",
            ),
            &[(Code::E85, 2, 10, "")],
        ),
        (upstream("no_parent = [\"*.corp.example\"]"), &[(Code::E14, 1, 1, "upstream.parent is missing")]),
        (
            upstream("parent = \"http://a:1\"\nno_parent = [\"10.1.2.3/8\"]"),
            &[(Code::E16, 3, 14, "an address inside a network")],
        ),
        (upstream("parent = \"http://a:1\"\nno_parent = [\"a/b\"]"), &[(Code::E20, 3, 14, "no host pattern")]),
        (upstream("source = \"eth0\""), &[(Code::E16, 2, 10, "is not an address")]),
        (upstream("source = \"0.0.0.0\""), &[(Code::E16, 2, 10, "which nothing can come from")]),
        (upstream("source = []"), &[(Code::E36, 2, 10, "")]),
        (upstream("source = [\"127.0.0.1\", \"127.0.0.2\"]"), &[(Code::E16, 2, 24, "two addresses of one family")]),
        (certificate("hosts = [], certificate = \"c\", key = \"k\""), &[(Code::E36, 2, 34, "")]),
        (certificate("hosts = [\"*\"], certificate = \"c\", key = \"k\""), &[(Code::E20, 2, 35, "")]),
        (certificate("hosts = [\"a.example\"], certificate = \"c\""), &[(Code::E14, 2, 24, "key is missing")]),
        (
            certificate("hosts = [\"a.example\", \"A.example.\"], certificate = \"c\", key = \"k\""),
            &[(Code::E86, 2, 48, "a.example has two client certificates")],
        ),
    ];
    for (text, expected) in table {
        refuse_each(&[(&text, expected)]);
    }
}

/// Neither what is right of it nor what is wrong.
#[test]
fn a_password_is_shown_nowhere() {
    for url in [
        "http://ada:s3cret@10.1.2.3",
        "http://ada:s3cret@10.1.2.3:99999",
        "http:/ada:s3cret@10.1.2.3:1",
        "http://s3cret@10.1.2.3:1",
        "s3cret",
        "http://ada:s3cret@127.0.0.1:8080",
        "http://ada:s3%zzcret@10.1.2.3:1",
    ] {
        let text = upstream(&format!("parent = \"{url}\"\nresumption = 1"));
        let errors = parse(&text).unwrap_err();
        let shown = errors.to_string();
        assert!(!shown.contains("cret") && !shown.contains("s3"), "{shown}");
        assert!(shown.contains("resumption = 1"), "its line is shown, so the others might be: {shown}");
    }
    let read = config(&upstream("parent = \"https://ada:s3cret@10.1.2.3:1\""));
    assert!(!format!("{read:?}").contains("s3cret"));
}
