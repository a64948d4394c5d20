//! What an operation writes that other CPUs may want: atomic read-modify-writes, locks, fences, wake-ups, sleeps and allocations per operation, for eddies
//! and for tokio, with one worker and with two.
//!
//! `cargo bench --bench shared_writes` takes some minutes; `--help` tells the rest. docs/SCALING.md has the figures and what they mean.
//!
//! Where there are only two cores, this is what tells how a runtime does on sixty-four. Each operation runs in a process of its own under
//! callgrind, which counts how often each instruction is executed. What the instructions are, this program reads from the executable and the libraries; which
//! line they came from, `addr2line` tells. Each figure is the difference between many operations and few, so that what happens once is not in it. Nothing is
//! compiled in, and all that happens is counted: the runtime's sources, the crates it uses, the standard library, the system's.
//!
//! A lock that is taken and given back is two of the read-modify-writes.
//!
//! What the figures do not say: what one of these costs. One that finds its cache line at home costs some 20 cycles, one that has to fetch it from another core
//! some hundreds. Valgrind runs one thread at a time: with two workers nothing is ever contended, and who sleeps when is not as on a real machine.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

#[allow(dead_code, reason = "shared with the benchmark `peers`, which uses the rest")]
mod peers {
    pub(crate) mod eddies_peer;
    pub(crate) mod futures_io_echo;
    pub(crate) mod grid;
    pub(crate) mod http;
    pub(crate) mod peer;
    pub(crate) mod tokio_peer;
}
mod written {
    pub(crate) mod callgrind;
    pub(crate) mod count;
    pub(crate) mod opcodes;
    pub(crate) mod operations;
    pub(crate) mod sites;
}

use peers::grid::Grid;
use written::count::{Counter, Counts, Kind, total};
use written::opcodes;
use written::operations::{self, Operation};

const USAGE: &str = "\
cargo bench --bench shared_writes -- [OPTIONS] [OPERATION...]

Counts, under valgrind, what the operations whose names contain one of the given words (all without a word) write that other CPUs may want.
x86-64 alone; needs valgrind and binutils' addr2line.

  --workers A,B     with so many workers (default 1,2)
  --sites           also print where in the sources each of them is, from 0.02 per operation on
  --markdown FILE   also write the table as Markdown
  --list            print the operations and end
Files are relative to the directory of the benchmark's package, where cargo runs it.";

const PEERS: [&str; 2] = ["eddies", "tokio"];

const HEADER: &[&str] =
    &["operation, workers", "peer", "RMW", "of them malloc's", "fences", "locks", "wake-ups", "sleeps", "allocations"];

struct Options {
    workers: Vec<usize>,
    has_sites: bool,
    markdown: Option<PathBuf>,
    filters: Vec<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let result = match arguments.first().map(String::as_str) {
        Some(operations::ARGUMENT) => operations::main(&arguments[1..]).map(|()| ExitCode::SUCCESS),
        Some(operations::CLIENT) => operations::client(&arguments[1..]).map(|()| ExitCode::SUCCESS),
        Some("--help" | "-h") => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        Some("--list") => {
            for operation in Operation::ALL {
                let (name, about) = operation.describe();
                println!("{name:18} {about}");
            }
            Ok(ExitCode::SUCCESS)
        }
        _ if !cfg!(target_arch = "x86_64") => {
            eprintln!("the instructions of this architecture are not known here: nothing was counted");
            Ok(ExitCode::from(2))
        }
        _ => match parse(arguments) {
            Some(options) => compare(&options).map(|()| ExitCode::SUCCESS),
            None => {
                eprintln!("{USAGE}");
                Ok(ExitCode::from(2))
            }
        },
    };
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

/// `None`: a mistake.
fn parse(arguments: Vec<String>) -> Option<Options> {
    let mut options = Options { workers: vec![1, 2], has_sites: false, markdown: None, filters: Vec::new() };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--workers" => {
                let numbers = arguments.next()?;
                options.workers =
                    numbers.split(',').map(|number| number.parse().ok().filter(|&n| n > 0)).collect::<Option<_>>()?;
            }
            "--sites" => options.has_sites = true,
            "--markdown" => options.markdown = Some(arguments.next()?.into()),
            unknown if unknown.starts_with('-') => return None,
            filter => options.filters.push(filter.to_owned()),
        }
    }
    Some(options)
}

fn compare(options: &Options) -> io::Result<()> {
    opcodes::check();
    let mut counter = Counter::new()?;
    let mut grid = Grid { header: HEADER, rows: Vec::new() };
    let is_chosen = |operation: &Operation| {
        options.filters.is_empty() || options.filters.iter().any(|filter| operation.name().contains(filter))
    };
    for operation in Operation::ALL.into_iter().filter(is_chosen) {
        for &workers in options.workers.iter().filter(|&&workers| workers > 1 || !operation.needs_two()) {
            grid.rows.push(None);
            let mut label = format!("{}, {workers}", operation.name());
            for peer in PEERS {
                eprintln!("{label} on {peer}");
                let counts = counter.count(peer, operation, workers)?;
                grid.rows.push(Some(row(std::mem::take(&mut label), peer, &counts)));
                if options.has_sites {
                    println!("{}, {workers} workers, {peer}:", operation.name());
                    print_sites(&counts);
                }
            }
        }
    }
    println!("{}", grid.text());
    if let Some(path) = &options.markdown {
        std::fs::write(path, grid.markdown())?;
    }
    Ok(())
}

fn row(label: String, peer: &str, counts: &Counts) -> Vec<String> {
    let figure = |kinds: &[Kind]| format!("{:.2}", total(counts, kinds).max(0.0));
    vec![
        label,
        peer.to_owned(),
        figure(&[Kind::Lock, Kind::Unlock, Kind::Rmw, Kind::System]),
        figure(&[Kind::System]),
        figure(&[Kind::Fence]),
        figure(&[Kind::Lock]),
        figure(&[Kind::Wake]),
        figure(&[Kind::Sleep]),
        figure(&[Kind::Alloc]),
    ]
}

fn print_sites(counts: &Counts) {
    for ((kind, line), count) in counts.iter().filter(|(_, count)| **count >= 0.02) {
        let kind = match kind {
            Kind::Lock => "lock",
            Kind::Unlock => "unlock",
            Kind::Rmw => "rmw",
            Kind::System => "system",
            Kind::Fence => "fence",
            Kind::Wake => "wake",
            Kind::Sleep => "sleep",
            Kind::Alloc => "alloc",
        };
        println!("  {count:7.2} {kind:6} {line}");
    }
}
