//! The shelf under all queues and channels: items in some order, those that wait for one, those that wait for room.
//!
//! An item lies on the shelf until the poll or call that returns it, and a waiter is granted not an item but the right to take one
//! (`promised`), or the right to put one down (`reserved`). So a cancelled getter leaves the items in their order, and a cancelled putter
//! leaves nothing behind; either right goes to the next in line.
//!
//! A shelf has getters or, when it is a channel's, a receiver: one for good, so that nothing has to be granted. It waits with no more than its waker
//! in the state, and looks on the shelf when it is woken. Where there is no limit it takes the items behind its own along: nobody else could be
//! overtaken, and nobody waits for the room. A getter takes one, since the next item is the next getter's.
//!
//! # Invariants, whenever the mutex is free
//!
//! - Q1. While a getter waits for an item, every item is promised: `promised == store.len()`. Hence an item put down goes to the first.
//! - Q2. While somebody waits for room, `store.len() + reserved == limit`. Where there is no limit nobody waits for room.
//! - Q3. Once shut, nobody waits for an item or for room, and nothing is put down any more.
//! - Q4. Nobody waits for the end of the work while `unfinished` is 0.
//! - Q5. While a receiver waits, nothing is on the shelf and it is not shut: who puts an item down, or shuts, takes its waker.
//!
//! Items are dropped and returned with the mutex free. What runs under it is the comparison of a priority queue's items: it must not use
//! that queue.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use super::wait_list::{Wait, WaitList, Waiter, Wakes};
use crate::coop;
use crate::loom::{Mutex, MutexGuard};

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
    /// In place of the getters: a channel's receiver, while it waits and was not woken.
    receiver: Option<Waker>,
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

    #[inline]
    fn put_down(&mut self, item: S::Item, wakes: &mut Wakes) {
        if let Some(receiver) = self.lay(item) {
            wakes.add(receiver);
        }
        self.promise(wakes);
    }

    /// Puts down where no getter waits; a receiver is to be woken.
    #[inline]
    #[must_use]
    fn lay(&mut self, item: S::Item) -> Option<Waker> {
        self.store.push(item);
        self.unfinished += 1;
        self.receiver.take()
    }

    /// The receiver takes what there is besides the item that it took: it has it at hand then, and needs no lock for it. Only where there is no
    /// limit: with one, an item takes up room until it is received.
    fn take_along(&mut self, at_hand: &mut AtHand<S>) {
        if self.limit.is_none() && self.has_item() {
            debug_assert!(at_hand.get_mut().len() == 0, "what came first is received first");
            std::mem::swap(at_hand.get_mut(), &mut self.store);
        }
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

/// What the receiver of a channel has taken off the shelf and not yet received. It came before all that is on the shelf. Never locked on the way of
/// an item: the mutex lets it be shared as the shelf is, for what looks at it and takes nothing.
pub(super) type AtHand<S> = Mutex<S>;

/// Receives an item: the first at hand, or else the first on the shelf.
pub(super) struct Receive<'a, S: Store> {
    shelf: &'a Shelf<S>,
    at_hand: &'a mut AtHand<S>,
    /// Whether its waker is, or was, with the shelf.
    has_waited: bool,
}

impl<S: Store> Future for Receive<'_, S> {
    type Output = Option<S::Item>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let unit = ready!(coop::poll_proceed(cx));
        if let Some(item) = self.at_hand.get_mut().pop() {
            unit.made_progress();
            return Poll::Ready(Some(item));
        }
        let me = &mut *self;
        let Some(output) = me.shelf.take_or_wait(me.at_hand, cx.waker()) else {
            me.has_waited = true;
            return Poll::Pending;
        };
        me.has_waited = false;
        unit.made_progress();
        Poll::Ready(output)
    }
}

impl<S: Store> Drop for Receive<'_, S> {
    #[inline]
    fn drop(&mut self) {
        if self.has_waited {
            self.shelf.receiver_leaves();
        }
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
            receiver: None,
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
        let mut state = self.state.lock();
        if let Err(refused) = state.can_put() {
            return Err((refused, item));
        }
        if !state.getters.is_empty() {
            Self::put_for_getter(state, item);
            return Ok(());
        }
        let receiver = state.lay(item);
        drop(state);
        if let Some(waker) = receiver {
            waker.wake();
        }
        Ok(())
    }

    #[inline(never)]
    fn put_for_getter(mut state: MutexGuard<'_, ShelfState<S>>, item: S::Item) {
        let mut wakes = Wakes::new();
        state.put_down(item, &mut wakes);
        drop(state);
        wakes.wake();
    }

    /// Waits for an item.
    pub(super) fn get(&self) -> impl Future<Output = Result<S::Item, Shut>> {
        Wait::new(&self.state, Get::<S>(std::marker::PhantomData))
    }

    /// Waits for an item; for a channel's receiver, which takes away what is `at_hand` before.
    #[inline]
    pub(super) fn receive<'a>(&'a self, at_hand: &'a mut AtHand<S>) -> Receive<'a, S> {
        Receive { shelf: self, at_hand, has_waited: false }
    }

    /// An item for the receiver, or none when none will come; or no answer, and it waits.
    #[inline(never)]
    fn take_or_wait(&self, at_hand: &mut AtHand<S>, waker: &Waker) -> Option<Option<S::Item>> {
        let mut wakes = Wakes::new();
        let mut state = self.state.lock();
        let output = match state.take(&mut wakes) {
            Ok(item) => Some(item),
            Err(Refused::Shut) => None,
            Err(Refused::Wait) => {
                let stale = match &state.receiver {
                    Some(old) if old.will_wake(waker) => None,
                    _ => state.receiver.replace(waker.clone()),
                };
                drop(state);
                drop(stale);
                return None;
            }
        };
        state.take_along(at_hand);
        drop(state);
        wakes.wake();
        Some(output)
    }

    /// The receiver does not wait any longer. What it was woken for is where it was.
    #[cold]
    fn receiver_leaves(&self) {
        let stale = self.state.lock().receiver.take();
        drop(stale);
    }

    /// An item, if that needs no waiting; for a channel's receiver.
    pub(super) fn receive_now(&self, at_hand: &mut AtHand<S>) -> Result<S::Item, Refused> {
        if let Some(item) = at_hand.get_mut().pop() {
            return Ok(item);
        }
        let mut wakes = Wakes::new();
        let item = {
            let mut state = self.state.lock();
            let item = state.take(&mut wakes);
            state.take_along(at_hand);
            item
        };
        wakes.wake();
        item
    }

    pub(super) fn get_now(&self) -> Result<S::Item, Refused> {
        let mut wakes = Wakes::new();
        let item = self.state.lock().take(&mut wakes);
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
        if let Some(receiver) = state.receiver.take() {
            wakes.add(receiver);
        }
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
                state.getters.waiting() + usize::from(state.receiver.is_some()),
                state.putters.waiting(),
                state.is_shut,
            )
        };
        shown.field("len", &len).field("limit", &self.limit).field("unfinished", &unfinished);
        shown.field("getters", &getters).field("putters", &putters).field("is_shut", &is_shut).finish()
    }
}
