//! eddies' peers side by side: the same workloads on each runtime, in one process, interleaved.
//!
//! `cargo bench --bench peers -- --quick` runs everything in less than two minutes; `--help` tells the rest. `RESULTS.md` beside this file has
//! the figures and what they mean.
//!
//! What keeps the comparison honest:
//! - Every runtime has the same number of workers and otherwise its defaults, and the system's allocator; `--features mimalloc` puts all of them on mimalloc.
//! - Rounds are interleaved with a rotating start; medians are printed with their quartiles and extremes, and ratios are those of medians.
//! - Each workload checks that its work was done (tasks counted, outputs added up, bytes compared). What could not be verified gets no
//!   ratio, and the exit status is 1.
//! - Channels are the same neutral ones for all peers, never a runtime's own: futures-channel's oneshot, async-channel.
//! - A sample of what takes nanoseconds is the mean of runs that last 50 ms together (25 ms with `--quick`).
//! - The clients of servers are other processes with one thread each. They share the CPUs with the server, so the server's CPU time per request
//!   and its context switches stand beside the rate.
//! - "limit" is hand-written code that could not serve as a runtime, single-threaded but where a workload crosses threads (see `peers/limit.rs`).

use std::io;
use std::process::ExitCode;

#[path = "peers/parts.rs"]
mod peers;

use peers::options::{Options, Program};
use peers::report::Report;
use peers::row::Row as _;
use peers::workload::counting::Counting;
use peers::workload::{self, Scale, Workload, idle, stream_client};
use peers::{chart, contest, echo_client, lineup, machine, table};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let program = Program {
        usage: USAGE,
        rounds: [9, 11],
        workers: &[],
        peers: lineup::NAMES,
        rows: |_| Workload::ALL.to_vec(),
        describe: |workload| workload.name_and_about(),
        processes: &[
            (echo_client::ARGUMENT, echo_client::main),
            (stream_client::ARGUMENT, stream_client::main),
            (idle::ARGUMENT, lineup::measure_idle_tasks),
        ],
        measure: compare,
    };
    program.run()
}

/// Printed for `--help` and after a mistake.
const USAGE: &str = "\
cargo bench --bench peers -- [OPTIONS] [WORKLOAD...]

Runs the workloads whose names contain one of the given words (all without a word) on every peer, interleaved.

  --quick           fewer and shorter rounds: less than two minutes in all
  --rounds N        rounds that count (default 11, quick 9; one more before them is thrown away)
  --workers N       workers of every runtime (default: the CPUs this process may use)
  --peers A,B       only these peers (default: eddies,tokio,smol,limit); `all` is those and
                      tokio-ct     a current-thread runtime per worker
                      tokio-tuned  its builder tuned; more of it with RUSTFLAGS=\"--cfg tokio_unstable\"
                      monoio       needs --features monoio; on epoll
  --markdown FILE   also write the table as Markdown
  --svg FILE        also draw the ratios to tokio
  --list            print the workloads and end
Files are relative to the directory of the benchmark's package, where cargo runs it.";

fn compare(options: &Options, mut workloads: Vec<Workload>) -> io::Result<ExitCode> {
    for left_out in workload::leave_out(&mut workloads) {
        println!("{left_out}");
    }
    let mut contestants = contest::contestants(options)?;
    lineup::add_more(&mut contestants, options)?;
    let machine = machine::describe(&contestants, options.workers);
    let idle = machine::idle_switches_per_second()?;
    println!("{machine}\nall runtimes idle: {idle} context switches per second\n");
    let entries =
        contest::run(&contestants, &workloads, &Scale::new(options.is_quick, options.workers), options.rounds);
    let caption = format!("Medians of {} interleaved rounds; a ratio above 1 is better.", options.rounds);
    let report = Report {
        machine: &machine,
        table: table::grid(&contestants, &workloads, &entries),
        caption: &caption,
        failures: table::failures(&contestants, &workloads, &entries),
    };
    report.finish(options, || chart::svg(&contestants, &workloads, &entries, &caption, |_| true))
}
