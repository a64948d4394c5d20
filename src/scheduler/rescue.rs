//! Which stalled loop a loop was asked to help.
//!
//! A word of the *helper*: the monitor, or a worker that lends its loop, writes it, and then either ends the helper's sleep, which it has claimed,
//! or leaves a helper that runs the signal HELP. The helper takes the word when it wakes, or between two polls.
//!
//! - **G1** Who takes a request sees what the asker saw: the request comes after the stall it is about.
//! - **G2** A request may be overwritten by a later one, come when the stall is over, or find the helper itself in a long poll by now: it is a hint.
//!   The monitor asks again, and another helper, at its next tick for as long as the stall lasts.

use crate::loom::atomic::AtomicUsize;
use crate::loom::atomic::Ordering::{Acquire, Relaxed, Release};

/// The index of the stalled loop + 1, or 0.
pub(crate) struct Rescue(AtomicUsize);

impl Rescue {
    pub(crate) fn new() -> Self {
        Rescue(AtomicUsize::new(0))
    }

    /// Asks the loop to help `stalled`. Any thread, which then wakes or signals the loop.
    pub(crate) fn ask(&self, stalled: usize) {
        // Ordering: Release pairs with the Acquire in `take` (G1), for a helper that takes it on an earlier notice or signal than the one that
        // follows.
        self.0.store(stalled + 1, Release);
    }

    /// Owner only: the stalled loop that this one was asked to help last.
    pub(crate) fn take(&self) -> Option<usize> {
        // Ordering: Relaxed: a guess that saves the swap; the notice or the signal that follows the request makes it visible.
        if self.0.load(Relaxed) == 0 {
            return None;
        }
        // Ordering: Acquire pairs with the Release in `ask` (G1).
        self.0.swap(0, Acquire).checked_sub(1)
    }
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/rescue.rs"]
mod models;
