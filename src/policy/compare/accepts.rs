//! Whether the pins of one pinset accept all that the pins of another one accept.

use super::{Aspect, Difference, Direction};
use crate::policy::pin::Pin;
use crate::policy::pinset::{Accepts, Clause, Combine, Position};
use std::collections::{BTreeSet, HashSet};

/// Where lists and inherited lists combine into more alternatives than this, nobody tells which side is stricter.
const COMBINATIONS_MAX: usize = 256;

/// A pin at the end entity (`true`) or above it. A pin for any position is one or the other.
type Atom = (bool, Pin);

/// Atoms one of which is needed.
type OneOf = HashSet<Atom>;

/// Lists all of which are needed.
type AllOf = Vec<OneOf>;

/// How the pins of two pinsets differ.
pub(super) fn difference(old: &Accepts, new: &Accepts) -> Option<Difference> {
    if old == new {
        return None;
    }
    let direction = match (implies(new, old), implies(old, new)) {
        (true, true) => return None,
        (true, false) => Direction::Stricter,
        (false, true) => Direction::Looser,
        (false, false) => Direction::Both,
    };
    let (before, after) = (listed(old), listed(new));
    let removed = before.difference(&after).cloned().collect();
    let added = after.difference(&before).cloned().collect();
    let shapes = (shape(old), shape(new));
    let lists = Difference::lists(Aspect::Pins, direction, removed, added);
    Some(if shapes.0 == shapes.1 { lists } else { Difference { old: Some(shapes.0), new: Some(shapes.1), ..lists } })
}

/// Whether every path that satisfies `one` satisfies `other`; `false` where that cannot be told.
///
/// Both are monotone: an alternative of lists, all of which have to be met, satisfies a list exactly when one of its
/// own lists is a part of that list. That keys exclude each other at the end entity is left out of account.
fn implies(one: &Accepts, other: &Accepts) -> bool {
    let Some(needed) = every_needed(&alternatives(other)) else { return false };
    let alternatives = alternatives(one);
    alternatives.iter().all(|lists| needed.iter().all(|need| lists.iter().any(|list| list.is_subset(need))))
}

/// The pins as alternatives, one for the pinset and one for each that it inherits from.
fn alternatives(accepts: &Accepts) -> Vec<AllOf> {
    let levels = std::iter::successors(Some(accepts), |accepts| accepts.inherited());
    let alternative = |level: &Accepts| {
        let lists = level.own_clauses().iter().map(atoms);
        match level.combine() {
            Combine::All => lists.collect(),
            Combine::Any => vec![lists.flatten().collect()],
        }
    };
    levels.map(alternative).collect()
}

/// The same as lists all of which are needed; `None` where there are too many of them.
fn every_needed(alternatives: &[AllOf]) -> Option<AllOf> {
    let mut needed = vec![OneOf::new()];
    for lists in alternatives {
        if needed.len() * lists.len() > COMBINATIONS_MAX {
            return None;
        }
        needed = needed.iter().flat_map(|sofar| lists.iter().map(move |list| sofar | list)).collect();
    }
    Some(needed)
}

fn atoms(clause: &Clause) -> OneOf {
    let places: &[bool] = match clause.position() {
        Position::Leaf => &[true],
        Position::Ca => &[false],
        Position::Anywhere => &[true, false],
    };
    clause.pins().iter().flat_map(|pin| places.iter().map(move |leaf| (*leaf, *pin))).collect()
}

/// Every pin with the list it stands in, inherited ones included.
fn listed(accepts: &Accepts) -> BTreeSet<String> {
    let list = |position| match position {
        Position::Leaf => "leaf_pins",
        Position::Ca => "ca_pins",
        Position::Anywhere => "pins",
    };
    let clauses = accepts.clauses();
    clauses
        .flat_map(|clause| clause.pins().iter().map(move |pin| format!("{} {pin}", list(clause.position()))))
        .collect()
}

/// How the lists go together.
fn shape(accepts: &Accepts) -> String {
    let own = match (accepts.own_clauses().len(), accepts.combine()) {
        (1, _) => "one list".to_owned(),
        (count, Combine::All) => format!("all of {count} lists"),
        (count, Combine::Any) => format!("any of {count} lists"),
    };
    accepts.inherited().map_or(own.clone(), |inherited| format!("{own}, or inherited: {}", shape(inherited)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Position::{Anywhere, Ca, Leaf};

    /// Lists of a pinset, or of one that it inherits from.
    type Level<'a> = (Combine, &'a [(Position, &'a [u8])]);

    fn accepts(levels: &[Level<'_>]) -> Accepts {
        let one = |(combine, lists): &Level<'_>| {
            let clauses = lists.iter().map(|(position, keys)| {
                Clause::new(*position, keys.iter().map(|key| Pin::Spki([*key; 32])).collect()).unwrap()
            });
            Accepts::new(clauses.collect(), *combine).unwrap()
        };
        levels.iter().map(one).reduce(Accepts::inheriting).unwrap()
    }

    /// Every path of up to three keys out of five, held against both: the order of strictness by brute force.
    fn by_trial(old: &Accepts, new: &Accepts) -> (bool, bool) {
        let element = |key: u8| crate::policy::pinset::PathElement { spki: [key; 32], certificate: None };
        let keys = 1..=5_u8;
        let paths = keys.clone().flat_map(|a| {
            let keys = keys.clone();
            keys.clone().flat_map(move |b| keys.clone().map(move |c| [element(a), element(b), element(c)]))
        });
        let (mut looser, mut stricter) = (false, false);
        for path in paths.flat_map(|path| [path[..1].to_vec(), path[..2].to_vec(), path.to_vec()]) {
            let verdicts = (old.judge(&path).is_some(), new.judge(&path).is_some());
            looser |= verdicts == (false, true);
            stricter |= verdicts == (true, false);
        }
        (looser, stricter)
    }

    #[test]
    fn the_order_of_pins_is_that_of_what_they_accept() {
        use Combine::{All, Any};
        let table: &[&[Level<'_>]] = &[
            &[(All, &[(Leaf, &[1])])],
            &[(All, &[(Leaf, &[1, 2])])],
            &[(All, &[(Leaf, &[2, 3])])],
            &[(All, &[(Anywhere, &[1])])],
            &[(All, &[(Anywhere, &[1, 2])])],
            &[(All, &[(Ca, &[1])])],
            &[(All, &[(Ca, &[3, 4])])],
            &[(All, &[(Leaf, &[1, 2]), (Ca, &[3, 4])])],
            &[(Any, &[(Leaf, &[1, 2]), (Ca, &[3, 4])])],
            &[(All, &[(Leaf, &[1]), (Ca, &[3, 4])])],
            &[(Any, &[(Leaf, &[1]), (Ca, &[1])])],
            &[(All, &[(Leaf, &[1])]), (All, &[(Leaf, &[2])])],
            &[(All, &[(Leaf, &[1])]), (All, &[(Leaf, &[2]), (Ca, &[3])])],
            &[(All, &[(Leaf, &[1]), (Ca, &[4])]), (All, &[(Leaf, &[2]), (Ca, &[3])]), (Any, &[(Ca, &[5])])],
        ];
        for old in table {
            for new in table {
                let (one, other) = (accepts(old), accepts(new));
                let found = difference(&one, &other).map(|difference| difference.direction);
                let expected = match by_trial(&one, &other) {
                    (false, false) => None,
                    (true, false) => Some(Direction::Looser),
                    (false, true) => Some(Direction::Stricter),
                    (true, true) => Some(Direction::Both),
                };
                assert_eq!(found, expected, "{old:?} to {new:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_told_loosens() {
        use Combine::All;
        let direction = |old: &[Level<'_>], new: &[Level<'_>]| {
            difference(&accepts(old), &accepts(new)).map(|difference| difference.direction)
        };
        // As many levels as make too many combinations, and one more, which changes nothing.
        let level: Level<'_> = (All, &[(Leaf, &[1]), (Ca, &[2]), (Anywhere, &[3])]);
        assert_eq!(direction(&[level; 9], &[level; 10]), Some(Direction::Both));
        // That the end entity has but one key, so that 4 stands above it, is not seen: not "looser" alone.
        let exclusive: Level<'_> = (All, &[(Leaf, &[1]), (Anywhere, &[4])]);
        assert_eq!(direction(&[exclusive], &[(All, &[(Leaf, &[1]), (Ca, &[4])])]), Some(Direction::Stricter));
        assert_eq!(direction(&[(All, &[(Leaf, &[1]), (Ca, &[4])])], &[exclusive]), Some(Direction::Looser));
    }

    #[test]
    fn pins_are_told_with_their_lists() {
        let old = accepts(&[(Combine::All, &[(Leaf, &[1, 2])])]);
        let new = accepts(&[(Combine::Any, &[(Leaf, &[2]), (Ca, &[3])])]);
        let text = |list: &str, key: u8| format!("{list} {}", Pin::Spki([key; 32]));
        let expected = Difference {
            aspect: Aspect::Pins,
            direction: Direction::Both,
            since: None,
            old: Some("one list".into()),
            new: Some("any of 2 lists".into()),
            removed: vec![text("leaf_pins", 1)],
            added: vec![text("ca_pins", 3)],
        };
        assert_eq!(difference(&old, &new), Some(expected));
    }
}
