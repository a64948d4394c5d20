//! The cooperative budget: how many operations one poll may complete before it has to let others run.
//!
//! Each poll of a task begins with 128 units. A leaf operation of this crate (a read, a send, a timer, a join) takes one unit
//! when it makes progress; with none left it wakes its task and answers Pending, so a task whose socket is always ready still yields.
//! The idea and the number are tokio's (`tokio::task::coop`). A thread that polls no task has no budget, and nothing is limited there.
//!
//! A transfer of many bytes of a stream takes more, a unit for each 8 KiB: 64 KiB to or from a socket cost the system ten times what a message does, and 128 of them
//! were polls of 5 ms, which the monitor takes for stalls.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Units for one poll.
const BUDGET: u8 = 128;

/// A transfer takes one unit more for each so many bytes that it moved.
const BYTES_PER_UNIT: usize = 8 << 10;

/// Stands for "not limited" in the thread's counter.
const UNLIMITED: u8 = u8::MAX;

std::thread_local! {
    /// What is left of the budget of the poll that this thread runs. Written and read by this thread only.
    static LEFT: Cell<u8> = const { Cell::new(UNLIMITED) };
}

/// Runs `f` without a budget.
pub(crate) fn without_budget<R>(f: impl FnOnce() -> R) -> R {
    with_left(UNLIMITED, f)
}

/// Runs `poll` with a fresh budget.
#[inline]
pub(crate) fn with_budget<R>(poll: impl FnOnce() -> R) -> R {
    with_left(BUDGET, poll)
}

#[inline]
fn with_left<R>(left: u8, poll: impl FnOnce() -> R) -> R {
    struct Restore(u8);
    impl Drop for Restore {
        #[inline]
        fn drop(&mut self) {
            let before = self.0;
            // A thread that is being torn down has no counter any more, and needs none.
            let _ = LEFT.try_with(|cell| cell.set(before));
        }
    }
    let before = LEFT.try_with(|cell| cell.replace(left)).unwrap_or(UNLIMITED);
    let _restore = Restore(before);
    poll()
}

/// Whether the current poll may still complete an operation.
#[inline]
pub(crate) fn has_budget() -> bool {
    LEFT.try_with(Cell::get).unwrap_or(UNLIMITED) != 0
}

/// One unit taken from the budget. Given back on drop unless [`made_progress`](Unit::made_progress) was called.
#[derive(Debug)]
#[must_use = "a unit that is dropped at once limits nothing"]
pub struct Unit {
    before: u8,
}

impl Unit {
    /// The operation completed: the unit is spent.
    #[inline]
    pub fn made_progress(mut self) {
        self.before = UNLIMITED;
    }
}

impl Drop for Unit {
    #[inline]
    fn drop(&mut self) {
        if self.before != UNLIMITED {
            let before = self.before;
            let _ = LEFT.try_with(|cell| cell.set(before));
        }
    }
}

/// Takes from the current poll's budget what moving so many bytes costs beyond the one unit that was taken before.
#[inline]
pub(crate) fn charge_for(bytes: usize) {
    if bytes >= BYTES_PER_UNIT {
        let _ = LEFT.try_with(|cell| {
            if cell.get() != UNLIMITED {
                cell.set(cell.get().saturating_sub(u8::try_from(bytes / BYTES_PER_UNIT).unwrap_or(BUDGET)));
            }
        });
    }
}

/// Takes one unit of the current poll's budget; when none is left, wakes the task and answers Pending.
///
/// For authors of leaf futures: call it first, and call [`Unit::made_progress`] when the operation completes.
///
/// ```
/// use std::task::{Context, Poll, ready};
///
/// fn poll_op(cx: &mut Context<'_>) -> Poll<u32> {
///     let unit = ready!(eddies::coop::poll_proceed(cx));
///     unit.made_progress();
///     Poll::Ready(7)
/// }
///
/// eddies::run(async {
///     assert_eq!(std::future::poll_fn(poll_op).await, 7);
/// });
/// ```
#[inline]
pub fn poll_proceed(cx: &mut Context<'_>) -> Poll<Unit> {
    let before = LEFT.try_with(Cell::get).unwrap_or(UNLIMITED);
    match before {
        UNLIMITED => Poll::Ready(Unit { before: UNLIMITED }),
        0 => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        left => {
            LEFT.with(|cell| cell.set(left - 1));
            Poll::Ready(Unit { before: left })
        }
    }
}

/// Takes one unit for an operation that has completed, if there is one left.
#[inline]
pub(crate) fn spend() {
    let _ = LEFT.try_with(|cell| match cell.get() {
        0 | UNLIMITED => {}
        left => cell.set(left - 1),
    });
}

/// Takes one unit of the budget, and yields when it is used up: for long loops that never wait for anything.
///
/// # Cancel safety
///
/// Dropping the future loses nothing.
///
/// ```
/// eddies::run(async {
///     for _ in 0..1_000 {
///         eddies::coop::consume_budget().await;
///     }
/// });
/// ```
pub fn consume_budget() -> impl Future<Output = ()> + Send {
    std::future::poll_fn(|cx| {
        ready!(poll_proceed(cx)).made_progress();
        Poll::Ready(())
    })
}

pin_project_lite::pin_project! {
    /// The future of [`unconstrained`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Unconstrained<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Unconstrained<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        with_left(UNLIMITED, || self.project().future.poll(cx))
    }
}

/// Polls `future` without a budget: it may keep its worker for as long as its operations are ready.
///
/// ```
/// let sum = eddies::run(eddies::coop::unconstrained(async { 40 + 2 }));
/// assert_eq!(sum, 42);
/// ```
pub fn unconstrained<F: Future>(future: F) -> Unconstrained<F> {
    Unconstrained { future }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_poll_gets_128_units_and_then_yields() {
        let mut cx = Context::from_waker(Waker::noop());
        with_budget(|| {
            for _ in 0..BUDGET {
                match poll_proceed(&mut cx) {
                    Poll::Ready(unit) => unit.made_progress(),
                    Poll::Pending => panic!("the budget ended early"),
                }
            }
            assert!(poll_proceed(&mut cx).is_pending());
        });
        assert!(poll_proceed(&mut cx).is_ready(), "outside a poll nothing is limited");
    }

    #[test]
    fn many_bytes_cost_more_than_one_operation() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut operations = |bytes: usize| {
            with_budget(|| {
                let mut count = 0;
                while let Poll::Ready(unit) = poll_proceed(&mut cx) {
                    charge_for(bytes);
                    unit.made_progress();
                    count += 1;
                }
                count
            })
        };
        assert_eq!(operations(BYTES_PER_UNIT - 1), 128);
        assert_eq!(operations(BYTES_PER_UNIT), 64);
        assert_eq!(operations(8 * BYTES_PER_UNIT), 15, "the last one on what is left");
        assert_eq!(operations(usize::MAX), 1);
        charge_for(usize::MAX);
        assert!(poll_proceed(&mut cx).is_ready(), "outside a poll nothing is limited");
    }

    #[test]
    fn a_unit_without_progress_comes_back() {
        let mut cx = Context::from_waker(Waker::noop());
        with_left(1, || {
            for _ in 0..3 {
                assert!(poll_proceed(&mut cx).is_ready());
            }
        });
    }
}
