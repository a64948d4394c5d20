//! A picture for each workload: its first metric over the number of workers, from zero, with the quartiles as bars.

use std::fmt::Write as _;

use crate::peers::contest::Entry;
use crate::peers::row::Row as _;
use crate::peers::workload::Workload;
use crate::{PAIR, summary};

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 160.0;
const MARGIN: f64 = 60.0;
const COLUMNS: usize = 2;
const COLORS: [&str; 2] = ["#1f77b4", "#ff7f0e"];

/// All pictures as an SVG document.
pub(crate) fn svg(workloads: &[Workload], workers: &[usize], entries: &[Vec<Entry>], caption: &str) -> String {
    let mut body = String::new();
    text(&mut body, (8.0, 18.0), "start", "#000", caption);
    for (place, (workload, row)) in workloads.iter().zip(entries).enumerate() {
        let left = MARGIN + (place % COLUMNS) as f64 * (WIDTH + MARGIN);
        let top = MARGIN + (place / COLUMNS) as f64 * (HEIGHT + MARGIN);
        let description = workload.describe();
        let title = format!("{}, {}", description.name, description.metrics[0].unit);
        text(&mut body, (left, top - 8.0), "start", "#000", &title);
        picture(&mut body, (left, top), workers, row);
    }
    let rows = workloads.len().div_ceil(COLUMNS);
    let (width, height) =
        (MARGIN + COLUMNS as f64 * (WIDTH + MARGIN) + 140.0, MARGIN + rows as f64 * (HEIGHT + MARGIN));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

fn picture(body: &mut String, (left, top): (f64, f64), workers: &[usize], row: &[Entry]) {
    let highest = (0..row.len()).filter_map(|index| summary(row, index, 0)).map(|s| s.upper_quartile);
    let most = highest.fold(0.0, f64::max).max(f64::MIN_POSITIVE) * 1.05;
    // Numbers of workers stand at equal distances: they mostly double.
    let x = |place: usize| left + WIDTH * (place as f64 + 0.5) / workers.len() as f64;
    let y = |value: f64| top + HEIGHT - value / most * HEIGHT;
    let _ =
        writeln!(body, r##"<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#888"/>"##);
    for half in 0..=2 {
        let value = most / 1.05 * f64::from(half) / 2.0;
        text(body, (left - 4.0, y(value) + 4.0), "end", "#444", &format!("{value:.0}"));
    }
    for (place, count) in workers.iter().enumerate() {
        text(body, (x(place), top + HEIGHT + 14.0), "middle", "#444", &count.to_string());
    }
    for (of_pair, color) in COLORS.into_iter().enumerate() {
        text(body, (left + 8.0 + 60.0 * of_pair as f64, top + HEIGHT - 8.0), "start", color, PAIR[of_pair]);
        let points = (0..workers.len()).filter_map(|place| Some((place, summary(row, 2 * place + of_pair, 0)?)));
        let mut path = String::new();
        for (place, summary) in points {
            // Beside each other, so that the bars of both are seen.
            let at = x(place) + 4.0 * of_pair as f64;
            let _ = write!(path, "{at:.1},{:.1} ", y(summary.median));
            let (low, high) = (y(summary.lower_quartile), y(summary.upper_quartile));
            let _ =
                writeln!(body, r#"<line x1="{at:.1}" x2="{at:.1}" y1="{low:.1}" y2="{high:.1}" stroke="{color}"/>"#);
        }
        let _ = writeln!(body, r#"<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>"#);
    }
}

fn text(body: &mut String, (x, y): (f64, f64), anchor: &str, color: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(body, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="{color}">{content}</text>"#);
}
