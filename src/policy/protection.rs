//! How well a rule protects a host, in one order.

use super::moment::{Circumstances, Moment};
use super::pinset::{AfterExpiry, Demand};
use super::rollout::Share;
use super::rules::{Rule, RuleKind, Unpinned};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// What becomes of a connection that shows no pinned key. The later one is the stricter one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protection {
    /// Nobody looks: it is relayed blindly.
    Tunnel,
    /// The chain is verified, and there are no pins or they are not judged.
    Chain,
    /// It is let through and reported.
    Reported,
    /// It is refused for some clients, more than none and fewer than all, and reported for the others.
    Partly(Share),
    /// It is refused.
    Enforced,
    /// So is every other connection.
    Refused,
}

impl Protection {
    /// What a rule does at a moment, a rollout going by its dates.
    pub fn of(rule: &Rule, moment: Moment) -> Self {
        // Held at its beginning, a rollout shows what the rule does with the clients that it has not come to.
        let client = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let not_reached = Circumstances { hold: Some(0), ..Circumstances::new(moment, client) };
        match (&rule.kind, rule.demand(&not_reached)) {
            (RuleKind::Tunnel { .. } | RuleKind::Default(Unpinned::Tunnel), _) => Self::Tunnel,
            (RuleKind::Default(Unpinned::Deny), _) | (_, Demand::Expired) => Self::Refused,
            (_, Demand::Chain) => Self::Chain,
            (_, Demand::Pins { enforced: true, .. } | Demand::PinOnly { .. }) => Self::Enforced,
            (_, Demand::Pins { enforced: false, .. }) => Self::in_rollout(rule, moment),
        }
    }

    /// What a rule does with the connections of one client.
    pub fn for_client(rule: &Rule, moment: Moment, client: IpAddr) -> Self {
        match (Self::of(rule, moment), rule.demand(&Circumstances::new(moment, client))) {
            (Self::Partly(_), Demand::Pins { enforced: false, .. }) => Self::Reported,
            (Self::Partly(_), Demand::Pins { enforced: true, .. }) => Self::Enforced,
            (Self::Partly(_), Demand::Expired) => Self::Refused,
            (for_all, _) => for_all,
        }
    }

    /// Of a rule that reports for the clients that its rollout, if it has one, has not come to.
    fn in_rollout(rule: &Rule, moment: Moment) -> Self {
        let Some((pinset, rollout)) = rule.pinset().and_then(|pinset| Some((pinset, pinset.rollout()?))) else {
            return Self::Reported;
        };
        let end = pinset.expiry.filter(|_| pinset.has_ended(moment)).map(|expiry| expiry.then);
        match (rollout.share(rollout.step_at(moment)), end) {
            (_, Some(AfterExpiry::ReportOnly)) => Self::Reported,
            (share, _) if Share::from_percent(0.0) == Some(share) => Self::Reported,
            (Share::ALL, Some(AfterExpiry::FailClosed)) => Self::Refused,
            (Share::ALL, _) => Self::Enforced,
            (share, _) => Self::Partly(share),
        }
    }

    /// Whether pins are judged, or nothing passes at all.
    pub fn is_enforced(self) -> bool {
        self >= Self::Enforced
    }

    /// Whether pins are judged.
    pub fn judges_pins(self) -> bool {
        matches!(self, Self::Reported | Self::Partly(_) | Self::Enforced)
    }
}

/// For people.
impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tunnel => f.write_str("relayed blindly"),
            Self::Chain => f.write_str("not pinned"),
            Self::Reported => f.write_str("report-only"),
            Self::Partly(share) => write!(f, "enforced for {} % of the clients", share.percent()),
            Self::Enforced => f.write_str("enforced"),
            Self::Refused => f.write_str("always refused"),
        }
    }
}

/// One stable word.
impl Serialize for Protection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Tunnel => "tunnel",
            Self::Chain => "chain",
            Self::Reported => "report-only",
            Self::Partly(_) => "partly-enforced",
            Self::Enforced => "enforced",
            Self::Refused => "refused",
        })
    }
}
