//! What a session tells when it has ended. Files and log themselves are other threads'.

use super::{HOST, PIN, SPARE, now};
use pinproxy::policy::pin::Pin;
use pinproxy::report::{Asked, Bytes, Client, Decided, Event, Stage, Told};
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

/// What the access file has a line of.
pub(super) fn as_json() -> Box<dyn FnMut(usize)> {
    let event = event();
    Box::new(move |_| {
        let mut line = serde_json::to_vec(black_box(&event)).expect("an event is JSON");
        line.push(b'\n');
        black_box(line);
    })
}

/// What the log has a line of.
pub(super) fn as_text() -> Box<dyn FnMut(usize)> {
    let event = event();
    Box::new(move |_| {
        black_box(black_box(&event).to_string());
    })
}

/// Of a session that was allowed and has come to its end.
fn event() -> Event {
    let told = |text: &str| Some(Told::words(text));
    let pin = |text: &str| Pin::parse(text).expect("a pin");
    Event {
        date_time: now(),
        session: "8a238b53-3".into(),
        client: Client(SocketAddr::from(([10, 1, 2, 3], 40_000))),
        connect_authority: Told::target(&format!("{HOST}:443")),
        hostname: told(HOST),
        port: Some(443),
        sni: told(HOST),
        stage: Stage::Relay,
        decision: Decided::Allow,
        failure_class: None,
        detail: None,
        status: Some(200),
        pinset: Some("bank".into()),
        enforced: true,
        overridden: false,
        asked: Some(Asked::Enforce),
        policy_generation: 1,
        matched_position: Some(0),
        matched_pin: Some(pin(PIN)),
        exempted: false,
        seen_pins: [pin(PIN), pin(SPARE), pin(SPARE)].into(),
        candidate_paths: 0,
        parent: None,
        upstream_address: Some(SocketAddr::from(([192, 0, 2, 1], 443))),
        upstream_tls: Some("1.3"),
        client_tls: Some("1.3"),
        alpn: told("h2"),
        upstream_certificate: Some([0x5e; 32]),
        upstream_not_after: Some(now() + Duration::from_secs(86_400)),
        leaf_serial: Some("5E".repeat(16).into()),
        bytes: Bytes { upstream: 1_234, client: 56_789 },
        ended: told("both sides closed"),
        upstream_handshake: Some(Duration::from_millis(12)),
        client_handshake: Some(Duration::from_millis(3)),
        duration: Duration::from_millis(1_234),
        stages: None,
    }
}
