//! How one loop's thread sleeps, and how it is woken.
//!
//! The thread sleeps in one of two places: on a condition variable (a futex) while its reactor holds nothing, else inside the reactor's
//! turn. The park word says where, so that a notice finds it:
//!
//! ```text
//!            begin(Futex)                 begin(Reactor)
//!   PARKED_FUTEX ◄──────── EMPTY ────────► PARKED_REACTOR
//!        │                 │   ▲                 │
//!        └──── notify ─────┼───│──── notify ─────┘
//!                          ▼   │ end
//!                     NOTICE_WORK / NOTICE_SEARCH
//! ```
//!
//! Invariant **K1**: at most one notice is on its way to a loop at a time, because a notice follows the claim of the loop's idle bit (sleep,
//! S-c). So a notice never overwrites another.

use std::time::Duration;

use crate::loom::atomic::AtomicU32;
use crate::loom::atomic::Ordering::{AcqRel, Acquire};
use crate::loom::{Condvar, Mutex};

const EMPTY: u32 = 0;
const PARKED_FUTEX: u32 = 1;
const PARKED_REACTOR: u32 = 2;
const NOTICE_WORK: u32 = 3;
const NOTICE_SEARCH: u32 = 4;

/// Where a loop's thread sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the condition variable: for a loop whose reactor holds nothing.
    Futex,
    /// Inside the reactor's turn.
    Reactor,
}

/// Why a sleeping loop was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Something was left for this very loop.
    Work,
    /// There is work somewhere; the loop now holds the search token.
    Search,
}

/// One loop's park word.
pub(crate) struct Parker {
    /// See the drawing. Written by the loop's thread (`begin`, `end`) and by who claimed it (`notify`).
    word: AtomicU32,
    /// Closes the gap between the check of the word and the wait.
    lock: Mutex<()>,
    woken: Condvar,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Parker { word: AtomicU32::new(EMPTY), lock: Mutex::new(()), woken: Condvar::new() }
    }

    /// The loop's thread is about to sleep. `false`: a notice has come; do not sleep, call [`end`](Parker::end).
    pub(crate) fn begin(&self, place: Place) -> bool {
        let parked = match place {
            Place::Futex => PARKED_FUTEX,
            Place::Reactor => PARKED_REACTOR,
        };
        // Ordering: AcqRel. Release pairs with the swap in `notify`, which must see where this thread sleeps before it wakes it there;
        // Acquire on failure because a notice that is there says that work was published before it.
        self.word.compare_exchange(EMPTY, parked, AcqRel, Acquire).is_ok()
    }

    /// Sleeps on the condition variable until a notice comes, `timeout` passes, or for no reason.
    pub(crate) fn wait(&self, timeout: Option<Duration>) {
        let guard = self.lock.lock();
        // Ordering: Acquire, as in `end`. The lock makes sure that a notice after this check finds this thread in the wait.
        if self.word.load(Acquire) != PARKED_FUTEX {
            return;
        }
        match timeout {
            None => drop(self.woken.wait(guard)),
            Some(timeout) => drop(self.woken.wait_timeout(guard, timeout)),
        }
    }

    /// The loop's thread is awake again: the notice, if one came.
    pub(crate) fn end(&self) -> Option<Notice> {
        // Ordering: AcqRel. Acquire pairs with the swap in `notify`: what was published before the notice is visible. Release: a later
        // notifier's swap sees EMPTY and knows that nobody sleeps.
        match self.word.swap(EMPTY, AcqRel) {
            NOTICE_WORK => Some(Notice::Work),
            NOTICE_SEARCH => Some(Notice::Search),
            _ => None,
        }
    }

    /// Waits for the notice that a claimer owes this loop (S-c): the claimer is between its claim and its `notify`.
    pub(crate) fn await_notice(&self) -> Notice {
        loop {
            if self.begin(Place::Futex) {
                self.wait(None);
            }
            if let Some(notice) = self.end() {
                return notice;
            }
        }
    }

    /// Leaves a notice. Any thread, after it claimed the loop. `true`: the loop's thread sleeps in its reactor, which the caller has to wake.
    #[must_use]
    pub(crate) fn notify(&self, notice: Notice) -> bool {
        let word = match notice {
            Notice::Work => NOTICE_WORK,
            Notice::Search => NOTICE_SEARCH,
        };
        // Ordering: AcqRel pairs with the ones in `begin` and `end`: the notifier's work is visible to the woken thread, and the place where it
        // sleeps to the notifier.
        match self.word.swap(word, AcqRel) {
            PARKED_FUTEX => {
                // The thread either waits already, or holds the lock and is about to: after this it hears the notification.
                drop(self.lock.lock());
                self.woken.notify_one();
                false
            }
            PARKED_REACTOR => true,
            before => {
                debug_assert!(before == EMPTY, "a second notice: {before}");
                false
            }
        }
    }
}
