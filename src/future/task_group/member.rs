//! A child of a group: the future that wraps it, and the handle that names it.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::group_error::{ChildError, Failure};
use crate::error::TaskError;
use crate::future::roster::{Ending, Roster};
use crate::{Task, TaskHandle};

/// A group's roster, as it is shared.
pub(super) type SharedRoster<E> = Arc<Roster<Failure<E>, TaskHandle>>;

/// Cancels those who are left, without the lock.
pub(super) fn carry_out(ending: Ending<TaskHandle>) {
    for child in &ending.children {
        child.cancel(ending.reason.reason());
    }
    if let Some(waker) = ending.waker {
        waker.wake();
    }
}

/// Calls `f` and catches its panic.
pub(super) fn caught<T>(f: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(f))
}

/// A place in the set of a group, until it is dropped (G1).
pub(super) struct Membership<E> {
    roster: SharedRoster<E>,
    number: u64,
}

impl<E> Membership<E> {
    pub(super) fn new(roster: SharedRoster<E>, number: u64) -> Self {
        Membership { roster, number }
    }

    fn fail(&self, failure: Failure<E>) {
        let reason = match &failure {
            Failure::Error(_) => "another task of the group failed",
            Failure::Panicked(_) => "another task of the group panicked",
        };
        carry_out(self.roster.fail(failure, self.number, reason));
    }
}

impl<E> Drop for Membership<E> {
    fn drop(&mut self) {
        if let Some(waker) = self.roster.leave(self.number) {
            waker.wake();
        }
    }
}

pin_project! {
    /// What a child's task runs. Its output is `None` when the child failed and the group has been told.
    pub(super) struct Member<F, E> {
        // `None` when it is done.
        #[pin]
        future: Option<F>,
        // Dropped after the future. `None` when it is done.
        membership: Option<Membership<E>>,
    }

    impl<F, E> PinnedDrop for Member<F, E> {
        fn drop(this: Pin<&mut Self>) {
            let me = this.project();
            end(me.future, me.membership, None);
        }
    }
}

/// Drops the future, reports what went wrong, and only then leaves the set.
fn end<F, E>(mut future: Pin<&mut Option<F>>, membership: &mut Option<Membership<E>>, failure: Option<Failure<E>>) {
    let dropped = caught(|| future.set(None));
    let Some(membership) = membership.take() else { return };
    failure.into_iter().for_each(|failure| membership.fail(failure));
    if let Err(payload) = dropped {
        membership.fail(Failure::panicked(payload));
    }
}

impl<F, E> Member<F, E> {
    pub(super) fn new(future: F, membership: Membership<E>) -> Self {
        Member { future: Some(future), membership: Some(membership) }
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for Member<F, E> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut me = self.project();
        let Some(future) = me.future.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let (value, failure) = match caught(|| future.poll(cx)) {
            Ok(poll) => match ready!(poll) {
                Ok(value) => (Some(value), None),
                Err(error) => (None, Some(Failure::Error(error))),
            },
            Err(payload) => (None, Some(Failure::panicked(payload))),
        };
        end(me.future, me.membership, failure);
        Poll::Ready(value)
    }
}

/// A task in a group, and the way to its value. Dropping it leaves the task in the group.
///
/// Awaiting it gives the value. An error that the task gives goes to the group, and so does a panic; what is given here then is
/// [`ChildError::Failed`]. It can be cancelled by itself, which is no failure.
///
/// # Cancel safety
///
/// As with [`Task`]: a `&mut Child` can be dropped while it is awaited, and awaited again.
///
/// ```
/// use eddies::task_group;
///
/// eddies::run(async {
///     let outcome = task_group(|group| async move {
///         let child = group.spawn(async { Ok::<_, std::io::Error>(6 * 7) });
///         Ok(child.await.unwrap())
///     });
///     assert_eq!(outcome.await.unwrap(), 42);
/// });
/// ```
pub struct Child<T> {
    task: Task<Option<T>>,
}

impl<T> Child<T> {
    pub(super) fn new(task: Task<Option<T>>) -> Self {
        Child { task }
    }
}

/// What can be asked of any task.
impl<T> Deref for Child<T> {
    type Target = TaskHandle;

    fn deref(&self) -> &TaskHandle {
        &self.task
    }
}

impl<T> Future for Child<T> {
    type Output = Result<T, ChildError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.task).poll(cx));
        Poll::Ready(match outcome {
            Ok(Some(value)) => Ok(value),
            Err(TaskError::Cancelled(cancelled)) => Err(ChildError::Cancelled(cancelled)),
            Ok(None) | Err(TaskError::Panicked(_)) => Err(ChildError::Failed),
        })
    }
}

impl<T> fmt::Debug for Child<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.task.fmt(f)
    }
}
