//! Workloads that only move tasks: spawn, yield, message.
//!
//! Each runs as a task on a worker, takes the time itself, and checks that all of its work was done before it reports.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use futures_lite::future;

use super::peer::{Peer, Spawn};
use super::row::Outcome;
use super::workload::Scale;

/// Counts arrivals down and sends one message at the last.
pub(crate) struct Countdown {
    /// How many are still to arrive.
    left: AtomicUsize,
    /// Taken by the last arrival.
    done: Mutex<Option<oneshot::Sender<()>>>,
}

impl Countdown {
    /// Leaked (a few dozen bytes per run), so that a task carries a plain reference and no shared reference count is measured.
    pub(crate) fn start(count: usize) -> (&'static Countdown, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        let countdown = Countdown { left: AtomicUsize::new(count), done: Mutex::new(Some(sender)) };
        (Box::leak(Box::new(countdown)), receiver)
    }

    #[inline]
    pub(crate) fn arrive(&self) {
        // Ordering: publishes nothing; the message that the last arrival sends carries its own synchronisation.
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let sender = self.done.lock().expect("no holder of this lock panics").take();
            sender.expect("the last arrival is one").send(()).expect("the waiter outlives the tasks");
        }
    }

    /// Exactly the announced number arrived: one more would have wrapped the counter.
    pub(crate) fn verify(&self) -> Result<(), String> {
        // Ordering: publishes nothing, see `arrive`.
        match self.left.load(Ordering::Relaxed) {
            0 => Ok(()),
            left => Err(format!("{left} tasks did not run, or ran twice")),
        }
    }
}

pub(crate) fn per_operation(elapsed: Duration, operations: usize) -> Outcome {
    Ok(vec![elapsed.as_nanos() as f64 / operations as f64])
}

pub(crate) fn spawn_detached<S: Spawn>(spawner: S, scale: &Scale) -> Outcome {
    let count = scale.spawns;
    spawner.run(async move {
        let (countdown, all_ran) = Countdown::start(count);
        let start = Instant::now();
        for _ in 0..count {
            S::detach(spawner.spawn(async { countdown.arrive() }));
        }
        all_ran.await.map_err(|_| "the tasks were dropped")?;
        let elapsed = start.elapsed();
        countdown.verify()?;
        per_operation(elapsed, count)
    })
}

pub(crate) fn spawn_await<S: Spawn>(spawner: S, scale: &Scale) -> Outcome {
    let count = scale.spawns;
    spawner.run(async move {
        let mut handles = Vec::with_capacity(count);
        let start = Instant::now();
        for index in 0..count {
            handles.push(spawner.spawn(async move { index }));
        }
        let mut sum = 0;
        for handle in handles {
            sum += handle.await;
        }
        let elapsed = start.elapsed();
        if sum != count * (count - 1) / 2 {
            return Err(format!("the outputs add up to {sum}"));
        }
        per_operation(elapsed, count)
    })
}

pub(crate) fn spawn_outside<P: Peer>(peer: P, scale: &Scale) -> Outcome {
    let count = scale.outside_spawns;
    let (countdown, all_ran) = Countdown::start(count);
    let outside = thread::spawn(move || {
        let start = Instant::now();
        for _ in 0..count {
            P::detach(peer.spawn_outside(async { countdown.arrive() }));
        }
        start
    });
    let end = peer.run(async move { all_ran.await.map(|()| Instant::now()) }).map_err(|_| "the tasks were dropped")?;
    let start = outside.join().map_err(|_| "the spawning thread panicked")?;
    countdown.verify()?;
    per_operation(end - start, count)
}

/// Not an `async fn`: the future of a link does not contain that of the next.
fn spawn_link<S: Spawn>(spawner: S, countdown: &'static Countdown, left: usize) {
    if left > 0 {
        S::detach(spawner.spawn(async move {
            countdown.arrive();
            spawn_link(spawner, countdown, left - 1);
        }));
    }
}

pub(crate) fn chained_spawn<S: Spawn>(spawner: S, scale: &Scale) -> Outcome {
    let count = scale.chain;
    spawner.run(async move {
        let (countdown, all_ran) = Countdown::start(count);
        let start = Instant::now();
        spawn_link(spawner, countdown, count);
        all_ran.await.map_err(|_| "the tasks were dropped")?;
        let elapsed = start.elapsed();
        countdown.verify()?;
        per_operation(elapsed, count)
    })
}

/// A `yield_now` that is ready at once would make the fastest row of the table.
async fn verify_yield<S: Spawn>() -> Result<(), String> {
    match future::poll_once(S::yield_now()).await {
        None => Ok(()),
        Some(()) => Err("yield_now was ready at its first poll".to_owned()),
    }
}

pub(crate) fn yield_many<S: Spawn>(spawner: S, scale: &Scale) -> Outcome {
    let (tasks, yields) = (scale.yielding_tasks, scale.yields_per_task);
    spawner.run(async move {
        verify_yield::<S>().await?;
        let (countdown, all_ran) = Countdown::start(tasks);
        let start = Instant::now();
        for _ in 0..tasks {
            S::detach(spawner.spawn(async move {
                for _ in 0..yields {
                    S::yield_now().await;
                }
                countdown.arrive();
            }));
        }
        all_ran.await.map_err(|_| "the tasks were dropped")?;
        let elapsed = start.elapsed();
        countdown.verify()?;
        per_operation(elapsed, tasks * yields)
    })
}

pub(crate) fn yield_alone<S: Spawn>(spawner: S, scale: &Scale) -> Outcome {
    let yields = scale.yields_alone;
    spawner.run(async move {
        verify_yield::<S>().await?;
        let start = Instant::now();
        for _ in 0..yields {
            S::yield_now().await;
        }
        per_operation(start.elapsed(), yields)
    })
}

/// How many ping-pongs are in flight together, as in tokio's benchmark of that name.
const PING_PONGS_AT_ONCE: usize = 1_000;

/// One exchange: a task that spawns another, sends it a message and waits for the answer.
async fn exchange<S: Spawn>(spawner: S, countdown: &'static Countdown) {
    let (ping, pinged) = oneshot::channel();
    let (pong, ponged) = oneshot::channel();
    S::detach(spawner.spawn(async move {
        let value: u32 = pinged.await.expect("the ping is sent");
        pong.send(value + 1).expect("the other side waits");
    }));
    ping.send(1).expect("the other side waits");
    assert_eq!(ponged.await, Ok(2), "the answer is the ping plus one");
    countdown.arrive();
}

pub(crate) fn ping_pong<S: Spawn>(spawner: S, scale: &Scale) -> Outcome {
    let batches = scale.ping_pongs / PING_PONGS_AT_ONCE;
    spawner.run(async move {
        let start = Instant::now();
        for _ in 0..batches {
            let (countdown, all_ran) = Countdown::start(PING_PONGS_AT_ONCE);
            for _ in 0..PING_PONGS_AT_ONCE {
                S::detach(spawner.spawn(exchange(spawner, countdown)));
            }
            all_ran.await.map_err(|_| "the tasks were dropped")?;
            countdown.verify()?;
        }
        per_operation(start.elapsed(), batches * PING_PONGS_AT_ONCE)
    })
}

/// How many tasks one of skynet spawns.
const FAN_OUT: usize = 10;

/// A task that spawns ten, and so on, until there are `leaves`; their numbers are added up on the way back. Boxed, because the future would contain
/// itself otherwise; a leaf is not.
fn skynet_node<S: Spawn>(spawner: S, first: usize, leaves: usize) -> Pin<Box<dyn Future<Output = usize> + Send>> {
    Box::pin(async move {
        let each = leaves / FAN_OUT;
        let mut sum = 0;
        if each == 1 {
            let tasks: [_; FAN_OUT] = std::array::from_fn(|index| spawner.spawn(async move { first + index }));
            for task in tasks {
                sum += task.await;
            }
        } else {
            let tasks: [_; FAN_OUT] =
                std::array::from_fn(|index| spawner.spawn(skynet_node(spawner, first + index * each, each)));
            for task in tasks {
                sum += task.await;
            }
        }
        sum
    })
}

pub(crate) fn skynet<S: Spawn>(spawner: S, scale: &Scale) -> Outcome {
    let leaves = scale.skynet_leaves;
    spawner.run(async move {
        let start = Instant::now();
        let sum = skynet_node(spawner, 0, leaves).await;
        let elapsed = start.elapsed();
        if sum != leaves * (leaves - 1) / 2 {
            return Err(format!("the leaves add up to {sum}"));
        }
        per_operation(elapsed, leaves)
    })
}

/// How many pairs play ping-pong over channels at once, and how many exchanges each pair does.
const PAIRS: usize = 100;
pub(crate) const EXCHANGES: usize = 1_000;

/// One side that sends numbers, and checks that each comes back plus one. The other side ends when this one is dropped.
async fn player<S: Spawn>(spawner: S, countdown: &'static Countdown) {
    let (ping, pinged) = async_channel::bounded(1);
    let (pong, ponged) = async_channel::bounded(1);
    S::detach(spawner.spawn(async move {
        while let Ok(value) = pinged.recv().await {
            let value: usize = value;
            pong.send(value + 1).await.expect("the other side waits for it");
        }
    }));
    for value in 0..EXCHANGES {
        ping.send(value).await.expect("the other side receives until this one is gone");
        assert_eq!(ponged.recv().await, Ok(value + 1), "the answer is the ping plus one");
    }
    countdown.arrive();
}

/// Pairs at play: `player` is one side, which brings the other.
pub(crate) fn play<S, F>(spawner: S, player: fn(S, &'static Countdown) -> F) -> Outcome
where
    S: Spawn,
    F: Future<Output = ()> + Send + 'static,
{
    spawner.run(async move {
        let (countdown, all_ran) = Countdown::start(PAIRS);
        let start = Instant::now();
        for _ in 0..PAIRS {
            S::detach(spawner.spawn(player(spawner, countdown)));
        }
        all_ran.await.map_err(|_| "the tasks were dropped")?;
        let elapsed = start.elapsed();
        countdown.verify()?;
        per_operation(elapsed, PAIRS * EXCHANGES)
    })
}

pub(crate) fn channel_ping_pong<S: Spawn>(spawner: S, _: &Scale) -> Outcome {
    play(spawner, player)
}
