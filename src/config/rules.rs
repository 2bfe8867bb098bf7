//! `[[exempt]]`, `[[tunnel]]`, and what must not happen between rules: two of them for one host, holes that nobody
//! meant.

use super::code::Code;
use super::findings::Findings;
use super::item::{Item, Located};
use super::lint::refuse_mixed_scripts;
use super::pinsets::{Defaults, End, PinsetDraft, whole_days};
use super::shape::{ANY, HOST, Key, Keys, Shape};
use super::table::Table;
use crate::policy::host::{DnsName, Host};
use crate::policy::pattern::{HostPattern, Scope, ancestors, parent};
use crate::policy::rules::{Rule, RuleKind};
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

pub(super) const EXEMPT: Keys = Keys::new(&[
    Key::new("hosts", Shape::Filled(&Shape::Text(HOST)), "Host patterns; the chain is still verified.").required(),
    Key::new("reason", Shape::Text(ANY), "Why.").required(),
    Key::new("until", Shape::Moment, "From then on the pins around it are judged again.").required(),
]);
pub(super) const TUNNEL: Keys = Keys::new(&[
    Key::new("hosts", Shape::Filled(&Shape::Text(HOST)), "Host patterns, none of them inside a pinset.").required(),
    Key::new("reason", Shape::Text(ANY), "Why.").required(),
]);

/// How far off the end of an exemption may be: two years. By then its reason has changed, or it is no exemption.
const EXEMPTION_MAX: Duration = Duration::from_secs(731 * 24 * 60 * 60);

/// A rule as far as it could be read.
pub(super) struct RuleDraft {
    /// Absent when something is wrong with it, which has been reported.
    kind: Option<RuleKind>,
    hosts: Vec<Located<HostPattern>>,
}

/// The patterns under `hosts`, which must be there; `missing` is the code to report otherwise.
pub(super) fn read_hosts(table: &Table<'_>, missing: Code) -> Vec<Located<HostPattern>> {
    let help = "write hosts = [\"api.bank.example\"]";
    let items = table.required("hosts", missing, help).and_then(|item| item.some_elements()).unwrap_or_default();
    let mut patterns = Vec::with_capacity(items.len());
    for text in items.iter().filter_map(Item::text) {
        refuse_mixed_scripts(table.findings, &text);
        match HostPattern::parse(text.value) {
            Ok(value) => patterns.push(Located { value, span: text.span }),
            Err(error) => {
                let help = "write host, host:port, *.domain (one label) or **.domain (itself and every depth)";
                let message = format!("{:?} is no host pattern: {error}", text.value);
                table.findings.error(Code::E20, &text.span, message, help);
            }
        }
    }
    patterns
}

/// The rules that are no pinsets.
pub(super) struct Holes {
    exempts: Vec<RuleDraft>,
    tunnels: Vec<RuleDraft>,
}

impl Holes {
    pub(super) fn read(root: &Table<'_>, defaults: &Defaults, now: SystemTime) -> Self {
        Self { exempts: read_exempts(root, defaults, now), tunnels: read_tunnels(root) }
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = &Located<HostPattern>> {
        self.exempts.iter().chain(&self.tunnels).flat_map(|draft| &draft.hosts)
    }

    /// Hosts of exemptions that are not over.
    pub(super) fn exempt(&self, now: SystemTime) -> impl Iterator<Item = &Located<HostPattern>> {
        let is_over =
            move |draft: &&RuleDraft| matches!(draft.kind, Some(RuleKind::Exempt { until, .. }) if until <= now);
        self.exempts.iter().filter(move |draft| !is_over(draft)).flat_map(|draft| &draft.hosts)
    }

    /// Hosts of tunnels.
    pub(super) fn tunnelled(&self) -> impl Iterator<Item = &Located<HostPattern>> {
        self.tunnels.iter().flat_map(|draft| &draft.hosts)
    }
}

/// The pinsets, the exemptions and the tunnels as rules; meant for use only when nothing was reported.
pub(super) fn join_rules(findings: &Findings, pinsets: Vec<PinsetDraft>, holes: Holes) -> Vec<Rule> {
    let Holes { exempts, tunnels } = holes;
    let pinned = PinnedHosts::new(&pinsets);
    for host in exempts.iter().flat_map(|draft| &draft.hosts) {
        if pinned.overruled_by(&host.value).is_none() && !pinned.holds(&host.value) {
            let message = format!("{} exempts nothing: no pinset holds it, or a more specific one wins", host.value);
            let help = "an exemption is a hole in a wider pinset; for hosts without pins use [[tunnel]], or nothing";
            findings.error(Code::E26, &host.span, message, help);
        }
    }
    for host in tunnels.iter().flat_map(|draft| &draft.hosts) {
        if let Some(victim) = pinned.overruled_by(&host.value) {
            let message =
                format!("the tunnel {} is a hole without an end in the pinset for {}", host.value, victim.value);
            let help = "write [[exempt]] with a reason and an end, or narrow the pinset";
            findings.conflict(Code::E27, &host.span, message, (&victim.span, "pinned here"), help);
        }
    }
    let pinsets =
        pinsets.into_iter().map(|draft| RuleDraft { kind: draft.pinset.map(RuleKind::Pinned), hosts: draft.hosts });
    let drafts: Vec<_> = pinsets.chain(exempts).chain(tunnels).collect();
    refuse_duplicates(findings, &drafts);
    let rules = drafts.into_iter().filter_map(|draft| {
        let hosts = draft.hosts.into_iter().map(|host| host.value).collect();
        Some(Rule { kind: draft.kind?, hosts })
    });
    rules.collect()
}

fn read_exempts(root: &Table<'_>, defaults: &Defaults, now: SystemTime) -> Vec<RuleDraft> {
    let tables = root.tables("exempt");
    let drafts = tables.iter().map(|table| {
        let hosts = read_hosts(table, Code::E26);
        let reason = table.required("reason", Code::E26, "say why, as in reason = \"CHG-4711\"");
        let until = table.required("until", Code::E26, "say until when, as in until = 2027-03-01T00:00:00Z");
        let reason = reason.and_then(|item| item.words());
        let until = until.and_then(|item| item.moment());
        if let Some(until) = &until {
            warn_of_end(table.findings, until, defaults, now);
        }
        let kind = reason
            .zip(until)
            .map(|(reason, until)| RuleKind::Exempt { reason: reason.value.to_owned(), until: until.value });
        RuleDraft { kind, hosts }
    });
    drafts.collect()
}

fn warn_of_end(findings: &Findings, until: &Located<SystemTime>, defaults: &Defaults, now: SystemTime) {
    match defaults.end(until.value, now) {
        End::Far if until.value.duration_since(now).is_ok_and(|left| left > EXEMPTION_MAX) => {
            let message = "the exemption ends in more than two years, which is as good as never";
            let help = "write a day on which somebody will look at it again";
            findings.warning(Code::W27, &until.span, message, help);
        }
        End::Far => {}
        End::Near { days } => {
            let message = format!("the exemption ends in {}", whole_days(days));
            findings.warning(Code::W53, &until.span, message, "from then on the pins around it are judged");
        }
        End::Over => findings.warning(Code::W26, &until.span, "the exemption is over and has no effect", "remove it"),
    }
}

fn read_tunnels(root: &Table<'_>) -> Vec<RuleDraft> {
    let tables = root.tables("tunnel");
    let drafts = tables.iter().map(|table| {
        let hosts = read_hosts(table, Code::E14);
        let help = "say why, as in reason = \"pins its own certificate\"";
        let reason = table.required("reason", Code::E14, help).and_then(|item| item.words());
        RuleDraft { kind: reason.map(|reason| RuleKind::Tunnel { reason: reason.value.to_owned() }), hosts }
    });
    drafts.collect()
}

fn refuse_duplicates(findings: &Findings, drafts: &[RuleDraft]) {
    let mut first_seen = HashMap::new();
    let mut hosts: Vec<_> = drafts.iter().flat_map(|draft| &draft.hosts).collect();
    hosts.sort_by_key(|host| host.span);
    for host in hosts {
        let first = *first_seen.entry(&host.value).or_insert(&host.span);
        if *first != host.span {
            let message = format!("{} is given twice", host.value);
            let help = "keep one; for a host a single rule decides, and rules are never merged";
            findings.conflict(Code::E21, &host.span, message, (first, "first given here"), help);
        }
    }
}

type Places<'a> = Vec<&'a Located<HostPattern>>;

/// The patterns of the pinsets, found by the hosts they hold.
#[derive(Default)]
struct PinnedHosts<'a> {
    by_scope: HashMap<&'a Scope, Places<'a>>,
    one_label: HashMap<&'a str, Places<'a>>,
    subtree: HashMap<&'a str, Places<'a>>,
    /// Subtrees by the name above their apex.
    subtree_below: HashMap<&'a str, Places<'a>>,
}

impl<'a> PinnedHosts<'a> {
    fn new(pinsets: &'a [PinsetDraft]) -> Self {
        let mut pinned = Self::default();
        for host in pinsets.iter().flat_map(|draft| &draft.hosts) {
            pinned.by_scope.entry(&host.value.scope).or_default().push(host);
            match &host.value.scope {
                Scope::Exact(_) => {}
                Scope::OneLabel(suffix) => pinned.one_label.entry(suffix.as_str()).or_default().push(host),
                Scope::Subtree(suffix) => {
                    pinned.subtree.entry(suffix.as_str()).or_default().push(host);
                    if let Some(above) = parent(suffix.as_str()) {
                        pinned.subtree_below.entry(above).or_default().push(host);
                    }
                }
            }
        }
        pinned
    }

    fn holds(&self, pattern: &HostPattern) -> bool {
        self.by_scope.get(&pattern.scope).is_some_and(|places| places.iter().any(|place| place.value == *pattern))
    }

    /// A pinned pattern that would lose some host to this one (the order of [`crate::policy::rules::Policy::select`]).
    fn overruled_by(&self, hole: &HostPattern) -> Option<&'a Located<HostPattern>> {
        let same_scope = self.by_scope.get(&hole.scope).into_iter().flatten();
        let all_ports = same_scope.copied().find(|place| place.value.port.is_none() && hole.port.is_some());
        let wider: Box<dyn Iterator<Item = &Places<'a>>> = match &hole.scope {
            Scope::Exact(Host::Address(_)) => Box::new(std::iter::empty()),
            Scope::Exact(Host::Name(name)) => {
                let above = parent(name.as_str()).and_then(|above| self.one_label.get(above));
                Box::new(above.into_iter().chain(self.subtrees_above(name)))
            }
            Scope::OneLabel(suffix) => {
                Box::new(self.subtrees_above(suffix).chain(self.subtree_below.get(suffix.as_str())))
            }
            Scope::Subtree(suffix) => Box::new(self.subtrees_above(suffix)),
        };
        all_ports.or_else(|| {
            let mut wider = wider.flatten().copied();
            wider.find(|place| place.value.scope != hole.scope && place.value.overlaps(hole))
        })
    }

    fn subtrees_above<'n>(&self, name: &'n DnsName) -> impl Iterator<Item = &Places<'a>> + use<'_, 'n, 'a> {
        ancestors(name.as_str()).filter_map(|suffix| self.subtree.get(suffix))
    }
}
