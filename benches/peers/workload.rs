//! The rows of the table: which workloads there are, what each reports, and who can run it.
//!
//! To add a row: a variant, its lines in `describe` and `run_peer`, and the generic function that measures.

use super::limit::Limit;
use super::peer::{Peer, Spawn};
use super::row::{Better, Description, Metric, Outcome, Row};
use super::{echo, limit, tasks, waiting};

/// How often each workload repeats its operation in one run.
pub(crate) struct Scale {
    pub(crate) spawns: usize,
    pub(crate) outside_spawns: usize,
    pub(crate) chain: usize,
    pub(crate) yielding_tasks: usize,
    pub(crate) yields_per_task: usize,
    pub(crate) yields_alone: usize,
    pub(crate) ping_pongs: usize,
    pub(crate) timeouts: usize,
    pub(crate) blocking_jobs: usize,
    pub(crate) idle_wakes: usize,
    pub(crate) echo_connections: usize,
    /// How long the echo client measures, after a warm-up of a quarter of this.
    pub(crate) echo_ms: u64,
}

impl Scale {
    /// The counts of a run; a quick one only waits less often and echoes for a shorter time.
    pub(crate) fn new(is_quick: bool) -> Scale {
        Scale {
            spawns: 200_000,
            outside_spawns: 100_000,
            chain: 100_000,
            yielding_tasks: 1_000,
            yields_per_task: 200,
            yields_alone: 100_000,
            ping_pongs: 20_000,
            timeouts: 100_000,
            blocking_jobs: if is_quick { 2_000 } else { 10_000 },
            idle_wakes: if is_quick { 200 } else { 1_000 },
            echo_connections: 64,
            echo_ms: if is_quick { 400 } else { 2_000 },
        }
    }
}

const NS_PER_OP: &[Metric] = &[Metric { label: "per operation", unit: "ns", better: Better::Lower }];

const ECHO: &[Metric] = &[
    Metric { label: "throughput", unit: "requests/s", better: Better::Higher },
    Metric { label: "latency p50", unit: "us", better: Better::Lower },
    Metric { label: "latency p99", unit: "us", better: Better::Lower },
    Metric { label: "server CPU", unit: "us/request", better: Better::Lower },
    Metric { label: "server switches", unit: "per request", better: Better::Lower },
];

/// Everything that can be measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    SpawnDetached,
    SpawnAwait,
    SpawnOutside,
    ChainedSpawn,
    YieldMany,
    YieldAlone,
    PingPong,
    TimeoutDropped,
    SpawnBlocking,
    WakeIdle,
    TcpEcho,
}

impl Workload {
    pub(crate) const ALL: [Workload; 11] = [
        Workload::SpawnDetached,
        Workload::SpawnAwait,
        Workload::SpawnOutside,
        Workload::ChainedSpawn,
        Workload::YieldMany,
        Workload::YieldAlone,
        Workload::PingPong,
        Workload::TimeoutDropped,
        Workload::SpawnBlocking,
        Workload::WakeIdle,
        Workload::TcpEcho,
    ];

    /// The workloads that only move tasks.
    fn run_spawner<S: Spawn>(self, spawner: S, scale: &Scale) -> Option<Outcome> {
        match self {
            Workload::SpawnDetached => Some(tasks::spawn_detached(spawner, scale)),
            Workload::SpawnAwait => Some(tasks::spawn_await(spawner, scale)),
            Workload::ChainedSpawn => Some(tasks::chained_spawn(spawner, scale)),
            Workload::YieldMany => Some(tasks::yield_many(spawner, scale)),
            Workload::YieldAlone => Some(tasks::yield_alone(spawner, scale)),
            Workload::PingPong => Some(tasks::ping_pong(spawner, scale)),
            _ => None,
        }
    }
}

impl Row for Workload {
    type Scale = Scale;

    fn describe(self) -> Description {
        let (name, about, metrics) = match self {
            Workload::SpawnDetached => ("spawn_detached", "a task spawns 200,000 and waits until all ran", NS_PER_OP),
            Workload::SpawnAwait => ("spawn_await", "a task spawns 200,000, then awaits every handle", NS_PER_OP),
            Workload::SpawnOutside => {
                ("spawn_outside", "a thread outside spawns 100,000 and waits until all ran", NS_PER_OP)
            }
            Workload::ChainedSpawn => ("chained_spawn", "each task spawns the next, 100,000 times", NS_PER_OP),
            Workload::YieldMany => ("yield_1000", "1,000 tasks yield 200 times each", NS_PER_OP),
            Workload::YieldAlone => ("yield_alone", "one task yields, nothing else is there", NS_PER_OP),
            Workload::PingPong => ("ping_pong", "2 spawns and 2 messages over futures-channel's oneshot", NS_PER_OP),
            Workload::TimeoutDropped => ("timeout_dropped", "a 1 s timeout is armed, polled once, dropped", NS_PER_OP),
            Workload::SpawnBlocking => ("spawn_blocking", "round trip of a closure that does nothing", NS_PER_OP),
            Workload::WakeIdle => {
                ("wake_idle", "a thread outside wakes a task of an idle runtime (async-channel)", WAKE)
            }
            Workload::TcpEcho => ("tcp_echo", "64 connections, 64-byte messages, the client is another process", ECHO),
        };
        Description { name, about, metrics }
    }

    fn run_peer<P: Peer>(self, peer: P, scale: &Scale) -> Outcome {
        match self {
            Workload::SpawnOutside => tasks::spawn_outside(peer, scale),
            Workload::TimeoutDropped => waiting::timeout_dropped(peer, scale),
            Workload::SpawnBlocking => waiting::spawn_blocking(peer, scale),
            Workload::WakeIdle => waiting::wake_idle(peer, scale),
            Workload::TcpEcho => echo::measure(scale, |listener, count| peer.run(peer.serve_echo(listener, count))),
            other => other.run_spawner(peer, scale).expect("every other workload needs only an executor"),
        }
    }

    fn run_limit(self, scale: &Scale) -> Option<Outcome> {
        match self {
            Workload::TcpEcho => Some(echo::measure(scale, |listener, count| limit::serve_echo(&listener, count))),
            other => other.run_spawner(Limit, scale),
        }
    }
}

const WAKE: &[Metric] = &[Metric { label: "latency p50", unit: "us", better: Better::Lower }];
