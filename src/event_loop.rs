//! The event loop as an object: asyncio's `EventLoop`, bound to the thread that made it.
//!
//! A [`Runtime`] with one thing more: it keeps the worker of loop 0 for its whole life, also while nothing runs. So callbacks, local tasks and
//! timed calls that were left when a run ended are there for the next one. It runs in iterations (`scheduler::iteration`), and in a ring of one
//! loop every callback, wake-up and task goes through one queue, in one order.
//!
//! # Who owns what
//!
//! - **E1** An `EventLoop` is an `Rc`: it stays on its thread, and so does the worker in it. So what must not leave the thread (local
//!   tasks, closures that are not `Send`) runs and is dropped there: in a run, or when the loop is closed, which its last owner does.
//! - **E2** A run holds an `Rc` of the worker on its stack. The loop cannot be closed meanwhile (`close` refuses, and the worker outlives even a
//!   mistake in that), and cannot be dropped, for the run borrows it.
//! - **E3** Of what a thread's exit leaves (a loop in a thread-local) the destructors may find other thread-locals gone; nothing here relies
//!   on one that has a destructor of its own.
//!
//! A loop that is leaked keeps its seat for ever: its tasks never run again, on any thread.
//!
//! Off a run the loop looks to its peers and to the monitor as if it had no thread: nothing is placed on it, and nobody takes it for
//! stalled.
//!
//! # The other kind
//!
//! On a worker of a plain [`Runtime`], and on the other workers of an event loop with peers, [`EventLoop::running`] gives a *visiting* one: it
//! owns nothing and works for as long as the calling thread sits in that loop; after that it is a closed loop.

mod calls;
mod hooks;
mod remote;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub use calls::{CallHandle, ScopedCall, TimerHandle};
pub use hooks::ExceptionHandler;
pub use remote::{RemoteCallHandle, RemoteTask};

use crate::coop;
use crate::error::{LoopClosed, LoopRunning, RunError, StillRunning};
use crate::loom::Arc;
use crate::report::{self, Exception};
use crate::runtime::{LoopHandle, RestoreHandler, Runtime};
use crate::scheduler::executor::Executor;
use crate::scheduler::iteration::Exit;
use crate::scheduler::worker::Worker;
use crate::scheduler::{LoopShared, Shared, current, signal};
use crate::task::{Context as TaskContext, Spawn, Task, TaskHandle};

/// An event loop of the calling thread: runs callbacks, tasks and timers while one of the `run_` methods is called, and only then.
///
/// Most programs do better with [`run`](crate::run). An event loop is for what asyncio's is for: programs that start and stop it, register
/// callbacks, or hand it to others. It is `Clone`, and its clones are the same loop. It stays on its thread; [`handle`](EventLoop::handle)
/// gives what other threads may use.
///
/// Callbacks, local tasks and, in a loop made by [`EventLoop::new`], all tasks run in the order in which they were registered, spawned or
/// woken. In every iteration what is ready at its beginning runs once; what that makes ready waits for the next iteration.
///
/// asyncio's debug mode finds calls from a wrong thread. Here they do not compile:
///
/// ```compile_fail,E0277
/// let event_loop = eddies::EventLoop::new().unwrap();
/// std::thread::spawn(move || event_loop.call_soon(|| ()));
/// ```
///
/// A thread may have several loops, and runs one at a time. The others rest meanwhile, with their tasks, timers and whatever sockets were first
/// waited for in them: a task that waits for those waits until their loop has its next run. Where that can be known to be never, as with the
/// futures of [`create_task`](EventLoop::create_task), it is an error ([`FutureError::OtherLoop`](crate::FutureError::OtherLoop)).
///
/// When its last clone is dropped, the loop is [closed](EventLoop::close). A callback that holds a clone and never gets its turn keeps the loop
/// alive for ever: hold a [`LoopHandle`] there, or close the loop yourself.
///
/// ```
/// use std::time::Duration;
///
/// let event_loop = eddies::EventLoop::new()?;
/// event_loop.call_later(Duration::from_millis(2), || println!("tick"))?;
/// let answer = event_loop.run_until_complete(async {
///     eddies::sleep(Duration::from_millis(4)).await;
///     42
/// });
/// assert_eq!(answer, Ok(42));
/// event_loop.close().unwrap();
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct EventLoop {
    cell: Rc<LoopCell>,
}

/// What the clones of an [`EventLoop`] share. One thread's own.
struct LoopCell {
    shared: Arc<Shared>,
    home: Arc<LoopShared>,
    /// `None` after the close, and in a visiting loop.
    owned: RefCell<Option<Owned>>,
    is_visiting: bool,
    is_running: Cell<bool>,
    /// What debug mode takes for slow.
    slow_callback_duration: Cell<Duration>,
    /// Whether Ctrl-C is listened for.
    catches_interrupts: Cell<bool>,
    /// Asked at an interrupt from outside; `true`: it has seen to it, and the run goes on.
    interrupt_hook: InterruptHook,
}

/// See [`LoopCell::interrupt_hook`]. The listener shares it.
type InterruptHook = Rc<RefCell<Option<Rc<dyn Fn() -> bool>>>>;

/// What an event loop that is open owns.
struct Owned {
    worker: Rc<Worker>,
    runtime: Runtime,
}

thread_local! {
    /// The event loop whose run is innermost on this thread. Written and read by this thread only.
    static RUNNING: RefCell<Option<EventLoop>> = const { RefCell::new(None) };
}

/// asyncio's threshold.
const SLOW_CALLBACK: Duration = Duration::from_millis(100);

impl EventLoop {
    /// An event loop on the calling thread, with one loop and no other thread: asyncio's. For other settings see
    /// [`Builder::build_event_loop`](crate::Builder::build_event_loop).
    ///
    /// Debug mode is on if the environment variable `EDDIES_DEBUG` is set and not empty or 0.
    ///
    /// # Errors
    ///
    /// What the operating system says when it has no more threads or file descriptors.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// assert_eq!(event_loop.run_until_complete(async { 42 }), Ok(42));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new() -> io::Result<EventLoop> {
        Runtime::builder().workers(1).build_event_loop()
    }

    /// The event loop of a new runtime, whose seat 0 is free.
    pub(crate) fn of_runtime(runtime: Runtime) -> EventLoop {
        let shared = runtime.shared().clone();
        let seat = shared.seats.take(0).expect("a new runtime's seats are free");
        let worker = Rc::new(Worker::new(shared.clone(), seat));
        let home = worker.home().clone();
        worker.rest();
        shared.set_owner();
        let owned = RefCell::new(Some(Owned { worker, runtime }));
        let event_loop = EventLoop::of_cell(LoopCell::new(shared, home, owned, false));
        if std::env::var_os("EDDIES_DEBUG").is_some_and(|value| !value.is_empty() && value != "0") {
            event_loop.set_debug(true);
        }
        event_loop
    }

    fn of_cell(cell: LoopCell) -> EventLoop {
        EventLoop { cell: Rc::new(cell) }
    }

    /// The loop that runs on the calling thread, if one does.
    pub(crate) fn running() -> Option<EventLoop> {
        current::with_worker(|worker| {
            let worker = worker?;
            let running = RUNNING.try_with(|running| running.borrow().clone()).ok().flatten();
            // A forked child has a copy of the thread, but not the loop.
            if worker.shared().is_of_parent() {
                return None;
            }
            Some(running.filter(|running| worker.sits_in(&running.cell.home)).unwrap_or_else(|| {
                let (shared, home) = (worker.shared().clone(), worker.home().clone());
                EventLoop::of_cell(LoopCell::new(shared, home, RefCell::new(None), true))
            }))
        })
    }

    /// The loop as any thread may use it.
    pub(crate) fn home(&self) -> &Arc<LoopShared> {
        &self.cell.home
    }

    /// Calls `f` with the loop's worker, which is this thread's.
    fn with_worker<R>(&self, operation: &'static str, f: impl FnOnce(&Worker) -> R) -> Result<R, LoopClosed> {
        let cell = &self.cell;
        if cell.is_visiting {
            return current::with_worker(|worker| match worker {
                Some(worker) if worker.sits_in(&cell.home) && !cell.shared.is_closing() => Ok(f(worker)),
                _ => Err(LoopClosed::new(operation)),
            });
        }
        let worker = cell.owned.borrow().as_ref().map(|owned| owned.worker.clone());
        match worker {
            Some(worker) => Ok(f(&worker)),
            None => Err(LoopClosed::new(operation)),
        }
    }

    /// Calls `f` inside of the loop, whether it runs or not: what `f` registers on the loop of its thread is registered here.
    pub(crate) fn inside<R>(&self, operation: &'static str, f: impl FnOnce() -> R) -> Result<R, LoopClosed> {
        self.with_worker(operation, |worker| {
            let _inside = current::drive(worker);
            f()
        })
    }

    // ---- running ---------------------------------------------------------------------------------------------------------------

    /// Runs the loop until `future` is complete, and gives its output.
    ///
    /// The future is polled in its turn among everything else that is queued. When it is complete one more iteration runs: the callbacks that
    /// it queued last are called before this returns. Tasks that are not finished then wait for the next run.
    ///
    /// # Errors
    ///
    /// [`RunError`]: the loop is closed or running, another loop runs on this thread (then `future` was not polled), or the run was stopped or
    /// interrupted. In these two cases a future that was passed by value is dropped; one passed by reference (`&mut task`, `pin!(..).as_mut()`)
    /// can be run again.
    ///
    /// # Panics
    ///
    /// A panic of the future passes through, after the last iteration. The loop can be used after it.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// let nested = event_loop.clone();
    /// let error = event_loop.run_until_complete(async move { nested.run_until_complete(async {}) });
    /// assert_eq!(error, Ok(Err(eddies::RunError::AlreadyRunning)));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn run_until_complete<F: IntoFuture>(&self, future: F) -> Result<F::Output, RunError> {
        let run = self.begin_run("run_until_complete", Location::caller())?;
        let mut future = pin!(future.into_future());
        let turn = Rc::new(MainTurn::default());
        let proxy = run.worker.spawn_unlisted(MainProxy(turn.clone()), run.spawn());
        // Unhooks it on every way out: a wake-up that comes later finds nobody.
        let _proxy = AbortOnDrop(proxy.ok_or(LoopClosed::new("run_until_complete"))?);
        let mut outcome = None;
        let exit = run.worker.run_iterations(|| {
            let Some(waker) = turn.take() else { return false };
            let poll = || coop::with_budget(|| future.as_mut().poll(&mut Context::from_waker(&waker)));
            let polled = run.worker.poll_main(|| catch_unwind(AssertUnwindSafe(poll)));
            outcome = match polled {
                Ok(Poll::Pending) => None,
                Ok(Poll::Ready(output)) => Some(Ok(output)),
                Err(payload) => Some(Err(payload)),
            };
            outcome.is_some()
        });
        match (outcome, exit) {
            (Some(Ok(output)), _) => Ok(output),
            (Some(Err(payload)), _) => {
                drop(run);
                resume_unwind(payload)
            }
            (None, Exit::Interrupted) => Err(RunError::Interrupted),
            (None, Exit::Stopped | Exit::Complete) => Err(RunError::Stopped),
        }
    }

    /// Runs the loop until [`stop`](EventLoop::stop) is called. If that was called already, runs one iteration, without waiting for anything.
    ///
    /// # Errors
    ///
    /// [`RunError`]: the loop is closed or running, another loop runs on this thread, or the run was interrupted.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.call_soon(move || handle.stop())?;
    /// event_loop.run_forever()?;
    /// assert!(!event_loop.is_running() && !event_loop.is_closed());
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn run_forever(&self) -> Result<(), RunError> {
        let run = self.begin_run("run_forever", Location::caller())?;
        match run.worker.run_iterations(|| false) {
            Exit::Interrupted => Err(RunError::Interrupted),
            Exit::Stopped | Exit::Complete => Ok(()),
        }
    }

    /// Runs exactly one iteration, without waiting for anything: what is ready now runs, and what that makes ready does not. For tests that
    /// go step by step; the same as [`stop`](EventLoop::stop) followed by [`run_forever`](EventLoop::run_forever).
    ///
    /// # Errors
    ///
    /// As [`run_forever`](EventLoop::run_forever).
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// let event_loop = eddies::EventLoop::new()?;
    /// let steps = Rc::new(Cell::new(0));
    /// let count = steps.clone();
    /// drop(event_loop.create_local_task(async move {
    ///     for n in 1..=3 {
    ///         count.set(n);
    ///         eddies::yield_now().await;
    ///     }
    /// })?);
    /// event_loop.run_once()?;
    /// assert_eq!(steps.get(), 1);
    /// event_loop.run_once()?;
    /// assert_eq!(steps.get(), 2);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn run_once(&self) -> Result<(), RunError> {
        let run = self.begin_run("run_once", Location::caller())?;
        self.stop();
        match run.worker.run_iterations(|| false) {
            Exit::Interrupted => Err(RunError::Interrupted),
            Exit::Stopped | Exit::Complete => Ok(()),
        }
    }

    fn begin_run(&self, operation: &'static str, at: &'static Location<'static>) -> Result<Run<'_>, RunError> {
        if self.is_running() {
            return Err(RunError::AlreadyRunning);
        }
        let worker = self.cell.owned.borrow().as_ref().map(|owned| owned.worker.clone());
        let Some(worker) = worker else { return Err(RunError::Closed(LoopClosed::new(operation))) };
        if current::is_driving() {
            return Err(RunError::OtherLoopRunning);
        }
        self.cell.is_running.set(true);
        self.cell.home.set_occupied(true);
        self.cell.home.set_main_location(at);
        let before = RUNNING.try_with(|running| running.replace(Some(self.clone()))).ok().flatten();
        Ok(Run { _handler: self.cell.take_over_exceptions(), event_loop: self, worker, before, at })
    }

    /// Has the run that is on, or else the next one, end after the iteration it is in: what is ready already still runs, and what that
    /// makes ready waits for the next run. Legal on a closed loop, where it does nothing.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// event_loop.stop();
    /// assert_eq!(event_loop.run_forever(), Ok(()));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn stop(&self) {
        self.cell.shared.at(0).signal(signal::STOP);
    }

    /// Has the run that is on, or else the next one, end at once with [`RunError::Interrupted`], as Ctrl-C does: what is queued waits for the
    /// next run.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// event_loop.interrupt();
    /// assert_eq!(event_loop.run_forever(), Err(eddies::RunError::Interrupted));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn interrupt(&self) {
        self.cell.shared.at(0).signal(signal::INTERRUPT);
    }

    /// Whether a run is on.
    pub fn is_running(&self) -> bool {
        if self.cell.is_visiting {
            return self.with_worker("is_running", |_| ()).is_ok();
        }
        self.cell.is_running.get()
    }

    /// Spawns `listener`, a part of the loop that nobody is shown, unless one was spawned before; it is given what to call at each Ctrl-C.
    pub(crate) fn listen_for_interrupts<F>(&self, listener: impl FnOnce(InterruptAnswer) -> F) -> Result<(), LoopClosed>
    where
        F: Future<Output = ()> + 'static,
    {
        const OPERATION: &str = "catch_interrupts";
        if self.cell.catches_interrupts.get() {
            return Ok(());
        }
        let answer = InterruptAnswer { hook: self.cell.interrupt_hook.clone(), shared: self.cell.shared.clone() };
        let at = Spawn::at(Location::caller());
        let spawned = self.with_worker(OPERATION, |worker| worker.spawn_unlisted(listener(answer), at).is_some())?;
        self.cell.catches_interrupts.set(spawned);
        if spawned { Ok(()) } else { Err(LoopClosed::new(OPERATION)) }
    }

    /// Has `hook` asked at each Ctrl-C, or nobody.
    pub(crate) fn set_interrupt_hook(&self, hook: Option<Rc<dyn Fn() -> bool>>) {
        let before = self.cell.interrupt_hook.replace(hook);
        drop(before);
    }

    /// The loop's tasks that have not ended, also while it does not run; see [`all_tasks`](crate::all_tasks). The future of
    /// [`run_until_complete`](EventLoop::run_until_complete) is none of them.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// let task = event_loop.create_task(std::future::pending::<()>())?;
    /// assert_eq!(event_loop.all_tasks()[0].id(), task.task().unwrap().id());
    /// event_loop.all_tasks()[0].cancel(None);
    /// event_loop.stop();
    /// event_loop.run_forever()?;
    /// assert!(event_loop.all_tasks().is_empty() && task.cancelled());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn all_tasks(&self) -> Vec<TaskHandle> {
        self.cell.shared.tasks()
    }

    /// Aborts every task that lives now.
    pub(crate) fn abort_tasks(&self) {
        self.cell.shared.abort_tasks();
    }

    /// How long the end of the loop waits for tasks that are asked to end.
    pub(crate) fn shutdown_timeout(&self) -> Duration {
        self.cell.shared.settings.shutdown_timeout
    }

    // ---- the end ---------------------------------------------------------------------------------------------------------------

    /// Closes the loop, for good. Callbacks and timed calls that had no turn are dropped; so are tasks that are still pending, and each of them
    /// is reported to the exception handler. Jobs on the blocking pool that have not begun are cancelled; those that run are not waited
    /// for. Closing a closed loop does nothing.
    ///
    /// # Errors
    ///
    /// [`LoopRunning`] while a run is on.
    ///
    /// ```
    /// let event_loop = eddies::EventLoop::new()?;
    /// event_loop.close().unwrap();
    /// event_loop.close().unwrap();
    /// let error = event_loop.call_soon(|| ()).unwrap_err();
    /// assert_eq!(error.to_string(), "Event loop is closed: `call_soon` was called after `close`");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn close(&self) -> Result<(), LoopRunning> {
        if self.is_running() {
            return Err(LoopRunning::new());
        }
        let owned = self.cell.owned.take();
        if let Some(owned) = owned {
            self.cell.end(owned);
        }
        Ok(())
    }

    /// Whether the loop is closed.
    pub fn is_closed(&self) -> bool {
        self.with_worker("is_closed", |_| ()).is_err()
    }

    /// Ends the blocking pool: jobs that wait are cancelled, those that run are awaited for at most `timeout`. After it
    /// [`run_in_executor`](EventLoop::run_in_executor) gives tasks that are cancelled.
    ///
    /// It blocks the thread, and the loop with it.
    ///
    /// # Errors
    ///
    /// [`StillRunning`] names the jobs that had not ended in time.
    pub fn shutdown_default_executor(&self, timeout: Duration) -> Result<(), StillRunning> {
        let began = Instant::now();
        let blocking = &self.cell.shared.blocking;
        blocking.begin_shutdown();
        blocking.shutdown(began.checked_add(timeout)).map_err(|what| StillRunning { waited: began.elapsed(), what })
    }

    // ---- tasks -----------------------------------------------------------------------------------------------------------------

    // `create_task` and the like are in `future::of_loop`: what they give is a `LoopFuture`.

    pub(crate) fn spawn_task<F>(&self, future: F, at: &'static Location<'static>) -> Result<Task<F::Output>, LoopClosed>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.with_worker("create_task", |worker| {
            worker.fetch_pinned();
            worker.spawn(future, Spawn::at(at))
        })
    }

    /// A local task that runs in `context` itself; `None`: in a copy of the current one.
    pub(crate) fn spawn_local_task<F>(
        &self,
        context: Option<&TaskContext>,
        future: F,
        at: &'static Location<'static>,
    ) -> Result<Task<F::Output>, LoopClosed>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let spawn = Spawn { context: context.cloned(), ..Spawn::at(at) };
        self.with_worker("create_local_task", |worker| {
            worker.fetch_pinned();
            worker.spawn_local(future, spawn)
        })
    }

    /// A job for `executor`; `None`: for the default one.
    pub(crate) fn spawn_job<F, T>(
        &self,
        executor: Option<&dyn Executor>,
        job: F,
        at: &'static Location<'static>,
    ) -> Result<Task<T>, LoopClosed>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let operation = if executor.is_some() { "run_in_executor_on" } else { "run_in_executor" };
        self.with_worker(operation, |worker| match executor {
            Some(executor) => worker.shared().spawn_on_executor(executor, job, Spawn::at(at)),
            None => worker.shared().spawn_on_default_executor(job, Spawn::at(at)),
        })
    }

    /// Has [`run_in_executor`](EventLoop::run_in_executor) use `executor` from now on; `None`: the loop's own pool again. Other functions, as
    /// [`spawn_blocking`](crate::spawn_blocking), stay with the pool.
    ///
    /// # Errors
    ///
    /// [`LoopClosed`].
    pub fn set_default_executor(&self, executor: Option<std::sync::Arc<dyn Executor>>) -> Result<(), LoopClosed> {
        let before = self.with_worker("set_default_executor", |worker| {
            std::mem::replace(&mut *worker.shared().executor.lock(), executor)
        })?;
        drop(before);
        Ok(())
    }

    /// The loop's clock: [`now`](crate::now). Legal on a closed loop.
    pub fn time(&self) -> Instant {
        self.cell.home.clock.now()
    }

    /// The loop, for other threads.
    pub fn handle(&self) -> LoopHandle {
        LoopHandle::new(self.cell.shared.clone())
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop")
            .field("running", &self.is_running())
            .field("closed", &self.is_closed())
            .field("debug", &self.get_debug())
            .finish_non_exhaustive()
    }
}

/// Two clones of one loop are equal.
impl PartialEq for EventLoop {
    fn eq(&self, other: &EventLoop) -> bool {
        Arc::ptr_eq(&self.cell.home, &other.cell.home)
    }
}

impl Eq for EventLoop {}

impl LoopCell {
    fn new(shared: Arc<Shared>, home: Arc<LoopShared>, owned: RefCell<Option<Owned>>, is_visiting: bool) -> Self {
        let (is_running, slow_callback_duration) = (Cell::new(false), Cell::new(SLOW_CALLBACK));
        let (catches_interrupts, interrupt_hook) = (Cell::new(false), InterruptHook::default());
        LoopCell {
            shared,
            home,
            owned,
            is_visiting,
            is_running,
            slow_callback_duration,
            catches_interrupts,
            interrupt_hook,
        }
    }

    /// This thread's exceptions go to this loop's handler until the guard is dropped.
    fn take_over_exceptions(&self) -> RestoreHandler {
        RestoreHandler(report::set_thread_handler(self.shared.settings.exception_handler.clone()))
    }

    /// The close, on the loop's thread.
    fn end(&self, owned: Owned) {
        let _handler = self.take_over_exceptions();
        for task in self.shared.tasks() {
            report::report(&Exception::destroyed(task.name(), task.spawned_at()));
        }
        self.home.set_occupied(true);
        self.shared.begin_shutdown();
        // A close is the end: what is to clean up first has its time in `drain`, or in a run.
        self.shared.abort_tasks();
        owned.worker.run_until_closed(false);
        drop(owned.worker);
        let executor = self.shared.executor.lock().take();
        drop(executor);
        owned.runtime.end_event_loop();
    }
}

impl Drop for LoopCell {
    /// A loop that is open closes itself. No run is on, for a run borrows an `EventLoop` (E2).
    fn drop(&mut self) {
        if let Some(owned) = self.owned.take() {
            self.end(owned);
        }
    }
}

/// What to do at a Ctrl-C: ask the hook, and interrupt the run if there is none or it declines.
pub(crate) struct InterruptAnswer {
    hook: InterruptHook,
    shared: Arc<Shared>,
}

impl InterruptAnswer {
    pub(crate) fn give(&self) {
        let hook = self.hook.borrow().clone();
        if !hook.is_some_and(|hook| hook()) {
            self.shared.at(0).signal(signal::INTERRUPT);
        }
    }
}

/// A run that is on. Dropping it ends what [`EventLoop::begin_run`] began.
struct Run<'a> {
    event_loop: &'a EventLoop,
    /// E2.
    worker: Rc<Worker>,
    /// The loop whose run is below this one on the stack, in a `block_in_place`.
    before: Option<EventLoop>,
    _handler: RestoreHandler,
    at: &'static Location<'static>,
}

impl Run<'_> {
    fn spawn(&self) -> Spawn {
        Spawn::at(self.at)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.event_loop.cell.is_running.set(false);
        self.worker.rest();
        let before = self.before.take();
        let this = RUNNING.try_with(|running| running.replace(before));
        drop(this);
    }
}

/// The main future's turn in the queue. It is not a task, but it waits in the queue like one: an unlisted task stands there for it, whose
/// waker is the main future's.
#[derive(Default)]
struct MainTurn {
    waker: RefCell<Option<Waker>>,
    has_come: Cell<bool>,
}

impl MainTurn {
    /// The waker to poll the main future with, if its turn has come.
    fn take(&self) -> Option<Waker> {
        if self.has_come.take() { self.waker.borrow().clone() } else { None }
    }
}

/// The task that stands in the queue for the main future.
struct MainProxy(Rc<MainTurn>);

impl Future for MainProxy {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.has_come.set(true);
        self.0.waker.borrow_mut().get_or_insert_with(|| cx.waker().clone());
        Poll::Pending
    }
}

struct AbortOnDrop(Task<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
