//! A Chase-Lev deque of pointer-sized items, FIFO at both ends.
//!
//! One owner thread holds the [`ChaseLev`], pushes at the back and pops at the front; any thread steals from the front through a
//! [`ChaseLevStealer`]. The algorithm is Chase and Lev's (SPAA 2005) with the orderings of Le, Pop, Cohen and Zappa Nardelli (PPoPP
//! 2013), made simpler by one thing: the owner takes from the front too, and so competes with the thieves by the same
//! compare-and-swap. The back index then only grows, and the fence between the owner's "back is lower now" and its look at the front
//! has nothing left to order.
//!
//! Items live in a ring of atomic pointers whose capacity is a power of two and which doubles when it is full. A ring that was outgrown
//! is kept, linked from its successor, until the deque is dropped: thieves may still read it. All outgrown rings together are smaller
//! than the current one, so a deque occupies less than twice the ring that its longest queue needed; it does not shrink.
//!
//! # Invariants
//!
//! - C1. Only the owner writes the back index, the slots and the ring pointer. It keeps its own copies of `back` and, as a lower bound, of
//!   `front`: an owner without thieves touches no cache line that a thief writes, but for the swap that takes an item.
//! - C2. `front` changes only by compare-and-swap to a greater value (indices wrap; a thief would have to sleep through exactly
//!   `2^usize::BITS` takes to be fooled). Who moves it from `f` to `f + k` owns the items `f .. f + k`, and nobody else does.
//! - C3. The slot of index `i` is written again only after the owner knows of a front greater than `i`. It learns of one by reading
//!   `front` with Acquire, or by taking `i` itself.
//! - C4. Rings are freed by the drop of [`Shared`] and by nothing else. A ring that was outgrown is never written again.
//!
//! # Why what a thief read is what it wins
//!
//! A thief loads `front` as `f`, `back` as `b`, the ring pointer, the slots `f .. f + k` with `f + k <= b`, and then swaps `front` from
//! `f` to `f + k`. Suppose the swap succeeds.
//!
//! 1. The Acquire load of `b` synchronises with the push that stored it. All of `.. b` is in its slots by then, in the ring of that
//!    time. So the ring loaded after it is that one or a later one, and each slot yields the item of its own index or something written
//!    later: what remains is to exclude later writes.
//! 2. A later ring, published with Release and loaded with Acquire, holds copies of everything from the front `g` that the owner saw
//!    when it grew, up to the back of that time. If `g > f`, the thief's swap comes later in the order of `front` than `g` (the owner's
//!    reading `g` happens before it) and fails. So `g <= f`, and the copies include what the thief reads.
//! 3. A slot with index `i` in `f .. f + k` is written again only after the owner knows of a front greater than `i` (C3). As nothing but
//!    the thief's own swap moves `front` away from `f` (C2), it has read what that swap or a later one stored. That read is an Acquire of
//!    a Release (each later change of `front` is a read-modify-write and continues the release sequence), so the thief's reading of the
//!    slot happens before the write and cannot have seen it.
//! 4. Hence each pointer is the item of its index, and by C2 it is the thief's alone. One swap therefore takes a whole batch.
//!
//! A thief that loses the swap forgets the pointers. It never looks behind one before it has won.
//!
//! # What it deliberately does not do
//!
//! - It does not order an empty answer. `push` is a Release store and looking is an Acquire load, no more than crossbeam-deque gives:
//!   "push, then look for sleepers" against "announce sleep, then look at the deque" needs `fence(SeqCst)` on both sides, from the
//!   callers. The model `without_fences_the_idle_handshake_loses_a_wake_up` (and those after it) shows that this deque does not quietly provide it.
//! - It does not reclaim rings while it lives (no epochs), and does not retry: a lost race is [`Stolen::Retry`].
//!
//! loom does not explore executions in which a load sees a store that comes later in another thread's program order, so the Release of
//! the thieves' swap and the Acquire of the owner's reads of `front` (step 3) rest on the argument above and on no model.

#![allow(
    unsafe_code,
    reason = "rings outlive the loads of their pointer, and items are made from pointers by the winner of a race"
)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crossbeam_utils::CachePadded;

use super::word::Word;
use super::{Deque, DequeStealer, Stolen};
use crate::loom::Arc;
use crate::loom::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Slots of the first ring: under loom so few that a model makes it grow.
const CAPACITY_FIRST: usize = if cfg!(eddies_loom) { 2 } else { 64 };

/// A power-of-two ring of slots.
struct Ring {
    /// The item of index `i` is in slot `i % len`. Written by the owner while the ring is current, read by everybody.
    slots: Box<[AtomicPtr<()>]>,
    /// The ring that this one replaced, or null. Written once, before the ring is published; read by the drop of [`Shared`].
    outgrown: *mut Ring,
}

impl Ring {
    /// A ring on the heap, with nothing in it.
    fn alloc(capacity: usize, outgrown: *mut Ring) -> NonNull<Ring> {
        debug_assert!(capacity.is_power_of_two());
        let slots = (0..capacity).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
        NonNull::from(Box::leak(Box::new(Ring { slots, outgrown })))
    }

    fn capacity(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    fn slot(&self, index: usize) -> &AtomicPtr<()> {
        &self.slots[index & (self.slots.len() - 1)]
    }

    /// What the slot of `index` holds: the item of that index only under the argument of the module.
    #[inline]
    fn get(&self, index: usize) -> *mut () {
        // Ordering: Relaxed, publishes nothing: the thief's load of `back`, or of the ring, already acquired the write
        // (`ChaseLev::push`, `ChaseLev::grow`), and the swap of `front` rules out a later one.
        self.slot(index).load(Ordering::Relaxed)
    }

    /// Owner thread only, and only for a slot that is free (C3).
    #[inline]
    fn set(&self, index: usize, item: *mut ()) {
        // Ordering: Relaxed, the Release store of `back` (or of the ring) that follows publishes it.
        self.slot(index).store(item, Ordering::Relaxed);
    }
}

/// What the owner and the thieves share.
struct Shared<W: Word> {
    /// Index of the oldest item. Moved forward by whoever takes items, read by everybody.
    front: CachePadded<AtomicUsize>,
    /// Index of the next item to come. Written by the owner, read by everybody.
    back: CachePadded<AtomicUsize>,
    /// The current ring. Written by the owner when it grows, read by everybody.
    ring: AtomicPtr<Ring>,
    /// Items are moved in by one thread and out by another, never shared.
    items: PhantomData<fn() -> W>,
}

/// Items between two indices; indices wrap, and a stale `back` can lie before `front`.
#[inline]
fn distance(front: usize, back: usize) -> usize {
    usize::try_from(back.wrapping_sub(front).cast_signed()).unwrap_or(0)
}

impl<W: Word> Shared<W> {
    /// The current ring, or for a thief one that was current since it loaded `back`.
    #[inline]
    fn ring(&self) -> &Ring {
        // Ordering: Acquire, pairs with the Release in `ChaseLev::grow`: the ring and the items copied into it. The owner reads its own
        // store and would not need it.
        let ring = self.ring.load(Ordering::Acquire);
        // SAFETY: C4, a pointer that was ever stored here is that of a live ring until `self` is dropped, and nobody has it mutably.
        unsafe { &*ring }
    }

    /// Takes the items `front .. front + count` if they are still there.
    #[inline]
    fn take(&self, front: usize, count: usize) -> bool {
        let past = front.wrapping_add(count);
        // Ordering: Release, pairs with the Acquire in `ChaseLev::ring_with_room` and `ChaseLev::pop`: the slots are read before the
        // owner may overwrite them (step 3). No Acquire: the items were acquired through `back`. Relaxed on failure: nothing read is used.
        self.front.compare_exchange(front, past, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

impl<W: Word> Drop for Shared<W> {
    fn drop(&mut self) {
        // Ordering: Relaxed, three times: `&mut self`, so the reference count has ordered everything before this.
        let mut front = self.front.load(Ordering::Relaxed);
        // Ordering: Relaxed, see above.
        let back = self.back.load(Ordering::Relaxed);
        while front != back {
            let item = self.ring().get(front);
            front = front.wrapping_add(1);
            // SAFETY: the indices from `front` to `back` were pushed and taken by nobody (C2); this loop passes each once.
            drop(unsafe { item_of::<W>(item) });
        }
        // Ordering: Relaxed, see above.
        let mut ring = self.ring.load(Ordering::Relaxed);
        while !ring.is_null() {
            // SAFETY: each ring came from a box, is linked once, and is freed nowhere else (C4); no reference to it can be left.
            let freed = unsafe { Box::from_raw(ring) };
            ring = freed.outgrown;
        }
    }
}

/// The item behind a slot's pointer.
///
/// # Safety
///
/// `slot` is what a slot holds for an index that the caller took (C2), and is turned into an item this once.
#[inline]
unsafe fn item_of<W: Word>(slot: *mut ()) -> W {
    let item = NonNull::new(slot).expect("a slot between front and back holds an item");
    // SAFETY: only `push` and batch steals put pointers into slots, and they put there what `Word::into_ptr` gave; once, says the caller.
    unsafe { W::from_ptr(item) }
}

/// The owner's end. One thread at a time: it is `!Sync`.
pub(crate) struct ChaseLev<W: Word> {
    /// Shared with the thieves' ends. Written by no one after construction.
    shared: Arc<Shared<W>>,
    /// What `Shared::back` holds. The owner's.
    back: Cell<usize>,
    /// What `Shared::front` held when the owner last read it: at most what it holds. The owner's.
    front_seen: Cell<usize>,
}

impl<W: Word> ChaseLev<W> {
    /// An empty deque whose first item gets the index `start`.
    fn starting_at(start: usize) -> Self {
        let shared = Shared {
            front: CachePadded::new(AtomicUsize::new(start)),
            back: CachePadded::new(AtomicUsize::new(start)),
            ring: AtomicPtr::new(Ring::alloc(CAPACITY_FIRST, ptr::null_mut()).as_ptr()),
            items: PhantomData,
        };
        ChaseLev { shared: Arc::new(shared), back: Cell::new(start), front_seen: Cell::new(start) }
    }

    /// Makes the items up to index `back` visible.
    #[inline]
    fn publish(&self, back: usize) {
        self.back.set(back);
        // Ordering: Release, pairs with the Acquire in `ChaseLevStealer::window`: the slots and what is behind their pointers. Not
        // SeqCst: whoever must see a sleeper after its push brings its own fence.
        self.shared.back.store(back, Ordering::Release);
    }

    /// The current ring, with `count` free slots from `back` on.
    #[inline]
    fn ring_with_room(&self, count: usize) -> &Ring {
        let ring = self.shared.ring();
        if self.occupied() + count <= ring.capacity() {
            return ring;
        }
        // Ordering: Acquire, pairs with the Release in `Shared::take`: thieves have read the slots that are reused from here on (C3).
        self.front_seen.set(self.shared.front.load(Ordering::Acquire));
        let needed = self.occupied() + count;
        if needed <= ring.capacity() { ring } else { self.grow(needed) }
    }

    /// Slots that the owner cannot reuse yet, as far as it knows.
    #[inline]
    fn occupied(&self) -> usize {
        self.back.get().wrapping_sub(self.front_seen.get())
    }

    #[cold]
    fn grow(&self, needed: usize) -> &Ring {
        let outgrown = self.shared.ring();
        // The pointer that came from the box, for it will be made a box again: one made from `outgrown` would only be good for reading.
        // Ordering: Relaxed, this thread's own store.
        let link = self.shared.ring.load(Ordering::Relaxed);
        let bigger = Ring::alloc(needed.next_power_of_two(), link);
        // SAFETY: just allocated, and freed by nobody before `shared` is dropped, which `self` keeps alive (C4).
        let ring: &Ring = unsafe { bigger.as_ref() };
        let mut index = self.front_seen.get();
        while index != self.back.get() {
            ring.set(index, outgrown.get(index));
            index = index.wrapping_add(1);
        }
        // Ordering: Release, pairs with the Acquire in `Shared::ring`: the new ring and the items copied into it.
        self.shared.ring.store(bigger.as_ptr(), Ordering::Release);
        ring
    }
}

impl<W: Word> Deque<W> for ChaseLev<W> {
    type Stealer = ChaseLevStealer<W>;

    fn new() -> Self {
        ChaseLev::starting_at(0)
    }

    #[inline]
    fn push(&self, item: W) {
        let back = self.back.get();
        self.ring_with_room(1).set(back, item.into_ptr().as_ptr());
        self.publish(back.wrapping_add(1));
    }

    #[inline]
    fn pop(&self) -> Option<W> {
        // What the owner saw of `front` is at most what it is, so equal indices mean that there is nothing, and it is right.
        while self.front_seen.get() != self.back.get() {
            let front = self.front_seen.get();
            let past = front.wrapping_add(1);
            // Ordering: Acquire, both ways, pairs with the Release in `Shared::take`: thieves have read the slots before `front`, which
            // `push` takes as free from now on (C3). No Release: nobody waits for this thread's reads of its own slots, and what thieves
            // released stays visible through this read-modify-write (release sequence).
            match self.shared.front.compare_exchange(front, past, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => {
                    self.front_seen.set(past);
                    let slot = self.shared.ring().get(front);
                    // SAFETY: the swap took the index `front` (C2), whose slot only this thread could have written since (C1).
                    return Some(unsafe { item_of(slot) });
                }
                Err(now) => self.front_seen.set(now),
            }
        }
        None
    }

    #[inline]
    fn len(&self) -> usize {
        // Ordering: Relaxed, a count that is out of date when it is returned.
        distance(self.shared.front.load(Ordering::Relaxed), self.back.get())
    }

    fn stealer(&self) -> ChaseLevStealer<W> {
        ChaseLevStealer { shared: self.shared.clone() }
    }
}

/// A thief's end.
pub(crate) struct ChaseLevStealer<W: Word> {
    /// Shared with the owner's end. Written by no one after construction.
    shared: Arc<Shared<W>>,
}

impl<W: Word> ChaseLevStealer<W> {
    /// The front and how many items follow it, as far as this thread can see. Only a swap of `front` tells whether it still holds.
    #[inline]
    fn window(&self) -> (usize, usize) {
        // Ordering: Relaxed, a guess that `Shared::take` confirms; a stale front loses the swap, and never makes the deque look empty.
        let front = self.shared.front.load(Ordering::Relaxed);
        // Ordering: Acquire, pairs with the Release in `ChaseLev::publish`: the items, their slots and the ring of that time.
        let back = self.shared.back.load(Ordering::Acquire);
        (front, distance(front, back))
    }
}

impl<W: Word> DequeStealer<W> for ChaseLevStealer<W> {
    type Owner = ChaseLev<W>;

    fn steal_into(&self, into: &ChaseLev<W>, limit: usize) -> Stolen<W> {
        assert!(limit > 0, "a batch has room for one item at least");
        if Arc::ptr_eq(&self.shared, &into.shared) {
            return into.pop().map_or(Stolen::Empty, Stolen::Taken);
        }
        let (front, seen) = self.window();
        if seen == 0 {
            return Stolen::Empty;
        }
        // The first goes to the caller. The others are written where only this thread, the owner of `into`, can see them yet.
        let others = limit.min(seen.div_ceil(2)) - 1;
        let ring = self.shared.ring();
        let into_back = into.back.get();
        if others > 0 {
            let into_ring = into.ring_with_room(others);
            for i in 0..others {
                into_ring.set(into_back.wrapping_add(i), ring.get(front.wrapping_add(i + 1)));
            }
        }
        let first = ring.get(front);
        if !self.shared.take(front, others + 1) {
            return Stolen::Retry;
        }
        if others > 0 {
            into.publish(into_back.wrapping_add(others));
        }
        // SAFETY: the swap took the index `front` and those of the others (C2), and `first` is the item of `front` (module, step 4).
        Stolen::Taken(unsafe { item_of(first) })
    }

    #[cfg(test)]
    fn steal(&self) -> Stolen<W> {
        let (front, seen) = self.window();
        if seen == 0 {
            return Stolen::Empty;
        }
        let first = self.shared.ring().get(front);
        if !self.shared.take(front, 1) {
            return Stolen::Retry;
        }
        // SAFETY: the swap took the index `front` (C2), and `first` is its item (module, step 4).
        Stolen::Taken(unsafe { item_of(first) })
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.window().1 == 0
    }
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/chase_lev.rs"]
mod models;
