//! Runtimes that come and go while everything happens at once: tasks that wake each other, wakes from outside, local tasks, blocking jobs,
//! timers, aborts, spawns from destructors, and a shutdown or a drop at a random moment, from a random place.
//!
//! Whatever the order, every future that was made is dropped exactly once, a local one on the thread it was made on, and nothing hangs. The
//! choices come from a seed; which thread is faster does not, so a seed that failed is a hint and no recipe. `EDDIES_STRESS_SEED` sets it,
//! `EDDIES_STRESS_MS` the time.

use std::collections::hash_map::RandomState;
use std::future::{Future, poll_fn};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use eddies::{LoopHandle, Runtime, TaskHandle, spawn, spawn_blocking, spawn_local, yield_now};

/// SplitMix64.
#[derive(Clone)]
struct Rand(u64);

impl Rand {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn fork(&mut self) -> Rand {
        Rand(self.below(u64::MAX))
    }
}

/// What one round counts and shares.
#[derive(Default)]
struct Round {
    /// Futures that live.
    live: AtomicIsize,
    made: AtomicUsize,
    /// Drops too many, or on the wrong thread; exceptions.
    wrong: AtomicUsize,
    /// Whoever waits to be woken by somebody.
    wakers: Mutex<Vec<Waker>>,
    aborts: Mutex<Vec<TaskHandle>>,
}

/// Lives in a future; counts its making and its drop.
struct Witness {
    round: Arc<Round>,
    is_dropped: bool,
    thread: Option<ThreadId>,
    /// Its destructor spawns one more task.
    spawns: bool,
}

impl Witness {
    fn new(round: &Arc<Round>) -> Self {
        round.live.fetch_add(1, SeqCst);
        round.made.fetch_add(1, SeqCst);
        Witness { round: round.clone(), is_dropped: false, thread: None, spawns: false }
    }

    fn local(round: &Arc<Round>) -> Self {
        let mut witness = Witness::new(round);
        witness.thread = Some(thread::current().id());
        witness
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let is_misplaced = self.thread.is_some_and(|thread| thread != thread::current().id());
        if std::mem::replace(&mut self.is_dropped, true) || is_misplaced {
            self.round.wrong.fetch_add(1, SeqCst);
        }
        if self.spawns
            && let Ok(handle) = LoopHandle::try_current()
        {
            let witness = Witness::new(&self.round);
            drop(handle.spawn(async move {
                let _witness = witness;
                yield_now().await;
            }));
        }
        self.round.wake_some(2);
        self.round.live.fetch_sub(1, SeqCst);
    }
}

impl Round {
    fn wake_some(&self, count: usize) {
        for _ in 0..count {
            let waker = self.wakers.lock().unwrap().pop();
            match waker {
                Some(waker) => waker.wake(),
                None => return,
            }
        }
    }

    fn abort_some(&self, rand: &mut Rand) {
        let abort = {
            let mut aborts = self.aborts.lock().unwrap();
            let count = aborts.len() as u64;
            (count > 0).then(|| aborts.swap_remove(rand.below(count) as usize))
        };
        if let Some(abort) = abort {
            abort.abort();
        }
    }
}

/// Waits until somebody wakes it, once.
async fn wait_for_anybody(round: &Round) {
    let mut has_waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        round.wakers.lock().unwrap().push(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

/// A task's life: a few random steps.
async fn live(mut witness: Witness, mut rand: Rand, depth: u32) {
    let round = witness.round.clone();
    witness.spawns = rand.below(8) == 0;
    for _ in 0..rand.below(6) {
        match rand.below(8) {
            0 => yield_now().await,
            1 | 2 => wait_for_anybody(&round).await,
            3 => round.wake_some(3),
            4 => eddies::sleep(Duration::from_micros(rand.below(3_000))).await,
            5 => round.abort_some(&mut rand),
            6 if depth < 3 => {
                let task = spawn(boxed(Witness::new(&round), rand.fork(), depth + 1));
                round.aborts.lock().unwrap().push(task.handle());
                if rand.below(2) == 0 {
                    let _ = task.await;
                }
            }
            _ => {
                let witness = Witness::new(&round);
                let job = spawn_blocking(move || drop(witness));
                if rand.below(2) == 0 {
                    let _ = job.await;
                }
            }
        }
    }
    drop(witness);
}

fn boxed(witness: Witness, rand: Rand, depth: u32) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(live(witness, rand, depth))
}

/// Spawns a local task that tells when it is dropped elsewhere.
fn spawn_a_local(round: &Arc<Round>, mut rand: Rand) {
    let witness = Witness::local(round);
    let task = spawn_local(async move {
        let witness = witness;
        for _ in 0..rand.below(4) {
            match rand.below(3) {
                0 => yield_now().await,
                1 => wait_for_anybody(&witness.round).await,
                _ => eddies::sleep(Duration::from_micros(rand.below(2_000))).await,
            }
        }
    });
    round.aborts.lock().unwrap().push(task.handle());
}

async fn main_future(round: Arc<Round>, mut rand: Rand, has_loop: bool) {
    for _ in 0..rand.below(20) {
        match rand.below(6) {
            0 if has_loop => spawn_a_local(&round, rand.fork()),
            1 => yield_now().await,
            2 => round.wake_some(2),
            // A timer that is made after the shutdown panics; only the first main future is sure to be through by then.
            3 if has_loop => eddies::sleep(Duration::from_micros(rand.below(500))).await,
            _ => {
                let task = spawn(boxed(Witness::new(&round), rand.fork(), 0));
                round.aborts.lock().unwrap().push(task.handle());
            }
        }
    }
}

/// A thread outside: wakes, aborts and spawns until it is told to stop.
fn disturb(round: &Arc<Round>, handle: &LoopHandle, mut rand: Rand, stop: &mpsc::Receiver<()>) {
    while let Err(mpsc::TryRecvError::Empty) = stop.try_recv() {
        match rand.below(4) {
            0 => drop(handle.spawn(boxed(Witness::new(round), rand.fork(), 1))),
            1 => round.abort_some(&mut rand),
            2 => {
                let witness = Witness::new(round);
                drop(handle.spawn_blocking(move || drop(witness)));
            }
            _ => round.wake_some(1),
        }
        thread::yield_now();
    }
}

fn one_round(mut rand: Rand) {
    let round = Arc::new(Round::default());
    let workers = 1 + rand.below(3) as usize;
    let of_handler = round.clone();
    let rt = Runtime::builder()
        .workers(workers)
        .shutdown_timeout(Duration::from_secs(20))
        .exception_handler(move |exception| {
            eprintln!("{exception}");
            of_handler.wrong.fetch_add(1, SeqCst);
        })
        .build()
        .unwrap();
    let handle = rt.handle();
    let disturbers: Vec<_> = (0..rand.below(3))
        .map(|_| {
            let (tell_stop, stop) = mpsc::channel();
            let (round, handle, rand) = (round.clone(), handle.clone(), rand.fork());
            (tell_stop, thread::spawn(move || disturb(&round, &handle, rand, &stop)))
        })
        .collect();
    // Alone on the runtime, the first main future has loop 0; with a stand-in or a rival it may have none.
    if rand.below(4) > 0 {
        rt.block_on(main_future(round.clone(), rand.fork(), true));
    }
    let rival = (rand.below(3) == 0).then(|| {
        let (round, handle, rand) = (round.clone(), handle.clone(), rand.fork());
        thread::spawn(move || handle.block_on(main_future(round, rand, false)))
    });
    match rand.below(5) {
        0 => drop(rt),
        1 => rt.shutdown(Duration::from_secs(20)).unwrap(),
        2 => handle.block_on(async {
            yield_now().await;
            drop(rt);
        }),
        3 => drop(handle.spawn_blocking(move || drop(rt))),
        _ => {
            // From a task of its own. If that task is aborted first, the runtime is dropped with it.
            let task = handle.spawn(async move {
                yield_now().await;
                drop(rt);
            });
            // A single loop works only while somebody is inside.
            while !task.is_finished() {
                handle.block_on(yield_now());
            }
        }
    }
    if let Some(rival) = rival {
        rival.join().unwrap();
    }
    for (tell_stop, thread) in disturbers {
        drop(tell_stop);
        thread.join().unwrap();
    }
    // Some of the ways out do not wait; what they leave ends by itself.
    let began = Instant::now();
    while round.live.load(SeqCst) > 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "{} futures are left", round.live.load(SeqCst));
        thread::yield_now();
    }
    assert_eq!((round.live.load(SeqCst), round.wrong.load(SeqCst)), (0, 0), "of {:?} futures", round.made);
}

#[test]
fn every_future_is_dropped_once_and_local_ones_at_home() {
    let from_environment = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = from_environment("EDDIES_STRESS_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let time = Duration::from_millis(from_environment("EDDIES_STRESS_MS").unwrap_or(2_500));
    let mut rand = Rand(seed);
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < time {
        let seed_of_round = rand.below(u64::MAX);
        let result = std::panic::catch_unwind(|| one_round(Rand(seed_of_round)));
        assert!(result.is_ok(), "round {rounds} failed; EDDIES_STRESS_SEED={seed}");
        rounds += 1;
    }
    println!("{rounds} rounds");
}
