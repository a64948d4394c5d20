//! Futures of an [`EventLoop`] that need not run at the moment.

use std::future::Future;

use super::loop_future::LoopFuture;
use crate::error::LoopClosed;
use crate::{EventLoop, Task};

impl EventLoop {
    /// A future that waits to be answered, whose callbacks run on this loop. The loop need not run; on one that is closed the future works too,
    /// but its callbacks are dropped.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// let future = event_loop.create_future();
    /// let answer = future.clone();
    /// event_loop.call_soon(move || answer.set_result("Done!").unwrap())?;
    /// assert_eq!(event_loop.run_until_complete(&future).unwrap().unwrap(), "Done!");
    /// assert_eq!(future.result().unwrap(), "Done!");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn create_future<T>(&self) -> LoopFuture<T> {
        LoopFuture::on(self.home().clone())
    }

    /// [`create_task`](EventLoop::create_task) for a task that is shared: it can be read when the loop has run, and have callbacks.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`]; the future is dropped.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// let task = event_loop.ensure_future(async { 6 * 7 })?;
    /// task.add_done_callback(|future| println!("Callback: {}", future.result().unwrap()));
    /// event_loop.run_until_complete(&task).unwrap().unwrap();
    /// assert_eq!(task.result().unwrap(), 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn ensure_future<F>(&self, future: F) -> Result<LoopFuture<F::Output>, LoopClosed>
    where
        F: Future + Send + 'static,
        F::Output: Send + Sync + 'static,
    {
        let task = self.create_task(future)?;
        Ok(self.share(task))
    }

    /// [`Task::share`], with callbacks that run on this loop; it need not run at the moment.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// let job = event_loop.share(event_loop.run_in_executor(|| 6 * 7)?);
    /// event_loop.run_until_complete(&job).unwrap().unwrap();
    /// assert_eq!(job.result().unwrap(), 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn share<T: Send + Sync + 'static>(&self, task: Task<T>) -> LoopFuture<T> {
        LoopFuture::of_task(task, self.home().clone())
    }
}
