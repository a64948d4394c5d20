//! How the monitor falls asleep for good, and how it is roused.
//!
//! There are two sides: the monitor's thread ([`fall_asleep`](Drowse::fall_asleep), [`pause`](Drowse::pause)), and any thread that begins to
//! run or queues a blocking job ([`stir`](Drowse::stir)), which pays a fence and a load while the monitor is awake. They meet in a
//! store-then-check race:
//!
//! - **M1** Either the monitor, after it said that it sleeps, sees what is active, or who became active sees that the monitor sleeps.
//! - **M2** Of those who see it asleep one rouses it, and leaves word under the lock: a monitor on its way into the wait finds it there.
//!
//! Word that comes late (the monitor woke by itself meanwhile) costs one look more and is forgotten.

use std::time::Duration;

use crate::loom::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use crate::loom::atomic::{AtomicBool, fence};
use crate::loom::{Condvar, Mutex};

/// The sleep of one monitor.
pub(crate) struct Drowse {
    /// Set by the monitor when it goes to sleep, cleared by who rouses it. True at first: there is no thread yet.
    is_asleep: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

/// Read and written under the lock.
struct State {
    is_stopped: bool,
    /// Roused since it last looked.
    is_roused: bool,
}

impl Drowse {
    /// Of a monitor that sleeps.
    pub(crate) fn new() -> Self {
        Drowse {
            is_asleep: AtomicBool::new(true),
            state: Mutex::new(State { is_stopped: false, is_roused: false }),
            changed: Condvar::new(),
        }
    }

    /// Something became active: the monitor must not sleep. Any thread. `true`: the caller roused it.
    #[inline]
    pub(crate) fn stir(&self) -> bool {
        // Ordering: SeqCst fence, pairs with the one in `fall_asleep`: M1.
        fence(SeqCst);
        // Ordering: Relaxed: ordered by the fence (M1).
        self.is_asleep.load(Relaxed) && self.rouse()
    }

    #[cold]
    fn rouse(&self) -> bool {
        // Ordering: AcqRel: of several that rouse it one does the work (M2); the lock below publishes the rest.
        if !self.is_asleep.swap(false, AcqRel) {
            return false;
        }
        self.state.lock().is_roused = true;
        self.changed.notify_one();
        true
    }

    /// Only by the monitor: says that it sleeps, and looks once more (M1). `false`: something is active.
    pub(crate) fn fall_asleep(&self, is_active: impl FnOnce() -> bool) -> bool {
        // Ordering: Acquire pairs with the release half of the swap in `rouse`. The fence below orders it before the look, and a plain store
        // would do by the letter of the memory model, which puts it after the `false` of a rouser that came before; loom knows that of stores
        // that happen after one another only. The monitor gets here once for each time that all is quiet.
        self.is_asleep.swap(true, Acquire);
        // Ordering: SeqCst fence, pairs with the one in `stir`: M1.
        fence(SeqCst);
        if !is_active() {
            return true;
        }
        // Ordering: AcqRel, as in `rouse`, which may have been faster; either way the monitor is awake.
        self.is_asleep.swap(false, AcqRel);
        false
    }

    /// There is no monitor that could be awake: the next `stir` tries again.
    pub(crate) fn remain_asleep(&self) {
        // Ordering: Relaxed: nothing else hangs on it.
        self.is_asleep.store(true, Relaxed);
    }

    /// Only by the monitor: waits at most `tick`, or with none, after it fell asleep, until it is roused. `false`: it is to end.
    pub(crate) fn pause(&self, tick: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        match tick {
            None => {
                while !state.is_roused && !state.is_stopped {
                    state = self.changed.wait(state);
                }
            }
            Some(tick) if !state.is_stopped => state = self.changed.wait_timeout(state, tick).0,
            Some(_) => {}
        }
        state.is_roused = false;
        !state.is_stopped
    }

    /// The monitor is to end. Any thread; idempotent.
    pub(crate) fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.changed.notify_one();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().is_stopped
    }
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/drowse.rs"]
mod models;
