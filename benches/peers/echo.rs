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
use super::workload::{Outcome, Scale};

/// Runs `serve` on a fresh listener against a client process.
pub(crate) fn measure(scale: &Scale, serve: impl FnOnce(TcpListener, usize) -> io::Result<u64>) -> Outcome {
    try_measure(scale, serve).map_err(|error| error.to_string())
}

fn try_measure(scale: &Scale, serve: impl FnOnce(TcpListener, usize) -> io::Result<u64>) -> io::Result<Vec<f64>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let connections = scale.echo_connections;
    let client = Command::new(std::env::current_exe()?)
        .arg(echo_client::ARGUMENT)
        .args([address.to_string(), connections.to_string(), scale.echo_ms.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let before = usage()?;
    let waiter = thread::spawn(move || wait_for(client, address, connections));
    let served = serve(listener, connections);
    let after = usage()?;
    let report = waiter.join().expect("the thread that waits for the client does not panic")?;
    let echoed = served?;
    if echoed != report.requests * MESSAGE as u64 {
        let requests = report.requests;
        return Err(io::Error::other(format!("{echoed} bytes echoed for {requests} requests of {MESSAGE} bytes")));
    }
    let per_request = |amount: i64| amount as f64 / report.requests as f64;
    Ok(vec![
        report.measured as f64 / (report.window_ns as f64 / 1e9),
        report.p50_ns as f64 / 1e3,
        report.p99_ns as f64 / 1e3,
        per_request(cpu_us(&after) - cpu_us(&before)),
        per_request(switches(&after) - switches(&before)),
    ])
}

/// Waits for the client's report. A client that failed may have left the server waiting for connections: they are made in its place,
/// and closed at once, so that the server ends.
fn wait_for(client: Child, address: SocketAddr, connections: usize) -> io::Result<echo_client::Report> {
    let report = client.wait_with_output().and_then(|output| {
        let line = String::from_utf8_lossy(&output.stdout);
        echo_client::Report::parse(&line)
            .ok_or_else(|| io::Error::other(format!("the echo client failed: {}", output.status)))
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
