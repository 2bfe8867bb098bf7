//! What passes through a session: every byte, both ways, and how each side ends. The same for intercepted sessions and
//! blind tunnels.

mod ends;
mod late;
mod saturated;

use crate::support::client::TlsClient;
use crate::support::origin::{Behaviour, pattern};
use crate::support::pki::hex;
use crate::support::setting::{HOST, Setting};
use pinproxy::report::{Bytes, Decided, Event};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;

const MIB: usize = 1024 * 1024;

/// How a session relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Intercept,
    Tunnel,
}

const MODES: [Mode; 2] = [Mode::Intercept, Mode::Tunnel];

impl Mode {
    /// An origin that behaves like this behind a proxy in this mode.
    async fn start(self, behaviour: Behaviour, toml: &str) -> Setting {
        let rule = match self {
            Self::Intercept => "",
            Self::Tunnel => "[[tunnel]]\nhosts = [\"api.bank.example\"]\nreason = \"tested\"\n",
        };
        Setting::with(&format!("{toml}{rule}"), |origin| origin.behaviour(behaviour)).await
    }

    /// A TLS connection through the proxy, to it or to the origin.
    async fn connected(self, setting: &Setting) -> TlsClient {
        match self {
            Self::Intercept => setting.connected().await,
            Self::Tunnel => {
                let tls = crate::support::client::ClientTls::to(HOST).trusting([&setting.root]).build();
                setting.tunnel().await.tls(&tls).await.expect("the client shakes hands with the origin")
            }
        }
    }

    /// Asserts on the event of a session that relayed this much payload.
    fn check(self, event: &Event, sent: usize, received: usize) {
        assert_eq!(event.failure_class, None, "{event}");
        let (sent, received) = (sent as u64, received as u64);
        match self {
            Self::Intercept => {
                assert_eq!(event.decision, Decided::Allow, "{event}");
                assert_eq!(event.bytes, Bytes { upstream: sent, client: received }, "{event}");
            }
            // The bytes of a tunnel are those of TLS: more than the payload, and not much more.
            Self::Tunnel => {
                assert_eq!((event.decision, event.pinset.as_deref()), (Decided::Tunnel, Some("tunnel")), "{event}");
                assert_eq!((&event.client_tls, &event.leaf_serial), (&None, &None));
                let bounds = |payload: u64| payload..payload + payload / 16 + 16 * 1024;
                assert!(bounds(sent).contains(&event.bytes.upstream), "{event}");
                assert!(bounds(received).contains(&event.bytes.client), "{event}");
            }
        }
    }
}

#[tokio::test]
async fn downloads_arrive_untouched() {
    for (mode, length) in [(MODES[0], 0), (MODES[0], 1), (MODES[0], MIB), (MODES[1], MIB), (MODES[0], 64 * MIB)] {
        let mut setting = mode.start(Behaviour::Download(length), "").await;
        let mut client = mode.connected(&setting).await;
        let (received, ending) = client.read_to_end().await.unwrap();
        assert_eq!(received.len(), length, "{mode:?}");
        assert!(received == pattern(0, length), "{mode:?}, {length}: the bytes differ");
        assert_eq!(ending, crate::support::client::Ending::Clean, "{mode:?}, {length}");
        client.shutdown().await.unwrap();
        let event = setting.proxy.told().await.event;
        assert_eq!(event.ended.as_deref(), Some("closed"), "{mode:?}, {length}");
        mode.check(&event, 0, length);
    }
}

#[tokio::test]
async fn uploads_arrive_untouched() {
    for (mode, length) in [(MODES[0], 0), (MODES[0], 1), (MODES[0], MIB), (MODES[1], MIB), (MODES[0], 64 * MIB)] {
        let mut setting = mode.start(Behaviour::Digest, "").await;
        let mut client = mode.connected(&setting).await;
        let bytes = pattern(7, length);
        client.send(&bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let (answer, ending) = client.read_to_end().await.unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), hex(&Sha256::digest(&bytes)), "{mode:?}, {length}");
        assert_eq!(ending, crate::support::client::Ending::Clean, "{mode:?}, {length}");
        let event = setting.proxy.told().await.event;
        assert_eq!(event.ended.as_deref(), Some("closed"), "{mode:?}, {length}");
        mode.check(&event, length, 64);
        assert_eq!(setting.origin.until_ended(1).await.unwrap().received(), length as u64);
    }
}

#[tokio::test]
async fn both_ways_at_once() {
    for mode in MODES {
        let mut setting = mode.start(Behaviour::Echo, "").await;
        let mut client = mode.connected(&setting).await;
        let bytes = pattern(3, 4 * MIB);
        for _ in 0..2 {
            assert!(client.exchange(&bytes, bytes.len()).await.unwrap() == bytes, "{mode:?}: the bytes differ");
        }
        client.shutdown().await.unwrap();
        mode.check(&setting.proxy.told().await.event, 8 * MIB, 8 * MIB);
    }
}

#[tokio::test]
async fn an_upgraded_connection_is_bytes_like_any_other() {
    let upgrade = b"GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nHost: other.example\r\n\r\n";
    let frames = [b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".as_slice(), b"\x88\x80\0\0\0\0", b"\0\r\n\r\n"];
    for mode in MODES {
        let mut setting = mode.start(Behaviour::Echo, "").await;
        let mut client = mode.connected(&setting).await;
        let mut sent = upgrade.len();
        assert_eq!(client.exchange(upgrade, upgrade.len()).await.unwrap(), upgrade, "{mode:?}");
        for frame in frames {
            assert_eq!(client.exchange(frame, frame.len()).await.unwrap(), frame, "{mode:?}");
            sent += frame.len();
        }
        client.shutdown().await.unwrap();
        mode.check(&setting.proxy.told().await.event, sent, sent);
    }
}

#[tokio::test]
async fn a_session_in_which_nothing_moves_ends() {
    for mode in MODES {
        let mut setting = mode.start(Behaviour::Echo, "[limits]\nidle_timeout = \"200ms\"\n").await;
        let mut client = mode.connected(&setting).await;
        assert_eq!(client.exchange(b"ping", 4).await.unwrap(), b"ping");
        let (rest, ending) = client.read_to_end().await.unwrap();
        assert_eq!(rest, b"");
        assert_ne!(ending, crate::support::client::Ending::Clean, "{mode:?}: nobody has said that it was all");
        let event = setting.proxy.told().await.event;
        assert_eq!(event.ended.as_deref(), Some("idle timeout"), "{mode:?}");
        assert!(event.duration >= Duration::from_millis(200), "{event}");
        mode.check(&event, 4, 4);
        assert_ne!(setting.origin.until_ended(1).await.unwrap().clean_closes(), 1, "{mode:?}");
    }
}

#[tokio::test]
async fn a_session_ends_with_its_lifetime_however_busy_it_is() {
    for mode in MODES {
        let toml = "[limits]\nsession_lifetime = \"300ms\"\nidle_timeout = \"250ms\"\n";
        let mut setting = mode.start(Behaviour::Echo, toml).await;
        let mut client = mode.connected(&setting).await;
        let mut rounds = 0;
        while client.exchange(b"ping", 4).await.is_ok() {
            rounds += 1;
        }
        let event = setting.proxy.told().await.event;
        assert_eq!(event.ended.as_deref(), Some("session lifetime"), "{mode:?}");
        assert!(event.duration >= Duration::from_millis(300), "{event}");
        assert!(rounds > 1 && event.bytes.client >= 4 * rounds, "{rounds} rounds, {event}");
        assert_ne!(setting.origin.until_ended(1).await.unwrap().clean_closes(), 1, "{mode:?}");
    }
}

/// A session of many hours keeps nothing of a generation that was replaced.
#[tokio::test]
async fn a_tunnel_does_not_keep_its_policy() {
    for mode in MODES {
        let setting = mode.start(Behaviour::Echo, "").await;
        let mut client = mode.connected(&setting).await;
        client.send(b"ping").await.expect("the session relays");
        assert_eq!(client.read_exact(4).await.expect("the session relays"), b"ping");
        let old = setting.proxy.replace("", 2);
        assert_eq!(Arc::strong_count(&old), 1, "{mode:?}");
        let (policy, anchors) = (Arc::downgrade(&old.policy), Arc::downgrade(&old.materials.common));
        let chains = Arc::downgrade(&old.chains);
        drop(old);
        let kept = (policy.upgrade().is_some(), anchors.upgrade().is_some(), chains.upgrade().is_some());
        assert_eq!(kept, (false, false, false), "{mode:?}: policy, anchors, chains");
        client.send(b"pong").await.expect("the session relays");
        assert_eq!(client.read_exact(4).await.expect("the session relays"), b"pong", "{mode:?}");
    }
}
