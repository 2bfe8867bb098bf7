//! What every integration test stands on: certificates made in memory, origins that count what they see, and a client
//! that speaks CONNECT byte by byte.
//!
//! Only `proxy`, `bench` and `verdict` know the library under test. Nothing here waits by sleeping, or keeps state outside the values it hands out.
// Each test file uses the part of this toolbox that it needs; what one build leaves unused is no mistake.
#![allow(dead_code, unused_imports)]

pub(crate) mod bench;
pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod origin;
pub(crate) mod parent;
pub(crate) mod pki;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod setting;
pub(crate) mod verdict;

use std::{future::Future, sync::Arc, time::Duration};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// How long one step of a test may take before it counts as hanging.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Runs one step, or says that it hung: `None` when [`DEADLINE`] passed first.
pub(crate) async fn within_deadline<T>(step: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(DEADLINE, step).await.ok()
}

/// The cryptography of origins and clients, always passed explicitly so that no test depends on a process default.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Waits until something is so that tells nobody when it becomes so, such as the contents of a file.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let polled = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    within_deadline(polled).await.expect("it becomes so within the deadline");
}
