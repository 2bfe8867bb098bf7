use super::*;

use crate::config::SyslogAddress;
use crate::policy::decision::FailureClass;
use crate::report::tests_support::event;
use crate::report::{Client, ClientId, Told};
use std::time::SystemTime;
use tokio::net::UdpSocket;

/// How long a test waits for anything.
const DEADLINE: Duration = Duration::from_secs(10);

/// A violation of a kind of its own.
fn violation(kind: u32) -> (Event, Violation) {
    let host = format!("api-{kind}.bank.example");
    let event = Event {
        date_time: SystemTime::UNIX_EPOCH,
        session: format!("session-{kind}").into(),
        client: Client("192.0.2.1:1".parse().unwrap()),
        connect_authority: Told::target(&format!("{host}:443")),
        hostname: Some(Told::words(host)),
        detail: None,
        seen_pins: Box::default(),
        ..event()
    };
    let violation = Violation {
        class: FailureClass::Pin,
        served: Vec::new(),
        validated: Vec::new(),
        known_pins: Vec::new(),
        expected: Vec::new(),
        noted_hostname: None,
        include_subdomains: false,
        expires: None,
    };
    (event, violation)
}

fn start(folder: &Path, reports: &Reports) -> Result<(Outbox, Outgoing), OutboxError> {
    let anchors = TrustAnchors::from_certificates([]).unwrap();
    Outbox::start(reports, folder, &anchors, Naming::new(ClientId::None).unwrap(), || SystemTime::UNIX_EPOCH.into())
}

/// Reports by UDP to this socket, and to a port where nobody listens.
fn reports(socket: &UdpSocket, spool_max: u64) -> Reports {
    let address = socket.local_addr().unwrap();
    let dead = ReportUrl::parse("http://ada:s3cret@127.0.0.1:9/token").unwrap();
    let syslog = SyslogAddress::parse(&format!("udp://{address}"));
    Reports { urls: vec![dead], syslog, spool_max, per_minute: 6_000, ..Reports::default() }
}

async fn until(what: impl Fn() -> bool) {
    let looked = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, looked).await.expect("it comes within the deadline");
}

#[tokio::test]
async fn figures_tell_what_became_of_reports() {
    let folder = tempfile::tempdir().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (outbox, outgoing) = start(folder.path(), &reports(&socket, 3)).unwrap();
    let ledger = outbox.ledger();
    for kind in [1, 2, 2, 3, 2, 4, 5] {
        let (event, violation) = violation(kind);
        outgoing.take(&event, Some(&violation));
        outgoing.take(&event, None);
    }
    until(|| {
        let figures = ledger.figures();
        let [dead, alive] = &figures.targets[..] else { return false };
        (alive.sent, alive.waiting) == (3, 0) && dead.failures > 0
    })
    .await;
    // Three are kept for the one that is dead, and there is no place for the two behind them.
    let figures = outbox.figures();
    assert_eq!(
        (figures.suppressed, figures.unspooled, figures.spooled, figures.lost, figures.left_out),
        (2, 0, 3, 0, 2)
    );
    assert_eq!((figures.oldest, figures.spool_trouble), (Some(SystemTime::UNIX_EPOCH), None));
    assert!(figures.spooled_octets > 300, "{}", figures.spooled_octets);
    let figures = outbox.figures();
    let [dead, alive] = &figures.targets[..] else { panic!("{figures:?}") };
    let trouble = dead.trouble.as_ref().map(|trouble| (trouble.since, trouble.why.contains("refused")));
    assert_eq!((trouble, &alive.trouble), (Some((SystemTime::UNIX_EPOCH, true)), &None));
    assert_eq!((dead.target.as_str(), dead.waiting, dead.sent), ("127.0.0.1:9", 3, 0));
    let name = format!("udp://{}", socket.local_addr().unwrap());
    assert_eq!((alive.target.as_str(), alive.waiting, alive.sent, alive.failures), (name.as_str(), 0, 3, 0));
    assert!(!format!("{figures:?}").contains("s3cret") && !format!("{outbox:?}").contains("s3cret"));
    assert_eq!(outgoing.lost(), Some(("the spool of reports", 2)));
    outbox.end().await;
    assert_eq!(ledger.figures().spooled, 3);
}

/// While another process has the spool, reports wait in memory; those that there is no room for are counted, and the next
/// of their kind is not held back for their sake.
#[tokio::test]
async fn reports_that_nothing_takes_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let reports = reports(&socket, 10_000);
    let (first, _) = start(folder.path(), &reports).unwrap();
    let (outbox, outgoing) = start(folder.path(), &reports).unwrap();
    let take = |kind| {
        let (event, violation) = violation(kind);
        outgoing.take(&event, Some(&violation));
    };
    // Until the writer has some in hand, with which it waits, and there is no room for more behind them.
    let (mut kinds, mut lost) = (0, 0);
    while outbox.figures().unspooled <= UNSPOOLED_MAX as u64 || outbox.figures().lost == lost {
        lost = outbox.figures().lost;
        kinds += 1;
        take(kinds);
        std::thread::yield_now();
    }
    let figures = outbox.figures();
    assert_eq!(figures.unspooled + figures.lost, u64::from(kinds));
    assert!(figures.unspooled <= 2 * UNSPOOLED_MAX as u64, "{figures:?}");
    for more in 1..=2 {
        take(kinds + 1);
        assert_eq!((outbox.figures().lost, outbox.figures().suppressed), (figures.lost + more, 0));
    }
    // Its first report waits for the spool, and stands for the others.
    take(1);
    assert_eq!((outbox.figures().lost, outbox.figures().suppressed), (figures.lost + 2, 1));
    let ledger = outbox.ledger();
    outbox.end().await;
    assert_eq!(ledger.figures().lost, u64::from(kinds) + 2, "nothing of it came into the spool");
    assert_eq!(ledger.figures().unspooled, 0);
    drop(first);
}

#[tokio::test]
async fn a_spool_that_cannot_be_used_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = start(&folder.path().join("file"), &reports(&socket, 1)).unwrap_err();
    assert!(matches!(error, OutboxError::Spool(SpoolError::Folder { .. })), "{error}");
}

/// Metrics must not have two series of one name.
#[test]
fn receivers_on_one_host_and_port_are_told_apart() {
    let places = ["a.example", "b.example:1", "a.example", "a.example", "b.example:1", "c.example"];
    let names = names(places.into_iter());
    assert_eq!(names, ["a.example", "b.example:1", "a.example (2)", "a.example (3)", "b.example:1 (2)", "c.example"]);
}
