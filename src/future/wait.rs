//! Which of these tasks and futures are finished.

use std::fmt;
use std::future::{Future, Pending, pending};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use super::children::Woken;
use super::completion::Place;
use super::loop_future::LoopFuture;
use crate::coop;
use crate::error::TaskError;
use crate::time::{Timeout, timeout};
use crate::{Task, TaskHandle};

/// How long [`wait`] waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Until a task is finished, in whatever way.
    FirstCompleted,
    /// Until a task has panicked, a [`LoopFuture`] was answered with an error, or all are finished. As in asyncio a cancelled task is no
    /// exception. An `Err` that a task returns is a value like others here: that it means a failure, `wait` cannot know; see
    /// [`Task::try_share`] or [`try_gather`](crate::try_gather) for that.
    FirstException,
    /// Until all are finished.
    All,
}

/// Waits until tasks, or [`LoopFuture`]s, are finished, and divides them into those that are and those that are not.
///
/// Returns `(finished, unfinished)`, each in the order of the arguments (asyncio gives sets, which have none). The outputs stay in the
/// tasks: a finished one is ready when awaited, and [`Task::result`] looks into it. With [`When::FirstCompleted`] more than one may be
/// finished.
///
/// The tasks are given back as they came: handles, or `&mut` handles, or any handles of `LoopFuture`s. Nothing is read: an error that is in
/// one of them is still to be found. No task is ever aborted by this, and the end of the time is no error:
/// when `limit` has passed since the first poll that had to wait, the tasks that finished until then are given with the rest.
///
/// A task that waits for itself among others is not noticed, since nothing is read: it is among the unfinished.
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
pub fn wait<H: Waitable>(tasks: impl IntoIterator<Item = H>, until: When, limit: Option<Duration>) -> Wait<H> {
    let tasks: Vec<Listed<H>> = tasks.into_iter().map(Listed::new).collect();
    assert!(!tasks.is_empty(), "`wait` was given no tasks, so there is nothing to wait for");
    Wait {
        woken: Woken::new(tasks.len()),
        seen: vec![false; tasks.len()],
        left: tasks.len(),
        tasks,
        until,
        // Made here, and not around the wait: the tasks have to be given back when the time is over.
        limit: limit.map(|limit| timeout(limit, pending())),
    }
}

/// A handle that [`wait`] can wait for: a [`Task`] or `&mut Task`, a [`LoopFuture`] or a reference to one.
///
/// It cannot be implemented outside of this crate.
#[expect(private_bounds, reason = "nobody else can implement it")]
pub trait Waitable: Wakeful {}

impl<H: Wakeful> Waitable for H {}

/// What [`Waitable`] hides.
trait Wakeful {
    fn is_finished(&self) -> bool;

    /// Whether it is finished. If not, `waker` is woken when it is; `place` is where that is kept, if not in the handle.
    fn poll_finished(&mut self, place: &mut Option<Place>, waker: &Waker) -> bool;

    /// Whether it ended with what asyncio would call an exception. It is finished.
    fn has_failed(&mut self) -> bool;

    /// Nobody waits any more.
    fn leave(&self, place: &mut Option<Place>);
}

impl<T> Wakeful for Task<T> {
    fn is_finished(&self) -> bool {
        TaskHandle::is_finished(self)
    }

    fn poll_finished(&mut self, _: &mut Option<Place>, waker: &Waker) -> bool {
        self.poll_complete(waker)
    }

    fn has_failed(&mut self) -> bool {
        matches!(self.result(), Some(Err(TaskError::Panicked(_))))
    }

    /// The task keeps one waker, which the next one replaces.
    fn leave(&self, _: &mut Option<Place>) {}
}

impl<T> Wakeful for &mut Task<T> {
    fn is_finished(&self) -> bool {
        TaskHandle::is_finished(self)
    }

    fn poll_finished(&mut self, place: &mut Option<Place>, waker: &Waker) -> bool {
        Wakeful::poll_finished(*self, place, waker)
    }

    fn has_failed(&mut self) -> bool {
        Wakeful::has_failed(*self)
    }

    fn leave(&self, _: &mut Option<Place>) {}
}

impl<T> Wakeful for LoopFuture<T> {
    fn is_finished(&self) -> bool {
        LoopFuture::is_finished(self)
    }

    fn poll_finished(&mut self, place: &mut Option<Place>, waker: &Waker) -> bool {
        LoopFuture::poll_finished(self, place, waker)
    }

    fn has_failed(&mut self) -> bool {
        LoopFuture::has_failed(self)
    }

    fn leave(&self, place: &mut Option<Place>) {
        LoopFuture::leave(self, place);
    }
}

impl<T> Wakeful for &LoopFuture<T> {
    fn is_finished(&self) -> bool {
        LoopFuture::is_finished(self)
    }

    fn poll_finished(&mut self, place: &mut Option<Place>, waker: &Waker) -> bool {
        LoopFuture::poll_finished(self, place, waker)
    }

    fn has_failed(&mut self) -> bool {
        LoopFuture::has_failed(self)
    }

    fn leave(&self, place: &mut Option<Place>) {
        LoopFuture::leave(self, place);
    }
}

/// A handle, and its place among those who wait for what it names.
struct Listed<H: Wakeful> {
    /// `None` when it was given back.
    handle: Option<H>,
    place: Option<Place>,
}

impl<H: Wakeful> Listed<H> {
    fn new(handle: H) -> Self {
        Listed { handle: Some(handle), place: None }
    }

    /// Gives the handle back.
    fn unlist(mut self) -> Option<H> {
        self.leave();
        self.handle.take()
    }

    fn leave(&mut self) {
        if let Some(handle) = &self.handle {
            handle.leave(&mut self.place);
        }
    }
}

impl<H: Wakeful> Drop for Listed<H> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The future of [`wait`].
#[must_use = "futures do nothing unless polled"]
#[expect(private_bounds, reason = "see `Waitable`")]
pub struct Wait<H: Wakeful> {
    woken: Woken,
    /// Empty when they were given back.
    tasks: Vec<Listed<H>>,
    /// Whether a task was found finished, by its number.
    seen: Vec<bool>,
    /// How many were not.
    left: usize,
    until: When,
    limit: Option<Timeout<Pending<()>>>,
}

impl<H: Wakeful> Unpin for Wait<H> {}

#[expect(private_bounds, reason = "see `Waitable`")]
impl<H: Wakeful> Wait<H> {
    /// Looks at the tasks that were woken. Whether the wait is over.
    fn look(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..self.woken.begin(cx.waker()) {
            let Some(child) = self.woken.next() else { break };
            let Listed { handle: Some(task), place } = &mut self.tasks[child] else { continue };
            if self.seen[child] || !task.poll_finished(place, self.woken.waker(child)) {
                continue;
            }
            self.seen[child] = true;
            self.left -= 1;
            let over = match self.until {
                When::FirstCompleted => true,
                When::FirstException => task.has_failed(),
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

impl<H: Wakeful> Future for Wait<H> {
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
        Poll::Ready(mem::take(&mut me.tasks).into_iter().filter_map(Listed::unlist).partition(H::is_finished))
    }
}

impl<H: Wakeful> fmt::Debug for Wait<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wait({:?}, {} of {} left)", self.until, self.left, self.seen.len())
    }
}
