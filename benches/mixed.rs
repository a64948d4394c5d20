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
#[path = "peers/parts.rs"]
mod peers;
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
use peers::options::{Options, Program};
use peers::report::Report;
use peers::row::Row as _;
use peers::{chart, contest, machine, options, table};

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

/// What `--peers` takes.
const PEERS: &[&str] = &[
    "eddies",
    "tokio",
    "smol",
    contest::LIMIT,
    #[cfg(feature = "may")]
    load::may_peer::NAME,
    options::ALL,
];

fn main() -> ExitCode {
    let program = Program {
        usage: USAGE,
        rounds: [3, 5],
        workers: &[],
        peers: PEERS,
        rows: |is_quick| Mixed::ALL.into_iter().filter(|row| !is_quick || row.ms != 10).collect(),
        describe: |row| row.name_and_about(),
        processes: &[(paced_client::ARGUMENT, paced_client::main)],
        measure: compare,
    };
    program.run()
}

/// The load: 64 connections would only spread it thinner.
fn plan(is_quick: bool) -> Plan {
    let (warm_up_ms, window_ms) = if is_quick { (100, 400) } else { (200, 1_000) };
    Plan { connections: 16, rate: 2_000, warm_up_ms, window_ms, is_http: false }
}

fn compare(options: &Options, rows: Vec<Mixed>) -> io::Result<ExitCode> {
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
    let Plan { connections, rate, window_ms, .. } = plan;
    let caption = format!(
        "Medians of {} interleaved rounds of {window_ms} ms; {rate} requests/s on {connections} connections, open loop.",
        options.rounds
    );
    let report = Report {
        machine: &machine,
        table: wide::grid(&contestants, &rows, &entries),
        caption: &caption,
        failures: table::failures(&contestants, &rows, &entries),
    };
    report.finish(options, || chart::svg(&contestants, &rows, &entries, &caption, |metric| metric.label == P99))
}
