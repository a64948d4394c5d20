//! The table: aligned text for the terminal, Markdown for a file.

use std::fmt::Write as _;

use super::contest::{Contestant, Entry, LIMIT, REFERENCE};
use super::summary::Summary;
use super::workload::{Better, Metric, Workload};

const HEADER: [&str; COLUMNS] = ["workload, unit", "peer", "median", "quartiles", "min .. max", "to tokio", "to limit"];
const COLUMNS: usize = 7;

/// The rows below the header, with an empty one between the metrics.
pub(crate) struct Table {
    rows: Vec<Option<[String; COLUMNS]>>,
    failures: Vec<String>,
}

/// How many times better `own` is than `other`.
pub(crate) fn ratio(metric: &Metric, own: f64, other: f64) -> f64 {
    match metric.better {
        Better::Lower => other / own,
        Better::Higher => own / other,
    }
}

/// The summary of a metric, unless the contestant was not there or could not be verified.
pub(crate) fn verified(row: &[Entry], contestants: &[Contestant], name: &str, metric: usize) -> Option<Summary> {
    let index = contestants.iter().position(|contestant| contestant.name == name)?;
    match row[index].failure {
        Some(_) => None,
        None => Summary::of(row[index].samples.get(metric)?),
    }
}

impl Table {
    pub(crate) fn new(contestants: &[Contestant], workloads: &[Workload], entries: &[Vec<Entry>]) -> Table {
        let mut table = Table { rows: Vec::new(), failures: Vec::new() };
        for (workload, row) in workloads.iter().zip(entries) {
            for (index, metric) in workload.describe().metrics.iter().enumerate() {
                table.rows.push(None);
                table.add_metric(contestants, row, workload.describe().name, (index, metric));
            }
            for (contestant, entry) in contestants.iter().zip(row) {
                if let Some(why) = &entry.failure {
                    table.failures.push(format!("{} on {}: {why}", workload.describe().name, contestant.name));
                }
            }
        }
        table
    }

    fn add_metric(&mut self, contestants: &[Contestant], row: &[Entry], name: &str, (index, metric): (usize, &Metric)) {
        let mut label = format!("{name}, {}, {}", metric.label, metric.unit);
        if metric.label == "per operation" {
            label = format!("{name}, {}", metric.unit);
        }
        let reference = verified(row, contestants, REFERENCE, index);
        let limit = verified(row, contestants, LIMIT, index);
        for (contestant, entry) in contestants.iter().zip(row) {
            if entry.samples.is_empty() && entry.failure.is_none() {
                continue;
            }
            let peer = contestant.name.to_owned();
            let label = std::mem::take(&mut label);
            let Some(own) = verified(row, contestants, contestant.name, index) else {
                let none = || "-".to_owned();
                self.rows.push(Some([label, peer, "not verified".to_owned(), none(), none(), none(), none()]));
                continue;
            };
            let to = |other: Option<Summary>| match other {
                Some(other) => format!("{:.2}x", ratio(metric, own.median, other.median)),
                None => "-".to_owned(),
            };
            let quartiles = format!("{} .. {}", figure(own.lower_quartile), figure(own.upper_quartile));
            let extremes = format!("{} .. {}", figure(own.min), figure(own.max));
            self.rows.push(Some([label, peer, figure(own.median), quartiles, extremes, to(reference), to(limit)]));
        }
    }

    /// What could not be verified, one line each.
    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Columns of equal width.
    pub(crate) fn text(&self) -> String {
        let rows = || self.rows.iter().flatten();
        let width = |column: usize| {
            let cells = rows().map(|row| row[column].chars().count());
            cells.chain([HEADER[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
        let mut out = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::new();
            for (column, cell) in cells.enumerate() {
                let width = widths[column];
                // Names to the left, figures to the right.
                let _ = if column < 2 { write!(text, "{cell:width$}  ") } else { write!(text, "{cell:>width$}  ") };
            }
            out.push_str(text.trim_end());
            out.push('\n');
        };
        line(&mut HEADER.iter().copied());
        for row in &self.rows {
            match row {
                Some(row) => line(&mut row.iter().map(String::as_str)),
                None => line(&mut std::iter::empty()),
            }
        }
        out
    }

    /// A Markdown table.
    pub(crate) fn markdown(&self) -> String {
        let mut out = format!("| {} |\n|---|---|{}\n", HEADER.join(" | "), "---:|".repeat(COLUMNS - 2));
        for row in self.rows.iter().flatten() {
            let _ = writeln!(out, "| {} |", row.join(" | "));
        }
        out
    }
}

/// Three digits that count.
fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
