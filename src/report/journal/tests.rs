use super::*;
use crate::policy::decision::FailureClass;
use crate::report::event::tests_support::event;
use std::sync::mpsc::channel;
use std::time::Duration;

/// A journal of the test.
struct Listening {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Listening {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { folder, socket }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn next(&self) -> Vec<(String, Vec<u8>)> {
        let mut octets = vec![0; JOURNAL_ENTRY_OCTETS_MAX + 1];
        let length = self.socket.recv(&mut octets).unwrap();
        parse(&octets[..length])
    }
}

/// Reads an entry as the journal does; anything out of order is a panic.
fn parse(mut rest: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|octet| matches!(octet, b'=' | b'\n')).unwrap();
        let name = String::from_utf8(rest[..end].to_vec()).unwrap();
        assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        assert!(name.starts_with(|c: char| c.is_ascii_uppercase()) && name.len() <= 64, "{name}");
        let (value, behind) = if rest[end] == b'=' {
            let line_end = rest.iter().position(|octet| *octet == b'\n').unwrap();
            (&rest[end + 1..line_end], &rest[line_end + 1..])
        } else {
            let (length, behind) = rest[end + 1..].split_first_chunk().unwrap();
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            assert_eq!(behind[length], b'\n');
            (&behind[..length], &behind[length + 1..])
        };
        fields.push((name, value.to_vec()));
        rest = behind;
    }
    fields
}

fn texts(fields: &[(String, Vec<u8>)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap())).collect()
}

/// Values by the octets that they are sent as.
#[test]
fn values_of_one_line_and_of_several() {
    let table: [(&[u8], &[u8]); 7] = [
        (b"", b"X=\n"),
        (b"a=b", b"X=a=b\n"),
        (b"a\tb", b"X=a\tb\n"),
        ("\u{fc}".as_bytes(), b"X=\xc3\xbc\n"),
        (b"a\nMESSAGE=b", b"X\n\x0b\0\0\0\0\0\0\0a\nMESSAGE=b\n"),
        (b"a\0b\xff", b"X\n\x04\0\0\0\0\0\0\0a\0b\xff\n"),
        (b"\x1b[31m", b"X\n\x05\0\0\0\0\0\0\0\x1b[31m\n"),
    ];
    for (value, expected) in table {
        let mut entry = Entry::default();
        entry.field("X", value);
        assert_eq!(entry.0, expected, "{:?}", String::from_utf8_lossy(value));
        assert_eq!(parse(&entry.0), [("X".to_owned(), value.to_vec())]);
    }
}

#[test]
fn values_and_entries_are_cut_where_they_end() {
    let of = |value: &[u8]| {
        let mut entry = Entry::default();
        entry.field("X", value);
        parse(&entry.0).remove(0).1
    };
    let most = JOURNAL_VALUE_OCTETS_MAX;
    assert_eq!(of(&vec![b'a'; most]), vec![b'a'; most]);
    assert_eq!(of(&vec![b'a'; most + 1]), [&vec![b'a'; most][..], b"..."].concat());
    // A character of four octets that does not fit as a whole.
    for before in most - 3..most {
        let text = "a".repeat(before) + "\u{1f600}";
        assert_eq!(of(text.as_bytes()), ("a".repeat(before) + CUT).into_bytes(), "{before}");
    }
    assert_eq!(of(("a".repeat(most - 4) + "\u{1f600}b").as_bytes()).len(), most + 3);
    // What is no UTF-8 at all has no characters to keep whole.
    assert_eq!(of(&vec![0x80; most + 9]).len(), most + 3);

    let mut entry = Entry::new(Priority::Error, "session", &"m\n".repeat(most));
    for _ in 0..100 {
        entry.field("PINPROXY_SEEN_PINS", &vec![b'p'; most]);
    }
    assert!(entry.0.len() <= JOURNAL_ENTRY_OCTETS_MAX, "{}", entry.0.len());
    let fields = parse(&entry.0);
    assert_eq!(fields.len(), 4 + 4, "the first four, and as many of the others as fit");
}

#[test]
fn a_line_of_the_log_and_the_event_of_a_session() {
    let listening = Listening::new();
    let (journal, guard) = Journal::start(&listening.path(), 10, Priority::Informational).unwrap();
    journal.tell(Priority::Error, "pinproxy::operate", "a fault\nin two lines");
    let expected = [
        ("MESSAGE", "a fault\nin two lines"),
        ("PRIORITY", "3"),
        ("SYSLOG_IDENTIFIER", "pinproxy"),
        ("PINPROXY_TARGET", "pinproxy::operate"),
    ];
    assert_eq!(texts(&listening.next()), expected);

    let mut event = event();
    event.failure_class = Some(FailureClass::Pin);
    event.pinset = Some("bank".into());
    journal.take(&event, None);
    let entry = listening.next();
    let told = texts(&entry);
    let expected = [
        ("MESSAGE", event.to_string()),
        ("PRIORITY", "4".to_owned()),
        ("PINPROXY_TARGET", "session".to_owned()),
        ("PINPROXY_SESSION", "00000000-7".to_owned()),
        ("PINPROXY_PINSET", "bank".to_owned()),
        ("PINPROXY_DECISION", "refuse".to_owned()),
        ("PINPROXY_FAILURE_CLASS", "pin".to_owned()),
        ("PINPROXY_STAGE", "pin".to_owned()),
        ("PINPROXY_ENFORCED", "true".to_owned()),
        ("PINPROXY_BYTES_UPSTREAM", "0".to_owned()),
    ];
    for (name, value) in &expected {
        assert_eq!(
            told.iter().filter(|told| **told == (*name, value.as_str())).count(),
            1,
            "{name}={value} in {told:?}"
        );
    }
    // Two keys were seen: two values of one field. What there is nothing to tell of is left out.
    assert_eq!(told.iter().filter(|(name, _)| *name == "PINPROXY_SEEN_PINS").count(), 2);
    assert!(told.iter().all(|(name, _)| *name != "PINPROXY_SNI"), "{told:?}");
    assert_eq!(journal.lost(), Some(("the journal", 0)));
    drop(guard);
}

#[test]
fn what_is_less_serious_than_asked_for_is_not_sent() {
    let listening = Listening::new();
    let (journal, guard) = Journal::start(&listening.path(), 10, Priority::Warning).unwrap();
    let mut event = event();
    event.failure_class = None;
    journal.take(&event, None);
    journal.tell(Priority::Error, "pinproxy", "the next");
    assert_eq!(texts(&listening.next())[0], ("MESSAGE", "the next"));
    drop(guard);
}

#[test]
fn without_a_journal_it_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("socket");
    let stale = folder.path().join("stale");
    drop(UnixDatagram::bind(&stale).unwrap());
    for (path, why) in [(missing, "No such file or directory"), (stale, "Connection refused")] {
        let error = Journal::start(&path, 10, Priority::Debug).unwrap_err().to_string();
        let expected = format!("there is no journal at {}: {why}", path.display());
        assert!(error.starts_with("[log] format = \"journald\"") && error.contains(&expected), "{error}");
    }
}

/// Entries for a journal that is gone are counted; one that is started anew gets the next ones.
#[test]
fn a_journal_that_is_gone_and_comes_back() {
    let Listening { folder, socket } = Listening::new();
    let path = folder.path().join("socket");
    let (journal, guard) = Journal::start(&path, 10, Priority::Debug).unwrap();
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    journal.tell(Priority::Warning, "pinproxy", "unheard");
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while journal.lost() != Some(("the journal", 1)) {
        assert!(std::time::Instant::now() < deadline, "{:?}", journal.lost());
        std::thread::yield_now();
    }
    let listening = Listening { socket: UnixDatagram::bind(&path).unwrap(), folder };
    listening.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    journal.tell(Priority::Warning, "pinproxy", "heard");
    assert_eq!(texts(&listening.next())[0], ("MESSAGE", "heard"));
    assert_eq!(journal.lost(), Some(("the journal", 1)));
    drop(guard);
}

/// A journal that reads nothing holds up its thread, and nobody else; what was not sent is counted.
#[test]
fn a_journal_that_does_not_read() {
    const ENTRIES: u64 = 5_000;
    let listening = Listening::new();
    let (journal, guard) = Journal::start(&listening.path(), 10, Priority::Debug).unwrap();
    let (told, done) = channel();
    let teller = journal.clone();
    std::thread::spawn(move || {
        for _ in 0..ENTRIES {
            teller.tell(Priority::Warning, "pinproxy", "nobody reads this");
        }
        told.send(()).unwrap();
    });
    done.recv_timeout(Duration::from_secs(10)).expect("who tells waits for nobody");
    // Its thread hangs in a call, and is left behind.
    drop(guard);
    let lost = journal.lost().unwrap().1;
    listening.socket.set_nonblocking(true).unwrap();
    let mut octets = [0; 4096];
    let arrived = std::iter::from_fn(|| listening.socket.recv(&mut octets).ok()).count() as u64;
    assert!(lost > 0 && arrived > 0 && lost < ENTRIES, "{lost} lost, {arrived} arrived");
}
