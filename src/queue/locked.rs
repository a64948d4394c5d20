//! A queue under a lock, whose length can be read without it: for tasks that yielded after a long poll.
//!
//! Such a task comes here once in a hundred microseconds or less often, so the lock costs nothing that could be measured, and it brings what a deque has not:
//! any thread pushes. Any thread pops, too. Nothing of the user's runs under the lock.
//!
//! It orders nothing beyond its items: who pushes and then looks for a sleeper, and who announces its sleep and then looks here, bring a
//! `fence(SeqCst)` each, as with the deque.

use std::collections::VecDeque;

use crate::loom::Mutex;
use crate::loom::atomic::{AtomicUsize, Ordering};

/// The memory for so many items is kept while there are none.
const KEPT: usize = 64;

/// First in, first out.
pub(crate) struct LockedQueue<T> {
    /// How many items there are. Written by who holds the lock, read by anybody.
    len: AtomicUsize,
    items: Mutex<VecDeque<T>>,
}

impl<T> LockedQueue<T> {
    /// An empty queue.
    pub(crate) fn new() -> Self {
        LockedQueue { len: AtomicUsize::new(0), items: Mutex::new(VecDeque::new()) }
    }

    /// Any thread. Adds `item` at the back.
    pub(crate) fn push(&self, item: T) {
        let mut items = self.items.lock();
        items.push_back(item);
        // Ordering: Relaxed: the lock publishes the items; that the length is seen in time is for the caller's fence.
        self.len.store(items.len(), Ordering::Relaxed);
    }

    /// Any thread. Takes the item at the front.
    pub(crate) fn pop(&self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let mut items = self.items.lock();
        let item = items.pop_front();
        // Ordering: Relaxed: as in `push`.
        self.len.store(items.len(), Ordering::Relaxed);
        if items.is_empty() && items.capacity() > KEPT {
            *items = VecDeque::new();
        }
        item
    }

    /// Any thread. How many items there seem to be now: cheap, without the lock.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // Ordering: Relaxed: ordered by the caller's fence, or only a hint.
        self.len.load(Ordering::Relaxed)
    }

    /// Any thread. Whether there seems to be nothing now.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_came_first_goes_first_and_a_burst_leaves_no_memory() {
        let queue = LockedQueue::new();
        assert_eq!(queue.pop(), None);
        (0..1000).for_each(|item| queue.push(item));
        assert_eq!(queue.len(), 1000);
        assert!((0..1000).all(|item| queue.pop() == Some(item)) && queue.is_empty());
        assert!(queue.items.lock().capacity() <= KEPT);
    }
}
