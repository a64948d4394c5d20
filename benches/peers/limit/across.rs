//! What crosses from one thread to another: a spawn from outside, a job for another thread and back, a wake-up of a sleeping thread. Two threads each, which know of nothing but each other.

use std::hint;
use std::io;
use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use crate::peers::row::Outcome;
use crate::peers::summary::percentile;
use crate::peers::tasks::Countdown;
use crate::peers::waiting::IDLE;
use crate::peers::workload::Scale;

/// How often a waiting thread looks again before it lets others have the CPU: the other side may be waiting for it. (Where other
/// programs take the CPUs, watching is no limit: who sleeps gets one sooner.)
const LOOKS: u32 = 100;

/// How long it leaves a lock alone between two looks.
const PAUSE: u32 = 64;

/// Looks until there is something.
fn spin<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        for _ in 0..LOOKS {
            if let Some(found) = look() {
                return found;
            }
            hint::spin_loop();
        }
        thread::yield_now();
    }
}

type Errand<T> = Box<dyn FnOnce() -> T + Send>;

/// One thread allocates closures and pushes them to a vector behind a lock, another takes what is there, all at once, and calls them.
pub(crate) fn spawn_outside(scale: &Scale) -> Outcome {
    let count = scale.outside_spawns;
    let (countdown, _all_ran) = Countdown::start(count);
    let queue: Mutex<Vec<Errand<()>>> = Mutex::default();
    let (start, end) = thread::scope(|scope| {
        let outside = scope.spawn(|| {
            let start = Instant::now();
            for _ in 0..count {
                let errand: Errand<()> = Box::new(|| countdown.arrive());
                queue.lock().expect("no holder of this lock panics").push(errand);
            }
            start
        });
        let (mut ran, mut batch) = (0, Vec::new());
        while ran < count {
            spin(|| {
                mem::swap(&mut batch, &mut queue.lock().expect("no holder of this lock panics"));
                if batch.is_empty() {
                    (0..PAUSE).for_each(|_| hint::spin_loop());
                    return None;
                }
                Some(())
            });
            ran += batch.len();
            batch.drain(..).for_each(|errand| errand());
        }
        let end = Instant::now();
        (outside.join().expect("the spawning thread does not panic"), end)
    });
    countdown.verify()?;
    Ok(vec![(end - start).as_nanos() as f64 / count as f64])
}

/// Whose turn it is in [`Exchange`].
const NOBODY: u8 = 0;
const JOB: u8 = 1;
const RESULT: u8 = 2;
const END: u8 = 3;

/// A place for one job, and then for its result, which both threads watch.
struct Exchange {
    turn: AtomicU8,
    /// Written and locked by whose turn it is, so never waited for.
    job: Mutex<Option<Errand<usize>>>,
    result: Mutex<usize>,
}

impl Exchange {
    fn pass(&self, turn: u8) {
        // Ordering: Release: pairs with the load in `await_either`, after which the other side takes what was put there.
        self.turn.store(turn, Ordering::Release);
    }

    fn await_either(&self, turns: [u8; 2]) -> u8 {
        spin(|| {
            // Ordering: Acquire: pairs with the store in `pass`.
            let turn = self.turn.load(Ordering::Acquire);
            turns.contains(&turn).then_some(turn)
        })
    }

    fn serve(&self) {
        while self.await_either([JOB, END]) == JOB {
            let job = self.job.lock().expect("no holder of this lock panics").take();
            let result = job.expect("it was put there")();
            *self.result.lock().expect("no holder of this lock panics") = result;
            self.pass(RESULT);
        }
    }

    fn call(&self, job: Errand<usize>) -> usize {
        *self.job.lock().expect("no holder of this lock panics") = Some(job);
        self.pass(JOB);
        self.await_either([RESULT, RESULT]);
        *self.result.lock().expect("no holder of this lock panics")
    }
}

/// A boxed closure for a thread that watches for it, and its result for the caller, who watches too: neither ever sleeps.
pub(crate) fn spawn_blocking(scale: &Scale) -> Outcome {
    let count = scale.blocking_jobs;
    let exchange = Exchange { turn: AtomicU8::new(NOBODY), job: Mutex::default(), result: Mutex::default() };
    let (sum, elapsed) = thread::scope(|scope| {
        scope.spawn(|| exchange.serve());
        // The other thread is there once it has answered.
        exchange.call(Box::new(|| 0));
        let start = Instant::now();
        let sum: usize = (0..count).map(|index| exchange.call(Box::new(move || index))).sum();
        let elapsed = start.elapsed();
        exchange.pass(END);
        (sum, elapsed)
    });
    if sum != count * (count - 1) / 2 {
        return Err(format!("the outputs add up to {sum}"));
    }
    Ok(vec![elapsed.as_nanos() as f64 / count as f64])
}

/// A wake-up that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// One thread sleeps in `epoll_wait`, another writes to the eventfd that is registered there: it is all that [`mio::Waker`] does.
pub(crate) fn wake_idle(scale: &Scale) -> Outcome {
    try_wake_idle(scale.idle_wakes).map_err(|error| error.to_string())?
}

/// Waits until the wake-up before is no longer under way.
fn await_received(sent: &AtomicU64) -> io::Result<()> {
    let asked = Instant::now();
    // Ordering: Relaxed: a number by itself; that it is there before the wake-up comes is the kernel's doing.
    while sent.load(Ordering::Relaxed) != 0 {
        if asked.elapsed() > PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(IDLE);
    }
    Ok(())
}

fn try_wake_idle(count: usize) -> io::Result<Outcome> {
    let mut poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), Token(0))?;
    let start = Instant::now();
    // When the last wake-up was sent, in nanoseconds from the start; 0 once it was received.
    let sent = AtomicU64::new(0);
    let received = thread::scope(|scope| {
        let waking = scope.spawn(|| {
            for _ in 0..count {
                thread::sleep(IDLE);
                await_received(&sent)?;
                // Ordering: Relaxed: as in `await_received`.
                sent.store(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
                waker.wake()?;
            }
            Ok::<_, io::Error>(())
        });
        let mut latencies = Vec::with_capacity(count);
        let mut events = Events::with_capacity(1);
        while latencies.len() < count {
            match poll.poll(&mut events, Some(PATIENCE)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            if events.is_empty() {
                break;
            }
            // Ordering: Relaxed: as in `await_received`.
            let at = sent.swap(0, Ordering::Relaxed);
            latencies.push((start.elapsed().as_nanos() as u64 - at) as f64 / 1e3);
        }
        waking.join().expect("the waking thread does not panic")?;
        Ok::<_, io::Error>(latencies)
    });
    let mut latencies = received?;
    if latencies.len() != count {
        return Ok(Err(format!("{} of {count} wake-ups arrived", latencies.len())));
    }
    latencies.sort_by(f64::total_cmp);
    Ok(Ok(vec![percentile(&latencies, 0.5)]))
}
