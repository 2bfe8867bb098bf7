//! What has become of reports and traces. There are series of what the configuration sends to somebody, and no others.

use super::series::Families;
use crate::operate::StatusOfReports;
use crate::report::TraceCounts;
use std::fmt;
use std::time::SystemTime;

pub(super) fn reports(families: &mut Families<'_>, reports: &StatusOfReports, now: SystemTime) -> fmt::Result {
    families.gauge("reports_unspooled", "Reports in memory, on their way to the spool", &reports.unspooled)?;
    families.gauge("reports_spooled", "Reports in the spool", &reports.spooled)?;
    families.gauge("reports_spooled_bytes", "The octets of the reports in the spool", &reports.spooled_bytes)?;
    let oldest = reports.oldest.and_then(|oldest| now.duration_since(oldest).ok()).unwrap_or_default();
    let help = "How long the oldest report in the spool has waited; 0 where none waits";
    families.gauge("reports_oldest_seconds", help, &oldest.as_secs_f64())?;
    let usable = u64::from(reports.spool_trouble.is_none());
    families.gauge("reports_spool_usable", "1 while the spool can be read and written, else 0", &usable)?;
    let help = "Violations for which no report was sent, because the like was reported before";
    families.counter("reports_suppressed", help, reports.suppressed)?;
    let lost = [("before-spool", reports.lost_before_spool), ("spool-max", reports.lost_over_spool_max)];
    let lost = lost.map(|(reason, count)| ([("reason", reason)], count));
    families.counters("reports_lost", "Reports that nobody gets", lost)?;
    let receivers = || reports.receivers.iter();
    let waiting = receivers().map(|to| ([("receiver", &to.receiver)], to.waiting));
    families.gauges("reports_waiting", "Reports in the spool that a receiver is not done with", waiting)?;
    let attempts = receivers().flat_map(|to| {
        let attempts = [("taken", to.taken), ("refused", to.refused), ("failed", to.failed)];
        attempts.map(|(outcome, count)| ([("receiver", to.receiver.as_str()), ("outcome", outcome)], count))
    });
    families.counters("report_attempts", "Attempts to send a report", attempts)?;
    let expired = receivers().map(|to| ([("receiver", &to.receiver)], to.expired));
    families.counters("reports_expired", "Reports that have become too old to be sent to a receiver", expired)
}

pub(super) fn traces(families: &mut Families<'_>, counts: &TraceCounts) -> fmt::Result {
    families.counter("traces_sent", "Traces that the collector has taken", counts.sent())?;
    families.counter("traces_lost", "Traces that did not get to the collector", counts.lost())
}
