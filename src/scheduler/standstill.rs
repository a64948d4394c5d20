//! Who waits for the moment at which a loop has nothing to run.
//!
//! Tests wait for it, to look at what the other tasks have done; see `eddies::testing::wait_all_blocked`. Waiters are registered by the thread in the
//! loop's seat, in the midst of a poll, and woken by the same thread when it finds nothing to do. The price for everybody else is one load for
//! each time that a loop goes to sleep.
//!
//! A waiter that is dropped leaves its waker behind, which is woken in vain.

use std::task::{Poll, Waker};

use crate::loom::Mutex;
use crate::loom::atomic::AtomicBool;
use crate::loom::atomic::Ordering::Relaxed;

/// The waiters of one loop.
pub(crate) struct Standstill {
    /// Whether `awaited` has wakers. Written and read by the thread in the seat.
    is_awaited: AtomicBool,
    awaited: Mutex<Awaited>,
}

/// Written and read by the thread in the seat; the lock is there because that may be another one at each `block_on`.
struct Awaited {
    /// How many times the loop has stood still while somebody waited for it.
    reached: u64,
    wakers: Vec<Waker>,
}

impl Standstill {
    pub(crate) fn new() -> Self {
        Standstill {
            is_awaited: AtomicBool::new(false),
            awaited: Mutex::new(Awaited { reached: 0, wakers: Vec::new() }),
        }
    }

    /// Whether somebody waits.
    #[inline]
    pub(crate) fn is_awaited(&self) -> bool {
        // Ordering: Relaxed: the thread in the seat reads what it wrote itself, or what the one that had the seat before did: the seat's lock
        // is between them.
        self.is_awaited.load(Relaxed)
    }

    /// Only on the thread in the seat. Ready when the loop has stood still since the poll that set `since`; else `waker` is woken when it does.
    pub(crate) fn poll_reached(&self, since: &mut Option<u64>, waker: &Waker) -> Poll<()> {
        let waker = waker.clone();
        let mut awaited = self.awaited.lock();
        if since.is_some_and(|since| since != awaited.reached) {
            drop(awaited);
            return Poll::Ready(());
        }
        *since = Some(awaited.reached);
        awaited.wakers.push(waker);
        // Ordering: Relaxed, see `is_awaited`.
        self.is_awaited.store(true, Relaxed);
        Poll::Pending
    }

    /// Only by the thread in the seat: the loop stands still. Moves the wakers of those who waited for it to `wakers`.
    pub(crate) fn reach(&self, wakers: &mut Vec<Waker>) {
        let mut awaited = self.awaited.lock();
        awaited.reached += 1;
        wakers.append(&mut awaited.wakers);
        // Ordering: Relaxed, see `is_awaited`.
        self.is_awaited.store(false, Relaxed);
    }
}
