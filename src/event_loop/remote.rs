//! An event loop, as other threads use it.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::coop;
use crate::error::{LoopClosed, TaskError};
use crate::runtime::LoopHandle;
use crate::scheduler::{current, signal};
use crate::task::Task;

/// User code never runs under these locks, so a poisoned one is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A closure until it is called or cancelled, by whichever thread comes first.
struct RemoteSlot<F> {
    state: Mutex<RemoteState<F>>,
}

struct RemoteState<F> {
    closure: Option<F>,
    is_cancelled: bool,
}

impl<F> RemoteSlot<F> {
    fn take(&self) -> Option<F> {
        lock(&self.state).closure.take()
    }
}

/// The queue's share in a slot. Dropped without a turn it drops the closure, though handles may live on.
struct Queued<F>(Arc<RemoteSlot<F>>);

impl<F> Drop for Queued<F> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

trait RemoteCancel: Send + Sync {
    fn cancel(&self);
    fn is_cancelled(&self) -> bool;
}

impl<F: Send> RemoteCancel for RemoteSlot<F> {
    fn cancel(&self) {
        let closure = {
            let mut state = lock(&self.state);
            let closure = state.closure.take();
            state.is_cancelled |= closure.is_some();
            closure
        };
        drop(closure);
    }

    fn is_cancelled(&self) -> bool {
        lock(&self.state).is_cancelled
    }
}

/// A callback that was registered with [`LoopHandle::call_soon_threadsafe`]. Any thread may cancel it. Dropping it does not.
#[derive(Clone)]
pub struct RemoteCallHandle(Arc<dyn RemoteCancel>);

impl RemoteCallHandle {
    /// Keeps the callback from being called, if it was not yet, and drops its closure here and now. Further calls do nothing.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it was cancelled before it was called.
    pub fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl fmt::Debug for RemoteCallHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteCallHandle").field("cancelled", &self.cancelled()).finish_non_exhaustive()
    }
}

impl LoopHandle {
    /// Has the event loop call `callback` in one of its next iterations, and wakes it if it waits. Any thread; on the loop's own it is
    /// [`call_soon`](crate::EventLoop::call_soon), in the same order. The callbacks of one thread keep their order.
    ///
    /// A plain [`Runtime`](crate::Runtime) calls it on its loop 0, which is that of the thread in `block_on`.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`]; the closure is dropped.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// std::thread::spawn(move || {
    ///     let stopper = handle.clone();
    ///     handle.call_soon_threadsafe(move || stopper.stop())
    /// });
    /// event_loop.run_forever()?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn call_soon_threadsafe(
        &self,
        callback: impl FnOnce() + Send + 'static,
    ) -> Result<RemoteCallHandle, LoopClosed> {
        let state = RemoteState { closure: Some(callback), is_cancelled: false };
        let slot = Arc::new(RemoteSlot { state: Mutex::new(state) });
        let queued = Queued(slot.clone());
        let is_open = self.shared().at(0).call_soon(move || {
            if let Some(closure) = queued.0.take() {
                closure();
            }
        });
        if is_open { Ok(RemoteCallHandle(slot)) } else { Err(LoopClosed::new("call_soon_threadsafe")) }
    }

    /// Spawns a task on the loop, for a thread that is no part of it and wants to wait for the output.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`]; the future is dropped.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event_loop = eddies::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// let thread = std::thread::spawn(move || {
    ///     let sum = handle.run_coroutine_threadsafe(async { 1 + 2 }).unwrap();
    ///     let sum = sum.wait_timeout(Duration::from_secs(10)).unwrap();
    ///     handle.stop();
    ///     sum.unwrap()
    /// });
    /// event_loop.run_forever()?;
    /// assert_eq!(thread.join().unwrap(), 3);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn run_coroutine_threadsafe<F>(&self, future: F) -> Result<RemoteTask<F::Output>, LoopClosed>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        if self.is_closed() {
            return Err(LoopClosed::new("run_coroutine_threadsafe"));
        }
        Ok(RemoteTask { task: self.spawn(future), home: self.clone(), made_at: Location::caller() })
    }

    /// Has the run of the event loop that is on, or else the next one, end after its iteration; see [`EventLoop::stop`](crate::EventLoop::stop).
    /// Nothing happens in a plain [`Runtime`](crate::Runtime), whose `block_on` ends with its future.
    pub fn stop(&self) {
        self.shared().at(0).signal(signal::STOP);
    }

    /// Has the run that is on, or else the next one, end at once; see [`EventLoop::interrupt`](crate::EventLoop::interrupt).
    pub fn interrupt(&self) {
        self.shared().at(0).signal(signal::INTERRUPT);
    }

    /// Whether the event loop is closed, or the runtime shut down.
    pub fn is_closed(&self) -> bool {
        self.shared().is_closing()
    }
}

/// A task of an event loop, awaited by blocking a thread that is no part of it: [`LoopHandle::run_coroutine_threadsafe`].
///
/// Dropping it detaches the task, which runs on. In async code use [`into_task`](RemoteTask::into_task).
#[must_use = "dropping it detaches the task"]
pub struct RemoteTask<T> {
    task: Task<T>,
    home: LoopHandle,
    made_at: &'static Location<'static>,
}

impl<T> RemoteTask<T> {
    /// Blocks the thread until the task is finished, and gives its output.
    ///
    /// # Errors
    ///
    /// The inner one is the task's: cancelled, also by the close of its loop, or panicked.
    ///
    /// # Panics
    ///
    /// On a thread that runs a loop, and on the thread of the event loop itself, where nobody would be left to run it.
    pub fn wait(self) -> Result<T, TaskError> {
        match self.block(None) {
            Ok(output) => output,
            Err(_) => unreachable!("there is no limit of time"),
        }
    }

    /// Blocks the thread until the task is finished, but not longer than `timeout`.
    ///
    /// # Errors
    ///
    /// The task itself, when the time is up: it runs on, and can be waited for again or cancelled.
    ///
    /// # Panics
    ///
    /// On a thread that runs a loop, and on the thread of the event loop itself, where nobody would be left to run it.
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<T, TaskError>, RemoteTask<T>> {
        self.block(Instant::now().checked_add(timeout))
    }

    /// Asks the task to end; `false`: it is finished. See [`TaskHandle::cancel`](crate::TaskHandle::cancel).
    pub fn cancel<'a>(&self, reason: impl Into<Option<&'a str>>) -> bool {
        self.task.cancel(reason)
    }

    /// Whether the task is finished.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// The task, to be awaited.
    pub fn into_task(self) -> Task<T> {
        self.task
    }

    fn block(mut self, deadline: Option<Instant>) -> Result<Result<T, TaskError>, Self> {
        assert!(
            !current::is_driving(),
            "this thread runs an event loop and must not block for the task made at {}, which nobody might be left to run: `.await` it with \
             `into_task`",
            self.made_at
        );
        assert!(
            self.task.is_finished() || !self.home.shared().rests_here(),
            "the task made at {} belongs to this thread's event loop, which does not run while the thread waits: give the future to \
             `run_until_complete` instead",
            self.made_at
        );
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(bell.clone());
        loop {
            let poll = || Pin::new(&mut self.task).poll(&mut Context::from_waker(&waker));
            if let Poll::Ready(output) = coop::without_budget(poll) {
                return Ok(output);
            }
            if !bell.wait(deadline) {
                return Err(self);
            }
        }
    }
}

impl<T> fmt::Debug for RemoteTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTask").field("task", &self.task).finish()
    }
}

/// Wakes a thread that blocks.
#[derive(Default)]
struct Bell {
    has_rung: Mutex<bool>,
    rings: Condvar,
}

impl Bell {
    /// Waits for the next ring; `false`: the deadline has come first.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut has_rung = lock(&self.has_rung);
        while !std::mem::take(&mut *has_rung) {
            let Some(deadline) = deadline else {
                has_rung = self.rings.wait(has_rung).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            has_rung = self.rings.wait_timeout(has_rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *lock(&self.has_rung) = true;
        self.rings.notify_one();
    }
}
