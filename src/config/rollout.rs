//! `[pinset.rollout]`: from dates and shares to steps.

use super::code::Code;
use super::item::Item;
use super::shape::{Key, Keys, Shape};
use super::table::Table;
use crate::policy::pinset::{Mode, Stance};
use crate::policy::rollout::{Rate, Rollout, RolloutError, Share, Step};

pub(super) const ROLLOUT: Keys = Keys::new(&[
    Key::new("ramp", Shape::List(&Shape::Table(&STEP)), "Steps in the order of time, their percents rising."),
    Key::new("enforce_from", Shape::Moment, "From then on every client is enforced.").required(),
    Key::new(
        "hold_if_violations_over",
        Shape::Decimal(&(0.0..=1.0)),
        "Stay at the step where more than this part of the sessions of the last hour are violations.",
    ),
]);
const STEP: Keys = Keys::new(&[
    Key::new("from", Shape::Moment, "When it begins.").required(),
    Key::new("percent", Shape::Decimal(&(0.0..=100.0)), "The part of the clients that is enforced from then on.")
        .required(),
]);

/// What a mismatch does, and for whom: the mode, or the rollout that leads away from report-only.
pub(super) fn read_stance(table: &Table<'_>, mode: Option<Mode>) -> Option<Stance> {
    let Some(rollout) = table.table("rollout") else { return mode.map(Stance::Fixed) };
    let read = read_rollout(&rollout);
    if mode? != Mode::ReportOnly {
        let span = table.item("mode").map_or_else(|| rollout.span, |item| item.span());
        let message = "a rollout leads from report-only to enforce, and this pinset is not report-only";
        let help = "write mode = \"report-only\" in this pinset, or remove its rollout";
        table.findings.error(Code::E56, &span, message, help);
        return None;
    }
    read.map(Stance::Rollout)
}

fn read_rollout(table: &Table<'_>) -> Option<Rollout> {
    let help = "write enforce_from = 2027-02-08T00:00:00Z: from then on every client is enforced";
    let enforce_from = table.required("enforce_from", Code::E14, help).and_then(|item| item.moment());
    let hold = table.item("hold_if_violations_over").map(|item| read_rate(&item));
    let rows = table.item("ramp").map(|item| item.elements().unwrap_or_default()).unwrap_or_default();
    let steps: Vec<_> = rows.iter().map(read_step).collect();
    let steps: Option<Vec<_>> = steps.into_iter().collect();
    let (enforce_from, steps) = (enforce_from?, steps?);
    let hold = hold.map_or(Some(None), |rate| rate.map(Some))?;
    let nobody = steps.iter().position(|step| step.share.percent() <= 0.0);
    match Rollout::new(steps, enforce_from.value, hold) {
        Ok(rollout) => Some(rollout),
        Err((index, RolloutError::Share)) if nobody == Some(index) => {
            let span = rows.get(index).map_or_else(|| table.span, Item::span);
            let help = "write a percent above 0, or remove the step: before the first one nobody is enforced";
            table.findings.error(Code::E56, &span, "a step enforces for somebody, and this one for nobody", help);
            None
        }
        Err((index, error)) => {
            let span = rows.get(index).map_or_else(|| table.span, Item::span);
            let help = match error {
                RolloutError::Order => "put the steps in the order of time",
                RolloutError::Share => "let percent rise from step to step: a client that is enforced stays enforced",
                RolloutError::AfterEnd => "move enforce_from behind the last step, or remove the step",
            };
            table.findings.error(Code::E56, &span, error.to_string(), help);
            None
        }
    }
}

fn read_step(item: &Item<'_>) -> Option<Step> {
    let table = item.table()?;
    let from = table.required("from", Code::E14, "write from = 2027-01-11T00:00:00Z").and_then(|item| item.moment());
    let percent = table.required("percent", Code::E14, "write percent = 5")?;
    let share = Share::from_percent(percent.decimal()?);
    if share.is_none() {
        let message = "percent is a number from 0 to 100, as exact as 0.01";
        let help = "write the part of the clients that is enforced from then on";
        table.findings.error(Code::E56, &percent.span(), message, help);
    }
    Some(Step { from: from?.value, share: share? })
}

fn read_rate(item: &Item<'_>) -> Option<Rate> {
    let rate = Rate::from_fraction(item.decimal()?);
    if rate.is_none() {
        item.refuse("is no fraction from 0 to 1, as exact as a millionth", "write 0.001 for one session in a thousand");
    }
    rate
}
