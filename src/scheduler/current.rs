//! Which runtime, and which worker, the calling thread is in.
//!
//! One thread-local word points at the [`Worker`] that the thread runs as; it is set for the time of `Worker`'s run and only read in between.
//! A thread that is no worker can be *inside* a runtime all the same: a thread of the blocking pool, or one that holds the guard of
//! `LoopHandle::enter`.
//!
//! The guards of `drive` are this crate's and nest as the calls do. The one of `enter` is the user's, who may keep it for longer than the
//! worker it was made on lives, or drop it out of order:
//!
//! - **P1** `WORKER` is null or `DRIVEN`, and `DRIVEN` is null or a worker whose `run` is on this thread's stack. Only `drive` and its guard
//!   write `DRIVEN`; what the guard of `enter` puts back is checked against it.

#![allow(unsafe_code, reason = "a thread-local pointer to the worker on this thread's stack")]

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::ptr;
use std::time::Instant;

pub(crate) use super::LoopShared;
use super::Shared;
use super::clock::{self, Clock};
use super::worker::Worker;
use crate::error::NoRuntime;
use crate::loom::{Arc, thread_local};

thread_local! {
    /// The worker this thread runs as; null if none, or if another runtime was entered. Written and read by this thread only.
    static WORKER: Cell<*const Worker> = const { Cell::new(ptr::null()) };
    /// The worker whose `run` is innermost on this thread's stack, whatever was entered meanwhile; null if none (P1).
    static DRIVEN: Cell<*const Worker> = const { Cell::new(ptr::null()) };
    /// The runtime this thread has entered without being a worker of it. Written and read by this thread only.
    static ENTERED: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
    /// Whether this thread drives a main future or a worker, whatever it has entered meanwhile.
    static IS_DRIVING: Cell<bool> = const { Cell::new(false) };
}

/// Where the calling thread is.
pub(crate) enum Place<'a> {
    /// In a worker's loop.
    Worker(&'a Worker),
    /// Inside a runtime, but not on a worker.
    Entered(&'a Arc<Shared>),
    /// In no runtime.
    Outside,
}

/// Calls `f` with the worker this thread runs as, if it is one.
#[inline]
pub(crate) fn with_worker<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
    let worker = WORKER.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: P1: the pointer is null or that of a worker whose `run` is on this thread's stack, below this call and so longer than `f`.
    f(unsafe { worker.as_ref() })
}

/// Calls `f` with the place this thread is in.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(Place<'_>) -> R) -> R {
    with_worker(|worker| match worker {
        Some(worker) => f(Place::Worker(worker)),
        None => match ENTERED.try_with(|entered| entered.borrow().clone()).ok().flatten() {
            Some(shared) => f(Place::Entered(&shared)),
            None => f(Place::Outside),
        },
    })
}

/// The runtime this thread is inside of.
pub(crate) fn runtime(operation: &'static str) -> Result<Arc<Shared>, NoRuntime> {
    with(|place| match place {
        Place::Worker(worker) => Ok(worker.shared().clone()),
        Place::Entered(shared) => Ok(shared.clone()),
        Place::Outside => Err(NoRuntime::new(operation)),
    })
}

/// The loop that serves this thread: its own if it is a worker, else the next in turn of the runtime it is inside of.
pub(crate) fn home(operation: &'static str) -> Result<Arc<LoopShared>, NoRuntime> {
    with(|place| match place {
        Place::Worker(worker) => Ok(worker.service_home().clone()),
        Place::Entered(shared) => Ok(shared.pick_loop().clone()),
        Place::Outside => Err(NoRuntime::new(operation)),
    })
}

/// The present, by the clock of the runtime this thread is inside of; outside of any, the machine's.
#[inline]
pub(crate) fn now() -> Instant {
    if clock::any_virtual() { with_clock(|clock| clock.map_or_else(Instant::now, Clock::now)) } else { Instant::now() }
}

/// A task on this thread tries an operation on a socket, or waits for one: a virtual clock gives the answer a moment of the machine's time.
#[inline]
pub(crate) fn note_io() {
    if clock::any_virtual() {
        with_clock(|clock| clock.into_iter().for_each(Clock::note_io));
    }
}

/// Whether this thread is a worker of another runtime than the one that `home` is a loop of.
pub(crate) fn is_elsewhere(home: &LoopShared) -> bool {
    with_worker(|worker| worker.is_some_and(|worker| !worker.is_of(&home.shared)))
}

/// Calls `f` with the clock of the runtime this thread is inside of.
pub(crate) fn with_clock<R>(f: impl FnOnce(Option<&Clock>) -> R) -> R {
    with(|place| match place {
        Place::Worker(worker) => f(Some(&worker.home().clock)),
        Place::Entered(shared) => f(Some(&shared.at(0).clock)),
        Place::Outside => f(None),
    })
}

/// Whether this thread drives a main future or a worker: then it must not block on another.
pub(crate) fn is_driving() -> bool {
    IS_DRIVING.try_with(Cell::get).unwrap_or(false)
}

/// Puts back what was there before this thread began to drive something.
#[must_use]
pub(crate) struct Restore<'a> {
    worker: *const Worker,
    driven: *const Worker,
    entered: Option<Arc<Shared>>,
    is_driving: bool,
    _worker: PhantomData<&'a Worker>,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        let _ = WORKER.try_with(|cell| cell.set(self.worker));
        let _ = DRIVEN.try_with(|cell| cell.set(self.driven));
        let _ = IS_DRIVING.try_with(|cell| cell.set(self.is_driving));
        replace_entered(self.entered.take());
    }
}

/// The runtime that is left may be freed by this, and user code run: after the borrow.
fn replace_entered(entered: Option<Arc<Shared>>) {
    let left = ENTERED.try_with(|cell| cell.replace(entered));
    drop(left);
}

fn drive_as<'a>(worker: *const Worker, entered: Option<Arc<Shared>>) -> Restore<'a> {
    Restore {
        worker: WORKER.with(|cell| cell.replace(worker)),
        driven: DRIVEN.with(|cell| cell.replace(worker)),
        // An event loop may be closed by the destructor of a thread-local, when this one is gone.
        entered: ENTERED.try_with(|cell| cell.replace(entered)).ok().flatten(),
        is_driving: IS_DRIVING.with(|cell| cell.replace(true)),
        _worker: PhantomData,
    }
}

/// This thread runs as `worker` until the guard is dropped.
pub(crate) fn drive(worker: &Worker) -> Restore<'_> {
    drive_as(worker, None)
}

/// This thread blocks on a main future of `shared` without a seat, until the guard is dropped.
pub(crate) fn drive_without_seat(shared: &Arc<Shared>) -> Restore<'static> {
    drive_as(ptr::null(), Some(shared.clone()))
}

/// This thread is a runtime's own: also in its hooks it must not wait for that runtime.
pub(crate) fn drive_for_good() {
    IS_DRIVING.with(|cell| cell.set(true));
}

/// Leaves a runtime that was entered.
#[must_use]
pub(crate) struct Leave {
    /// `WORKER` and `DRIVEN` when the guard was made; by P1 the first is null or the second. They also keep the guard on its thread.
    worker: *const Worker,
    driven: *const Worker,
    entered: Option<Arc<Shared>>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let driven = DRIVEN.try_with(Cell::get).unwrap_or(ptr::null());
        if !ptr::eq(self.driven, driven) {
            // What the thread did when the guard was made is over, or something else has begun on top of it; either brought a state of its own.
            return;
        }
        // P1: null, or the worker that is driven now. (If it is another one at the same place, it is alive all the same.)
        let _ = WORKER.try_with(|cell| cell.set(self.worker));
        replace_entered(self.entered.take());
    }
}

/// Lets a thread block that drives something; see [`stop_driving`].
#[must_use]
pub(crate) struct MayBlock {
    was_driving: bool,
    /// Keeps the guard on its thread.
    _worker: PhantomData<*const Worker>,
}

impl Drop for MayBlock {
    fn drop(&mut self) {
        let _ = IS_DRIVING.try_with(|cell| cell.set(self.was_driving));
    }
}

/// This thread may block until the guard is dropped; its worker's work has been given to others.
pub(crate) fn stop_driving() -> MayBlock {
    MayBlock { was_driving: IS_DRIVING.with(|cell| cell.replace(false)), _worker: PhantomData }
}

/// This thread is inside `shared` until the guard is dropped.
pub(crate) fn enter(shared: &Arc<Shared>) -> Leave {
    Leave {
        worker: WORKER.with(|cell| cell.replace(ptr::null())),
        driven: DRIVEN.with(Cell::get),
        entered: ENTERED.with(|cell| cell.replace(Some(shared.clone()))),
    }
}

/// This thread, one of the blocking pool's, is inside `shared` until it ends.
pub(crate) fn enter_for_good(shared: &Arc<Shared>) {
    ENTERED.with(|cell| *cell.borrow_mut() = Some(shared.clone()));
}
