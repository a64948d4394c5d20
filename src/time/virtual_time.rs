//! The clock of a test, which nobody has to wait for.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

use super::Sleep;
use crate::loom::Arc;
use crate::scheduler::current::{self, LoopShared};
use crate::testing::wait_all_blocked;

/// Whether the runtime that this thread is inside of has a virtual clock. Outside of any runtime: no.
///
/// ```
/// assert!(!eddies::time::is_virtual());
///
/// let runtime = eddies::Runtime::builder().virtual_time(true).build()?;
/// runtime.block_on(async { assert!(eddies::time::is_virtual()) });
/// # std::io::Result::Ok(())
/// ```
pub fn is_virtual() -> bool {
    current::with_clock(|clock| clock.is_some_and(|clock| clock.is_virtual()))
}

/// Moves the virtual clock `duration` ahead, from the first poll on.
///
/// On the way each timer fires at its own time, in order, and the tasks that it wakes run before the clock goes on. When this returns, every task
/// with something to do at the new present has done it, and all of them wait for something else.
///
/// A virtual clock moves by itself where it can (see [the module](super#virtual-time)); this is for tests that look at a moment in between, and
/// for those that [hold](hold_clock) the clock. It moves the clock also while it is held, while a job of the blocking pool runs, and while
/// tasks wait for sockets; it does not move it past a task that never waits.
///
/// A clock has an end, 584 years after it began; there it stays.
///
/// # Panics
///
/// When polled in a runtime whose clock is real, or on a thread that is not the one of its runtime's loop.
///
/// # Cancel safety
///
/// Dropped, it moves the clock no further.
///
/// ```
/// use eddies::{sleep, spawn, time::advance};
/// use std::time::Duration;
///
/// let runtime = eddies::Runtime::builder().virtual_time(true).build()?;
/// runtime.block_on(async {
///     let task = spawn(sleep(Duration::from_secs(3600)));
///     advance(Duration::from_secs(3599)).await;
///     assert!(!task.is_finished());
///     advance(Duration::from_secs(1)).await;
///     assert!(task.is_finished());
/// });
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn advance(duration: Duration) -> impl Future<Output = ()> + Send {
    let made_at = Location::caller();
    async move {
        let home = virtual_home("`eddies::time::advance`", made_at);
        let target =
            home.clock.advance_by(duration).expect("the clock was virtual a moment ago, and clocks do not change");
        let advancing = Advancing { home, target };
        Sleep::new(target, made_at).await;
        drop(advancing);
        wait_all_blocked().await;
    }
}

/// Lets the clock jump over what holds it, until it is dropped.
struct Advancing {
    home: Arc<LoopShared>,
    target: Instant,
}

impl Drop for Advancing {
    fn drop(&mut self) {
        self.home.clock.end_advance(self.target);
    }
}

/// Keeps the virtual clock from moving by itself until the guard is dropped: for a test that waits for a thread, a process or a remote server of
/// which the runtime knows nothing, or that moves the clock by [`advance`] alone.
///
/// Several may hold it at once.
///
/// # Panics
///
/// In a runtime whose clock is real, and outside of any.
///
/// ```
/// use eddies::{sync::oneshot, time::hold_clock, timeout};
/// use std::{thread, time::Duration};
///
/// let runtime = eddies::Runtime::builder().virtual_time(true).build()?;
/// runtime.block_on(async {
///     let _hold = hold_clock();
///     let (send, receive) = oneshot();
///     let outside = thread::spawn(move || send.send("from a thread of my own"));
///     // Without the guard the clock would be at the deadline before the thread has begun.
///     let answer = timeout(Duration::from_secs(1), receive).await;
///     assert_eq!(answer, Ok(Ok("from a thread of my own")));
///     outside.join().unwrap().unwrap();
/// });
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn hold_clock() -> ClockHold {
    let home = virtual_home("`eddies::time::hold_clock`", Location::caller());
    home.clock.hold();
    ClockHold { home }
}

/// Holds the virtual clock; see [`hold_clock`]. It may be dropped on any thread.
#[must_use = "the clock is let go of when this is dropped"]
pub struct ClockHold {
    home: Arc<LoopShared>,
}

impl Drop for ClockHold {
    fn drop(&mut self) {
        if self.home.clock.release() {
            self.home.nudge();
        }
    }
}

impl fmt::Debug for ClockHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockHold")
    }
}

/// The loop of this thread, whose clock is virtual.
fn virtual_home(operation: &'static str, made_at: &Location<'_>) -> Arc<LoopShared> {
    match current::home(operation) {
        Ok(home) if home.clock.is_virtual() => home,
        Ok(_) => panic!(
            "{operation} was called at {made_at} in a runtime whose clock is real, and only a virtual one can be moved or held: write \
             `#[eddies::test(virtual_time)]`, or build the runtime with `Builder::virtual_time(true)`"
        ),
        Err(error) => panic!("{error}; it was called at {made_at}"),
    }
}
