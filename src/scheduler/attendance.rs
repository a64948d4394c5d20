//! Which loop attends a stalled one.
//!
//! A word of the *stalled* loop. A helper that was sent to it writes its own index there and waits for the stalled loop's reactor along with its own
//! (a vigil: `worker/attending.rs`). The monitor reads it: a loop that is attended by one that sleeps needs nobody else for its sockets.
//!
//! - **A1** The word names a loop only while that loop has the stalled one in its list: it writes itself in before, and takes itself out after, and
//!   never another, which may have come in its place. A word that names a loop without a vigil would keep the monitor from helping for as long
//!   as the stall lasts.
//! - **A2** It is a hint otherwise. A monitor that reads it late sends one helper too many, or one a tick later.

use crate::loom::atomic::AtomicUsize;
use crate::loom::atomic::Ordering::Relaxed;

/// The index of the attending loop + 1, or 0.
pub(crate) struct Attendance(AtomicUsize);

impl Attendance {
    pub(crate) fn new() -> Self {
        Attendance(AtomicUsize::new(0))
    }

    /// Owner of loop `helper` only: it attends the loop from now on, in place of whoever did.
    pub(crate) fn begin(&self, helper: usize) {
        // Ordering: Relaxed: a hint (A2). What A1 asks is about this word alone, whose changes have one order. A plain store would do; loom knows one
        // order of read-modify-writes only. A helper gets here once for each stall.
        self.0.swap(helper + 1, Relaxed);
    }

    /// Owner of loop `helper` only: it attends the loop no longer. Whether it still did.
    pub(crate) fn end(&self, helper: usize) -> bool {
        // Ordering: Relaxed, as in `begin`. One step, so that a helper that came in between stays (A1).
        self.0.compare_exchange(helper + 1, 0, Relaxed, Relaxed).is_ok()
    }

    /// Any thread: who attends the loop.
    pub(crate) fn by(&self) -> Option<usize> {
        // Ordering: Relaxed: a hint (A2).
        self.0.load(Relaxed).checked_sub(1)
    }
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/attendance.rs"]
mod models;
