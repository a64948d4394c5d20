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

mod peers {
    pub(crate) mod chart;
    #[allow(dead_code, reason = "shared with the benchmark `mixed`, which uses the rest")]
    pub(crate) mod contest;
    pub(crate) mod echo;
    pub(crate) mod echo_client;
    pub(crate) mod eddies_peer;
    pub(crate) mod futures_io_echo;
    pub(crate) mod grid;
    #[allow(dead_code, reason = "shared with the benchmark `mixed`, which uses the rest")]
    pub(crate) mod http;
    pub(crate) mod limit;
    pub(crate) mod lineup;
    pub(crate) mod machine;
    #[cfg(feature = "monoio")]
    pub(crate) mod monoio_peer;
    pub(crate) mod options;
    #[allow(dead_code, reason = "shared with the benchmark `mixed`, which uses the rest")]
    pub(crate) mod peer;
    pub(crate) mod row;
    pub(crate) mod smol_peer;
    pub(crate) mod summary;
    pub(crate) mod table;
    pub(crate) mod tasks;
    pub(crate) mod tokio_islands_peer;
    #[allow(dead_code, reason = "shared with the benchmark `mixed`, which uses the rest")]
    pub(crate) mod tokio_peer;
    pub(crate) mod waiting;
    pub(crate) mod workload;
}

use peers::options::Options;
use peers::row::Row as _;
use peers::table::Table;
use peers::workload::counting::Counting;
use peers::workload::{self, Scale, Workload, idle, stream_client};
use peers::{chart, contest, echo_client, lineup, machine};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first() {
        Some(first) if first == echo_client::ARGUMENT => echo_client::main(&arguments[1..]).map(|()| ExitCode::SUCCESS),
        Some(first) if first == stream_client::ARGUMENT => {
            stream_client::main(&arguments[1..]).map(|()| ExitCode::SUCCESS)
        }
        Some(first) if first == idle::ARGUMENT => {
            Counting::begin();
            lineup::measure_idle_tasks(&arguments[1..]).map(|()| ExitCode::SUCCESS)
        }
        _ => match Options::parse(arguments, 9, 11) {
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

fn compare(options: &Options) -> io::Result<ExitCode> {
    let mut workloads = options.choose(&Workload::ALL)?;
    if options.is_list {
        for workload in &workloads {
            let description = workload.describe();
            println!("{:16} {}", description.name, description.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
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
    let table = Table::new(&contestants, &workloads, &entries);
    let caption = format!("Medians of {} interleaved rounds; a ratio above 1 is better.", options.rounds);
    let load = machine::load_average();
    println!("{}\n{caption} Load average at the end: {load}", table.text());
    if let Some(path) = &options.markdown {
        let text = format!("{}\n{caption}\n\n```\n{machine}\nload average at the end: {load}\n```\n", table.markdown());
        std::fs::write(path, text)?;
    }
    if let Some(path) = &options.svg {
        std::fs::write(path, chart::svg(&contestants, &workloads, &entries, &caption, |_| true))?;
    }
    for failure in table.failures() {
        eprintln!("not verified: {failure}");
    }
    Ok(if table.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
