//! The scope in which a task's cancellation is caught: asyncio's `try: .. except CancelledError`.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::frame;
use super::join::TaskHandle;
use crate::error::Cancelled;

/// Runs `future` as a scope in which a cancellation of the calling task can be caught.
///
/// When the task is cancelled (see [`Task::cancel`](crate::TaskHandle::cancel)) while it waits here, `future` is dropped, and the scope gives
/// [`Cancelled`]; the task goes on. What follows is its cleanup, in which it may await anything; it then ends with whatever value it likes, or refuses
/// and goes on with its work. Dropping takes the place of Python's `finally`, for what needs no waiting.
///
/// Scopes nest: the innermost that waits catches it. Of several that wait beside each other, as under [`gather`](crate::gather), each does.
/// A request takes effect where the task waits. One made before, by the task itself or while it ran, takes effect at its next wait: a `future`
/// that is ready at once is not cancelled. One made while the task waits wins over a wake-up that came first: `future` is not polled again, and what had
/// arrived for it is handed on by its destructor.
///
/// Outside of a task, in the main future of `block_on` for instance, nobody can ask, and the scope is just `future`.
///
/// # Errors
///
/// [`Cancelled`], with the reason that was given. Whoever does not mean to refuse returns soon after it.
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

/// An entry in the book of a task; it goes with this value.
#[derive(Debug)]
struct Scope {
    task: TaskHandle,
    number: u64,
}

impl Scope {
    /// Enters a scope in the task that this thread runs.
    fn enter() -> Option<Scope> {
        let task = TaskHandle::running()?;
        let number = task.cancellation().lock().enter(frame::scope());
        Some(Scope { task, number })
    }

    fn is_of_this_task(&self) -> bool {
        frame::with_task(|task| task.is_some_and(|task| std::ptr::eq(task, self.task.header())))
    }

    /// Takes the request that the scope is due for, if it is.
    fn take(&self) -> Option<Cancelled> {
        let mut book = self.task.cancellation().lock();
        book.is_due(self.number).then(|| book.take(self.number))
    }

    /// Takes the request that the scope is due for, or waits to be woken for one (N2).
    fn take_or_wait(&self, cx: &Context<'_>) -> Option<Cancelled> {
        let waker = cx.waker().clone();
        let mut book = self.task.cancellation().lock();
        if book.is_due(self.number) {
            let cancelled = book.take(self.number);
            drop(book);
            return Some(cancelled);
        }
        let old = book.wait(self.number, waker);
        drop(book);
        drop(old);
        None
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let waker = self.task.cancellation().lock().leave(self.number);
        drop(waker);
    }
}

impl<F: Future> Future for CatchCancel<F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        if me.scope.as_ref().is_some_and(|scope| !scope.is_of_this_task()) {
            // The future has moved to another task.
            *me.scope = None;
        }
        let cancelled = match &*me.scope {
            Some(scope) => scope.take(),
            None => {
                *me.scope = Scope::enter();
                None
            }
        };
        let cancelled = match cancelled {
            Some(cancelled) => Some(cancelled),
            None => {
                let _leave = frame::enter_scope(me.scope.as_ref().map_or(0, |scope| scope.number));
                let future =
                    me.future.as_mut().as_pin_mut().expect("`catch_cancel` was polled again after it was ready");
                match future.poll(cx) {
                    Poll::Ready(output) => {
                        me.future.set(None);
                        *me.scope = None;
                        return Poll::Ready(Ok(output));
                    }
                    Poll::Pending => me.scope.as_ref().and_then(|scope| scope.take_or_wait(cx)),
                }
            }
        };
        match cancelled {
            None => Poll::Pending,
            Some(cancelled) => {
                me.future.set(None);
                *me.scope = None;
                Poll::Ready(Err(cancelled))
            }
        }
    }
}
