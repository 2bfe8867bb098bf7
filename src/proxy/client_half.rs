//! The client's half of a session, behind the answer to its request: client_tls, and what is relayed with what.

use super::error::SessionError;
use super::record::Record;
use super::session::Session;
use super::sides::TUNNEL_BUFFER_BYTES;
use super::standing::{Listed, Seen, Shown};
use super::upstream_half::Verified;
use super::wire::Wire;
use crate::intercept::{ClientHello, HelloLimits, Prefixed, Terms, read_client_hello, read_opening, refuse};
use crate::policy::decision::Permit;
use crate::policy::host::{Authority, Host, HostError};
use crate::policy::rules::{Disagreement, Rule, RuleKind, Unpinned};
use crate::report::Stage;
use crate::upstream::dial::Dialled;
use crate::upstream::wire::Wire as UpstreamWire;
use rustls::HandshakeKind;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::BufReader;
use tokio::time::{Instant, sleep};

/// The client's connection, once it is a tunnel.
pub(super) type ClientStream = Prefixed<Wire>;

/// The two sides of a relay.
pub(super) enum Pair {
    Tls(Box<tokio_rustls::server::TlsStream<ClientStream>>, Box<tokio_rustls::client::TlsStream<UpstreamWire>>),
    Plain(Box<BufReader<ClientStream>>, Box<BufReader<UpstreamWire>>),
}

/// What the ClientHello led to.
enum Judged {
    Verified(Verified),
    Blind(Dialled, Permit),
}

impl Session {
    /// client_tls for an upstream that is verified already: the ClientHello has to ask for the same host.
    pub(super) async fn greet(
        &self,
        target: &Authority,
        mut client: ClientStream,
        verified: Verified,
        record: &mut Record,
        listed: &Listed,
    ) -> Result<Pair, SessionError> {
        let hello = self.client_hello(&mut client).await?;
        let agreed = async {
            let other = self.other_name(target, &hello, record)?;
            self.proxy.offers.remember(self.client_key, &hello.alpn);
            match other {
                None => self.suited(target, verified, &hello, record).await,
                Some((named, rule)) => {
                    drop(verified);
                    let dialled = self.dial(target, record).await?;
                    self.verified(target, dialled, &named.host, &rule, hello.alpn.clone(), record).await
                }
            }
        };
        match agreed.await {
            Ok(verified) => self.accept(target, client, hello, verified, record, listed).await,
            Err(error) => Err(turned_away(&mut client, error).await),
        }
    }

    /// The ClientHello first, then the rule: for a CONNECT to an address, and for default tunnels.
    pub(super) async fn judge_by_hello(
        &self,
        target: &Authority,
        mut client: ClientStream,
        dialled: Dialled,
        record: &mut Record,
        listed: &Listed,
    ) -> Result<Pair, SessionError> {
        let hello = self.client_hello(&mut client).await?;
        let judged = async {
            let (host, rule) = self.rule_by_hello(target, &hello, record)?;
            record.rule(&rule, &self.circumstances(&rule, &host, target.port));
            if let Some(permit) = Permit::tunnel(&rule, &host) {
                return Ok(Judged::Blind(dialled, permit));
            }
            if matches!(rule.kind, RuleKind::Default(Unpinned::Deny)) {
                return Err(SessionError::Unlisted(host));
            }
            let verified = self.verified(target, dialled, &host, &rule, hello.alpn.clone(), record).await?;
            Ok(Judged::Verified(verified))
        };
        match judged.await {
            Ok(Judged::Verified(verified)) => {
                record.at(Stage::ClientTls);
                self.accept(target, client, hello, verified, record, listed).await
            }
            Ok(Judged::Blind(dialled, permit)) => {
                Ok(self.blind(client.with_prefix(&hello.raw), dialled, &permit, record, listed))
            }
            Err(error) => Err(turned_away(&mut client, error).await),
        }
    }

    /// The host that the session is about, and its rule, once the ClientHello is known.
    fn rule_by_hello(
        &self,
        target: &Authority,
        hello: &ClientHello,
        record: &mut Record,
    ) -> Result<(Host, Arc<Rule>), SessionError> {
        let policy = &self.generation.policy;
        let name = match (&target.host, hello.server_name().map_err(SessionError::ServerNameForm)?) {
            (Host::Name(_), _) => {
                let other = self.other_name(target, hello, record)?;
                let own = || (target.host.clone(), Arc::clone(policy.select(target, self.moment)));
                return Ok(other.map_or_else(own, |(named, rule)| (named.host, rule)));
            }
            (Host::Address(_), None) => {
                return Ok((target.host.clone(), Arc::clone(policy.select(target, self.moment))));
            }
            (Host::Address(_), Some(name)) => name,
        };
        record.server_name(&name);
        record.judged_as(&name);
        let named = Authority { host: name, port: target.port };
        self.generation.access.check_target(&named)?;
        let rule = Arc::clone(policy.select_for_address(target, &named, self.moment)?);
        Ok((named.host, rule))
    }

    /// The host of the SNI and its rule, where it is not the host of the CONNECT and the operator allows that.
    fn other_name(
        &self,
        target: &Authority,
        hello: &ClientHello,
        record: &mut Record,
    ) -> Result<Option<(Authority, Arc<Rule>)>, SessionError> {
        let Some(host) = hello.server_name().map_err(SessionError::ServerNameForm)? else { return Ok(None) };
        record.server_name(&host);
        if host == target.host {
            return Ok(None);
        }
        let named = Authority { host, port: target.port };
        let Some(rule) = self.generation.policy.select_for_mismatch(target, &named, self.moment) else {
            return Err(SessionError::ServerName { asked: target.host.clone(), named: named.host });
        };
        self.generation.access.check_target(&named)?;
        record.judged_as(&named.host);
        Ok(Some((named, Arc::clone(rule))))
    }

    async fn client_hello(&self, client: &mut ClientStream) -> Result<ClientHello, SessionError> {
        match read_client_hello(client, self.hello_limits()).await {
            Ok(hello) => Ok(hello),
            Err(error) => Err(turned_away(client, error.into()).await),
        }
    }

    /// The octets of a whole ClientHello, and what has come behind it. A client whose ClientHello is none has been told.
    pub(super) async fn read_hello(&self, client: &mut ClientStream) -> Result<Vec<u8>, SessionError> {
        Ok(read_client_hello(client, self.hello_limits()).await?.raw)
    }

    fn hello_limits(&self) -> HelloLimits {
        HelloLimits { bytes: self.proxy.limits.client_hello_bytes, timeout: self.proxy.limits.client_hello_timeout }
    }

    async fn accept(
        &self,
        target: &Authority,
        client: ClientStream,
        hello: ClientHello,
        verified: Verified,
        record: &mut Record,
        listed: &Listed,
    ) -> Result<Pair, SessionError> {
        let Verified { permit, upstream, leaf_not_after, served, .. } = verified;
        let other = (*permit.host() != target.host).then(|| permit.host().clone());
        // From here on this chain counts, whichever it was before.
        let seen = Seen { address: record.event().upstream_address, shown: Shown::Chain(other, served) };
        listed.saw(seen, &self.verdict(record));
        let alpn = upstream.alpn.clone();
        let terms = Terms {
            alpn: alpn.as_deref(),
            ticket: self.proxy.resuming.next(self.client_key),
            upstream_not_after: leaf_not_after,
            at: self.when(),
        };
        let began = Instant::now();
        let accepted = self.proxy.acceptor.accept(&permit, hello, client, terms).await?;
        let (_, tls) = accepted.stream.get_ref();
        if tls.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.proxy.resuming.has_resumed(self.client_key);
        }
        record.client_handshake(began.elapsed());
        record.client_tls(tls.protocol_version(), Arc::clone(&accepted.leaf.serial));
        Ok(Pair::Tls(Box::new(accepted.stream), upstream.into_stream(&permit)))
    }

    /// A tunnel by its rule, unless the client names a pinned host in it: a tunnel opens no hole in a pinset. Where the
    /// upstream speaks first, and not as TLS, nothing is looked at.
    pub(super) async fn enter_tunnel(
        &self,
        target: &Authority,
        mut client: ClientStream,
        mut dialled: Dialled,
        permit: &Permit,
        record: &mut Record,
        listed: &Listed,
    ) -> Result<Pair, SessionError> {
        if !may_open_with_tls(&mut client, &mut dialled.stream, self.proxy.limits.idle_timeout).await {
            return Ok(self.blind(client, dialled, permit, record, listed));
        }
        let opening = read_opening(&mut client, self.hello_limits()).await.map_err(SessionError::from);
        let checked = opening.and_then(|opening| {
            opening.server_name.map_or(Ok(()), |name| self.check_tunnelled(target, name, record))?;
            Ok(opening.raw)
        });
        match checked {
            Ok(raw) => Ok(self.blind(client.with_prefix(&raw), dialled, permit, record, listed)),
            Err(error) => Err(turned_away(&mut client, error).await),
        }
    }

    fn check_tunnelled(
        &self,
        target: &Authority,
        name: Result<Host, HostError>,
        record: &mut Record,
    ) -> Result<(), SessionError> {
        let host = name.map_err(SessionError::ServerNameForm)?;
        record.server_name(&host);
        let named = Authority { host, port: target.port };
        self.generation.access.check_target(&named)?;
        let policy = &self.generation.policy;
        let (asked, found) = (policy.select(target, self.moment), policy.select(&named, self.moment));
        match found.pinset() {
            None => Ok(()),
            Some(_) => Err(Disagreement { address: asked.label().to_owned(), name: found.label().to_owned() }.into()),
        }
    }

    /// relay without looking, for which the rule gave the permit.
    fn blind(
        &self,
        client: ClientStream,
        dialled: Dialled,
        _permit: &Permit,
        record: &mut Record,
        listed: &Listed,
    ) -> Pair {
        record.tunnelled();
        let named = record.event().sni.as_deref().and_then(|name| Host::parse(name).ok());
        let seen = Seen { address: record.event().upstream_address, shown: Shown::Nothing(named) };
        listed.saw(seen, &self.verdict(record));
        let client = BufReader::with_capacity(TUNNEL_BUFFER_BYTES, client);
        let upstream = BufReader::with_capacity(TUNNEL_BUFFER_BYTES, dialled.stream);
        Pair::Plain(Box::new(client), Box::new(upstream))
    }
}

/// Whether a ClientHello may be what the client sends first. Not where the upstream speaks before it, unless what it says
/// looks like TLS: an upstream that sends the first byte of its answer early must not keep the ClientHello unread. Not
/// where nobody speaks for so long either.
async fn may_open_with_tls(client: &mut ClientStream, upstream: &mut UpstreamWire, wait: Duration) -> bool {
    /// ContentType of TLS records (RFC 8446 section 5.1).
    const TLS_RECORDS: RangeInclusive<u8> = 20..=23;
    if client.has_prefix() {
        return true;
    }
    tokio::select! {
        () = client.get_mut().readable() => true,
        first = upstream.first_octet() => matches!(first, Ok(Some(first)) if TLS_RECORDS.contains(&first)),
        () = sleep(wait) => false,
    }
}

/// Tells a client that waits for the answer to its ClientHello.
pub(super) async fn turned_away(client: &mut ClientStream, error: SessionError) -> SessionError {
    if let Some(alert) = error.alert() {
        refuse(client, alert).await;
    }
    error
}
