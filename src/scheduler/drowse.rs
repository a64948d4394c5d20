//! How the monitor rests, listens or falls asleep for good, and how it is roused.
//!
//! There are two sides: the monitor's thread ([`withdraw`](Drowse::withdraw), [`pause`](Drowse::pause), [`pause_in`](Drowse::pause_in)), and any thread that
//! begins to run ([`stir`](Drowse::stir)) or has what cannot wait until a rest is over, such as a blocking job that was queued ([`hurry`](Drowse::hurry)).
//! Either pays a fence and a load while the monitor is awake. They meet in a store-then-check race:
//!
//! - **M1** Either the monitor, after it said that it withdraws, sees what is active, or who became active sees that the monitor is away.
//! - **M2** Of those who see it away one rouses it, and leaves word under the lock: a monitor on its way into the wait finds it there.
//! - **M3** A monitor that listens waits elsewhere, in what it made before it said so: whom it did not see in its last look sees what to interrupt (M1's fences).
//!   It looks for word under the lock first; who rouses or stops it leaves word first and interrupts the wait then. An interruption that comes before the wait must end it.
//!
//! ```text
//!                    withdraw(RESTING or LISTENING)           withdraw(ASLEEP)
//! RESTING, LISTENING ◄────────────────────────────── AWAKE ───────────────────► ASLEEP
//!      │        its time is over, hurry, stop         ▲ ▲     stir, hurry, stop   │
//!      └──────────────────────────────────────────────┘ └─────────────────────────┘
//! ```
//!
//! Who begins to run while the monitor listens does not rouse it, but sees to it that it hears of what matters (the tripwire).
//!
//! Word that comes late (the monitor woke by itself meanwhile) costs one look more and is forgotten.

use std::time::Duration;

use crate::loom::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use crate::loom::atomic::{AtomicU8, fence};
use crate::loom::{Condvar, Mutex, MutexGuard};

/// It looks, or is about to.
const AWAKE: u8 = 0;
/// It looks again by itself after a while.
pub(crate) const RESTING: u8 = 1;
/// It looks again by itself after a longer while, or when the tripwire is tripped.
pub(crate) const LISTENING: u8 = 2;
/// It looks again when it is roused.
pub(crate) const ASLEEP: u8 = 3;

/// What [`Drowse::stir`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stirred {
    /// The monitor looks again soon, by itself or because of somebody else.
    Soon,
    /// It slept. The caller has roused it.
    Roused,
    /// It listens: the caller is to see to it that it hears.
    Listens,
}

/// The rests and sleeps of one monitor.
pub(crate) struct Drowse {
    /// One of the four. Set by the monitor when it withdraws or its time is over; set to `AWAKE` by who rouses it. `ASLEEP` at first: there is no
    /// thread yet.
    depth: AtomicU8,
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
            depth: AtomicU8::new(ASLEEP),
            state: Mutex::new(State { is_stopped: false, is_roused: false }),
            changed: Condvar::new(),
        }
    }

    /// Something became active: the monitor must not sleep. Any thread. `interrupt` ends the wait of [`pause_in`](Drowse::pause_in).
    #[inline]
    pub(crate) fn stir(&self, interrupt: impl FnOnce()) -> Stirred {
        match self.depth_seen() {
            LISTENING => Stirred::Listens,
            ASLEEP if self.rouse(interrupt) => Stirred::Roused,
            _ => Stirred::Soon,
        }
    }

    /// Something must not wait until a rest is over. Any thread; `interrupt` as for [`stir`](Drowse::stir). `true`: the caller roused the monitor.
    pub(crate) fn hurry(&self, interrupt: impl FnOnce()) -> bool {
        self.depth_seen() != AWAKE && self.rouse(interrupt)
    }

    /// Whether the monitor listens: a hint, but not from before what the caller did.
    pub(crate) fn is_listening(&self) -> bool {
        self.depth_seen() == LISTENING
    }

    #[inline]
    fn depth_seen(&self) -> u8 {
        // Ordering: SeqCst fence, pairs with the one in `withdraw`: M1.
        fence(SeqCst);
        // Ordering: Relaxed: ordered by the fence (M1), as is the look at what the monitor waits in (M3): made before the fence in `withdraw`, it is seen
        // by whom the monitor did not see.
        self.depth.load(Relaxed)
    }

    #[cold]
    fn rouse(&self, interrupt: impl FnOnce()) -> bool {
        // Ordering: AcqRel: of several that rouse it one does the work (M2); the lock below publishes the rest.
        let before = self.depth.swap(AWAKE, AcqRel);
        if before == AWAKE {
            return false;
        }
        self.state.lock().is_roused = true;
        // M3. It may listen by now although the caller saw it asleep.
        if before == LISTENING {
            interrupt();
        } else {
            self.changed.notify_one();
        }
        true
    }

    /// Only by the monitor: says that it withdraws to `depth`, and looks once more (M1). `false`: something is active.
    pub(crate) fn withdraw(&self, depth: u8, is_active: impl FnOnce() -> bool) -> bool {
        // Ordering: Acquire pairs with the release half of the swap in `rouse`. The fence below orders it before the look, and a plain store
        // would do by the letter of the memory model, which puts it after the `AWAKE` of a rouser that came before; loom knows that of stores
        // that happen after one another only. The monitor gets here once a rest.
        self.depth.swap(depth, Acquire);
        // Ordering: SeqCst fence, pairs with the one in `depth_seen`: M1.
        fence(SeqCst);
        if !is_active() {
            return true;
        }
        self.come_back();
        false
    }

    /// Only by the monitor: it is awake, whether or not somebody roused it.
    fn come_back(&self) {
        // Ordering: AcqRel, as in `rouse`, which may have been faster; either way the monitor is awake.
        self.depth.swap(AWAKE, AcqRel);
    }

    /// There is no monitor that could be awake: the next `stir` tries again.
    pub(crate) fn remain_asleep(&self) {
        // Ordering: Relaxed: nothing else hangs on it.
        self.depth.store(ASLEEP, Relaxed);
    }

    /// Only by the monitor: waits until it is roused, and with a time at most for that long. `false`: it is to end.
    pub(crate) fn pause(&self, at_most: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        match at_most {
            None => {
                while !state.is_roused && !state.is_stopped {
                    state = self.changed.wait(state);
                }
            }
            Some(time) if !state.is_roused && !state.is_stopped => state = self.changed.wait_timeout(state, time).0,
            Some(_) => {}
        }
        self.end_pause(state)
    }

    /// Only by the monitor: as [`pause`](Drowse::pause), but it waits in `wait` (M3). `false`: it is to end.
    pub(crate) fn pause_in(&self, wait: impl FnOnce()) -> bool {
        let state = self.state.lock();
        let has_word = state.is_roused || state.is_stopped;
        drop(state);
        if !has_word {
            wait();
        }
        self.end_pause(self.state.lock())
    }

    fn end_pause(&self, mut state: MutexGuard<'_, State>) -> bool {
        state.is_roused = false;
        let goes_on = !state.is_stopped;
        drop(state);
        self.come_back();
        goes_on
    }

    /// The monitor is to end. Any thread; idempotent. `interrupt` as for [`stir`](Drowse::stir).
    pub(crate) fn stop(&self, interrupt: impl FnOnce()) {
        self.state.lock().is_stopped = true;
        self.changed.notify_one();
        interrupt();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().is_stopped
    }
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/drowse.rs"]
mod models;

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_rests_does_not_listen() {
        let drowse = Drowse::new();
        for (depth, is_listening) in [(RESTING, false), (LISTENING, true), (ASLEEP, false)] {
            assert!(drowse.withdraw(depth, || false));
            assert_eq!(drowse.is_listening(), is_listening);
            drowse.come_back();
            assert!(!drowse.is_listening());
        }
    }
}
