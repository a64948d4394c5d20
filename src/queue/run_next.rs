//! The slot for the one task that runs next.
//!
//! A task that is woken by the task being polled is likely to want what that one just produced. The owner of a loop puts the first such
//! task here, where its loop looks before it looks at its deque, and does not wake anybody for it. It fills the slot only while it is
//! empty, so that tasks woken by one poll run in the order of their wake-ups.
//!
//! Owner: [`fill`](RunNext::fill), [`take`](RunNext::take). Any thread: `take` (a thief does so when the owner's poll has become old)
//! and [`is_empty`](RunNext::is_empty).
//!
//! # Invariants
//!
//! - N1. Only the owner turns an empty slot into a full one. So what the owner sees as empty is empty and stays so.
//! - N2. Only a swap empties the slot: who gets the pointer out of it owns the item, and nobody else does.
//!
//! N1 is a promise of the caller and of no type. Two threads that both fill would leak an item: a bug, and no undefined behaviour.
//!
//! It orders nothing beyond the item: a thief that must not miss one brings its own fence, as with the deque.

#![allow(unsafe_code, reason = "the item is made from its pointer by the one who swapped it out")]

use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use super::word::Word;
use crate::loom::atomic::{AtomicPtr, Ordering};

/// A slot for one item.
pub(crate) struct RunNext<W: Word> {
    /// The item, or null. Filled by the owner, emptied by the owner and by thieves.
    slot: AtomicPtr<()>,
    /// Items are moved in by one thread and out by another, never shared.
    item: PhantomData<fn() -> W>,
}

impl<W: Word> RunNext<W> {
    /// An empty slot.
    pub(crate) fn new() -> Self {
        RunNext { slot: AtomicPtr::new(ptr::null_mut()), item: PhantomData }
    }

    /// Owner thread only. Puts `item` into the slot; gives it back when the slot is taken.
    #[inline]
    pub(crate) fn fill(&self, item: W) -> Result<(), W> {
        if !self.is_empty() {
            return Err(item);
        }
        // Ordering: Release, pairs with the Acquire in `RunNext::take`: what the item points at. A store and no swap, because an empty
        // slot stays empty until this very store (N1).
        self.slot.store(item.into_ptr().as_ptr(), Ordering::Release);
        Ok(())
    }

    /// Any thread. Takes the item out.
    ///
    /// The owner misses nothing. A thief can miss an item that was filled in a moment ago.
    #[inline]
    pub(crate) fn take(&self) -> Option<W> {
        // For the owner, looking first is exact when the slot is empty (N1), and saves it the exclusive cache line at every turn.
        if self.is_empty() {
            return None;
        }
        // Ordering: Acquire, pairs with the Release in `RunNext::fill`: what the item points at. No Release: an empty slot tells nothing
        // about its last item.
        let item = self.slot.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: a pointer in the slot came from `Word::into_ptr` in `fill`, and the swap that gets it is the only one to do so (N2).
        NonNull::new(item).map(|item| unsafe { W::from_ptr(item) })
    }

    /// Any thread. Whether the slot looks empty now; exact for the owner when it says yes.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Ordering: Relaxed, publishes nothing: the pointer is compared with null and not followed.
        self.slot.load(Ordering::Relaxed).is_null()
    }
}

impl<W: Word> Drop for RunNext<W> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/run_next.rs"]
mod models;
