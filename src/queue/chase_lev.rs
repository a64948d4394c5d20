//! A Chase-Lev deque of pointer-sized items, FIFO at both ends.
//!
//! One owner thread holds the [`ChaseLev`], pushes at the back and pops at the front; any thread steals from the front through a
//! [`ChaseLevStealer`]. The algorithm is Chase and Lev's (SPAA 2005) with the orderings of Le, Pop, Cohen and Zappa Nardelli (PPoPP
//! 2013), made simpler by one thing: the owner takes from the front too, and so competes with the thieves by the same
//! compare-and-swap. The back index then only grows, and the fence between the owner's "back is lower now" and its look at the front
//! has nothing left to order.
//!
//! Items live in a ring of atomic pointers whose capacity is a power of two and which doubles when it is full. A ring that was outgrown
//! is kept, linked from its successor, for thieves may still read it. All outgrown rings together are smaller than the current one, so a
//! deque occupies less than twice the ring that its longest queue needed. An owner that goes to sleep gives back what a burst left
//! ([`Deque::trim`]): it puts a small ring in place and frees the others, unless some thief is in the middle of a steal.
//!
//! # Invariants
//!
//! - C1. Only the owner writes the back index, the slots and the ring pointer. It keeps its own copies of `back` and, as a lower bound, of
//!   `front`: an owner without thieves touches no cache line that a thief writes, but for the swap that takes an item.
//! - C2. `front` changes only by compare-and-swap to a greater value (indices wrap; a thief would have to sleep through exactly
//!   `2^usize::BITS` takes to be fooled). Who moves it from `f` to `f + k` owns the items `f .. f + k`, and nobody else does.
//! - C3. The slot of index `i` is written again only after the owner knows of a front greater than `i`. It learns of one by reading
//!   `front` with Acquire, or by taking `i` itself.
//! - C4. A ring that was replaced is never written again, and its items are in its successor: all of them, or there were none.
//! - C5. A thief looks at rings only while it is counted in [`Front::thieves`]. Rings are freed by the drop of [`Shared`], and by the owner when it
//!   has replaced them and then found that count zero.
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
//!    when it replaced the one before, up to the back of that time (nothing, in `trim`, where `g` is the back). If `g > f`, the thief's swap comes later in the order of `front` than `g` (the owner's
//!    reading `g` happens before it) and fails. So `g <= f`, and the copies include what the thief reads.
//! 3. A slot with index `i` in `f .. f + k` is written again only after the owner knows of a front greater than `i` (C3). As nothing but
//!    the thief's own swap moves `front` away from `f` (C2), it has read what that swap or a later one stored. That read is an Acquire of
//!    a Release (each later change of `front` is a read-modify-write and continues the release sequence), so the thief's reading of the
//!    slot happens before the write and cannot have seen it.
//! 4. Hence each pointer is the item of its index, and by C2 it is the thief's alone. One swap therefore takes a whole batch.
//!
//! A thief that loses the swap forgets the pointers. It never looks behind one before it has won.
//!
//! # Why a ring that is freed is read by nobody
//!
//! A thief counts itself (E1), passes a `fence(SeqCst)` (E2), loads the ring pointer (E3), reads, and takes itself off the count with Release
//! (E4). The owner stores the new pointer (F1), passes a `fence(SeqCst)` (F2), and loads the count with Acquire (F3). If F2 comes before E2 in
//! the order of those fences, E3 sees the new ring. If E2 comes before F2, F3 sees the thief's E1 or something later; if that is zero, it comes
//! from an E4, the thief's or one that continues its release sequence, as all changes of the count are read-modify-writes: what the thief read
//! happens before the rings are freed. Each thief writes the count on the cache line that its swap is about to write.
//!
//! # What it deliberately does not do
//!
//! - It does not order an empty answer. `push` is a Release store and looking is an Acquire load, no more than crossbeam-deque gives:
//!   "push, then look for sleepers" against "announce sleep, then look at the deque" needs `fence(SeqCst)` on both sides, from the
//!   callers. The model `without_fences_the_idle_handshake_loses_a_wake_up` (and those after it) shows that this deque does not quietly provide it.
//! - It does not wait: a lost race is [`Stolen::Retry`], and rings that cannot be freed because of a thief are left to the next burst's trim.
//!
//! loom does not explore executions in which a load sees a store that comes later in another thread's program order, so the Release of
//! the thieves' swap and the Acquire of the owner's reads of `front` (step 3) rest on the argument above and on no model.

#![allow(
    unsafe_code,
    reason = "rings outlive the looks of those who are counted, and items are made from pointers by the winner of a race"
)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crossbeam_utils::CachePadded;

use super::word::Word;
use super::{Deque, DequeStealer, Stolen};
use crate::loom::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};
use crate::loom::{Arc, Track, UnsafeCell};

/// Slots of the first ring: under loom so few that a model makes it grow.
const CAPACITY_FIRST: usize = if cfg!(eddies_loom) { 2 } else { 64 };

/// An empty ring of up to so many slots is kept: 32 KiB.
const CAPACITY_KEPT: usize = if cfg!(eddies_loom) {
    2
} else if cfg!(miri) {
    64
} else {
    4096
};

/// A power-of-two ring of slots.
struct Ring {
    /// The item of index `i` is in slot `i % len`. Written by the owner while the ring is current, read by everybody.
    slots: Box<[AtomicPtr<()>]>,
    /// The ring that this one replaced, or null. Written by the owner: before the ring is published, and when what it points to is freed.
    /// Read by whoever frees rings.
    replaced: AtomicPtr<Ring>,
    /// Nothing. Read with each slot and written when the ring goes, so that a model finds the one beside the other, or a ring that never goes.
    freed: UnsafeCell<Track<()>>,
}

impl Ring {
    /// A ring on the heap, with nothing in it.
    fn alloc(capacity: usize, replaced: *mut Ring) -> NonNull<Ring> {
        debug_assert!(capacity.is_power_of_two());
        let slots = (0..capacity).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
        let ring = Ring { slots, replaced: AtomicPtr::new(replaced), freed: UnsafeCell::new(Track::new(())) };
        NonNull::from(Box::leak(Box::new(ring)))
    }

    /// Frees `ring` and all that it and its predecessors replaced. Null is fine.
    ///
    /// # Safety
    ///
    /// Each of them came from [`alloc`](Ring::alloc), is linked once, and can be reached by nobody else any more (C5).
    unsafe fn free(mut ring: *mut Ring) {
        while !ring.is_null() {
            // SAFETY: the caller's promise. The link leads to the next one, which the promise covers too.
            let freed = unsafe { Box::from_raw(ring) };
            freed.freed.with_mut(|_| ());
            // Ordering: Relaxed: written by the owner, whom this thread is, or came after (`Drop for Shared`).
            ring = freed.replaced.load(Ordering::Relaxed);
        }
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
        self.freed.with(|_| ());
        // Ordering: Relaxed, publishes nothing: the thief's load of `back`, or of the ring, already acquired the write
        // (`ChaseLev::publish`, `ChaseLev::grow`), and the swap of `front` rules out a later one.
        self.slot(index).load(Ordering::Relaxed)
    }

    /// Owner thread only, and only for a slot that is free (C3).
    #[inline]
    fn set(&self, index: usize, item: *mut ()) {
        // Ordering: Relaxed, the Release store of `back` (or of the ring) that follows publishes it.
        self.slot(index).store(item, Ordering::Relaxed);
    }
}

/// The cache line that thieves write.
struct Front {
    /// Index of the oldest item. Moved forward by whoever takes items, read by everybody.
    index: AtomicUsize,
    /// How many thieves may be looking at rings (C5). Written by thieves, read by the owner when it frees rings.
    thieves: AtomicUsize,
}

/// What the owner and the thieves share.
struct Shared<W: Word> {
    /// Where items are taken from.
    front: CachePadded<Front>,
    /// Index of the next item to come. Written by the owner, read by everybody.
    back: CachePadded<AtomicUsize>,
    /// The current ring. Written by the owner when it grows or trims, read by everybody.
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
    /// The current ring, for the owner.
    #[inline]
    fn own_ring(&self) -> &Ring {
        // Ordering: Relaxed, the owner's own store.
        let ring = self.ring.load(Ordering::Relaxed);
        // SAFETY: C5, only the owner frees rings, or the drop, and never the current one; and nobody has it mutably.
        unsafe { &*ring }
    }

    /// Takes the items `front .. front + count` if they are still there.
    #[inline]
    fn take(&self, front: usize, count: usize) -> bool {
        let past = front.wrapping_add(count);
        // Ordering: Release, pairs with the Acquire in `ChaseLev::ring_with_room` and `ChaseLev::pop`: the slots are read before the
        // owner may overwrite them (step 3). No Acquire: the items were acquired through `back`. Relaxed on failure: nothing read is used.
        self.front.index.compare_exchange(front, past, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

/// A thief's look at a ring, which nobody frees meanwhile (C5).
struct Look<'a, W: Word> {
    /// The victim's.
    shared: &'a Shared<W>,
}

impl<'a, W: Word> Look<'a, W> {
    /// E1 and E2.
    #[inline]
    fn begin(shared: &'a Shared<W>) -> Self {
        // Ordering: Relaxed: the fence orders it before the load of the ring; what the owner acquires is `end`'s Release, whose sequence this
        // read-modify-write continues.
        shared.front.thieves.fetch_add(1, Ordering::Relaxed);
        // Ordering: SeqCst fence E2, pairs with the one in `ChaseLev::give_back` (F2): either this thief sees the new ring or the owner sees this thief.
        fence(Ordering::SeqCst);
        Look { shared }
    }

    /// E3. A ring that was current since this thief loaded `back`.
    #[inline]
    fn ring(&self) -> &Ring {
        // Ordering: Acquire, pairs with the Release in `ChaseLev::grow` and `ChaseLev::give_back`: the ring and the items copied into it.
        let ring = self.shared.ring.load(Ordering::Acquire);
        // SAFETY: C5, this thief is counted since before the load, so the ring is alive until it no longer is; and nobody has it mutably.
        unsafe { &*ring }
    }
}

impl<W: Word> Drop for Look<'_, W> {
    /// E4.
    #[inline]
    fn drop(&mut self) {
        // Ordering: Release, pairs with the Acquire in `ChaseLev::give_back`: this thief's reads come before the ring is freed.
        self.shared.front.thieves.fetch_sub(1, Ordering::Release);
    }
}

impl<W: Word> Drop for Shared<W> {
    fn drop(&mut self) {
        // Ordering: Relaxed, three times: `&mut self`, so the reference count has ordered everything before this.
        let mut front = self.front.index.load(Ordering::Relaxed);
        // Ordering: Relaxed, see above.
        let back = self.back.load(Ordering::Relaxed);
        while front != back {
            let item = self.own_ring().get(front);
            front = front.wrapping_add(1);
            // SAFETY: the indices from `front` to `back` were pushed and taken by nobody (C2); this loop passes each once.
            drop(unsafe { item_of::<W>(item) });
        }
        // Ordering: Relaxed, see above.
        let ring = self.ring.load(Ordering::Relaxed);
        // SAFETY: nobody else has `self` any more, and rings are reached through it alone.
        unsafe { Ring::free(ring) };
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
    /// What `Front::index` held when the owner last read it: at most what it holds. The owner's.
    front_seen: Cell<usize>,
}

impl<W: Word> ChaseLev<W> {
    /// An empty deque whose first item gets the index `start`.
    fn starting_at(start: usize) -> Self {
        let shared = Shared {
            front: CachePadded::new(Front { index: AtomicUsize::new(start), thieves: AtomicUsize::new(0) }),
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
        let ring = self.shared.own_ring();
        if self.occupied() + count <= ring.capacity() {
            return ring;
        }
        // Ordering: Acquire, pairs with the Release in `Shared::take`: thieves have read the slots that are reused from here on (C3).
        self.front_seen.set(self.shared.front.index.load(Ordering::Acquire));
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
        let outgrown = self.shared.own_ring();
        // The pointer that came from the box, for it will be made a box again: one made from `outgrown` would only be good for reading.
        // Ordering: Relaxed, this thread's own store.
        let link = self.shared.ring.load(Ordering::Relaxed);
        let bigger = Ring::alloc(needed.next_power_of_two(), link);
        // SAFETY: just allocated, and the current ring from here on, which only the drop of `shared` frees (C5).
        let ring: &Ring = unsafe { bigger.as_ref() };
        let mut index = self.front_seen.get();
        while index != self.back.get() {
            ring.set(index, outgrown.get(index));
            index = index.wrapping_add(1);
        }
        // Ordering: Release, pairs with the Acquire in `Look::ring`: the new ring and the items copied into it.
        self.shared.ring.store(bigger.as_ptr(), Ordering::Release);
        ring
    }

    /// Puts a small ring in place of the empty one, and frees what was replaced so far unless a thief may be looking at it.
    #[cold]
    fn give_back(&self) {
        // Ordering: Relaxed, this thread's own store.
        let replaced = self.shared.ring.load(Ordering::Relaxed);
        let small = Ring::alloc(CAPACITY_FIRST, replaced).as_ptr();
        // Ordering: Release (F1), pairs with the Acquire in `Look::ring`: the new ring, empty.
        self.shared.ring.store(small, Ordering::Release);
        // Ordering: SeqCst fence F2, pairs with the one in `Look::begin` (E2).
        fence(Ordering::SeqCst);
        // Ordering: Acquire (F3), pairs with the Release in the drop of `Look`: all that thieves read comes before the freeing.
        if self.shared.front.thieves.load(Ordering::Acquire) == 0 {
            // Ordering: Relaxed: only this thread, and the drop, follow the link.
            self.shared.own_ring().replaced.store(ptr::null_mut(), Ordering::Relaxed);
            // SAFETY: C5, no thief looks, and those to come see the new ring; the link to these is gone.
            unsafe { Ring::free(replaced) };
        }
    }
}

#[cfg(test)]
impl<W: Word> ChaseLev<W> {
    /// The capacities of the rings that are not freed, the current one first.
    pub(super) fn rings(&self) -> Vec<usize> {
        let link = |ring: &Ring| {
            // Ordering: Relaxed: written by the owner, whom this thread is.
            let replaced = ring.replaced.load(Ordering::Relaxed);
            // SAFETY: C5, only the owner frees rings, and takes them off the list before.
            unsafe { replaced.as_ref() }
        };
        std::iter::successors(Some(self.shared.own_ring()), |ring| link(ring)).map(Ring::capacity).collect()
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
            match self.shared.front.index.compare_exchange(front, past, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => {
                    self.front_seen.set(past);
                    let slot = self.shared.own_ring().get(front);
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
        distance(self.shared.front.index.load(Ordering::Relaxed), self.back.get())
    }

    #[inline]
    fn trim(&self) {
        // Equal indices mean that it is empty (`pop`). Where they differ there may be something, and the next time will do.
        if self.front_seen.get() == self.back.get() && self.shared.own_ring().capacity() > CAPACITY_KEPT {
            self.give_back();
        }
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
        let front = self.shared.front.index.load(Ordering::Relaxed);
        // Ordering: Acquire, pairs with the Release in `ChaseLev::publish`: the items, their slots and the ring of that time. The fence of
        // `Look::begin`, before anything is read on the strength of it, would do; ThreadSanitizer knows no fences.
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
        let look = Look::begin(&self.shared);
        let ring = look.ring();
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
        let look = Look::begin(&self.shared);
        let first = look.ring().get(front);
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
