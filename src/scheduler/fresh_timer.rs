//! The timer that was made in the poll that runs: it is registered when that poll is over, if it still exists then.
//!
//! Many timers are dropped in the poll that made them: a time limit around one step of a `select`, whose other branch turns out to be ready; a
//! limit around a receive from a queue that is filled in the same poll. Such a timer needs no place in the wheel, and a limit that starts to run
//! there not even the time. So a worker keeps the last timer of the running poll back, as long as that makes no difference: a timer can do nothing
//! but wake, and to wake the task that is being polled does nothing before the poll is over. Then it is *settled*: registered, with one look at
//! the clock, which is when the time of a [`Due::After`] begins.
//!
//! - **F1** What is kept back wakes the task, or main future, that this thread polls, and nothing else. A timer with any other waker (of a
//!   combinator, of a thread that blocks) is registered at once.
//! - **F2** A poll that ends, or lends its thread to others, leaves nothing kept back. Nor does one in which another timer is made: so timers
//!   are registered in the order in which they were made (T6).
//! - **F3** The timer has its key from the beginning, of a place in the wheel that the worker has had kept for it. It may be given to other threads
//!   meanwhile: these use the key under the wheel's lock, and a timer that was taken out there, or moved to another deadline, is found so when it
//!   is settled. The same thread takes it back without the lock, and the key serves the next.
//!
//! One thread's own, but for the key. With the key the worker has a counted reference to the loop ready, so that it counts none for a timer
//! that it takes back.
//!
//! # Rejected
//!
//! - *A list of several*: the order of registration and the places would be the same for each, and a poll that makes many timers and drops them again
//!   is rare.
//! - *A lock that prefers its owner*, with the cost on the others' side (`membarrier`): saves the locks of timers that outlive their poll, too, but a
//!   task that has moved would interrupt every core of the process to drop its timer.

use std::cell::Cell;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::worker::{MAIN_FUTURE, Worker};
use super::{LoopShared, current};
use crate::loom::Arc;
use crate::reactor::timer::{Due, TimerKey};
use crate::report::{self, ExceptionKind};
use crate::task;

/// A place in the timers of a loop.
pub(crate) struct TimerPlace {
    /// The loop: that of the worker that polled first.
    pub(crate) home: Arc<LoopShared>,
    /// The entry.
    pub(crate) key: TimerKey,
}

/// The place for one timer. See the head of this file.
///
/// A cell for each part, and of the place only the reference moves: what is read in one piece was stored in one. A copy of two words at once waits
/// until the stores of each have reached the cache, which took as long as all the rest.
pub(super) struct FreshTimer {
    /// Whether one is kept back. Then the three that follow are its own.
    is_kept: Cell<bool>,
    due: Cell<Due>,
    /// The time, if it is known.
    now: Cell<Option<Instant>>,
    waker: Cell<Option<Waker>>,
    /// The key of the one that is kept back, or else of the place for the next; `None` when there is neither.
    key: Cell<Option<TimerKey>>,
    /// The reference for the next one; `None` while one is kept back, and before the first.
    home: Cell<Option<Arc<LoopShared>>>,
    /// The waker of the main future.
    main: Waker,
}

impl FreshTimer {
    pub(super) fn new(home: &Arc<LoopShared>) -> Self {
        FreshTimer {
            is_kept: Cell::new(false),
            due: Cell::new(Due::After(Duration::ZERO)),
            now: Cell::new(None),
            waker: Cell::new(None),
            key: Cell::new(None),
            home: Cell::new(None),
            main: Waker::from(home.clone()),
        }
    }
}

/// Keeps a timer back if this thread is a worker that may. `now` is the clock, if the caller has just read it.
#[inline(always)]
pub(crate) fn keep_back(due: Due, now: Option<Instant>, waker: &Waker) -> Option<TimerPlace> {
    current::with_worker(|worker| worker?.keep_back(due, now, waker))
}

/// Another timer of this thread is about to be registered: one that was made before comes first (F2).
#[inline]
pub(crate) fn settle_any() {
    current::with_worker(|worker| worker.into_iter().for_each(Worker::settle_fresh));
}

/// Registers the timer, if it is one that was kept back here.
#[inline]
pub(crate) fn settle(place: &TimerPlace) {
    current::with_worker(|worker| {
        if let Some(worker) = worker.filter(|worker| worker.keeps_back(&place.home, place.key)) {
            worker.settle_fresh();
        }
    });
}

/// Takes a timer out, wherever it is.
#[inline]
pub(crate) fn cancel(place: TimerPlace) {
    let TimerPlace { home, key } = place;
    current::with_worker(|worker| cancel_from(worker, home, key));
}

/// The same, from `worker`. Takes words, none of which goes through memory.
fn cancel_from(worker: Option<&Worker>, home: Arc<LoopShared>, key: TimerKey) {
    match worker {
        Some(worker) if worker.keeps_back(&home, key) => worker.take_back(home),
        // The waker is dropped here, outside the lock of the timers.
        _ => drop(home.timers.cancel(key)),
    }
}

impl Worker {
    /// The waker of a main future of this worker.
    pub(crate) fn main_waker(&self) -> &Waker {
        &self.fresh_timer.main
    }

    #[inline]
    fn keeps_back(&self, home: &LoopShared, key: TimerKey) -> bool {
        // The key is that of the place for the next only while nobody else has it.
        self.fresh_timer.key.get() == Some(key) && self.sits_in(home)
    }

    #[inline(always)]
    fn keep_back(&self, due: Due, now: Option<Instant>, waker: &Waker) -> Option<TimerPlace> {
        if !self.polls_for(waker) {
            return None;
        }
        let fresh_timer = &self.fresh_timer;
        let waker = waker.clone();
        let home = match fresh_timer.home.take() {
            Some(home) => home,
            None => self.next_home()?,
        };
        let key = fresh_timer.key.get()?;
        fresh_timer.is_kept.set(true);
        fresh_timer.due.set(due);
        fresh_timer.now.set(now);
        fresh_timer.waker.set(Some(waker));
        Some(TimerPlace { home, key })
    }

    /// F1: whether `waker` is that of what this thread polls.
    #[inline]
    fn polls_for(&self, waker: &Waker) -> bool {
        match self.home().progress.polled() {
            Some(MAIN_FUTURE) => waker.will_wake(&self.fresh_timer.main),
            Some(address) => task::is_waker_of(waker, address),
            None => false,
        }
    }

    /// The reference for the next one, with its key in place, once the one that is kept back is registered, or there is a first. `None`: this loop
    /// is not there to stay, or closed.
    #[cold]
    fn next_home(&self) -> Option<Arc<LoopShared>> {
        self.settle_fresh();
        if let Some(home) = self.fresh_timer.home.take() {
            return Some(home);
        }
        let home = self.service_home();
        if !self.sits_in(home) {
            return None;
        }
        self.fresh_timer.key.set(Some(home.timers.keep()?));
        Some(home.clone())
    }

    /// The timer that is kept back is dropped, on this thread.
    #[inline]
    fn take_back(&self, home: Arc<LoopShared>) {
        let fresh_timer = &self.fresh_timer;
        fresh_timer.is_kept.set(false);
        fresh_timer.home.set(Some(home));
        drop(fresh_timer.waker.take());
    }

    /// Registers the timer that is kept back, if there is one.
    #[inline]
    pub(crate) fn settle_fresh(&self) {
        if self.fresh_timer.is_kept.get() {
            self.settle_now();
        }
    }

    fn settle_now(&self) {
        let fresh_timer = &self.fresh_timer;
        fresh_timer.is_kept.set(false);
        let Some(waker) = fresh_timer.waker.take() else { return };
        let home = self.home();
        let now = fresh_timer.now.get().unwrap_or_else(|| home.clock.now());
        let (next, left) = home.timers.settle(now, fresh_timer.due.get(), waker);
        let is_closed = next.is_none();
        fresh_timer.key.set(next);
        fresh_timer.home.set(next.map(|_| home.clone()));
        if let Some(waker) = left
            && is_closed
        {
            report::catch(ExceptionKind::Waker, || waker.wake());
        }
    }

    /// This thread leaves the seat.
    pub(super) fn give_up_place(&self) {
        self.settle_fresh();
        if let Some(home) = self.fresh_timer.home.take() {
            self.fresh_timer.key.set(None);
            home.timers.unkeep();
        }
    }
}

/// Whether a time limit of `duration` can be kept back: one that has no time at all is over at once.
#[inline(always)]
pub(crate) fn keep_back_for(duration: Duration, waker: &Waker) -> Option<TimerPlace> {
    if duration.is_zero() {
        return None;
    }
    current::with_worker(|worker| worker?.keep_back(Due::After(duration), None, waker))
}
