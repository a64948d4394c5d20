//! What a task costs that waits: memory, and the time to spawn it and to wake it.
//!
//! Each run is in a process of its own, so that the heaps of the peers do not mix and nothing was freed before that is used now. Every task
//! keeps 64 bytes across its wait and leaves its waker in a place that exists before the count begins; in the end all are woken, and each checks its
//! bytes.

use std::future::poll_fn;
use std::hint::black_box;
use std::io;
use std::process::Command;
use std::sync::Mutex;
use std::task::{Poll, Waker};
use std::time::Instant;

use super::footprint::Footprint;
use crate::peers::peer::Spawn;
use crate::peers::row::Outcome;
use crate::peers::tasks::Countdown;

/// The first argument of a process that is to measure this. After it: the peer's name, its workers, the number of tasks.
pub(crate) const ARGUMENT: &str = "--idle-tasks";

/// Bytes that a task keeps while it waits.
const LOCAL: usize = 64;

/// How many are spawned before the spawner lets others run.
const BATCH: usize = 256;

/// What one task costs.
pub(crate) struct Report {
    pub(crate) rss_bytes: f64,
    pub(crate) heap_bytes: f64,
    pub(crate) spawn_ns: f64,
    pub(crate) wake_ns: f64,
}

impl Report {
    fn parse(line: &str) -> Option<Report> {
        let numbers: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [rss_bytes, heap_bytes, spawn_ns, wake_ns] = numbers[..] else { return None };
        Some(Report { rss_bytes, heap_bytes, spawn_ns, wake_ns })
    }

    pub(crate) fn print(&self) {
        println!("{} {} {} {}", self.rss_bytes, self.heap_bytes, self.spawn_ns, self.wake_ns);
    }
}

/// Measures in a process of its own.
pub(crate) fn in_a_process(peer: &str, workers: usize, tasks: usize) -> Result<Report, String> {
    let output = Command::new(std::env::current_exe().map_err(|error| error.to_string())?)
        .args([ARGUMENT, peer, &workers.to_string(), &tasks.to_string()])
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the process failed: {}: {}", output.status, complaint.trim()));
    }
    Report::parse(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| "the process said nothing".to_owned())
}

/// The row of the table.
pub(crate) fn measure(peer: &str, workers: usize, tasks: usize) -> Outcome {
    let report = in_a_process(peer, workers, tasks)?;
    Ok(vec![report.rss_bytes, report.heap_bytes])
}

/// What all tasks share.
struct Stage {
    /// Where each leaves its waker.
    places: Vec<Mutex<Option<Waker>>>,
    waiting: &'static Countdown,
    woken: &'static Countdown,
}

/// One that waits. One whose bytes changed does not arrive.
async fn wait(stage: &'static Stage, index: usize) {
    let local = black_box([index as u8; LOCAL]);
    let mut is_waiting = false;
    poll_fn(|context| {
        if is_waiting {
            return Poll::Ready(());
        }
        is_waiting = true;
        *stage.places[index].lock().expect("no holder of this lock panics") = Some(context.waker().clone());
        stage.waiting.arrive();
        Poll::Pending
    })
    .await;
    if black_box(&local).iter().all(|&byte| byte == index as u8) {
        stage.woken.arrive();
    }
}

/// What the process does: spawns so many tasks and wakes them, so many times. Memory is that of the first time, times are means.
pub(crate) fn run<S: Spawn>(spawner: S, tasks: usize, times: usize) -> Result<Report, String> {
    spawner.run(async move {
        // What a runtime makes once is there before the count.
        for _ in 0..BATCH {
            spawner.spawn(async {}).await;
        }
        let mut report = once(spawner, tasks).await?;
        for _ in 1..times {
            let again = once(spawner, tasks).await?;
            report.spawn_ns += again.spawn_ns;
            report.wake_ns += again.wake_ns;
        }
        report.spawn_ns /= times as f64;
        report.wake_ns /= times as f64;
        Ok(report)
    })
}

async fn once<S: Spawn>(spawner: S, tasks: usize) -> Result<Report, String> {
    let (waiting, all_wait) = Countdown::start(tasks);
    let (woken, all_woke) = Countdown::start(tasks);
    let places = (0..tasks).map(|_| Mutex::new(None)).collect();
    let stage: &'static Stage = Box::leak(Box::new(Stage { places, waiting, woken }));
    let says_not = |error: io::Error| error.to_string();
    let before = Footprint::now().map_err(says_not)?;
    let start = Instant::now();
    for index in 0..tasks {
        S::detach(spawner.spawn(wait(stage, index)));
        if index % BATCH == BATCH - 1 {
            S::yield_now().await;
        }
    }
    all_wait.await.map_err(|_| "the tasks were dropped")?;
    let spawn_ns = start.elapsed().as_nanos() as f64 / tasks as f64;
    waiting.verify()?;
    let after = Footprint::now().map_err(says_not)?;
    let start = Instant::now();
    for place in &stage.places {
        let waker = place.lock().expect("no holder of this lock panics").take();
        waker.ok_or("a task left no waker")?.wake();
    }
    all_woke.await.map_err(|_| "the tasks were dropped")?;
    let wake_ns = start.elapsed().as_nanos() as f64 / tasks as f64;
    woken.verify()?;
    let per_task = |bytes: i64| bytes as f64 / tasks as f64;
    Ok(Report {
        rss_bytes: per_task(after.rss - before.rss),
        heap_bytes: per_task(after.heap - before.heap),
        spawn_ns,
        wake_ns,
    })
}
