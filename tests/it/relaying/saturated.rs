//! Sessions in which a direction never pauses.

use super::{MIB, MODES};
use crate::support::origin::Behaviour;
use std::time::Duration;

#[tokio::test]
async fn a_session_that_is_saturated_ends_with_its_lifetime() {
    for mode in MODES {
        let mut setting = mode.start(Behaviour::Drain, "[limits]\nsession_lifetime = \"300ms\"\n").await;
        let mut client = mode.connected(&setting).await;
        let bytes = vec![b'f'; MIB];
        while client.send(&bytes).await.is_ok() {}
        let event = setting.proxy.told().await.event;
        assert_eq!(event.ended.as_deref(), Some("session lifetime"), "{mode:?}");
        assert!((300..1_000).contains(&event.duration.as_millis()), "{event}");
        assert!(event.bytes.upstream > MIB as u64, "{event}");
    }
}

#[tokio::test]
async fn a_session_that_is_saturated_ends_with_the_proxy() {
    for mode in MODES {
        let toml = "[limits]\ndrain_timeout = \"100ms\"\n";
        let mut setting = mode.start(Behaviour::Drain, toml).await;
        let mut client = mode.connected(&setting).await;
        let bytes = vec![b'f'; MIB];
        client.send(&bytes).await.unwrap();
        setting.proxy.begin_stop();
        let begun = std::time::Instant::now();
        while client.send(&bytes).await.is_ok() {}
        assert!(begun.elapsed() < Duration::from_secs(1), "{mode:?}: {:?}", begun.elapsed());
        let event = setting.proxy.told().await.event;
        assert_eq!(event.ended.as_deref(), Some("shutdown"), "{mode:?}");
        assert!(event.bytes.upstream > MIB as u64, "{event}");
    }
}
