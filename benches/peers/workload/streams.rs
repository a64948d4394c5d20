//! Streams of 1 MiB blocks, there and back: the server under measurement is in this process, the client in another one.

use std::io;
use std::net::TcpListener;

use super::stream_client::{self, BLOCK, Report};
use crate::peers::echo;
use crate::peers::row::Outcome;

/// How many streams there are at once.
const CONNECTIONS: usize = 8;

/// Runs `serve` on a fresh listener against a client process; it returns how many bytes it echoed.
pub(crate) fn measure(window_ms: u64, serve: impl FnOnce(TcpListener, usize) -> io::Result<u64>) -> Outcome {
    try_measure(window_ms, serve).map_err(|error| error.to_string())
}

fn try_measure(window_ms: u64, serve: impl FnOnce(TcpListener, usize) -> io::Result<u64>) -> io::Result<Vec<f64>> {
    let arguments = [CONNECTIONS.to_string(), window_ms.to_string()];
    let serve = |listener| serve(listener, CONNECTIONS);
    let served = echo::serve_client(stream_client::ARGUMENT, &arguments, CONNECTIONS, serve)?;
    let report = Report::parse(&served.report).ok_or_else(|| io::Error::other("the client said nothing"))?;
    let (echoed, sent) = (served.output, report.blocks * BLOCK as u64);
    if echoed != sent {
        return Err(io::Error::other(format!("{echoed} of {sent} bytes were echoed")));
    }
    let measured = report.measured as f64 / BLOCK as f64;
    Ok(vec![
        measured / (report.window_ns as f64 / 1e9),
        served.cpu_us as f64 / measured,
        served.switches as f64 / measured,
    ])
}
