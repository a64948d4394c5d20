//! A deadline that cancels: what is within it may clean up, and the deadline can be moved: asyncio's `timeout_at`.
//!
//! The body is polled within a scope that stands for the deadline (`crate::task::scope`). When the deadline passes, the scope is asked to end: the innermost
//! `catch_cancel` or group within takes that and unwinds; if there is none, the scope itself takes it, and the body is dropped. Nobody around hears of
//! it, and the task's count of cancellations stays what it was: there is nothing to tell apart from a foreign request, and nothing to take back.
//!
//! Of deadlines around each other that have passed at one instant only the outermost gives an error. So a scope whose time is over has the book look at the
//! deadlines around it, by the same reading of the clock, and leaves it to them.

use std::error::Error;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use pin_project_lite::pin_project;

use super::Sleep;
use crate::error::Elapsed;
use crate::scheduler::current;
use crate::task::scope::{Scope, SharedLimit, TimeLimit};

/// Runs what `body` makes until `when`, and then cancels it; `None` is never. The body is given its [`Deadline`], by which it, or whoever it gives a
/// clone, moves the deadline and looks at it.
///
/// At the deadline the body is cancelled as a task is: the innermost [`catch_cancel`](crate::catch_cancel) in it, or
/// [`task_group`](crate::task_group), drops its future, and what follows is the cleanup, which takes the time it takes. This waits for it. A body that
/// then lets the cancellation go on ([`resume_cancel`](crate::resume_cancel)) ends in [`Elapsed`]; one that gives a value after all has given a value.
/// A body that waits in no such scope is dropped.
///
/// | | [`timeout`](crate::timeout), [`timeout_at`](crate::timeout_at) | `with_deadline` |
/// |---|---|---|
/// | asyncio's | `wait_for`, as far as dropping can be it | `timeout`, `timeout_at`, `wait_for` |
/// | at the deadline | drops the future | cancels it, and waits until it has unwound |
/// | takes longer than its time | never | as long as the cleanup does |
/// | the future can refuse | no | yes, and then its value counts |
/// | can be moved | no | yes, from anywhere |
/// | of two at the same instant, one inside the other | the inner one gives the error | the outer one |
/// | needs | nothing | a little memory, and a lock that is its own for each poll |
///
/// The body is polled before the time is looked at: one that never waits is done, however long ago its deadline was. A deadline touches nothing but its
/// body: the task's own cancellation goes past it, to whoever is around, and counts as before. It works in a task and in a main future.
///
/// # Errors
///
/// [`Elapsed`] when the deadline has passed and the body was cancelled by that. If a deadline around this one has passed at the same instant, or the
/// task is cancelled, then that is what happens.
///
/// # Panics
///
/// Like [`Sleep`], when it has to wait outside a runtime, or in one that has shut down; and when polled again after it was ready.
///
/// # Cancel safety
///
/// That of the body: dropped from outside, it drops the body in the midst of its work.
///
/// ```
/// use std::time::Duration;
/// use eddies::{catch_cancel, resume_cancel, sleep, with_deadline};
///
/// let runtime = eddies::Runtime::builder().virtual_time(true).build()?;
/// runtime.block_on(async {
///     let second = Duration::from_secs(1);
///     let begin = eddies::now();
///     let outcome = with_deadline(begin + second, |_| async {
///         match catch_cancel(sleep(60 * second)).await {
///             Ok(()) => "slept well",
///             Err(cancelled) => {
///                 sleep(5 * second).await; // cleanup that takes its time
///                 resume_cancel(cancelled).await
///             }
///         }
///     });
///     assert!(outcome.await.is_err());
///     assert_eq!(eddies::now() - begin, 6 * second);
///
///     // So long as there is progress, there is more time.
///     let outcome = with_deadline(eddies::now() + second, |deadline| async move {
///         for _ in 0..10 {
///             sleep(second / 2).await;
///             deadline.reschedule(eddies::now() + second).unwrap();
///         }
///         "done"
///     });
///     assert_eq!(outcome.await, Ok("done"));
/// });
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
#[doc(alias("timeout", "move_on_after", "fail_after"))]
pub fn with_deadline<F, B>(when: impl Into<Option<Instant>>, body: F) -> WithDeadline<B::IntoFuture>
where
    F: FnOnce(Deadline) -> B,
    B: IntoFuture,
{
    let limit = TimeLimit::new(when.into());
    let body = body(Deadline { limit: limit.clone() }).into_future();
    WithDeadline { body: Some(body), scope: None, limit, sleep: None, made_at: Location::caller() }
}

/// A deadline that can be moved, see [`with_deadline`]. Any thread; cheap to clone.
#[derive(Clone)]
pub struct Deadline {
    limit: SharedLimit,
}

impl Deadline {
    /// When it is; `None` is never.
    ///
    /// ```
    /// eddies::run(async {
    ///     let never = eddies::with_deadline(None, |deadline| async move { deadline.when() });
    ///     assert_eq!(never.await, Ok(None));
    /// });
    /// ```
    pub fn when(&self) -> Option<Instant> {
        self.limit.lock().when()
    }

    /// Whether it has passed before the body was done. It stays so.
    ///
    /// ```
    /// use std::time::Duration;
    /// use eddies::{catch_cancel, sleep, with_deadline};
    ///
    /// eddies::run(async {
    ///     let outcome = with_deadline(eddies::now() + Duration::from_millis(1), |deadline| async move {
    ///         let part = catch_cancel(sleep(Duration::from_secs(3600))).await;
    ///         (part.is_ok(), deadline.expired())
    ///     });
    ///     assert_eq!(outcome.await, Ok((false, true)));
    /// });
    /// ```
    pub fn expired(&self) -> bool {
        self.limit.lock().has_expired()
    }

    /// Moves it; `None` is never. One in the past takes effect where the body waits next.
    ///
    /// # Errors
    ///
    /// [`RescheduleRefused`]: it has passed and the body is being cancelled, or what it was for is over.
    ///
    /// ```
    /// use std::time::Duration;
    /// use eddies::{sleep, with_deadline};
    ///
    /// eddies::run(async {
    ///     let outcome = with_deadline(eddies::now() + Duration::from_millis(1), |deadline| async move {
    ///         deadline.reschedule(None).unwrap();
    ///         sleep(Duration::from_millis(3)).await;
    ///         deadline
    ///     });
    ///     let deadline = outcome.await.unwrap();
    ///     assert!(deadline.reschedule(eddies::now()).is_err(), "too late");
    /// });
    /// ```
    pub fn reschedule(&self, when: impl Into<Option<Instant>>) -> Result<(), RescheduleRefused> {
        let (when, mut limit) = (when.into(), self.limit.lock());
        let Some(waker) = limit.reschedule(when) else {
            return Err(RescheduleRefused { expired: limit.has_expired() });
        };
        drop(limit);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit.lock();
        let state = match (limit.has_expired(), limit.is_over()) {
            (false, false) => "active",
            (true, false) => "expiring",
            (true, true) => "expired",
            (false, true) => "finished",
        };
        f.debug_struct("Deadline").field("when", &limit.when()).field("state", &format_args!("{state}")).finish()
    }
}

/// A deadline cannot be moved any more.
///
/// ```
/// let error = eddies::run(async {
///     let deadline = eddies::with_deadline(None, |deadline| async { deadline }).await.unwrap();
///     deadline.reschedule(None).unwrap_err()
/// });
/// assert!(!error.expired());
/// assert_eq!(error.to_string(), "the deadline cannot be moved: what it was for is over");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RescheduleRefused {
    expired: bool,
}

impl RescheduleRefused {
    /// Whether that is because it has passed.
    pub fn expired(&self) -> bool {
        self.expired
    }
}

impl fmt::Display for RescheduleRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.expired { "it has passed" } else { "what it was for is over" };
        write!(f, "the deadline cannot be moved: {why}")
    }
}

impl Error for RescheduleRefused {}

pin_project! {
    /// The future of [`with_deadline`].
    #[must_use = "futures do nothing unless polled"]
    pub struct WithDeadline<B> {
        // Dropped before the scope: scopes within it leave first. `None` when it is done.
        #[pin]
        body: Option<B>,
        scope: Option<Scope>,
        limit: SharedLimit,
        // `None` before the first poll that had to wait, and while there is no deadline.
        sleep: Option<Sleep>,
        made_at: &'static Location<'static>,
    }

    impl<B> PinnedDrop for WithDeadline<B> {
        fn drop(this: Pin<&mut Self>) {
            let waker = this.project().limit.lock().end();
            drop(waker);
        }
    }
}

impl<B: Future> Future for WithDeadline<B> {
    type Output = Result<B::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut me = self.project();
        let body = me.body.as_mut().as_pin_mut().expect("`WithDeadline` was polled again after it was ready");
        if me.scope.as_ref().is_some_and(|scope| !scope.is_here()) {
            // The future has moved to another task.
            *me.scope = None;
        }
        let scope = me.scope.get_or_insert_with(|| Scope::enter(Some(me.limit.clone())));
        let outcome = match scope.poll_within(body, cx) {
            Poll::Ready(output) => Ok(output),
            Poll::Pending => {
                if let Some(now) = poll_expired(me.limit, me.sleep, me.made_at, cx) {
                    scope.expire(now);
                }
                if scope.is_due() && scope.is_outdone() {
                    // A deadline around this one has passed too, or the task is cancelled. If in the end nobody takes that, this is polled again.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if scope.take().or_else(|| scope.take_unheard(cx)).is_none() {
                    return Poll::Pending;
                }
                Err(Elapsed::new())
            }
        };
        let waker = me.limit.lock().end();
        drop(waker);
        me.body.set(None);
        *me.scope = None;
        *me.sleep = None;
        Poll::Ready(outcome)
    }
}

/// What time it is, if the deadline has passed. Not generic, so there is one of it for all bodies.
fn poll_expired(
    limit: &SharedLimit,
    sleep: &mut Option<Sleep>,
    made_at: &'static Location<'static>,
    cx: &mut Context<'_>,
) -> Option<Instant> {
    let waker = cx.waker().clone();
    let (when, old) = limit.lock().wait(waker);
    drop(old);
    let Some(when) = when else {
        *sleep = None;
        return None;
    };
    let sleep = sleep.get_or_insert_with(|| Sleep::new(when, made_at));
    if sleep.deadline() != when {
        sleep.reset(when);
    }
    let is_over = sleep.poll_elapsed(cx, None).is_ready();
    is_over.then(|| current::now().max(when))
}

impl<B> fmt::Debug for WithDeadline<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Deadline { limit: self.limit.clone() }.fmt(f)
    }
}
