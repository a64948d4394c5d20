//! Workloads that wait: for a timer, for the blocking pool, for another thread.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use super::peer::Peer;
use super::row::Outcome;
use super::summary::percentile;
use super::workload::Scale;

pub(crate) fn timeout_dropped<P: Peer>(peer: P, scale: &Scale) -> Outcome {
    let count = scale.timeouts;
    peer.run(async move {
        let mut pending_polls = 0;
        let start = Instant::now();
        for _ in 0..count {
            let mut timeout = pin!(P::timeout(Duration::from_secs(1), pending::<()>()));
            let poll = poll_fn(|context| Poll::Ready(timeout.as_mut().poll(context))).await;
            pending_polls += usize::from(poll.is_pending());
        }
        let elapsed = start.elapsed();
        if pending_polls != count {
            return Err(format!("{} of {count} timeouts fired early", count - pending_polls));
        }
        Ok(vec![elapsed.as_nanos() as f64 / count as f64])
    })
}

pub(crate) fn spawn_blocking<P: Peer>(peer: P, scale: &Scale) -> Outcome {
    let count = scale.blocking_jobs;
    peer.run(async move {
        let here = thread::current().id();
        if P::spawn_blocking(|| thread::current().id()).await == here {
            return Err("the job ran on the worker that waits for it".to_owned());
        }
        let mut sum = 0;
        let start = Instant::now();
        for index in 0..count {
            sum += P::spawn_blocking(move || index).await;
        }
        let elapsed = start.elapsed();
        if sum != count * (count - 1) / 2 {
            return Err(format!("the outputs add up to {sum}"));
        }
        Ok(vec![elapsed.as_nanos() as f64 / count as f64])
    })
}

/// The pause before each wake-up: long enough for every worker to be asleep in the kernel.
pub(crate) const IDLE: Duration = Duration::from_millis(1);

pub(crate) fn wake_idle<P: Peer>(peer: P, scale: &Scale) -> Outcome {
    let count = scale.idle_wakes;
    let (sender, receiver) = async_channel::unbounded::<Instant>();
    let waker_thread = thread::spawn(move || {
        for _ in 0..count {
            thread::sleep(IDLE);
            sender.try_send(Instant::now()).expect("the receiver lives until the sender is gone");
        }
    });
    let mut latencies = peer.run(async move {
        let mut latencies = Vec::with_capacity(count);
        while let Ok(sent) = receiver.recv().await {
            latencies.push(sent.elapsed().as_nanos() as f64 / 1e3);
        }
        latencies
    });
    waker_thread.join().map_err(|_| "the waking thread panicked")?;
    if latencies.len() != count {
        return Err(format!("{} of {count} wake-ups arrived", latencies.len()));
    }
    latencies.sort_by(f64::total_cmp);
    Ok(vec![percentile(&latencies, 0.5)])
}
