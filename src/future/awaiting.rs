//! Awaiting a [`LoopFuture`]: as many times as one likes, by as many as like.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::completion::Place;
use super::failure::FutureError;
use super::loop_future::LoopFuture;
use crate::TaskHandle;

/// One await of a [`LoopFuture`]. Ready at its first poll when the future is done; and, with an error, where the wait would have no end: with
/// [`FutureError::AwaitsItself`] in the very task that the future stands for, and with [`FutureError::OtherLoop`] when its task belongs to an event
/// loop of this thread that does not run.
///
/// # Cancel safety
///
/// Dropping it loses nothing and cancels nothing; the future can be awaited again.
#[must_use = "futures do nothing unless polled"]
pub struct Awaiting<T> {
    future: LoopFuture<T>,
    /// The place among those who wait, from the first poll that had to.
    place: Option<Place>,
    /// The task that waits, and the number of the wait there; from the first poll that had to wait, if a task made it.
    wait: Option<(TaskHandle, u64)>,
}

impl<T> Awaiting<T> {
    fn new(future: LoopFuture<T>) -> Self {
        Awaiting { future, place: None, wait: None }
    }

    fn end_wait(&mut self) {
        if let Some((task, number)) = self.wait.take() {
            task.end_wait(number);
        }
    }
}

impl<T> Unpin for Awaiting<T> {}

impl<T: Clone> Future for Awaiting<T> {
    type Output = Result<T, FutureError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.get_mut();
        // No unit of the poll's budget is asked for: what is done is read, not waited for, and does not suspend.
        let was_waiting = me.place.is_some();
        if me.future.poll_finished(&mut me.place, cx.waker()) {
            me.end_wait();
            return Poll::Ready(me.future.result());
        }
        if !was_waiting {
            let current = crate::current_task();
            if let Some(error) = me.future.wait_in_vain(current.as_ref()) {
                me.future.leave(&mut me.place);
                return Poll::Ready(Err(error));
            }
            if let Some(current) = current {
                let number = current.begin_wait(me.future.task(), me.future.made_at());
                me.wait = Some((current, number));
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Awaiting<T> {
    fn drop(&mut self) {
        self.future.leave(&mut self.place);
        self.end_wait();
    }
}

impl<T> fmt::Debug for Awaiting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Awaiting").field("is_finished", &self.future.is_finished()).finish_non_exhaustive()
    }
}

impl<T: Clone> IntoFuture for LoopFuture<T> {
    type Output = Result<T, FutureError>;
    type IntoFuture = Awaiting<T>;

    fn into_future(self) -> Awaiting<T> {
        Awaiting::new(self)
    }
}

impl<T: Clone> IntoFuture for &LoopFuture<T> {
    type Output = Result<T, FutureError>;
    type IntoFuture = Awaiting<T>;

    fn into_future(self) -> Awaiting<T> {
        Awaiting::new(self.clone())
    }
}
