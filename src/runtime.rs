//! A runtime: a ring of loops with their threads, and the ways in and out of it.
//!
//! `block_on` makes the calling thread a worker: the main future runs pinned on loop 0, so that accepting and spawning from `main` crosses no
//! thread. Dropping a runtime, or [`Runtime::shutdown`], ends every task: each is cancelled and runs to its end on the workers, those that refuse are
//! aborted when the time has passed, and the threads are joined; nothing is lost silently and nothing waits for ever.

pub(crate) mod builder;
pub(crate) mod loop_handle;

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

pub use builder::Builder;
pub use loop_handle::{EnterGuard, LoopHandle};

use crate::coop;
use crate::error::StillRunning;
use crate::loom::Arc;
use crate::loom::thread::{self, Thread};
use crate::report::{self, Exception, ExceptionKind};
use crate::scheduler::thread_waker::ThreadWaker;
use crate::scheduler::worker::Worker;
use crate::scheduler::{LoopShared, Shared, current, signal};
use crate::task::Spawn;
use crate::task::Task;

/// A ring of event loops with their threads.
///
/// Most programs call [`run`](crate::run) or use [`#[eddies::main]`](macro@crate::main) and never see one. Dropping it shuts it down as
/// [`shutdown`](Runtime::shutdown) does, waiting at most the builder's `shutdown_timeout`; what still ran then is reported to the exception
/// handler. Dropped inside of async code it does not wait: the shutdown goes on in the background.
///
/// A process that forks without `exec` leaves the runtime's threads behind: the child cannot block on it, and dropping it there does nothing. A
/// new runtime works there as anywhere.
///
/// ```
/// let runtime = eddies::Runtime::builder().workers(2).build()?;
/// let answer = runtime.block_on(async { eddies::spawn(async { 42 }).await });
/// assert_eq!(answer.unwrap(), 42);
/// runtime.shutdown(std::time::Duration::from_secs(1)).unwrap();
/// # std::io::Result::Ok(())
/// ```
pub struct Runtime {
    shared: Arc<Shared>,
    is_shut_down: bool,
}

impl Runtime {
    /// A runtime with default settings.
    ///
    /// # Errors
    ///
    /// What the operating system says when it has no more threads or file descriptors.
    pub fn new() -> io::Result<Runtime> {
        Builder::new().build()
    }

    /// Settings for a runtime.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn start(shared: Arc<Shared>) -> io::Result<Runtime> {
        let runtime = Runtime { shared, is_shut_down: false };
        let shared = &runtime.shared;
        for index in 1..shared.settings.workers {
            let seat = shared.seats.take(index).expect("a new runtime's seats are free");
            let of_thread = shared.clone();
            // Here and not only when the thread gets there: who places a socket or a timer meanwhile must not give it to loop 0, which nobody
            // may ever sit in.
            shared.at(index).set_occupied(true);
            shared.start_thread(format!("{}-{index}", shared.settings.thread_name), move || {
                Worker::new(of_thread, seat).run_until_closed(false)
            })?;
        }
        Ok(runtime)
    }

    /// Runs `future` to its end on the calling thread, which becomes a worker of the runtime for that time.
    ///
    /// Local tasks that the future spawned on this thread are cancelled and run to their end before this returns (those that have not ended after the
    /// builder's `shutdown_timeout` are aborted); other tasks run on, on the runtime's other threads. A
    /// runtime of one worker has no other thread: its tasks rest until the next `block_on`. Several threads may block on one runtime at once;
    /// one of them sits in loop 0, the others wait for their future without a loop of their own.
    ///
    /// Inside of async code it blocks a worker, as [`block_in_place`](crate::block_in_place) does, and the worker's peers take over its work for
    /// that time. Prefer to `.await` there: only so many workers can be blocked at once before the runtime stands still.
    ///
    /// # Panics
    ///
    /// Inside of async code on a thread whose work nobody could take over: in a runtime of one worker, and in a `block_on` that has no loop of its
    /// own. In a forked child, which has the runtime's memory and not its threads. A panic of the future itself passes through.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        block_on(&self.shared, future)
    }

    /// A reference to the runtime for other threads.
    pub fn handle(&self) -> LoopHandle {
        LoopHandle::new(self.shared.clone())
    }

    /// Spawns a task; see [`spawn`](crate::spawn). It begins to run at once if the runtime has threads of its own.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.shared.spawn(future, Spawn::at(Location::caller()))
    }

    /// The number of loops.
    pub fn workers(&self) -> usize {
        self.shared.settings.workers
    }

    /// Ends the runtime: no new task is taken, every task is [cancelled](crate::TaskHandle::cancel) and runs to its end, queued blocking jobs are cancelled,
    /// running ones awaited, and all threads joined. A task that does not wait in a [`catch_cancel`](crate::catch_cancel) ends at once, its future
    /// dropped; one that does can clean up first, though it can spawn nothing more. Those that still live when `timeout` has passed are aborted.
    ///
    /// Inside of async code it cannot wait, and answers at once; the shutdown goes on in the background.
    ///
    /// # Errors
    ///
    /// [`StillRunning`] names what had not ended a tenth of a second after that: polls and blocking jobs cannot be interrupted. Their threads end on
    /// their own, when these do.
    pub fn shutdown(mut self, timeout: Duration) -> Result<(), StillRunning> {
        self.is_shut_down = true;
        self.end(timeout)
    }

    fn end(&self, timeout: Duration) -> Result<(), StillRunning> {
        if self.shared.is_of_parent() {
            // Its threads are not here to be waited for, its tasks are the parent's to end, and its epoll instances the parent still uses.
            std::mem::forget(self.shared.clone());
            return Ok(());
        }
        let began = Instant::now();
        self.shared.begin_shutdown();
        // Whoever holds seat 0 (the stand-in) runs its loop to the end; an empty seat is filled once more, if anything lives.
        if self.shared.is_populated() && self.shared.seats.is_free(0) {
            let shared = self.shared.clone();
            let name = format!("{}-0", shared.settings.thread_name);
            if let Err(error) = self.shared.start_thread(name, move || shared.end_tasks()) {
                self.shared.report_loop_error("starting the thread that ends the tasks of loop 0", &error);
                if !current::is_driving() {
                    // Then here, though no time limit holds for it.
                    self.shared.end_tasks();
                }
            }
        }
        if current::is_driving() {
            let shared = self.shared.clone();
            let name = format!("{}-shutdown", shared.settings.thread_name);
            let finish = move || drop(finish(&shared, began, timeout, timeout));
            if let Err(error) = thread::Builder::new().name(name).spawn(finish) {
                self.shared.report_loop_error("starting the thread that waits for the shutdown", &error);
            }
            return Ok(());
        }
        finish(&self.shared, began, timeout, timeout)
    }

    /// The end of an event loop's runtime, whose tasks its own thread has ended: jobs that still run on the blocking pool are not waited for.
    pub(crate) fn end_event_loop(mut self) {
        self.is_shut_down = true;
        let began = Instant::now();
        self.shared.begin_shutdown();
        let timeout = self.shared.settings.shutdown_timeout;
        if let Err(still) = finish(&self.shared, began, timeout, Duration::ZERO)
            && self.shared.is_populated()
        {
            report::report(&Exception::new(ExceptionKind::Loop, still.to_string()));
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// How long a shutdown whose time has passed waits for the tasks that it then aborts: their destructors run, and nothing else.
const ABORT_GRACE: Duration = Duration::from_millis(100);

/// Waits for the threads of a runtime whose shutdown has begun, and closes what they used. Jobs get their own time to end.
fn finish(shared: &Arc<Shared>, began: Instant, timeout: Duration, of_jobs: Duration) -> Result<(), StillRunning> {
    let deadline = began.checked_add(timeout);
    let mut what = Vec::new();
    let has_ended = shared.await_threads(deadline) || {
        shared.abort_tasks();
        shared.await_threads(Some(Instant::now() + ABORT_GRACE))
    };
    if has_ended {
        // The monitor may have started a spare worker in the last moment; now it starts no more.
        shared.monitor.stop();
        shared.await_threads(None);
        shared.join_threads();
        let mut wakers = Vec::new();
        for each in shared.in_use() {
            each.reactor.shutdown(&mut wakers);
            wakers.extend(each.timers.close());
        }
        for waker in wakers {
            report::catch(ExceptionKind::Waker, || waker.wake());
        }
    } else {
        what.extend(shared.describe_tasks());
        if what.is_empty() {
            what.push("a worker thread".to_owned());
        }
    }
    if let Err(jobs) = shared.blocking.shutdown(began.checked_add(of_jobs)) {
        what.extend(jobs);
    }
    shared.monitor.stop();
    if what.is_empty() { Ok(()) } else { Err(StillRunning { waited: began.elapsed(), what }) }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if self.is_shut_down {
            return;
        }
        let handler = self.shared.settings.exception_handler.clone();
        if let Err(still) = self.end(self.shared.settings.shutdown_timeout) {
            let before = handler.map(|handler| report::set_thread_handler(Some(handler)));
            report::report(&Exception::new(ExceptionKind::Loop, still.to_string()));
            if let Some(before) = before {
                report::set_thread_handler(before);
            }
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("workers", &self.shared.settings.workers)
            .field("live_tasks", &self.shared.live_tasks())
            .finish_non_exhaustive()
    }
}

#[track_caller]
pub(crate) fn block_on<F: Future>(shared: &Arc<Shared>, future: F) -> F::Output {
    assert!(
        !shared.rests_here() || shared.is_closing(),
        "`block_on` was called with the handle of this thread's event loop, which does not run while the thread waits: give the future to \
         `EventLoop::run_until_complete` instead"
    );
    assert!(
        !shared.is_of_parent(),
        "`block_on` was called in a forked child of the process that made this runtime, whose threads are not here: make a runtime of its own \
         after the fork, or `exec`"
    );
    if current::is_driving() {
        assert!(
            current::with_worker(|worker| worker.is_some_and(Worker::can_lend)),
            "`block_on` was called inside of async code on thread `{}`, whose work no other thread could take over meanwhile (its runtime has \
             one worker, or the thread runs no loop): `.await` the future instead, or move the call into `eddies::spawn_blocking`",
            thread::current().name().unwrap_or("unnamed")
        );
        return block_in_place(|| block_on(shared, future));
    }
    let mut future = pin!(future);
    let handler = shared.settings.exception_handler.clone();
    let _handler = RestoreHandler(report::set_thread_handler(handler));
    let (seat, first_waker) = match shared.request_seat() {
        Some(seat) => (seat, None),
        None => {
            let waker = Arc::new(ThreadWaker::new(thread::current()));
            let context_waker = Waker::from(waker.clone());
            let _restore = current::drive_without_seat(shared);
            let seatless = shared.block_seatless();
            loop {
                if waker.take()
                    && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&context_waker))
                {
                    return output;
                }
                if let Some(seat) = seatless.take_seat() {
                    break (seat, Some(waker));
                }
                // The future's poll may have used up the token of a wake-up that came meanwhile; nothing of the user's runs after this look.
                if !waker.is_woken() {
                    thread::park();
                }
            }
        }
    };
    // Runs after the worker has left its seat, also when the future panics.
    let _stand_in = EnsureStandIn(shared);
    let worker = Worker::new(shared.clone(), seat);
    let home = worker.home().clone();
    // The worker's own, by which it knows what it polls: another one made here could have a table of its own.
    let waker = worker.main_waker().clone();
    home.set_main_location(Location::caller());
    if let Some(first_waker) = first_waker {
        first_waker.sit(home.clone());
    }
    home.signal(signal::MAIN);
    worker.run(|signals| {
        if signals & signal::MAIN == 0 {
            return None;
        }
        let poll = || coop::with_budget(|| future.as_mut().poll(&mut Context::from_waker(&waker)));
        match worker.poll_main(poll) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    })
}

/// Runs `f`, which blocks the thread or computes for long, in the middle of a task, and has the worker's peers take over its work at once
/// instead of after the monitor has noticed: queued tasks, ready sockets, due timers. If no peer is free a spare worker starts.
///
/// What is pinned to this thread waits: its local tasks, the main future if it is there, the task that calls. On a thread that is no worker, and
/// in a runtime of one worker, `f` is simply run. [`spawn_blocking`](crate::spawn_blocking) costs less where the closure can be `'static`.
///
/// ```
/// eddies::run(async {
///     let mut text = String::new();
///     eddies::block_in_place(|| text.push_str("borrowed, and blocking"));
///     assert!(text.starts_with("borrowed"));
/// });
/// ```
pub fn block_in_place<R>(f: impl FnOnce() -> R) -> R {
    current::with_worker(|worker| match worker {
        Some(worker) if worker.can_lend() => {
            let _lent = worker.lend();
            let _restore = current::stop_driving();
            coop::without_budget(f)
        }
        _ => f(),
    })
}

struct EnsureStandIn<'a>(&'a Arc<Shared>);

impl Drop for EnsureStandIn<'_> {
    fn drop(&mut self) {
        self.0.ensure_stand_in();
    }
}

/// Puts a thread's exception handler back.
pub(crate) struct RestoreHandler(pub(crate) Option<report::Handler>);

impl Drop for RestoreHandler {
    fn drop(&mut self) {
        report::set_thread_handler(self.0.take());
    }
}

impl Wake for ThreadWaker<Thread, Arc<LoopShared>> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        ThreadWaker::wake(self, Thread::unpark, |home| home.signal(signal::MAIN));
    }
}
