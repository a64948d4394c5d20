//! The scope in which a cancellation is caught, and the way to let it go on: asyncio's `try: .. except CancelledError: .. raise`.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::join;
use super::scope::{PassedOn, Scope, put_back};
use crate::error::Cancelled;

/// Runs `future` as a scope in which a cancellation of the calling task can be caught.
///
/// When the task is cancelled (see [`cancel`](crate::TaskHandle::cancel)) while it waits here, `future` is dropped, and the scope gives
/// [`Cancelled`]; the task goes on. What follows is its cleanup, in which it may await anything; it then ends with whatever value it likes, or refuses
/// and goes on with its work. Dropping takes the place of Python's `finally`, for what needs no waiting.
///
/// Scopes nest: the innermost that waits catches it. Of several that wait beside each other, as under [`gather`](crate::gather), each does.
/// A request takes effect where the task waits. One made before, by the task itself or while it ran, takes effect at its next wait: a `future`
/// that is ready at once is not cancelled. One made while the task waits wins over a wake-up that came first: `future` is not polled again, and what had
/// arrived for it is handed on by its destructor.
///
/// A [task group](crate::task_group) or a [deadline](crate::with_deadline) that ends what is within it asks in the same way, but only there: the innermost
/// scope within it catches, those around it hear nothing.
///
/// Outside of a task, in the main future of `block_on` for instance, only these two can ask; within neither, the scope is just `future`.
///
/// # Errors
///
/// [`Cancelled`], with the reason that was given. Whoever does not mean to refuse returns soon after it, or lets it go on with
/// [`resume_cancel`].
///
/// # Cancel safety
///
/// That of `future`.
///
/// ```
/// use std::time::Duration;
///
/// eddies::run(async {
///     let (said, heard) = eddies::sync::oneshot();
///     let task = eddies::spawn(async move {
///         let caught = eddies::catch_cancel(async move {
///             let _ = said.send("waiting");
///             eddies::sleep(Duration::from_secs(3600)).await;
///         })
///         .await;
///         let cancelled = caught.unwrap_err();
///         eddies::sleep(Duration::from_millis(1)).await; // cleanup that takes its time
///         format!("cleaned up: {cancelled}")
///     });
///     assert_eq!(heard.await, Ok("waiting"));
///     task.cancel("enough");
///     assert_eq!(task.await.unwrap(), "cleaned up: cancelled: enough");
/// });
/// ```
pub fn catch_cancel<F: IntoFuture>(future: F) -> CatchCancel<F::IntoFuture> {
    CatchCancel { future: Some(future.into_future()), scope: None }
}

pin_project! {
    /// The future of [`catch_cancel`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct CatchCancel<F> {
        // Dropped before the scope: scopes within it leave first.
        #[pin]
        future: Option<F>,
        scope: Option<Scope>,
    }
}

impl<F: Future> Future for CatchCancel<F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        if me.scope.as_ref().is_some_and(|scope| !scope.is_here()) {
            // The future has moved to another task.
            *me.scope = None;
        }
        let caught = match &*me.scope {
            Some(scope) => scope.take(),
            None => {
                *me.scope = Scope::enter_if_any();
                None
            }
        };
        let caught = match caught {
            Some(caught) => Some(caught),
            None => {
                let future =
                    me.future.as_mut().as_pin_mut().expect("`catch_cancel` was polled again after it was ready");
                let poll = match &*me.scope {
                    Some(scope) => scope.poll_within(future, cx),
                    None => future.poll(cx),
                };
                match poll {
                    Poll::Ready(output) => {
                        me.future.set(None);
                        *me.scope = None;
                        return Poll::Ready(Ok(output));
                    }
                    Poll::Pending => me.scope.as_ref().and_then(|scope| scope.take_or_wait(cx)),
                }
            }
        };
        match caught {
            None => Poll::Pending,
            Some(caught) => {
                me.future.set(None);
                *me.scope = None;
                Poll::Ready(Err(caught.cancelled))
            }
        }
    }
}

/// Lets a cancellation that was caught go on, once the cleanup is done: Python's `raise` at the end of `except CancelledError`. It never gives a value:
/// the scope around takes it, a group or a deadline that had asked takes it as unwound, and if nobody is around, the task ends as cancelled.
///
/// It is not another request: [`Task::cancelling`](crate::TaskHandle::cancelling) stays as it is. Where none of those who had asked is around any
/// more (the value was carried to another task, or out of the group, or the request was withdrawn), it is a new request to the calling task.
///
/// # Panics
///
/// When polled outside of a task, with a cancellation that was not caught there.
///
/// # Cancel safety
///
/// There is nothing to lose.
///
/// ```
/// use eddies::{catch_cancel, resume_cancel};
///
/// eddies::run(async {
///     let (said, heard) = eddies::sync::oneshot();
///     let task = eddies::spawn(async move {
///         let work = async {
///             let _ = said.send("waiting");
///             std::future::pending::<u32>().await
///         };
///         match catch_cancel(work).await {
///             Ok(value) => value,
///             Err(cancelled) => {
///                 eddies::yield_now().await; // cleanup
///                 resume_cancel(cancelled).await
///             }
///         }
///     });
///     assert_eq!(heard.await, Ok("waiting"));
///     task.cancel("enough");
///     assert_eq!(task.await.unwrap_err().to_string(), "the task was cancelled: enough");
/// });
/// ```
pub fn resume_cancel<T>(cancelled: Cancelled) -> ResumeCancel<T> {
    ResumeCancel { cancelled, stage: Stage::New, output: PhantomData }
}

/// The future of [`resume_cancel`].
#[must_use = "futures do nothing unless polled"]
pub struct ResumeCancel<T> {
    cancelled: Cancelled,
    stage: Stage,
    output: PhantomData<fn() -> T>,
}

/// How far the cancellation has gone on.
enum Stage {
    New,
    /// Those around whom it was for will take it.
    PassedOn(PassedOn),
    /// It was asked for anew.
    Asked,
}

impl<T> Future for ResumeCancel<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let passed = match &self.stage {
            Stage::New => put_back(&self.cancelled),
            Stage::PassedOn(passed) if passed.is_withdrawn() => None,
            Stage::PassedOn(_) | Stage::Asked => return Poll::Pending,
        };
        match passed {
            Some(passed) => {
                self.stage = Stage::PassedOn(passed);
                // The task may have no scope that takes it: its runner looks before the next poll.
                cx.waker().wake_by_ref();
            }
            None => {
                self.stage = Stage::Asked;
                let task = join::current_task();
                let task = task.expect(
                    "`resume_cancel` was given a cancellation outside of any task, where nobody can be cancelled",
                );
                task.cancel(self.cancelled.reason());
            }
        }
        Poll::Pending
    }
}

impl<T> fmt::Debug for ResumeCancel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResumeCancel").field(&self.cancelled).finish()
    }
}
