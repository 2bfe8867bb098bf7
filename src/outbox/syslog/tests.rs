use super::*;

use serde_json::json;
use std::time::SystemTime;

fn report(fields: &Value) -> Spooled {
    Spooled { number: 1, at: SystemTime::UNIX_EPOCH, body: fields.to_string().into_bytes() }
}

/// What a receiver reads in a message.
#[derive(Debug, PartialEq)]
struct Read {
    header: Vec<String>,
    parameters: Vec<(String, String)>,
    text: String,
}

/// The grammar of RFC 5424 section 6, one element with structured data.
fn read(message: &[u8]) -> Read {
    let text = std::str::from_utf8(message).expect("UTF-8");
    let (head, rest) = text.split_once(" [").expect("structured data");
    let header: Vec<_> = head.split(' ').map(ToOwned::to_owned).collect();
    let visible = |field: &String| !field.is_empty() && field.bytes().all(|octet| (33..=126).contains(&octet));
    assert!(header.len() == 6 && header.iter().all(visible), "{header:?}");
    let lengths = [8, 32, 255, 48, 128, 32];
    assert!(header.iter().zip(lengths).all(|(field, max)| field.len() <= max), "{header:?}");
    let mut rest = rest.strip_prefix(STRUCTURED_DATA_ID).expect("the id").chars();
    let mut parameters = Vec::new();
    loop {
        match rest.next() {
            Some(']') => break,
            Some(' ') => {}
            other => panic!("{other:?} in {text}"),
        }
        let name: String = rest.by_ref().take_while(|c| *c != '=').collect();
        assert!(!name.is_empty() && name.len() <= 32 && name.chars().all(|c| c.is_ascii_alphanumeric()), "{name:?}");
        assert_eq!(rest.next(), Some('"'));
        let mut value = String::new();
        loop {
            match rest.next().expect("the end of a value") {
                '"' => break,
                '\\' => {
                    let escaped = rest.next().expect("what is escaped");
                    assert!(matches!(escaped, '"' | '\\' | ']'), "{escaped:?}");
                    value.push(escaped);
                }
                ']' => panic!("a bare ] in {text}"),
                c => value.push(c),
            }
        }
        parameters.push((name, value));
    }
    assert_eq!(rest.next(), Some(' '));
    Read { header, parameters, text: rest.collect() }
}

fn value<'a>(read: &'a Read, name: &str) -> &'a str {
    &read.parameters.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name} in {read:?}")).1
}

#[test]
fn a_message_follows_the_grammar_whatever_is_in_it() {
    let odd = "]\"\\ \u{7}\n[a=\"b\"] é\u{1F512}";
    for pinset in ["bank", "", odd, &"]".repeat(400), &"é".repeat(200)] {
        for host in ["api.bank.example", odd] {
            let fields = json!({
                "date-time": "2026-11-21T00:00:00.000Z", "hostname": host, "port": 443, "pinset": pinset,
                "failure-class": "pin", "session": "7", "report-id": "00ff",
            });
            let message = message(&report(&fields), "proxy-1", None);
            let read = read(&message);
            let process = std::process::id().to_string();
            assert_eq!(
                read.header,
                ["<84>1", "2026-11-21T00:00:00.000Z", "proxy-1", "pinproxy", &process, "pin-violation"]
            );
            let names: Vec<_> = read.parameters.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["pinset", "host", "port", "class", "session", "report", "truncated"]);
            let told: String = pinset[..pinset.floor_char_boundary(VALUE_OCTETS_MAX)].chars().collect();
            assert_eq!(value(&read, "pinset"), told.replace(char::is_control, "?"));
            assert_eq!((value(&read, "class"), value(&read, "port")), ("pin", "443"));
            assert_eq!(value(&read, "truncated"), "no");
            assert_eq!(serde_json::from_str::<Value>(&read.text).unwrap(), fields);
        }
    }
}

#[test]
fn what_is_no_report_is_sent_as_it_is() {
    for body in ["", "null", "[]", "{}", "no JSON"] {
        let spooled = Spooled { body: body.into(), ..report(&json!({})) };
        let read = read(&message(&spooled, "-", Some(UDP_OCTETS_MAX)));
        assert_eq!((read.text.as_str(), read.header[1].as_str()), (body, "1970-01-01T00:00:00.000Z"));
    }
}

#[test]
fn a_long_message_goes_without_certificates_and_says_so() {
    let fields = |words: usize| {
        let chain = vec!["-----BEGIN CERTIFICATE-----\n".repeat(100); 3];
        json!({ "hostname": "api.bank.example", "detail": "é".repeat(words), CHAINS[0]: chain, CHAINS[1]: chain })
    };
    for max in [UDP_OCTETS_MAX, UNIX_OCTETS_MAX] {
        let message_of = |words| message(&report(&fields(words)), "proxy-1", Some(max));
        let short = read(&message_of(100));
        let json: Value = serde_json::from_str(&short.text).expect("JSON all the same");
        assert_eq!((json[CHAINS[0]].clone(), json[CHAINS[1]].clone()), (json!([]), json!([])));
        assert_eq!((json["hostname"].clone(), value(&short, "truncated")), (json!("api.bank.example"), "yes"));
        for words in [max / 2, max / 2 + 1, max, 3 * max] {
            let cut = message_of(words);
            assert!(cut.len() <= max && cut.len() >= max - 1, "{} of {max}", cut.len());
            assert_eq!(value(&read(&cut), "truncated"), "yes");
        }
    }
    let whole = message(&report(&fields(100)), "proxy-1", None);
    assert_eq!(serde_json::from_str::<Value>(&read(&whole).text).unwrap(), fields(100));
}

#[test]
fn names_of_machines() {
    let long = "a".repeat(300);
    let table = [("proxy-1.corp.example", "proxy-1.corp.example"), ("", "-"), ("é", "-"), ("a b\n", "ab")];
    for (name, expected) in table {
        assert_eq!(hostname(name), expected, "{name:?}");
    }
    assert_eq!(hostname(&long).len(), HOSTNAME_OCTETS_MAX);
}
