//! What one more costs when there are many: time and bytes per task, per timer and per connection, from a hundred to a million.
//!
//! `cargo bench --bench growth` takes some minutes; `--help` tells the rest. `RESULTS.md` beside this file has the figures and what they mean.
//!
//! - Each measurement is a process of its own (see `many/cost.rs`), so that nothing of the one before it is there: no heap, no grown table.
//!   The rounds are interleaved; medians are printed.
//! - A few of something are begun and ended again and again, so that at least 100,000 are counted.
//! - Connections cost CPU time of the server's process, tasks and timers elapsed time. The client of the connections is another process.
//! - What could not be verified is not printed, and the exit status is 1.

use std::io;
use std::process::ExitCode;

#[allow(dead_code, reason = "shared with the benchmark `peers`, which uses the rest")]
#[path = "peers/parts.rs"]
mod peers;
mod many {
    pub(crate) mod cost;
    pub(crate) mod crowd;
    pub(crate) mod plot;
}

use many::cost::{self, Cost, Kind};
use many::{crowd, plot};
use peers::grid::Grid;
use peers::machine;
use peers::options::{Options, Program};
use peers::report::Report;
use peers::summary::Summary;
use peers::table::figure;
use peers::workload::counting::Counting;
use peers::workload::raise_files_allowed;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Printed for `--help` and after a mistake.
const USAGE: &str = "\
cargo bench --bench growth -- [OPTIONS] [KIND...]

Measures what a task, a timer, a connection costs when there are 100, 1,000, and so on. Without a KIND: tasks, timers and connections.

  --quick           only up to 10,000, and one round
  --rounds N        medians of so many rounds (default 3)
  --workers N       workers of every runtime (default: the CPUs this process may use)
  --peers A,B       these of eddies, tokio, smol (default: eddies,tokio)
  --markdown FILE   also write the table as Markdown
  --svg FILE        also draw the costs over the counts
Files are relative to the directory of the benchmark's package, where cargo runs it.";

fn main() -> ExitCode {
    let program = Program {
        usage: USAGE,
        rounds: [1, 3],
        workers: &[],
        peers: &["eddies", "tokio", "smol"],
        rows: |_| Kind::ALL.to_vec(),
        describe: |kind| (kind.name(), ""),
        processes: &[(cost::ARGUMENT, cost::main), (crowd::ARGUMENT, crowd::main)],
        measure,
    };
    program.run()
}

/// The medians of one peer for one count.
pub(crate) struct Point {
    pub(crate) kind: Kind,
    pub(crate) peer: String,
    pub(crate) count: usize,
    pub(crate) cost: Cost,
}

/// The counts, and for connections as many as the system gives.
fn counts(kind: Kind, is_quick: bool, files: usize) -> Vec<usize> {
    let most = if is_quick { 10_000 } else { 1_000_000 };
    let decades = [100, 1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|&count| count <= most);
    if kind != Kind::Connections {
        return decades.collect();
    }
    // Each end needs a descriptor of its process, and the client a port.
    let possible = files.saturating_sub(500).min(crowd::ports()).min(most);
    let mut counts: Vec<usize> = decades.filter(|&count| count < possible).collect();
    counts.push(possible / 100 * 100);
    counts
}

fn measure(options: &Options, kinds: Vec<Kind>) -> io::Result<ExitCode> {
    let files = raise_files_allowed() as usize;
    let peers: Vec<String> = match options.peers.as_slice() {
        [] => ["eddies", "tokio"].map(str::to_owned).to_vec(),
        named => named.to_vec(),
    };
    let machine = machine::describe_named(peers.iter().map(String::as_str), options.workers);
    println!("{machine}\n");
    let mut points = Vec::new();
    let mut failures = Vec::new();
    for kind in kinds {
        for count in counts(kind, options.is_quick, files) {
            let costs = rounds(options, &peers, kind, count);
            for (peer, costs) in peers.iter().zip(costs) {
                match costs.and_then(|costs| median(&costs).ok_or_else(|| "no round".to_owned())) {
                    Ok(cost) => points.push(Point { kind, peer: peer.clone(), count, cost }),
                    Err(why) => failures.push(format!("{count} {} on {peer}: {why}", kind.name())),
                }
            }
        }
    }
    let caption = format!("{LEGEND}\nMedians of {} interleaved rounds.", options.rounds);
    let report = Report { machine: &machine, table: table(&points), caption: &caption, failures };
    report.finish(options, || plot::svg(&points))
}

/// Per peer, the costs of the rounds, or why one could not be verified.
fn rounds(options: &Options, peers: &[String], kind: Kind, count: usize) -> Vec<Result<Vec<Cost>, String>> {
    let mut all: Vec<Result<Vec<Cost>, String>> = peers.iter().map(|_| Ok(Vec::new())).collect();
    for round in 0..options.rounds {
        eprintln!("round {} of {}: {count} {}", round + 1, options.rounds, kind.name());
        for turn in 0..peers.len() {
            let index = (round + turn) % peers.len();
            let Ok(costs) = &mut all[index] else { continue };
            match cost::in_a_process(&peers[index], options.workers, kind, count) {
                Ok(cost) => costs.push(cost),
                Err(why) => all[index] = Err(why),
            }
        }
    }
    all
}

fn median(costs: &[Cost]) -> Option<Cost> {
    let of = |field: fn(&Cost) -> f64| {
        Summary::of(&costs.iter().map(field).collect::<Vec<_>>()).map(|summary| summary.median)
    };
    Some(Cost {
        begin_ns: of(|cost| cost.begin_ns)?,
        use_ns: of(|cost| cost.use_ns)?,
        heap_bytes: of(|cost| cost.heap_bytes)?,
        rss_bytes: of(|cost| cost.rss_bytes)?,
    })
}

const HEADER: &[&str] =
    &["what", "peer", "count", "begin, ns", "use, ns", "time to that at 1,000", "heap, bytes", "RSS, bytes"];

const LEGEND: &str = "\
Each figure is for one of so many. Tasks: begin is spawn and first poll, use is wake and last poll. Timers: arm; cancel. Connections, in CPU time
of the server: accept and a first echo; one echo on each in turn while all are open. Resident pages of fewer than 10,000 say nothing of one.
From 100,000 tasks or timers on nothing is begun twice, so that the first use of every page, a fault, is in the time.";

/// Below this count, the pages of the process are not those of what is counted.
const FEWEST_FOR_RSS: usize = 10_000;

fn table(points: &[Point]) -> Grid {
    let mut rows = Vec::new();
    for (index, point) in points.iter().enumerate() {
        if index == 0 || points[index - 1].kind != point.kind {
            rows.push(None);
        }
        let total = |point: &Point| point.cost.begin_ns + point.cost.use_ns;
        let same = |other: &&Point| other.kind == point.kind && other.peer == point.peer && other.count == 1_000;
        let growth = points.iter().find(same).map(|base| total(point) / total(base));
        let is_many = point.count >= FEWEST_FOR_RSS;
        rows.push(Some(vec![
            point.kind.name().to_owned(),
            point.peer.clone(),
            point.count.to_string(),
            figure(point.cost.begin_ns),
            figure(point.cost.use_ns),
            growth.map_or("-".to_owned(), |growth| format!("{growth:.2}x")),
            figure(point.cost.heap_bytes),
            if is_many { figure(point.cost.rss_bytes) } else { "-".to_owned() },
        ]));
    }
    Grid { header: HEADER, rows }
}
