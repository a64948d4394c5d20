//! Waiting for time to pass: [`sleep`], [`timeout`], [`with_deadline`], [`interval`].
//!
//! Time is [`std::time::Instant`]. The resolution is one millisecond: nothing here is ever early, and a loop that is not busy is about one
//! millisecond late. Each event loop keeps the timers of the tasks that first waited on it. A task that has moved to another worker since
//! still waits through its first loop's timers, and where that loop is held up by a long poll, another one fires them. One that is polled in
//! another runtime moves there.
//!
//! A timer costs nothing before it has to wait: making a [`Sleep`] registers nothing, and a [`timeout`] around a future that is ready at
//! once does not even read the clock. Nor does one that is dropped in the same poll of its task, though it had to wait: what a task waits for is registered
//! when its poll is over. Dropping a timer takes it out at once, from whatever thread.
//!
//! # Order
//!
//! Timers of one loop that are due at the same instant fire in the order in which they were first waited for; one that was
//! [`reset`](Sleep::reset) comes last. An earlier deadline fires before a later one, except that two within the same millisecond of a real clock
//! count as one instant. Firing wakes a task. Tasks of a loop are
//! polled in the order in which they were woken, but local tasks and others take turns, and other workers steal.
//!
//! # Far and past deadlines
//!
//! Every deadline is legal. One that has passed is due now. A duration too long for an `Instant`, [`Duration::MAX`] for instance, means a
//! deadline a thousand years away.
//!
//! # Virtual time
//!
//! A test of a timeout of an hour need not take one. A runtime built with [`Builder::virtual_time`](crate::Builder::virtual_time), or
//! `#[eddies::test(virtual_time)]`, has a clock of its own, by which everything in this module goes: [`now`], sleeps, timeouts, intervals, and what is
//! built on them. It begins at the machine's present, and stands still while anything runs. When nothing has anything left to do, it jumps
//! to the next deadline. So timers fire in the order of their deadlines, exactly on them (to the nanosecond), and computing takes no time.
//!
//! - While a job of the blocking pool is queued or runs, the clock waits for it.
//! - Sockets live in real time. If tasks wait for any and one was used in the last 5 ms of the machine's time, the clock waits until 5 ms have
//!   passed in which none was: what comes over the loopback interface comes before a timeout. A slower peer needs [`hold_clock`].
//! - Of a thread, process or machine that the runtime did not start the clock knows nothing: without `hold_clock` it does not wait for it. With no
//!   timer waiting, there is nothing to jump to, and the loop sleeps until it is woken from outside.
//! - A main future on a second thread that blocks on the same runtime does not hold the clock while it runs.
//! - [`advance`] moves the clock by hand, [`testing::wait_all_blocked`](crate::testing::wait_all_blocked) says when all that could happen at this
//!   instant has happened.
//! - The clock ends 584 years after it began. What is due later, [`Duration::MAX`] for instance, never is.
//!
//! An [`Instant`] that was read outside of the runtime is the machine's, which is ahead of the clock by the time since the runtime was built: compare
//! only what comes from [`now`] inside, and make sleeps inside, as `block_on(async { sleep(hour).await })`.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! let begin = Instant::now();
//! let runtime = eddies::Runtime::builder().virtual_time(true).build()?;
//! runtime.block_on(async {
//!     let day = Duration::from_secs(86_400);
//!     let (begin, task) = (eddies::now(), eddies::spawn(eddies::sleep(day)));
//!     assert!(eddies::timeout(day / 2, task).await.is_err());
//!     assert_eq!(eddies::now() - begin, day / 2);
//! });
//! assert!(begin.elapsed() < Duration::from_secs(60));
//! # std::io::Result::Ok(())
//! ```
//!
//! ```
//! use std::time::Duration;
//!
//! eddies::run(async {
//!     let begin = eddies::now();
//!     eddies::sleep(Duration::from_millis(5)).await;
//!     assert!(begin.elapsed() >= Duration::from_millis(5));
//! });
//! ```

mod deadline;
mod interval;
mod timeout;
mod virtual_time;

pub use deadline::{Deadline, RescheduleRefused, WithDeadline, with_deadline};
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use timeout::{Timeout, timeout, timeout_at};
pub use virtual_time::{ClockHold, advance, hold_clock, is_virtual};

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::coop::poll_proceed;
use crate::reactor::timer::{Due, Polled};
use crate::scheduler::current;
use crate::scheduler::fresh_timer::{self, TimerPlace};

/// Stands in for a duration that no `Instant` can hold: a thousand years.
const FAR: Duration = Duration::from_secs(1_000 * 365 * 86_400);

/// `duration` after `begin`, or [`FAR`] when that is no `Instant`.
fn after(begin: Instant, duration: Duration) -> Instant {
    begin.checked_add(duration).unwrap_or_else(|| begin + FAR)
}

/// The present, by the clock that everything in this module goes by: [`Instant::now`], or the virtual clock of the runtime that this thread is
/// inside of.
///
/// ```
/// let begin = eddies::now();
/// assert!(eddies::now() >= begin);
/// ```
pub fn now() -> Instant {
    current::now()
}

/// Waits for `duration` from now: the time starts with this call, not with the first poll.
///
/// # Panics
///
/// Not here. Waiting for the [`Sleep`] outside a runtime panics.
///
/// # Cancel safety
///
/// Dropping the future loses nothing but the wait.
///
/// ```
/// use std::time::Duration;
///
/// eddies::run(async {
///     let begin = eddies::now();
///     eddies::sleep(Duration::from_millis(2)).await;
///     assert!(begin.elapsed() >= Duration::from_millis(2));
/// });
/// ```
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::new(after(current::now(), duration), Location::caller())
}

/// Waits until `deadline`; one that has passed is ready at once.
///
/// # Panics
///
/// Not here. Waiting for the [`Sleep`] outside a runtime panics.
///
/// # Cancel safety
///
/// Dropping the future loses nothing but the wait.
///
/// ```
/// use std::time::Duration;
///
/// eddies::run(async {
///     let deadline = eddies::now() + Duration::from_millis(2);
///     eddies::sleep_until(deadline).await;
///     assert!(eddies::now() >= deadline);
/// });
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::new(deadline, Location::caller())
}

/// A wait for a deadline: the future of [`sleep`] and [`sleep_until`].
///
/// It can be polled again after it was ready, and then is ready again, until it is [`reset`](Sleep::reset).
///
/// # Panics
///
/// A poll that has to wait panics on a thread that is inside no runtime, and when the runtime has shut down. The message names the call
/// that made the timer.
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    /// When it is due.
    deadline: Instant,
    /// The call that made it, for messages.
    made_at: &'static Location<'static>,
    /// Where it waits; nowhere before the first poll that had to wait, and when it has fired.
    armed: Armed,
}

/// An entry in the timers of a loop, or none. Taken out when this is dropped.
struct Armed(Option<TimerPlace>);

impl Armed {
    /// Takes the timer out.
    #[inline]
    fn cancel(&mut self) {
        if let Some(place) = self.0.take() {
            fresh_timer::cancel(place);
        }
    }
}

impl Drop for Armed {
    #[inline]
    fn drop(&mut self) {
        self.cancel();
    }
}

impl fmt::Debug for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Armed").field(&self.0.as_ref().map(|place| place.key)).finish()
    }
}

impl Sleep {
    fn new(deadline: Instant, made_at: &'static Location<'static>) -> Self {
        Sleep { deadline, made_at, armed: Armed(None) }
    }

    /// When it is due.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let deadline = eddies::now() + Duration::from_secs(1);
    /// assert_eq!(eddies::sleep_until(deadline).deadline(), deadline);
    /// ```
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the deadline has passed. Reads the clock.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// assert!(eddies::sleep(Duration::ZERO).is_elapsed());
    /// assert!(!eddies::sleep(Duration::from_secs(60)).is_elapsed());
    /// ```
    pub fn is_elapsed(&self) -> bool {
        let now = self.armed.0.as_ref().map_or_else(current::now, |place| place.home.clock.now());
        now >= self.deadline
    }

    /// Changes the deadline, before or after it was due. A task that waits keeps waiting, now for the new deadline: it need not poll again.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// eddies::run(async {
    ///     let mut idle = eddies::sleep(Duration::from_secs(3600));
    ///     let deadline = eddies::now() + Duration::from_millis(2);
    ///     idle.reset(deadline);
    ///     idle.await;
    ///     assert!(eddies::now() >= deadline);
    /// });
    /// ```
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        let Some(place) = &mut self.armed.0 else { return };
        fresh_timer::settle(place);
        match place.home.timers.reset(place.key, deadline) {
            Some((key, is_earliest)) => {
                place.key = key;
                if is_earliest {
                    place.home.nudge();
                }
            }
            // It has fired, and the task was woken: it comes and finds the new deadline.
            None => self.armed.0 = None,
        }
    }

    /// Polls without regard to the budget. `now` is the clock, where the caller has just read it.
    fn poll_elapsed(&mut self, cx: &mut Context<'_>, now: Option<Instant>) -> Poll<()> {
        if self.armed.0.is_some()
            && let Some(poll) = self.poll_armed(cx)
        {
            return poll;
        }
        let now = now.unwrap_or_else(current::now);
        if now >= self.deadline {
            return Poll::Ready(());
        }
        self.arm(now, cx);
        Poll::Pending
    }

    /// Polls the entry that there is; `None` when another one is needed.
    fn poll_armed(&mut self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        let place = self.armed.0.as_ref()?;
        if current::is_elsewhere(&place.home) {
            // The runtime that it waited in may rest for as long as this one runs.
            self.armed.cancel();
            return None;
        }
        fresh_timer::settle(place);
        match place.home.timers.poll(place.key, cx.waker()) {
            Polled::Waiting => return Some(Poll::Pending),
            Polled::Fired => {
                self.armed.0 = None;
                return Some(Poll::Ready(()));
            }
            // The loop that it came from is in the poll that made it.
            Polled::Unsettled => self.armed.cancel(),
            // Whoever polls now may live in another runtime.
            Polled::Closed => self.armed.0 = None,
        }
        None
    }

    /// Registers in the loop of this thread, or has it registered.
    fn arm(&mut self, now: Instant, cx: &Context<'_>) {
        let place = fresh_timer::keep_back(Due::At(self.deadline), Some(now), cx.waker());
        self.armed.0 = Some(place.unwrap_or_else(|| self.register(now, cx)));
    }

    /// Registers in the loop of this thread.
    fn register(&self, now: Instant, cx: &Context<'_>) -> TimerPlace {
        fresh_timer::settle_any();
        let home = match current::home("a timer") {
            Ok(home) => home,
            Err(error) => panic!("{error}; the timer was made at {}", self.made_at),
        };
        let Some((key, is_earliest)) = home.timers.insert(now, self.deadline, cx.waker().clone()) else {
            panic!(
                "the runtime of this thread has shut down, and a timer made at {} would never fire: wait for it before the shutdown, or in \
                 another runtime",
                self.made_at
            )
        };
        if is_earliest {
            home.nudge();
        }
        TimerPlace { home, key }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let unit = ready!(poll_proceed(cx));
        ready!(self.poll_elapsed(cx, None));
        unit.made_progress();
        Poll::Ready(())
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .field("is_armed", &self.armed.0.is_some())
            .field("made_at", &format_args!("{}", self.made_at))
            .finish()
    }
}
