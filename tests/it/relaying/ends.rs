//! How sides end: cleanly, cut off, reset; each is passed on as what it is.

use super::MODES;
use super::Mode;
use crate::support::client::Ending;
use crate::support::origin::{Behaviour, End};

#[tokio::test]
async fn the_end_of_the_upstream_is_passed_on_as_what_it_is() {
    for mode in MODES {
        for (clean, seen, ended) in
            [(true, Ending::Clean, "closed"), (false, Ending::Truncated, "upstream closed without close_notify")]
        {
            let bytes = b"an answer".to_vec();
            let mut setting = mode.start(Behaviour::SendThenClose { bytes, clean }, "").await;
            let mut client = mode.connected(&setting).await;
            let (received, ending) = client.read_to_end().await.unwrap();
            assert_eq!((received.as_slice(), ending), (b"an answer".as_slice(), seen), "{mode:?}");
            // The other direction is still open.
            client.send(b"and more").await.unwrap();
            client.shutdown().await.unwrap();
            let tally = setting.origin.until_ended(1).await.unwrap();
            assert_eq!(tally.connections[0].data, b"and more", "{mode:?}");
            assert_eq!(tally.connections[0].end, Some(End::PeerClosed), "{mode:?}");
            let event = setting.proxy.told().await.event;
            // A tunnel does not see what ends inside it.
            let ended = if mode == Mode::Tunnel { "closed" } else { ended };
            assert_eq!(event.ended.as_deref(), Some(ended), "{mode:?}");
            mode.check(&event, 8, 9);
            setting.proxy.no_more_events();
        }
    }
}

#[tokio::test]
async fn the_end_of_the_client_is_passed_on_as_what_it_is() {
    for mode in MODES {
        let mut setting = mode.start(Behaviour::HalfClose, "").await;
        let mut client = mode.connected(&setting).await;
        client.send(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(client.read_to_end().await.unwrap(), (b"8".to_vec(), Ending::Clean), "{mode:?}");
        let event = setting.proxy.told().await.event;
        assert_eq!(event.ended.as_deref(), Some("closed"), "{mode:?}");
        mode.check(&event, 8, 1);

        let mut client = mode.connected(&setting).await;
        client.send(b"half a question").await.unwrap();
        client.truncate().await.unwrap();
        let tally = setting.origin.until_ended(2).await.unwrap();
        assert_eq!(tally.connections[1].end, Some(End::PeerTruncated), "{mode:?}");
        assert_eq!(tally.connections[1].data, b"half a question", "{mode:?}");
        let (rest, ending) = client.read_to_end().await.unwrap();
        assert_eq!(rest, b"", "{mode:?}: an origin that counts to the end has not answered");
        assert_ne!(ending, Ending::Clean, "{mode:?}");
        let ended = setting.proxy.told().await.event.ended.expect("the relay ended");
        if mode == Mode::Intercept {
            assert_eq!(ended, "both closed without close_notify");
        }
        setting.proxy.no_more_events();
    }
}

#[tokio::test]
async fn a_reset_is_no_clean_end_for_the_other_side() {
    for mode in MODES {
        let mut setting = mode.start(Behaviour::Reset, "").await;
        let mut client = mode.connected(&setting).await;
        client.send(b"question").await.unwrap();
        let (rest, ending) = client.read_to_end().await.unwrap();
        assert_eq!(rest, b"");
        assert_ne!(ending, Ending::Clean, "{mode:?}");
        let event = setting.proxy.told().await.event;
        assert_eq!(
            event.ended.as_deref(),
            Some("connection to the upstream failed: Connection reset by peer (os error 104)"),
            "{mode:?}"
        );
        assert!(event.bytes.upstream >= 8, "{event}");

        let mut setting = mode.start(Behaviour::Drain, "").await;
        let mut client = mode.connected(&setting).await;
        client.send(b"question").await.unwrap();
        setting.origin.until("the question is there", |tally| tally.received() == 8).await.unwrap();
        client.reset().unwrap();
        let event = setting.proxy.told().await.event;
        assert_eq!(
            event.ended.as_deref(),
            Some("connection to the client failed: Connection reset by peer (os error 104)"),
            "{mode:?}"
        );
        assert_eq!(setting.origin.until_ended(1).await.unwrap().clean_closes(), 0, "{mode:?}");
        setting.proxy.no_more_events();
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_upstream() {
    for mode in MODES {
        let length = 64 * super::MIB;
        let mut setting = mode.start(Behaviour::Download(length), "[limits]\nidle_timeout = \"400ms\"\n").await;
        let client = mode.connected(&setting).await;
        // The buffers of the sockets fill up, nothing moves, and the session ends idle.
        let event = setting.proxy.told().await.event;
        assert_eq!(event.ended.as_deref(), Some("idle timeout"), "{mode:?}");
        assert!(event.bytes.client < length as u64 / 2, "{event}");
        drop(client);
    }
}
