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
use std::process::ExitCode;

#[allow(dead_code, reason = "shared with the benchmark `peers`, which uses the rest")]
mod peers {
    pub(crate) mod eddies_peer;
    pub(crate) mod futures_io_echo;
    pub(crate) mod grid;
    pub(crate) mod http;
    pub(crate) mod options;
    pub(crate) mod own;
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
use peers::options::{Options, Program};
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

fn main() -> ExitCode {
    let program = Program {
        usage: USAGE,
        rounds: [1, 1],
        workers: &[1, 2],
        peers: &[],
        rows: |_| Operation::ALL.to_vec(),
        describe: |operation| operation.describe(),
        processes: &[(operations::ARGUMENT, operations::main), (operations::CLIENT, operations::client)],
        measure: compare,
    };
    program.run()
}

fn compare(options: &Options, operations: Vec<Operation>) -> io::Result<ExitCode> {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("the instructions of this architecture are not known here: nothing was counted");
        return Ok(ExitCode::from(2));
    }
    opcodes::check();
    let mut counter = Counter::new()?;
    let mut grid = Grid { header: HEADER, rows: Vec::new() };
    for operation in operations {
        for &workers in options.worker_counts.iter().filter(|&&workers| workers > 1 || !operation.needs_two()) {
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
    Ok(ExitCode::SUCCESS)
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
