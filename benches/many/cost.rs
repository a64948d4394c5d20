//! One measurement: the benchmark's own executable, started again with [`ARGUMENT`].

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::process::Command;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::crowd;
use crate::peers::eddies_peer::Eddies;
use crate::peers::peer::{Peer, Spawn};
use crate::peers::smol_peer::Smol;
use crate::peers::tokio_peer::Tokio;
use crate::peers::workload::counting::Counting;
use crate::peers::workload::footprint::Footprint;
use crate::peers::workload::idle;

/// The first argument of a process that is to measure. After it: the peer's name, its workers, the kind, the count.
pub(crate) const ARGUMENT: &str = "--growth-of";

/// What there are many of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tasks,
    Timers,
    Connections,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Tasks, Kind::Timers, Kind::Connections];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Tasks => "tasks",
            Kind::Timers => "timers",
            Kind::Connections => "connections",
        }
    }
}

/// What one of many costs.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) begin_ns: f64,
    pub(crate) use_ns: f64,
    pub(crate) heap_bytes: f64,
    pub(crate) rss_bytes: f64,
}

/// Fewer than this are begun and ended more than once.
const FEWEST: usize = 100_000;

/// Measures in a process of its own.
pub(crate) fn in_a_process(peer: &str, workers: usize, kind: Kind, count: usize) -> Result<Cost, String> {
    let output = Command::new(std::env::current_exe().map_err(|error| error.to_string())?)
        .args([ARGUMENT, peer, &workers.to_string(), kind.name(), &count.to_string()])
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the process failed: {}: {}", output.status, complaint.trim()));
    }
    let line = String::from_utf8_lossy(&output.stdout);
    let numbers: Result<Vec<f64>, _> = line.split_whitespace().map(str::parse).collect();
    match numbers.as_deref() {
        Ok(&[begin_ns, use_ns, heap_bytes, rss_bytes]) => Ok(Cost { begin_ns, use_ns, heap_bytes, rss_bytes }),
        _ => Err("the process said nothing".to_owned()),
    }
}

/// The `main` of that process.
pub(crate) fn main(arguments: &[String]) -> io::Result<()> {
    Counting::begin();
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "expected: PEER WORKERS KIND COUNT");
    let [peer, workers, kind, count] = arguments else { return Err(invalid()) };
    let workers = workers.parse().map_err(|_| invalid())?;
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind).ok_or_else(invalid)?;
    let count = count.parse().map_err(|_| invalid())?;
    let cost = match peer.as_str() {
        Eddies::NAME => measure(Eddies::start(workers)?, kind, count),
        Tokio::NAME => measure(Tokio::start(workers)?, kind, count),
        Smol::NAME => measure(Smol::start(workers)?, kind, count),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "no peer has this name")),
    };
    let Cost { begin_ns, use_ns, heap_bytes, rss_bytes } = cost.map_err(io::Error::other)?;
    println!("{begin_ns} {use_ns} {heap_bytes} {rss_bytes}");
    Ok(())
}

fn measure<P: Peer>(peer: P, kind: Kind, count: usize) -> Result<Cost, String> {
    let times = FEWEST.div_ceil(count);
    match kind {
        Kind::Tasks => idle::run(peer, count, times).map(|report| Cost {
            begin_ns: report.spawn_ns,
            use_ns: report.wake_ns,
            heap_bytes: report.heap_bytes,
            rss_bytes: report.rss_bytes,
        }),
        Kind::Timers => peer.run(async move {
            let mut cost = timers::<P>(count).await?;
            for _ in 1..times {
                let again = timers::<P>(count).await?;
                cost.begin_ns += again.begin_ns;
                cost.use_ns += again.use_ns;
            }
            cost.begin_ns /= times as f64;
            cost.use_ns /= times as f64;
            Ok(cost)
        }),
        Kind::Connections => crowd::serve(peer, count).map_err(|error| error.to_string()),
    }
}

/// Sleeps of 100 to 1,100 seconds, each polled once and dropped, in the order in which they were armed: their deadlines are in no order. The box of a
/// sleep counts as part of it.
async fn timers<P: Peer>(count: usize) -> Result<Cost, String> {
    let says_not = |error: io::Error| error.to_string();
    let mut sleeps = Vec::with_capacity(count);
    // The pages of the vector are there before the count.
    sleeps.resize_with(count, || None);
    let before = Footprint::now().map_err(says_not)?;
    let start = Instant::now();
    let pending = poll_fn(|context| {
        let mut pending = 0;
        for (index, place) in sleeps.iter_mut().enumerate() {
            let word = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut sleep = Box::pin(P::sleep(Duration::from_millis(100_000 + word % 1_000_000)));
            pending += usize::from(Pin::new(&mut sleep).poll(context).is_pending());
            *place = Some(sleep);
        }
        Poll::Ready(pending)
    })
    .await;
    let begin_ns = start.elapsed().as_nanos() as f64 / count as f64;
    let after = Footprint::now().map_err(says_not)?;
    let start = Instant::now();
    sleeps.iter_mut().for_each(|place| *place = None);
    let use_ns = start.elapsed().as_nanos() as f64 / count as f64;
    if pending != count {
        return Err(format!("{} of {count} sleeps ended at once", count - pending));
    }
    let each = |bytes: i64| bytes as f64 / count as f64;
    Ok(Cost { begin_ns, use_ns, heap_bytes: each(after.heap - before.heap), rss_bytes: each(after.rss - before.rss) })
}
