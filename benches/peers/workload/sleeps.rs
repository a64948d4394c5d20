//! A great many sleeps, each in a task of its own, for a random while: CPU time per sleep, and how late they come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use crate::peers::echo;
use crate::peers::peer::Peer;
use crate::peers::row::Outcome;
use crate::peers::summary::percentile;
use crate::peers::tasks::Countdown;

/// How many, and how long at most.
#[derive(Clone, Copy)]
pub(crate) struct Sleeps {
    pub(crate) count: usize,
    pub(crate) longest: Duration,
}

impl Sleeps {
    /// How long the sleep with this number is: a fixed sequence that looks random, the same for all.
    fn length(self, index: usize) -> Duration {
        let mut word = (index as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_nanos((word ^ (word >> 31)) % self.longest.as_nanos() as u64)
    }
}

/// What a slot holds whose sleep has not ended.
const ASLEEP: u64 = u64::MAX;

/// What a slot holds whose sleep ended before its time.
const EARLY: u64 = u64::MAX - 1;

/// A place for the lateness of each sleep, in nanoseconds, written once by the sleeper.
struct Lateness(Vec<AtomicU64>);

/// One for all runs: a task then carries a plain reference, and no shared reference count is measured.
static LATENESS: OnceLock<Lateness> = OnceLock::new();

impl Lateness {
    /// `count` is the same in all runs of a process.
    fn of_all_asleep(count: usize) -> &'static Lateness {
        let lateness = LATENESS.get_or_init(|| Lateness((0..count).map(|_| AtomicU64::new(ASLEEP)).collect()));
        // Ordering: Relaxed: nobody else has a slot before the sleepers are spawned.
        lateness.0.iter().for_each(|slot| slot.store(ASLEEP, Ordering::Relaxed));
        lateness
    }

    fn record(&self, index: usize, begun: Instant, length: Duration) {
        let late = begun.elapsed().checked_sub(length).map_or(EARLY, |late| late.as_nanos() as u64);
        // Ordering: Relaxed: read when all sleepers have arrived at the countdown, whose message synchronises; see `outcome`.
        self.0[index].store(late, Ordering::Relaxed);
    }

    /// CPU time per sleep in nanoseconds, and the 99th percentile of the lateness in milliseconds.
    fn outcome(&self, cpu_us: i64) -> Outcome {
        // Ordering: as in `record`.
        let mut late: Vec<u64> = self.0.iter().map(|slot| slot.load(Ordering::Relaxed)).collect();
        late.sort_unstable();
        let asleep = late.iter().rev().take_while(|&&late| late == ASLEEP).count();
        let early = late.iter().filter(|&&late| late == EARLY).count();
        if asleep + early > 0 {
            return Err(format!("{asleep} sleeps did not end, {early} ended before their time"));
        }
        let late_ms: Vec<f64> = late.iter().map(|&late| late as f64 / 1e6).collect();
        Ok(vec![cpu_us as f64 * 1e3 / late.len() as f64, percentile(&late_ms, 0.99)])
    }
}

/// From before the first is spawned until the last has ended.
pub(crate) fn on_peer<P: Peer>(peer: P, sleeps: Sleeps) -> Outcome {
    let lateness = Lateness::of_all_asleep(sleeps.count);
    let (countdown, all_woke) = Countdown::start(sleeps.count);
    let before = echo::usage().map_err(|error| error.to_string())?;
    let result: Result<(), oneshot::Canceled> = peer.run(async move {
        for index in 0..sleeps.count {
            P::detach(peer.spawn(async move {
                let length = sleeps.length(index);
                let begun = Instant::now();
                P::sleep(length).await;
                lateness.record(index, begun, length);
                countdown.arrive();
            }));
        }
        all_woke.await
    });
    let after = echo::usage().map_err(|error| error.to_string())?;
    result.map_err(|_| "the tasks were dropped")?;
    countdown.verify()?;
    lateness.outcome(echo::cpu_us(&after) - echo::cpu_us(&before))
}

/// One thread and a heap.
pub(crate) fn on_limit(sleeps: Sleeps) -> Outcome {
    let lateness = Lateness::of_all_asleep(sleeps.count);
    let before = echo::usage().map_err(|error| error.to_string())?;
    let mut heap = BinaryHeap::with_capacity(sleeps.count);
    for index in 0..sleeps.count {
        let begun = Instant::now();
        heap.push(Reverse((begun + sleeps.length(index), index, begun)));
    }
    while let Some(Reverse((due, index, begun))) = heap.pop() {
        let wait = due.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            thread::sleep(wait);
        }
        lateness.record(index, begun, sleeps.length(index));
    }
    let after = echo::usage().map_err(|error| error.to_string())?;
    lateness.outcome(echo::cpu_us(&after) - echo::cpu_us(&before))
}
