//! From the handle that one awaits, [`Task`], to the one that many share, [`LoopFuture`].

use std::error::Error;

use super::loop_future::{LoopFuture, here};
use crate::Task;

impl<T: Send + Sync + 'static> Task<T> {
    /// Makes the handle one that can be cloned, awaited by many and read many times: a [`LoopFuture`], asyncio's `Task` object.
    ///
    /// No other task is made for that: the task's output goes into the future when the task ends.
    ///
    /// # Panics
    ///
    /// Outside of any runtime.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::spawn(async { vec![1, 2, 3] }).share();
    ///     let (one, two) = (future.clone(), future.clone());
    ///     let lengths = eddies::gather([one, two]).await;
    ///     assert!(lengths.iter().all(|list| list.as_ref().unwrap().len() == 3));
    /// });
    /// ```
    #[track_caller]
    pub fn share(self) -> LoopFuture<T> {
        LoopFuture::of_task(self, here("Task::share"))
    }
}

impl<T, E> Task<Result<T, E>>
where
    T: Send + Sync + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    /// As [`share`](Task::share), but an `Err` that the task returns is the future's error, as an exception is in asyncio: who awaits the
    /// future gets it as [`FutureError::Failed`](crate::FutureError::Failed), and if nobody does it is reported. A [`FutureError`](crate::FutureError) or [`Cancelled`](crate::Cancelled) that the task
    /// passes on with `?` is taken for what it says: a task that ends because what it awaited was cancelled counts as cancelled.
    ///
    /// # Panics
    ///
    /// Outside of any runtime.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::spawn(async { "x".parse::<u32>() }).try_share();
    ///     assert_eq!(future.await.unwrap_err().to_string(), "invalid digit found in string");
    /// });
    /// ```
    #[track_caller]
    pub fn try_share(self) -> LoopFuture<T> {
        LoopFuture::of_fallible_task(self, here("Task::try_share"))
    }
}

/// See [`Task::share`].
impl<T: Send + Sync + 'static> From<Task<T>> for LoopFuture<T> {
    #[track_caller]
    fn from(task: Task<T>) -> Self {
        task.share()
    }
}
