//! What can become of a future other than a value, and what can be wrong with answering one.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::error::{Cancelled, TaskError, TaskPanic};

/// Why a [`LoopFuture`](crate::LoopFuture) gives no value.
///
/// It can be cloned, since everybody who awaits the future gets it. Its text is that of the error which the future was given; [`source`] gives
/// that error's cause, and [`FutureError::downcast_ref`] the error itself.
///
/// [`source`]: Error::source
///
/// ```
/// use eddies::{FutureError, LoopFuture};
///
/// eddies::run(async {
///     let future = LoopFuture::<u32>::new();
///     assert!(matches!(future.result(), Err(FutureError::NotReady)));
///     future.set_error("the disk is full").unwrap();
///     assert_eq!(future.await.unwrap_err().to_string(), "the disk is full");
/// });
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FutureError {
    /// The future, or its task, was cancelled.
    Cancelled(Cancelled),
    /// The future was answered with an error.
    Failed(Arc<dyn Error + Send + Sync + 'static>),
    /// The future's task panicked.
    Panicked(TaskPanic),
    /// The future has no answer yet: it is pending.
    NotReady,
    /// A task awaited its own future, which would never have been answered.
    AwaitsItself,
    /// The future's task belongs to another event loop of the awaiting thread, which does not run, and cannot while this one does. The
    /// task is still there: run its loop.
    OtherLoop,
}

impl FutureError {
    /// Whether the future was cancelled.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::<u32>::new();
    ///     future.cancel("no longer needed");
    ///     assert!(future.result().unwrap_err().is_cancelled());
    /// });
    /// ```
    pub fn is_cancelled(&self) -> bool {
        matches!(self, FutureError::Cancelled(_))
    }

    /// Whether it is what became of the future, and not a mistake of who asked. A cancellation is no failure, as in asyncio.
    pub(crate) fn is_failure(&self) -> bool {
        matches!(self, FutureError::Failed(_) | FutureError::Panicked(_))
    }

    /// The error that the future was answered with, if it is of this type.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::<u32>::new();
    ///     future.set_error("x".parse::<u32>().unwrap_err()).unwrap();
    ///     let error = future.await.unwrap_err();
    ///     assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
    /// });
    /// ```
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        match self {
            FutureError::Failed(error) => error.downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for FutureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FutureError::Cancelled(cancelled) => cancelled.fmt(f),
            FutureError::Failed(error) => error.fmt(f),
            FutureError::Panicked(panic) => write!(f, "the task {panic}"),
            FutureError::NotReady => f.write_str("the future has no result yet: await it, or ask `is_finished` first"),
            FutureError::OtherLoop => f.write_str(
                "the future's task belongs to an event loop of this thread that does not run, and cannot while another one does: run that loop, with \
                 `run_until_complete`, or spawn the task on this one",
            ),
            FutureError::AwaitsItself => f.write_str(
                "a task awaits its own future, which is ready only when the task is finished: that would be never",
            ),
        }
    }
}

impl Error for FutureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            FutureError::Failed(error) => error.source(),
            _ => None,
        }
    }
}

impl From<TaskError> for FutureError {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Cancelled(cancelled) => FutureError::Cancelled(cancelled),
            TaskError::Panicked(panic) => FutureError::Panicked(panic),
        }
    }
}

impl From<Cancelled> for FutureError {
    fn from(cancelled: Cancelled) -> Self {
        FutureError::Cancelled(cancelled)
    }
}

impl FutureError {
    /// What it means to answer with `error`. One that tells of another future's or task's end is taken for what it says, so that it can be passed on:
    /// a cancellation stays one, as in asyncio.
    pub(super) fn of(error: Box<dyn Error + Send + Sync>) -> Self {
        let error = match error.downcast::<FutureError>() {
            Ok(error) if error.is_failure() || error.is_cancelled() => return *error,
            Ok(error) => error,
            Err(error) => match error.downcast::<Cancelled>() {
                Ok(cancelled) => return FutureError::Cancelled(*cancelled),
                Err(error) => error,
            },
        };
        FutureError::Failed(error.into())
    }
}

impl From<FutureError> for std::io::Error {
    fn from(error: FutureError) -> Self {
        std::io::Error::other(error)
    }
}

/// A future was to be answered that takes no answer; what it was to be given comes back.
///
/// ```
/// eddies::run(async {
///     let future = eddies::LoopFuture::new();
///     future.set_result(1).unwrap();
///     let error = future.set_result(2).unwrap_err();
///     assert_eq!(error.to_string(), "the future has a result already");
///     assert_eq!(error.into_value(), 2);
/// });
/// ```
pub struct InvalidState<V> {
    why: Refusal,
    value: V,
}

/// Why an answer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    HasValue,
    HasError,
    IsCancelled,
    OfTask,
}

impl<V> InvalidState<V> {
    pub(super) fn new(why: Refusal, value: V) -> Self {
        InvalidState { why, value }
    }

    /// What the future was to be given.
    pub fn into_value(self) -> V {
        self.value
    }

    /// Whether the reason is that the future stands for a task, which alone answers it.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::spawn(async { 1 }).share();
    ///     assert!(future.set_result(2).unwrap_err().is_of_task());
    ///     assert_eq!(future.await.unwrap(), 1);
    /// });
    /// ```
    pub fn is_of_task(&self) -> bool {
        self.why == Refusal::OfTask
    }
}

impl<V> fmt::Debug for InvalidState<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvalidState").field("why", &self.why).finish_non_exhaustive()
    }
}

impl<V> fmt::Display for InvalidState<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            Refusal::HasValue => "the future has a result already",
            Refusal::HasError => "the future has an error already",
            Refusal::IsCancelled => "the future was cancelled",
            Refusal::OfTask => "the future is a task's: its result is what the task returns, and cannot be set",
        })
    }
}

impl<V> Error for InvalidState<V> {}
