//! A standing callback: one that a loop calls again and again, whenever something happens, until it is removed. Readers, writers and signal
//! handlers in asyncio's sense are made of it.
//!
//! It is served by an unlisted task of its own, so it runs on its loop's thread, in the same queue as everything else there, and ends with the
//! loop. Who registered it keeps the only lasting reference, in a table of the thread; the task has a weak one:
//!
//! - removing drops the callback at once, together with what it captured, unless it is running: then when it returns;
//! - after that it is not called any more, even if what it waits for has happened already and its task is about to run;
//! - when the task ends first (its loop closes, its source fails), it says so, and the table forgets the callback.
//!
//! A panic in a callback is told to the exception handler, and the callback is called again the next time. One call a turn of the loop: a
//! callback whose event persists does not keep others waiting.

use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use crate::Task;
use crate::loom::Arc;
use crate::report::{self, Exception};
use crate::scheduler::current;
use crate::spawn::{spawn_unlisted, yield_now};

/// A callback with the task that calls it. On its loop's thread only.
pub(crate) struct Standing {
    callback: RefCell<Box<dyn FnMut()>>,
    /// Set right after it is made.
    task: OnceCell<Task<()>>,
}

/// The loop is closed: it takes no new callback.
pub(crate) struct Closed;

/// Which loop this thread runs, as long as that loop lives. `None`: none.
pub(crate) fn loop_here() -> Option<usize> {
    current::with_worker(|worker| worker.map(|worker| Arc::as_ptr(worker.home()).addr()))
}

/// Tells who keeps the callback that its task has ended.
struct AtEnd<F: FnOnce(&Weak<Standing>)>(Option<F>, Weak<Standing>);

impl<F: FnOnce(&Weak<Standing>)> Drop for AtEnd<F> {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(&self.1);
        }
    }
}

impl Standing {
    /// Calls `callback` on this thread's loop, which [`loop_here`] says there is, each time `wait` is ready with `true`, until the answer is
    /// dropped, `wait` is ready with `false`, or the loop closes. In the last two cases `at_end` is called.
    pub(crate) fn start(
        callback: Box<dyn FnMut()>,
        registered_at: &'static Location<'static>,
        mut wait: impl FnMut(&mut Context<'_>) -> Poll<bool> + 'static,
        at_end: impl FnOnce(&Weak<Standing>) + 'static,
    ) -> Result<Rc<Standing>, Closed> {
        let standing = Rc::new(Standing { callback: RefCell::new(callback), task: OnceCell::new() });
        let at_end = AtEnd(Some(at_end), Rc::downgrade(&standing));
        let serving = async move {
            let at_end = at_end;
            while poll_fn(&mut wait).await {
                let Some(standing) = at_end.1.upgrade() else { return };
                standing.call(registered_at);
                drop(standing);
                yield_now().await;
            }
        };
        let task = spawn_unlisted(serving, registered_at).ok_or(Closed)?;
        let _ = standing.task.set(task);
        Ok(standing)
    }

    fn call(&self, registered_at: &'static Location<'static>) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (self.callback.borrow_mut())())) {
            report::report(&Exception::of_callback(&*payload, registered_at));
            report::drop_payload(payload);
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests;
