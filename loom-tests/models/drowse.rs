//! Models of the monitor's sleep: what it watches is a counter, as weak as an idle bit.
//!
//! The monitor of a model has no ticks: it looks, falls asleep or goes on, and ends when it has seen what it is to see. A monitor that sleeps
//! through something is a thread that waits for ever, which loom reports as a deadlock.

use super::{ASLEEP, Drowse, LISTENING, RESTING, Stirred};
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Arc, Condvar, Mutex, OnceLock, StartLine, check};

/// In the tripwire's place: an edge that is there until somebody waits for it.
struct Wire {
    edge: Mutex<bool>,
    changed: Condvar,
}

impl Wire {
    fn pull(&self) {
        *self.edge.lock() = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut edge = self.edge.lock();
        while !*edge {
            edge = self.changed.wait(edge);
        }
        *edge = false;
    }
}

/// A monitor and what it watches.
struct Watch {
    drowse: Drowse,
    /// Made by the monitor before it listens for the first time.
    wire: OnceLock<Wire>,
    active: AtomicUsize,
}

impl Watch {
    fn new() -> Arc<Watch> {
        Arc::new(Watch { drowse: Drowse::new(), wire: OnceLock::new(), active: AtomicUsize::new(0) })
    }

    /// A loop gives up its idle bit and tells the monitor. Whether it roused it. If it is to arm the tripwire, the wire is tripped at once.
    fn begin(&self) -> bool {
        // Ordering: Relaxed, no stronger than the claim of an idle bit that nobody reads from.
        self.active.fetch_add(1, Ordering::Relaxed);
        let stirred = self.drowse.stir(|| self.interrupt());
        if stirred == Stirred::Listens {
            self.interrupt();
        }
        stirred == Stirred::Roused
    }

    /// A job is queued, and the monitor is told. Whether that roused it.
    fn queue(&self) -> bool {
        // Ordering: Relaxed, as in `begin`.
        self.active.fetch_add(1, Ordering::Relaxed);
        self.drowse.hurry(|| self.interrupt())
    }

    fn interrupt(&self) {
        if let Some(wire) = self.wire.get() {
            wire.pull();
        }
    }

    /// The monitor: waits at the wire. `false`: it is to end.
    fn listen(&self) -> bool {
        let wire = self.wire.get().expect("it was made");
        self.drowse.pause_in(|| wire.wait())
    }

    fn rouse_at_first(&self) {
        let stirred = self.drowse.stir(|| self.interrupt());
        assert!(stirred == Stirred::Roused && self.drowse.pause(None), "a new monitor sleeps, and is roused");
    }

    fn active(&self) -> usize {
        // Ordering: Relaxed: ordered by the fence in `withdraw`, or not at all.
        self.active.load(Ordering::Relaxed)
    }

    /// The monitor: watches until it has seen `count`. `false`: it was stopped before that.
    fn run(&self, count: usize) -> bool {
        self.withdraw_until(count, |_| ASLEEP)
    }

    /// As [`run`](Watch::run), to the depth that `depth` says after so much was seen. Neither a rest nor listening is ever over by itself here.
    fn withdraw_until(&self, count: usize, depth: impl Fn(usize) -> u8) -> bool {
        loop {
            let seen = self.active();
            if seen >= count {
                return true;
            }
            let depth = depth(seen);
            if depth == LISTENING && self.wire.get().is_none() {
                // Nobody else sets it.
                let _ = self.wire.set(Wire { edge: Mutex::new(false), changed: Condvar::new() });
            }
            if !self.drowse.withdraw(depth, || self.active() > seen) {
                continue;
            }
            let goes_on = match depth {
                LISTENING => self.listen(),
                _ => self.drowse.pause(None),
            };
            if !goes_on {
                return false;
            }
        }
    }
}

/// 1 loop that begins to run, 1 monitor that is awake and falls asleep: it sees the loop (M1). Bound 5.
#[test]
fn a_loop_that_begins_is_seen() {
    check("drowse_stir", 5, 240, || {
        let line = StartLine::new();
        let watch = Watch::new();
        watch.rouse_at_first();
        let beginning = watch.clone();
        let worker = line.spawn(move || beginning.begin());
        line.pass();
        assert!(watch.run(1));
        worker.join().unwrap();
    });
}

/// 2 loops that begin to run, 1 monitor: it sees both, whichever of them roused it, and late word for a monitor that woke by itself does no
/// harm (M2). Bound 3.
#[test]
fn two_loops_that_begin_are_seen() {
    check("drowse_two_stirs", 3, 16_000, || {
        let line = StartLine::new();
        let watch = Watch::new();
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let watch = watch.clone();
                line.spawn(move || watch.begin())
            })
            .collect();
        line.pass();
        assert!(watch.run(2));
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

/// 2 loops that begin at once while the monitor sleeps: exactly one of them rouses it, and starts its thread if there is none (M2). Bound 5.
#[test]
fn one_of_two_rouses() {
    check("drowse_one_rouses", 5, 55, || {
        let line = StartLine::new();
        let watch = Watch::new();
        let other = watch.clone();
        let worker = line.spawn(move || other.begin());
        line.pass();
        let roused = watch.begin();
        assert!(roused != worker.join().unwrap());
    });
}

/// 1 thread that queues a job, 1 monitor that rests after each look: it sees the job before its rest is over (M1). Bound 5.
#[test]
fn a_job_ends_a_rest() {
    check("drowse_hurry", 5, 240, || {
        let line = StartLine::new();
        let watch = Watch::new();
        watch.rouse_at_first();
        let queueing = watch.clone();
        let worker = line.spawn(move || queueing.queue());
        line.pass();
        assert!(watch.withdraw_until(1, |_| RESTING));
        worker.join().unwrap();
    });
}

/// 2 threads that queue a job, 1 monitor that sleeps, and rests once it has seen one of them: it sees both, whichever state they found it in (M1, M2).
/// Bound 3.
#[test]
fn jobs_end_a_sleep_and_a_rest() {
    check("drowse_two_hurries", 3, 16_000, || {
        let line = StartLine::new();
        let watch = Watch::new();
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let watch = watch.clone();
                line.spawn(move || watch.queue())
            })
            .collect();
        line.pass();
        assert!(watch.withdraw_until(2, |seen| if seen == 0 { ASLEEP } else { RESTING }));
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

/// 1 thread that stops the monitor, 1 loop that begins, 1 monitor that falls asleep: it ends. Bound 3.
#[test]
fn a_stopped_monitor_ends() {
    check("drowse_stop", 3, 3_700, || {
        let line = StartLine::new();
        let watch = Watch::new();
        let (stopping, beginning) = (watch.clone(), watch.clone());
        let stopper = line.spawn(move || stopping.drowse.stop(|| stopping.interrupt()));
        let worker = line.spawn(move || beginning.begin());
        line.pass();
        assert!(!watch.run(2));
        stopper.join().unwrap();
        worker.join().unwrap();
        assert!(watch.drowse.is_stopped());
    });
}

/// 1 loop that begins to run, 1 monitor that withdraws to listen: it sees the loop, or the loop sees to it that it hears (M1). Bound 5.
#[test]
fn a_loop_that_begins_is_heard() {
    check("drowse_listen", 5, 200, || {
        let line = StartLine::new();
        let watch = Watch::new();
        watch.rouse_at_first();
        let beginning = watch.clone();
        let worker = line.spawn(move || beginning.begin());
        line.pass();
        assert!(watch.withdraw_until(1, |_| LISTENING));
        worker.join().unwrap();
    });
}

/// 1 thread that queues a job, 1 loop that begins, 1 monitor that sleeps, and listens once it has seen one of them: it sees both, also where who saw it
/// asleep finds it listening (M2, M3). Bound 3.
#[test]
fn a_job_and_a_loop_end_a_sleep_and_listening() {
    check("drowse_two_interrupt", 3, 15_000, || {
        let line = StartLine::new();
        let watch = Watch::new();
        let (queueing, beginning) = (watch.clone(), watch.clone());
        let queuer = line.spawn(move || queueing.queue());
        let worker = line.spawn(move || beginning.begin());
        line.pass();
        assert!(watch.withdraw_until(2, |seen| if seen == 0 { ASLEEP } else { LISTENING }));
        queuer.join().unwrap();
        worker.join().unwrap();
    });
}

/// 1 thread that stops the monitor, 1 thread that queues a job, 1 monitor that listens: it ends. Bound 3.
#[test]
fn a_stopped_monitor_does_not_listen() {
    check("drowse_stop_listening", 3, 5_000, || {
        let line = StartLine::new();
        let watch = Watch::new();
        watch.rouse_at_first();
        let (stopping, queueing) = (watch.clone(), watch.clone());
        let stopper = line.spawn(move || stopping.drowse.stop(|| stopping.interrupt()));
        let queuer = line.spawn(move || queueing.queue());
        line.pass();
        assert!(!watch.withdraw_until(2, |_| LISTENING));
        stopper.join().unwrap();
        queuer.join().unwrap();
    });
}
