//! The futures that an event loop makes: asyncio's `create_future`, `create_task`, `run_in_executor`.

use std::error::Error;
use std::future::Future;
use std::panic::Location;

use super::loop_future::LoopFuture;
use crate::error::LoopClosed;
use crate::event_loop::EventLoop;
use crate::{Executor, Task};

impl EventLoop {
    /// A future that waits to be answered, and whose callbacks run on this loop. Legal on a closed loop, where they never run.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// let future = event_loop.create_future();
    /// let answer = future.clone();
    /// event_loop.call_soon(move || answer.set_result("Done!").unwrap())?;
    /// assert_eq!(event_loop.run_until_complete(future).unwrap().unwrap(), "Done!");
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn create_future<T>(&self) -> LoopFuture<T> {
        LoopFuture::on(self.home().clone())
    }

    /// Spawns a task on the loop; see [`spawn`](crate::spawn). It begins to run in the next iteration, not before.
    ///
    /// Dropping the future detaches the task, which runs on: `event_loop.create_task(work())?;` is enough for one that nobody awaits, and an error that
    /// it ends with is reported. One that is only to be awaited once, or whose output cannot be shared, costs less as
    /// `event_loop.handle().spawn(..)`.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`]; the coroutine is dropped.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// let task = event_loop.create_task(async { 1 + 2 })?;
    /// assert_eq!(event_loop.run_until_complete(&task).unwrap().unwrap(), 3);
    /// assert_eq!(task.result().unwrap(), 3);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn create_task<F>(&self, coroutine: F) -> Result<LoopFuture<F::Output>, LoopClosed>
    where
        F: Future + Send + 'static,
        F::Output: Send + Sync + 'static,
    {
        Ok(self.share(self.spawn_task(coroutine, Location::caller())?))
    }

    /// As [`create_task`](EventLoop::create_task), for a coroutine that may fail: an `Err` that it returns is the future's error, as an
    /// exception is in asyncio. See [`Task::try_share`] for what that means.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`]; the coroutine is dropped.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// let task = event_loop.try_create_task(async { "x".parse::<u32>() })?;
    /// // The run has gone well, the task has not.
    /// let error = event_loop.run_until_complete(&task).unwrap().unwrap_err();
    /// assert_eq!(error.to_string(), "invalid digit found in string");
    /// assert!(task.error().is_some());
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn try_create_task<F, T, E>(&self, coroutine: F) -> Result<LoopFuture<T>, LoopClosed>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + Sync + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
    {
        let task = self.spawn_task(coroutine, Location::caller())?;
        Ok(LoopFuture::of_fallible_task(task, self.home().clone()))
    }

    /// As [`create_task`](EventLoop::create_task), for a coroutine that need not be `Send`: the task stays on this thread.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`]; the coroutine is dropped.
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// let event_loop = eddies::EventLoop::new()?;
    /// let five = Rc::new(5);
    /// let task = event_loop.create_local_task(async move { *five + 1 })?;
    /// assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), 6);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn create_local_task<F>(&self, coroutine: F) -> Result<LoopFuture<F::Output>, LoopClosed>
    where
        F: Future + 'static,
        F::Output: Send + Sync + 'static,
    {
        Ok(self.share(self.spawn_local_task(None, coroutine, Location::caller())?))
    }

    /// Runs a closure that may block on the loop's pool of threads, or on the
    /// [default executor](EventLoop::set_default_executor); see [`spawn_blocking`](crate::spawn_blocking).
    ///
    /// Cancelling the future keeps a job that has not begun from running; one that runs goes on.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`].
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// let read = event_loop.run_in_executor(|| std::fs::read("Cargo.toml").map_err(|error| error.to_string()))?;
    /// assert!(event_loop.run_until_complete(read).unwrap().unwrap().is_ok());
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn run_in_executor<F, T>(&self, job: F) -> Result<LoopFuture<T>, LoopClosed>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + Sync + 'static,
    {
        Ok(self.share(self.spawn_job(None, job, Location::caller())?))
    }

    /// As [`run_in_executor`](EventLoop::run_in_executor), on threads of the program's own; see [`Executor`].
    ///
    /// # Errors
    ///
    /// [`LoopClosed`].
    #[track_caller]
    pub fn run_in_executor_on<F, T>(&self, executor: &dyn Executor, job: F) -> Result<LoopFuture<T>, LoopClosed>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + Sync + 'static,
    {
        Ok(self.share(self.spawn_job(Some(executor), job, Location::caller())?))
    }

    /// [`Task::share`], with callbacks that run on this loop. Where no loop runs, that function has none to give them to.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// let task = event_loop.share(event_loop.handle().spawn(async { 6 * 7 }));
    /// event_loop.run_until_complete(&task).unwrap().unwrap();
    /// assert_eq!(task.result().unwrap(), 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn share<T: Send + Sync + 'static>(&self, task: Task<T>) -> LoopFuture<T> {
        LoopFuture::of_task(task, self.home().clone())
    }
}
