//! The functions that most programs use: run a main future, spawn tasks, yield.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::Poll;

use crate::error::{NoRuntime, Overloaded};
use crate::loom::Arc;
use crate::runtime::Runtime;
use crate::scheduler::Shared;
use crate::scheduler::current::{self, Place};
use crate::task::{Context, Spawn, Task, TaskHandle};

/// Runs `future` on a new runtime with default settings, and shuts it down: asyncio's `run`.
///
/// # Panics
///
/// When the runtime cannot be started (see [`Builder::build`](crate::Builder::build)), or inside of async code. A panic of the future passes
/// through.
///
/// ```
/// let answer = eddies::run(async { 42 });
/// assert_eq!(answer, 42);
/// ```
#[track_caller]
pub fn run<F: Future>(future: F) -> F::Output {
    match Runtime::new() {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => panic!("eddies could not start a runtime: {error}"),
    }
}

#[track_caller]
fn runtime(operation: &'static str) -> Arc<Shared> {
    match current::runtime(operation) {
        Ok(shared) => shared,
        Err(error) => panic!("{error}"),
    }
}

#[cold]
#[track_caller]
fn no_runtime(operation: &'static str) -> ! {
    panic!("{}", NoRuntime::new(operation))
}

/// Spawns a task: `future` runs on whichever loop has time for it, whether or not its handle is awaited. A dropped handle detaches it.
///
/// # Panics
///
/// Outside of any runtime. After the shutdown of the runtime it does not panic: the task is cancelled at once.
///
/// ```
/// eddies::run(async {
///     let task = eddies::spawn(async { "done" });
///     assert_eq!(task.await.unwrap(), "done");
/// });
/// ```
#[track_caller]
#[inline]
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    TaskBuilder::new().spawn(future)
}

/// Spawns a task whose future need not be `Send`: it stays on the calling worker's thread. Such a task cannot be stolen, so a long poll on that
/// thread holds it up. Spawned on the thread of `block_on`, it is aborted when that returns.
///
/// # Panics
///
/// On a thread that is no worker: outside of any runtime, on a thread of the blocking pool, or in a `block_on` that has no loop of its own.
///
/// ```
/// use std::rc::Rc;
///
/// eddies::run(async {
///     let shared = Rc::new(5);
///     let task = eddies::spawn_local(async move { *shared + 1 });
///     assert_eq!(task.await.unwrap(), 6);
/// });
/// ```
#[track_caller]
pub fn spawn_local<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    TaskBuilder::new().spawn_local(future)
}

/// Runs a closure that may block (files, DNS, a database driver, a long computation) on the runtime's pool of blocking threads.
///
/// A job that has begun cannot be interrupted; `abort` takes effect only before. Jobs that wait for other jobs can use up all threads and
/// wait for ever.
///
/// # Panics
///
/// Outside of any runtime. A job that the pool refuses (its queue is bounded and full, the runtime has shut down, no thread can be started)
/// does not panic: its task is cancelled.
///
/// ```
/// eddies::run(async {
///     let text = eddies::spawn_blocking(|| std::fs::read_to_string("Cargo.toml")).await.unwrap();
///     assert!(text.is_ok());
/// });
/// ```
#[track_caller]
pub fn spawn_blocking<F, T>(f: F) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    TaskBuilder::new().spawn_blocking(f)
}

/// As [`spawn_blocking`], but gives the closure back when the pool refuses it.
///
/// # Errors
///
/// [`Overloaded`] with the closure: the pool's queue is bounded and full, the runtime has shut down, or no thread can be started.
///
/// # Panics
///
/// Outside of any runtime.
///
/// ```
/// eddies::run(async {
///     match eddies::try_spawn_blocking(|| 1 + 1) {
///         Ok(task) => assert_eq!(task.await.unwrap(), 2),
///         Err(overloaded) => assert_eq!((overloaded.0)(), 2),
///     }
/// });
/// ```
#[track_caller]
pub fn try_spawn_blocking<F, T>(f: F) -> Result<Task<T>, Overloaded<F>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let spawn = Spawn::at(Location::caller());
    runtime("try_spawn_blocking").try_spawn_blocking(f, spawn).map_err(Overloaded)
}

/// The tasks that live on the runtime of the calling thread: asyncio's `all_tasks`. It is a snapshot, and costs time in proportion to the number of
/// tasks, under each loop's lock in turn. Callbacks and blocking jobs are not among them; the caller is, if it is a task.
///
/// # Panics
///
/// Outside of any runtime.
///
/// ```
/// eddies::run(async {
///     let task = eddies::spawn(std::future::pending::<()>());
///     for each in eddies::all_tasks() {
///         each.cancel(None);
///     }
///     assert!(task.await.unwrap_err().is_cancelled());
///     assert!(eddies::all_tasks().is_empty());
/// });
/// ```
#[track_caller]
pub fn all_tasks() -> Vec<TaskHandle> {
    runtime("all_tasks").tasks()
}

/// Spawns tasks that have a name, or a context of their own.
///
/// ```
/// eddies::run(async {
///     let task = eddies::TaskBuilder::new().name("adder").spawn(async { 1 + 1 });
///     assert_eq!(task.name(), Some("adder"));
///     assert_eq!(task.await.unwrap(), 2);
/// });
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder spawns nothing by itself"]
pub struct TaskBuilder {
    name: Option<String>,
    context: Option<Context>,
    is_eager: bool,
}

impl TaskBuilder {
    /// A builder for a task without a name.
    pub fn new() -> Self {
        TaskBuilder::default()
    }

    /// Names the task, for reports and `Debug`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Has the task run in `context` itself instead of a copy of the current one: what it sets there, others who hold the context see.
    ///
    /// ```
    /// static STEP: eddies::ContextVar<u32> = eddies::ContextVar::new("step");
    ///
    /// eddies::run(async {
    ///     let context = eddies::Context::new();
    ///     let task = eddies::TaskBuilder::new().context(context.clone()).spawn(async { drop(STEP.set(3)) });
    ///     task.await.unwrap();
    ///     assert_eq!((context.get(&STEP), STEP.get()), (Some(3), None));
    /// });
    /// ```
    pub fn context(mut self, context: Context) -> Self {
        self.context = Some(context);
        self
    }

    /// Has the task begin at once: its first poll is made by the spawn itself, before that returns, in a context of its own. What is ready at
    /// once (a cache that hits) costs no way through a queue. asyncio's eager tasks.
    ///
    /// It changes the order in which things happen, so it is for tasks that are known to be short before their first wait. Off a thread that runs a
    /// loop of the runtime, and where eager tasks begin eager tasks more than 16 deep, the task goes to a queue as usual. A blocking job is never eager.
    ///
    /// ```
    /// eddies::run(async {
    ///     let cached = eddies::TaskBuilder::new().eager(true).spawn(async { 42 });
    ///     assert!(cached.is_finished());
    ///     assert_eq!(cached.await.unwrap(), 42);
    /// });
    /// ```
    pub fn eager(mut self, is_eager: bool) -> Self {
        self.is_eager = is_eager;
        self
    }

    /// See [`spawn`](crate::spawn).
    ///
    /// # Panics
    ///
    /// Outside of any runtime.
    #[track_caller]
    #[inline]
    pub fn spawn<F>(self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let spawn =
            Spawn { name: self.name, location: Location::caller(), context: self.context, is_eager: self.is_eager };
        let task = current::with(|place| match place {
            Place::Worker(worker) => Some(worker.spawn(future, spawn)),
            Place::Entered(shared) => Some(shared.spawn_from_outside(future, spawn)),
            Place::Outside => None,
        });
        match task {
            Some(task) => task,
            None => no_runtime("spawn"),
        }
    }

    /// See [`spawn_local`](crate::spawn_local).
    ///
    /// # Panics
    ///
    /// On a thread that is no worker.
    #[track_caller]
    pub fn spawn_local<F>(self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let spawn =
            Spawn { name: self.name, location: Location::caller(), context: self.context, is_eager: self.is_eager };
        match current::with_worker(|worker| worker.map(|worker| worker.spawn_local(future, spawn))) {
            Some(task) => task,
            None if current::runtime("").is_ok() => panic!(
                "`spawn_local` needs a thread that runs a loop, and this one is inside a runtime without running one (a blocking job, an \
                 entered runtime): call it from a task or from the main future"
            ),
            None => no_runtime("spawn_local"),
        }
    }

    /// See [`spawn_blocking`](crate::spawn_blocking).
    ///
    /// # Panics
    ///
    /// Outside of any runtime.
    #[track_caller]
    pub fn spawn_blocking<F, T>(self, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let spawn =
            Spawn { name: self.name, location: Location::caller(), context: self.context, is_eager: self.is_eager };
        runtime("spawn_blocking").spawn_blocking_or_cancel(f, spawn)
    }
}

/// Spawns a part of the library that stays on the calling worker's loop, and that nobody is shown among the tasks. `None`: the loop is closed,
/// or this thread runs none.
pub(crate) fn spawn_unlisted(
    future: impl Future<Output = ()> + 'static,
    at: &'static Location<'static>,
) -> Option<Task<()>> {
    current::with_worker(|worker| worker?.spawn_unlisted(future, Spawn::at(at)))
}

/// Lets other tasks run: the calling task goes to the back of its queue. asyncio's `sleep(0)`.
///
/// Where polls are long, it goes further back. After a poll of more than about 100 us, on a loop whose polls last that long by their mean, the task lets everything go first
/// that is runnable or becomes so, and runs when nothing else is left, or an idle worker takes it, or after sixteen others. So what computes
/// and yields does not hold up the answer to a request for longer than the rest of one poll, however many such tasks there are. An event loop
/// ([`EventLoop`](crate::EventLoop)), local tasks and virtual time keep to the one order.
///
/// Reactor and timers are looked at by time (about every 100 us), not with each yield.
///
/// # Cancel safety
///
/// Dropping the future loses nothing.
///
/// ```
/// eddies::run(async {
///     eddies::yield_now().await;
/// });
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { has_yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct YieldNow {
    has_yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        if self.has_yielded {
            return Poll::Ready(());
        }
        self.has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
