//! Threads of the user's that take jobs in place of the blocking pool.

use super::home::Job;
use super::{LoopShared, Shared, current};
use crate::blocking::Job as _;
use crate::loom::Arc;
use crate::report;
use crate::task::{Spawn, Task};

/// Runs jobs that may block: a pool of threads, of processes' proxies, of whatever the program has.
///
/// Give one to [`EventLoop::set_default_executor`](crate::EventLoop::set_default_executor) or to
/// [`EventLoop::run_in_executor_on`](crate::EventLoop::run_in_executor_on).
///
/// ```
/// /// A thread for each job.
/// struct ThreadPerJob;
///
/// impl eddies::Executor for ThreadPerJob {
///     fn execute(&self, job: Box<dyn FnOnce() + Send>) {
///         std::thread::spawn(job);
///     }
/// }
///
/// let event_loop = eddies::EventLoop::new()?;
/// let job = event_loop.run_in_executor_on(&ThreadPerJob, || 6 * 7)?;
/// assert_eq!(event_loop.run_until_complete(job).unwrap().unwrap(), 42);
/// # std::io::Result::Ok(())
/// ```
pub trait Executor: Send + Sync {
    /// Has `job` called once, on a thread where it may block, and returns without waiting for it. The job does not panic: a panic of the user's
    /// closure goes to who awaits the job. A job that is dropped instead counts as cancelled.
    fn execute(&self, job: Box<dyn FnOnce() + Send>);
}

/// Keeps a virtual clock from jumping. Dropping it, on whatever thread, lets go.
struct HeldClock(Arc<LoopShared>);

impl HeldClock {
    fn new(home: &Arc<LoopShared>) -> Self {
        home.clock.hold();
        HeldClock(home.clone())
    }
}

impl Drop for HeldClock {
    fn drop(&mut self) {
        if self.0.clock.release() {
            self.0.nudge();
        }
    }
}

impl Shared {
    /// Runs `f` on `executor`. On its thread it is inside of this runtime, as a job of the blocking pool is.
    pub(crate) fn spawn_on_executor<F, T>(self: &Arc<Self>, executor: &dyn Executor, f: F, spawn: Spawn) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (job, task) = Job::new(f, spawn);
        // A job that waits in some queue does not keep the runtime. A virtual clock waits for it, as for one of the pool.
        let (shared, clock) = (Arc::downgrade(self), HeldClock::new(self.at(0)));
        executor.execute(Box::new(move || {
            let _clock = clock;
            let Some(shared) = shared.upgrade() else { return drop(job) };
            let before = report::set_thread_handler(shared.settings.exception_handler.clone());
            let entered = current::enter(&shared);
            job.run();
            drop(entered);
            report::set_thread_handler(before);
        }));
        task
    }

    /// Runs `f` on the executor that was set in place of the blocking pool, or else on the pool.
    pub(crate) fn spawn_on_default_executor<F, T>(self: &Arc<Self>, f: F, spawn: Spawn) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let executor = self.executor.lock().clone();
        match executor {
            Some(executor) => self.spawn_on_executor(&*executor, f, spawn),
            None => self.spawn_blocking_or_cancel(f, spawn),
        }
    }
}
