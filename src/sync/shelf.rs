//! The shelf under all queues and channels: items in some order, those that wait for one, those that wait for room.
//!
//! An item lies on the shelf until the poll or call that returns it, and a waiter is granted not an item but the right to take one
//! (`promised`), or the right to put one down (`reserved`). So a cancelled getter leaves the items in their order, and a cancelled putter
//! leaves nothing behind; either right goes to the next in line.
//!
//! # Invariants, whenever the mutex is free
//!
//! - Q1. While somebody waits for an item, every item is promised: `promised == store.len()`. Hence an item put down goes to the first.
//! - Q2. While somebody waits for room, `store.len() + reserved == limit`. Where there is no limit nobody waits for room.
//! - Q3. Once shut, nobody waits for an item or for room, and nothing is put down any more.
//! - Q4. Nobody waits for the end of the work while `unfinished` is 0.
//!
//! A channel's receiver is the only getter of its shelf, for good. Where there is no limit it takes the items behind its own along ([`Haul`]): nobody
//! else could be overtaken, and nobody waits for the room. A queue's getters take one each, since the next item is the next getter's.
//!
//! Items are dropped and returned with the mutex free. What runs under it is the comparison of a priority queue's items: it must not use
//! that queue.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::wait_list::{Wait, WaitList, Waiter, Wakes};
use crate::coop;
use crate::loom::Mutex;

/// Items in the order in which they will be taken.
pub(super) trait Store {
    type Item;
    fn new() -> Self;
    fn push(&mut self, item: Self::Item);
    fn pop(&mut self) -> Option<Self::Item>;
    fn len(&self) -> usize;
}

/// First in, first out.
pub(super) struct Fifo<T>(VecDeque<T>);

impl<T> Store for Fifo<T> {
    type Item = T;

    fn new() -> Self {
        Fifo(VecDeque::new())
    }

    fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// Last in, first out.
pub(super) struct Lifo<T>(Vec<T>);

impl<T> Store for Lifo<T> {
    type Item = T;

    fn new() -> Self {
        Lifo(Vec::new())
    }

    fn push(&mut self, item: T) {
        self.0.push(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// The least first; of equals, the one that was put first.
pub(super) struct Smallest<T> {
    heap: BinaryHeap<Ranked<T>>,
    /// The number of the next item.
    next: u64,
}

struct Ranked<T> {
    item: T,
    number: u64,
}

impl<T: Ord> Ord for Ranked<T> {
    /// Reversed: the heap gives out its greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.item.cmp(&self.item).then(other.number.cmp(&self.number))
    }
}

impl<T: Ord> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Ranked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord> Eq for Ranked<T> {}

impl<T: Ord> Store for Smallest<T> {
    type Item = T;

    fn new() -> Self {
        Smallest { heap: BinaryHeap::new(), next: 0 }
    }

    fn push(&mut self, item: T) {
        self.heap.push(Ranked { item, number: self.next });
        self.next += 1;
    }

    fn pop(&mut self) -> Option<T> {
        self.heap.pop().map(|ranked| ranked.item)
    }

    fn len(&self) -> usize {
        self.heap.len()
    }
}

/// The shelf's queue was shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shut;

/// Why nothing was put or taken without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It would have to wait.
    Wait,
    Shut,
}

pub(super) struct Shelf<S> {
    /// How many items there is room for.
    limit: Option<usize>,
    /// Any thread.
    state: Mutex<ShelfState<S>>,
}

pub(super) struct ShelfState<S> {
    store: S,
    /// The same as the shelf's.
    limit: Option<usize>,
    /// Items that a getter was granted and has not taken.
    promised: usize,
    /// Places that a putter was granted and has not filled.
    reserved: usize,
    /// Items that were put and not yet reported done.
    unfinished: u64,
    is_shut: bool,
    getters: WaitList<Result<(), Shut>>,
    putters: WaitList<Result<(), Shut>>,
    joiners: WaitList<()>,
}

impl<S: Store> ShelfState<S> {
    fn has_item(&self) -> bool {
        self.store.len() > self.promised
    }

    fn has_room(&self) -> bool {
        self.limit.is_none_or(|limit| self.store.len() + self.reserved < limit)
    }

    fn put_down(&mut self, item: S::Item, wakes: &mut Wakes) {
        self.lay(item);
        self.promise(wakes);
    }

    /// Puts down where nobody waits for it.
    fn lay(&mut self, item: S::Item) {
        self.store.push(item);
        self.unfinished += 1;
    }

    /// Grants items: Q1. Called when there is one more, or one fewer is promised.
    fn promise(&mut self, wakes: &mut Wakes) {
        while self.has_item() && self.getters.grant(Ok(()), wakes).is_ok() {
            self.promised += 1;
        }
    }

    /// Grants room: Q2. Called when there is more.
    fn reserve(&mut self, wakes: &mut Wakes) {
        while self.has_room() && self.putters.grant(Ok(()), wakes).is_ok() {
            self.reserved += 1;
        }
    }

    fn take(&mut self, wakes: &mut Wakes) -> Result<S::Item, Refused> {
        if !self.has_item() {
            return Err(if self.is_shut { Refused::Shut } else { Refused::Wait });
        }
        let item = self.store.pop().expect("an item that is promised to nobody is there");
        self.reserve(wakes);
        Ok(item)
    }

    fn can_put(&self) -> Result<(), Refused> {
        match (self.is_shut, self.has_room()) {
            (true, _) => Err(Refused::Shut),
            (false, true) => Ok(()),
            (false, false) => Err(Refused::Wait),
        }
    }

    fn tell_joiners(&mut self, wakes: &mut Wakes) {
        if self.unfinished == 0 {
            self.joiners.grant_all(wakes, || ());
        }
    }
}

struct Get<S>(std::marker::PhantomData<fn() -> S>);

impl<S> Get<S> {
    fn new() -> Self {
        Get(std::marker::PhantomData)
    }
}

impl<S: Store> Waiter for Get<S> {
    type State = ShelfState<S>;
    type Grant = Result<(), Shut>;
    type Output = Result<S::Item, Shut>;

    fn list(state: &mut ShelfState<S>) -> &mut WaitList<Self::Grant> {
        &mut state.getters
    }

    fn try_now(&mut self, state: &mut ShelfState<S>, wakes: &mut Wakes) -> Option<Self::Output> {
        match state.take(wakes) {
            Ok(item) => Some(Ok(item)),
            Err(Refused::Shut) => Some(Err(Shut)),
            Err(Refused::Wait) => None,
        }
    }

    fn claim(&mut self, grant: Self::Grant, state: &mut ShelfState<S>, wakes: &mut Wakes) -> Self::Output {
        grant?;
        state.promised -= 1;
        // There is none when an immediate shutdown has cleared the shelf.
        let item = state.store.pop().ok_or(Shut)?;
        state.reserve(wakes);
        Ok(item)
    }

    fn left(&mut self, grant: Option<Self::Grant>, state: &mut ShelfState<S>, wakes: &mut Wakes) {
        if let Some(Ok(())) = grant {
            state.promised -= 1;
            state.promise(wakes);
        }
    }
}

/// Waits for an item as [`Get`] does, for the one getter of a channel, and takes along what lies behind it: that getter then has it at hand, and
/// needs no mutex for it. Only where there is no limit: with one, an item takes up room until it is received.
struct Haul<'a, S: Store>(&'a mut AtHand<S>);

/// What the getter of a channel has taken off the shelf and not yet received. It came before all that is on the shelf. Never locked on the way of
/// an item: the mutex lets it be shared as the shelf is, for what looks at it and takes nothing.
pub(super) type AtHand<S> = Mutex<S>;

impl<S: Store> Haul<'_, S> {
    fn take_along(&mut self, state: &mut ShelfState<S>) {
        if state.limit.is_none() && state.has_item() {
            debug_assert!(self.0.get_mut().len() == 0, "what came first is received first");
            std::mem::swap(self.0.get_mut(), &mut state.store);
        }
    }
}

impl<S: Store> Waiter for Haul<'_, S> {
    type State = ShelfState<S>;
    type Grant = Result<(), Shut>;
    type Output = Option<S::Item>;

    fn list(state: &mut ShelfState<S>) -> &mut WaitList<Self::Grant> {
        &mut state.getters
    }

    fn try_now(&mut self, state: &mut ShelfState<S>, wakes: &mut Wakes) -> Option<Self::Output> {
        let item = Get::new().try_now(state, wakes)?;
        self.take_along(state);
        Some(item.ok())
    }

    fn claim(&mut self, grant: Self::Grant, state: &mut ShelfState<S>, wakes: &mut Wakes) -> Self::Output {
        let item = Get::new().claim(grant, state, wakes);
        self.take_along(state);
        item.ok()
    }

    fn left(&mut self, grant: Option<Self::Grant>, state: &mut ShelfState<S>, wakes: &mut Wakes) {
        Get::new().left(grant, state, wakes);
    }
}

/// Receives an item: what is at hand, or else [`Haul`].
pub(super) struct Receive<'a, S: Store>(Wait<'a, Haul<'a, S>>);

impl<S: Store> Future for Receive<'_, S> {
    type Output = Option<S::Item>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let at_hand = self.0.waiter().0.get_mut();
        if at_hand.len() == 0 {
            return Pin::new(&mut self.0).poll(cx);
        }
        let unit = ready!(coop::poll_proceed(cx));
        let item = at_hand.pop();
        unit.made_progress();
        Poll::Ready(item)
    }
}

/// Waits for room; the item is in the future until it is put down.
struct Put<S: Store>(Option<S::Item>);

impl<S: Store> Waiter for Put<S> {
    type State = ShelfState<S>;
    type Grant = Result<(), Shut>;
    type Output = Result<(), S::Item>;

    fn list(state: &mut ShelfState<S>) -> &mut WaitList<Self::Grant> {
        &mut state.putters
    }

    fn try_now(&mut self, state: &mut ShelfState<S>, wakes: &mut Wakes) -> Option<Self::Output> {
        match state.can_put() {
            Ok(()) => {
                let item = self.0.take().expect("a put ends once");
                state.put_down(item, wakes);
                Some(Ok(()))
            }
            Err(Refused::Shut) => Some(Err(self.0.take().expect("a put ends once"))),
            Err(Refused::Wait) => None,
        }
    }

    fn claim(&mut self, grant: Self::Grant, state: &mut ShelfState<S>, wakes: &mut Wakes) -> Self::Output {
        let item = self.0.take().expect("a put ends once");
        if grant.is_ok() {
            state.reserved -= 1;
        }
        if state.is_shut {
            return Err(item);
        }
        state.put_down(item, wakes);
        Ok(())
    }

    fn left(&mut self, grant: Option<Self::Grant>, state: &mut ShelfState<S>, wakes: &mut Wakes) {
        if let Some(Ok(())) = grant {
            state.reserved -= 1;
            state.reserve(wakes);
        }
    }
}

struct Join<S>(std::marker::PhantomData<fn() -> S>);

impl<S: Store> Waiter for Join<S> {
    type State = ShelfState<S>;
    type Grant = ();
    type Output = ();

    fn list(state: &mut ShelfState<S>) -> &mut WaitList<()> {
        &mut state.joiners
    }

    fn try_now(&mut self, state: &mut ShelfState<S>, _: &mut Wakes) -> Option<()> {
        (state.unfinished == 0).then_some(())
    }

    fn claim(&mut self, (): (), _: &mut ShelfState<S>, _: &mut Wakes) {}

    fn left(&mut self, _: Option<()>, _: &mut ShelfState<S>, _: &mut Wakes) {
        // All joiners are told: there is nothing to hand on.
    }
}

impl<S: Store> Shelf<S> {
    pub(super) fn new(limit: Option<usize>) -> Self {
        let state = ShelfState {
            store: S::new(),
            limit,
            promised: 0,
            reserved: 0,
            unfinished: 0,
            is_shut: false,
            getters: WaitList::new(),
            putters: WaitList::new(),
            joiners: WaitList::new(),
        };
        Shelf { limit, state: Mutex::new(state) }
    }

    /// Waits for room and puts the item down; gives it back when the shelf is shut.
    pub(super) fn put(&self, item: S::Item) -> impl Future<Output = Result<(), S::Item>> {
        Wait::new(&self.state, Put::<S>(Some(item)))
    }

    pub(super) fn put_now(&self, item: S::Item) -> Result<(), (Refused, S::Item)> {
        let mut wakes = Wakes::new();
        {
            let mut state = self.state.lock();
            if let Err(refused) = state.can_put() {
                return Err((refused, item));
            }
            if state.getters.is_empty() {
                state.lay(item);
                return Ok(());
            }
            state.put_down(item, &mut wakes);
        }
        wakes.wake();
        Ok(())
    }

    /// Waits for an item.
    pub(super) fn get(&self) -> impl Future<Output = Result<S::Item, Shut>> {
        Wait::new(&self.state, Get::<S>::new())
    }

    /// Waits for an item; for the only getter, which takes away what is `at_hand` before.
    #[inline]
    pub(super) fn receive<'a>(&'a self, at_hand: &'a mut AtHand<S>) -> Receive<'a, S> {
        Receive(Wait::new(&self.state, Haul(at_hand)))
    }

    pub(super) fn get_now(&self) -> Result<S::Item, Refused> {
        let mut wakes = Wakes::new();
        let item = self.state.lock().take(&mut wakes);
        wakes.wake();
        item
    }

    /// An item, if that needs no waiting; for the only getter.
    pub(super) fn receive_now(&self, at_hand: &mut AtHand<S>) -> Result<S::Item, Refused> {
        if let Some(item) = at_hand.get_mut().pop() {
            return Ok(item);
        }
        let mut wakes = Wakes::new();
        let item = {
            let mut state = self.state.lock();
            let item = state.take(&mut wakes);
            Haul(at_hand).take_along(&mut state);
            item
        };
        wakes.wake();
        item
    }

    /// Waits until all that was put has been reported done.
    pub(super) fn join(&self) -> impl Future<Output = ()> {
        Wait::new(&self.state, Join::<S>(std::marker::PhantomData))
    }

    /// Reports one item done; false when none is unfinished.
    pub(super) fn task_done(&self) -> bool {
        let mut wakes = Wakes::new();
        let was_unfinished = {
            let mut state = self.state.lock();
            let left = state.unfinished.checked_sub(1);
            if let Some(left) = left {
                state.unfinished = left;
                state.tell_joiners(&mut wakes);
            }
            left.is_some()
        };
        wakes.wake();
        was_unfinished
    }

    /// Nothing more is put down; `clear` also returns what is there, and counts it as done.
    pub(super) fn shut(&self, clear: bool) -> S {
        let (mut wakes, mut cleared) = (Wakes::new(), S::new());
        let mut state = self.state.lock();
        state.is_shut = true;
        state.putters.grant_all(&mut wakes, || Err(Shut));
        state.getters.grant_all(&mut wakes, || Err(Shut));
        if clear {
            std::mem::swap(&mut cleared, &mut state.store);
            state.unfinished = state.unfinished.saturating_sub(cleared.len() as u64);
            state.tell_joiners(&mut wakes);
        }
        drop(state);
        wakes.wake();
        cleared
    }

    pub(super) fn is_shut(&self) -> bool {
        self.state.lock().is_shut
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().store.len()
    }

    pub(super) fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// What the queues show of themselves; so many items are at hand.
    pub(super) fn fmt(&self, mut shown: std::fmt::DebugStruct<'_, '_>, at_hand: usize) -> std::fmt::Result {
        let (len, unfinished, getters, putters, is_shut) = {
            let state = self.state.lock();
            (
                state.store.len() + at_hand,
                state.unfinished,
                state.getters.waiting(),
                state.putters.waiting(),
                state.is_shut,
            )
        };
        shown.field("len", &len).field("limit", &self.limit).field("unfinished", &unfinished);
        shown.field("getters", &getters).field("putters", &putters).field("is_shut", &is_shut).finish()
    }
}
