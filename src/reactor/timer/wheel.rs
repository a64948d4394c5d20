//! A hierarchical timing wheel: deadlines in, whatever is due out, both at constant cost.
//!
//! A pure data structure, generic over what waits. It knows ticks (`u64`, counted from wherever the caller likes) and no clock; one
//! thread at a time uses it, in this crate behind the lock of [`Timers`](super::Timers).
//!
//! The wheel is the hierarchical one of Varghese and Lauck, "Hashed and hierarchical timing wheels" (SOSP 1987, scheme 7), in the
//! radix form that Linux and tokio use too: a tick is a number of eleven digits in base 64. `elapsed` is the wheel's own time. An entry
//! lies on the *level* of the highest digit in which its deadline differs from `elapsed`, in the *slot* numbered by that digit of the
//! deadline. A lower level is therefore due before a higher one, and on one level a lower slot before a higher one: the first occupied
//! slot of the lowest occupied level comes next, and two bitmaps find it. When the time reaches a slot of a higher level, its entries are
//! *dealt out* to lower levels; an entry meets that at most once per level. Eleven digits cover all of `u64`: there is no list of entries
//! that are too far away, and no deadline that is clamped.
//!
//! # Invariants
//!
//! - **W1** Every entry lies in the slot that [`place`] computes from its deadline and the present `elapsed`. So an entry need not
//!   store where it is, and `elapsed` may move only over slots that are empty, or that are dealt out in the same step.
//! - **W2** No entry's deadline is before `elapsed`; one that is inserted too late is due at `elapsed`. All entries of a slot of level 0
//!   have the same deadline.
//! - **W3** `earliest` of an occupied slot is not after the deadline of any of its entries. It is exact until one of them is cancelled.
//! - **W4** Entries with the same deadline come out in the order in which they went in: lists are appended to, and a slot is dealt out
//!   in order and before anything else can be inserted below it.
//! - **W5** The stamp of an entry is never used again, so the key of an entry that has left matches no later one.
//! - **W6** At most one place is *kept*: it has a key, but no item yet, and lies in no slot. It is neither vacant nor counted in `len`. When the memory
//!   is given back it moves to place 0, which its key finds too: only there can an entry have another place than its key says.
//!
//! # Memory
//!
//! A kept place (W6) is for an item whose key is wanted before the item: it costs an entry. Entries lie in one vector and are linked by index; who inserts allocates only when that vector grows. It keeps its capacity for the
//! next burst while anything waits, and is given back when the last entry leaves and it is larger than [`KEPT_MAX`] entries.
//!
//! The links lie in a vector of their own. Of a hundred thousand timers no entry is in a cache when it is due; a walk along a list has to wait for each link before
//! it knows the next, but the entries then come several at a time.
//!
//! # Rejected
//!
//! - *A binary or quaternary heap*: needs an index back from the entry for cancelling, and moves `log n` entries for each timeout that is
//!   armed and dropped, which is what almost all timeouts do.
//! - *Entries inside the futures* (intrusive, as tokio's): saves the vector, but makes the future `!Unpin`, its drop a race with the
//!   thread that fires, and the whole file unsafe.
//! - *Cancelling lazily*: an armed and dropped timeout would stay until its deadline; a server would hold all timeouts of the last minute.

/// Bits of one digit: 64 slots make one word of bitmap.
const DIGIT_BITS: u32 = 6;

/// Slots of one level.
const SLOTS: usize = 1 << DIGIT_BITS;

/// Digits of a `u64`: the topmost has four bits.
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;

/// How many vacant entries an empty wheel keeps.
const KEPT_MAX: usize = 1024;

/// Stands for "no entry" in a link.
const NONE: u32 = u32::MAX;

/// The stamp of a vacant entry.
const VACANT: u64 = 0;

/// The stamp of the kept place when its key was given up.
const GIVEN_UP: u64 = 1;

/// Names one entry, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimerKey {
    /// Where in the vector.
    index: u32,
    /// Which of all the entries that were ever there.
    stamp: u64,
}

/// One that waits, or a vacant place. (Aligned to its size it would never straddle cache lines, but then a vector that grows is copied, not moved.)
#[derive(Debug)]
struct Entry<T> {
    /// The tick at which it is due.
    deadline: u64,
    /// W5; [`VACANT`] in a vacant place; in the kept one it may be [`GIVEN_UP`].
    stamp: u64,
    /// What waits; `None` in a vacant place, and in the kept one.
    item: Option<T>,
}

/// What an entry is linked to.
#[derive(Debug, Clone, Copy)]
struct Link {
    /// The one before it in its slot.
    prev: u32,
    /// The one after it in its slot; in a vacant place, the next vacant one.
    next: u32,
}

/// A list of entries that are due in the same stretch of time.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// The first entry. Meaningful only while the slot's bit is set, as are the others.
    head: u32,
    /// The last entry.
    tail: u32,
    /// W3.
    earliest: u64,
}

/// Level and slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    level: usize,
    slot: usize,
}

impl Place {
    /// Where in `slots`.
    #[inline]
    fn index(self) -> usize {
        self.level * SLOTS + self.slot
    }
}

/// Where a deadline belongs at a time (W1). The deadline is not before the time.
#[inline]
fn place(elapsed: u64, deadline: u64) -> Place {
    // The lowest digit always counts as different: then equal numbers, too, have a highest one.
    let different = (elapsed ^ deadline) | (SLOTS as u64 - 1);
    let level = (u64::BITS - 1 - different.leading_zeros()) / DIGIT_BITS;
    let slot = (deadline >> (level * DIGIT_BITS)) & (SLOTS as u64 - 1);
    Place { level: level as usize, slot: slot as usize }
}

/// The wheel. See the head of this file.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    /// The wheel's time: everything due before it has been taken out.
    elapsed: u64,
    /// The stamp of the entry inserted last.
    stamp: u64,
    /// Entries that wait.
    len: usize,
    /// The first vacant place.
    vacant: u32,
    /// The kept place (W6).
    kept: u32,
    /// Bit `l` is set when `occupied[l]` is not zero.
    levels: u16,
    /// Bit `s` of `occupied[l]` is set when slot `s` of level `l` has an entry.
    occupied: [u64; LEVELS],
    /// The lists, level after level: 11 KiB, made with the first entry: the loops of spare workers never have one.
    slots: Box<[Slot]>,
    /// The entries and the vacant places.
    entries: Vec<Entry<T>>,
    /// How they are linked, each in the place of its entry.
    links: Vec<Link>,
}

impl<T> Wheel<T> {
    /// An empty wheel at tick 0.
    pub(crate) fn new() -> Self {
        Wheel {
            elapsed: 0,
            stamp: GIVEN_UP,
            len: 0,
            vacant: NONE,
            kept: NONE,
            levels: 0,
            occupied: [0; LEVELS],
            slots: Box::default(),
            entries: Vec::new(),
            links: Vec::new(),
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A tick before which nothing is due: the earliest deadline, or a little less when that one was cancelled. `None` when nobody
    /// waits.
    #[inline]
    pub(crate) fn next(&self) -> Option<u64> {
        self.first().map(|first| self.slots[first.index()].earliest)
    }

    /// The earliest deadline, exactly: walks over the slot that comes next.
    pub(crate) fn earliest(&self) -> Option<u64> {
        let first = self.first()?;
        let mut index = self.slots[first.index()].head;
        let mut earliest = u64::MAX;
        while index != NONE {
            earliest = earliest.min(self.entries[index as usize].deadline);
            index = self.links[index as usize].next;
        }
        Some(earliest)
    }

    /// Adds `item`, due at `deadline`, or at once when that has passed.
    ///
    /// `now` is the tick at which the caller decided that; it lets the wheel follow the time, which keeps entries on low levels. An old
    /// one is harmless.
    ///
    /// # Panics
    ///
    /// With 2^32 - 1 entries waiting.
    pub(crate) fn insert(&mut self, now: u64, deadline: u64, item: T) -> TimerKey {
        self.follow(now);
        let index = self.take_vacant();
        self.stamp += 1;
        let (deadline, stamp) = (deadline.max(self.elapsed), self.stamp);
        let entry = &mut self.entries[index as usize];
        (entry.stamp, entry.item) = (stamp, Some(item));
        self.len += 1;
        self.link(index, deadline);
        TimerKey { index, stamp }
    }

    /// Keeps a place for an item that comes later, with [`fill`](Wheel::fill). Not while one is kept (W6).
    pub(crate) fn keep(&mut self) -> TimerKey {
        debug_assert!(self.kept == NONE, "a second place is to be kept");
        let index = self.take_vacant();
        self.stamp += 1;
        self.entries[index as usize].stamp = self.stamp;
        self.kept = index;
        TimerKey { index, stamp: self.stamp }
    }

    /// Puts `item` into the kept place, as [`insert`](Wheel::insert) would, and ends the keeping; if its key was moved by [`reset`](Wheel::reset), with that
    /// deadline. When the key was given up, or everything was drained, the item comes back.
    pub(crate) fn fill(&mut self, now: u64, deadline: u64, item: T) -> Result<(), T> {
        let index = std::mem::replace(&mut self.kept, NONE);
        let Some(entry) = self.entries.get_mut(index as usize) else { return Err(item) };
        if entry.stamp == GIVEN_UP {
            self.set_vacant(index);
            return Err(item);
        }
        let deadline = if self.links[index as usize].next == NONE { deadline } else { entry.deadline };
        entry.item = Some(item);
        self.len += 1;
        self.follow(now);
        self.link(index, deadline.max(self.elapsed));
        Ok(())
    }

    /// Ends the keeping without an item.
    pub(crate) fn unkeep(&mut self) {
        let index = std::mem::replace(&mut self.kept, NONE);
        if index != NONE {
            self.set_vacant(index);
        }
    }

    /// Whether `key` is that of the kept place.
    #[inline]
    pub(crate) fn is_kept(&self, key: TimerKey) -> bool {
        self.kept != NONE && self.entries[self.kept as usize].stamp == key.stamp
    }

    /// Takes an entry out; `None` when it has left already. In the kept place, the key is given up.
    #[inline]
    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<T> {
        let index = self.find(key)?;
        if index == self.kept {
            self.entries[index as usize].stamp = GIVEN_UP;
            return None;
        }
        self.unlink(index);
        self.vacate(index)
    }

    /// When an entry is due; `None` when it has left, or has no deadline yet.
    pub(crate) fn deadline(&self, key: TimerKey) -> Option<u64> {
        let index = self.find(key).filter(|&index| index != self.kept)?;
        Some(self.entries[index as usize].deadline)
    }

    /// Where the entry of a key is, unless it has left.
    #[inline]
    fn find(&self, key: TimerKey) -> Option<u32> {
        if self.entries.get(key.index as usize).is_some_and(|entry| entry.stamp == key.stamp) {
            return Some(key.index);
        }
        // W6: or at the beginning.
        self.entries.first().is_some_and(|entry| entry.stamp == key.stamp).then_some(0)
    }

    /// Gives an entry that still waits another deadline; `None` when it has left already. Among those due at the same tick it comes last.
    ///
    /// The key is another one afterwards if the entry is in the kept place: so whoever knew the old one can tell.
    pub(crate) fn reset(&mut self, key: TimerKey, deadline: u64) -> Option<TimerKey> {
        let index = self.find(key)?;
        if index == self.kept {
            self.stamp += 1;
            let entry = &mut self.entries[index as usize];
            // The place's own number says that there is a deadline.
            (entry.stamp, entry.deadline) = (self.stamp, deadline);
            self.links[index as usize].next = index;
            return Some(TimerKey { index, stamp: self.stamp });
        }
        self.unlink(index);
        self.link(index, deadline.max(self.elapsed));
        Some(key)
    }

    /// What waits under `key`; `None` when it has left, or has not come yet.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        let index = self.find(key)?;
        self.entries[index as usize].item.as_mut()
    }

    /// Moves up to `limit` items that are due at `now` to `fired`, in the order of their deadlines; returns how many.
    ///
    /// Fewer than `limit`: nothing else is due.
    pub(crate) fn fire(&mut self, now: u64, limit: usize, fired: &mut Vec<T>) -> usize {
        let mut count = 0;
        while count < limit {
            let Some(first) = self.first() else { break };
            let slot = &self.slots[first.index()];
            if slot.earliest > now {
                break;
            }
            // By W3 nothing lies before it, and what else lies in this slot is dealt out now.
            self.elapsed = slot.earliest;
            if first.level > 0 {
                self.deal_out(first);
                continue;
            }
            count += self.take_first(first, limit - count, fired);
        }
        self.follow(now);
        count
    }

    /// Moves up to `limit` items from the front of a slot to `fired`; returns how many.
    #[inline]
    fn take_first(&mut self, place: Place, limit: usize, fired: &mut Vec<T>) -> usize {
        let mut index = self.slots[place.index()].head;
        let mut count = 0;
        while count < limit {
            let next = self.links[index as usize].next;
            if next == NONE {
                // Before the last one goes, which may take the memory with it.
                self.mark_empty(place);
            }
            fired.extend(self.vacate(index));
            count += 1;
            if next == NONE {
                return count;
            }
            index = next;
        }
        self.slots[place.index()].head = index;
        self.links[index as usize].prev = NONE;
        count
    }

    /// Takes everything out, due or not.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        self.len = 0;
        self.vacant = NONE;
        self.kept = NONE;
        self.levels = 0;
        self.occupied = [0; LEVELS];
        self.links = Vec::new();
        std::mem::take(&mut self.entries).into_iter().filter_map(|entry| entry.item).collect()
    }

    /// The slot that comes next.
    #[inline]
    fn first(&self) -> Option<Place> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        Some(Place { level, slot: self.occupied[level].trailing_zeros() as usize })
    }

    /// Lets the wheel's time follow to `now`, unless something is due before.
    #[inline]
    fn follow(&mut self, now: u64) {
        if now <= self.elapsed {
            return;
        }
        if let Some(first) = self.first() {
            if self.slots[first.index()].earliest <= now {
                return;
            }
            // The first slot in which `now` could lie: it has begun, though none of its entries is due (W1).
            if first == place(self.elapsed, now) {
                self.elapsed = now;
                self.deal_out(first);
                return;
            }
        }
        self.elapsed = now;
    }

    /// Puts the entries of a slot where they belong now.
    #[cold]
    fn deal_out(&mut self, from: Place) {
        let mut index = self.slots[from.index()].head;
        self.mark_empty(from);
        while index != NONE {
            let next = self.links[index as usize].next;
            self.link(index, self.entries[index as usize].deadline);
            index = next;
        }
    }

    /// Appends an entry to the slot where it belongs with this deadline, which is not before `elapsed`.
    #[inline]
    fn link(&mut self, index: u32, deadline: u64) {
        let place = place(self.elapsed, deadline);
        let Place { level, slot } = place;
        let is_empty = self.occupied[level] & (1 << slot) == 0;
        let list = &mut self.slots[place.index()];
        let prev = if is_empty {
            *list = Slot { head: index, tail: index, earliest: deadline };
            self.occupied[level] |= 1 << slot;
            self.levels |= 1 << level;
            NONE
        } else {
            list.earliest = list.earliest.min(deadline);
            let tail = std::mem::replace(&mut list.tail, index);
            self.links[tail as usize].next = index;
            tail
        };
        self.entries[index as usize].deadline = deadline;
        self.links[index as usize] = Link { prev, next: NONE };
    }

    /// Takes an entry out of its slot.
    #[inline]
    fn unlink(&mut self, index: u32) {
        let Link { prev, next } = self.links[index as usize];
        let place = place(self.elapsed, self.entries[index as usize].deadline);
        let list = &mut self.slots[place.index()];
        match prev {
            NONE => list.head = next,
            prev => self.links[prev as usize].next = next,
        }
        match next {
            NONE => list.tail = prev,
            next => self.links[next as usize].prev = prev,
        }
        if prev == NONE && next == NONE {
            self.mark_empty(place);
        }
    }

    fn mark_empty(&mut self, Place { level, slot }: Place) {
        self.occupied[level] &= !(1 << slot);
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    /// A place for an entry.
    #[inline]
    fn take_vacant(&mut self) -> u32 {
        let index = self.vacant;
        if let Some(link) = self.links.get_mut(index as usize) {
            self.vacant = std::mem::replace(&mut link.next, NONE);
            return index;
        }
        let index = u32::try_from(self.entries.len()).ok().filter(|&index| index != NONE);
        let index = index.expect("fewer than 2^32 - 1 timers wait in one loop");
        if self.slots.is_empty() {
            let slot = Slot { head: NONE, tail: NONE, earliest: u64::MAX };
            self.slots = vec![slot; LEVELS * SLOTS].into();
        }
        self.entries.push(Entry { deadline: 0, stamp: VACANT, item: None });
        self.links.push(Link { prev: NONE, next: NONE });
        index
    }

    /// Makes the place of an unlinked entry vacant.
    #[inline]
    fn vacate(&mut self, index: u32) -> Option<T> {
        let item = self.entries[index as usize].item.take();
        self.set_vacant(index);
        self.len -= 1;
        if self.len == 0 && self.entries.len() > KEPT_MAX {
            self.give_back();
        }
        item
    }

    #[inline]
    fn set_vacant(&mut self, index: u32) {
        self.entries[index as usize].stamp = VACANT;
        self.links[index as usize].next = self.vacant;
        self.vacant = index;
    }

    /// Nothing waits: frees the memory. The kept place moves to the beginning (W6).
    #[cold]
    fn give_back(&mut self) {
        let (entries, links) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.links));
        self.vacant = NONE;
        if let Some(kept) = entries.into_iter().nth(self.kept as usize) {
            // It says that it was reset by its own number.
            let next = if links[self.kept as usize].next == NONE { NONE } else { 0 };
            self.entries.push(kept);
            self.links.push(Link { prev: NONE, next });
            self.kept = 0;
        }
    }
}

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Ticks around every boundary between two levels, and the ends.
    fn boundaries() -> Vec<u64> {
        let mut ticks = vec![0, 1, 2, u64::MAX - 1, u64::MAX];
        for level in 1..LEVELS as u32 {
            let span = 1_u64 << (level * DIGIT_BITS);
            ticks.extend([span - 1, span, span + 1, span.saturating_mul(63), span.saturating_mul(64)]);
        }
        ticks
    }

    fn fire_all(wheel: &mut Wheel<u64>, now: u64) -> Vec<u64> {
        let mut fired = Vec::new();
        while wheel.fire(now, 3, &mut fired) == 3 {}
        fired
    }

    #[test]
    fn an_entry_is_32_bytes_with_a_waker_in_it_and_8_beside_it() {
        assert_eq!((size_of::<Entry<std::task::Waker>>(), size_of::<Link>()), (32, 8));
    }

    #[test]
    fn every_boundary_is_exact() {
        for now in boundaries() {
            for deadline in boundaries() {
                let mut wheel = Wheel::new();
                wheel.follow(now);
                wheel.insert(now, deadline, 7);
                assert_eq!(wheel.next(), Some(deadline.max(now)));
                if let Some(before) = deadline.checked_sub(1).filter(|&before| before >= now) {
                    assert!(fire_all(&mut wheel, before).is_empty(), "{deadline} fired at {before}");
                }
                assert_eq!(fire_all(&mut wheel, deadline.max(now)), [7], "{deadline} inserted at {now}");
                assert_eq!((wheel.next(), wheel.len()), (None, 0));
            }
        }
    }

    #[test]
    fn all_boundaries_at_once_fire_in_order() {
        let mut wheel = Wheel::new();
        for deadline in boundaries().into_iter().rev() {
            wheel.insert(0, deadline, deadline);
        }
        let mut sorted = boundaries();
        sorted.sort_unstable();
        assert_eq!(fire_all(&mut wheel, u64::MAX), sorted);
    }

    #[test]
    fn equal_deadlines_fire_in_the_order_of_insertion() {
        let mut wheel = Wheel::new();
        // At 0 the deadline is three levels up, at 299_000 two, at 299_990 it is on the lowest.
        for (seq, now) in [0, 10, 299_000, 299_001, 299_990, 299_999].into_iter().enumerate() {
            assert!(fire_all(&mut wheel, now).is_empty());
            wheel.insert(now, 300_000, seq as u64);
        }
        assert_eq!(fire_all(&mut wheel, 300_000), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_lone_timer_is_announced_exactly_from_the_start() {
        let mut wheel = Wheel::new();
        let far = wheel.insert(0, 3_600_000, 1);
        wheel.insert(0, 5_000_000_000_000, 2);
        assert_eq!(wheel.next(), Some(3_600_000), "no wake-up only to deal a slot out");
        assert_eq!(wheel.remove(far), Some(1));
        assert_eq!(wheel.next(), Some(5_000_000_000_000));
    }

    #[test]
    fn keys_of_entries_that_left_match_nothing() {
        let mut wheel = Wheel::new();
        let fired = wheel.insert(0, 5, 1);
        assert_eq!(fire_all(&mut wheel, 5), [1]);
        let later = wheel.insert(5, 9, 2);
        assert_eq!(later.index, fired.index, "the place is used again");
        assert_eq!((wheel.remove(fired), wheel.get_mut(fired).copied()), (None, None));
        assert_eq!(wheel.reset(fired, 6), None);
        assert_eq!(wheel.remove(later), Some(2));
        assert_eq!(wheel.remove(later), None);
    }

    #[test]
    fn a_wheel_that_nothing_was_put_into_has_no_lists() {
        let mut wheel = Wheel::new();
        assert_eq!((wheel.next(), wheel.earliest(), fire_all(&mut wheel, u64::MAX)), (None, None, vec![]));
        assert_eq!((wheel.drain(), wheel.slots.len()), (vec![], 0));
        let kept = wheel.keep();
        assert_eq!(wheel.slots.len(), LEVELS * SLOTS);
        assert_eq!(wheel.fill(0, 7, 1), Ok(()));
        assert_eq!((wheel.remove(kept), wheel.slots.len()), (Some(1), LEVELS * SLOTS));
    }

    #[test]
    fn a_burst_gives_its_memory_back() {
        let mut wheel = Wheel::new();
        let keys: Vec<_> = (0..10_000).map(|tick| wheel.insert(0, tick, tick)).collect();
        for key in &keys[1..] {
            wheel.remove(*key);
        }
        assert_eq!(wheel.entries.len(), 10_000, "kept while one waits");
        let again = wheel.insert(0, 1, 1);
        assert_eq!(wheel.entries.len(), 10_000, "and used again");
        wheel.remove(again);
        assert_eq!(fire_all(&mut wheel, 1), [0]);
        assert_eq!(wheel.entries.capacity(), 0);
        assert_eq!(wheel.remove(keys[5]), None, "a key into memory that is gone");
    }

    #[test]
    fn a_kept_place_moves_when_the_memory_is_given_back_and_its_keys_find_it() {
        for is_reset in [false, true] {
            let mut wheel = Wheel::new();
            let keys: Vec<_> = (0..5_000).map(|tick| wheel.insert(0, tick, tick)).collect();
            let mut kept = wheel.keep();
            if is_reset {
                kept = wheel.reset(kept, 77).unwrap();
            }
            for key in &keys {
                wheel.remove(*key);
            }
            assert_eq!((wheel.entries.len(), wheel.deadline(kept), wheel.is_kept(kept)), (1, None, true));
            let other = wheel.insert(0, 50, 2);
            assert_eq!(wheel.fill(0, 33, 1), Ok(()));
            assert_eq!(wheel.deadline(kept), Some(if is_reset { 77 } else { 33 }));
            assert_eq!(wheel.get_mut(kept), Some(&mut 1));
            assert_eq!((wheel.reset(kept, 20), wheel.remove(kept), wheel.remove(kept)), (Some(kept), Some(1), None));
            assert_eq!((wheel.remove(other), wheel.len()), (Some(2), 0));
        }
    }

    #[test]
    fn what_fills_a_place_that_was_given_up_comes_back() {
        let mut wheel = Wheel::new();
        let key = wheel.keep();
        assert_eq!(wheel.remove(key), None);
        assert_eq!((wheel.fill(0, 5, 1), wheel.next()), (Err(1), None));
        wheel.keep();
        wheel.unkeep();
        wheel.unkeep();
        assert_eq!(wheel.fill(0, 5, 1), Err(1), "none is kept");
        assert_eq!(wheel.entries.len(), 1);
        wheel.keep();
        wheel.drain();
        assert_eq!(wheel.fill(0, 5, 1), Err(1));
    }

    #[test]
    fn drain_takes_everything_and_leaves_a_usable_wheel() {
        let mut wheel = Wheel::new();
        let key = wheel.insert(0, 1, 1);
        wheel.insert(0, u64::MAX, 2);
        assert_eq!(wheel.drain(), [1, 2]);
        assert_eq!((wheel.next(), wheel.len()), (None, 0));
        wheel.insert(0, 4, 3);
        assert_eq!(wheel.remove(key), None);
        assert_eq!(fire_all(&mut wheel, 4), [3]);
    }

    /// One step of a random run.
    #[derive(Debug, Clone)]
    enum Step {
        /// Insert a deadline so far after (or, negative, before) the present.
        Insert(i128),
        /// Cancel one of those inserted so far.
        Cancel(usize),
        /// Give one of those inserted so far another deadline.
        Reset(usize, i128),
        /// Keep a place, unless one is kept.
        Keep,
        /// Fill the kept place, if one is kept.
        Fill(i128),
        /// Let so much time pass and fire at most so many at a time.
        Advance(u64, usize),
    }

    /// Distances of every magnitude, crowded at the boundaries of levels.
    fn distance() -> impl Strategy<Value = i128> {
        prop_oneof![
            3 => -3_i128..200,
            3 => (0..LEVELS as u32, -1_i128..=1, 1_i128..3).prop_map(|(l, off, n)| (n << (l * DIGIT_BITS)) + off),
            1 => (0..64_u32).prop_map(|bits| 1_i128 << bits),
            1 => Just(i128::from(u64::MAX)),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        let span = prop_oneof![
            4 => 0_u64..100,
            2 => (0..48_u32, 0_u64..3).prop_map(|(bits, off)| (1 << bits) + off - 1),
        ];
        prop_oneof![
            5 => distance().prop_map(Step::Insert),
            2 => any::<usize>().prop_map(Step::Cancel),
            1 => (any::<usize>(), distance()).prop_map(|(which, distance)| Step::Reset(which, distance)),
            2 => Just(Step::Keep),
            2 => distance().prop_map(Step::Fill),
            3 => (span, 1_usize..5).prop_map(|(span, limit)| Step::Advance(span, limit)),
        ]
    }

    fn at(now: u64, distance: i128) -> u64 {
        u64::try_from((i128::from(now) + distance).clamp(0, i128::from(u64::MAX))).expect("clamped")
    }

    /// The plain model beside the wheel.
    #[derive(Default)]
    struct Model {
        now: u64,
        /// Deadline and order of insertion, to what was inserted.
        waiting: BTreeMap<(u64, u64), u64>,
        /// Of everything ever inserted: the key in the wheel, and the place in `waiting`.
        known: Vec<(TimerKey, (u64, u64))>,
        order: u64,
        /// What is to come into the kept place, and the deadline that it was given meanwhile.
        kept: Option<(usize, Option<u64>)>,
        /// Whether the key of the kept place was given up.
        is_given_up: bool,
    }

    impl Model {
        fn apply(&mut self, wheel: &mut Wheel<u64>, step: &Step) {
            match *step {
                Step::Insert(distance) => {
                    let (deadline, id) = (at(self.now, distance), self.known.len() as u64);
                    let key = wheel.insert(self.now, deadline, id);
                    let place = self.add(deadline, id);
                    self.known.push((key, place));
                }
                Step::Cancel(which) if !self.known.is_empty() => {
                    let (key, place) = self.known[which % self.known.len()];
                    assert_eq!(wheel.remove(key), self.waiting.remove(&place));
                    self.is_given_up |= self.kept.is_some_and(|(id, _)| id == which % self.known.len());
                }
                Step::Reset(which, distance) if !self.known.is_empty() => {
                    let id = which % self.known.len();
                    let (key, place) = self.known[id];
                    let deadline = at(self.now, distance);
                    let was_there = self.waiting.remove(&place).is_some();
                    let fresh = wheel.reset(key, deadline);
                    if was_there {
                        assert_eq!(fresh, Some(key));
                        self.known[id].1 = self.add(deadline, id as u64);
                    } else if let Some(kept) = self.kept.as_mut().filter(|kept| kept.0 == id && !self.is_given_up) {
                        kept.1 = Some(deadline);
                        assert!(fresh.is_some_and(|fresh| fresh != key));
                        self.known[id].0 = fresh.expect("just seen");
                    } else {
                        assert_eq!(fresh, None);
                    }
                }
                Step::Keep if self.kept.is_none() => {
                    self.kept = Some((self.known.len(), None));
                    self.is_given_up = false;
                    self.known.push((wheel.keep(), (u64::MAX, 0)));
                }
                Step::Fill(distance) => {
                    let Some((id, deadline)) = self.kept.take() else { return };
                    assert_eq!(wheel.is_kept(self.known[id].0), !self.is_given_up);
                    let filled = wheel.fill(self.now, at(self.now, distance), id as u64);
                    if self.is_given_up {
                        assert_eq!(filled, Err(id as u64));
                    } else {
                        assert_eq!(filled, Ok(()));
                        self.known[id].1 = self.add(deadline.unwrap_or(at(self.now, distance)), id as u64);
                    }
                }
                Step::Advance(span, limit) => {
                    self.now = self.now.saturating_add(span);
                    let mut fired = Vec::new();
                    while wheel.fire(self.now, limit, &mut fired) == limit {}
                    let later = self.waiting.split_off(&(self.now, u64::MAX));
                    let due = std::mem::replace(&mut self.waiting, later);
                    assert_eq!(fired, due.into_values().collect::<Vec<_>>());
                }
                Step::Cancel(_) | Step::Reset(..) | Step::Keep => {}
            }
        }

        fn add(&mut self, deadline: u64, id: u64) -> (u64, u64) {
            self.order += 1;
            // What is late is due now, after what was due now before.
            let place = (deadline.max(self.now), self.order);
            self.waiting.insert(place, id);
            place
        }
    }

    /// The invariants that can be seen from inside.
    fn check(wheel: &Wheel<u64>) {
        let mut seen = 0;
        for level in 0..LEVELS {
            assert_eq!(wheel.levels & (1 << level) != 0, wheel.occupied[level] != 0);
            for slot in 0..SLOTS {
                if wheel.occupied[level] & (1 << slot) == 0 {
                    continue;
                }
                let list = &wheel.slots[Place { level, slot }.index()];
                let (mut prev, mut index) = (NONE, list.head);
                while index != NONE {
                    let entry = &wheel.entries[index as usize];
                    assert_eq!(place(wheel.elapsed, entry.deadline), Place { level, slot }, "W1");
                    assert!(entry.deadline >= wheel.elapsed, "W2");
                    assert!(entry.deadline >= list.earliest, "W3");
                    let link = wheel.links[index as usize];
                    assert_eq!(link.prev, prev);
                    seen += 1;
                    (prev, index) = (index, link.next);
                }
                assert_eq!(list.tail, prev);
            }
        }
        assert_eq!(seen, wheel.len);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_wheel_does_what_a_sorted_map_does(steps in prop::collection::vec(step(), 1..80)) {
            let mut wheel = Wheel::new();
            let mut model = Model::default();
            for step in &steps {
                model.apply(&mut wheel, step);
                check(&wheel);
                prop_assert_eq!(wheel.len(), model.waiting.len());
                let first = model.waiting.keys().next().map(|&(deadline, _)| deadline);
                prop_assert!(wheel.next() <= first || first.is_none(), "announced too late");
                prop_assert_eq!(wheel.earliest(), first);
                prop_assert_eq!(wheel.next().is_none(), first.is_none());
            }
            model.apply(&mut wheel, &Step::Advance(u64::MAX, 3));
            prop_assert_eq!(wheel.next(), None);
        }
    }
}
