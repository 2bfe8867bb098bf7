//! Clients and servers that nobody here wrote, with the proxy between them: each client once let through and once
//! refused, where what it prints has to tell host, pinset and reason at one glance.

mod curl;
mod java;
mod openssl;
pub(crate) mod python;
mod rotation;
mod servers;
mod websocket;

use crate::support::origin::{Behaviour, Origin, OriginConfig};
use crate::support::pki::{Ca, Chain, Key, Leaf};
use crate::support::process::{self, Running, Start};
use crate::support::proxy::{ProxyBuilder, TestProxy};
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::Decided;
use std::path::{Path, PathBuf};

const BANK: &str = "api.bank.example";

/// What each refused client has to show, in this wording.
const REFUSED: &str = "Certificate pin mismatch for api.bank.example (pinset bank)";

/// A bank with its certificates, and the authority that the proxy trusts for it.
struct Bank {
    root: Ca,
    chain: Chain,
}

impl Bank {
    /// With a chain of this kind of key: the root, an intermediate, the bank's own.
    fn with_keys(new_key: fn() -> Key) -> Self {
        let authority = |name| Ca::builder(name).key(&new_key());
        let root = authority("The root").self_signed();
        let issuing = authority("The issuing authority").signed_by(&root);
        Self { chain: Leaf::named(BANK).key(&new_key()).signed_by(&issuing), root }
    }

    /// With a chain of ECDSA keys.
    fn new() -> Self {
        Self::with_keys(Key::p256)
    }

    /// An origin of the test's own that answers HTTP/1.1.
    async fn origin(&self) -> Origin {
        self.origin_with(|config| config.behaviour(Behaviour::Http1)).await
    }

    async fn origin_with(&self, change: impl FnOnce(OriginConfig) -> OriginConfig) -> Origin {
        Origin::start(change(OriginConfig::new(self.chain.clone()))).await
    }

    /// A proxy whose pinset accepts the bank's key.
    async fn proxy(&self) -> TestProxy {
        self.proxy_for(&self.chain.pin()).await
    }

    /// A proxy whose pinset accepts another key, so that the bank is refused.
    async fn refusing_proxy(&self) -> TestProxy {
        self.proxy_for(&Key::p256().pin()).await
    }

    async fn proxy_for(&self, pin: &str) -> TestProxy {
        self.builder(pin).start().await
    }

    fn builder(&self, pin: &str) -> ProxyBuilder {
        let backup = Key::p256().pin();
        let pinset = format!(
            "[[pinset]]\nname = \"bank\"\nhosts = [\"{BANK}\"]\nleaf_pins = [\"{pin}\"]\nbackup = [\"{backup}\"]\n"
        );
        ProxyBuilder::new(pinset).trusting([&self.root])
    }
}

/// A program that finds its files in the proxy's folder.
fn command(program: &Path, proxy: &TestProxy) -> Start {
    process::command(program, proxy.folder.path())
}

/// The file with the proxy's CA.
fn ca_file(proxy: &TestProxy) -> PathBuf {
    proxy.folder.path().join("ca/ca.pem")
}

/// The URL of this path at the bank, which is served on this port.
fn url(port: u16, path: &str) -> String {
    format!("https://{BANK}:{port}{path}")
}

/// Asserts that the proxy let one session through for its pin.
async fn allowed(proxy: &mut TestProxy) {
    let event = proxy.told().await.event;
    assert_eq!((event.decision, event.matched_position), (Decided::Allow, Some(0)), "{event:?}");
}

/// Asserts that the proxy refused one session for its pin, and that it was the only one.
async fn refused(proxy: &mut TestProxy) {
    let told = proxy.told().await;
    assert_eq!((told.event.decision, told.event.failure_class), (Decided::Refuse, Some(FailureClass::Pin)));
    assert!(told.violation.is_some());
    proxy.no_more_events();
}
