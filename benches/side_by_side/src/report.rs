//! The result: medians, ratios to the relay of the same round, a table, and JSON with everything.

use crate::Result;
use crate::measure::median;
use crate::modes::Mode;
use crate::rounds::{Occasion, Sample};
use crate::targets::Row;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Characters of a failure or a note that are told below the table; the JSON has all.
const TOLD_MAX: usize = 200;

/// What everything is compared with.
pub(crate) const REFERENCE: &str = "relay";

/// Where, when and with what.
#[derive(Debug, Serialize)]
pub(crate) struct Setting {
    date: String,
    processor: String,
    processors: usize,
    kernel: String,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    /// How long all of it took.
    pub(crate) minutes: f64,
    /// How many files a process may have open here.
    pub(crate) open_files: u64,
    pub(crate) proxies: Vec<Version>,
    /// Proxies that are not here, and what to do to have them.
    pub(crate) skipped: Vec<Version>,
}

/// A proxy and its version, or its absence.
#[derive(Debug, Serialize)]
pub(crate) struct Version {
    pub(crate) name: &'static str,
    /// The version, or what to do.
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) binary_mb: Option<f64>,
}

/// One figure of one proxy over all rounds.
#[derive(Debug, Serialize)]
struct Summary {
    mode: &'static str,
    title: &'static str,
    figure: &'static str,
    unit: &'static str,
    proxy: &'static str,
    median: f64,
    /// The median of the rounds' ratios, not the ratio of the medians.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
}

#[derive(Serialize)]
struct Document<'a> {
    setting: &'a Setting,
    targets: &'a [Row],
    medians: Vec<Summary>,
    samples: &'a [Sample],
}

impl Setting {
    pub(crate) fn here() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            processor: model.map_or("unknown", |(_, model)| model).to_owned(),
            processors: info.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: kernel.trim().to_owned(),
            rounds: 0,
            quick: false,
            minutes: 0.0,
            open_files: 0,
            proxies: Vec::new(),
            skipped: Vec::new(),
        }
    }
}

impl Version {
    pub(crate) fn new(name: &'static str, text: String, binary: Option<PathBuf>) -> Self {
        const MB: f64 = 1e6;
        let size = binary.and_then(|path| fs::metadata(path).ok()).and_then(|file| u32::try_from(file.len()).ok());
        Self { name, text, binary_mb: size.map(|bytes| f64::from(bytes) / MB) }
    }
}

/// Writes everything as JSON.
pub(crate) fn write_json(
    path: &Path,
    setting: &Setting,
    targets: &[Row],
    modes: &[Mode],
    samples: &[Sample],
) -> Result<()> {
    let document = Document { setting, targets, medians: summaries(modes, samples), samples };
    Ok(fs::write(path, serde_json::to_string_pretty(&document)? + "\n")?)
}

/// The table in Markdown: a row a figure, a column a proxy, the ratio to the relay behind each value.
pub(crate) fn table(setting: &Setting, modes: &[Mode], samples: &[Sample]) -> String {
    let summaries = summaries(modes, samples);
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(setting.proxies.iter().map(|proxy| format!("{} {}", proxy.name, proxy.text)));
    for mode in modes {
        let mut figures: Vec<(&str, &str)> = Vec::new();
        for summary in summaries.iter().filter(|summary| summary.mode == mode.key) {
            if !figures.contains(&(summary.figure, summary.unit)) {
                figures.push((summary.figure, summary.unit));
            }
        }
        let failed_or_none = |proxy: &str| if has_failed(samples, mode.key, proxy) { "failed" } else { "–" }.to_owned();
        // Where all have failed there is no figure, and that is what has to be seen.
        if figures.is_empty() && setting.proxies.iter().any(|proxy| has_failed(samples, mode.key, proxy.name)) {
            let cells = setting.proxies.iter().map(|proxy| failed_or_none(proxy.name));
            rows.push(std::iter::once(mode.title.to_owned()).chain(cells).collect());
        }
        for (figure, unit) in figures {
            let mut row = vec![format!("{}: {figure}, {unit}", mode.title)];
            row.extend(setting.proxies.iter().map(|proxy| {
                let is_cell = |s: &&Summary| s.mode == mode.key && s.figure == figure && s.proxy == proxy.name;
                let cell = summaries.iter().find(is_cell).map(Summary::cell);
                cell.unwrap_or_else(|| failed_or_none(proxy.name))
            }));
            rows.push(row);
        }
    }
    let sizes = setting.proxies.iter().map(|proxy| proxy.binary_mb.map_or("–".to_owned(), number));
    rows.push(std::iter::once("binary, MB".to_owned()).chain(sizes).collect());
    let mut text = format!(
        "{}: {}, {} processors, Linux {}; rounds: {}, in {:.0} minutes; medians (ratio to the {REFERENCE} of the same round)\n\n",
        setting.date, setting.processor, setting.processors, setting.kernel, setting.rounds, setting.minutes
    );
    text += &aligned(&rows);
    for mode in modes {
        for proxy in &setting.proxies {
            text += &told(samples, mode.key, proxy.name, |sample| sample.failure.as_deref());
            text += &told(samples, mode.key, proxy.name, |sample| sample.note.as_deref());
        }
    }
    // The table of targets begins behind an empty line.
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

impl Summary {
    fn cell(&self) -> String {
        match self.ratio {
            Some(ratio) if self.proxy != REFERENCE => format!("{} ({ratio:.2})", number(self.median)),
            _ => number(self.median),
        }
    }
}

fn summaries(modes: &[Mode], samples: &[Sample]) -> Vec<Summary> {
    let mut summaries: Vec<Summary> = Vec::new();
    for mode in modes {
        for sample in samples.iter().filter(|sample| sample.mode == mode.key) {
            for figure in &sample.figures {
                let is_known = |s: &Summary| (s.mode, s.figure, s.proxy) == (mode.key, figure.name, sample.proxy);
                if summaries.iter().any(is_known) {
                    continue;
                }
                let of = |proxy: &str| values(samples, mode.key, proxy, figure.name);
                let (own, reference) = (of(sample.proxy), of(REFERENCE));
                let ratios = own.iter().filter_map(|(occasion, value)| {
                    let (_, other) = reference.iter().find(|(other, _)| other == occasion)?;
                    (*other > 0.0).then_some(value / other)
                });
                summaries.push(Summary {
                    mode: mode.key,
                    title: mode.title,
                    figure: figure.name,
                    unit: figure.unit,
                    proxy: sample.proxy,
                    median: median(&own.iter().map(|(_, value)| *value).collect::<Vec<_>>()).unwrap_or_default(),
                    ratio: median(&ratios.collect::<Vec<_>>()),
                });
            }
        }
    }
    summaries
}

/// In which rounds there is such a text, and how it reads the first time.
fn told(samples: &[Sample], mode: &str, proxy: &str, text: impl Fn(&Sample) -> Option<&str>) -> String {
    let mut own = samples.iter().filter(|sample| sample.mode == mode && sample.proxy == proxy);
    let Some(first) = own.find_map(&text) else { return String::new() };
    let first: String = first.chars().take(TOLD_MAX).collect();
    format!("\n{mode}, {proxy}, round {}: {first}", rounds_told(samples, mode, proxy, text))
}

/// The numbers of the rounds in which there is such a text, if any.
pub(crate) fn rounds_told(
    samples: &[Sample],
    mode: &str,
    proxy: &str,
    text: impl Fn(&Sample) -> Option<&str>,
) -> String {
    let own = samples.iter().filter(|sample| sample.mode == mode && sample.proxy == proxy && text(sample).is_some());
    let mut rounds: Vec<String> = own.map(|sample| (sample.occasion.round + 1).to_string()).collect();
    rounds.dedup();
    rounds.join(", ")
}

fn has_failed(samples: &[Sample], mode: &str, proxy: &str) -> bool {
    samples.iter().any(|sample| sample.mode == mode && sample.proxy == proxy && sample.failure.is_some())
}

/// A figure of a proxy on each occasion that has it.
pub(crate) fn values(samples: &[Sample], mode: &str, proxy: &str, figure: &str) -> Vec<(Occasion, f64)> {
    let fitting = samples.iter().filter(|sample| sample.mode == mode && sample.proxy == proxy);
    fitting.filter_map(|s| Some((s.occasion, s.figures.iter().find(|f| f.name == figure)?.value))).collect()
}

/// Three digits or all before the point.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("| {cell:width$} "));
        text += &cells.collect::<String>();
        text += "|\n";
        if number == 0 {
            for width in &widths {
                text.push('|');
                text.extend(std::iter::repeat_n('-', width + 2));
            }
            text += "|\n";
        }
    }
    text
}
