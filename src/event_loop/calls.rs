//! `call_soon`, `call_later`, `call_at`: closures that the loop calls, and the handles that cancel them.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::EventLoop;
use crate::error::LoopClosed;
use crate::scheduler::call_timers::{CallTimers, TimedCall};

/// Stands in for a delay that no `Instant` can hold: a thousand years.
const FAR: Duration = Duration::from_secs(1_000 * 365 * 86_400);

/// A closure until it is called or cancelled. The callback in the queue and the handles share it.
struct CallSlot<F> {
    closure: Cell<Option<F>>,
    is_cancelled: Cell<bool>,
}

/// What a handle knows of a [`CallSlot`].
trait Cancel {
    fn cancel(&self);
    fn is_cancelled(&self) -> bool;
}

impl<F> Cancel for CallSlot<F> {
    fn cancel(&self) {
        if let Some(closure) = self.closure.take() {
            self.is_cancelled.set(true);
            drop(closure);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.get()
    }
}

fn slot<F: FnOnce() + 'static>(closure: F) -> (Rc<dyn Cancel>, impl FnOnce() + 'static) {
    let slot = Rc::new(CallSlot { closure: Cell::new(Some(closure)), is_cancelled: Cell::new(false) });
    let queued = Queued(slot.clone());
    let call = move || {
        if let Some(closure) = queued.0.closure.take() {
            closure();
        }
    };
    (slot, call)
}

/// The queue's share in a slot. Dropped without a turn, at the close of the loop, it drops the closure, though handles may live on.
struct Queued<F>(Rc<CallSlot<F>>);

impl<F> Drop for Queued<F> {
    fn drop(&mut self) {
        drop(self.0.closure.take());
    }
}

impl EventLoop {
    /// Has the loop call `callback` in its next iteration, after everything that is queued already: in the order of the registrations, each
    /// once. It is never called from inside of this.
    ///
    /// A panic in it is told to the exception handler, and the loop goes on. It runs in a copy of the current [`Context`](crate::Context), made now; for
    /// another one, register `move || context.run(callback)`. asyncio's arguments are what the closure captures.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`]; the closure is dropped.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    ///
    /// let event_loop = eddies::EventLoop::new()?;
    /// let log = Rc::new(RefCell::new(Vec::new()));
    /// for n in 1..=3 {
    ///     let log = log.clone();
    ///     event_loop.call_soon(move || log.borrow_mut().push(n))?;
    /// }
    /// assert!(log.borrow().is_empty());
    /// event_loop.stop();
    /// event_loop.run_forever()?;
    /// assert_eq!(*log.borrow(), [1, 2, 3]);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn call_soon(&self, callback: impl FnOnce() + 'static) -> Result<CallHandle, LoopClosed> {
        let registered_at = Location::caller();
        let (slot, call) = slot(callback);
        let is_open = self.with_worker("call_soon", |worker| worker.call_soon_local(call, registered_at))?;
        is_open.then_some(CallHandle(slot)).ok_or(LoopClosed::new("call_soon"))
    }

    /// Has the loop call `callback` when `delay` has passed; see [`call_at`](EventLoop::call_at). A delay too long for an `Instant` means a
    /// thousand years.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`]; the closure is dropped.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event_loop = eddies::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.call_later(Duration::from_millis(2), move || handle.stop())?;
    /// let never = event_loop.call_later(Duration::MAX, || unreachable!())?;
    /// event_loop.run_forever()?;
    /// never.cancel();
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn call_later(&self, delay: Duration, callback: impl FnOnce() + 'static) -> Result<TimerHandle, LoopClosed> {
        let now = self.time();
        let when = now.checked_add(delay).unwrap_or_else(|| now + FAR);
        self.register_at("call_later", when, callback, Location::caller())
    }

    /// Has the loop call `callback` in its first iteration that begins not before `when`. What is due in one iteration is called in the order of
    /// the deadlines, and among equal ones in that of the registrations.
    ///
    /// A `when` that has passed is legal: asyncio's negative delay. It is called in the next iteration, and its place is by its deadline too.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`]; the closure is dropped.
    #[track_caller]
    pub fn call_at(&self, when: Instant, callback: impl FnOnce() + 'static) -> Result<TimerHandle, LoopClosed> {
        self.register_at("call_at", when, callback, Location::caller())
    }

    fn register_at(
        &self,
        operation: &'static str,
        when: Instant,
        callback: impl FnOnce() + 'static,
        registered_at: &'static Location<'static>,
    ) -> Result<TimerHandle, LoopClosed> {
        let (slot, call) = slot(callback);
        let timed = self.with_worker(operation, |worker| {
            let timed = worker.call_at_local(when, call, registered_at)?;
            Some((timed, Rc::downgrade(worker.calls())))
        })?;
        let Some((timed, timers)) = timed else { return Err(LoopClosed::new(operation)) };
        Ok(TimerHandle { slot, timed, timers })
    }
}

/// A callback that was registered with [`EventLoop::call_soon`]. Dropping it does not cancel: see [`scoped`](CallHandle::scoped).
#[derive(Clone)]
pub struct CallHandle(Rc<dyn Cancel>);

impl CallHandle {
    /// Keeps the callback from being called, if it was not yet, and drops its closure now. Further calls do nothing.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// let call = event_loop.call_soon(|| unreachable!())?;
    /// call.cancel();
    /// assert!(call.cancelled());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it was cancelled before it was called.
    pub fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// A guard that cancels the callback when it is dropped.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// drop(event_loop.call_soon(|| unreachable!())?.scoped());
    /// event_loop.stop();
    /// event_loop.run_forever()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn scoped(self) -> ScopedCall {
        ScopedCall(Scoped::Call(self))
    }
}

impl fmt::Debug for CallHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallHandle").field("cancelled", &self.cancelled()).finish_non_exhaustive()
    }
}

/// A callback that was registered with [`EventLoop::call_later`] or [`EventLoop::call_at`]. Dropping it does not cancel.
#[derive(Clone)]
pub struct TimerHandle {
    slot: Rc<dyn Cancel>,
    timed: TimedCall,
    timers: Weak<CallTimers>,
}

impl TimerHandle {
    /// Keeps the callback from being called, if it was not yet, and drops its closure now. Nothing of it is left in the loop.
    pub fn cancel(&self) {
        self.slot.cancel();
        if let Some(timers) = self.timers.upgrade() {
            timers.cancel(self.timed);
        }
    }

    /// Whether it was cancelled before it was called.
    pub fn cancelled(&self) -> bool {
        self.slot.is_cancelled()
    }

    /// When it is, or was, due.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event_loop = eddies::EventLoop::new()?;
    /// let when = event_loop.time() + Duration::from_secs(1);
    /// assert_eq!(event_loop.call_at(when, || ())?.when(), when);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn when(&self) -> Instant {
        self.timed.when
    }

    /// A guard that cancels the callback when it is dropped.
    pub fn scoped(self) -> ScopedCall {
        ScopedCall(Scoped::Timer(self))
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerHandle")
            .field("when", &self.when())
            .field("cancelled", &self.cancelled())
            .finish_non_exhaustive()
    }
}

/// Cancels a callback when it is dropped: [`CallHandle::scoped`], [`TimerHandle::scoped`].
#[derive(Debug)]
#[must_use = "the callback is cancelled when the guard is dropped"]
pub struct ScopedCall(Scoped);

#[derive(Debug)]
enum Scoped {
    Call(CallHandle),
    Timer(TimerHandle),
}

impl Drop for ScopedCall {
    fn drop(&mut self) {
        match &self.0 {
            Scoped::Call(call) => call.cancel(),
            Scoped::Timer(timer) => timer.cancel(),
        }
    }
}
