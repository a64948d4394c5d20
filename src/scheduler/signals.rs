//! What other threads leave for the owner of a loop: bits that it takes all at once.
//!
//! - **L1** Who sets a bit that was clear nudges the owner after it ([`Signals::leave`] says so). Who finds its bit set relies on the one who
//!   set it: the owner has not taken it yet, and will, and then sees what both did before.

use crate::loom::atomic::AtomicU32;
use crate::loom::atomic::Ordering::{AcqRel, Relaxed};

/// The signals of one loop. Set by any thread, taken by the owner.
pub(crate) struct Signals(AtomicU32);

impl Signals {
    pub(crate) fn new() -> Self {
        Signals(AtomicU32::new(0))
    }

    /// Leaves `bits` for the owner. Any thread. `true`: the caller has to nudge it (L1).
    #[must_use]
    pub(crate) fn leave(&self, bits: u32) -> bool {
        // Ordering: AcqRel. Release pairs with the swap in `take`; the acquire half chains earlier signals of other threads. A
        // read-modify-write also when the bit is there: the owner that takes it sees what this thread did before.
        self.0.fetch_or(bits, AcqRel) & bits != bits
    }

    /// The owner takes its signals.
    #[inline]
    pub(crate) fn take(&self) -> u32 {
        // Ordering: Relaxed: only decides whether the swap is worth its price; a signal set just now is found next time, and before the
        // owner sleeps `is_empty` comes after the fence in `Sleep::announce`.
        if self.is_empty() {
            return 0;
        }
        // Ordering: AcqRel pairs with the fetch_or in `leave`: what the signaller did before is visible.
        self.0.swap(0, AcqRel)
    }

    /// Whether one of `bits` is there. A hint, but for what this thread has left itself.
    pub(crate) fn has(&self, bits: u32) -> bool {
        // Ordering: Relaxed: nothing is published by it; a thread sees its own bits.
        self.0.load(Relaxed) & bits != 0
    }

    /// Whether none is there. Ordered by the caller's fence (S3), or only a hint.
    pub(crate) fn is_empty(&self) -> bool {
        // Ordering: Relaxed: ordered by the caller's fence.
        self.0.load(Relaxed) == 0
    }
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/shutdown.rs"]
mod models;
