//! A proxy with one origin behind it, and a client that asks and notes everything it sees.

use super::client::{ClientTls, ClientTlsBuilder, RawClient, TlsFailure};
use super::origin::{Behaviour, Origin, OriginConfig};
use super::pki::{Ca, Chain, Key};
use super::proxy::{ProxyBuilder, TestProxy};
use super::verdict::{BANK, Outcome, Session, Verdict};
use rustls::RootCertStore;
use std::net::Ipv4Addr;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A proxy with one origin behind it.
pub(crate) struct Bench {
    pub(crate) proxy: TestProxy,
    pub(crate) origin: Origin,
}

impl Bench {
    /// Starts both. The origin answers HTTP.
    pub(crate) async fn start(proxy: ProxyBuilder, origin: OriginConfig) -> Self {
        Self::with_port(origin, |_| proxy).await
    }

    /// The same for a proxy whose rules name the port of the origin.
    pub(crate) async fn with_port(origin: OriginConfig, proxy: impl FnOnce(u16) -> ProxyBuilder) -> Self {
        let origin = Origin::start(origin.behaviour(Behaviour::Http1)).await;
        Self { proxy: proxy(origin.port()).start().await, origin }
    }

    /// A client for this name that trusts the proxy's CA and nobody else.
    pub(crate) fn client(&self, name: &str) -> ClientTlsBuilder {
        let mut roots = RootCertStore::empty();
        roots.add(self.proxy.ca.clone()).expect("the CA of the proxy is an anchor");
        ClientTls::to(name.trim_end_matches('.').trim_start_matches('[').trim_end_matches(']')).roots(roots)
    }

    /// Asks for this host, as CONNECT target and as SNI.
    pub(crate) async fn ask(&mut self, host: &str) -> Outcome {
        let tls = self.client(host).build();
        self.ask_with(host, &tls).await
    }

    /// Asks for this host from another address of this machine.
    pub(crate) async fn ask_from(&mut self, client: Ipv4Addr, host: &str) -> Outcome {
        let tls = self.client(host).build();
        let client =
            RawClient::connect_from(client.into(), self.proxy.addr).await.expect("the proxy accepts connections");
        self.ask_over(client, host, &tls).await
    }

    /// Asks for this host as CONNECT target, with whatever TLS client.
    pub(crate) async fn ask_with(&mut self, host: &str, tls: &ClientTls) -> Outcome {
        let client = RawClient::connect(self.proxy.addr).await.expect("the proxy accepts connections");
        self.ask_over(client, host, tls).await
    }

    /// The same over a connection that stands already.
    pub(crate) async fn ask_over(&mut self, mut client: RawClient, host: &str, tls: &ClientTls) -> Outcome {
        let before = self.origin.tally().tcp_connections();
        let target = format!("{host}:{}", self.origin.port());
        let reply = client.connect_to(&target).await.expect("a reply");
        let handshake = match reply.status {
            200 => Some(converse(client, tls).await),
            _ => None,
        };
        let told = self.proxy.told().await;
        self.proxy.no_more_events();
        let dialled = told.event.upstream_address.is_some();
        let tally = self.origin.until("its connections have ended", |tally| {
            let arrived = tally.tcp_connections() > before || !dialled;
            arrived && tally.ended() == tally.tcp_connections()
        });
        let upstream = tally.await.expect("all that is dialled ends").connections.split_off(before);
        Outcome { reply, handshake, told, upstream }
    }
}

/// One request and its answer, and a clean end.
pub(crate) async fn converse(client: RawClient, tls: &ClientTls) -> Result<Session, TlsFailure> {
    let mut tls = client.tls(tls).await?;
    let answer = tls.get("host.example", "/balance").await?;
    tls.shutdown().await?;
    let (rest, _) = tls.read_to_end().await?;
    assert!(rest.is_empty(), "nothing follows the answer");
    let certificates = tls.peer_certificates().to_vec();
    Ok(Session { certificates, resumed: tls.resumed(), answer: answer.text() })
}

/// A chain for a rule to judge, and the verdict expected.
pub(crate) struct Case<'a> {
    /// What the case is about.
    pub(crate) what: &'a str,
    /// The rules.
    pub(crate) toml: String,
    /// Upstream trust anchors.
    pub(crate) roots: Vec<&'a Ca>,
    /// What the origin presents.
    pub(crate) chain: Chain,
    /// What has to come of it.
    pub(crate) expected: Verdict,
}

/// Judges each case with a proxy and an origin of its own, and tells all that came out otherwise; the host is [`BANK`].
pub(crate) fn judge<'a>(cases: impl IntoIterator<Item = Case<'a>>) -> impl Future<Output = ()> {
    judge_each(cases.into_iter().collect())
}

async fn judge_each(cases: Vec<Case<'_>>) {
    let mut wrong = Vec::new();
    for Case { what, toml, roots, chain, expected } in cases {
        let proxy = ProxyBuilder::new(toml.as_str()).trusting(roots);
        let mut bench = Bench::start(proxy, OriginConfig::new(chain)).await;
        let outcome = bench.ask(BANK).await;
        let verdict = outcome.verdict();
        if verdict != expected {
            wrong.push(format!("{what}\n{toml}\nis       {verdict:?}\nexpected {expected:?}\n"));
        }
        assert!(outcome.closed_cleanly(), "{what}: {:?}", outcome.upstream);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A pinset "bank" for [`BANK`] with this list of pins (`pins`, `leaf_pins`, `ca_pins`).
pub(crate) fn bank(list: &str, pins: &[&str]) -> String {
    bank_with(list, pins, "")
}

/// The same with further lines.
pub(crate) fn bank_with(list: &str, pins: &[&str], more: &str) -> String {
    pinset("bank", BANK, list, pins, more)
}

/// A pinset of any name for any host pattern. Beside a pin that stands alone it has one that nobody shows, because one
/// pin is too few to be enforced.
pub(crate) fn pinset(name: &str, host: &str, list: &str, pins: &[&str], more: &str) -> String {
    let mut pins: Vec<_> = pins.iter().map(ToString::to_string).collect();
    if pins.len() == 1 && !more.contains("backup") {
        pins.push(Key::p256().pin());
    }
    format!("[[pinset]]\nname = \"{name}\"\nhosts = [\"{host}\"]\n{list} = {pins:?}\n{more}\n")
}

/// A blocklist entry "stolen" for one key.
pub(crate) fn blocklist(pin: &str) -> String {
    format!("[[blocklist]]\nname = \"stolen\"\nspki = [\"{pin}\"]\nreason = \"test\"\n")
}

/// The detail of a chain that holds the key of [`blocklist`].
pub(crate) const STOLEN: &str = "the chain holds the blocked key \"stolen\" (test)";

/// The same of a pin-only host, which serves that key.
pub(crate) const STOLEN_SERVED: &str = "what is served holds the blocked key \"stolen\" (test)";

/// The pins of a leaf and of the authorities above it, as a path shows them.
pub(crate) fn path(leaf: &Chain, above: &[&Ca]) -> Vec<String> {
    std::iter::once(leaf.pin()).chain(above.iter().map(|ca| ca.pin())).collect()
}

/// Every kind of rule for [`BANK`] that verifies a chain, softest last, all but one with this pin at the leaf: its text,
/// its label, whether it is enforced.
pub(crate) fn every_rule(pin: &str) -> Vec<(String, &'static str, bool)> {
    const PAST: &str = "2020-01-01T00:00:00Z";
    let with = |more: &str| bank_with("leaf_pins", &[pin], more);
    let ended = |then: &str| with(&format!("[pinset.expiry]\nat = {PAST}\nthen = {then:?}"));
    let exempt = pinset("bank", "**.bank.example", "leaf_pins", &[pin], "") + &exempt("2100-01-01T00:00:00Z");
    vec![
        (bank("leaf_pins", &[pin]), "bank", true),
        (with("mode = \"report-only\""), "bank", false),
        (bank_with("leaf_pins", &[&Key::p256().pin()], "mode = \"report-only\""), "bank", false),
        (ended("report-only"), "bank", false),
        (ended("unpinned"), "bank", false),
        (with("mode = \"off\""), "bank", false),
        (exempt, "exempt", false),
        (String::new(), "unpinned", false),
    ]
}

/// An exemption of [`BANK`] until this moment (RFC 3339).
pub(crate) fn exempt(until: &str) -> String {
    format!("[[exempt]]\nhosts = [{BANK:?}]\nreason = \"test\"\nuntil = {until}\n")
}

/// A moment as a configuration states it.
pub(crate) fn rfc3339(moment: OffsetDateTime) -> String {
    moment.format(&Rfc3339).expect("a moment of this century has a text")
}
