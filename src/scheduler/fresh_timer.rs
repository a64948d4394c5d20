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

/// What a worker keeps back.
struct Fresh {
    due: Due,
    /// The time, if it is known.
    now: Option<Instant>,
    waker: Waker,
}

/// The place for one timer. See the head of this file.
pub(super) struct FreshTimer {
    /// The one that is kept back.
    fresh: Cell<Option<Fresh>>,
    /// Its key; `None` when none is kept back.
    key: Cell<Option<TimerKey>>,
    /// The place for the next one; `None` while one is kept back, and before the first.
    spare: Cell<Option<TimerPlace>>,
    /// The waker of the main future.
    main: Waker,
}

impl FreshTimer {
    pub(super) fn new(home: &Arc<LoopShared>) -> Self {
        FreshTimer {
            fresh: Cell::new(None),
            key: Cell::new(None),
            spare: Cell::new(None),
            main: Waker::from(home.clone()),
        }
    }
}

/// Keeps a timer back if this thread is a worker that may. `now` is the clock, if the caller has just read it.
#[inline]
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
        if let Some(worker) = worker.filter(|worker| worker.keeps_back(place)) {
            worker.settle_fresh();
        }
    });
}

/// Takes a timer out, wherever it is.
#[inline]
pub(crate) fn cancel(place: TimerPlace) {
    let left = current::with_worker(|worker| match worker {
        Some(worker) if worker.keeps_back(&place) => {
            worker.take_back(place);
            None
        }
        _ => Some(place),
    });
    if let Some(place) = left {
        // The waker is dropped here, outside the lock of the timers.
        drop(place.home.timers.cancel(place.key));
    }
}

impl Worker {
    /// The waker of a main future of this worker.
    pub(crate) fn main_waker(&self) -> &Waker {
        &self.fresh_timer.main
    }

    #[inline]
    fn keeps_back(&self, place: &TimerPlace) -> bool {
        self.fresh_timer.key.get() == Some(place.key) && self.sits_in(&place.home)
    }

    #[inline]
    fn keep_back(&self, due: Due, now: Option<Instant>, waker: &Waker) -> Option<TimerPlace> {
        if !self.polls_for(waker) {
            return None;
        }
        self.settle_fresh();
        let fresh_timer = &self.fresh_timer;
        let place = match fresh_timer.spare.take() {
            Some(place) => place,
            None => self.first_place()?,
        };
        fresh_timer.key.set(Some(place.key));
        fresh_timer.fresh.set(Some(Fresh { due, now, waker: waker.clone() }));
        Some(place)
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

    /// Has a place kept. `None`: this loop is not there to stay, or closed.
    #[cold]
    fn first_place(&self) -> Option<TimerPlace> {
        let home = self.service_home();
        if !self.sits_in(home) {
            return None;
        }
        Some(TimerPlace { home: home.clone(), key: home.timers.keep()? })
    }

    /// The timer that is kept back is dropped, on this thread.
    #[inline]
    fn take_back(&self, place: TimerPlace) {
        let fresh_timer = &self.fresh_timer;
        fresh_timer.key.set(None);
        let fresh = fresh_timer.fresh.take();
        fresh_timer.spare.set(Some(place));
        drop(fresh);
    }

    /// Registers the timer that is kept back, if there is one.
    #[inline]
    pub(crate) fn settle_fresh(&self) {
        if self.fresh_timer.key.get().is_some() {
            self.settle_now();
        }
    }

    fn settle_now(&self) {
        let fresh_timer = &self.fresh_timer;
        fresh_timer.key.set(None);
        let Some(fresh) = fresh_timer.fresh.take() else { return };
        let home = self.home();
        let now = fresh.now.unwrap_or_else(|| home.clock.now());
        let (next, left) = home.timers.settle(now, fresh.due, fresh.waker);
        let is_closed = next.is_none();
        fresh_timer.spare.set(next.map(|key| TimerPlace { home: home.clone(), key }));
        if let Some(waker) = left
            && is_closed
        {
            report::catch(ExceptionKind::Waker, || waker.wake());
        }
    }

    /// This thread leaves the seat.
    pub(super) fn give_up_place(&self) {
        self.settle_fresh();
        if let Some(place) = self.fresh_timer.spare.take() {
            place.home.timers.unkeep();
        }
    }
}

/// Whether a time limit of `duration` can be kept back: one that has no time at all is over at once.
#[inline]
pub(crate) fn keep_back_for(duration: Duration, waker: &Waker) -> Option<TimerPlace> {
    if duration.is_zero() { None } else { keep_back(Due::After(duration), None, waker) }
}
