//! The costs over the counts, as an SVG document: a row of pictures per kind, times to the left and bytes to the right. The counts grow by decades,
//! the costs from zero evenly, so that what stays flat looks flat.

use std::fmt::Write as _;

use super::cost::{Cost, Kind};
use crate::{FEWEST_FOR_RSS, Point};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 220.0;
const MARGIN: f64 = 60.0;
const COLORS: [(&str, &str); 3] = [("eddies", "#1f77b4"), ("tokio", "#ff7f0e"), ("smol", "#2ca02c")];

/// One line of a picture: what it shows, whether it is dashed, and from which count on.
struct Line {
    label: &'static str,
    is_dashed: bool,
    from: usize,
    value: fn(&Cost) -> f64,
}

const fn line(label: &'static str, is_dashed: bool, from: usize, value: fn(&Cost) -> f64) -> Line {
    Line { label, is_dashed, from, value }
}

fn lines(kind: Kind) -> [[Line; 2]; 2] {
    let (begin, then) = match kind {
        Kind::Tasks => ("spawn", "wake"),
        Kind::Timers => ("arm", "cancel"),
        Kind::Connections => ("accept", "echo"),
    };
    let times = [line(begin, false, 0, |cost| cost.begin_ns), line(then, true, 0, |cost| cost.use_ns)];
    let bytes =
        [line("heap", false, 0, |cost| cost.heap_bytes), line("RSS", true, FEWEST_FOR_RSS, |cost| cost.rss_bytes)];
    [times, bytes]
}

pub(crate) fn svg(points: &[Point]) -> String {
    let mut body = String::new();
    let mut top = 30.0;
    for kind in Kind::ALL {
        let of_kind: Vec<&Point> = points.iter().filter(|point| point.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        for (column, (unit, lines)) in ["ns", "bytes"].into_iter().zip(lines(kind)).enumerate() {
            let left = MARGIN + column as f64 * (WIDTH + 2.0 * MARGIN);
            let title = format!("{}: {unit} per one (— {}, - - {})", kind.name(), lines[0].label, lines[1].label);
            text(&mut body, (left, top - 8.0), "start", "#000", &title);
            picture(&mut body, (left, top), &of_kind, &lines);
        }
        top += HEIGHT + MARGIN;
    }
    let width = 2.0 * (WIDTH + 2.0 * MARGIN);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{top}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

fn picture(body: &mut String, (left, top): (f64, f64), points: &[&Point], lines: &[Line]) {
    let shown = |point: &&&Point, line: &Line| point.count >= line.from;
    let values = lines
        .iter()
        .flat_map(|line| points.iter().filter(move |point| shown(point, line)).map(|point| (line.value)(&point.cost)));
    let most = values.fold(0.0, f64::max).max(1.0) * 1.05;
    let decades = |count: usize| (count as f64).log10();
    let first = points.iter().map(|point| decades(point.count)).fold(f64::INFINITY, f64::min);
    let last = points.iter().map(|point| decades(point.count)).fold(first + 1.0, f64::max);
    let x = |count: usize| left + (decades(count) - first) / (last - first) * WIDTH;
    let y = |value: f64| top + HEIGHT - value / most * HEIGHT;
    let _ =
        writeln!(body, r##"<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#888"/>"##);
    for quarter in 0..=4 {
        let value = most / 1.05 * f64::from(quarter) / 4.0;
        text(body, (left - 4.0, y(value) + 4.0), "end", "#444", &format!("{value:.0}"));
    }
    let mut counts: Vec<usize> = points.iter().map(|point| point.count).collect();
    counts.sort_unstable();
    counts.dedup();
    for &count in &counts {
        text(body, (x(count), top + HEIGHT + 14.0), "middle", "#444", &count.to_string());
    }
    for (order, (peer, color)) in
        COLORS.into_iter().filter(|(peer, _)| points.iter().any(|p| p.peer == *peer)).enumerate()
    {
        text(body, (left + 8.0 + 60.0 * order as f64, top + 14.0), "start", color, peer);
        for line in lines {
            let own = points.iter().filter(|point| point.peer == peer && shown(point, line));
            let path: Vec<String> =
                own.map(|point| format!("{:.1},{:.1}", x(point.count), y((line.value)(&point.cost)))).collect();
            let dash = if line.is_dashed { "6 4" } else { "none" };
            let _ = writeln!(
                body,
                r#"<polyline points="{}" fill="none" stroke="{color}" stroke-width="2" stroke-dasharray="{dash}"/>"#,
                path.join(" ")
            );
        }
    }
}

fn text(body: &mut String, (x, y): (f64, f64), anchor: &str, color: &str, content: &str) {
    let _ = writeln!(body, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="{color}">{content}</text>"#);
}
