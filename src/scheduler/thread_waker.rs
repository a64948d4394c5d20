//! The waker of a main future whose thread has no seat, and what becomes of it when the thread gets one.
//!
//! A thread that blocks on a runtime without a seat polls its future with a [`ThreadWaker`], which unparks it. When the seat comes free the thread
//! runs a loop instead, and polls with the loop's waker. A future may drop the first waker then, and need not: whoever was given it
//! before still calls it. So it goes on to wake the thread, by the loop.
//!
//! - **K1** After [`sit`](ThreadWaker::sit) the thread polls its future once more. A wake before it is seen by that poll; a wake after it finds the
//!   seat. Both sides meet in `is_woken`: who waked first is ordered before `sit`, who comes later after it.

use crate::loom::OnceLock;
use crate::loom::atomic::AtomicBool;
use crate::loom::atomic::Ordering::{AcqRel, Relaxed};

/// Wakes a thread, or the main future of the loop that it runs by now. Any thread.
pub(crate) struct ThreadWaker<T, L> {
    /// The thread, as something that can be unparked.
    thread: T,
    /// Set by any waker, taken by the thread.
    is_woken: AtomicBool,
    /// The loop whose main future it became. Set once by the thread, read by any waker.
    seat: OnceLock<L>,
}

impl<T, L> ThreadWaker<T, L> {
    /// A waker of `thread` that was called already: the first poll needs no wake.
    pub(crate) fn new(thread: T) -> Self {
        ThreadWaker { thread, is_woken: AtomicBool::new(true), seat: OnceLock::new() }
    }

    /// Whether it was called since the last `take`. Only by its thread.
    pub(crate) fn is_woken(&self) -> bool {
        // Ordering: Relaxed: only decides whether to sleep; a wake-up after this look leaves the thread's token behind.
        self.is_woken.load(Relaxed)
    }

    /// Whether it was called, and no longer. Only by its thread.
    pub(crate) fn take(&self) -> bool {
        // Ordering: AcqRel. Acquire pairs with the swap in `wake`: what the waker did before is visible to the poll that follows. Release, for
        // `sit`.
        self.is_woken.swap(false, AcqRel)
    }

    /// From now on calls go to `seat`. Only by its thread, which polls its future after it (K1).
    pub(crate) fn sit(&self, seat: L) {
        // It is called once; a second seat would be the same.
        let _ = self.seat.set(seat);
        self.take();
    }

    /// Wakes the thread, by `unpark`; `wake_seat` wakes the loop whose main future it became.
    pub(crate) fn wake(&self, unpark: impl FnOnce(&T), wake_seat: impl FnOnce(&L)) {
        // Ordering: AcqRel, see `take`. The acquire half pairs with the swap in `sit`: who comes after it sees the seat.
        if !self.is_woken.swap(true, AcqRel) {
            unpark(&self.thread);
        }
        if let Some(seat) = self.seat.get() {
            wake_seat(seat);
        }
    }
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/thread_waker.rs"]
mod models;
