//! A deadline that comes again and again.

use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::{Sleep, after};
use crate::scheduler::current;

/// A tick counts as missed only when it is later than this: being a few milliseconds late is the way of timers, not of their users.
const LATE: Duration = Duration::from_millis(5);

/// What an [`Interval`] does when its user was too slow and ticks were missed (by more than 5 ms).
///
/// In the pictures, a period is five columns, and work (`w`) after the second tick takes so long that two ticks are missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum MissedTickBehavior {
    /// Make up for them, one right after the other, and be back in step.
    ///
    /// ```text
    /// planned  |    |    |    |    |    |
    /// ticks    |    wwwwwwwwwwww|||     |
    /// ```
    #[default]
    Burst,
    /// Forget them, and go on with a full period after the late tick: the ticks are out of step from then on.
    ///
    /// ```text
    /// planned  |    |    |    |    |    |
    /// ticks    |    wwwwwwwwwwww|    |    |
    /// ```
    Delay,
    /// Forget them, and go on with the next one that was planned: in step.
    ///
    /// ```text
    /// planned  |    |    |    |    |    |
    /// ticks    |    wwwwwwwwwwww|  |    |
    /// ```
    Skip,
}

impl MissedTickBehavior {
    /// The tick after the one that was due at `due` and was seen at `now`, late.
    fn next(self, due: Instant, now: Instant, period: Duration) -> Instant {
        match self {
            MissedTickBehavior::Burst => after(due, period),
            MissedTickBehavior::Delay => after(now, period),
            MissedTickBehavior::Skip => {
                let into_period = (now - due).as_nanos() % period.as_nanos();
                // It is less than the period, and less than the time from `due` to `now`: both fit.
                after(now, period - duration_from_nanos(into_period))
            }
        }
    }
}

fn duration_from_nanos(nanos: u128) -> Duration {
    const PER_SECOND: u128 = 1_000_000_000;
    Duration::new((nanos / PER_SECOND) as u64, (nanos % PER_SECOND) as u32)
}

/// Ticks at a fixed period: see [`interval`] and [`interval_at`].
#[derive(Debug)]
pub struct Interval {
    /// The next tick.
    sleep: Sleep,
    /// The time between two ticks. Not zero.
    period: Duration,
    /// What to do about missed ticks.
    missed: MissedTickBehavior,
}

/// Ticks now and then every `period`.
///
/// # Panics
///
/// When `period` is zero.
///
/// ```
/// use std::time::Duration;
///
/// eddies::run(async {
///     let mut interval = eddies::interval(Duration::from_millis(2));
///     let first = interval.tick().await;
///     let second = interval.tick().await;
///     assert_eq!(second - first, Duration::from_millis(2));
/// });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(current::now(), period)
}

/// Ticks at `start` and then every `period`.
///
/// # Panics
///
/// When `period` is zero.
///
/// ```
/// use std::time::Duration;
///
/// eddies::run(async {
///     let start = eddies::now() + Duration::from_millis(3);
///     let mut interval = eddies::interval_at(start, Duration::from_millis(2));
///     assert_eq!(interval.tick().await, start);
///     assert!(eddies::now() >= start);
/// });
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "the period of an interval must not be zero");
    Interval { sleep: Sleep::new(start, Location::caller()), period, missed: MissedTickBehavior::Burst }
}

impl Interval {
    /// Waits for the next tick, and returns the instant at which it was due.
    ///
    /// # Panics
    ///
    /// Like [`Sleep`], when it has to wait outside a runtime, or in one that has shut down.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no tick.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// eddies::run(async {
    ///     let mut interval = eddies::interval(Duration::from_millis(1));
    ///     for _ in 0..3 {
    ///         let due = interval.tick().await;
    ///         assert!(eddies::now() >= due);
    ///     }
    /// });
    /// ```
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// [`tick`](Interval::tick) for those who write futures by hand.
    ///
    /// # Panics
    ///
    /// As `tick`.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        let due = self.sleep.deadline();
        let now = current::now();
        let is_late = now.saturating_duration_since(due) > LATE;
        let next = if is_late { self.missed.next(due, now, self.period) } else { after(due, self.period) };
        self.sleep.reset(next);
        Poll::Ready(due)
    }

    /// Makes the next tick come one period from now.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// eddies::run(async {
    ///     let mut interval = eddies::interval(Duration::from_millis(2));
    ///     let begin = eddies::now();
    ///     interval.reset();
    ///     assert!(interval.tick().await >= begin + Duration::from_millis(2));
    /// });
    /// ```
    pub fn reset(&mut self) {
        self.reset_after(self.period);
    }

    /// Makes the next tick come at once; those after it follow at the period.
    pub fn reset_immediately(&mut self) {
        self.reset_after(Duration::ZERO);
    }

    /// Makes the next tick come `duration` from now; those after it follow at the period.
    pub fn reset_after(&mut self, duration: Duration) {
        self.reset_at(after(current::now(), duration));
    }

    /// Makes the next tick come at `deadline`; those after it follow at the period.
    pub fn reset_at(&mut self, deadline: Instant) {
        self.sleep.reset(deadline);
    }

    /// What happens when ticks are missed.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets what happens when ticks are missed.
    ///
    /// ```
    /// use eddies::time::MissedTickBehavior;
    /// use std::time::Duration;
    ///
    /// let mut interval = eddies::interval(Duration::from_millis(2));
    /// assert_eq!(interval.missed_tick_behavior(), MissedTickBehavior::Burst);
    /// interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    /// assert_eq!(interval.missed_tick_behavior(), MissedTickBehavior::Skip);
    /// ```
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn missed_ticks_burst_delay_or_skip() {
        let due = Instant::now();
        let now = due + ms(2_300);
        assert_eq!(MissedTickBehavior::Burst.next(due, now, ms(1_000)), due + ms(1_000));
        assert_eq!(MissedTickBehavior::Delay.next(due, now, ms(1_000)), due + ms(3_300));
        assert_eq!(MissedTickBehavior::Skip.next(due, now, ms(1_000)), due + ms(3_000));
        assert_eq!(MissedTickBehavior::Skip.next(due, due + ms(2_000), ms(1_000)), due + ms(3_000));
    }

    #[test]
    fn no_period_is_too_long() {
        let due = Instant::now();
        let late = due + ms(60_000);
        for behavior in [MissedTickBehavior::Burst, MissedTickBehavior::Delay, MissedTickBehavior::Skip] {
            let next = behavior.next(due, late, Duration::MAX);
            assert!(next > late + Duration::from_secs(100 * 365 * 86_400), "{behavior:?}");
        }
    }

    #[test]
    #[should_panic(expected = "must not be zero")]
    fn a_zero_period_is_refused() {
        interval(Duration::ZERO);
    }
}
