//! The loop of an `EventLoop`, in iterations, as asyncio's.
//!
//! One iteration: serve reactor and timers (waiting for them only if nothing is ready and nobody asked for a stop), move to the queue
//! what became ready, and then run what is in the queue *now*. What that adds to the queue waits for the next iteration, after another look
//! at the reactor, so that callbacks that register callbacks keep nobody from I/O. A stop ends the run after the iteration, an interrupt
//! after the task or callback that runs.
//!
//! In a ring of one loop the pinned queue holds everything, and its order is total. With peers, tasks that are `Send` lie in the deque as on
//! any worker, where peers find them; an iteration runs one of them after each entry of the pinned queue, and no more than
//! [`SHARED_MAX`].

use std::time::{Duration, Instant};

use super::worker::{Origin, Worker};
use super::{LoopShared, Shared, current, signal};
use crate::loom::thread;
use crate::report::{self, SlowPoll};
use crate::task::{Runnable, TaskHandle};

/// Most tasks from the deque in one iteration.
const SHARED_MAX: usize = 64;

/// Why a run of iterations ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The main future is complete, and one iteration has passed since.
    Complete,
    Stopped,
    Interrupted,
}

impl Shared {
    /// The calling thread owns the event loop whose only loop this is.
    pub(crate) fn set_owner(&self) {
        if self.settings.is_fifo {
            let _ = self.owner.set(thread::current().id());
        }
    }

    /// Whether this is an event loop that only the calling thread could run, and does not: while that thread waits, nothing happens there.
    pub(crate) fn rests_here(&self) -> bool {
        self.owner.get().is_some_and(|owner| *owner == thread::current().id()) && !self.at(0).is_occupied()
    }
}

impl LoopShared {
    /// Whether this thread drives a loop, and `task` is one of another loop that [rests here](Shared::rests_here). A job of the blocking pool is
    /// no such task: it needs no loop.
    pub(crate) fn never_runs(&self, task: &TaskHandle) -> bool {
        current::is_elsewhere(self)
            && self.runtime().is_some_and(|shared| shared.rests_here() && shared.tasks().contains(task))
    }
}

impl Worker {
    /// Runs iterations until `main` says that its future is complete, or until a signal ends them. `main` is asked after each entry of the
    /// queue.
    ///
    /// When it is complete one more iteration follows: what the future has queued in its last poll runs before the run ends.
    pub(crate) fn run_iterations(&self, mut main: impl FnMut() -> bool) -> Exit {
        let _restore = current::drive(self);
        self.step_before_the_monitor();
        let mut is_complete = false;
        loop {
            let was_complete = is_complete;
            let mut ask_main = || {
                is_complete = is_complete || main();
            };
            let signals = self.iterate(was_complete, &mut ask_main);
            if signals & signal::INTERRUPT != 0 {
                if !is_complete {
                    return Exit::Interrupted;
                }
                // The output is not lost; the interrupt is the next run's.
                let _ = self.home().signals.leave(signal::INTERRUPT);
                return Exit::Complete;
            }
            if was_complete || is_complete && signals & signal::STOP != 0 {
                return Exit::Complete;
            }
            if signals & signal::STOP != 0 {
                return Exit::Stopped;
            }
        }
    }

    /// One iteration; the signals that came in it.
    fn iterate(&self, is_last: bool, after_each: &mut dyn FnMut()) -> u32 {
        let home = self.home();
        let mut signals = self.take_signals();
        if signals & signal::INTERRUPT != 0 {
            return signals;
        }
        if is_last || signals & signal::STOP != 0 || self.has_ready() {
            self.turn(Some(Duration::ZERO));
        } else {
            self.search_or_sleep();
        }
        signals |= self.take_signals();
        if !self.calls().is_empty() {
            // By the clock itself: the wheel, which only ends the sleep, knows no less than a millisecond.
            self.calls().fire(&mut self.pinned.borrow_mut());
        }
        self.fetch_pinned();
        let mut pinned = self.pinned.borrow().len();
        let mut shared = SHARED_MAX;
        if self.shared().has_peers() && self.drain_inbox(home) {
            self.publish_surplus();
        }
        while signals & signal::INTERRUPT == 0 {
            let mut ran = false;
            if pinned > 0 {
                pinned -= 1;
                let next = self.pinned.borrow_mut().pop_front();
                if let Some(runnable) = next {
                    self.run_one(runnable, Origin::Pinned);
                    after_each();
                    signals |= self.take_signals();
                    ran = true;
                }
            }
            if shared > 0
                && signals & signal::INTERRUPT == 0
                && self.shared().has_peers()
                && let Some((runnable, origin)) = self.next_shared()
            {
                shared -= 1;
                self.run_one(runnable, origin);
                after_each();
                signals |= self.take_signals();
                ran = true;
            }
            if !ran {
                break;
            }
        }
        signals
    }

    fn take_signals(&self) -> u32 {
        let signals = self.home().signals.take();
        if signals & signal::COMMON != 0 {
            self.serve_signals(signals);
        }
        signals
    }

    /// Whether there is something for the next iteration to run.
    fn has_ready(&self) -> bool {
        let home = self.home();
        !self.pinned.borrow().is_empty()
            || !home.pinned_inbox.is_empty()
            || self.shared().has_peers() && (!home.next.is_empty() || home.has_stealable() || !home.yielded.is_empty())
    }

    fn run_one(&self, runnable: Runnable, origin: Origin) {
        match self.slow_call.get() {
            None => self.run_task((runnable, origin)),
            Some(threshold) => self.run_timed(runnable, origin, threshold),
        }
    }

    /// Debug mode: what takes longer than `threshold` is reported when it is over.
    #[cold]
    fn run_timed(&self, runnable: Runnable, origin: Origin, threshold: Duration) {
        let reference = runnable.reference();
        let began = Instant::now();
        self.run_task((runnable, origin));
        let elapsed = began.elapsed();
        if elapsed >= threshold {
            let label = reference.label();
            let slow = SlowPoll::of_past(label.name(), label.location(), elapsed, self.home().index);
            report::report_slow_poll(self.shared().settings.on_slow_poll.as_ref(), &slow);
        }
    }

    /// Switches debug mode on, with the threshold above which an entry of the queue is reported, or off.
    pub(crate) fn set_slow_call(&self, threshold: Option<Duration>) {
        self.slow_call.set(threshold);
    }

    /// The threshold of debug mode, if it is on.
    pub(crate) fn slow_call(&self) -> Option<Duration> {
        self.slow_call.get()
    }
}
