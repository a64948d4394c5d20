//! All outputs, in the order of the arguments.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::children::Children;

/// Waits for all of the futures, and gives their outputs in the order of the arguments, whatever the order in which they come.
///
/// The futures run concurrently within the calling task. Spawned tasks may be among them, or all of them; a task's output is a `Result`, so one
/// that panics or is aborted gives an error in its place and disturbs no other. No futures at all give an empty list at once.
///
/// # Panics
///
/// When a plain future panics, the panic goes through at once to whoever awaits the gathering, as if it had awaited that future itself; the
/// others are dropped with the [`Gather`]. Polling it again after that, or after it gave its outputs, is a mistake; the latter panics.
///
/// # Cancel safety
///
/// Dropping it drops the futures and the outputs that came so far. Tasks among them run on, detached; gather `&mut task`s to keep their
/// handles.
///
/// ```
/// use std::time::Duration;
///
/// eddies::run(async {
///     let slow_first = [3, 1, 2].map(|n| async move {
///         eddies::sleep(Duration::from_millis(n)).await;
///         n
///     });
///     assert_eq!(eddies::gather(slow_first).await, [3, 1, 2]);
///
///     let tasks = (0..3).map(|n| eddies::spawn(async move { n * n }));
///     let outputs: Vec<Result<i32, eddies::TaskError>> = eddies::gather(tasks).await;
///     assert!(outputs.iter().flatten().eq(&[0, 1, 4]));
/// });
/// ```
#[doc(alias = "join_all")]
pub fn gather<I>(futures: I) -> Gather<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator,
    I::Item: IntoFuture,
{
    let children = Children::new(futures.into_iter().map(IntoFuture::into_future));
    Gather { outputs: blanks(children.left()), children, done: false }
}

/// The future of [`gather`].
#[must_use = "futures do nothing unless polled"]
pub struct Gather<F: Future> {
    children: Children<F>,
    /// By the children's numbers.
    outputs: Vec<Option<F::Output>>,
    /// Whether the outputs were given.
    done: bool,
}

impl<F: Future> Unpin for Gather<F> {}

impl<F: Future> Future for Gather<F> {
    type Output = Vec<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.get_mut();
        assert!(!me.done, "`Gather` was polled after it had given its outputs");
        let mut turns = me.children.begin(cx);
        while let Some((child, output)) = me.children.advance(cx, &mut turns) {
            me.outputs[child] = Some(output);
        }
        if me.children.left() > 0 {
            return Poll::Pending;
        }
        me.done = true;
        Poll::Ready(mem::take(&mut me.outputs).into_iter().flatten().collect())
    }
}

impl<F: Future> fmt::Debug for Gather<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gather({} of {} left)", self.children.left(), self.outputs.len())
    }
}

/// Waits for all of the futures and gives their values in the order of the arguments, or gives the first error as soon as it comes.
///
/// After an error the other futures are dropped before this one is ready. Tasks among them are detached: as in asyncio, they run on. With
/// tasks the error is a [`TaskError`](crate::TaskError), that is a panic or an abort; an `Err` that a task *returns* is inside its value, and
/// counts as an error here when the two are made one: `async { task.await? }`, see below.
///
/// # Errors
///
/// The first error that one of the futures gives. Of several that are ready at the same poll, it is that of the future that was woken first.
///
/// # Panics
///
/// Like [`gather`].
///
/// # Cancel safety
///
/// Like [`gather`].
///
/// ```
/// use std::io;
///
/// eddies::run(async {
///     let lengths = ["a", "bc"].map(|text| async move { Ok::<_, io::Error>(text.len()) });
///     assert_eq!(eddies::try_gather(lengths).await.unwrap(), [1, 2]);
///
///     // Tasks whose own errors count.
///     let parsed = ["1", "two", "3"].map(|text| {
///         let task = eddies::spawn(async move { text.parse::<u32>().map_err(io::Error::other) });
///         async { task.await? }
///     });
///     let error = eddies::try_gather(parsed).await.unwrap_err();
///     assert_eq!(error.to_string(), "invalid digit found in string");
/// });
/// ```
#[doc(alias = "try_join_all")]
pub fn try_gather<I, T, E>(futures: I) -> TryGather<<I::Item as IntoFuture>::IntoFuture, T>
where
    I: IntoIterator,
    I::Item: IntoFuture<Output = Result<T, E>>,
{
    let children = Children::new(futures.into_iter().map(IntoFuture::into_future));
    TryGather { values: blanks(children.left()), children, done: false }
}

/// The future of [`try_gather`].
#[must_use = "futures do nothing unless polled"]
pub struct TryGather<F, T> {
    children: Children<F>,
    /// By the children's numbers.
    values: Vec<Option<T>>,
    /// Whether the values, or an error, were given.
    done: bool,
}

impl<F, T> Unpin for TryGather<F, T> {}

impl<F: Future<Output = Result<T, E>>, T, E> Future for TryGather<F, T> {
    type Output = Result<Vec<T>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.get_mut();
        assert!(!me.done, "`TryGather` was polled after it had given its values");
        let mut turns = me.children.begin(cx);
        while let Some((child, output)) = me.children.advance(cx, &mut turns) {
            match output {
                Ok(value) => me.values[child] = Some(value),
                Err(error) => {
                    me.done = true;
                    me.children.clear();
                    me.values.clear();
                    return Poll::Ready(Err(error));
                }
            }
        }
        if me.children.left() > 0 {
            return Poll::Pending;
        }
        me.done = true;
        Poll::Ready(Ok(mem::take(&mut me.values).into_iter().flatten().collect()))
    }
}

impl<F: Future, T> fmt::Debug for TryGather<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TryGather({} of {} left)", self.children.left(), self.values.len())
    }
}

/// A place for each of so many outputs.
fn blanks<T>(count: usize) -> Vec<Option<T>> {
    (0..count).map(|_| None).collect()
}
