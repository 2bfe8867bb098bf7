//! The lists of pins of a pinset: from names and texts to what a path has to satisfy.

use super::code::Code;
use super::findings::Findings;
use super::item::{Item, Located, Word};
use super::keys::Blocklist;
use super::pinsets::{Surroundings, Trust};
use super::roles::{ListedPin, Role};
use super::span::Span;
use super::table::Table;
use crate::policy::pin::{Pin, Sha256};
use crate::policy::pinset::{Accepts, Clause, Combine, Position};
use std::collections::HashMap;

pub(super) const COMBINES: &[Word<Combine>] = &[("all", Some(Combine::All)), ("any", Some(Combine::Any))];

/// The lists, by the key they are written under.
const LISTS: [(&str, Position); 3] =
    [("leaf_pins", Position::Leaf), ("ca_pins", Position::Ca), ("pins", Position::Anywhere)];

/// A list as it was written, backups that belong to it included.
pub(super) struct List {
    pub(super) key: &'static str,
    pub(super) position: Position,
    pub(super) span: Span,
    pub(super) pins: Vec<ListedPin>,
    /// How many of the pins, at their end, are backups.
    pub(super) backups: usize,
}

impl List {
    pub(super) fn in_use(&self) -> &[ListedPin] {
        &self.pins[..self.pins.len() - self.backups]
    }

    pub(super) fn in_reserve(&self) -> &[ListedPin] {
        &self.pins[self.pins.len() - self.backups..]
    }
}

/// The pins of a pinset.
pub(super) struct ReadPins {
    /// Nothing when something is wrong with them, which has been reported.
    pub(super) accepts: Option<Accepts>,
    pub(super) lists: Vec<List>,
    /// Whether nothing is wrong with the lists or any entry of them.
    pub(super) sound: bool,
}

/// What the lists accept.
pub(super) fn read_pins(table: &Table<'_>, trust: Option<Trust>, around: &Surroundings<'_>) -> ReadPins {
    let mut sound = true;
    let mut lists = read_lists(table, &mut sound, around);
    if lists.is_empty() {
        let help = "write pins, leaf_pins or ca_pins; to let the host through unpinned, remove the pinset";
        table.findings.error(Code::E36, &table.span, "the pinset has no pins", help);
        return ReadPins { accepts: None, lists, sound: false };
    }
    read_backup(table, &mut lists, &mut sound, around);
    for list in &lists {
        sound &= check_list(table.findings, list, trust, around.blocklist);
    }
    if let Some(item) = table.item("ca_pins").filter(|_| trust == Some(Trust::PinOnly)) {
        let message = "ca_pins with trust = \"pin-only\": no chain is built, so no authority is ever seen";
        table.findings.error(Code::E60, &item.span(), message, "pin the host's own key in leaf_pins");
    }
    let combine = table.item("combine").map(|item| item.choice(COMBINES));
    if let ([first, second, ..], None) = (lists.as_slice(), &combine) {
        sound = false;
        let message = format!("{} and {}: nothing says how they go together", first.key, second.key);
        let help = "write combine = \"all\" (each list must be met) or combine = \"any\" (one is enough)";
        table.findings.conflict(Code::E37, &second.span, message, (&first.span, "the other list"), help);
    }
    let clauses = lists.iter().filter_map(|list| {
        let pins = list.pins.iter().map(|listed| listed.pin).collect();
        Clause::new(list.position, pins)
    });
    let accepts = combine.unwrap_or(Some(Combine::All)).and_then(|combine| Accepts::new(clauses.collect(), combine));
    ReadPins { accepts, lists, sound }
}

/// The keys that no chain of these hosts may contain.
pub(super) fn read_deny(table: &Table<'_>, lists: &[List], around: &Surroundings<'_>) -> Vec<Located<Sha256>> {
    let items = table.item("deny").and_then(|item| item.some_elements()).unwrap_or_default();
    let mut denied: HashMap<Sha256, Span> = HashMap::new();
    let mut keys = Vec::with_capacity(items.len());
    for listed in items.iter().filter_map(|item| around.ring.resolve(item)) {
        let Pin::Spki(digest) = listed.pin else {
            let help = "deny the key: a certificate for the same key is issued again easily";
            table.findings.error(Code::E05, &listed.span, "a certificate pin cannot be denied", help);
            continue;
        };
        let accepted = lists.iter().flat_map(|list| &list.pins).find(|accepted| accepted.key() == Some(digest));
        if let Some(accepted) = accepted {
            let help = "remove it from one of them; what is denied is refused, whatever else matches";
            let note = (&accepted.span, "accepted here");
            let message = match accepted.pin {
                Pin::Spki(_) => "this pin is accepted and denied",
                Pin::Certificate(_) => "this key is denied, and a certificate of it is accepted",
            };
            table.findings.conflict(Code::E38, &listed.span, message, note, help);
        }
        if let Some(first) = denied.insert(digest, listed.span) {
            let note = (&first, "first given here");
            table.findings.conflict(Code::E09, &listed.span, "this key is denied twice", note, "remove one");
        }
        keys.push(Located { value: digest, span: listed.span });
    }
    keys
}

/// The pins under a key; `sound` becomes false when one of them cannot be read.
fn resolve_all(item: &Item<'_>, sound: &mut bool, around: &Surroundings<'_>) -> Vec<ListedPin> {
    let items = item.some_elements();
    let pins: Vec<_> = items.iter().flatten().filter_map(|item| around.ring.resolve(item)).collect();
    *sound &= items.is_some_and(|items| items.len() == pins.len());
    pins
}

fn read_lists(table: &Table<'_>, sound: &mut bool, around: &Surroundings<'_>) -> Vec<List> {
    let lists = LISTS.into_iter().filter_map(|(key, position)| {
        let item = table.item(key)?;
        let pins = resolve_all(&item, sound, around);
        Some(List { key, position, span: item.span(), pins, backups: 0 })
    });
    lists.collect()
}

/// Backups join the list of their role, or the only list there is.
fn read_backup(table: &Table<'_>, lists: &mut [List], sound: &mut bool, around: &Surroundings<'_>) {
    let backups = table.item("backup").map(|item| resolve_all(&item, sound, around));
    for backup in backups.into_iter().flatten() {
        let position = match backup.role {
            Some(Role::Leaf) => Some(Position::Leaf),
            Some(Role::Intermediate | Role::Root) => Some(Position::Ca),
            None => None,
        };
        let own = lists.iter().position(|list| Some(list.position) == position);
        let anywhere = || lists.iter().position(|list| list.position == Position::Anywhere && position.is_some());
        let only = || (lists.len() == 1).then_some(0);
        if let Some(index) = own.or_else(anywhere).or_else(only) {
            lists[index].pins.push(backup);
            lists[index].backups += 1;
        } else {
            *sound = false;
            let help = "define the key under [keys] and give it a role: leaf, intermediate or root";
            let message = "this backup could belong to several lists";
            table.findings.error(Code::E37, &backup.span, message, help);
        }
    }
}

/// Whether each pin is there once.
fn check_list(findings: &Findings, list: &List, trust: Option<Trust>, blocklist: &Blocklist) -> bool {
    let mut first_seen = HashMap::new();
    for listed in &list.pins {
        check_role(findings, list, listed, trust);
        if let Some(first) = first_seen.insert(listed.pin, &listed.span) {
            let help = "remove it; a backup has to be another key than the one in use";
            let message = format!("this pin is twice in {}", list.key);
            findings.conflict(Code::E09, &listed.span, message, (first, "first given here"), help);
        }
        if let Some((entry, span)) = listed.key().and_then(|key| blocklist.get(&key)) {
            let message = match listed.pin {
                Pin::Spki(_) => format!("this pin is accepted here and blocked by {:?}", entry.name),
                Pin::Certificate(_) => {
                    format!("this certificate is accepted here and its key blocked by {:?}", entry.name)
                }
            };
            let help = "remove it here; the blocklist always wins";
            findings.conflict(Code::E38, &listed.span, message, (span, "blocked here"), help);
        }
    }
    first_seen.len() == list.pins.len()
}

/// Reports a key that the list can never see, unless its role has been reported: that is the one mistake.
fn check_role(findings: &Findings, list: &List, listed: &ListedPin, trust: Option<Trust>) {
    if listed.role_refused {
        return;
    }
    let (in_leaves, in_authorities) = (list.position == Position::Leaf, list.position == Position::Ca);
    let who = listed.described();
    let (code, message, help) = match trust {
        _ if in_authorities && listed.is_end_entity() => (Code::E13, format!("{who} in {}", list.key), BELONGS),
        // ca_pins are refused as a whole there.
        Some(Trust::PinOnly) if listed.is_authority() && !in_authorities => {
            let message = format!("{who} and trust = \"pin-only\": no authority is ever seen");
            (Code::E60, message, HOSTS_OWN)
        }
        Some(Trust::PinOnly) => return,
        _ if in_leaves && listed.is_authority() => (Code::E13, format!("{who} in {}", list.key), BELONGS),
        Some(Trust::Roots) if listed.shows_authority() && (in_leaves || listed.role == Some(Role::Leaf)) => {
            let message = format!(
                "{who} in {}: its certificate is an authority's (CA:TRUE), and no verified chain begins with one",
                list.key
            );
            let help = "write trust = \"pin-only\" for a host that is its own authority; roots belong into ca_pins";
            (Code::E13, message, help)
        }
        _ => return,
    };
    findings.error(code, &listed.span, message, help);
}

const HOSTS_OWN: &str = "pin the host's own key; if the host shows this certificate as its own, define the key under \
                         [keys] and write role = \"leaf\" there";

const BELONGS: &str = "leaf keys belong into leaf_pins, intermediate and root keys into ca_pins, any key into pins";
