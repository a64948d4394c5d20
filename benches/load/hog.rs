//! What holds the workers, and the rows of the table.
//!
//! A hog is an ordinary task (a thread beside the hand-written limit) that holds the thread it runs on for a while, either spinning or
//! asleep in the kernel, then waits for a timer a little longer than that ([`SLACK`]), and so on until the client is gone. All hogs begin
//! their holds at the same points of one grid, so that as many hogs as workers hold all workers at once, almost half of the time. A hold
//! lasts as long however late it begins, and a hog that missed a point of the grid waits for the next: what a runtime does one after the
//! other is missing in the count of holds. The tasks of the busy rows are of another kind, and stand in `busy.rs`.

use std::future::pending;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::busy::{self, Crowd, Next};
use super::paced_client::{self, Plan, Report};
use crate::peers::echo::{self, Served};
use crate::peers::echo_client::MESSAGE;
use crate::peers::limit;
use crate::peers::peer::Peer;
use crate::peers::row::{Better, Description, Metric, Outcome, Row};

/// How much longer a pause is than a hold. Timers count in milliseconds and are up to two late by design; without the slack it would be a
/// matter of chance whether a hog meets a grid of 2 ms.
const SLACK: Duration = Duration::from_millis(2);

/// How a hog holds its thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    Spin,
    Sleep,
}

/// How many hogs there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hogs {
    None,
    One,
    /// As many as workers.
    All,
    /// They never pause: see `busy.rs`.
    Busy(Crowd),
}

/// One row: an echo server, and what holds its runtime's workers.
#[derive(Clone, Copy)]
pub(crate) struct Mixed {
    name: &'static str,
    hogs: Hogs,
    hold: Hold,
    pub(crate) ms: u64,
    /// HTTP in place of echo.
    pub(super) is_http: bool,
}

const fn mixed(name: &'static str, hogs: Hogs, hold: Hold, ms: u64) -> Mixed {
    Mixed { name, hogs, hold, ms, is_http: false }
}

const fn http(name: &'static str, hogs: Hogs, hold: Hold, ms: u64) -> Mixed {
    Mixed { name, hogs, hold, ms, is_http: true }
}

/// The length is that of the longest.
const fn busy(name: &'static str, per_worker: usize, next: Next) -> Mixed {
    Mixed { name, hogs: Hogs::Busy(Crowd { per_worker, next }), hold: Hold::Spin, ms: 5, is_http: false }
}

impl Mixed {
    pub(crate) const ALL: [Mixed; 22] = [
        mixed("no hog", Hogs::None, Hold::Spin, 1),
        mixed("one spins 1 ms", Hogs::One, Hold::Spin, 1),
        mixed("one spins 10 ms", Hogs::One, Hold::Spin, 10),
        mixed("one spins 100 ms", Hogs::One, Hold::Spin, 100),
        mixed("one sleeps 1 ms", Hogs::One, Hold::Sleep, 1),
        mixed("one sleeps 10 ms", Hogs::One, Hold::Sleep, 10),
        mixed("one sleeps 100 ms", Hogs::One, Hold::Sleep, 100),
        mixed("all spin 1 ms", Hogs::All, Hold::Spin, 1),
        mixed("all spin 10 ms", Hogs::All, Hold::Spin, 10),
        mixed("all spin 100 ms", Hogs::All, Hold::Spin, 100),
        mixed("all sleep 1 ms", Hogs::All, Hold::Sleep, 1),
        mixed("all sleep 10 ms", Hogs::All, Hold::Sleep, 10),
        mixed("all sleep 100 ms", Hogs::All, Hold::Sleep, 100),
        busy("busy, 1 yields", 1, Next::Anybody),
        busy("busy, 4 yield", 4, Next::Anybody),
        busy("busy, 4 in pairs", 4, Next::Partner),
        http("HTTP, no hog", Hogs::None, Hold::Spin, 1),
        http("HTTP, one spins 100 ms", Hogs::One, Hold::Spin, 100),
        http("HTTP, one sleeps 100 ms", Hogs::One, Hold::Sleep, 100),
        http("HTTP, all spin 10 ms", Hogs::All, Hold::Spin, 10),
        http("HTTP, all spin 100 ms", Hogs::All, Hold::Spin, 100),
        http("HTTP, all sleep 100 ms", Hogs::All, Hold::Sleep, 100),
    ];

    pub(super) fn hogs(self, workers: usize) -> usize {
        match self.hogs {
            Hogs::None => 0,
            Hogs::One => 1,
            Hogs::All => workers,
            Hogs::Busy(_) => 0,
        }
    }

    /// For the rows whose tasks never pause.
    pub(super) fn crowd(self) -> Option<Crowd> {
        match self.hogs {
            Hogs::Busy(crowd) => Some(crowd),
            _ => None,
        }
    }
}

/// What a run is made of.
pub(crate) struct Scale {
    pub(crate) workers: usize,
    pub(crate) plan: Plan,
}

/// The metric that the targets speak of, and the chart.
pub(crate) const P99: &str = "p99";

const METRICS: &[Metric] = &[
    Metric { label: "p50", unit: "ms", better: Better::Lower },
    Metric { label: P99, unit: "ms", better: Better::Lower },
    Metric { label: "p99.9", unit: "ms", better: Better::Lower },
    Metric { label: "max", unit: "ms", better: Better::Lower },
    Metric { label: "answered in time", unit: "requests/s", better: Better::Higher },
    Metric { label: "holds", unit: "per s", better: Better::Higher },
    Metric { label: "server CPU", unit: "CPUs", better: Better::Lower },
    Metric { label: "switches", unit: "per s", better: Better::Lower },
    Metric { label: "client late p99", unit: "ms", better: Better::Lower },
];

impl Row for Mixed {
    type Scale = Scale;

    fn describe(self) -> Description {
        let about = match (self.hogs, self.hold) {
            (Hogs::None, _) => "only the load",
            (Hogs::One, Hold::Spin) => "one task spins, then pauses, again and again",
            (Hogs::One, Hold::Sleep) => "one task sleeps in the kernel, then pauses, again and again",
            (Hogs::All, Hold::Spin) => "as many tasks as workers spin together, then pause",
            (Hogs::All, Hold::Sleep) => "as many tasks as workers sleep in the kernel together, then pause",
            (Hogs::Busy(Crowd { per_worker: 1, .. }), _) => {
                "one task per worker computes for 0.1 to 5 ms, yields, and so on"
            }
            (Hogs::Busy(Crowd { next: Next::Anybody, .. }), _) => "the same with four tasks per worker",
            (Hogs::Busy(Crowd { next: Next::Partner, .. }), _) => {
                "two pairs per worker: a task computes, then wakes its partner"
            }
        };
        Description { name: self.name, about, metrics: METRICS }
    }

    fn run_peer<P: Peer>(self, peer: P, scale: &Scale) -> Outcome {
        if let Some(crowd) = self.crowd() {
            return busy::on_peer(peer, crowd, scale);
        }
        let (hogs, connections) = (self.hogs(scale.workers), scale.plan.connections);
        let is_http = self.is_http;
        measure(scale, is_http, |listener| {
            peer.run(async move {
                let shift = Shift::begin(self);
                let tasks: Vec<_> = (0..hogs).map(|_| peer.spawn(shift.clone().task::<P>())).collect();
                let served = match is_http {
                    false => peer.serve_echo(listener, connections).await,
                    true => peer.serve_http(listener, connections).await,
                };
                shift.end();
                let mut holds = 0;
                for task in tasks {
                    holds += task.await;
                }
                Ok((served?, holds))
            })
        })
    }

    fn run_limit(self, scale: &Scale) -> Option<Outcome> {
        if self.is_http {
            return None;
        }
        if let Some(crowd) = self.crowd() {
            return Some(busy::on_limit(crowd, scale));
        }
        let (hogs, connections) = (self.hogs(scale.workers), scale.plan.connections);
        Some(measure(scale, false, |listener| {
            let shift = Shift::begin(self);
            let hog = || {
                let shift = shift.clone();
                thread::spawn(move || shift.work(thread::sleep))
            };
            let threads: Vec<_> = (0..hogs).map(|_| hog()).collect();
            let echoed = limit::serve_echo(&listener, connections);
            shift.end();
            let holds = threads.into_iter().map(|thread| thread.join().expect("a hog does not panic")).sum();
            Ok((echoed?, holds))
        }))
    }
}

/// The hogs' working time.
#[derive(Clone)]
pub(super) struct Shift {
    /// Said by the server's task once the client is gone; the hogs look before each hold.
    is_over: Arc<AtomicBool>,
    start: Instant,
    hold: Hold,
    length: Duration,
}

impl Shift {
    pub(super) fn begin(row: Mixed) -> Shift {
        let length = Duration::from_millis(row.ms);
        Shift { is_over: Arc::default(), start: Instant::now(), hold: row.hold, length }
    }

    pub(super) fn end(&self) {
        // Ordering: publishes nothing.
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        // Ordering: as in `end`.
        self.is_over.load(Ordering::Relaxed)
    }

    /// How long it is to the next point of the grid.
    fn pause(&self) -> Duration {
        let period = (2 * self.length + SLACK).as_nanos();
        let into = self.start.elapsed().as_nanos() % period;
        Duration::from_nanos((period - into) as u64)
    }

    fn hold(&self) {
        match self.hold {
            Hold::Sleep => thread::sleep(self.length),
            Hold::Spin => {
                let start = Instant::now();
                while start.elapsed() < self.length {
                    std::hint::spin_loop();
                }
            }
        }
    }

    /// A hog as a task; how many holds it completed.
    async fn task<P: Peer>(self) -> u64 {
        let mut holds = 0;
        loop {
            P::timeout(self.pause(), pending::<()>()).await;
            if self.is_over() {
                return holds;
            }
            let shift = self.clone();
            P::hold(move || shift.hold()).await;
            holds += 1;
        }
    }

    /// A hog as a thread, or what is written like one, with its way to pause.
    pub(super) fn work(&self, sleep: fn(Duration)) -> u64 {
        let mut holds = 0;
        loop {
            sleep(self.pause());
            if self.is_over() {
                return holds;
            }
            self.hold();
            holds += 1;
        }
    }
}

/// `serve` answers, and returns how many bytes it echoed or how many requests it answered, and how many holds there were meanwhile.
pub(super) fn measure(
    scale: &Scale,
    is_http: bool,
    serve: impl FnOnce(TcpListener) -> io::Result<(u64, u64)>,
) -> Outcome {
    try_measure(scale, is_http, serve).map_err(|error| error.to_string())
}

fn try_measure(
    scale: &Scale,
    is_http: bool,
    serve: impl FnOnce(TcpListener) -> io::Result<(u64, u64)>,
) -> io::Result<Vec<f64>> {
    let start = Instant::now();
    let plan = Plan { is_http, ..scale.plan };
    let Served { output: (served, holds), report, cpu_us, switches } =
        echo::serve_client(paced_client::ARGUMENT, &plan.arguments(), plan.connections, serve)?;
    let report = Report::parse(&report).ok_or_else(|| io::Error::other("the client's report cannot be read"))?;
    let expected = if is_http { plan.requests() } else { plan.requests() * MESSAGE as u64 };
    if served != expected {
        return Err(io::Error::other(format!("served {served} of {expected} requests or bytes")));
    }
    let ms = |ns: u64| ns as f64 / 1e6;
    let seconds = start.elapsed().as_secs_f64();
    Ok(vec![
        ms(report.p50_ns),
        ms(report.p99_ns),
        ms(report.p999_ns),
        ms(report.max_ns),
        report.in_time as f64 / (scale.plan.window_ms as f64 / 1e3),
        holds as f64 / seconds,
        cpu_us as f64 / 1e6 / seconds,
        switches as f64 / seconds,
        ms(report.late_p99_ns),
    ])
}
