//! The table: aligned text for the terminal, Markdown for a file.

use super::contest::{Contestant, Entry, LIMIT, REFERENCE};
use super::grid::Grid;
use super::row::{Better, Metric, Row};
use super::summary::Summary;

const HEADER: &[&str] = &["workload, unit", "peer", "median", "quartiles", "min .. max", "to tokio", "to limit"];

/// How many times better `own` is than `other`.
pub(crate) fn ratio(metric: &Metric, own: f64, other: f64) -> f64 {
    match metric.better {
        Better::Lower => other / own,
        Better::Higher => own / other,
    }
}

/// The summary of a metric, unless the contestant was not there or could not be verified.
pub(crate) fn verified<R: Row>(
    row: &[Entry],
    contestants: &[Contestant<R>],
    name: &str,
    metric: usize,
) -> Option<Summary> {
    let index = contestants.iter().position(|contestant| contestant.name == name)?;
    match row[index].failure {
        Some(_) => None,
        None => Summary::of(row[index].samples.get(metric)?),
    }
}

/// A line for each contestant in each metric, and an empty one between the metrics.
pub(crate) fn grid<R: Row>(contestants: &[Contestant<R>], workloads: &[R], entries: &[Vec<Entry>]) -> Grid {
    let mut grid = Grid { header: HEADER, rows: Vec::new() };
    for (workload, row) in workloads.iter().zip(entries) {
        for (index, metric) in workload.describe().metrics.iter().enumerate() {
            grid.rows.push(None);
            add_metric(&mut grid, contestants, row, workload.describe().name, (index, metric));
        }
    }
    grid
}

fn add_metric<R: Row>(
    grid: &mut Grid,
    contestants: &[Contestant<R>],
    row: &[Entry],
    name: &str,
    (index, metric): (usize, &Metric),
) {
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
            grid.rows.push(Some(vec![label, peer, "not verified".to_owned(), none(), none(), none(), none()]));
            continue;
        };
        let to = |other: Option<Summary>| match other {
            Some(other) => format!("{:.2}x", ratio(metric, own.median, other.median)),
            None => "-".to_owned(),
        };
        let quartiles = format!("{} .. {}", figure(own.lower_quartile), figure(own.upper_quartile));
        let extremes = format!("{} .. {}", figure(own.min), figure(own.max));
        grid.rows.push(Some(vec![label, peer, figure(own.median), quartiles, extremes, to(reference), to(limit)]));
    }
}

/// What could not be verified, one line each.
pub(crate) fn failures<R: Row>(contestants: &[Contestant<R>], workloads: &[R], entries: &[Vec<Entry>]) -> Vec<String> {
    let mut failures = Vec::new();
    for (workload, row) in workloads.iter().zip(entries) {
        for (contestant, entry) in contestants.iter().zip(row) {
            if let Some(why) = &entry.failure {
                failures.push(format!("{} on {}: {why}", workload.describe().name, contestant.name));
            }
        }
    }
    failures
}

/// Three digits that count.
pub(crate) fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
