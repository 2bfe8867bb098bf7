//! The order of strictness: what two rules for one host differ in, and to which end.

use super::{Aspect, Difference, Direction, accepts, key_text};
use crate::policy::explain::{denied_keys, name_check_words, plaintext_word, validity_check_word};
use crate::policy::host::Authority;
use crate::policy::moment::Moment;
use crate::policy::pinset::{Basis, NameCheck, Pinset, Plaintext, ValidityCheck};
use crate::policy::protection::Protection;
use crate::policy::rules::{Policy, Rule};

/// The rule of a host at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    policy: &'a Policy,
    rule: &'a Rule,
    protection: Protection,
}

impl<'a> Standing<'a> {
    pub(super) fn of(policy: &'a Policy, authority: &Authority, moment: Moment) -> Self {
        let rule = policy.select(authority, moment);
        Self { policy, rule, protection: Protection::of(rule, moment) }
    }

    /// Whether the upstream is looked at, and may be found good.
    fn intercepts(&self) -> bool {
        !matches!(self.protection, Protection::Tunnel | Protection::Refused)
    }

    /// The pinset, while its pins are judged.
    fn judged(&self) -> Option<&'a Pinset> {
        self.rule.pinset().filter(|_| self.protection.judges_pins())
    }

    /// The checks of the certificate that a pinset may leave out, while the pin is what trust rests on.
    fn pin_only(&self) -> Option<(&'a NameCheck, ValidityCheck)> {
        match &self.judged()?.basis {
            Basis::PinOnly { name, validity, .. } => Some((name, *validity)),
            Basis::Chain { .. } => None,
        }
    }
}

/// What two rules for one host differ in. Each aspect has an order of its own, from loose to strict; where two things
/// cannot be ordered, something passes on either side that the other refuses. This function is the whole of it:
///
/// | aspect | from loose to strict |
/// |---|---|
/// | protection | tunnel, chain without pins, report-only, enforced for some, for more, for all, everything refused |
/// | trust | none: pin-only asks for no chain, roots for no key of its own |
/// | trust anchors | none: what a source of anchors holds is not looked at |
/// | verify_name | skip, any name; two different names are not ordered |
/// | verify_validity | ignore, check |
/// | pins | what accepts more, what accepts less |
/// | deny | fewer keys, more keys |
/// | plaintext | allow, upgrade, deny |
/// | hold | a lower rate, which holds a rollout sooner, a higher one, none |
pub(super) fn differences(old: &Standing<'_>, new: &Standing<'_>) -> Vec<Difference> {
    // The common case of a configuration with a small change.
    if old.rule.kind == new.rule.kind {
        return Vec::new();
    }
    let mut found = Vec::new();
    found.extend(protection(old, new));
    if old.intercepts() && new.intercepts() {
        found.extend(basis(old, new));
        found.extend(deny(old, new));
    }
    if let (Some(old), Some(new)) = (old.judged(), new.judged()) {
        found.extend(accepts::difference(old.accepts(), new.accepts()));
    }
    if let (Some(old), Some(new)) = (old.rule.pinset(), new.rule.pinset()) {
        found.extend(hold(old, new));
        found.extend(ordered(
            Aspect::Plaintext,
            (strictness_of_plaintext(old.plaintext), plaintext_word(old.plaintext)),
            (strictness_of_plaintext(new.plaintext), plaintext_word(new.plaintext)),
        ));
    }
    found
}

fn ordered<T: Ord>(aspect: Aspect, old: (T, impl Into<String>), new: (T, impl Into<String>)) -> Option<Difference> {
    let direction = Direction::between(&old.0, &new.0)?;
    Some(Difference::words(aspect, direction, old.1, new.1))
}

fn protection(old: &Standing<'_>, new: &Standing<'_>) -> Option<Difference> {
    let (before, after) = (old.protection, new.protection);
    let words = |aspect, direction| Some(Difference::words(aspect, direction, before.to_string(), after.to_string()));
    match Direction::between(&before, &after) {
        // The lots of the clients depend on the name: some who were enforced are not any more.
        _ if matches!((before, after), (Protection::Partly(_), Protection::Partly(_)))
            && old.rule.label() != new.rule.label() =>
        {
            words(Aspect::Clients, Direction::Both)
        }
        None => None,
        Some(direction) if old.rule.pinset().is_some() && before > Protection::Chain && after <= Protection::Chain => {
            words(Aspect::Unpinned, direction)
        }
        Some(direction) if before <= Protection::Chain && after.judges_pins() => words(Aspect::NewlyPinned, direction),
        Some(direction) => words(Aspect::Protection, direction),
    }
}

/// Trust, and the checks that go with it. Where a chain is verified, name and dates always are.
fn basis(old: &Standing<'_>, new: &Standing<'_>) -> Vec<Difference> {
    const CHAIN: (&NameCheck, ValidityCheck) = (&NameCheck::San, ValidityCheck::Check);
    let mut found = Vec::new();
    let trust = |pin_only| if pin_only { "pin-only" } else { "roots" };
    match (old.pin_only(), new.pin_only()) {
        (None, None) => {
            let anchors = |side: &Standing<'_>| {
                let own = side.rule.pinset().and_then(Pinset::own_anchors);
                own.map_or_else(|| "the common ones".to_owned(), |source| format!("{source:?}"))
            };
            let (old, new) = (anchors(old), anchors(new));
            if old != new {
                found.push(Difference::words(Aspect::TrustAnchors, Direction::Both, old, new));
            }
        }
        (Some(_), Some(_)) => {}
        (before, after) => found.push(Difference::words(
            Aspect::Trust,
            Direction::Both,
            trust(before.is_some()),
            trust(after.is_some()),
        )),
    }
    let ((old_name, old_validity), (new_name, new_validity)) =
        (old.pin_only().unwrap_or(CHAIN), new.pin_only().unwrap_or(CHAIN));
    if old_name != new_name {
        let direction = match (old_name, new_name) {
            (_, NameCheck::Skip) => Direction::Looser,
            (NameCheck::Skip, _) => Direction::Stricter,
            _ => Direction::Both,
        };
        let (old, new) = (name_check_words(old_name), name_check_words(new_name));
        found.push(Difference::words(Aspect::VerifyName, direction, old, new));
    }
    found.extend(ordered(
        Aspect::VerifyValidity,
        (old_validity == ValidityCheck::Check, validity_check_word(old_validity)),
        (new_validity == ValidityCheck::Check, validity_check_word(new_validity)),
    ));
    found
}

/// A key that moves between a pinset's own list and the blocklist is refused all the same.
fn deny(old: &Standing<'_>, new: &Standing<'_>) -> Option<Difference> {
    let only_in = |one: &Standing<'_>, other: &Standing<'_>| {
        let keys = one.rule.pinset().into_iter().flat_map(denied_keys);
        let mut texts: Vec<_> =
            keys.filter(|key| other.policy.blocked(other.rule, key).is_none()).map(|key| key_text(&key)).collect();
        texts.sort_unstable();
        texts
    };
    let (removed, added) = (only_in(old, new), only_in(new, old));
    Direction::of_refused(&removed, &added).map(|direction| Difference::lists(Aspect::Deny, direction, removed, added))
}

fn hold(old: &Pinset, new: &Pinset) -> Option<Difference> {
    let rate = |pinset: &Pinset| {
        let hold = pinset.rollout()?.hold();
        let words = hold.map_or_else(|| "none".to_owned(), |rate| rate.fraction().to_string());
        // Without a limit nothing holds it, as if no rate were over it.
        Some(((hold.is_none(), hold), words))
    };
    ordered(Aspect::Hold, rate(old)?, rate(new)?)
}

const fn strictness_of_plaintext(plaintext: Plaintext) -> u8 {
    match plaintext {
        Plaintext::Allow => 0,
        Plaintext::Upgrade => 1,
        Plaintext::Deny => 2,
    }
}
