//! Which of these tasks are finished.

use std::borrow::BorrowMut;
use std::fmt;
use std::future::{Future, Pending, pending};
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::children::Woken;
use crate::Task;
use crate::coop;
use crate::error::TaskError;
use crate::time::{Timeout, timeout};

/// How long [`wait`] waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Until a task is finished, in whatever way.
    FirstCompleted,
    /// Until a task has panicked, or all are finished. As in asyncio a cancelled task is no exception. An `Err` that a task returns is a
    /// value like others here: that it means a failure, `wait` cannot know; see [`try_gather`](crate::try_gather) for that.
    FirstException,
    /// Until all are finished.
    All,
}

/// Waits until tasks are finished, and divides them into those that are and those that are not.
///
/// Returns `(finished, unfinished)`, each in the order of the arguments (asyncio gives sets, which have none). The outputs stay in the
/// tasks: a finished one is ready when awaited, and [`Task::result`] looks into it. With [`When::FirstCompleted`] more than one may be
/// finished.
///
/// The tasks are given back as they came: handles, or `&mut` handles. No task is ever aborted by this, and the end of the time is no error:
/// when `limit` has passed since the first poll that had to wait, the tasks that finished until then are given with the rest.
///
/// Waiting again and again for the first of many costs a look at each of them every time; [`as_completed`](crate::as_completed) does not.
///
/// # Panics
///
/// When there are no tasks: nothing would ever finish, and a loop around it would spin. (asyncio raises a `ValueError`.) With a limit the
/// future panics like [`Sleep`](crate::time::Sleep) when it has to wait outside a runtime. Polling it after it was ready panics.
///
/// # Cancel safety
///
/// Dropping it drops the handles that it was given: the tasks run on, detached. Nothing is lost when it was given `&mut` handles.
///
/// ```
/// use std::future::pending;
/// use eddies::When;
///
/// eddies::run(async {
///     let mut quick = eddies::spawn(async { 7 });
///     let mut never = eddies::spawn(pending());
///     let tasks = [&mut never, &mut quick];
///     let (done, rest) = eddies::wait(tasks, When::FirstCompleted, None).await;
///     assert_eq!((done.len(), rest.len()), (1, 1));
///     assert_eq!(quick.await.unwrap(), 7);
///     never.abort();
/// });
/// ```
#[track_caller]
pub fn wait<T, H>(tasks: impl IntoIterator<Item = H>, until: When, limit: Option<Duration>) -> Wait<T, H>
where
    H: BorrowMut<Task<T>>,
{
    let tasks: Vec<H> = tasks.into_iter().collect();
    assert!(!tasks.is_empty(), "`wait` was given no tasks, so there is nothing to wait for");
    Wait {
        woken: Woken::new(tasks.len()),
        seen: vec![false; tasks.len()],
        left: tasks.len(),
        tasks,
        until,
        // Made here, and not around the wait: the tasks have to be given back when the time is over.
        limit: limit.map(|limit| timeout(limit, pending())),
        output: PhantomData,
    }
}

/// The future of [`wait`].
#[must_use = "futures do nothing unless polled"]
pub struct Wait<T, H> {
    woken: Woken,
    /// Empty when they were given back.
    tasks: Vec<H>,
    /// Whether a task was found finished, by its number.
    seen: Vec<bool>,
    /// How many were not.
    left: usize,
    until: When,
    limit: Option<Timeout<Pending<()>>>,
    output: PhantomData<fn() -> T>,
}

impl<T, H> Unpin for Wait<T, H> {}

impl<T, H: BorrowMut<Task<T>>> Wait<T, H> {
    /// Looks at the tasks that were woken. Whether the wait is over.
    fn look(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..self.woken.begin(cx.waker()) {
            let Some(child) = self.woken.next() else { break };
            let task = self.tasks[child].borrow_mut();
            if self.seen[child] || !task.poll_complete(self.woken.waker(child)) {
                continue;
            }
            self.seen[child] = true;
            self.left -= 1;
            let over = match self.until {
                When::FirstCompleted => true,
                When::FirstException => matches!(task.result(), Some(Err(TaskError::Panicked(_)))),
                When::All => false,
            };
            if over {
                return true;
            }
        }
        self.left == 0
    }

    /// Whether the time is over.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.limit {
            Some(limit) => Pin::new(limit).poll(cx).map(|_| ()),
            None => Poll::Pending,
        }
    }
}

impl<T, H: BorrowMut<Task<T>>> Future for Wait<T, H> {
    type Output = (Vec<H>, Vec<H>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.get_mut();
        assert!(!me.tasks.is_empty(), "`Wait` was polled after it had given its tasks back");
        let unit = ready!(coop::poll_proceed(cx));
        if me.look(cx) {
            unit.made_progress();
        } else {
            drop(unit);
            ready!(me.poll_limit(cx));
        }
        // Also those count that finished after they were looked at.
        Poll::Ready(mem::take(&mut me.tasks).into_iter().partition(|task| task.borrow().is_finished()))
    }
}

impl<T, H> fmt::Debug for Wait<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wait({:?}, {} of {} left)", self.until, self.left, self.seen.len())
    }
}
