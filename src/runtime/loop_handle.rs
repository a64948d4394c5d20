//! The runtime, as other threads hold it.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;

use crate::blocking::BlockingCounters;
use crate::error::{NoRuntime, Overloaded};
use crate::loom::Arc;
use crate::scheduler::{Shared, current};
use crate::task::Spawn;
use crate::task::Task;

/// A reference to a runtime, to spawn on it from anywhere. Cloning is cheap; any thread may hold one. It does not keep the runtime running:
/// after the shutdown a spawn gives a task that is cancelled.
///
/// ```
/// let runtime = eddies::Runtime::new()?;
/// let handle = runtime.handle();
/// let sum = std::thread::spawn(move || handle.spawn(async { 1 + 2 })).join().unwrap();
/// assert_eq!(runtime.block_on(sum).unwrap(), 3);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct LoopHandle {
    shared: Arc<Shared>,
}

impl LoopHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        LoopHandle { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The runtime that the calling thread is inside of.
    ///
    /// # Panics
    ///
    /// When it is inside none.
    #[track_caller]
    pub fn current() -> LoopHandle {
        match LoopHandle::try_current() {
            Ok(handle) => handle,
            Err(error) => panic!("{error}"),
        }
    }

    /// The runtime that the calling thread is inside of.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] when it is inside none.
    pub fn try_current() -> Result<LoopHandle, NoRuntime> {
        current::runtime("LoopHandle::current").map(LoopHandle::new)
    }

    /// Spawns a task on the runtime; see [`spawn`](crate::spawn).
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.shared.spawn(future, Spawn::at(Location::caller()))
    }

    /// Runs a closure that may block on the runtime's blocking pool; see [`spawn_blocking`](crate::spawn_blocking).
    #[track_caller]
    pub fn spawn_blocking<F, T>(&self, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.shared.spawn_blocking_or_cancel(f, Spawn::at(Location::caller()))
    }

    /// As [`spawn_blocking`](LoopHandle::spawn_blocking), but gives the closure back when the pool's bounded queue is full or the runtime has
    /// shut down.
    ///
    /// # Errors
    ///
    /// [`Overloaded`] with the closure.
    #[track_caller]
    pub fn try_spawn_blocking<F, T>(&self, f: F) -> Result<Task<T>, Overloaded<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let spawn = Spawn::at(Location::caller());
        self.shared.try_spawn_blocking(f, spawn).map_err(Overloaded)
    }

    /// Runs `future` to its end on the calling thread; see [`Runtime::block_on`](crate::Runtime::block_on).
    ///
    /// # Panics
    ///
    /// As [`Runtime::block_on`](crate::Runtime::block_on); and on the thread of an [`EventLoop`](crate::EventLoop) whose handle it is, which nobody
    /// would run meanwhile.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        super::block_on(&self.shared, future)
    }

    /// Puts the calling thread inside of the runtime until the guard is dropped, so that `spawn`, sockets and timers work there. Guards are
    /// dropped in the opposite order of their making; one that is dropped outside of the `block_on` it was made in does nothing then.
    #[must_use = "the thread leaves the runtime when the guard is dropped"]
    pub fn enter(&self) -> EnterGuard<'_> {
        EnterGuard { _leave: current::enter(&self.shared), _handle: PhantomData }
    }

    /// The number of loops.
    pub fn workers(&self) -> usize {
        self.shared.settings.workers
    }

    /// What the blocking pool's threads and queue look like now.
    pub fn blocking_counters(&self) -> BlockingCounters {
        self.shared.blocking.counters()
    }

    /// How many tasks live on the runtime now.
    pub fn live_tasks(&self) -> usize {
        self.shared.live_tasks()
    }
}

impl fmt::Debug for LoopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopHandle").field("workers", &self.workers()).finish_non_exhaustive()
    }
}

/// Keeps the calling thread inside of a runtime; see [`LoopHandle::enter`].
pub struct EnterGuard<'a> {
    _leave: current::Leave,
    _handle: PhantomData<&'a LoopHandle>,
}

impl fmt::Debug for EnterGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnterGuard")
    }
}
