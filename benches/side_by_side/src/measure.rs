//! What a tree of processes has used: processor time and memory, as the kernel counts them.

use crate::Result;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// What a proxy does within this time after its last answer was still asked of it: it writes logs, closes what is left and
/// gives memory back. The time is the same for all, whether or not they have something to do in it.
pub(crate) const AFTERWARDS: Duration = Duration::from_secs(1);

/// Allocators give back what is free a while after it is free, some in steps with seconds between them (jemalloc: all of it
/// within ten). Memory is looked at when this has passed since anything was done.
const MEMORY_SETTLES: Duration = Duration::from_secs(12);

/// The unit of times in /proc/PID/stat; the same on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// A process and all that come from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree {
    root: i32,
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident, with the share of each page that is used together with others.
    pub(crate) pss: u64,
    pub(crate) rss: u64,
}

/// A line of /proc/PID/stat.
struct Stat {
    parent: i32,
    /// Time of children that have ended and were waited for.
    ended_children: Duration,
}

impl Tree {
    pub(crate) fn of(root: i32) -> Self {
        Self { root }
    }

    /// User and system time so far: of the living to the nanosecond, of children that have ended in ticks.
    pub(crate) fn cpu(self) -> Duration {
        let mut sum = Duration::ZERO;
        for (process, stat) in self.processes() {
            sum += stat.ended_children;
            // One that ends right now is found among the ended children next time.
            let clock = clock_getcpuclockid(Pid::from_raw(process)).and_then(clock_gettime);
            sum += clock.map(Duration::from).unwrap_or_default();
        }
        sum
    }

    /// What is resident now.
    pub(crate) fn memory(self) -> Result<Memory> {
        let mut sum = Memory::default();
        for process in self.processes().into_keys() {
            let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
            let kib = |field: &str| -> Option<u64> {
                let line = text.lines().find_map(|line| line.strip_prefix(field))?;
                line.trim().strip_suffix(" kB")?.parse().ok()
            };
            sum.pss += kib("Pss:").ok_or("smaps_rollup without Pss")? * 1_024;
            sum.rss += kib("Rss:").ok_or("smaps_rollup without Rss")? * 1_024;
        }
        Ok(sum)
    }

    /// What is resident once the allocator has given back what it will.
    pub(crate) async fn settled_memory(self) -> Result<Memory> {
        tokio::time::sleep(MEMORY_SETTLES).await;
        self.memory()
    }

    /// Waits until the processor time stands still, so that what came before is not counted with what comes next.
    pub(crate) async fn settle(self) {
        const STEP: Duration = Duration::from_millis(20);
        const STILL: Duration = Duration::from_micros(400);
        const STEPS_MAX: usize = 50;
        let mut last = self.cpu();
        for _ in 0..STEPS_MAX {
            tokio::time::sleep(STEP).await;
            let now = self.cpu();
            if now.saturating_sub(last) < STILL {
                return;
            }
            last = now;
        }
    }

    /// The processes that there are now.
    pub(crate) fn members(self) -> Vec<i32> {
        self.processes().into_keys().collect()
    }

    fn processes(self) -> BTreeMap<i32, Stat> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let all: BTreeMap<i32, Stat> = numbers.filter_map(|process| Some((process, Stat::read(process)?))).collect();
        let belongs = |process: i32| {
            let mut at = process;
            while at != self.root {
                match all.get(&at) {
                    Some(stat) => at = stat.parent,
                    None => return false,
                }
            }
            true
        };
        let members: Vec<i32> = all.keys().copied().filter(|&process| belongs(process)).collect();
        let mut all = all;
        all.retain(|process, _| members.contains(process));
        all
    }
}

impl Stat {
    fn read(process: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name before may hold anything, blanks and parentheses too. Fields are numbered from 3 behind it.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u32>().ok();
        Some(Self { parent: i32::try_from(field(4)?).ok()?, ended_children: TICK * (field(16)? + field(17)?) })
    }
}

/// The middle of some values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { f64::midpoint(sorted[middle - 1], upper) })
}

/// The value that so many percent do not exceed.
pub(crate) fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or_default()
}
