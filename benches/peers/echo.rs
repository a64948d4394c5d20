//! TCP echo and HTTP: the server under measurement is in this process, the client in another one.
//!
//! The CPU time and the context switches are those of this process while the client measures: its window begins and ends with a line on
//! its standard output (see `echo_client.rs`). A client that says nothing of the kind is there from before the server starts until its
//! last connection is closed. The other runtimes sleep meanwhile, and so does the thread that waits for the client.

use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::socket::{Backlog, listen};
use nix::sys::time::TimeValLike;

use super::echo_client::{self, Load, MESSAGE};
use super::row::Outcome;

/// Runs `serve` on a fresh listener against a client process. It returns how many bytes it echoed, or how many requests it answered.
pub(crate) fn measure(load: Load, serve: impl FnOnce(TcpListener, usize) -> io::Result<u64>) -> Outcome {
    try_measure(load, serve).map_err(|error| error.to_string())
}

fn try_measure(load: Load, serve: impl FnOnce(TcpListener, usize) -> io::Result<u64>) -> io::Result<Vec<f64>> {
    let connections = load.connections;
    let served =
        serve_client(echo_client::ARGUMENT, &load.arguments(), connections, |listener| serve(listener, connections))?;
    let report =
        echo_client::Report::parse(&served.report).ok_or_else(|| io::Error::other("the client said nothing"))?;
    let (requests, answered) = (report.requests, served.output);
    let expected = if load.is_http { requests } else { requests * MESSAGE as u64 };
    if answered != expected {
        return Err(io::Error::other(format!("served {answered} of {expected} requests or bytes")));
    }
    let per_request = |amount: i64| amount as f64 / report.measured as f64;
    Ok(vec![
        report.measured as f64 / (report.window_ns as f64 / 1e9),
        report.p50_ns as f64 / 1e3,
        report.p99_ns as f64 / 1e3,
        per_request(served.cpu_us),
        per_request(served.switches),
    ])
}

/// What a server did while its client was there.
pub(crate) struct Served<T> {
    /// What `serve` returned.
    pub(crate) output: T,
    /// What the client printed, but for the lines that tell of its window.
    pub(crate) report: String,
    /// CPU time and context switches of this process over the client's window, or from before the server started until it ended.
    pub(crate) cpu_us: i64,
    pub(crate) switches: i64,
}

/// Runs `serve` on a fresh listener, and as its client this executable with `argument`, the address, and `arguments`.
pub(crate) fn serve_client<T>(
    argument: &str,
    arguments: &[String],
    connections: usize,
    serve: impl FnOnce(TcpListener) -> io::Result<T>,
) -> io::Result<Served<T>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // The standard library lets 128 wait; a client that connects faster than that is accepted waits for a second then, and another.
    listen(&listener, Backlog::MAXALLOWABLE)?;
    let address = listener.local_addr()?;
    let client = Command::new(std::env::current_exe()?)
        .arg(argument)
        .arg(address.to_string())
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()?;
    let before = usage()?;
    let waiter = thread::spawn(move || wait_for(client, address, connections));
    let output = serve(listener);
    let after = usage()?;
    let heard = waiter.join().expect("the thread that waits for the client does not panic")?;
    let (before, after) = (heard.begin.unwrap_or(before), heard.end.unwrap_or(after));
    Ok(Served {
        output: output?,
        report: heard.report,
        cpu_us: cpu_us(&after) - cpu_us(&before),
        switches: switches(&after) - switches(&before),
    })
}

/// What a client said.
#[derive(Default)]
struct Heard {
    report: String,
    /// What this process had used when the client's window began, and when it ended.
    begin: Option<Usage>,
    end: Option<Usage>,
}

/// Waits for the client's report. A client that failed may have left the server waiting for connections: they are made in its place,
/// and closed at once, so that the server ends.
fn wait_for(client: Child, address: SocketAddr, connections: usize) -> io::Result<Heard> {
    let heard = hear(client);
    if heard.is_err() {
        for _ in 0..connections {
            // The server may be gone already, or have all its connections: both are fine.
            let _ = TcpStream::connect(address);
        }
    }
    heard
}

fn hear(mut client: Child) -> io::Result<Heard> {
    let mut heard = Heard::default();
    for line in BufReader::new(client.stdout.take().expect("it is piped")).lines() {
        match line?.as_str() {
            echo_client::BEGIN => heard.begin = Some(usage()?),
            echo_client::END => heard.end = Some(usage()?),
            report => heard.report.push_str(report),
        }
    }
    match client.wait()? {
        status if status.success() => Ok(heard),
        status => Err(io::Error::other(format!("the client failed: {status}"))),
    }
}

pub(crate) fn usage() -> io::Result<Usage> {
    Ok(getrusage(UsageWho::RUSAGE_SELF)?)
}

pub(crate) fn cpu_us(usage: &Usage) -> i64 {
    usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
}

/// Context switches of this process so far, voluntary and not.
pub(crate) fn switches_so_far() -> io::Result<i64> {
    Ok(switches(&usage()?))
}

fn switches(usage: &Usage) -> i64 {
    usage.voluntary_context_switches() + usage.involuntary_context_switches()
}
