//! A table with a line for each row and contestant, and the medians of all metrics in it.

use crate::load::hog::P99;
use crate::peers::contest::{Contestant, Entry};
use crate::peers::grid::Grid;
use crate::peers::row::Row;
use crate::peers::summary::Summary;
use crate::peers::table::figure;

const HEADER: &[&str] = &[
    "workers held",
    "peer",
    "p50, ms",
    "p99, ms",
    "p99.9, ms",
    "max, ms",
    "answered/s",
    "holds/s",
    "CPUs",
    "switches/s",
    "client late p99, ms",
    "p99 of the rounds",
];

pub(crate) fn grid<R: Row>(contestants: &[Contestant<R>], rows: &[R], entries: &[Vec<Entry>]) -> Grid {
    let mut lines = Vec::new();
    for (row, entries) in rows.iter().zip(entries) {
        lines.push(None);
        let takes_part = |entry: &Entry| entry.failure.is_some() || !entry.samples.is_empty();
        for (contestant, entry) in contestants.iter().zip(entries).filter(|(_, entry)| takes_part(entry)) {
            lines.push(Some(line(row, contestant.name, entry)));
        }
    }
    Grid { header: HEADER, rows: lines }
}

fn line<R: Row>(row: &R, peer: &str, entry: &Entry) -> Vec<String> {
    let description = row.describe();
    let mut cells = vec![description.name.to_owned(), peer.to_owned()];
    let mut range = "-".to_owned();
    for (index, metric) in description.metrics.iter().enumerate() {
        let samples = entry.samples.get(index).filter(|_| entry.failure.is_none());
        let Some(summary) = samples.and_then(|samples| Summary::of(samples)) else {
            cells.push("not verified".to_owned());
            continue;
        };
        cells.push(figure(summary.median));
        if metric.label == P99 {
            range = format!("{} .. {}", figure(summary.min), figure(summary.max));
        }
    }
    cells.push(range);
    cells
}
