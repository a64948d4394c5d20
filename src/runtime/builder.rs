//! Every setting of a runtime, with its default and the reason for it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Runtime;
use crate::error::VirtualTimeRefused;
use crate::event_loop::EventLoop;
use crate::report::{Exception, Handler, Hooks, SlowPoll, SlowPollHook};
use crate::scheduler::{Settings, Shared, ThreadHook};

/// Most loops a runtime may have: a typing error should not start a million threads.
const WORKERS_MAX: usize = 4096;

/// A poll that lasts longer is reported, in a build with debug assertions and in others.
const SLOW_POLL_DEBUG: Duration = Duration::from_millis(100);
const SLOW_POLL: Duration = Duration::from_secs(1);

/// Settings for a [`Runtime`]. What is set here wins over the environment, which wins over the default.
///
/// ```
/// let runtime = eddies::Runtime::builder().workers(2).thread_name("web").build()?;
/// assert_eq!(runtime.workers(), 2);
/// # std::io::Result::Ok(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    workers: Option<usize>,
    spare_workers: Option<usize>,
    thread_name: String,
    thread_stack_size: Option<usize>,
    blocking_threads: usize,
    blocking_queue: Option<usize>,
    blocking_keep_alive: Duration,
    on_thread_start: Option<ThreadHook>,
    on_thread_stop: Option<ThreadHook>,
    exception_handler: Option<Handler>,
    shutdown_timeout: Duration,
    slow_poll: Option<Duration>,
    on_slow_poll: Option<SlowPollHook>,
    virtual_time: bool,
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder {
            workers: None,
            spare_workers: None,
            thread_name: "eddies".to_owned(),
            thread_stack_size: None,
            blocking_threads: 512,
            blocking_queue: None,
            blocking_keep_alive: Duration::from_secs(10),
            on_thread_start: None,
            on_thread_stop: None,
            exception_handler: None,
            shutdown_timeout: Duration::from_secs(10),
            slow_poll: None,
            on_slow_poll: None,
            virtual_time: false,
        }
    }

    /// The number of loops, at least 1. The thread that calls `block_on` is one of them; the others get a thread each. With 1 the runtime is
    /// single-threaded: the calling thread does everything, and nothing runs while no thread blocks on the runtime.
    ///
    /// Default: the environment variable `EDDIES_WORKERS`, else the number of CPUs this process may use, cgroup limits counted.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Most spare workers at a time: threads that start when every worker is held by a long poll while work waits, take it over, and end when
    /// they have been idle, or no poll was long, for some fifty milliseconds. 0 switches them off. A runtime of one worker has none unless asked for: it is
    /// single-threaded.
    ///
    /// Default: four times the workers.
    pub fn spare_workers(mut self, spare_workers: usize) -> Self {
        self.spare_workers = Some(spare_workers);
        self
    }

    /// The first part of the names of the runtime's threads. Default: `eddies`, which gives `eddies-1`, `eddies-blocking-0`, `eddies-monitor`, `eddies-spare-0`.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// The stack of each worker and blocking thread, in bytes. Default: the standard library's, 2 MiB.
    pub fn thread_stack_size(mut self, bytes: usize) -> Self {
        self.thread_stack_size = Some(bytes);
        self
    }

    /// Most threads of the blocking pool, at least 1. Default: 512, as tokio: they mostly wait, and start only when jobs wait for them.
    pub fn blocking_threads(mut self, threads: usize) -> Self {
        self.blocking_threads = threads;
        self
    }

    /// Most blocking jobs that wait for a thread; one more is refused. Default: no limit, so that `spawn_blocking` never fails; a service under
    /// overload does better with one, and [`try_spawn_blocking`](crate::try_spawn_blocking).
    pub fn blocking_queue(mut self, jobs: usize) -> Self {
        self.blocking_queue = Some(jobs);
        self
    }

    /// How long an idle thread of the blocking pool stays. Default: 10 s.
    pub fn blocking_keep_alive(mut self, keep_alive: Duration) -> Self {
        self.blocking_keep_alive = keep_alive;
        self
    }

    /// Runs on each thread of the runtime's own when it starts.
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_thread_start = Some(Arc::new(hook));
        self
    }

    /// Runs on each thread of the runtime's own when it ends.
    pub fn on_thread_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_thread_stop = Some(Arc::new(hook));
        self
    }

    /// Hears of every panic and error that no caller can be given: of a detached task, a destructor, a waker, a blocking job, the loop itself.
    /// It runs on the thread where the accident happened and should not block. Default: a line on stderr.
    ///
    /// ```
    /// # use std::sync::mpsc;
    /// let (tell, hear) = mpsc::channel();
    /// let runtime = eddies::Runtime::builder()
    ///     .exception_handler(move |exception| drop(tell.send(exception.to_string())))
    ///     .build()?;
    /// runtime.block_on(async {
    ///     drop(eddies::TaskBuilder::new().name("unlucky").spawn(async { panic!("out of luck") }));
    /// });
    /// assert!(hear.recv().unwrap().starts_with("task `unlucky` spawned at "));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn exception_handler(mut self, handler: impl Fn(&Exception) + Send + Sync + 'static) -> Self {
        self.exception_handler = Some(Arc::new(handler));
        self
    }

    /// How long dropping the runtime waits for polls and blocking jobs that are still running. Default: 10 s.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// How long a single poll may last before it is reported as slow: it names the task, the place of its spawn, the time and the worker. At most
    /// eight are reported in a second. [`Duration::MAX`] reports none. A runtime of one worker starts the monitor's thread for this only if
    /// the threshold is set here or in the environment.
    ///
    /// Default: the environment variable `EDDIES_SLOW_POLL` (`250ms`, `2s`, a number of milliseconds, or `off`), else 100 ms in a build with
    /// debug assertions, as asyncio's debug mode, and 1 s in others. The poll path reads no clock for it: the monitor compares what it sees in
    /// two of its looks, and so learns of a poll up to 11 ms after it began, which the reported time lacks. Where little runs, and the threshold is at least 250 ms, it may be a fifth of the
    /// threshold, 201 ms at most. With a threshold below 50 ms it is 2 ms, for a thread that then wakes a thousand times a second for as long as anything runs.
    pub fn slow_poll(mut self, threshold: Duration) -> Self {
        self.slow_poll = Some(threshold);
        self
    }

    /// Hears of slow polls, while they last. It runs on the monitor's thread and must not block. Default: a line on stderr.
    ///
    /// ```
    /// # use std::{sync::mpsc, time::Duration};
    /// let (tell, hear) = mpsc::channel();
    /// let runtime = eddies::Runtime::builder()
    ///     .workers(1)
    ///     .slow_poll(Duration::from_millis(5))
    ///     .on_slow_poll(move |slow| drop(tell.send(slow.to_string())))
    ///     .build()?;
    /// runtime.block_on(async move {
    ///     let task = eddies::TaskBuilder::new().name("hog").spawn(async move {
    ///         // Blocks its worker, until the report has come.
    ///         assert!(hear.recv().unwrap().starts_with("task `hog` spawned at "));
    ///     });
    ///     task.await.unwrap();
    /// });
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_slow_poll(mut self, hook: impl Fn(&SlowPoll) + Send + Sync + 'static) -> Self {
        self.on_slow_poll = Some(Arc::new(hook));
        self
    }

    /// Gives the runtime a clock of its own, for tests: it stands still while anything runs, and jumps to the next deadline when nothing does. An
    /// hour of sleeps takes no time, and always goes the same way; see [virtual time](crate::time#virtual-time).
    ///
    /// For a runtime of one worker and no spare ones, which `true` implies unless they are set. Default: `false`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = eddies::Runtime::builder().virtual_time(true).build()?;
    /// let slept = runtime.block_on(async {
    ///     let begin = eddies::now();
    ///     eddies::sleep(Duration::from_secs(3600)).await;
    ///     eddies::now() - begin
    /// });
    /// assert_eq!(slept, Duration::from_secs(3600));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn virtual_time(mut self, is_virtual: bool) -> Self {
        self.virtual_time = is_virtual;
        self
    }

    /// Starts the runtime.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a number of workers, set here or in `EDDIES_WORKERS`, that is zero, more than 4096 or no number, and for no blocking
    /// threads, a thread's name with a NUL, or an `EDDIES_SLOW_POLL` that is no time; with a [`VirtualTimeRefused`] inside for virtual time with more than one loop; else what the operating system says when it has no more threads or file descriptors.
    pub fn build(self) -> io::Result<Runtime> {
        Runtime::start(Shared::new(self.into_settings()?))
    }

    /// An [`EventLoop`] on the calling thread, with these settings.
    ///
    /// The thread is the first of its workers. With `workers(1)` everything runs on that thread, in one order, as in asyncio, and this is what
    /// [`EventLoop::new`] makes. With more, `Send` tasks run in parallel on the other loops; callbacks and local tasks keep to the calling
    /// thread. Between two runs the others go on, but the sockets and timers of the calling thread's loop rest.
    ///
    /// # Errors
    ///
    /// As [`build`](Builder::build).
    ///
    /// ```
    /// let event_loop = eddies::Runtime::builder().workers(2).build_event_loop()?;
    /// let task = event_loop.create_task(async { 6 * 7 }).unwrap();
    /// assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn build_event_loop(self) -> io::Result<EventLoop> {
        let mut settings = self.into_settings()?;
        settings.is_fifo = settings.workers + settings.spare_workers == 1;
        Ok(EventLoop::of_runtime(Runtime::start(Shared::new(settings))?))
    }

    fn into_settings(self) -> io::Result<Settings> {
        let workers = match self.workers {
            Some(workers) => workers,
            None if self.virtual_time => 1,
            None => workers_from_environment()?.unwrap_or_else(num_cpus::get),
        };
        if !(1..=WORKERS_MAX).contains(&workers) {
            return Err(invalid(format!("a runtime has 1 to {WORKERS_MAX} workers, not {workers}")));
        }
        let spare_workers = self.spare_workers.unwrap_or(if workers == 1 { 0 } else { 4 * workers });
        if spare_workers > 4 * WORKERS_MAX {
            return Err(invalid(format!(
                "a runtime has at most {} spare workers, not {spare_workers}",
                4 * WORKERS_MAX
            )));
        }
        if self.virtual_time && (workers, spare_workers) != (1, 0) {
            let refused = VirtualTimeRefused { workers, spare_workers };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, refused));
        }
        if self.thread_name.contains('\0') {
            return Err(invalid(format!("a thread's name has no NUL in it, as {:?} has", self.thread_name)));
        }
        if self.blocking_threads == 0 {
            return Err(invalid("the blocking pool needs at least one thread".to_owned()));
        }
        let threshold = match self.slow_poll {
            Some(threshold) => Some(threshold),
            None => slow_poll_from_environment()?,
        };
        // Nobody asked: a runtime of several workers has its monitor anyway, one of a single worker stays without a second thread.
        let by_default = (workers > 1).then_some(if cfg!(debug_assertions) { SLOW_POLL_DEBUG } else { SLOW_POLL });
        let slow_poll = threshold.or(by_default).filter(|&threshold| threshold != Duration::MAX);
        let hooks = Hooks::new(self.exception_handler);
        Ok(Settings {
            workers,
            spare_workers,
            thread_name: self.thread_name,
            thread_stack_size: self.thread_stack_size,
            on_thread_start: self.on_thread_start,
            on_thread_stop: self.on_thread_stop,
            exception_handler: Some(hooks.handler()),
            hooks,
            shutdown_timeout: self.shutdown_timeout,
            slow_poll,
            on_slow_poll: self.on_slow_poll,
            is_fifo: false,
            blocking_threads: self.blocking_threads,
            blocking_queue: self.blocking_queue,
            blocking_keep_alive: self.blocking_keep_alive,
            virtual_time: self.virtual_time,
        })
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

fn workers_from_environment() -> io::Result<Option<usize>> {
    let Some(value) = std::env::var_os("EDDIES_WORKERS") else { return Ok(None) };
    let number = value.to_str().and_then(parse_workers);
    number.map(Some).ok_or_else(|| invalid(format!("EDDIES_WORKERS is {value:?}, which is no number of workers")))
}

fn parse_workers(text: &str) -> Option<usize> {
    text.trim().parse().ok()
}

/// `Duration::MAX` for `off`.
fn slow_poll_from_environment() -> io::Result<Option<Duration>> {
    let Some(value) = std::env::var_os("EDDIES_SLOW_POLL") else { return Ok(None) };
    let threshold = value.to_str().and_then(parse_threshold);
    threshold
        .map(Some)
        .ok_or_else(|| invalid(format!("EDDIES_SLOW_POLL is {value:?}, not a time like 250ms, 2s or off")))
}

fn parse_threshold(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "off" {
        return Some(Duration::MAX);
    }
    let (number, unit): (&str, fn(u64) -> Duration) = if let Some(number) = text.strip_suffix("ms") {
        (number, Duration::from_millis)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, Duration::from_secs)
    } else {
        (text, Duration::from_millis)
    };
    number.trim().parse().ok().map(unit)
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("workers", &self.workers)
            .field("thread_name", &self.thread_name)
            .field("blocking_threads", &self.blocking_threads)
            .field("blocking_queue", &self.blocking_queue)
            .field("virtual_time", &self.virtual_time)
            .finish_non_exhaustive()
    }
}

#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/checks/settings.rs"]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_read_as_a_person_writes_it() {
        assert_eq!(parse_threshold("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_threshold(" 2 s "), Some(Duration::from_secs(2)));
        assert_eq!(parse_threshold("40"), Some(Duration::from_millis(40)));
        assert_eq!(parse_threshold("off"), Some(Duration::MAX));
        assert_eq!((parse_threshold("soon"), parse_threshold("-1ms"), parse_threshold("")), (None, None, None));
    }
}
