//! Where patterns end: the name that a wildcard does not hold, or that another rule takes, and exemptions that leave nothing.

use super::super::super::code::Code;
use super::super::super::item::Located;
use super::super::super::pinsets::PinsetDraft;
use super::super::Read;
use super::super::hosts::shared;
use super::{Owner, Ruled, Rules, apex, subtree_above, with_port};
use crate::policy::access::Ports;
use crate::policy::host::Host;
use crate::policy::pattern::{HostPattern, Scope};
use crate::policy::rules::Unpinned;
use std::collections::BTreeSet;
use std::num::NonZeroU16;

/// Where sessions usually go.
const HTTPS: NonZeroU16 = NonZeroU16::new(443).unwrap();

impl Rules<'_> {
    /// `*.domain` decides for the name itself of a subtree below it, though the subtree looks narrower.
    pub(super) fn warn_of_weaker_apex(&self, index: usize, host: &Located<HostPattern>) -> bool {
        let Scope::Subtree(name) = &host.value.scope else { return false };
        let Some(above) = subtree_above(&host.value.scope).and_then(|above| Host::parse(above).ok()?.name().cloned())
        else {
            return false;
        };
        let any = HostPattern { scope: Scope::OneLabel(above), port: None };
        let found = self.ports_of_apex(&any, &apex(name, host.value.port)).into_iter().find_map(|port| {
            let itself = apex(name, port);
            let is_ruled = self.ruled_on(&apex(name, None), port).is_some();
            let (wide, owner) = self.ruled_on(&any, port).filter(|_| !is_ruled && self.denied_by(&itself).is_none())?;
            let Owner::Pinset(owner) = owner else { return None };
            Some((itself, wide, self.weaker(owner, Owner::Pinset(index))?))
        });
        let Some((itself, wide, (weak, strict))) = found else { return false };
        let message = format!("{itself} falls under {} of {weak:?}, which is weaker than {strict:?}", wide.value);
        let help = format!("add \"{itself}\": for one label a pattern with * goes before one with **");
        self.subject.findings.conflict(Code::W24, &host.span, message, (&wide.span, "this one decides"), help);
        true
    }

    /// The ports on which different patterns may decide for the name of a subtree; nothing stands for all others.
    fn ports_of_apex(&self, any: &HostPattern, itself: &HostPattern) -> Vec<Option<NonZeroU16>> {
        if itself.port.is_some() {
            return vec![itself.port];
        }
        let named = self.ports_of([any, itself].into_iter());
        let others = match &self.subject.access.ports {
            Ports::AllButSmtp => true,
            Ports::Only(ports) => {
                let is_open = |port: &NonZeroU16| self.denied_by(&with_port(itself, *port)).is_none();
                ports.iter().any(|port| !named.contains(port) && is_open(port))
            }
        };
        named.into_iter().map(Some).chain(others.then_some(None)).collect()
    }

    /// The rule for exactly these hosts that decides on a port; on those that no rule names when absent.
    fn ruled_on(&self, pattern: &HostPattern, port: Option<NonZeroU16>) -> Option<Ruled<'_>> {
        let on_port = port.and_then(|port| self.patterns.get(&with_port(pattern, port)));
        on_port.or_else(|| self.patterns.get(pattern)).copied()
    }

    /// `*.domain`, and no rule for `domain` on some port.
    pub(super) fn warn_of_apex(&self, index: usize, host: &Located<HostPattern>) {
        let Scope::OneLabel(domain) = &host.value.scope else { return };
        // Where nobody gets to hosts without a rule, nobody gets there without pins.
        if self.subject.defaults.unpinned == Unpinned::Deny {
            return;
        }
        let off = Read::of(&self.subject.drafts[index]).is_none_or(|pinset| pinset.is_off());
        let itself = apex(domain, host.value.port);
        let around = || std::iter::once(itself.clone()).chain(itself.wider());
        if off || shared(domain).is_some() || around().any(|pattern| self.patterns.contains_key(&pattern)) {
            return;
        }
        let around: Vec<_> = around().collect();
        let held = if itself.port.is_some() { BTreeSet::new() } else { self.ports_of(around.iter()) };
        let open = match (itself.port, &self.subject.access.ports) {
            (None, Ports::Only(ports)) => {
                let open =
                    |port: &&NonZeroU16| !held.contains(port) && self.denied_by(&with_port(&itself, **port)).is_none();
                ports.iter().find(open).map(|port| with_port(&itself, *port))
            }
            _ => Some(itself.clone()).filter(|itself| self.denied_by(itself).is_none()),
        };
        let Some(open) = open else { return };
        let message = if itself.port.is_none() && held.is_empty() {
            format!("{} does not hold {domain}, and no other rule does", host.value)
        } else if open.port.is_some() {
            format!("{} does not hold {domain}, and no other rule holds {open}", host.value)
        } else {
            format!("{} does not hold {domain}, and other rules do on some ports only", host.value)
        };
        let help = format!("add \"{itself}\", or write \"**.{domain}\", which holds it and every depth");
        self.subject.findings.warning(Code::W25, &host.span, message, help);
    }

    /// Exemptions for the usual port of all hosts of a pinset.
    pub(super) fn warn_of_exempt_pinset(&self, draft: &PinsetDraft) {
        let Some(pinset) = Read::of(draft).filter(|pinset| !pinset.is_off()) else { return };
        if !self.subject.access.allows_port(HTTPS) {
            return;
        }
        let exemption = |host: &Located<HostPattern>| {
            // Where each port has a rule of its own, the host is told as one that decides nothing.
            let is_told = || self.shadow(&host.value).is_some();
            let (hole, owner) = self.patterns.get(&with_port(&host.value, HTTPS))?;
            (host.value.port.is_none() && *owner == Owner::Exemption && !is_told()).then_some(*hole)
        };
        let holes: Option<Vec<_>> = draft.hosts.iter().map(exemption).collect();
        if let Some(hole) = holes.and_then(|holes| holes.first().copied()) {
            let message = format!("on port {HTTPS} all hosts of the pinset {:?} are exempt", pinset.name);
            let help = "exempt only the hosts that need it; to look at a pinset first, write mode = \"report-only\"";
            let note = (&draft.span, "this one, which is left with other ports alone");
            self.subject.findings.conflict(Code::W27, &hole.span, message, note, help);
        }
    }
}
