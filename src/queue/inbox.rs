//! A loop's inbox: tasks that other threads make runnable on it.
//!
//! Any thread [pushes](Inbox::push), any thread takes all of it at once ([`take_all`](Inbox::take_all)): the owner at each turn, a thief
//! when the owner is held up. It is an intrusive stack (Treiber's): the link is part of the item, so a push allocates nothing, and taking
//! all of it is one swap, so the ABA problem of popping from such a stack does not exist. What was taken is turned round once and comes
//! out in the order of the pushes.
//!
//! The inbox owns an item from `push` until its [`Drained`] yields it. Dropping the inbox, or a `Drained` that was not used up, drops the
//! items.
//!
//! # Invariants
//!
//! - I1. From the successful swap in `push` on, the node belongs to whoever takes the stack; the pusher does not touch it again.
//! - I2. A node's `next` is written by its pusher before I1, and after the taking swap by the taker. It is never written by two at once.
//! - I3. `push` returns true exactly when its item is the first since the stack was last taken (or made). So one pusher per filling has
//!   the duty to notify.
//!
//! # What it deliberately does not do
//!
//! It does not close, it does not count, and it does not order an empty answer: "push, then look for sleepers" against "announce sleep,
//! then look at the inbox" needs `fence(SeqCst)` on both sides, from the callers.
//!
//! Rejected: a `Mutex<Vec>` (a pusher that loses the processor holds up all others and the owner), crossbeam's `Injector` (allocates
//! blocks, is eight times as wide), Vyukov's queue (has a moment in which a pushed item cannot be reached).

#![allow(unsafe_code, reason = "the links are inside the items and reached through raw pointers")]

use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crate::loom::atomic::{AtomicPtr, Ordering};

/// The link inside an item.
#[derive(Debug)]
pub(crate) struct Node {
    /// The item pushed before this one, or null; after [`Inbox::take_all`], the one after it. I2 says who writes it, and the same reads.
    next: AtomicPtr<Node>,
}

impl Node {
    /// The link of an item that is in no inbox.
    pub(crate) fn new() -> Self {
        Node { next: AtomicPtr::new(ptr::null_mut()) }
    }
}

/// An item that has a [`Node`] in it.
///
/// # Safety
///
/// The pointer that `into_raw` returns is valid for shared access to a [`Node`] until it is given to `from_raw`, on whatever thread.
/// Until then, nothing else puts that node into an inbox, and no exclusive reference to it exists.
pub(crate) unsafe trait Link: Send {
    /// Gives the item up for the pointer to its link. Not turning it back leaks it.
    fn into_raw(self) -> NonNull<Node>;

    /// The item whose link `node` is.
    ///
    /// # Safety
    ///
    /// `node` came from [`into_raw`](Link::into_raw) of the same type, and is turned back this once. The call happens after that one.
    unsafe fn from_raw(node: NonNull<Node>) -> Self;
}

/// A stack of items that is filled one by one and emptied as a whole.
pub(crate) struct Inbox<L: Link> {
    /// The item pushed last, or null. Written and read by everybody.
    last: AtomicPtr<Node>,
    /// Items are moved in by one thread and out by another, never shared.
    items: PhantomData<fn() -> L>,
}

impl<L: Link> Inbox<L> {
    /// An empty inbox.
    pub(crate) fn new() -> Self {
        Inbox { last: AtomicPtr::new(ptr::null_mut()), items: PhantomData }
    }

    /// Any thread. Adds `item`; true when the inbox was empty, and then the caller has to tell the owner.
    #[inline]
    pub(crate) fn push(&self, item: L) -> bool {
        let node = item.into_raw();
        // A guess: the inbox is empty, as it mostly is. A wrong guess costs one failed swap, which fetches the cache line for the second; a
        // load before the swap would fetch it twice when the guess is right.
        let mut last = ptr::null_mut();
        loop {
            // SAFETY: the swap has not succeeded yet, so the node is this thread's and alive (`Link`, I1).
            let link = unsafe { node.as_ref() };
            // Ordering: Relaxed, the Release swap below publishes it.
            link.next.store(last, Ordering::Relaxed);
            // Ordering: Release, pairs with the Acquire in `Inbox::take_all`: the item and its link. Later pushes are read-modify-writes
            // and continue the release sequence, so the taker, who reads the last of them, acquires all. Relaxed on failure: a new guess.
            match self.last.compare_exchange_weak(last, node.as_ptr(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return last.is_null(),
                Err(now) => last = now,
            }
        }
    }

    /// Any thread. Takes all items, oldest first.
    ///
    /// Looks first, without a read-modify-write: whoever must not miss a push that is being made puts a fence before it.
    #[inline]
    pub(crate) fn take_all(&self) -> Drained<L> {
        if self.is_empty() {
            return Drained::new(ptr::null_mut());
        }
        // Ordering: Acquire, pairs with the Release in `Inbox::push`: the items and their links. No Release: an empty inbox tells nothing
        // about the items that were in it.
        let last = self.last.swap(ptr::null_mut(), Ordering::Acquire);
        Drained::new(last)
    }

    /// Any thread. Whether the inbox looks empty now. Cheap; who relies on it brings a fence.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Ordering: Relaxed, publishes nothing: the pointer is compared with null and not followed.
        self.last.load(Ordering::Relaxed).is_null()
    }
}

impl<L: Link> Drop for Inbox<L> {
    fn drop(&mut self) {
        drop(self.take_all());
    }
}

/// What was in an inbox, oldest first. Dropping it drops what it has not yielded.
pub(crate) struct Drained<L: Link> {
    /// The oldest item not yet yielded, or null. Owned by this value with everything linked behind it.
    oldest: *mut Node,
    /// How many are left.
    left: usize,
    /// The items are owned.
    items: PhantomData<L>,
}

impl<L: Link> Drained<L> {
    /// Turns round the stack whose top is `last`, which the caller swapped out of an inbox of `L`.
    fn new(last: *mut Node) -> Self {
        let mut drained = Drained { oldest: ptr::null_mut(), left: 0, items: PhantomData };
        let mut rest = last;
        while let Some(node) = NonNull::new(rest) {
            // SAFETY: the stack was swapped out as a whole, so its nodes are alive and no other thread's (I1).
            let link = unsafe { node.as_ref() };
            // Ordering: Relaxed, twice: the swap has acquired the links, and from here on they are this thread's.
            rest = link.next.load(Ordering::Relaxed);
            // Ordering: Relaxed, see above.
            link.next.store(drained.oldest, Ordering::Relaxed);
            drained.oldest = node.as_ptr();
            drained.left += 1;
        }
        drained
    }
}

impl<L: Link> Iterator for Drained<L> {
    type Item = L;

    #[inline]
    fn next(&mut self) -> Option<L> {
        let node = NonNull::new(self.oldest)?;
        // SAFETY: a node that was not yielded yet is alive and this value's own (I1).
        let link = unsafe { node.as_ref() };
        // Ordering: Relaxed, this thread's own store in `Drained::new`.
        self.oldest = link.next.load(Ordering::Relaxed);
        self.left -= 1;
        // SAFETY: `push` got the node from `Link::into_raw`; the chain has moved past it, so it is turned back this once.
        Some(unsafe { L::from_raw(node) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<L: Link> ExactSizeIterator for Drained<L> {}
impl<L: Link> FusedIterator for Drained<L> {}

impl<L: Link> Drop for Drained<L> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

#[cfg(test)]
pub(crate) mod tests;

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/inbox.rs"]
mod models;
