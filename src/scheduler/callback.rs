//! Callbacks: closures that a loop runs once, in the order of their registration.
//!
//! A callback *is* a task that never waits: its future calls the closure at its first poll. So it lies in the queue that local tasks lie in,
//! nobody steals it, and of callbacks and local tasks the one that came first runs first; a wake-up, too, is a place in that queue. What
//! another thread registers comes through the inbox of that queue. Nothing is ever called inline, not even on the loop's own thread.
//!
//! Callbacks are linked in registries of their own: nobody is shown them among the tasks, and the shutdown drops those that had no turn.
//! There are two. What is `Send` may be dropped anywhere, and where a thread leaves its seat the next one in it runs the callback. What is not
//! stays on the thread it was made on, and is dropped there when that thread leaves the seat, as local tasks are.
//!
//! A panic ends in the exception handler, with the place of the registration, and the loop goes on.

use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use super::LoopShared;
use super::call_timers::TimedCall;
use super::worker::Worker;
use crate::loom::Arc;
use crate::report::{self, Exception};
use crate::task::{Context, Spawn};

/// The future of a callback.
struct Callback<F> {
    /// Taken by the first poll, which is the last.
    closure: Option<F>,
    registered_at: &'static Location<'static>,
}

impl<F> Unpin for Callback<F> {}

impl<F: FnOnce()> Future for Callback<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<()> {
        if let Some(closure) = self.closure.take()
            && let Err(payload) = catch_unwind(AssertUnwindSafe(closure))
        {
            report::report(&Exception::of_callback(&*payload, self.registered_at));
            report::drop_payload(payload);
        }
        Poll::Ready(())
    }
}

impl LoopShared {
    /// Has the loop call `callback` in one of its next iterations, after everything that was queued before. Any thread.
    ///
    /// `false`: the loop is closed, and the callback was dropped.
    #[track_caller]
    pub(crate) fn call_soon(self: &Arc<Self>, callback: impl FnOnce() + Send + 'static) -> bool {
        let registered_at = Location::caller();
        let callback = Callback { closure: Some(callback), registered_at };
        self.spawn_callback(callback, Spawn::at(registered_at))
    }

    /// [`call_soon`](LoopShared::call_soon) for a callback that was registered elsewhere, where `context` was a copy of the current context, or that
    /// was empty; it has waited for something until now.
    pub(crate) fn call_soon_from(
        self: &Arc<Self>,
        callback: impl FnOnce() + Send + 'static,
        registered_at: &'static Location<'static>,
        context: Option<Context>,
    ) -> bool {
        // With nothing said it would be a copy of the context here.
        let context = context.or_else(|| Context::inherited().map(|_| Context::new()));
        let callback = Callback { closure: Some(callback), registered_at };
        self.spawn_callback(callback, Spawn { context, ..Spawn::at(registered_at) })
    }
}

impl Worker {
    /// [`LoopShared::call_soon`] for a closure that stays on this thread, which is the one in the loop's seat.
    pub(crate) fn call_soon_local(
        &self,
        callback: impl FnOnce() + 'static,
        registered_at: &'static Location<'static>,
    ) -> bool {
        let callback = Callback { closure: Some(callback), registered_at };
        self.spawn_unlisted(callback, Spawn::at(registered_at)).is_some()
    }

    /// Has the loop call `callback` in its first iteration not before `when`. `None`: the loop is closed, and the callback was dropped.
    pub(crate) fn call_at_local(
        &self,
        when: Instant,
        callback: impl FnOnce() + 'static,
        registered_at: &'static Location<'static>,
    ) -> Option<TimedCall> {
        let callback = Callback { closure: Some(callback), registered_at };
        let (runnable, task) = self.make_unlisted(callback, Spawn::at(registered_at))?;
        drop(task);
        Some(self.calls().insert(when, runnable))
    }
}
