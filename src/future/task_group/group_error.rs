//! How a group fails: every failure of body and children, in the order in which they came.

use std::any::Any;
use std::error::Error;
use std::fmt;

use crate::error::{Cancelled, TaskPanic};
use crate::future::roster::Refusal;

/// Why a [`task_group`](super::task_group) has no value. Groups within groups nest: where an inner group's error is an error of the outer group, it is
/// one of its [failures](TaskGroupError::failures), with failures of its own.
#[non_exhaustive]
pub enum TaskGroupError<E> {
    /// Body or children failed: at least one of them, in the order in which they did.
    Failed(Vec<Failure<E>>),
    /// Nothing failed, but the group was [cancelled](super::TaskGroup::cancel) before its body had a value.
    Cancelled(Cancelled),
}

impl<E> TaskGroupError<E> {
    /// What failed, in the order in which it did; nothing if the group was cancelled.
    ///
    /// ```
    /// use eddies::task_group;
    ///
    /// eddies::run(async {
    ///     let outcome = task_group(|group| async move {
    ///         group.spawn(async { Err::<(), _>("a child") });
    ///         std::future::pending().await
    ///     });
    ///     let error: eddies::future::TaskGroupError<&str> = outcome.await.map(|()| ()).unwrap_err();
    ///     assert_eq!(error.failures()[0].error(), Some(&"a child"));
    /// });
    /// ```
    pub fn failures(&self) -> &[Failure<E>] {
        match self {
            TaskGroupError::Failed(failures) => failures,
            TaskGroupError::Cancelled(_) => &[],
        }
    }

    /// What failed, in the order in which it did.
    ///
    /// ```
    /// use eddies::{future::Failure, task_group};
    ///
    /// eddies::run(async {
    ///     let outcome = task_group(|_| async { Err::<(), _>(String::from("the body")) }).await;
    ///     let Some(Failure::Error(error)) = outcome.unwrap_err().into_failures().pop() else { panic!("it did not panic") };
    ///     assert_eq!(error, "the body");
    /// });
    /// ```
    pub fn into_failures(self) -> Vec<Failure<E>> {
        match self {
            TaskGroupError::Failed(failures) => failures,
            TaskGroupError::Cancelled(_) => Vec::new(),
        }
    }

    /// The errors among the failures, without the panics.
    ///
    /// ```
    /// use eddies::task_group;
    ///
    /// eddies::run(async {
    ///     let outcome = task_group(|group| async move {
    ///         group.spawn_ok(async { panic!("one panics") });
    ///         Err::<(), _>("the body")
    ///     });
    ///     let error = outcome.supervised().await.unwrap_err();
    ///     assert!(error.errors().eq(&["the body"]));
    /// });
    /// ```
    pub fn errors(&self) -> impl Iterator<Item = &E> {
        self.failures().iter().filter_map(Failure::error)
    }

    /// Whether the group was cancelled, and nothing failed.
    ///
    /// ```
    /// use eddies::task_group;
    ///
    /// eddies::run(async {
    ///     let outcome = task_group(|group| async move {
    ///         group.cancel();
    ///         std::future::pending::<Result<(), std::io::Error>>().await
    ///     });
    ///     assert!(outcome.await.unwrap_err().is_cancelled());
    /// });
    /// ```
    pub fn is_cancelled(&self) -> bool {
        matches!(self, TaskGroupError::Cancelled(_))
    }
}

impl<E: fmt::Debug> fmt::Debug for TaskGroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskGroupError::Failed(failures) => f.debug_tuple("Failed").field(failures).finish(),
            TaskGroupError::Cancelled(cancelled) => cancelled.fmt(f),
        }
    }
}

impl<E: fmt::Display> fmt::Display for TaskGroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskGroupError::Failed(failures) => {
                write!(f, "{} failed in a task group: ", failures.len())?;
                for (number, failure) in failures.iter().enumerate() {
                    write!(f, "{}{failure}", if number == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
            TaskGroupError::Cancelled(cancelled) => write!(f, "the task group was {cancelled}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> Error for TaskGroupError<E> {}

/// What failed in a group.
#[non_exhaustive]
pub enum Failure<E> {
    /// A child, or the body, gave this.
    Error(E),
    /// A child, or the body, panicked.
    Panicked(TaskPanic),
}

impl<E> Failure<E> {
    pub(super) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Failure::Panicked(TaskPanic::new(payload))
    }

    /// The error, if it was none of the panics.
    pub fn error(&self) -> Option<&E> {
        match self {
            Failure::Error(error) => Some(error),
            Failure::Panicked(_) => None,
        }
    }

    /// Whether something panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, Failure::Panicked(_))
    }
}

impl<E: fmt::Debug> fmt::Debug for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Error(error) => f.debug_tuple("Error").field(error).finish(),
            Failure::Panicked(panic) => panic.fmt(f),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Error(error) => error.fmt(f),
            Failure::Panicked(panic) => panic.fmt(f),
        }
    }
}

/// The group takes no children: it is being cancelled, has ended, or has not begun. The future that was to be spawned has been dropped.
///
/// ```
/// use eddies::{future::GroupClosed, task_group};
///
/// eddies::run(async {
///     let group = task_group(|group| async { Ok::<_, ()>(group) }).await.unwrap();
///     let error = group.try_spawn(async { Ok(()) }).unwrap_err();
///     assert_eq!(error, GroupClosed::Finished);
/// });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupClosed {
    /// Its future was not polled yet.
    NotBegun,
    /// A failure or a cancellation is ending it.
    Aborting,
    /// It is over.
    Finished,
}

impl From<Refusal> for GroupClosed {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotBegun => GroupClosed::NotBegun,
            Refusal::Aborting => GroupClosed::Aborting,
            Refusal::Finished => GroupClosed::Finished,
        }
    }
}

impl fmt::Display for GroupClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GroupClosed::NotBegun => "the task group takes no children before it is awaited: spawn them in its body",
            GroupClosed::Aborting => "the task group takes no children any more: it is being cancelled",
            GroupClosed::Finished => "the task group takes no children any more: it has ended",
        })
    }
}

impl Error for GroupClosed {}

/// Why a child of a group has no value.
///
/// ```
/// use eddies::{future::ChildError, task_group};
///
/// eddies::run(async {
///     let outcome = task_group(|group| async move {
///         let child = group.spawn(async { Err::<(), _>("its error") });
///         assert_eq!(child.await, Err(ChildError::Failed));
///         Ok(())
///     });
///     assert!(outcome.supervised().await.unwrap_err().errors().eq(&["its error"]));
/// });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildError {
    /// It gave an error or panicked, and that is among the failures of the group.
    Failed,
    /// It was cancelled: by itself, with its group, or because the group took no more children.
    Cancelled(Cancelled),
}

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChildError::Failed => f.write_str("the task failed, and its group has the error"),
            ChildError::Cancelled(cancelled) => write!(f, "the task was {cancelled}"),
        }
    }
}

impl Error for ChildError {}

/// Why [`TaskGroup::start`](super::TaskGroup::start) has nothing to give.
///
/// ```
/// use eddies::{future::{Ready, StartError}, task_group};
///
/// eddies::run(async {
///     let outcome = task_group(|group| async move {
///         let started = group.start(|_: Ready<u16, _>| async { Err::<(), _>("no port is free") }).await;
///         assert!(matches!(started, Err(StartError::Failed("no port is free"))));
///         Ok(())
///     });
///     assert!(outcome.await.is_ok(), "the error was given to who started it");
/// });
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError<E> {
    /// The child failed before it was ready. Its error is here, and not in the group.
    Failed(E),
    /// The child ended before it was ready: without a word, cancelled, or by a panic, which is among the failures of the group.
    Ended,
    /// The group took no more children.
    Closed(GroupClosed),
}

impl<E: fmt::Display> fmt::Display for StartError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Failed(error) => write!(f, "the task failed before it was ready: {error}"),
            StartError::Ended => f.write_str("the task ended before it was ready"),
            StartError::Closed(closed) => closed.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> Error for StartError<E> {}
