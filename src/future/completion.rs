//! The completion: the one moment in the life of a [`LoopFuture`](super::LoopFuture), and who is to be told of it.
//!
//! A completion is made without an answer and gets one, once. Until then it keeps two kinds of interested parties in one list, in the order in
//! which they came: *callbacks*, to be queued on a loop, and *waiters*, wakers of tasks that await the answer. Any thread calls any of it. It
//! knows neither loops nor tasks: what is done with a callback is the caller's closure.
//!
//! Invariants:
//!
//! - **C1** The answer is written once, under the lock, and never changes: of several that answer, one is not refused. Who finds it may read
//!   it without the lock for as long as the completion lives.
//! - **C2** Nobody is forgotten. A party enters under the lock, after a look that found no answer; the answer is written under the lock before
//!   the list is taken. So a party is on the list that is taken, or finds the answer.
//! - **C3** Each callback is given out once: by `answer`, or back to its owner, by `remove`.
//! - **C4** Callbacks are given out and waiters woken in the order in which they came, a callback that comes while the answering thread is at
//!   it included: it joins the list, which that thread empties again.
//! - **C5** No user code runs under the lock: parties are taken out and told, or dropped, when it is free. A waker is *cloned* under it.
//! - **C6** A waiter that leaves takes its waker with it.
//!
//! The parties are a map by number: a waiter that gives up leaves it in logarithmic time, wherever it stands, and the order stays.
//!
//! Rejected: waking from `answer` whoever is on the list and letting the callbacks follow later (loses their order, which asyncio's programs
//! print); two lists (loses it too); a slab with a chain through it, as under `sync` (a map of few entries is one allocation, and the chain
//! would be written a second time).

use std::collections::BTreeMap;
use std::task::Waker;

use crate::loom::{Mutex, OnceLock};
use crate::report::{self, ExceptionKind};

/// An answer to come, of type `A`, and callbacks of type `C`.
pub(super) struct Completion<A, C> {
    /// Written once, under the lock of `parties` (C1); read by any thread.
    answer: OnceLock<A>,
    /// Any thread.
    parties: Mutex<Parties<C>>,
}

struct Parties<C> {
    /// The number of the next party.
    next: u64,
    /// By number, which is the order in which they came.
    list: BTreeMap<u64, Party<C>>,
    /// Whether the thread that answered is still telling (C4).
    is_telling: bool,
}

enum Party<C> {
    Callback(C),
    Waiter(Waker),
}

/// A waiter's place in the list. One that is dropped without [`Completion::leave`] leaves its waker behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64);

impl<A, C> Completion<A, C> {
    pub(super) fn new() -> Self {
        let parties = Parties { next: 0, list: BTreeMap::new(), is_telling: false };
        Completion { answer: OnceLock::new(), parties: Mutex::new(parties) }
    }

    /// The answer, if it is there.
    pub(super) fn get(&self) -> Option<&A> {
        self.answer.get()
    }

    /// Takes the answer out, for the only owner.
    pub(super) fn take(&mut self) -> Option<A> {
        self.answer.take()
    }

    /// Answers, and tells all parties: `queue` is called with each callback. The answer comes back when there was one already (C1).
    pub(super) fn answer(&self, answer: A, queue: impl FnMut(C)) -> Result<(), A> {
        let list = {
            let mut parties = self.parties.lock();
            self.answer.set(answer)?;
            parties.take()
        };
        self.tell(list, queue);
        Ok(())
    }

    /// Tells the parties in `list`, and those that come meanwhile (C4).
    fn tell(&self, mut list: BTreeMap<u64, Party<C>>, mut queue: impl FnMut(C)) {
        while !list.is_empty() {
            for party in list.into_values() {
                match party {
                    // A loop that takes no more callbacks drops them, and that may panic: the others are told all the same.
                    Party::Callback(callback) => report::catch(ExceptionKind::Drop, || queue(callback)),
                    Party::Waiter(waker) => report::catch(ExceptionKind::Waker, || waker.wake()),
                };
            }
            list = self.parties.lock().take();
        }
    }

    /// Adds a callback. It comes back when the answer is there and everybody was told: it is the caller's to queue then.
    pub(super) fn add(&self, callback: C) -> (u64, Option<C>) {
        let mut parties = self.parties.lock();
        let number = parties.number();
        if self.answer.get().is_some() && !parties.is_telling {
            return (number, Some(callback));
        }
        parties.list.insert(number, Party::Callback(callback));
        (number, None)
    }

    /// Takes a callback out, if it was not given out yet.
    pub(super) fn remove(&self, number: u64) -> Option<C> {
        let mut parties = self.parties.lock();
        match parties.list.remove(&number) {
            Some(Party::Callback(callback)) => Some(callback),
            Some(waiter) => {
                // Numbers are given out by `add` alone; one that names a waiter was made up, or is another completion's.
                parties.list.insert(number, waiter);
                None
            }
            None => None,
        }
    }

    /// Whether the answer is there. If not, `waker` is woken when it is; `place` keeps its place in the list from one call to the next.
    pub(super) fn poll(&self, place: &mut Option<Place>, waker: &Waker) -> bool {
        if self.answer.get().is_some() {
            // The list is taken, and the waker in it woken or about to be: there is no place to leave.
            *place = None;
            return true;
        }
        let stale = {
            let mut parties = self.parties.lock();
            if self.answer.get().is_some() {
                *place = None;
                return true;
            }
            parties.keep(place, waker)
        };
        drop(stale);
        false
    }

    /// A waiter gives up its place (C6).
    pub(super) fn leave(&self, place: &mut Option<Place>) {
        let Some(Place(number)) = place.take() else { return };
        let party = self.parties.lock().list.remove(&number);
        drop(party);
    }

    /// What `show` says of each callback, in order, and how many waiters there are.
    pub(super) fn parties<R>(&self, show: impl Fn(&C) -> R) -> (Vec<R>, usize) {
        let parties = self.parties.lock();
        let callbacks = parties.list.values().filter_map(|party| match party {
            Party::Callback(callback) => Some(show(callback)),
            Party::Waiter(_) => None,
        });
        let callbacks: Vec<R> = callbacks.collect();
        let waiters = parties.list.len() - callbacks.len();
        (callbacks, waiters)
    }
}

impl<C> Parties<C> {
    /// Empties the list, for the thread that answered: it is telling as long as there is somebody to tell (C4).
    fn take(&mut self) -> BTreeMap<u64, Party<C>> {
        self.is_telling = !self.list.is_empty();
        std::mem::take(&mut self.list)
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Enters a waiter, or renews its waker. Returns what is to be dropped when the lock is free.
    fn keep(&mut self, place: &mut Option<Place>, waker: &Waker) -> Option<Waker> {
        if let Some(Place(number)) = *place
            && let Some(Party::Waiter(stored)) = self.list.get_mut(&number)
        {
            let renew = !stored.will_wake(waker);
            return renew.then(|| std::mem::replace(stored, waker.clone()));
        }
        let number = self.number();
        self.list.insert(number, Party::Waiter(waker.clone()));
        *place = Some(Place(number));
        None
    }
}

#[cfg(all(test, eddies_loom))]
#[path = "../../loom-tests/models/loop_future.rs"]
mod models;
