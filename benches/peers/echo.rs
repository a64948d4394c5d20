//! TCP echo: the server under measurement is in this process, the client in another one.
//!
//! The CPU time and the context switches are those of this process from before the server starts until the last connection is closed,
//! divided by all requests, those of the warm-up included. The other runtimes sleep meanwhile, and so does the thread that waits for
//! the client.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::echo_client::{self, MESSAGE};
use super::row::Outcome;
use super::workload::Scale;

/// Runs `serve` on a fresh listener against a client process.
pub(crate) fn measure(scale: &Scale, serve: impl FnOnce(TcpListener, usize) -> io::Result<u64>) -> Outcome {
    try_measure(scale, serve).map_err(|error| error.to_string())
}

fn try_measure(scale: &Scale, serve: impl FnOnce(TcpListener, usize) -> io::Result<u64>) -> io::Result<Vec<f64>> {
    let connections = scale.echo_connections;
    let arguments = [connections.to_string(), scale.echo_ms.to_string()];
    let served = serve_client(echo_client::ARGUMENT, &arguments, connections, |listener| serve(listener, connections))?;
    let report =
        echo_client::Report::parse(&served.report).ok_or_else(|| io::Error::other("the client said nothing"))?;
    let echoed = served.output;
    if echoed != report.requests * MESSAGE as u64 {
        let requests = report.requests;
        return Err(io::Error::other(format!("{echoed} bytes echoed for {requests} requests of {MESSAGE} bytes")));
    }
    let per_request = |amount: i64| amount as f64 / report.requests as f64;
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
    /// What the client printed.
    pub(crate) report: String,
    /// CPU time and context switches of this process, from before the server started until it ended.
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
    let report = waiter.join().expect("the thread that waits for the client does not panic")?;
    Ok(Served {
        output: output?,
        report,
        cpu_us: cpu_us(&after) - cpu_us(&before),
        switches: switches(&after) - switches(&before),
    })
}

/// Waits for the client's report. A client that failed may have left the server waiting for connections: they are made in its place,
/// and closed at once, so that the server ends.
fn wait_for(client: Child, address: SocketAddr, connections: usize) -> io::Result<String> {
    let report = client.wait_with_output().and_then(|output| match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(io::Error::other(format!("the echo client failed: {}", output.status))),
    });
    if report.is_err() {
        for _ in 0..connections {
            // The server may be gone already, or have all its connections: both are fine.
            let _ = TcpStream::connect(address);
        }
    }
    report
}

fn usage() -> io::Result<Usage> {
    Ok(getrusage(UsageWho::RUSAGE_SELF)?)
}

fn cpu_us(usage: &Usage) -> i64 {
    usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
}

/// Context switches of this process so far, voluntary and not.
pub(crate) fn switches_so_far() -> io::Result<i64> {
    Ok(switches(&usage()?))
}

fn switches(usage: &Usage) -> i64 {
    usage.voluntary_context_switches() + usage.involuntary_context_switches()
}
