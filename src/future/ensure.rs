//! Whatever can be awaited, as a [`LoopFuture`].

use std::future::Future;

use super::loop_future::LoopFuture;
use crate::policy::get_event_loop;
use crate::runtime::LoopHandle;

/// Makes a [`LoopFuture`] of what it is given: a future is spawned as a task, a `LoopFuture` is given back unchanged. asyncio's
/// `ensure_future`.
///
/// A [`Task`](crate::Task) is a future as well, and would be wrapped in a second task: it is refused, for its error cannot be shared. Make it
/// a `LoopFuture` with [`Task::share`](crate::Task::share), which costs no task. So does the result of an executor (asyncio's `wrap_future`):
/// `spawn_blocking(f).share()`.
///
/// # Panics
///
/// When it has to make a task and there is nowhere to run it: outside of any runtime it takes the loop of
/// [`get_event_loop`](crate::get_event_loop), and panics where that is an error, or closed.
///
/// ```
/// eddies::run(async {
///     let task = eddies::ensure_future(async { 6 * 7 });
///     let same = eddies::ensure_future(task.clone());
///     assert!(same.ptr_eq(&task));
///     assert_eq!(same.await.unwrap(), 42);
/// });
/// ```
#[track_caller]
pub fn ensure_future<F: EnsureFuture>(future: F) -> LoopFuture<F::Value> {
    future.ensure()
}

/// What [`ensure_future`] and [`shield`](crate::shield) take: futures, and [`LoopFuture`]s.
///
/// It is implemented for all futures that can be spawned and whose output can be shared between threads. `LoopFuture` is no
/// [`Future`] but an [`IntoFuture`](std::future::IntoFuture), and so has an implementation of its own.
pub trait EnsureFuture {
    /// What the future gives.
    type Value;

    /// See [`ensure_future`].
    #[track_caller]
    fn ensure(self) -> LoopFuture<Self::Value>;
}

impl<F> EnsureFuture for F
where
    F: Future + Send + 'static,
    F::Output: Send + Sync + 'static,
{
    type Value = F::Output;

    #[track_caller]
    fn ensure(self) -> LoopFuture<F::Output> {
        if LoopHandle::try_current().is_ok() {
            return crate::spawn(self).share();
        }
        match get_event_loop() {
            Ok(event_loop) => match event_loop.create_task(self) {
                Ok(task) => task,
                Err(error) => panic!("{error}"),
            },
            Err(error) => panic!("`ensure_future` has a task to make, and no loop to run it: {error}"),
        }
    }
}

impl<T> EnsureFuture for LoopFuture<T> {
    type Value = T;

    fn ensure(self) -> LoopFuture<T> {
        self
    }
}
