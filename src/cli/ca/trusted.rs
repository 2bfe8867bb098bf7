//! `pinproxy ca install` and `pinproxy ca uninstall`: the CA in the trust stores of this machine.

use super::super::rows::Rows;
use super::super::{Exit, Failure, print};
use super::Which;
use crate::trust::public::{Identity, PublicCa, with_colons};
use crate::trust::stores::{CarryError, Family, Machine, Order, Outcome, Plan, Step, quoted};
use clap::ValueEnum;
use serde_json::{Value, json};
use std::path::Path;

/// Have the CA trusted by this machine
///
/// Without --store in all trust stores that are there: that of the system (Debian, Red Hat, Arch and SUSE families,
/// macOS), the databases of Firefox and Chromium of the user who runs this, and those of the Javas. What trusts it already
/// is left as it is. Programs read their store when they start.
///
/// Ends with 0 when all of these stores trust it, and with 3 when one of them could not be changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  pinproxy ca install --dry-run\n  pinproxy ca install --store nss\n  \
                        sudo pinproxy ca install --store system --config /etc/pinproxy/pinproxy.toml")]
pub(super) struct Install {
    #[command(flatten)]
    what: What,
}

/// Take the CA out of the trust stores of this machine again
///
/// Removes what `pinproxy ca install` has put there of this very certificate, and nothing else: what others have put there,
/// and other CAs of pinproxy, stay. CAs that `pinproxy ca rotate` has retired or given up go with it. It has to be done while
/// the files of the CA are still there.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sudo pinproxy ca uninstall --store system --config /etc/pinproxy/pinproxy.toml")]
pub(super) struct Uninstall {
    #[command(flatten)]
    what: What,
}

#[derive(Debug, clap::Args)]
struct What {
    #[command(flatten)]
    which: Which,
    /// Stores of this kind alone; may be given several times
    #[arg(long, value_enum, value_name = "KIND")]
    store: Vec<Kind>,
    /// Tell what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    System,
    Nss,
    Java,
}

impl From<Kind> for Family {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::System => Self::System,
            Kind::Nss => Self::Nss,
            Kind::Java => Self::Java,
        }
    }
}

/// What came of one plan.
type Carried = Result<Outcome, CarryError>;

pub(super) fn install(arguments: &Install) -> Result<Exit, Failure> {
    let What { which, .. } = &arguments.what;
    // What has ended, or not begun, no client would take from any store.
    let ca = which.valid(&which.config()?)?;
    carry_out(&arguments.what, &ca, Order::Install)
}

pub(super) fn uninstall(arguments: &Uninstall) -> Result<Exit, Failure> {
    let What { which, .. } = &arguments.what;
    let directory = which.directory(&which.config()?)?;
    let ca = PublicCa::load_with_retired(&directory).map_err(Failure::unreachable)?;
    carry_out(&arguments.what, &ca, Order::Uninstall)
}

fn carry_out(what: &What, ca: &PublicCa, order: Order) -> Result<Exit, Failure> {
    let machine = Machine::this();
    let plans = plans(what, ca, order, &machine)?;
    if what.dry_run {
        print(&if what.json { format!("{:#}", planned(&plans)) } else { intended(ca, &plans) })?;
        return Ok(Exit::Done);
    }
    let carried: Vec<(&Plan, Carried)> = plans.iter().map(|plan| (plan, plan.carry_out(&machine))).collect();
    print(&if what.json { format!("{:#}", told(&carried)) } else { text(ca, &carried) })?;
    let failed = carried.iter().filter_map(|(plan, result)| Some((plan, result.as_ref().err()?)));
    let failed: Vec<_> = failed.map(|(plan, error)| told_of_failure(plan, error, ca)).collect();
    if failed.is_empty() { Ok(Exit::Done) } else { Err(Failure::unreachable(failed.join("\n"))) }
}

/// A plan for each store that is there, of those that are asked for.
fn plans(what: &What, ca: &PublicCa, order: Order, machine: &Machine) -> Result<Vec<Plan>, Failure> {
    let asked: Vec<Family> = what.store.iter().map(|kind| Family::from(*kind)).collect();
    let stores = machine.stores(order);
    for family in &asked {
        if stores.iter().all(|store| store.family != *family) {
            return Err(Failure::unreachable(nothing_there(*family)));
        }
    }
    if stores.is_empty() {
        return Err(Failure::unreachable("no trust store is there that this program knows"));
    }
    let wanted = stores.iter().filter(|store| asked.is_empty() || asked.contains(&store.family));
    let plans = wanted.flat_map(|store| ca.anchors.iter().filter_map(|anchor| store.plan(machine, anchor, order)));
    Ok(plans.collect())
}

fn nothing_there(family: Family) -> String {
    let why = match family {
        Family::System => "this system has none of the folders of a store that is known; install ca-certificates",
        Family::Nss => "this user has no database of Firefox or Chromium; start one of them once",
        Family::Java => "there is no Java in the usual places, and JAVA_HOME names none with lib/security/cacerts",
    };
    format!("no trust store of the kind {family}: {why}")
}

/// Of a failure, with what to do.
fn told_of_failure(plan: &Plan, error: &CarryError, ca: &PublicCa) -> String {
    let text = format!("{} {}: {error}", plan.family, plan.place);
    match (error, plan.family) {
        // Root's own folder has other databases.
        (CarryError::Rights(_), Family::Nss) => format!("{text}; run this as the user whose it is"),
        (CarryError::Rights(_), family) => {
            let order = if plan.order == Order::Install { "install" } else { "uninstall" };
            let folder = ca.path.parent().unwrap_or_else(|| Path::new("."));
            let folder = quoted(&folder.display().to_string());
            format!("{text}; run: sudo pinproxy ca {order} --store {family} --ca-dir {folder}")
        }
        _ => text,
    }
}

fn heading(ca: &PublicCa) -> Rows {
    let mut rows = Rows::default();
    rows.row("CA", &ca.path.display().to_string());
    for identity in ca.anchors.iter().filter_map(Identity::of) {
        rows.row("SHA-256", &with_colons(&identity.sha256));
    }
    if let Some(uid) = ca.stranger {
        rows.row("owner", &format!("uid {uid}, who has its key"));
    }
    rows
}

fn intended(ca: &PublicCa, plans: &[Plan]) -> String {
    let mut rows = heading(ca);
    for plan in plans {
        rows.row(plan.family.word(), &plan.place);
        plan.steps.iter().for_each(|step| rows.more(&format!("  {step}")));
    }
    rows.into_text()
}

fn text(ca: &PublicCa, carried: &[(&Plan, Carried)]) -> String {
    let mut rows = heading(ca);
    for (plan, result) in carried {
        let outcome = result.as_ref().map_or("not done", |outcome| words(*outcome));
        rows.row(plan.family.word(), &format!("{}: {outcome}", plan.place));
    }
    rows.into_text()
}

const fn words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Installed => "installed",
        Outcome::AlreadyInstalled => "installed before",
        Outcome::TrustedByOthers => "trusts it already, by somebody else's hand",
        Outcome::Removed => "removed",
        Outcome::NothingToRemove => "nothing to remove",
        Outcome::LeftToOthers => "still trusts it, by somebody else's hand, which is left as it is",
    }
}

fn planned(plans: &[Plan]) -> Value {
    let plan = |plan: &Plan| {
        let steps: Vec<_> = plan.steps.iter().map(Step::to_json).collect();
        json!({ "store": plan.family.word(), "place": plan.place, "steps": steps })
    };
    Value::Array(plans.iter().map(plan).collect())
}

fn told(carried: &[(&Plan, Carried)]) -> Value {
    let told = |(plan, result): &(&Plan, Carried)| match result {
        Ok(outcome) => json!({ "store": plan.family.word(), "place": plan.place, "outcome": outcome.word() }),
        Err(error) => json!({ "store": plan.family.word(), "place": plan.place, "error": error.to_string() }),
    };
    Value::Array(carried.iter().map(told).collect())
}
