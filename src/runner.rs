//! Runs a main coroutine on an event loop of its own, and cleans up: asyncio's `Runner`. And what Ctrl-C does to an event loop.
//!
//! # When Ctrl-C is listened for
//!
//! A Rust program dies of SIGINT unless somebody listens, and listening changes that for the whole process. So an [`EventLoop`] listens only
//! when it is told to, with [`EventLoop::catch_interrupts`]; a [`Runner`] tells its loop to when it runs on the main thread, as asyncio's.
//! From then on, and until the loop is closed:
//!
//! - Ctrl-C during a run ends it at once with [`RunError::Interrupted`]. What is queued waits for the next run; the loop is not closed. In a
//!   `Runner` the first Ctrl-C cancels the main task, and when that has ended the run gives `Interrupted`; a second one ends the run at once.
//! - Ctrl-C between two runs interrupts the next.
//! - The third in a row that the loop has not answered, because it is stuck in a poll or does not run, has the signal's default effect: the
//!   process ends.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{Location, resume_unwind};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Context;
use crate::error::{LoopClosed, LoopRunning, RunError, StillRunning, TaskError};
use crate::event_loop::EventLoop;
use crate::policy;
use crate::signal::CtrlC;
use crate::spawn::yield_now;
use crate::sync::oneshot;
use crate::time::sleep;

/// How long the close of a [`Runner`] waits for jobs on the blocking pool: asyncio's.
const EXECUTOR_TIMEOUT: Duration = Duration::from_secs(300);

impl EventLoop {
    /// Has Ctrl-C (SIGINT) end the loop's runs with [`RunError::Interrupted`], from now on and until the loop is closed.
    ///
    /// From this call on the process does not die of Ctrl-C, unless three in a row are not answered; see [`signal`](crate::signal) for
    /// what listening means to the process. A second call changes nothing.
    ///
    /// # Errors
    ///
    /// The system's, when the process has no descriptor left; [`LoopClosed`] inside the error.
    ///
    /// ```
    /// use eddies::{EventLoop, RunError};
    ///
    /// let event_loop = EventLoop::new()?;
    /// event_loop.catch_interrupts()?;
    /// event_loop.call_soon(|| {
    ///     // As the terminal does at Ctrl-C.
    ///     signal_hook::low_level::raise(libc::SIGINT).unwrap();
    /// })?;
    /// assert_eq!(event_loop.run_forever(), Err(RunError::Interrupted));
    /// assert!(!event_loop.is_closed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn catch_interrupts(&self) -> io::Result<()> {
        if self.is_closed() {
            return Err(LoopClosed::new("catch_interrupts").into());
        }
        let handle = self.handle();
        let mut ctrl_c = {
            let _enter = handle.enter();
            CtrlC::listen()?
        };
        self.listen_for_interrupts(|answer| async move {
            while ctrl_c.recv().await.is_some() {
                answer.give();
            }
        })?;
        Ok(())
    }

    /// Ends every task: [cancels](crate::TaskHandle::cancel) each and runs the loop until none is left, with whatever they still queue; those that they
    /// spawn meanwhile are cancelled as well. What has not ended when `timeout` has passed is aborted.
    ///
    /// asyncio's recipe, "cancel all tasks, then run one iteration", leaves tasks behind that need more than one.
    ///
    /// # Errors
    ///
    /// As [`run_until_complete`](EventLoop::run_until_complete).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event_loop = eddies::EventLoop::new()?;
    /// let task = event_loop.create_task(std::future::pending::<()>())?;
    /// event_loop.drain(Duration::from_secs(10))?;
    /// assert!(task.cancelled());
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn drain(&self, timeout: Duration) -> Result<(), RunError> {
        let limit = self.time().checked_add(timeout);
        if self.is_closed() {
            return Err(RunError::Closed(LoopClosed::new("drain")));
        }
        self.run_until_complete(async {
            // Nearly always the next iteration ends them all. What takes longer, or ends on another thread, is looked for by the clock.
            for look in 1_usize.. {
                let tasks = self.all_tasks();
                if tasks.is_empty() {
                    break;
                }
                if limit.is_some_and(|limit| self.time() >= limit) {
                    self.abort_tasks();
                }
                // At first all of them, also one that has refused before; later those that have come since.
                for task in tasks.iter().filter(|task| look == 1 || task.cancelling() == 0) {
                    task.cancel("the event loop is drained");
                }
                drop(tasks);
                if look < 8 { yield_now().await } else { sleep(Duration::from_millis(1)).await }
            }
        })
    }
}

impl EventLoop {
    /// As [`shutdown_default_executor`](EventLoop::shutdown_default_executor), and runs the loop meanwhile, where it can be run: a job may wait for a
    /// callback or a task.
    fn outlast_executor(&self, timeout: Duration) -> Result<(), StillRunning> {
        let began = Instant::now();
        if self.shutdown_default_executor(Duration::ZERO).is_ok() {
            return Ok(());
        }
        let handle = self.handle();
        let (tell, hear) = oneshot();
        let wait = move || {
            // What still runs is named below.
            let _ = handle.shared().blocking.shutdown(began.checked_add(timeout));
            let _ = tell.send(());
        };
        if thread::Builder::new().name("eddies-executor-end".to_owned()).spawn(wait).is_ok() {
            // An interrupt leaves it at once; and then, as where another loop runs on this thread, there is only blocking left.
            if matches!(self.run_until_complete(hear), Ok(Ok(())) | Err(RunError::Interrupted)) {
                return self.shutdown_default_executor(Duration::ZERO);
            }
        }
        self.shutdown_default_executor(timeout.saturating_sub(began.elapsed()))
    }
}

/// An event loop with a clean end: runs main coroutines one after the other, and in the end ends what is left. asyncio's `Runner`.
///
/// Dropping it closes it.
///
/// ```
/// let runner = eddies::Runner::new()?;
/// assert_eq!(runner.run(async { 40 + 2 }), Ok(42));
/// assert_eq!(runner.run(async { "the same loop" }), Ok("the same loop"));
/// runner.close().unwrap();
/// # std::io::Result::Ok(())
/// ```
pub struct Runner {
    event_loop: EventLoop,
    /// Whether the thread's policy was told of the loop.
    is_set: Cell<bool>,
    catches_interrupts: Cell<bool>,
    /// What the main tasks run in, one after the other: what one of them has set, the next one sees.
    context: Context,
}

impl Runner {
    /// A runner with a new loop of the policy's making; see [`new_event_loop`](crate::new_event_loop).
    ///
    /// # Errors
    ///
    /// What the operating system says when it has no more threads or file descriptors.
    pub fn new() -> io::Result<Runner> {
        Ok(Runner::with_loop(policy::new_event_loop()?))
    }

    /// A runner that uses this loop, and closes it in the end.
    ///
    /// ```
    /// let event_loop = eddies::Runtime::builder().workers(2).build_event_loop()?;
    /// let runner = eddies::Runner::with_loop(event_loop);
    /// assert_eq!(runner.run(async { 1 }), Ok(1));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn with_loop(event_loop: EventLoop) -> Runner {
        let catches_interrupts = Cell::new(thread::current().name() == Some("main"));
        Runner { event_loop, is_set: Cell::new(false), catches_interrupts, context: Context::current().copy() }
    }

    /// The runner's loop.
    pub fn get_loop(&self) -> &EventLoop {
        &self.event_loop
    }

    /// Whether Ctrl-C is caught in the runs to come. Default: on the main thread. What a former run has begun to listen for it goes on to.
    pub fn set_catch_interrupts(&self, is_on: bool) {
        self.catches_interrupts.set(is_on);
    }

    /// Runs `main` as a task of the loop, and gives its output. The thread's policy is told of the loop. The main tasks of a runner share one
    /// [`Context`].
    ///
    /// At the first Ctrl-C the main task is [cancelled](crate::TaskHandle::cancel); once it has ended so, this is [`RunError::Interrupted`]. If it ends with an output all the
    /// same, that is given.
    ///
    /// # Errors
    ///
    /// As [`EventLoop::run_until_complete`]; and [`RunError::Cancelled`] when something else cancelled the main task. When the run was left before
    /// the end of `main`, its task is still there, and the close ends it.
    ///
    /// # Panics
    ///
    /// A panic of `main` passes through.
    #[track_caller]
    pub fn run<F>(&self, main: F) -> Result<F::Output, RunError>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        if let Some(running) = EventLoop::running() {
            return Err(if running == self.event_loop { RunError::AlreadyRunning } else { RunError::OtherLoopRunning });
        }
        if !self.event_loop.is_closed() && !self.is_set.replace(true) {
            policy::set_event_loop(Some(self.event_loop.clone()));
        }
        let mut task = self.event_loop.spawn_local_task(Some(&self.context), main, Location::caller())?;
        let interrupts = Rc::new(Cell::new(0_u32));
        if self.catches_interrupts.get() {
            // Without a listener Ctrl-C has its default effect, which is no reason not to run.
            let _ = self.event_loop.catch_interrupts();
        }
        let (count, main) = (interrupts.clone(), task.handle());
        self.event_loop.set_interrupt_hook(Some(Rc::new(move || {
            count.set(count.get() + 1);
            count.get() == 1 && main.cancel("Ctrl-C")
        })));
        let outcome = self.event_loop.run_until_complete(&mut task);
        self.event_loop.set_interrupt_hook(None);
        if let Err(RunError::Closed(_) | RunError::AlreadyRunning | RunError::OtherLoopRunning) = outcome {
            task.abort();
        }
        match outcome? {
            Ok(output) => Ok(output),
            Err(TaskError::Panicked(panic)) => match panic.take_payload() {
                Some(payload) => resume_unwind(payload),
                None => panic!("{panic}"),
            },
            Err(TaskError::Cancelled(_)) if interrupts.get() > 0 && task.cancelling() <= 1 => {
                Err(RunError::Interrupted)
            }
            Err(_) => Err(RunError::Cancelled),
        }
    }

    /// [Drains](EventLoop::drain) the loop, for as long as the builder's `shutdown_timeout` says, waits for the jobs on the blocking pool, and
    /// closes the loop. A job may need the loop to end: it runs while they are waited for. A second call does nothing.
    ///
    /// Jobs that still run after five minutes are named to the exception handler and left to themselves.
    ///
    /// # Errors
    ///
    /// [`LoopRunning`] inside of a run.
    pub fn close(&self) -> Result<(), LoopRunning> {
        if self.event_loop.is_closed() {
            return Ok(());
        }
        if self.event_loop.is_running() {
            return Err(LoopRunning::new());
        }
        // An interrupt leaves the rest to the close; so does a loop that runs on this thread, which this one then cannot.
        let _ = self.event_loop.drain(self.event_loop.shutdown_timeout());
        if let Err(still) = self.event_loop.outlast_executor(EXECUTOR_TIMEOUT) {
            self.event_loop.call_exception_handler(&crate::report::Exception::custom(still.to_string()));
        }
        if self.is_set.replace(false) {
            policy::set_event_loop(None);
        }
        self.event_loop.close()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Inside of a run nothing can be closed; the loop closes with its last clone.
        let _ = self.close();
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("event_loop", &self.event_loop).finish_non_exhaustive()
    }
}
