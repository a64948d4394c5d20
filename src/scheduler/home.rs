//! Where a task belongs: its home loop, reached by an uncounted pointer; and how its Runnable gets into a queue.
//!
//! Every task carries its home so that a wake from any thread finds the runtime. Counting that reference would cost two read-modify-writes
//! for each task on a line that all workers share; H1 (a task that is not complete keeps its runtime alive) makes counting unnecessary.

#![allow(unsafe_code, reason = "a task points to its home loop without counting (H1)")]

use std::fmt;
use std::future::Future;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use super::current::{self, Place};
use super::monitor::Monitor;
use super::worker::{Origin, Worker};
use super::{LoopShared, Settings, Shared, ThreadHook, signal};
use crate::blocking::{self, Job as _, Rejected};
use crate::loom::{Arc, Mutex, Weak};
use crate::queue::inbox::{Link, Node};
use crate::queue::word::Word;
use crate::report::{self, Exception, ExceptionKind};
use crate::task::registry::Registry;
use crate::task::{self, Outcome, Runnable, Schedule, Spawn, Task, TaskHandle, TaskRef};

/// The home loop of a task that any loop may run.
#[derive(Clone, Copy)]
pub(super) struct Home(NonNull<LoopShared>);

// SAFETY: `LoopShared` is Sync, and the pointer is used only while the loop is alive (H1).
unsafe impl Send for Home {}
// SAFETY: as above.
unsafe impl Sync for Home {}

impl Home {
    pub(super) fn of(home: &Arc<LoopShared>) -> Self {
        Home(NonNull::from(&**home))
    }

    /// # Safety
    ///
    /// The task is not complete, or the caller keeps its runtime alive.
    unsafe fn get(&self) -> &LoopShared {
        // SAFETY: the caller's contract, and H1.
        unsafe { self.0.as_ref() }
    }
}

impl Schedule for Home {
    #[inline]
    fn schedule(&self, runnable: Runnable) {
        // SAFETY: the Runnable says that the task is not complete (T2).
        let home = unsafe { self.get() };
        let left = current::with_worker(|worker| match worker {
            Some(worker) if worker.is_of(&home.shared) => {
                worker.schedule(runnable);
                None
            }
            _ => Some(runnable),
        });
        if let Some(runnable) = left {
            // H2: counted before the push. `home` is not passed on: it may be gone before the function returns.
            schedule_from_outside(home.shared.upgrade(), home.index, runnable);
        }
    }

    fn release(&self, task: TaskRef) -> bool {
        // SAFETY: the task is completing, not complete.
        let home = unsafe { self.get() };
        unlink(home, &home.registry, task)
    }
}

/// A wake that comes from no worker of the task's runtime.
#[cold]
fn schedule_from_outside(shared: Option<Arc<Shared>>, index: usize, runnable: Runnable) {
    // There is always something to count, for the Runnable keeps the runtime alive until it is pushed (H1).
    if let Some(shared) = shared {
        shared.push_from_outside(index, runnable);
    }
    // Else the runtime could not start the thread that was to end its tasks, and left its loops' memory behind (`Shared::drop`): the Runnable
    // was dropped here, which ends the task.
}

/// Takes a completing task out of its registry; the last one of a closed registry tells those who wait for it.
#[inline]
fn unlink(home: &LoopShared, registry: &Registry, task: TaskRef) -> bool {
    let removed = registry.remove(task);
    if removed.is_drained {
        tell_drained(home);
    }
    removed.was_linked
}

#[cold]
fn tell_drained(home: &LoopShared) {
    let Some(shared) = home.shared.upgrade() else { return };
    // A shutdown that has closed the registry but is not seen here yet looks at it once more when it signals (`begin_shutdown`).
    if shared.is_closing() {
        shared.tasks_ended();
    } else {
        // The owner alone has closed it, to leave its seat.
        home.signal(signal::CLOSE);
    }
}

/// Puts a Runnable into the one queue of `home` that nobody steals from. `home` lives at least until the Runnable is in a queue (H1).
fn schedule_pinned(home: &LoopShared, runnable: Runnable) {
    let left = current::with_worker(|worker| match worker {
        Some(worker) if worker.sits_in(home) => {
            // What another thread has sent by now came first.
            worker.fetch_pinned();
            worker.schedule_local(runnable);
            None
        }
        _ => Some(runnable),
    });
    let Some(runnable) = left else { return };
    // H2, as in `schedule_from_outside`. A local task whose thread is gone must not be dropped on another one.
    let Some(shared) = home.shared.upgrade() else { return std::mem::forget(runnable) };
    let index = home.index;
    if home.pinned_inbox.push(runnable) {
        shared.at(index).nudge();
    }
}

/// The home loop of a callback that any thread may drop: it runs on that loop, in the order of the registrations.
#[derive(Clone, Copy)]
struct CallbackHome(Home);

impl Schedule for CallbackHome {
    const IS_TASK: bool = false;

    fn schedule(&self, runnable: Runnable) {
        // SAFETY: the Runnable says that the task is not complete (T2).
        schedule_pinned(unsafe { self.0.get() }, runnable);
    }

    fn release(&self, task: TaskRef) -> bool {
        // SAFETY: the task is completing, not complete.
        let home = unsafe { self.0.get() };
        unlink(home, &home.callbacks, task)
    }
}

/// The home loop of a callback, or of an unlisted local task, that only that loop's thread may run and drop.
#[derive(Clone, Copy)]
struct LocalCallbackHome(Home);

impl Schedule for LocalCallbackHome {
    const IS_TASK: bool = false;

    fn schedule(&self, runnable: Runnable) {
        // SAFETY: the Runnable says that the task is not complete (T2).
        schedule_pinned(unsafe { self.0.get() }, runnable);
    }

    fn release(&self, task: TaskRef) -> bool {
        // SAFETY: the task is completing, not complete.
        let home = unsafe { self.0.get() };
        unlink(home, &home.local_callbacks, task)
    }
}

/// The home loop of a task that only that loop's thread may run.
#[derive(Clone, Copy)]
struct LocalHome(Home);

impl Schedule for LocalHome {
    fn schedule(&self, runnable: Runnable) {
        // SAFETY: the Runnable says that the task is not complete (T2).
        schedule_pinned(unsafe { self.0.get() }, runnable);
    }

    fn release(&self, task: TaskRef) -> bool {
        // SAFETY: the task is completing, not complete.
        let home = unsafe { self.0.get() };
        unlink(home, &home.local_registry, task)
    }
}

impl Worker {
    /// Spawns on this worker's loop.
    #[inline]
    pub(crate) fn spawn<F>(&self, future: F, spawn: Spawn) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (home, is_eager) = (self.service_home(), spawn.is_eager);
        let (runnable, task) = task::spawn(future, Home::of(home), spawn, true);
        if home.registry.insert(runnable.task_ref()) {
            if is_eager { self.run_at_once(runnable, Origin::Shared) } else { self.schedule(runnable) }
        } else {
            drop(runnable);
        }
        task
    }

    /// Spawns a future that stays on this thread.
    pub(crate) fn spawn_local<F>(&self, future: F, spawn: Spawn) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let (home, is_eager) = (self.home(), spawn.is_eager);
        // SAFETY: `LocalHome` gives Runnables to the pinned queue or inbox of this loop, which only the thread in its seat drains; and that
        // thread ends its local tasks before it leaves the seat (`Worker::end_local_tasks`).
        let (runnable, task) = unsafe { task::spawn_local(future, LocalHome(Home::of(home)), spawn) };
        if home.local_registry.insert(runnable.task_ref()) {
            if is_eager { self.run_at_once(runnable, Origin::Pinned) } else { self.schedule_local(runnable) }
        } else {
            drop(runnable);
        }
        task
    }
}

impl LoopShared {
    /// Makes a callback that any thread may drop, and puts it at the back of the loop's queue. `false`: the loop is closed.
    pub(super) fn spawn_callback(
        self: &Arc<Self>,
        callback: impl Future<Output = ()> + Send + 'static,
        at: Spawn,
    ) -> bool {
        let (runnable, task) = task::spawn(callback, CallbackHome(Home::of(self)), at, true);
        drop(task);
        let is_open = self.callbacks.insert(runnable.task_ref());
        if is_open {
            schedule_pinned(self, runnable);
        }
        is_open
    }
}

impl Worker {
    /// Spawns a future that stays on this thread and that nobody is shown: a callback, or a part of the loop itself. `None`: the loop is
    /// closed.
    pub(crate) fn spawn_unlisted<F>(&self, future: F, at: Spawn) -> Option<Task<()>>
    where
        F: Future<Output = ()> + 'static,
    {
        let (runnable, task) = self.make_unlisted(future, at)?;
        self.fetch_pinned();
        self.schedule_local(runnable);
        Some(task)
    }

    /// What [`spawn_unlisted`](Worker::spawn_unlisted) makes, for a caller on this thread that keeps the Runnable on it.
    pub(super) fn make_unlisted<F>(&self, future: F, at: Spawn) -> Option<(Runnable, Task<()>)>
    where
        F: Future<Output = ()> + 'static,
    {
        let home = self.home();
        // SAFETY: `LocalCallbackHome` gives Runnables to the pinned queue or inbox of this loop, which only the thread in its seat drains, and
        // `CallTimers` never leaves the worker's thread; and that thread ends what is in `local_callbacks` before it leaves the seat
        // (`Worker::end_local_tasks`).
        let (runnable, task) = unsafe { task::spawn_local(future, LocalCallbackHome(Home::of(home)), at) };
        home.local_callbacks.insert(runnable.task_ref()).then_some((runnable, task))
    }
}

impl Shared {
    /// Spawns from a thread that is no worker of this runtime.
    pub(crate) fn spawn_from_outside<F>(&self, future: F, spawn: Spawn) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let home = self.pick_loop();
        let (runnable, task) = task::spawn(future, Home::of(home), spawn, true);
        if home.registry.insert(runnable.task_ref()) {
            self.push_from_outside(home.index, runnable);
        } else {
            drop(runnable);
        }
        task
    }

    /// Spawns from wherever the caller is.
    #[inline]
    pub(crate) fn spawn<F>(self: &Arc<Self>, future: F, spawn: Spawn) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        current::with(|place| match place {
            Place::Worker(worker) if Arc::ptr_eq(worker.shared(), self) => worker.spawn(future, spawn),
            _ => self.spawn_from_outside(future, spawn),
        })
    }

    /// Runs `f` on the blocking pool; if that refuses, the task is cancelled.
    pub(crate) fn spawn_blocking_or_cancel<F, T>(&self, f: F, spawn: Spawn) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (job, task) = Job::new(f, spawn);
        match self.blocking.submit(job) {
            Ok(()) => {}
            Err(Rejected::Closed(job) | Rejected::Full(job)) => job.cancel(),
            Err(Rejected::NoThread(error, job)) => {
                self.report_loop_error("starting a blocking thread", &error);
                job.cancel();
            }
        }
        task
    }

    /// Runs `f` on the blocking pool; if that refuses, `f` comes back.
    pub(crate) fn try_spawn_blocking<F, T>(&self, f: F, spawn: Spawn) -> Result<Task<T>, F>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let closure = Arc::new(Mutex::new(Some(f)));
        let of_job = closure.clone();
        let job = move || {
            let f = of_job.lock().take().expect("the job runs once, and only if the pool took it");
            f()
        };
        let (job, task) = Job::new(job, spawn);
        let refused = match self.blocking.submit(job) {
            Ok(()) => return Ok(task),
            Err(Rejected::Closed(job) | Rejected::Full(job) | Rejected::NoThread(_, job)) => job,
        };
        let f = closure.lock().take();
        refused.cancel();
        Err(f.expect("a job that was refused has not run"))
    }
}

/// The future of a blocking job: its first poll runs the closure to the end.
struct Blocking<F>(Option<F>);

impl<F> Unpin for Blocking<F> {}

impl<T, F: FnOnce() -> T> Future for Blocking<F> {
    type Output = T;

    fn poll(mut self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        match self.0.take() {
            // A blocking job has no budget: what it drives with its own `block_on` must not be cut short.
            Some(f) => Poll::Ready(crate::coop::without_budget(f)),
            None => unreachable!("the job was ready at its first poll"),
        }
    }
}

/// The scheduler of blocking jobs: they are scheduled once, by hand, and never idle.
#[derive(Clone, Copy)]
struct Unscheduled;

impl Schedule for Unscheduled {
    const IS_TASK: bool = false;

    fn schedule(&self, runnable: Runnable) {
        debug_assert!(false, "a blocking job was woken while idle");
        drop(runnable);
    }

    fn release(&self, _: TaskRef) -> bool {
        false
    }
}

/// A task's Runnable as a job of the blocking pool.
pub(crate) struct Job(Runnable);

impl Job {
    /// A job that calls `f`, and the task that gives its output.
    pub(super) fn new<F, T>(f: F, spawn: Spawn) -> (Job, Task<T>)
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (runnable, task) = task::spawn(Blocking(Some(f)), Unscheduled, spawn, false);
        (Job(runnable), task)
    }
}

impl blocking::Job for Job {
    type Description = Described;

    fn run(self) {
        let outcome = self.0.run();
        debug_assert!(matches!(outcome, Outcome::Finished), "a blocking job is ready at its first poll");
    }

    fn cancel(self) {
        self.0.cancel();
    }

    fn describe(&self) -> Described {
        Described(self.0.reference())
    }
}

/// Keeps a job's cell, and so its name, while the job runs.
pub(crate) struct Described(TaskHandle);

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blocking job {}", self.0.label())
    }
}

impl Word for Runnable {
    #[inline]
    fn into_ptr(self) -> NonNull<()> {
        self.into_node().cast()
    }

    #[inline]
    unsafe fn from_ptr(ptr: NonNull<()>) -> Self {
        // SAFETY: the caller's contract: the pointer comes from `into_ptr`.
        unsafe { Runnable::from_node(ptr.cast()) }
    }
}

/// The runtime's blocking pool. Its threads are inside the runtime for as long as they live, so that a job can spawn and sleep there.
pub(crate) fn blocking_pool(settings: &Settings, monitor: Arc<Monitor>, shared: Weak<Shared>) -> blocking::Pool<Job> {
    let (handler, start) = (settings.exception_handler.clone(), settings.on_thread_start.clone());
    let on_idle = settings.virtual_time.then(|| shared.clone()).map(|shared| -> Box<dyn Fn() + Send + Sync> {
        Box::new(move || {
            // A job kept the virtual clock from jumping, and its worker asleep.
            if let Some(shared) = shared.upgrade() {
                shared.at(0).nudge();
            }
        })
    });
    let on_thread_start = move || {
        report::set_thread_handler(handler.clone());
        if let Some(shared) = shared.upgrade() {
            current::enter_for_good(&shared);
        }
        if let Some(hook) = &start {
            hook();
        }
    };
    blocking::Pool::new(blocking::Config {
        name_prefix: settings.thread_name.clone(),
        stack_size: settings.thread_stack_size,
        threads_max: settings.blocking_threads,
        eager_threads: num_cpus::get().min(settings.blocking_threads),
        queue_max: settings.blocking_queue,
        keep_alive: settings.blocking_keep_alive,
        on_thread_start: Some(Arc::new(on_thread_start)),
        on_thread_stop: settings.on_thread_stop.clone(),
        on_queue: Box::new(move || monitor.hurry()),
        on_idle,
        on_panic: Box::new(|_, payload| {
            report::report(&Exception::panic(ExceptionKind::BlockingJob, &*payload));
            report::drop_payload(payload);
        }),
        ..blocking::Config::new(num_cpus::get())
    })
}

/// Calls a hook of the user's.
pub(crate) fn call_hook(hook: Option<&ThreadHook>) {
    if let Some(hook) = hook {
        report::catch(ExceptionKind::Loop, || hook());
    }
}

// SAFETY: a Runnable is one pointer that owns what it points to; the node is the first field of the task's header, stays where it is, and the
// two functions are each other's inverse.
unsafe impl Link for Runnable {
    fn into_raw(self) -> NonNull<Node> {
        self.into_node()
    }

    unsafe fn from_raw(node: NonNull<Node>) -> Self {
        // SAFETY: the caller's contract: the pointer comes from `into_raw`.
        unsafe { Runnable::from_node(node) }
    }
}
