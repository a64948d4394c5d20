//! One output after the other, in the order of completion.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::{FusedStream, Stream};

use super::children::Children;

/// Gives the outputs of the futures in the order in which they come.
///
/// The futures run concurrently within the calling task, and only while it waits for the next output. Spawned tasks run in any case, and
/// give `Result`s. To know which future an output is of, let the future give that too.
///
/// The result is a [`Stream`]; [`AsCompleted::next`] does without the stream traits. For a limit on the time put [`timeout`](crate::timeout)
/// around it: what is not complete then stays in the stream.
///
/// # Cancel safety
///
/// Dropping the stream drops the futures in it. Tasks among them run on, detached.
///
/// ```
/// eddies::run(async {
///     let works = [30, 1, 20].map(|steps| async move {
///         for _ in 0..steps {
///             eddies::yield_now().await;
///         }
///         steps
///     });
///     let mut order = Vec::new();
///     let mut outputs = eddies::as_completed(works);
///     while let Some(steps) = outputs.next().await {
///         order.push(steps);
///     }
///     assert_eq!(order, [1, 20, 30]);
/// });
/// ```
#[doc(alias = "FuturesUnordered")]
pub fn as_completed<I>(futures: I) -> AsCompleted<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator,
    I::Item: IntoFuture,
{
    AsCompleted { children: Children::new(futures.into_iter().map(IntoFuture::into_future)) }
}

/// The stream of [`as_completed`].
#[must_use = "streams do nothing unless polled"]
pub struct AsCompleted<F> {
    children: Children<F>,
}

impl<F> Unpin for AsCompleted<F> {}

impl<F: Future> AsCompleted<F> {
    /// The next output, or `None` when all were given.
    ///
    /// # Panics
    ///
    /// When one of the futures panics, the panic goes through to here, and the stream must not be used any more. A task that panics gives
    /// an error instead.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when this future is dropped before it is ready.
    ///
    /// ```
    /// use std::future::pending;
    /// use std::time::Duration;
    ///
    /// eddies::run(async {
    ///     let task = eddies::spawn(async { 7 });
    ///     let never = eddies::spawn(pending());
    ///     let mut outputs = eddies::as_completed([never, task]);
    ///     assert_eq!(outputs.next().await.unwrap().unwrap(), 7);
    ///     assert!(eddies::timeout(Duration::from_millis(2), outputs.next()).await.is_err());
    /// });
    /// ```
    pub async fn next(&mut self) -> Option<F::Output> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<F: Future> Stream for AsCompleted<F> {
    type Item = F::Output;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let children = &mut self.get_mut().children;
        if children.left() == 0 {
            return Poll::Ready(None);
        }
        let mut turns = children.begin(cx);
        match children.advance(cx, &mut turns) {
            Some((_, output)) => Poll::Ready(Some(output)),
            None => Poll::Pending,
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.children.left(), Some(self.children.left()))
    }
}

impl<F: Future> FusedStream for AsCompleted<F> {
    fn is_terminated(&self) -> bool {
        self.children.left() == 0
    }
}

impl<F: Future> fmt::Debug for AsCompleted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsCompleted({} left)", self.children.left())
    }
}
