//! What one request costs a server that mostly rests: a TCP echo server with one connection, and a message now and then.
//!
//! `cargo bench --bench sparse -- --quick` ends within a minute; `--help` tells the rest. `RESULTS.md` beside this file has the figures.
//!
//! The row `tcp_echo_sparse` of `peers.rs` measures the same, one peer after the other, and goes up and down by a fifth: what such a request costs is
//! what the CPU has forgotten since the last, and that is the machine's doing. So here
//! - every server is a process of its own, all are there at once, and one client goes round them at fixed times, in each round in another order: what the machine does meanwhile
//!   it does to all, and each finds the caches as the others leave them;
//! - the CPU time is that of all threads of the server, by the kernel's scheduler, from one end of a round to the other;
//! - every byte is compared, and the first round is thrown away.
//!
//! Linux only: elsewhere there is no such CPU time to be had.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[allow(dead_code, reason = "shared with the benchmark `peers`, which uses the rest")]
#[path = "peers/parts.rs"]
mod peers;

use peers::contest::{LIMIT, REFERENCE};
use peers::eddies_peer::Eddies;
use peers::grid::Grid;
use peers::limit;
use peers::options::{Options, Program};
use peers::peer::{Peer, Spawn};
use peers::report::Report;
use peers::smol_peer::Smol;
use peers::summary::{Summary, percentile};
use peers::table::figure;
use peers::tokio_peer::Tokio;
use peers::{machine, options};

/// Printed for `--help` and after a mistake.
const USAGE: &str = "\
cargo bench --bench sparse -- [OPTIONS] [ROW...]

Sends one message now and then to a TCP echo server of every peer, to all of them in turn. Runs the rows whose names contain one of the given words (all
without a word).

  --quick           fewer rounds: less than a minute in all
  --rounds N        rounds that count (default 20, quick 5; one more before them is thrown away)
  --workers N       workers of every runtime (default: the CPUs this process may use)
  --peers A,B       only these peers
  --markdown FILE   also write the table as Markdown
  --list            print the rows and end
Files are relative to the directory of the benchmark's package, where cargo runs it.";

const PEERS: &[&str] = &[Eddies::NAME, Tokio::NAME, Smol::NAME, LIMIT, options::ALL];

/// The first argument of a process that serves.
const SERVE: &str = "--serve";

/// How long a round lasts at least, and how many messages it has at least.
const ROUND_MIN: Duration = Duration::from_secs(1);
const MESSAGES_MIN: u32 = 8;

/// An answer that takes longer than this does not come.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far apart the messages to one server are.
#[derive(Clone, Copy)]
struct Gap {
    name: &'static str,
    about: &'static str,
    time: Duration,
}

const GAPS: [Gap; 3] = [
    Gap { name: "5ms", about: "a message each 5 ms", time: Duration::from_millis(5) },
    Gap { name: "50ms", about: "a message each 50 ms", time: Duration::from_millis(50) },
    Gap { name: "250ms", about: "a message each 250 ms", time: Duration::from_millis(250) },
];

fn main() -> ExitCode {
    let program = Program {
        usage: USAGE,
        rounds: [5, 20],
        workers: &[],
        peers: PEERS,
        rows: |_| GAPS.to_vec(),
        describe: |gap| (gap.name, gap.about),
        processes: &[(SERVE, serve)],
        measure,
    };
    program.run()
}

/// The `main` of a server; `arguments` are those after [`SERVE`].
fn serve(arguments: &[String]) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "expected: PEER WORKERS");
    let [peer, workers] = arguments else { return Err(invalid()) };
    let workers = workers.parse().map_err(|_| invalid())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    match peer.as_str() {
        Eddies::NAME => echo(Eddies::start(workers)?, listener),
        Tokio::NAME => echo(Tokio::start(workers)?, listener),
        Smol::NAME => echo(Smol::start(workers)?, listener),
        LIMIT => limit::serve_echo(&listener, 1).map(drop),
        _ => Err(invalid()),
    }
}

fn echo<P: Peer>(peer: P, listener: TcpListener) -> io::Result<()> {
    peer.run(peer.serve_echo(listener, 1)).map(drop)
}

/// It ends with the value, whatever it does.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server, seen from the client.
struct Server {
    peer: &'static str,
    process: Process,
    stream: TcpStream,
    /// Of each round: the CPU time of a request, and the median of its latency, in microseconds.
    rounds: Vec<[f64; 2]>,
}

impl Server {
    fn start(peer: &'static str, workers: usize) -> io::Result<Server> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([SERVE, peer, &workers.to_string()]).stdout(Stdio::piped());
        let mut process = Process(command.spawn()?);
        let mut port = String::new();
        BufReader::new(process.0.stdout.take().expect("it is piped")).read_line(&mut port)?;
        let port: u16 = port.trim().parse().map_err(|_| io::Error::other(format!("{peer} did not start")))?;
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Server { peer, process, stream, rounds: Vec::new() })
    }

    /// One message and its answer: how long that took.
    fn exchange(&mut self, message: u64) -> io::Result<Duration> {
        let sent = [message; 8].map(u64::to_ne_bytes).concat();
        let mut answer = vec![0; sent.len()];
        let begin = Instant::now();
        self.stream.write_all(&sent)?;
        self.stream.read_exact(&mut answer)?;
        let took = begin.elapsed();
        if answer == sent { Ok(took) } else { Err(io::Error::other("it echoed something else")) }
    }

    /// The CPU time of its threads so far. None of them may end: what it used would be gone from the sum.
    fn cpu(&self) -> io::Result<Duration> {
        let unknown = || io::Error::other("the kernel does not say how much of a CPU a thread has had");
        let mut ns = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.0.id()))? {
            let figures = fs::read_to_string(thread?.path().join("schedstat"))?;
            ns += figures.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).ok_or_else(unknown)?;
        }
        if ns > 0 { Ok(Duration::from_nanos(ns)) } else { Err(unknown()) }
    }
}

fn measure(options: &Options, gaps: Vec<Gap>) -> io::Result<ExitCode> {
    if !cfg!(target_os = "linux") {
        return Err(io::Error::other("only Linux says how much of a CPU another process has had"));
    }
    let peers = PEERS.iter().copied().filter(|&peer| peer != options::ALL && options.wants(peer));
    let peers: Vec<&str> = peers.collect();
    let machine = machine::describe_named(peers.iter().copied(), options.workers);
    println!("{machine}\n");
    let mut grid = Grid { header: HEADER, rows: Vec::new() };
    for gap in gaps {
        // New ones for each row, which nothing has been learnt by.
        let servers = peers.iter().map(|peer| Server::start(peer, options.workers));
        let mut servers = servers.collect::<io::Result<Vec<_>>>()?;
        for round in 0..=options.rounds {
            eprintln!("round {round} of {}: {}", options.rounds, gap.name);
            let figures = go_round(&mut servers, gap.time)?;
            for (server, figures) in servers.iter_mut().zip(figures).filter(|_| round > 0) {
                server.rounds.push(figures);
            }
        }
        add(&mut grid, gap, &servers);
    }
    let caption = format!("Medians of {} rounds.", options.rounds);
    let report = Report { machine: &machine, table: grid, caption: &caption, failures: Vec::new() };
    report.finish(options, String::new)
}

/// One round, of each server the figures.
fn go_round(servers: &mut [Server], gap: Duration) -> io::Result<Vec<[f64; 2]>> {
    let messages = MESSAGES_MIN.max((ROUND_MIN.as_nanos() / gap.as_nanos()) as u32);
    let before = servers.iter().map(Server::cpu).collect::<io::Result<Vec<_>>>()?;
    let mut latencies = vec![Vec::new(); servers.len()];
    let random = RandomState::new();
    let mut order: Vec<usize> = (0..servers.len()).collect();
    order.sort_by_key(|&index| random.hash_one(index));
    let begin = Instant::now();
    for turn in 0..messages * servers.len() as u32 {
        let index = order[turn as usize % servers.len()];
        let due = begin + gap * turn / servers.len() as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let server = &mut servers[index];
        let took = server.exchange(turn.into());
        let took = took.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", server.peer)))?;
        latencies[index].push(took.as_secs_f64() * 1e6);
    }
    let mut figures = Vec::new();
    for ((server, before), mut latencies) in servers.iter().zip(before).zip(latencies) {
        let ended = || io::Error::other(format!("a thread of {} has ended", server.peer));
        let cpu = server.cpu()?.checked_sub(before).ok_or_else(ended)?.as_secs_f64() * 1e6 / f64::from(messages);
        latencies.sort_by(f64::total_cmp);
        figures.push([cpu, percentile(&latencies, 0.5)]);
    }
    Ok(figures)
}

const METRICS: [&str; 2] = ["CPU, us/request", "latency p50, us"];

const HEADER: &[&str] = &["a message each", "peer", "median", "quartiles", "to tokio", "to limit"];

fn add(grid: &mut Grid, gap: Gap, servers: &[Server]) {
    for (metric, label) in METRICS.iter().enumerate() {
        let summary = |server: &Server| {
            Summary::of(&server.rounds.iter().map(|round| round[metric]).collect::<Vec<_>>())
                .expect("there was a round")
        };
        let median_of =
            |peer: &str| servers.iter().find(|server| server.peer == peer).map(|server| summary(server).median);
        grid.rows.push(None);
        for (place, server) in servers.iter().enumerate() {
            let own = summary(server);
            let to = |peer| median_of(peer).map_or("-".to_owned(), |other| format!("{:.2}x", other / own.median));
            grid.rows.push(Some(vec![
                if place == 0 { format!("{}, {label}", gap.name) } else { String::new() },
                server.peer.to_owned(),
                figure(own.median),
                format!("{} .. {}", figure(own.lower_quartile), figure(own.upper_quartile)),
                to(REFERENCE),
                to(LIMIT),
            ]));
        }
    }
}
