//! What a long poll does to everybody else: a TCP echo server, or an HTTP/1.1 server by hyper, under a constant load while tasks hold the workers of
//! its runtime.
//!
//! `cargo bench --bench mixed -- --quick` ends within three minutes; `--help` tells the rest. `RESULTS.md` beside this file has the
//! figures and what they mean.
//!
//! What keeps the comparison honest, beyond what `peers.rs` says of itself, whose parts are used here:
//! - The load is an open loop (see `load/paced_client.rs`): a stall meets every request that falls into it. The rate is low, so that
//!   latency is that of stalls and of being scheduled, not of queueing for a saturated server.
//! - Every request is answered, and every byte compared, or the run does not count.
//! - The hogs are ordinary tasks, spawned as a user would (see `load/hog.rs`). How many holds they completed stands beside the latency:
//!   a runtime could protect the one at the cost of the other.
//! - "tokio, block_in_place" and "tokio, spawn_blocking" are tokio with each hold done as its documentation advises. The others' hogs say nothing of
//!   their holds.
//! - "may", with the feature of that name, has coroutines in place of tasks, and the echo rows only (see `load/may_peer.rs`).
//! - "limit" is one hand-written epoll thread for the echo, and the same hogs as threads. It tells what the system's scheduler alone does to
//!   a server on a machine whose CPUs are taken. The busy rows have a second limit, "limit, by turns", without preemption (see `load/busy.rs`).

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
    pub(crate) mod tokio_peer;
    pub(crate) mod workload;
    // `workload` measures with them.
    pub(crate) mod tasks;
    pub(crate) mod waiting;
}
mod load {
    pub(crate) mod busy;
    pub(crate) mod hog;
    #[cfg(feature = "may")]
    pub(crate) mod may_peer;
    pub(crate) mod paced_client;
    pub(crate) mod wide;
}

use load::busy;
use load::hog::{Mixed, P99, Scale};
use load::paced_client::{self, Plan};
use load::wide;
use peers::options::Options;
use peers::row::Row as _;
use peers::{chart, contest, machine, table};

/// Printed for `--help` and after a mistake.
const USAGE: &str = "\
cargo bench --bench mixed -- [OPTIONS] [ROW...]

Serves TCP echo, or HTTP, under a constant load while tasks hold the workers, on every peer, interleaved. Runs the rows whose names contain one of
the given words (all without a word).

  --quick           fewer and shorter rounds, and no holds of 10 ms: two and a half minutes in all,
                    of which the rows called `busy` take one
  --rounds N        rounds that count (default 5, quick 3; one more before them is thrown away)
  --workers N       workers of every runtime (default: the CPUs this process may use)
  --peers A,B       only these peers (tokio is three: as it is, with block_in_place, with spawn_blocking; may is there when built with
                    --features may)
  --markdown FILE   also write the table as Markdown
  --svg FILE        also draw the ratios of p99 to tokio
  --list            print the rows and end
Files are relative to the directory of the benchmark's package, where cargo runs it.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first() {
        Some(first) if first == paced_client::ARGUMENT => {
            paced_client::main(&arguments[1..]).map(|()| ExitCode::SUCCESS)
        }
        _ => match Options::parse(arguments, 3, 5) {
            Ok(options) if options.is_help => {
                println!("{USAGE}");
                Ok(ExitCode::SUCCESS)
            }
            Ok(options) => compare(&options),
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

/// The load: 64 connections would only spread it thinner.
fn plan(is_quick: bool) -> Plan {
    let (warm_up_ms, window_ms) = if is_quick { (100, 400) } else { (200, 1_000) };
    Plan { connections: 16, rate: 2_000, warm_up_ms, window_ms, is_http: false }
}

fn compare(options: &Options) -> io::Result<ExitCode> {
    let mut rows = options.choose(&Mixed::ALL)?;
    if options.is_quick {
        rows.retain(|row| row.ms != 10);
    }
    if options.is_list {
        for row in &rows {
            let description = row.describe();
            println!("{:18} {}", description.name, description.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut contestants = contest::contestants(options)?;
    contest::add_advised(&mut contestants, options)?;
    if options.wants(contest::LIMIT) {
        contestants.push(busy::by_turns());
    }
    #[cfg(feature = "may")]
    if options.wants(load::may_peer::NAME) {
        let place = contestants.iter().position(|each| each.name == contest::LIMIT).unwrap_or(contestants.len());
        contestants.insert(place, load::may_peer::contestant(options.workers));
    }
    let machine = machine::describe(&contestants, options.workers);
    println!("{machine}\n");
    let plan = plan(options.is_quick);
    let scale = Scale { workers: options.workers, plan };
    let entries = contest::run(&contestants, &rows, &scale, options.rounds);
    let grid = wide::grid(&contestants, &rows, &entries);
    let Plan { connections, rate, window_ms, .. } = plan;
    let caption = format!(
        "Medians of {} interleaved rounds of {window_ms} ms; {rate} requests/s on {connections} connections, open loop.",
        options.rounds
    );
    let load = machine::load_average();
    println!("{}\n{caption} Load average at the end: {load}", grid.text());
    if let Some(path) = &options.markdown {
        let text = format!("{}\n{caption}\n\n```\n{machine}\nload average at the end: {load}\n```\n", grid.markdown());
        std::fs::write(path, text)?;
    }
    if let Some(path) = &options.svg {
        let picture = chart::svg(&contestants, &rows, &entries, &caption, |metric| metric.label == P99);
        std::fs::write(path, picture)?;
    }
    let failures = table::failures(&contestants, &rows, &entries);
    for failure in &failures {
        eprintln!("not verified: {failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
