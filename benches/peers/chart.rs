//! The bar chart: per metric, how many times better than tokio each of the others is.

use std::fmt::Write as _;

use super::contest::{Contestant, Entry, REFERENCE};
use super::row::{Metric, Row};
use super::table::{ratio, verified};

const LABEL_WIDTH: f64 = 260.0;
/// Pixels for a ratio of one.
const UNIT_WIDTH: f64 = 90.0;
/// Longer bars are cut here; the figure beside them is the real one.
const LONGEST: f64 = 6.0;
/// Room for the longest name and its figure, behind the longest bar.
const NOTE_WIDTH: f64 = 200.0;
const BAR_HEIGHT: f64 = 14.0;
const COLORS: [&str; 8] = ["#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#7f7f7f"];

/// The chart of the metrics for which `is_drawn` holds, as an SVG document.
pub(crate) fn svg<R: Row>(
    contestants: &[Contestant<R>],
    workloads: &[R],
    entries: &[Vec<Entry>],
    caption: &str,
    is_drawn: impl Fn(&Metric) -> bool,
) -> String {
    let mut body = String::new();
    let mut y = 40.0;
    for (workload, row) in workloads.iter().zip(entries) {
        let description = workload.describe();
        for (index, metric) in description.metrics.iter().enumerate().filter(|(_, metric)| is_drawn(metric)) {
            let Some(reference) = verified(row, contestants, REFERENCE, index) else { continue };
            let label = format!("{}, {}", description.name, metric.label);
            text(&mut body, (LABEL_WIDTH - 8.0, y + 11.0), "end", &label);
            for (position, contestant) in contestants.iter().enumerate() {
                let own = verified(row, contestants, contestant.name, index);
                let Some(own) = own.filter(|_| contestant.name != REFERENCE) else { continue };
                let ratio = ratio(metric, own.median, reference.median);
                let width = ratio.min(LONGEST) * UNIT_WIDTH;
                let (height, color) = (BAR_HEIGHT - 2.0, COLORS[position % COLORS.len()]);
                let _ = writeln!(
                    body,
                    r#"<rect x="{LABEL_WIDTH}" y="{y}" width="{width:.1}" height="{height}" fill="{color}"/>"#
                );
                let note = format!("{} {ratio:.2}x", contestant.name);
                text(&mut body, (LABEL_WIDTH + width + 4.0, y + 10.0), "start", &note);
                y += BAR_HEIGHT;
            }
            y += 10.0;
        }
    }
    let one = LABEL_WIDTH + UNIT_WIDTH;
    let _ = writeln!(body, r##"<line x1="{one}" x2="{one}" y1="30" y2="{y}" stroke="#888" stroke-dasharray="3 3"/>"##);
    text(&mut body, (8.0, 18.0), "start", &format!("Times better than tokio (dashed line: equal). {caption}"));
    let (width, height) = (LABEL_WIDTH + LONGEST * UNIT_WIDTH + NOTE_WIDTH, y + 10.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

fn text(body: &mut String, (x, y): (f64, f64), anchor: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(body, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{content}</text>"#);
}
