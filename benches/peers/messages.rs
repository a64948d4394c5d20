//! Workloads over the locks and channels that a runtime comes with.
//!
//! The messages in `tasks.rs` go over the same crates for all, which measures the runtimes and not those. But a program takes what its runtime comes with.

use std::time::Instant;

use super::own::Own;
use super::row::Outcome;
use super::tasks::{Countdown, EXCHANGES, per_operation, play};
use super::workload::Scale;

/// How often one run locks, and sends; and how many values a channel has room for.
const LOCKS: usize = 100_000;
const MESSAGES: usize = 100_000;
const CAPACITY: usize = 100;

pub(crate) fn lock<S: Own>(spawner: S, _: &Scale) -> Outcome {
    spawner.run(async move {
        let lock = S::lock();
        let start = Instant::now();
        for _ in 0..LOCKS {
            S::count_up(&lock).await;
        }
        let elapsed = start.elapsed();
        match S::count_up(&lock).await {
            LOCKS => per_operation(elapsed, LOCKS),
            counted => Err(format!("{counted} of {LOCKS} additions were made")),
        }
    })
}

pub(crate) fn channel<S: Own>(spawner: S, _: &Scale) -> Outcome {
    spawner.run(async move {
        let (sender, mut receiver) = S::channel(CAPACITY);
        let start = Instant::now();
        let sending = spawner.spawn(async move {
            for value in 0..MESSAGES {
                assert!(S::send(&sender, value).await, "the receiver waits for all of them");
            }
        });
        let mut received = 0;
        while let Some(value) = S::receive(&mut receiver).await {
            if value != received {
                return Err(format!("message {value} came in place of {received}"));
            }
            received += 1;
        }
        sending.await;
        let elapsed = start.elapsed();
        if received == MESSAGES { per_operation(elapsed, MESSAGES) } else { Err(format!("{received} messages came")) }
    })
}

/// One side; the other ends when this one is dropped.
async fn player<S: Own>(spawner: S, countdown: &'static Countdown) {
    let (ping, mut pinged) = S::channel(1);
    let (pong, mut ponged) = S::channel(1);
    S::detach(spawner.spawn(async move {
        while let Some(value) = S::receive(&mut pinged).await {
            assert!(S::send(&pong, value + 1).await, "the other side waits for it");
        }
    }));
    for value in 0..EXCHANGES {
        assert!(S::send(&ping, value).await, "the other side receives until this one is gone");
        assert_eq!(S::receive(&mut ponged).await, Some(value + 1), "the answer is the ping plus one");
    }
    countdown.arrive();
}

pub(crate) fn ping_pong<S: Own>(spawner: S, _: &Scale) -> Outcome {
    play(spawner, player)
}

/// How many tasks at once give their output to their spawner over a channel for one value.
const ANSWERS_AT_ONCE: usize = 1_000;
const BATCHES: usize = 20;

pub(crate) fn oneshot<S: Own>(spawner: S, _: &Scale) -> Outcome {
    spawner.run(async move {
        let mut answers = Vec::with_capacity(ANSWERS_AT_ONCE);
        let mut sum = 0;
        let start = Instant::now();
        for _ in 0..BATCHES {
            for value in 0..ANSWERS_AT_ONCE {
                let (sender, receiver) = S::oneshot();
                S::detach(spawner.spawn(async move { assert!(S::send_one(sender, value), "it is waited for") }));
                answers.push(receiver);
            }
            for answer in answers.drain(..) {
                sum += S::receive_one(answer).await.ok_or("a task was dropped")?;
            }
        }
        let elapsed = start.elapsed();
        let all = BATCHES * (ANSWERS_AT_ONCE * (ANSWERS_AT_ONCE - 1) / 2);
        if sum == all {
            per_operation(elapsed, BATCHES * ANSWERS_AT_ONCE)
        } else {
            Err(format!("the answers add up to {sum}"))
        }
    })
}
