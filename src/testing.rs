//! For tests of async code: knowing when everything that could happen has happened.
//!
//! A test starts tasks, lets them go as far as they can, looks at what they have done, gives the next push. "As far as they can" is
//! [`wait_all_blocked`]: it needs no sleep that is hopefully long enough, and no count of yields. Time is moved in the same way, with a virtual
//! clock: see [`time::advance`](crate::time::advance) and [virtual time](crate::time#virtual-time).
//!
//! ```
//! use eddies::sync::Lock;
//! use eddies::testing::wait_all_blocked;
//! use std::sync::Arc;
//!
//! let runtime = eddies::Runtime::builder().workers(1).build()?;
//! runtime.block_on(async {
//!     let lock = Arc::new(Lock::new(0));
//!     let mut guard = lock.lock().await;
//!     let of_task = lock.clone();
//!     let task = eddies::spawn(async move { *of_task.lock().await });
//!     // The task stands at the lock, and nowhere else.
//!     wait_all_blocked().await;
//!     assert!(!task.is_finished());
//!     *guard = 7;
//!     drop(guard);
//!     assert_eq!(task.await.unwrap(), 7);
//! });
//! # std::io::Result::Ok(())
//! ```

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::scheduler::current;

/// Waits until every other task of the runtime is blocked: nothing is queued, no socket has become ready, no timer is due. What has been woken,
/// and what that has woken, has run by then. (trio's `wait_all_tasks_blocked`.)
///
/// Blocked is also who waits for a job of the blocking pool, for bytes that are still under way, or for a timer: a virtual clock does not
/// move before this returns. Several tasks may wait for it at once, and do not keep each other from being blocked. A task that yields in a
/// loop is never blocked.
///
/// It is for a runtime of one worker and no spare ones, with a clock of either kind: with several, "nothing runs" is over before anybody can
/// hear of it.
///
/// # Panics
///
/// When polled in a runtime with more loops than one, or on a thread that is not in its runtime's loop.
///
/// # Cancel safety
///
/// Dropping the future loses nothing but the wait.
#[track_caller]
pub fn wait_all_blocked() -> WaitAllBlocked {
    WaitAllBlocked { since: None, made_at: Location::caller() }
}

/// The future of [`wait_all_blocked`].
#[must_use = "futures do nothing unless polled"]
pub struct WaitAllBlocked {
    /// How often the loop had stood still at the first poll.
    since: Option<u64>,
    /// The call that made it, for messages.
    made_at: &'static Location<'static>,
}

impl Future for WaitAllBlocked {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        current::with_worker(|worker| match worker {
            Some(worker) if worker.is_alone() => worker.home().standstill.poll_reached(&mut self.since, cx.waker()),
            Some(_) => panic!(
                "`eddies::testing::wait_all_blocked`, called at {}, is for a runtime of one worker and no spare ones, and this one has more: \
                 write `#[eddies::test]`, or `Runtime::builder().workers(1)`",
                self.made_at
            ),
            None => panic!(
                "`eddies::testing::wait_all_blocked`, called at {}, was polled on a thread that runs no loop: wait for it in a task, or in the \
                 future given to `Runtime::block_on`",
                self.made_at
            ),
        })
    }
}

impl fmt::Debug for WaitAllBlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitAllBlocked")
            .field("is_waiting", &self.since.is_some())
            .field("made_at", &format_args!("{}", self.made_at))
            .finish()
    }
}
