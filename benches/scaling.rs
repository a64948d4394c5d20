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
mod peers {
    pub(crate) mod chart;
    pub(crate) mod contest;
    pub(crate) mod echo;
    pub(crate) mod echo_client;
    pub(crate) mod eddies_peer;
    pub(crate) mod futures_io_echo;
    pub(crate) mod grid;
    pub(crate) mod http;
    pub(crate) mod limit;
    pub(crate) mod machine;
    pub(crate) mod options;
    pub(crate) mod peer;
    pub(crate) mod row;
    pub(crate) mod smol_peer;
    pub(crate) mod summary;
    pub(crate) mod table;
    pub(crate) mod tasks;
    pub(crate) mod tokio_peer;
    pub(crate) mod waiting;
    pub(crate) mod workload;
}
mod scaled {
    pub(crate) mod plot;
}

use peers::contest::{self, Contestant, Entry};
use peers::eddies_peer::Eddies;
use peers::grid::Grid;
use peers::options::Options;
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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first() {
        Some(first) if first == echo_client::ARGUMENT => echo_client::main(&arguments[1..]).map(|()| ExitCode::SUCCESS),
        _ => match parse(arguments) {
            Ok((options, _)) if options.is_help => {
                println!("{USAGE}");
                Ok(ExitCode::SUCCESS)
            }
            Ok((options, workers)) => compare(&options, &workers),
            Err(mistake) => {
                eprintln!("{mistake}\n\n{USAGE}");
                Ok(ExitCode::from(2))
            }
        },
    };
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

/// The options of `peers`, and the numbers of workers.
fn parse(mut arguments: Vec<String>) -> Result<(Options, Vec<usize>), String> {
    let mut workers = vec![1, 2, 4, 8, 16];
    if let Some(at) = arguments.iter().position(|argument| argument == "--workers") {
        let list = arguments.get(at + 1).ok_or("--workers needs a list")?.clone();
        let number = |text: &str| text.parse().ok().filter(|&number: &usize| number > 0);
        workers = list.split(',').map(number).collect::<Option<_>>().ok_or(format!("{list} is no list of numbers"))?;
        arguments.drain(at..at + 2);
    }
    Ok((Options::parse(arguments, 5, 15)?, workers))
}

fn compare(options: &Options, workers: &[usize]) -> io::Result<ExitCode> {
    let workloads = options.choose(&WORKLOADS)?;
    if options.is_list {
        for workload in &workloads {
            let description = workload.describe();
            println!("{:16} {}", description.name, description.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut contestants: Vec<Contestant<Workload>> = Vec::new();
    for &count in workers {
        contestants.push(Contestant::peer::<Eddies>(count)?);
        contestants.push(Contestant::peer::<Tokio>(count)?);
    }
    let most = workers.iter().copied().max().unwrap_or(1);
    let machine = machine::describe_named(PAIR.into_iter(), most);
    let idle = machine::idle_switches_per_second()?;
    println!("{machine}\nall runtimes idle: {idle} context switches per second\n");
    // The counts of a quick run of `peers`: each sample is short, and there are many.
    let entries = contest::run(&contestants, &workloads, &Scale::new(true, most), options.rounds);
    let table = table(&workloads, workers, &entries);
    let caption = caption(options.rounds);
    let load = machine::load_average();
    println!("{}\n{caption} Load average at the end: {load}", table.text());
    if let Some(path) = &options.markdown {
        let text = format!("{}\n{caption}\n\n```\n{machine}\nload average at the end: {load}\n```\n", table.markdown());
        std::fs::write(path, text)?;
    }
    if let Some(path) = &options.svg {
        std::fs::write(path, plot::svg(&workloads, workers, &entries, &caption))?;
    }
    let failures: Vec<String> = failures(&workloads, workers, &entries);
    failures.iter().for_each(|failure| eprintln!("not verified: {failure}"));
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
