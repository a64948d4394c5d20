//! The tasks and servers of `peers` at several numbers of workers, for eddies and tokio: one table and one plot.
//!
//! `cargo bench --bench scaling` takes less than four minutes; `--help` tells the rest. RESULTS.md beside this file has the figures.
//!
//! Every runtime is built at the start, and the rounds are interleaved over the numbers of workers too, so that what happens to the machine meanwhile meets all of
//! them alike. More workers than CPUs show what oversubscription costs, and nothing about more cores: the table says from where on that is so. Clients of
//! servers are other processes, and share the CPUs.

use std::io;
use std::process::ExitCode;

#[allow(dead_code, reason = "shared with the benchmark `peers`, which uses the rest")]
#[path = "peers/parts.rs"]
mod peers;
mod scaled {
    pub(crate) mod plot;
}

use peers::contest::{self, Contestant, Entry};
use peers::eddies_peer::Eddies;
use peers::grid::Grid;
use peers::options::{Options, Program};
use peers::report::Report;
use peers::row::{Metric, Row as _};
use peers::summary::Summary;
use peers::table::{figure, ratio};
use peers::tokio_peer::Tokio;
use peers::workload::{Scale, Workload};
use peers::{echo_client, machine};
use scaled::plot;

const USAGE: &str = "\
cargo bench --bench scaling -- [OPTIONS] [WORKLOAD...]

Runs tasks and servers on eddies and tokio with several numbers of workers, interleaved: those workloads whose names contain one of the given
words (all without a word).

  --workers A,B,C   so many workers (default 1,2,4,8,16)
  --quick           fewer rounds: about a minute
  --rounds N        rounds that count (default 15, quick 5; one more before them is thrown away)
  --markdown FILE   also write the table as Markdown
  --svg FILE        also draw it
  --list            print the workloads and end
Files are relative to the directory of the benchmark's package, where cargo runs it.";

/// What is run.
const WORKLOADS: [Workload; 8] = [
    Workload::SpawnDetached,
    Workload::SpawnAwait,
    Workload::Skynet,
    Workload::YieldMany,
    Workload::PingPong,
    Workload::TimeoutDropped,
    Workload::TcpEcho,
    Workload::Http,
];

/// The two that are compared with each number of workers, the first with the second.
pub(crate) const PAIR: [&str; 2] = ["eddies", "tokio"];

fn main() -> ExitCode {
    let program = Program {
        usage: USAGE,
        rounds: [5, 15],
        workers: &[1, 2, 4, 8, 16],
        peers: &[],
        rows: |_| WORKLOADS.to_vec(),
        describe: |workload| workload.name_and_about(),
        processes: &[(echo_client::ARGUMENT, echo_client::main)],
        measure: compare,
    };
    program.run()
}

fn compare(options: &Options, workloads: Vec<Workload>) -> io::Result<ExitCode> {
    let (workers, most) = (&options.worker_counts, options.workers);
    let mut contestants: Vec<Contestant<Workload>> = Vec::new();
    for &count in workers {
        contestants.push(Contestant::peer::<Eddies>(count)?);
        contestants.push(Contestant::peer::<Tokio>(count)?);
    }
    let machine = machine::describe_named(PAIR.into_iter(), most);
    let idle = machine::idle_switches_per_second()?;
    println!("{machine}\nall runtimes idle: {idle} context switches per second\n");
    // The counts of a quick run of `peers`: each sample is short, and there are many.
    let entries = contest::run(&contestants, &workloads, &Scale::new(true, most), options.rounds);
    let caption = caption(options.rounds);
    let report = Report {
        machine: &machine,
        table: table(&workloads, workers, &entries),
        caption: &caption,
        failures: failures(&workloads, workers, &entries),
    };
    report.finish(options, || plot::svg(&workloads, workers, &entries, &caption))
}

fn caption(rounds: usize) -> String {
    let cpus = num_cpus::get();
    format!(
        "Medians of {rounds} interleaved rounds, quartiles in brackets; a ratio above 1 is better. This machine has {cpus} CPUs: with more than \
         {cpus} workers they share them."
    )
}

/// What contestant `index` did in a metric, unless it could not be verified.
pub(crate) fn summary(row: &[Entry], index: usize, metric: usize) -> Option<Summary> {
    let entry = &row[index];
    if entry.failure.is_some() { None } else { Summary::of(entry.samples.get(metric)?) }
}

fn table(workloads: &[Workload], workers: &[usize], entries: &[Vec<Entry>]) -> Grid {
    let mut header = vec!["workload, unit".to_owned(), "peer".to_owned()];
    header.extend(workers.iter().map(|count| if *count == 1 { "1 worker".to_owned() } else { format!("{count}") }));
    // Leaked: the header of a table is made once.
    let header: Vec<&'static str> = header.into_iter().map(|title| &*title.leak()).collect();
    let mut grid = Grid { header: header.leak(), rows: Vec::new() };
    for (workload, row) in workloads.iter().zip(entries) {
        for (index, metric) in workload.describe().metrics.iter().enumerate() {
            grid.rows.push(None);
            grid.rows.extend(of_metric(workload.describe().name, workers.len(), row, (index, metric)).map(Some));
        }
    }
    grid
}

/// A line for each of the two, and one for their ratio.
fn of_metric(name: &str, counts: usize, row: &[Entry], (index, metric): (usize, &Metric)) -> [Vec<String>; 3] {
    let label = match metric.label {
        "per operation" => format!("{name}, {}", metric.unit),
        label => format!("{name}, {label}, {}", metric.unit),
    };
    let [mut own, mut other] = [vec![label, PAIR[0].to_owned()], vec![String::new(), PAIR[1].to_owned()]];
    let mut ratios = vec![String::new(), "ratio".to_owned()];
    let show = |summary: Option<Summary>| match summary {
        Some(s) => format!("{} [{} .. {}]", figure(s.median), figure(s.lower_quartile), figure(s.upper_quartile)),
        None => "not verified".to_owned(),
    };
    for place in 0..counts {
        let (ours, theirs) = (summary(row, 2 * place, index), summary(row, 2 * place + 1, index));
        own.push(show(ours));
        other.push(show(theirs));
        let both = ours.zip(theirs).map(|(ours, theirs)| format!("{:.2}x", ratio(metric, ours.median, theirs.median)));
        ratios.push(both.unwrap_or("-".to_owned()));
    }
    [own, other, ratios]
}

fn failures(workloads: &[Workload], workers: &[usize], entries: &[Vec<Entry>]) -> Vec<String> {
    let mut failures = Vec::new();
    for (workload, row) in workloads.iter().zip(entries) {
        for (index, entry) in row.iter().enumerate() {
            if let Some(why) = &entry.failure {
                let (name, count) = (workload.describe().name, workers[index / 2]);
                failures.push(format!("{name} on {}, {count} workers: {why}", PAIR[index % 2]));
            }
        }
    }
    failures
}
