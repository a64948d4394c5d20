//! A future with a time limit.
//!
//! The inner future is polled first and the clock is read only if it had to wait, so the most frequent timeout, one whose future is ready,
//! costs next to nothing. Neither does one that is dropped in the poll that began it: the time starts when that poll of the task is over
//! (see [`fresh_timer`]). That is at the first poll, as with all that is lazy in a future (and as in asyncio's
//! `wait_for`). Whoever wants the time to run from elsewhere says so with [`timeout_at`].

use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::{Armed, Sleep, after};
use crate::coop;
use crate::error::Elapsed;
use crate::scheduler::{current, fresh_timer};

/// The end of a time limit.
#[derive(Debug)]
enum Limit {
    /// So long after the first poll that had to wait; made by the call at this place. The time runs, or is about to, if it is armed.
    After(Duration, &'static Location<'static>, Armed),
    /// Until then.
    At(Sleep),
}

impl Limit {
    /// Ready when the time is over. Not generic, so there is one of it for all futures.
    fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Limit::At(sleep) => sleep.poll_elapsed(cx, None),
            Limit::After(duration, _, armed @ Armed(None)) => {
                armed.0 = fresh_timer::keep_back_for(*duration, cx.waker());
                if armed.0.is_some() { Poll::Pending } else { self.poll_with_deadline(cx) }
            }
            Limit::After(..) => self.poll_with_deadline(cx),
        }
    }

    /// From here on there is a deadline: that of the timer, or counted from now.
    fn poll_with_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = current::now();
        let mut sleep = match self {
            Limit::At(sleep) => return sleep.poll_elapsed(cx, Some(now)),
            Limit::After(duration, made_at, armed) => {
                let armed = Armed(armed.0.take());
                let deadline = armed.0.as_ref().and_then(|place| {
                    fresh_timer::settle(place);
                    place.home.timers.deadline(place.key)
                });
                Sleep { armed, ..Sleep::new(deadline.unwrap_or_else(|| after(now, *duration)), made_at) }
            }
        };
        let poll = sleep.poll_elapsed(cx, Some(now));
        *self = Limit::At(sleep);
        poll
    }

    /// The same within the budget, unless the future that was polled before is what used it up: then a future that always uses up its
    /// budget could not be timed out.
    fn poll(&mut self, cx: &mut Context<'_>, had_budget: bool) -> Poll<()> {
        if !had_budget {
            // Only asks for a unit: it is taken below.
            drop(ready!(coop::poll_proceed(cx)));
        }
        ready!(self.poll_elapsed(cx));
        coop::spend();
        Poll::Ready(())
    }
}

pin_project! {
    /// A future with a time limit: see [`timeout`] and [`timeout_at`].
    ///
    /// # Panics
    ///
    /// Like [`Sleep`], when it has to wait outside a runtime, or in one that has shut down.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        limit: Limit,
    }
}

impl<F> Timeout<F> {
    /// The future inside.
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future inside.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// The future inside, without its limit.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let limited = eddies::timeout(Duration::from_secs(1), async { 7 });
    /// assert_eq!(eddies::run(limited.into_inner()), 7);
    /// ```
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.project();
        let had_budget = coop::has_budget();
        if let Poll::Ready(output) = me.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        me.limit.poll(cx, had_budget).map(|()| Err(Elapsed::new()))
    }
}

/// Gives `future` so much time, from its first poll on (precisely: from the end of the poll of the task in which it first returned Pending; a
/// computation that follows in the same poll is not counted).
///
/// To have it clean up when the time is over, or to move the deadline, there is [`with_deadline`](crate::with_deadline), with a table of what differs.
///
/// The future is polled before the time is looked at: what is ready in the same poll in which its time runs out counts as ready. A future
/// that is ready at its first poll costs no look at the clock.
///
/// # Errors
///
/// [`Elapsed`] when the time is over. The future is not polled again; it is dropped with the [`Timeout`].
///
/// # Cancel safety
///
/// That of the future inside: when the time is over, it is dropped in the midst of its work.
///
/// ```
/// use std::future;
/// use std::time::Duration;
///
/// eddies::run(async {
///     assert_eq!(eddies::timeout(Duration::from_secs(1), async { 7 }).await, Ok(7));
///     let never = eddies::timeout(Duration::from_millis(2), future::pending::<()>());
///     assert!(never.await.is_err());
/// });
/// ```
#[track_caller]
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), limit: Limit::After(duration, Location::caller(), Armed(None)) }
}

/// Gives `future` time until `deadline`. It is polled once even when that has passed.
///
/// # Errors
///
/// [`Elapsed`] when the deadline has passed. The future is not polled again; it is dropped with the [`Timeout`].
///
/// # Cancel safety
///
/// That of the future inside: when the time is over, it is dropped in the midst of its work.
///
/// ```
/// use std::future;
/// use std::time::Duration;
///
/// eddies::run(async {
///     // One limit for two steps.
///     let deadline = eddies::now() + Duration::from_millis(2);
///     assert_eq!(eddies::timeout_at(deadline, async { 7 }).await, Ok(7));
///     assert!(eddies::timeout_at(deadline, future::pending::<()>()).await.is_err());
/// });
/// ```
#[track_caller]
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), limit: Limit::At(Sleep::new(deadline, Location::caller())) }
}
