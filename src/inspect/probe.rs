//! Connects to a pinned host in the way of a session, and looks at everything that it shows.

use super::seen::{Outcome, Seen};
use crate::config::Config;
use crate::materials::Materials;
use crate::policy::access::{Access, AccessError, Ports};
use crate::policy::host::{Authority, DnsName, Host};
use crate::policy::moment::Circumstances;
use crate::policy::pattern::{HostPattern, Scope};
use crate::policy::rules::{Policy, Rule, RuleKind};
use crate::tls::client::{SessionVerifier, config};
use crate::tls::survey::Survey;
use crate::tls::verify::Question;
use crate::upstream::dial::{Bounds, DialError, dial};
use crate::upstream::doors::Doors;
use crate::upstream::handshake::{HandshakeError, handshake};
use crate::upstream::resolve::{Resolve, Resolving};
use crate::upstream::way::{Outward, Way};
use rustls::pki_types::CertificateDer;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Hosts that are connected to at a time.
pub const PROBES_AT_ONCE_MAX: usize = 16;
/// The port of a host that is pinned on all of them.
const PORT: NonZeroU16 = NonZeroU16::new(443).unwrap();
/// Other ports that are thought of where clients may not go to that one.
const OTHER_PORTS_MAX: usize = 16;

/// A pinned host to connect to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where to.
    pub authority: Authority,
    /// The rule of its pinset.
    pub(super) rule: Arc<Rule>,
    /// The place of its pattern among the hosts of the rule.
    pub(super) index: usize,
    /// Whether its pattern is for no port that has not been thought of.
    is_of_known_ports: bool,
}

/// What a host showed.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The address that answered.
    /// `None` where a parent proxy looked it up.
    pub(super) address: Option<SocketAddr>,
    /// What it served, end entity first.
    pub(super) served: Vec<CertificateDer<'static>>,
    pub(super) survey: Survey,
}

/// A host that could not be looked at.
#[derive(Debug)]
pub struct Unseen {
    /// Why.
    pub error: ProbeError,
    /// The address that answered, or those that did not.
    pub(super) addresses: Vec<SocketAddr>,
}

/// Why a host could not be looked at. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The access rules forbid it to every client.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// There is one, and the TLS handshake failed without a word about certificates.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The trust anchors of the rule were not loaded.
    #[error("the trust anchors of this pinset are not known")]
    Anchors,
}

/// Everything that probes share.
#[derive(Debug)]
pub struct Prober {
    policy: Arc<Policy>,
    materials: Materials,
    access: Access,
    way: Way,
    resolver: Arc<dyn Resolve>,
    limit: Duration,
    now: SystemTime,
}

impl Prober {
    /// For the hosts of a configuration; `limit` is for the connection, and again for the TLS handshake.
    pub fn new(
        config: &Config,
        materials: Materials,
        resolver: Arc<dyn Resolve>,
        limit: Duration,
        now: SystemTime,
    ) -> Self {
        let way = Way::of(&config.upstream, materials.parent_tls.clone());
        let (policy, access) = (Arc::new(config.policy(1)), config.access.clone());
        Self { policy, materials, access, way, resolver, limit, now }
    }

    /// The hosts to connect to, and those patterns that name no host, or one that another rule decides for.
    pub fn targets(&self) -> (Vec<Target>, Vec<Seen>) {
        let (mut targets, mut skipped) = (Vec::new(), Vec::new());
        for rule in self.policy.rules().iter().filter(|rule| rule.pinset().is_some()) {
            for (index, pattern) in rule.hosts.iter().enumerate() {
                match self.target(rule, index, pattern) {
                    Ok(target) => targets.push(target),
                    Err(why) => skipped.push(Seen::without(pattern, (rule.label(), index), Outcome::Skipped, why)),
                }
            }
        }
        (targets, skipped)
    }

    fn target(&self, rule: &Arc<Rule>, index: usize, pattern: &HostPattern) -> Result<Target, String> {
        let Scope::Exact(host) = &pattern.scope else {
            return Err("a wildcard names no host to connect to".to_owned());
        };
        let authority = Authority { host: host.clone(), port: pattern.port.unwrap_or_else(|| self.port(host)) };
        let winner = self.policy.select(&authority, self.now);
        if Arc::ptr_eq(winner, rule) {
            let is_of_known_ports = pattern.port.is_some() || self.knows_all_ports();
            return Ok(Target { authority, rule: Arc::clone(rule), index, is_of_known_ports });
        }
        Err(match &winner.kind {
            RuleKind::Exempt { .. } => format!("{authority} is exempt for now"),
            _ => format!("for {authority} the rule {:?} decides", winner.label()),
        })
    }

    /// Where a host is looked at that is pinned on all ports: on the usual one, unless clients may not go there.
    fn port(&self, host: &Host) -> NonZeroU16 {
        let listed: &[NonZeroU16] = if let Ports::Only(ports) = &self.access.ports { ports } else { &[] };
        let mut ports = std::iter::once(PORT).chain(listed.iter().copied().take(OTHER_PORTS_MAX));
        let may_be_reached =
            |port: &NonZeroU16| self.access.check_target(&Authority { host: host.clone(), port: *port }).is_ok();
        ports.find(may_be_reached).unwrap_or(PORT)
    }

    /// Whether [`Self::port`] thinks of every port that clients may go to.
    const fn knows_all_ports(&self) -> bool {
        matches!(&self.access.ports, Ports::Only(ports) if ports.len() <= OTHER_PORTS_MAX)
    }

    /// Connects to a host, and looks at everything that it shows.
    ///
    /// # Errors
    /// [`Unseen`].
    pub async fn probe(&self, target: &Target) -> Result<Sight, Unseen> {
        let trail = Trail::new(Arc::clone(&self.resolver), &target.authority);
        let looked = self.look(target, &trail).await;
        looked.map_err(|error| Unseen { error, addresses: trail.addresses(&self.access) })
    }

    async fn look(&self, target: &Target, trail: &Trail) -> Result<Sight, ProbeError> {
        self.access.check_target(&target.authority)?;
        // As sessions do it: the usual guess, and nothing for a host that takes neither.
        let usual = [b"h2".to_vec(), b"http/1.1".to_vec()];
        match self.shake(target, &usual, trail).await {
            Err(ProbeError::Handshake(HandshakeError::NoApplicationProtocol)) => self.shake(target, &[], trail).await,
            done => done,
        }
    }

    /// What a host came to that served these certificates.
    #[cfg(test)]
    pub(super) fn sight_of(&self, target: &Target, served: &[CertificateDer<'static>]) -> Sight {
        let question = self.question(target).expect("anchors");
        let survey = question.survey(served, &self.circumstances());
        Sight { address: Some(SocketAddr::from(([192, 0, 2, 1], 443))), served: served.to_vec(), survey }
    }

    fn circumstances(&self) -> Circumstances {
        Circumstances::new(self.now, Ipv4Addr::LOCALHOST.into())
    }

    fn question(&self, target: &Target) -> Result<Question, ProbeError> {
        Ok(Question {
            anchors: Arc::clone(self.materials.anchors_of(&target.rule).ok_or(ProbeError::Anchors)?),
            revocation: Arc::clone(&self.materials.revocation),
            policy: Arc::clone(&self.policy),
            rule: Arc::clone(&target.rule),
            host: target.authority.host.clone(),
        })
    }

    async fn shake(&self, target: &Target, alpn: &[Vec<u8>], trail: &Trail) -> Result<Sight, ProbeError> {
        let (question, circumstances) = (Arc::new(self.question(target)?), self.circumstances());
        let bounds = Bounds { access: &self.access, doors: &Doors::default() };
        let outward = Outward { way: &self.way, hops: None };
        let dialled = dial(&target.authority, bounds, outward, trail, self.limit).await?;
        trail.set(dialled.address.into_iter().collect());
        let verifier = Arc::new(SessionVerifier::once(Arc::clone(&question), circumstances));
        let identity = self.materials.identity_for(&target.authority.host, target.authority.port);
        let config = config(&verifier, alpn, identity);
        let shaken = handshake(dialled.stream, config, &verifier, &question, &circumstances, self.limit).await?;
        let served = shaken.attempt.served;
        let survey = question.survey(&served, &circumstances);
        Ok(Sight { address: dialled.address, served: served.to_vec(), survey })
    }
}

/// Resolves for a probe, and remembers what became of the host. A parent proxy may have a name, too.
#[derive(Debug)]
struct Trail {
    resolver: Arc<dyn Resolve>,
    host: Host,
    port: u16,
    addresses: Mutex<Vec<SocketAddr>>,
}

impl Trail {
    fn new(resolver: Arc<dyn Resolve>, authority: &Authority) -> Self {
        let port = authority.port.get();
        let known = match &authority.host {
            Host::Address(address) => vec![SocketAddr::new(*address, port)],
            Host::Name(_) => Vec::new(),
        };
        Self { resolver, host: authority.host.clone(), port, addresses: Mutex::new(known) }
    }

    fn set(&self, addresses: Vec<SocketAddr>) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Those that were dialled; where none may be, all of them.
    fn addresses(self, access: &Access) -> Vec<SocketAddr> {
        let all = self.addresses.into_inner().unwrap_or_else(PoisonError::into_inner);
        let allowed: Vec<_> =
            all.iter().filter(|address| access.check_address(address.ip()).is_ok()).copied().collect();
        if allowed.is_empty() { all } else { allowed }
    }
}

impl Resolve for Trail {
    fn resolve<'a>(&'a self, name: &'a DnsName) -> Resolving<'a> {
        Box::pin(async move {
            let found = self.resolver.resolve(name).await?;
            if self.host.name() == Some(name) {
                self.set(found.iter().map(|address| SocketAddr::new(address.to_canonical(), self.port)).collect());
            }
            Ok(found)
        })
    }
}

impl Unseen {
    /// What the access rules have against the host, if it is that.
    pub(super) const fn forbidden(&self) -> Option<&AccessError> {
        match &self.error {
            ProbeError::Access(error) | ProbeError::Dial(DialError::Denied(error)) => Some(error),
            _ => None,
        }
    }
}

impl Target {
    /// Whether an error of the access rules leaves nothing of its pattern, and not just the port that was looked at.
    pub(super) const fn is_closed_by(&self, error: &AccessError) -> bool {
        match error {
            AccessError::Host(_, pattern) if pattern.port.is_none() => true,
            AccessError::Port(_) | AccessError::Host(..) => self.is_of_known_ports,
            AccessError::Client(_)
            | AccessError::Unspecified(_)
            | AccessError::Door { .. }
            | AccessError::Unknown(_)
            | AccessError::Address { .. } => true,
        }
    }

    /// The name of its pinset.
    pub fn pinset(&self) -> &str {
        self.rule.label()
    }

    /// Whether it is an address, which a certificate has to name as one.
    pub(super) const fn is_address(&self) -> bool {
        matches!(self.authority.host, Host::Address(_))
    }
}
