//! The one wait-list under every primitive of `sync` for which many may wait, and the one future that waits in it. (The ends of a oneshot and the
//! receiver of a channel wait alone: each leaves its waker in the state and takes it along when it goes.)
//!
//! A primitive is a state behind one mutex, and a [`WaitList`] is a part of that state. Whoever has to wait enters the list at its first
//! poll; whoever has something to give *grants* it to the first in the list, under the same mutex. A grant is a value: the lock's box, a
//! number of permits, a place in a queue. It stays in the list until its waiter collects it. [`Wait`] is the future of all of them: enter,
//! collect, and give back on drop. Any thread calls any of it.
//!
//! # Invariants
//!
//! - W1. First in, first granted: a waiter's turn is its place at its first poll, and a later poll never loses it.
//! - W2. Nothing is lost with a waiter: a [`Wait`] that is dropped leaves the list under the mutex, and what was granted to it and not
//!   collected goes back to the primitive ([`Waiter::left`]), which grants it to the next.
//! - W3. No waker is woken, and none dropped, under the mutex: [`Wakes`] collects them. A waker is *cloned* under it, once for each waiter
//!   that really waits; a waker whose `clone` uses the primitive it waits for would wait for itself.
//! - W4. A waker that panics keeps none of the others from being woken.
//!
//! # What it deliberately does not do
//!
//! No atomics, no fast path without the mutex: it is held for a few instructions, and what is decided under one mutex can be read on one
//! page and explored by the models. No intrusive list: the entries are in a slab, so there is nothing unsafe; the slab keeps the room
//! of the most waiters that there ever were at once.
//!
//! Rejected: waking a waiter that then tries again (asyncio's own way): it needs a second look for whom to wake when that waiter is
//! cancelled, and that is where asyncio's lost wake-ups were (python/cpython issues 112202, 111693, 77022).

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use slab::Slab;

use crate::coop;
use crate::loom::Mutex;

/// Wakers to be woken when the mutex is free again: dropping it wakes them, in order.
#[must_use = "the wakers in it are owed their wake-up"]
pub(crate) struct Wakes {
    /// The first of them, so that the most frequent cases, none and one, allocate nothing.
    first: Option<Waker>,
    /// All others, if there are any.
    rest: Option<Box<Rest>>,
}

impl Wakes {
    #[inline]
    pub(crate) fn new() -> Self {
        Wakes { first: None, rest: None }
    }

    #[inline]
    pub(crate) fn add(&mut self, waker: Waker) {
        match self.first {
            None => self.first = Some(waker),
            Some(_) => self.rest.get_or_insert_with(|| Box::new(Rest(VecDeque::new()))).0.push_back(waker),
        }
    }

    /// Wakes them. Not under a lock.
    #[inline]
    pub(crate) fn wake(self) {
        drop(self);
    }
}

impl Drop for Wakes {
    /// What comes after a panic is woken too (W4): `rest` is dropped after this.
    #[inline]
    fn drop(&mut self) {
        if let Some(waker) = self.first.take() {
            waker.wake();
        }
    }
}

/// The wakers after the first.
struct Rest(VecDeque<Waker>);

impl Drop for Rest {
    #[cold]
    fn drop(&mut self) {
        while let Some(waker) = self.0.pop_front() {
            // If this one panics, the drop of the others goes on with them.
            let mut others = Rest(std::mem::take(&mut self.0));
            waker.wake();
            std::mem::swap(&mut self.0, &mut others.0);
        }
    }
}

/// A waiter's place in its list, for as long as the waiter keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key(usize);

/// Who waits, in order, and what was granted and not yet collected. `G` is what is granted.
pub(crate) struct WaitList<G> {
    /// Waiters and grants; a [`Key`] is an index.
    entries: Slab<Entry<G>>,
    /// The two ends of the chain of those that wait.
    first: Option<usize>,
    last: Option<usize>,
    /// The length of that chain.
    waiting: usize,
}

struct Entry<G> {
    stage: Stage<G>,
    /// The neighbours in the chain. Of no meaning once granted.
    before: Option<usize>,
    after: Option<usize>,
}

enum Stage<G> {
    Waiting { waker: Waker, wants: usize },
    Granted(G),
}

/// What a waiter had when it left.
pub(crate) enum Left<G> {
    /// Nothing but a waker, to be dropped when the mutex is free.
    Waiting(Waker),
    Granted(G),
}

impl<G> WaitList<G> {
    pub(crate) fn new() -> Self {
        WaitList { entries: Slab::new(), first: None, last: None, waiting: 0 }
    }

    /// Whether nobody waits who was granted nothing.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// How many wait and have been granted nothing.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How much the first of them wants.
    pub(crate) fn first_wants(&self) -> Option<usize> {
        match self.entries[self.first?].stage {
            Stage::Waiting { wants, .. } => Some(wants),
            Stage::Granted(_) => unreachable!("a granted entry is not in the chain"),
        }
    }

    /// Enters at the end.
    pub(crate) fn push(&mut self, wants: usize, waker: Waker) -> Key {
        let before = self.last;
        let at = self.entries.insert(Entry { stage: Stage::Waiting { waker, wants }, before, after: None });
        match before {
            Some(before) => self.entries[before].after = Some(at),
            None => self.first = Some(at),
        }
        self.last = Some(at);
        self.waiting += 1;
        Key(at)
    }

    /// Grants to the first that waits; gives the grant back when nobody does.
    #[inline]
    pub(crate) fn grant(&mut self, grant: G, wakes: &mut Wakes) -> Result<(), G> {
        let Some(at) = self.first else { return Err(grant) };
        self.grant_to(at, grant, wakes);
        Ok(())
    }

    fn grant_to(&mut self, at: usize, grant: G, wakes: &mut Wakes) {
        self.unlink(at);
        match std::mem::replace(&mut self.entries[at].stage, Stage::Granted(grant)) {
            Stage::Waiting { waker, .. } => wakes.add(waker),
            Stage::Granted(_) => unreachable!("a granted entry is not in the chain"),
        }
    }

    /// Grants to all that wait.
    pub(crate) fn grant_all(&mut self, wakes: &mut Wakes, mut grant: impl FnMut() -> G) {
        while self.waiting > 0 {
            let granted = self.grant(grant(), wakes);
            debug_assert!(granted.is_ok(), "somebody waits");
        }
    }

    /// Collects what was granted, and leaves; or stays, with this waker, and gives back the one before it where that was another.
    pub(crate) fn collect(&mut self, key: Key, waker: &Waker) -> Result<G, Option<Waker>> {
        match &mut self.entries[key.0].stage {
            Stage::Waiting { waker: old, .. } if old.will_wake(waker) => Err(None),
            Stage::Waiting { waker: old, .. } => Err(Some(std::mem::replace(old, waker.clone()))),
            Stage::Granted(_) => match self.leave(key) {
                Left::Granted(grant) => Ok(grant),
                Left::Waiting(_) => unreachable!("it is granted"),
            },
        }
    }

    /// Leaves, granted or not.
    pub(crate) fn leave(&mut self, key: Key) -> Left<G> {
        if matches!(self.entries[key.0].stage, Stage::Waiting { .. }) {
            self.unlink(key.0);
        }
        match self.entries.remove(key.0).stage {
            Stage::Waiting { waker, .. } => Left::Waiting(waker),
            Stage::Granted(grant) => Left::Granted(grant),
        }
    }

    /// Takes a waiting entry out of the chain.
    fn unlink(&mut self, at: usize) {
        let (before, after) = (self.entries[at].before, self.entries[at].after);
        match before {
            Some(before) => self.entries[before].after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => self.entries[after].before = before,
            None => self.last = before,
        }
        self.waiting -= 1;
    }
}

/// One kind of wait: what its primitive is asked for, and how it answers. Everything runs under the primitive's mutex.
pub(crate) trait Waiter {
    /// What is behind the mutex.
    type State;
    /// What a waiter is granted.
    type Grant;
    /// What the wait ends with.
    type Output;

    /// The list to wait in.
    fn list(state: &mut Self::State) -> &mut WaitList<Self::Grant>;

    /// How much it wants, where that is a question.
    fn wants(&self) -> usize {
        1
    }

    /// The answer without waiting, if there is one. It never overtakes one that waits (W1).
    fn try_now(&mut self, state: &mut Self::State, wakes: &mut Wakes) -> Option<Self::Output>;

    /// The answer when something was granted.
    fn claim(&mut self, grant: Self::Grant, state: &mut Self::State, wakes: &mut Wakes) -> Self::Output;

    /// A waiter was dropped, with what was granted to it and not collected, if anything (W2).
    fn left(&mut self, grant: Option<Self::Grant>, state: &mut Self::State, wakes: &mut Wakes);
}

/// Waits until its waiter has an answer.
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Wait<'a, W: Waiter> {
    /// The primitive.
    state: &'a Mutex<W::State>,
    waiter: W,
    /// The place in the list: from the first poll that had to wait to the one that collects.
    key: Option<Key>,
}

impl<'a, W: Waiter> Wait<'a, W> {
    pub(crate) fn new(state: &'a Mutex<W::State>, waiter: W) -> Self {
        Wait { state, waiter, key: None }
    }

    /// Whether it has a place in the list.
    pub(crate) fn is_listed(&self) -> bool {
        self.key.is_some()
    }
}

// The waiter is never pinned.
impl<W: Waiter> Unpin for Wait<'_, W> {}

impl<W: Waiter> Future for Wait<'_, W> {
    type Output = W::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<W::Output> {
        let unit = ready!(coop::poll_proceed(cx));
        let me = &mut *self;
        let (mut wakes, mut stale) = (Wakes::new(), None);
        let mut state = me.state.lock();
        let output = match me.key {
            None => {
                let output = me.waiter.try_now(&mut state, &mut wakes);
                if output.is_none() {
                    me.key = Some(W::list(&mut state).push(me.waiter.wants(), cx.waker().clone()));
                }
                output
            }
            Some(key) => match W::list(&mut state).collect(key, cx.waker()) {
                Ok(grant) => {
                    me.key = None;
                    Some(me.waiter.claim(grant, &mut state, &mut wakes))
                }
                Err(old) => {
                    stale = old;
                    None
                }
            },
        };
        drop(state);
        drop(stale);
        wakes.wake();
        let Some(output) = output else { return Poll::Pending };
        unit.made_progress();
        Poll::Ready(output)
    }
}

impl<W: Waiter> Wait<'_, W> {
    #[cold]
    fn leave(&mut self, key: Key) {
        let mut wakes = Wakes::new();
        let mut state = self.state.lock();
        let (stale, grant) = match W::list(&mut state).leave(key) {
            Left::Waiting(waker) => (Some(waker), None),
            Left::Granted(grant) => (None, Some(grant)),
        };
        self.waiter.left(grant, &mut state, &mut wakes);
        drop(state);
        drop(stale);
        wakes.wake();
    }
}

impl<W: Waiter> Drop for Wait<'_, W> {
    #[inline]
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.leave(key);
        }
    }
}
