//! A condition: tasks that hold a lock wait for a change of what it guards.
//!
//! The waiter enters the list before it lets go of the lock, so whoever changes the value under that lock finds it. Once notified it
//! locks again; a waiter that is cancelled between the two hands a notice that was meant for one on to the next (N1).

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;

use super::lock::LockGuard;
use super::wait_list::{Wait, WaitList, Waiter, Wakes};
use crate::loom::Mutex;

/// A place to wait for a change of what a [`Lock`](super::Lock) guards: asyncio's `Condition`.
///
/// As with [`std::sync::Condvar`], the lock stands beside it and its guard is handed in and out, so one lock can have several conditions,
/// and waiting without the lock cannot be written.
///
/// ```
/// use std::sync::Arc;
/// use eddies::sync::{Condition, Lock};
///
/// eddies::run(async {
///     let shared = Arc::new((Lock::new(0), Condition::new()));
///     let other = shared.clone();
///     let task = eddies::spawn(async move {
///         let (lock, changed) = &*other;
///         *lock.lock().await = 7;
///         changed.notify_all();
///     });
///     let (lock, changed) = &*shared;
///     let guard = changed.wait_for(lock.lock().await, |value| *value == 7).await;
///     assert_eq!(*guard, 7);
///     drop(guard);
///     task.await.unwrap();
/// });
/// ```
pub struct Condition {
    /// Any thread.
    waiters: Mutex<WaitList<Notice>>,
}

/// Whom a notice was meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notice {
    /// For one: whoever does not use it hands it on.
    One,
    /// For all, each got its own.
    All,
}

struct UntilNotified;

impl Waiter for UntilNotified {
    type State = WaitList<Notice>;
    type Grant = Notice;
    type Output = Notice;

    fn list(state: &mut WaitList<Notice>) -> &mut WaitList<Notice> {
        state
    }

    fn try_now(&mut self, _: &mut WaitList<Notice>, _: &mut Wakes) -> Option<Notice> {
        None
    }

    fn claim(&mut self, notice: Notice, _: &mut WaitList<Notice>, _: &mut Wakes) -> Notice {
        notice
    }

    fn left(&mut self, notice: Option<Notice>, state: &mut WaitList<Notice>, wakes: &mut Wakes) {
        if notice == Some(Notice::One) {
            // Nobody else waits: then the notice ends here, as one does that finds no waiter.
            let _ = state.grant(Notice::One, wakes);
        }
    }
}

/// A notice that was collected and not yet used. Dropping it hands it on (N1).
struct Unused<'a> {
    condition: &'a Condition,
    notice: Notice,
}

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        if self.notice == Notice::One {
            self.condition.notify(1);
        }
    }
}

impl Condition {
    /// A condition on which nobody waits.
    ///
    /// ```
    /// let condition = eddies::sync::Condition::new();
    /// condition.notify_all(); // Nobody is there: it has no effect.
    /// ```
    pub fn new() -> Self {
        Condition { waiters: Mutex::new(WaitList::new()) }
    }

    /// Unlocks, waits for a notice, and locks again.
    ///
    /// The value may have changed again by then, and a waiter may be woken though somebody else used the change: look again, or use
    /// [`wait_for`](Condition::wait_for).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the lock unlocked. A notice for one that had reached it goes to the next waiter.
    ///
    /// ```
    /// use eddies::sync::{Condition, Lock};
    ///
    /// async fn pop(stack: &Lock<Vec<u32>>, filled: &Condition) -> u32 {
    ///     let mut guard = stack.lock().await;
    ///     loop {
    ///         match guard.pop() {
    ///             Some(item) => return item,
    ///             None => guard = filled.wait(guard).await,
    ///         }
    ///     }
    /// }
    ///
    /// assert_eq!(eddies::run(pop(&Lock::new(vec![1]), &Condition::new())), 1);
    /// ```
    pub async fn wait<'a, T>(&self, guard: LockGuard<'a, T>) -> LockGuard<'a, T> {
        let lock = guard.source();
        let mut guard = Some(guard);
        let mut wait = Wait::new(&self.waiters, UntilNotified);
        let notice = poll_fn(|cx| {
            let poll = Pin::new(&mut wait).poll(cx);
            // Not before it is listed: a poll that was out of budget is not.
            if wait.is_listed() {
                guard = None;
            }
            poll
        })
        .await;
        let mut unused = Unused { condition: self, notice };
        let guard = lock.lock().await;
        unused.notice = Notice::All;
        guard
    }

    /// Waits until `holds` says yes of the value, looking before the first wait and after each notice.
    ///
    /// # Cancel safety
    ///
    /// As with [`wait`](Condition::wait).
    ///
    /// ```
    /// use eddies::sync::{Condition, Lock};
    ///
    /// eddies::run(async {
    ///     let (lock, changed) = (Lock::new(3), Condition::new());
    ///     let guard = changed.wait_for(lock.lock().await, |value| *value > 2).await;
    ///     assert_eq!(*guard, 3);
    /// });
    /// ```
    pub async fn wait_for<'a, T>(
        &self,
        mut guard: LockGuard<'a, T>,
        mut holds: impl FnMut(&mut T) -> bool,
    ) -> LockGuard<'a, T> {
        while !holds(&mut guard) {
            guard = self.wait(guard).await;
        }
        guard
    }

    /// Notifies the first `count` waiters. Any thread, with the lock or without; changes of the value need the lock anyway.
    ///
    /// ```
    /// eddies::sync::Condition::new().notify(2);
    /// ```
    pub fn notify(&self, count: usize) {
        let mut wakes = Wakes::new();
        let mut waiters = self.waiters.lock();
        for _ in 0..count {
            if waiters.grant(Notice::One, &mut wakes).is_err() {
                break;
            }
        }
        drop(waiters);
        wakes.wake();
    }

    /// Notifies the first waiter.
    ///
    /// ```
    /// eddies::sync::Condition::new().notify_one();
    /// ```
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Notifies all waiters.
    ///
    /// ```
    /// eddies::sync::Condition::new().notify_all();
    /// ```
    pub fn notify_all(&self) {
        let mut wakes = Wakes::new();
        self.waiters.lock().grant_all(&mut wakes, || Notice::All);
        wakes.wake();
    }
}

impl Default for Condition {
    fn default() -> Self {
        Condition::new()
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiters.lock().waiting();
        f.debug_struct("Condition").field("waiting", &waiting).finish()
    }
}
