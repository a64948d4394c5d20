//! Instructions per operation on the hot paths of eddies, counted by valgrind and held against those recorded in `instructions.txt` beside this file.
//!
//! `cargo bench --bench instructions` counts, prints the table, and ends with exit status 1 when a path has grown by more than 5 %;
//! `-- --record` writes the file anew, which belongs into the commit that explains the change.
//!
//! Counts do not suffer from a busy machine as times do. They do not see what a cache miss, a lock between CPUs or a system call costs; `peers.rs` does.
//! Each figure is the difference between a run of many operations and one of few, so that what happens once is not in it, and the smallest of
//! three such differences: the monitor's thread looks at the clock of the machine, and valgrind makes its time pass slowly.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};

mod counted {
    pub(crate) mod paths;
    pub(crate) mod record;
}

#[allow(dead_code, reason = "shared with the benchmark `peers`, which uses the rest")]
mod peers {
    pub(crate) mod options;
}

use counted::paths::{self, HotPath};
use counted::record::{Record, machine};
use peers::options::{Options, Program};

/// The recorded counts.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");

/// A path may grow by this much before the benchmark fails.
const ALLOWED_PER_CENT: f64 = 5.0;

/// How often each path is counted.
const REPEATS: usize = 3;

const USAGE: &str = "\
cargo bench --bench instructions -- [--record] [--repeats N]

Counts instructions per operation under valgrind and compares with benches/instructions.txt; exit status 1 when a path has grown by more than
5 %, 2 when valgrind is not there. The comparison is left out, with exit status 0, where the file was recorded with another architecture, rustc, libc
or valgrind.

  --record     write the file anew
  --repeats N  how often each path is counted (default 3; the smallest count is taken)";

fn main() -> ExitCode {
    let program = Program {
        usage: USAGE,
        rounds: [REPEATS, REPEATS],
        workers: &[],
        peers: &[],
        // No path is counted alone: they are recorded together.
        rows: |_| Vec::<HotPath>::new(),
        describe: |path| (path.name(), path.about()),
        processes: &[(paths::ARGUMENT, paths::main)],
        measure: |options, _| compare(options),
    };
    program.run()
}

fn compare(options: &Options) -> io::Result<ExitCode> {
    let machine = match machine() {
        Ok(machine) => machine,
        Err(error) => {
            eprintln!("valgrind does not run here ({error}): nothing was counted");
            return Ok(ExitCode::from(2));
        }
    };
    let recorded = if options.is_recording { None } else { Some(Record::read(Path::new(FILE))?) };
    let mut now = Record { machine, counts: Vec::new() };
    for path in HotPath::ALL {
        eprintln!("counting {}", path.name());
        now.counts.push((path.name().to_owned(), count(path, options.rounds)?));
    }
    let Some(recorded) = recorded else {
        now.write(Path::new(FILE))?;
        println!("{}\nrecorded in {FILE}", table(&now, None));
        return Ok(ExitCode::SUCCESS);
    };
    println!("{}", table(&now, Some(&recorded)));
    let differences = recorded.differences(&now);
    if !differences.is_empty() {
        println!("not compared, because the counts were recorded on another machine:");
        differences.iter().for_each(|difference| println!("  {difference}"));
        println!("record anew there (--record) at the commit before the change, and compare with that");
        return Ok(ExitCode::SUCCESS);
    }
    let grown: Vec<&str> = HotPath::ALL
        .into_iter()
        .map(HotPath::name)
        .filter(|name| recorded.change(&now, name).is_none_or(|change| change > ALLOWED_PER_CENT))
        .collect();
    if grown.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("GROWN by more than {ALLOWED_PER_CENT} %: {}", grown.join(", "));
    println!("mend it, or record anew (--record) and say in the commit what it buys");
    Ok(ExitCode::FAILURE)
}

fn table(now: &Record, recorded: Option<&Record>) -> String {
    let mut text = format!("{:8} {:>10} {:>10} {:>8}  what is counted\n", "path", "recorded", "now", "change");
    for path in HotPath::ALL {
        let name = path.name();
        let now_counted = now.count(name).unwrap_or(f64::NAN);
        let before = recorded.and_then(|recorded| recorded.count(name));
        let before_text = before.map_or("-".to_owned(), |count| format!("{count:.0}"));
        let change = recorded.and_then(|recorded| recorded.change(now, name));
        let change_text = change.map_or("-".to_owned(), |change| format!("{change:+.1} %"));
        let about = path.about();
        let _ = writeln!(text, "{name:8} {before_text:>10} {now_counted:>10.0} {change_text:>8}  {about}");
    }
    text
}

/// Instructions per operation.
fn count(path: HotPath, repeats: usize) -> io::Result<f64> {
    let (few, many) = path.sizes();
    let mut least = f64::INFINITY;
    for _ in 0..repeats {
        let difference = collected(path, many)? as f64 - collected(path, few)? as f64;
        least = least.min(difference / (many - few) as f64);
    }
    Ok(least)
}

/// All instructions of a process that does `size` operations.
fn collected(path: HotPath, size: usize) -> io::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--vgdb=no"])
        .arg(std::env::current_exe()?)
        .args([paths::ARGUMENT, path.name(), &size.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count =
        said.lines().find_map(|line| line.split_once("Collected :")).and_then(|(_, rest)| rest.trim().parse().ok());
    count.filter(|_| output.status.success()).ok_or_else(|| {
        io::Error::other(format!("valgrind counted nothing for {}: {}\n{said}", path.name(), output.status))
    })
}
