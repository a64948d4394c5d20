//! The rows of the table: which workloads there are, what each reports, and who can run it.
//!
//! To add a row: a variant, its lines in `describe` and `run_peer`, and the generic function that measures.

use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::echo_client::Load;
use super::limit::Limit;
use super::own::Own;
use super::peer::{Peer, Spawn};
use super::row::{Better, Description, Metric, Outcome, Row};
use super::{echo, limit, messages, tasks, waiting};

pub(crate) mod counting;
pub(crate) mod footprint;
pub(crate) mod idle;
mod sleeps;
pub(crate) mod stream_client;
mod streams;

use sleeps::Sleeps;

/// How often each workload repeats its operation in one run.
pub(crate) struct Scale {
    /// A workload that counts nanoseconds per operation is run again and again for at least this long, and the mean of the runs is one
    /// sample: what lasts only a few milliseconds measures the neighbours.
    pub(crate) sample: Duration,
    pub(crate) workers: usize,
    pub(crate) spawns: usize,
    pub(crate) outside_spawns: usize,
    pub(crate) chain: usize,
    pub(crate) skynet_leaves: usize,
    pub(crate) yielding_tasks: usize,
    pub(crate) yields_per_task: usize,
    pub(crate) yields_alone: usize,
    pub(crate) ping_pongs: usize,
    pub(crate) timeouts: usize,
    pub(crate) sleeps: Sleeps,
    pub(crate) blocking_jobs: usize,
    pub(crate) idle_wakes: usize,
    pub(crate) idle_tasks: usize,
    /// How long a client measures, after a warm-up of a quarter of this.
    pub(crate) window_ms: u64,
}

impl Scale {
    /// The counts of a run; a quick one repeats less, waits less often and serves for a shorter time.
    pub(crate) fn new(is_quick: bool, workers: usize) -> Scale {
        let (sleeps, longest_ms) = if is_quick { (100_000, 250) } else { (1_000_000, 1_000) };
        Scale {
            sample: Duration::from_millis(if is_quick { 25 } else { 50 }),
            workers,
            spawns: 200_000,
            outside_spawns: 100_000,
            chain: 100_000,
            skynet_leaves: if is_quick { 100_000 } else { 1_000_000 },
            yielding_tasks: 1_000,
            yields_per_task: 200,
            yields_alone: 100_000,
            ping_pongs: 20_000,
            timeouts: 100_000,
            sleeps: Sleeps { count: sleeps, longest: Duration::from_millis(longest_ms) },
            blocking_jobs: if is_quick { 2_000 } else { 10_000 },
            idle_wakes: if is_quick { 100 } else { 1_000 },
            idle_tasks: if is_quick { 100_000 } else { 1_000_000 },
            window_ms: if is_quick { 200 } else { 2_000 },
        }
    }
}

const NS_PER_OP: &[Metric] = &[Metric { label: "per operation", unit: "ns", better: Better::Lower }];

const SERVED: &[Metric] = &[
    Metric { label: "throughput", unit: "requests/s", better: Better::Higher },
    Metric { label: "latency p50", unit: "us", better: Better::Lower },
    Metric { label: "latency p99", unit: "us", better: Better::Lower },
    Metric { label: "server CPU", unit: "us/request", better: Better::Lower },
    Metric { label: "server switches", unit: "per request", better: Better::Lower },
];

/// Of a server that mostly rests: the client decides how many requests there are.
const SPARSE: &[Metric] = &[
    Metric { label: "server CPU", unit: "us/request", better: Better::Lower },
    Metric { label: "latency p50", unit: "us", better: Better::Lower },
    Metric { label: "latency p99", unit: "us", better: Better::Lower },
    Metric { label: "server switches", unit: "per request", better: Better::Lower },
];

const STREAMED: &[Metric] = &[
    Metric { label: "throughput", unit: "MiB/s", better: Better::Higher },
    Metric { label: "server CPU", unit: "us/MiB", better: Better::Lower },
    Metric { label: "server switches", unit: "per MiB", better: Better::Lower },
];

const SLEPT: &[Metric] = &[
    Metric { label: "CPU", unit: "ns/sleep", better: Better::Lower },
    Metric { label: "lateness p99", unit: "ms", better: Better::Lower },
];

const MEMORY: &[Metric] = &[
    Metric { label: "RSS", unit: "bytes/task", better: Better::Lower },
    Metric { label: "heap", unit: "bytes/task", better: Better::Lower },
];

const WAKE: &[Metric] = &[Metric { label: "latency p50", unit: "us", better: Better::Lower }];

/// Everything that can be measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    SpawnDetached,
    SpawnAwait,
    SpawnOutside,
    ChainedSpawn,
    Skynet,
    YieldMany,
    YieldAlone,
    PingPong,
    ChannelPingPong,
    OwnLock,
    OwnChannel,
    OwnPingPong,
    OwnOneshot,
    TimeoutDropped,
    Sleeps,
    SpawnBlocking,
    WakeIdle,
    IdleMemory,
    TcpEcho,
    TcpEchoIdle,
    TcpEchoSparse,
    Http,
    Streams,
}

impl Workload {
    pub(crate) const ALL: [Workload; 23] = [
        Workload::SpawnDetached,
        Workload::SpawnAwait,
        Workload::SpawnOutside,
        Workload::ChainedSpawn,
        Workload::Skynet,
        Workload::YieldMany,
        Workload::YieldAlone,
        Workload::PingPong,
        Workload::ChannelPingPong,
        Workload::OwnLock,
        Workload::OwnChannel,
        Workload::OwnPingPong,
        Workload::OwnOneshot,
        Workload::TimeoutDropped,
        Workload::Sleeps,
        Workload::SpawnBlocking,
        Workload::WakeIdle,
        Workload::IdleMemory,
        Workload::TcpEcho,
        Workload::TcpEchoIdle,
        Workload::TcpEchoSparse,
        Workload::Http,
        Workload::Streams,
    ];

    /// The workloads that only move tasks, and messages between them.
    fn run_spawner<S: Own>(self, spawner: S, scale: &Scale) -> Option<Outcome> {
        let measure = match self {
            Workload::SpawnDetached => tasks::spawn_detached,
            Workload::SpawnAwait => tasks::spawn_await,
            Workload::ChainedSpawn => tasks::chained_spawn,
            Workload::Skynet => tasks::skynet,
            Workload::YieldMany => tasks::yield_many,
            Workload::YieldAlone => tasks::yield_alone,
            Workload::PingPong => tasks::ping_pong,
            Workload::ChannelPingPong => tasks::channel_ping_pong,
            Workload::OwnLock => messages::lock,
            Workload::OwnChannel => messages::channel,
            Workload::OwnPingPong => messages::ping_pong,
            Workload::OwnOneshot => messages::oneshot,
            _ => return None,
        };
        Some(repeat(scale.sample, || measure(spawner, scale)))
    }

    /// What the client of a server does.
    fn load(self, scale: &Scale) -> Load {
        let load = Load {
            connections: 64,
            active: 64,
            window_ms: scale.window_ms,
            rest_us: 0,
            is_http: self == Workload::Http,
        };
        match self {
            Workload::TcpEchoIdle => Load { connections: 5_000, active: 100, ..load },
            Workload::TcpEchoSparse => Load { connections: 1, active: 1, rest_us: 5_000, ..load },
            _ => load,
        }
    }

    /// How many descriptors the process must be allowed to have open.
    fn files(self) -> u64 {
        if self == Workload::TcpEchoIdle { 5_500 } else { 256 }
    }
}

/// Runs a workload until `sample` has passed; the figures are the means of its runs.
fn repeat(sample: Duration, run: impl Fn() -> Outcome) -> Outcome {
    let start = Instant::now();
    let mut figures = run()?;
    let mut runs = 1.0;
    while start.elapsed() < sample {
        for (sum, figure) in figures.iter_mut().zip(run()?) {
            *sum += figure;
        }
        runs += 1.0;
    }
    figures.iter_mut().for_each(|sum| *sum /= runs);
    Ok(figures)
}

/// The figures of [`SERVED`] as those of [`SPARSE`].
fn sparse(served: Outcome) -> Outcome {
    let served = served?;
    let [_, p50, p99, cpu, switches] = served[..] else { return Err("not the figures of a server".into()) };
    Ok(vec![cpu, p50, p99, switches])
}

/// Raises the limit on open files as far as this process may; returns what it may have now.
pub(crate) fn raise_files_allowed() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, hard)| {
        let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        if raised.is_ok() { hard } else { soft }
    })
}

/// Says which of `workloads` have to be left out because of that limit.
pub(crate) fn leave_out(workloads: &mut Vec<Workload>) -> Vec<String> {
    let allowed = raise_files_allowed();
    let too_many = |workload: &Workload| workload.files() > allowed;
    let out = workloads.iter().copied().filter(too_many);
    let said = out.map(|workload| {
        let (name, needed) = (workload.describe().name, workload.files());
        format!("{name} is left out: it needs {needed} open files, and this process may have {allowed}")
    });
    let said = said.collect();
    workloads.retain(|workload| !too_many(workload));
    said
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
            Workload::Skynet => (
                "skynet",
                "each task spawns and awaits 10, down to 1,000,000 leaves (quick: 100,000); per leaf",
                NS_PER_OP,
            ),
            Workload::YieldMany => ("yield_1000", "1,000 tasks yield 200 times each", NS_PER_OP),
            Workload::YieldAlone => ("yield_alone", "one task yields, nothing else is there", NS_PER_OP),
            Workload::PingPong => ("ping_pong", "2 spawns and 2 messages over futures-channel's oneshot", NS_PER_OP),
            Workload::ChannelPingPong => {
                ("ping_pong_channel", "there and back over async-channel, bounded to 1; 100 pairs at once", NS_PER_OP)
            }
            Workload::OwnLock => {
                ("own_lock", "lock and unlock the runtime's own lock, which nobody else wants", NS_PER_OP)
            }
            Workload::OwnChannel => {
                ("own_channel", "the runtime's own channel with room for 100; one sends and one receives", NS_PER_OP)
            }
            Workload::OwnPingPong => (
                "own_ping_pong",
                "there and back over the runtime's own channel, bounded to 1; 100 pairs at once",
                NS_PER_OP,
            ),
            Workload::OwnOneshot => (
                "own_oneshot",
                "a spawn that answers over the runtime's own channel for one value; 1,000 at once",
                NS_PER_OP,
            ),
            Workload::TimeoutDropped => ("timeout_dropped", "a 1 s timeout is armed, polled once, dropped", NS_PER_OP),
            Workload::Sleeps => {
                ("sleeps", "1,000,000 tasks sleep for a random while up to 1 s (quick: 100,000, up to 0.25 s)", SLEPT)
            }
            Workload::SpawnBlocking => ("spawn_blocking", "round trip of a closure that does nothing", NS_PER_OP),
            Workload::WakeIdle => {
                ("wake_idle", "a thread outside wakes a task of an idle runtime (async-channel)", WAKE)
            }
            Workload::IdleMemory => (
                "idle_memory",
                "1,000,000 tasks wait with 64 bytes each (quick: 100,000), in a process of their own",
                MEMORY,
            ),
            Workload::TcpEcho => {
                ("tcp_echo", "64 connections, 64-byte messages, the client is another process", SERVED)
            }
            Workload::TcpEchoIdle => {
                ("tcp_echo_5000", "the same with 5,000 connections, of which 100 are active", SERVED)
            }
            Workload::TcpEchoSparse => ("tcp_echo_sparse", "one connection, a message 5 ms after each answer", SPARSE),
            Workload::Http => ("http", "HTTP/1.1 by hyper, 64 connections kept alive", SERVED),
            Workload::Streams => ("streams", "8 connections, blocks of 1 MiB there and back", STREAMED),
        };
        Description { name, about, metrics }
    }

    fn run_peer<P: Peer>(self, peer: P, scale: &Scale) -> Outcome {
        let load = self.load(scale);
        match self {
            Workload::SpawnOutside => repeat(scale.sample, || tasks::spawn_outside(peer, scale)),
            Workload::TimeoutDropped => repeat(scale.sample, || waiting::timeout_dropped(peer, scale)),
            Workload::SpawnBlocking => repeat(scale.sample, || waiting::spawn_blocking(peer, scale)),
            Workload::WakeIdle => waiting::wake_idle(peer, scale),
            Workload::Sleeps => sleeps::on_peer(peer, scale.sleeps),
            Workload::IdleMemory => idle::measure(P::NAME, scale.workers, scale.idle_tasks),
            Workload::TcpEcho | Workload::TcpEchoIdle => {
                echo::measure(load, |listener, count| peer.run(peer.serve_echo(listener, count)))
            }
            Workload::TcpEchoSparse => {
                sparse(echo::measure(load, |listener, count| peer.run(peer.serve_echo(listener, count))))
            }
            Workload::Http => echo::measure(load, |listener, count| peer.run(peer.serve_http(listener, count))),
            Workload::Streams => {
                streams::measure(scale.window_ms, |listener, count| peer.run(peer.serve_streams(listener, count)))
            }
            other => other.run_spawner(peer, scale).expect("every other workload needs only an executor"),
        }
    }

    fn run_limit(self, scale: &Scale) -> Option<Outcome> {
        let load = self.load(scale);
        match self {
            Workload::SpawnOutside => Some(repeat(scale.sample, || limit::spawn_outside(scale))),
            Workload::TimeoutDropped => Some(repeat(scale.sample, || limit::timeout_dropped(scale))),
            Workload::SpawnBlocking => Some(repeat(scale.sample, || limit::spawn_blocking(scale))),
            Workload::WakeIdle => Some(limit::wake_idle(scale)),
            Workload::Sleeps => Some(sleeps::on_limit(scale.sleeps)),
            Workload::IdleMemory => Some(idle::measure(Limit::NAME, scale.workers, scale.idle_tasks)),
            Workload::TcpEcho | Workload::TcpEchoIdle => {
                Some(echo::measure(load, |listener, count| limit::serve_echo(&listener, count)))
            }
            Workload::TcpEchoSparse => {
                Some(sparse(echo::measure(load, |listener, count| limit::serve_echo(&listener, count))))
            }
            Workload::Http => Some(echo::measure(load, |listener, count| limit::serve_http(&listener, count))),
            Workload::Streams => {
                Some(streams::measure(scale.window_ms, |listener, count| limit::serve_streams(&listener, count)))
            }
            other => other.run_spawner(Limit, scale),
        }
    }
}
