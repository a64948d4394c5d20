//! Models of the monitor's sleep: what it watches is a counter, as weak as an idle bit.
//!
//! The monitor of a model has no ticks: it looks, falls asleep or goes on, and ends when it has seen what it is to see. A monitor that sleeps
//! through something is a thread that waits for ever, which loom reports as a deadlock.

use super::Drowse;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::{Arc, StartLine, check};

/// A monitor and what it watches.
struct Watch {
    drowse: Drowse,
    active: AtomicUsize,
}

impl Watch {
    fn new() -> Arc<Watch> {
        Arc::new(Watch { drowse: Drowse::new(), active: AtomicUsize::new(0) })
    }

    /// A loop gives up its idle bit and tells the monitor. Whether it roused it.
    fn begin(&self) -> bool {
        // Ordering: Relaxed, no stronger than the claim of an idle bit that nobody reads from.
        self.active.fetch_add(1, Ordering::Relaxed);
        self.drowse.stir()
    }

    fn active(&self) -> usize {
        // Ordering: Relaxed: ordered by the fence in `fall_asleep`, or not at all.
        self.active.load(Ordering::Relaxed)
    }

    /// The monitor: watches until it has seen `count`. `false`: it was stopped before that.
    fn run(&self, count: usize) -> bool {
        loop {
            let seen = self.active();
            if seen >= count {
                return true;
            }
            if self.drowse.fall_asleep(|| self.active() > seen) && !self.drowse.pause(None) {
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
        assert!(watch.drowse.stir() && watch.drowse.pause(None), "a new monitor sleeps, and is roused");
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

/// 1 thread that stops the monitor, 1 loop that begins, 1 monitor that falls asleep: it ends. Bound 3.
#[test]
fn a_stopped_monitor_ends() {
    check("drowse_stop", 3, 3_700, || {
        let line = StartLine::new();
        let watch = Watch::new();
        let (stopping, beginning) = (watch.clone(), watch.clone());
        let stopper = line.spawn(move || stopping.drowse.stop());
        let worker = line.spawn(move || beginning.begin());
        line.pass();
        assert!(!watch.run(2));
        stopper.join().unwrap();
        worker.join().unwrap();
        assert!(watch.drowse.is_stopped());
    });
}
