//! Exceptions: what went wrong in user code and was handed to nobody.
//!
//! A panic in a detached task, in a `Drop` that the runtime ran, in a waker or in a blocking job is caught where it happens and told once,
//! to the handler that the thread's runtime installed (`Builder::exception_handler`); a thread without one prints a line to stderr.
//! A handler that panics is caught as well, and its exception printed.
//!
//! The handler is a thread's own: every worker and every pool thread sets it when it starts, so that no lock and no pointer to the runtime is
//! needed at the place of the accident, which may outlive the runtime (the handle of a finished task, dropped later).

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use crate::error::drop_payload;
use crate::error::panic_text;
use crate::loom::Mutex;

/// Where in user code an [`Exception`] arose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExceptionKind {
    /// A task's future panicked, and its handle was dropped or never asked.
    Task,
    /// A future was answered with an error, and the last handle to it was dropped without anybody having read it.
    Future,
    /// The destructor of a future, or of an output nobody asked for, panicked.
    Drop,
    /// A waker, called because of an event, a due timer or a finished task, panicked.
    Waker,
    /// A job of the blocking pool panicked outside of any task.
    BlockingJob,
    /// A callback (`call_soon`, `call_later`, a done callback) panicked; the loop went on with the next.
    Callback,
    /// A task was still pending when its event loop was closed, and was dropped.
    Destroyed,
    /// The exception handler panicked.
    Handler,
    /// The program itself called the exception handler, with [`Exception::custom`].
    Custom,
    /// A callback of a [protocol](crate::protocols) panicked, which ended its connection; or a transport was written to long after its end.
    Protocol,
    /// The event loop itself met an error of the operating system and went on.
    Loop,
    /// The handler of a connection answered with an error, or bytes that were written to a connection could not be sent.
    Connection,
}

/// A panic or an error that no caller can be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    kind: ExceptionKind,
    message: String,
    task: Option<String>,
    location: Option<&'static Location<'static>>,
}

impl Exception {
    pub(crate) fn new(kind: ExceptionKind, message: impl Into<String>) -> Self {
        Exception { kind, message: message.into(), task: None, location: None }
    }

    pub(crate) fn panic(kind: ExceptionKind, payload: &(dyn Any + Send)) -> Self {
        Exception::new(kind, panic_text(payload))
    }

    pub(crate) fn of_task(mut self, name: Option<&str>, location: &'static Location<'static>) -> Self {
        self.task = name.map(str::to_owned);
        self.location = Some(location);
        self
    }

    /// A panic in a callback that was registered at `location`.
    pub(crate) fn of_callback(payload: &(dyn Any + Send), location: &'static Location<'static>) -> Self {
        let mut exception = Exception::panic(ExceptionKind::Callback, payload);
        exception.location = Some(location);
        exception
    }

    /// A task that its loop's `close` has found pending.
    pub(crate) fn destroyed(name: Option<&str>, location: &'static Location<'static>) -> Self {
        Exception::new(ExceptionKind::Destroyed, "Task was destroyed but it is pending!").of_task(name, location)
    }

    /// An exception of the program's own, for `EventLoop::call_exception_handler`.
    ///
    /// ```
    /// let exception = eddies::Exception::custom("the cache is inconsistent");
    /// assert_eq!(exception.to_string(), "the cache is inconsistent");
    /// ```
    pub fn custom(message: impl Into<String>) -> Self {
        Exception::new(ExceptionKind::Custom, message)
    }

    fn fmt_destroyed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(name) = &self.task {
            write!(f, " task `{name}`")?;
        }
        match self.location {
            Some(location) => write!(f, " spawned at {location}"),
            None => Ok(()),
        }
    }

    fn fmt_callback(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("callback")?;
        if let Some(location) = self.location {
            write!(f, " registered at {location}")?;
        }
        write!(f, " panicked: {}", self.message)
    }

    /// What kind of user code it came from.
    pub fn kind(&self) -> ExceptionKind {
        self.kind
    }

    /// The panic's message, or the error's text.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The name of the task concerned, if it has one.
    pub fn task_name(&self) -> Option<&str> {
        self.task.as_deref()
    }

    /// Where the task concerned was spawned, the future made, or the callback registered.
    pub fn spawned_at(&self) -> Option<&'static Location<'static>> {
        self.location
    }
}

impl Exception {
    fn show_unread(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("future")?;
        if let Some(name) = &self.task {
            write!(f, " of task `{name}`")?;
        }
        if let Some(location) = self.location {
            write!(f, " made at {location}")?;
        }
        write!(f, ": nobody read its error: {}", self.message)
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ExceptionKind::Task => f.write_str("task")?,
            ExceptionKind::Drop => f.write_str("destructor in a task")?,
            ExceptionKind::Waker => f.write_str("waker")?,
            ExceptionKind::BlockingJob => f.write_str("blocking job")?,
            ExceptionKind::Callback => return self.fmt_callback(f),
            ExceptionKind::Destroyed => return self.fmt_destroyed(f),
            ExceptionKind::Handler | ExceptionKind::Custom => return f.write_str(&self.message),
            ExceptionKind::Protocol => return write!(f, "protocol: {}", self.message),
            ExceptionKind::Loop => return write!(f, "event loop: {}", self.message),
            ExceptionKind::Future => return self.show_unread(f),
            ExceptionKind::Connection => return write!(f, "connection: {}", self.message),
        }
        if let Some(name) = &self.task {
            write!(f, " `{name}`")?;
        }
        if let Some(location) = self.location {
            write!(f, " spawned at {location}")?;
        }
        write!(f, " panicked: {}", self.message)
    }
}

/// A poll that has kept its loop for longer than the threshold; see [`Builder::slow_poll`](crate::Builder::slow_poll).
///
/// The time is the wall clock's, as the monitor saw it: it counts from up to two looks after the poll began (11 ms, with thresholds below 50 ms 2 ms; where little runs a fifth of the
/// threshold, 201 ms at most), and includes time in which the operating system ran something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowPoll {
    pub(crate) what: Polled,
    pub(crate) name: Option<String>,
    pub(crate) location: Option<&'static Location<'static>>,
    pub(crate) elapsed: Duration,
    pub(crate) worker: usize,
    pub(crate) suppressed: u64,
    /// It was measured after its end, by an event loop in debug mode.
    pub(crate) is_over: bool,
}

/// What was polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Polled {
    MainFuture,
    Task,
}

impl SlowPoll {
    /// A poll of a task, or a callback, that is over.
    pub(crate) fn of_past(
        name: Option<&str>,
        location: &'static Location<'static>,
        elapsed: Duration,
        worker: usize,
    ) -> Self {
        let (name, location) = (name.map(str::to_owned), Some(location));
        SlowPoll { what: Polled::Task, name, location, elapsed, worker, suppressed: 0, is_over: true }
    }

    /// The name of the task, if it has one.
    pub fn task_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where the task was spawned, or where `block_on` was called if it is the main future. `None` for a task that is not among the 65,536
    /// spawned last on its loop, or that ended while it was looked up.
    pub fn spawned_at(&self) -> Option<&'static Location<'static>> {
        self.location
    }

    /// Whether it is the main future and not a task.
    pub fn is_main_future(&self) -> bool {
        self.what == Polled::MainFuture
    }

    /// How long the poll has lasted so far, or lasted, where an event loop in debug mode measured it.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The index of the loop that is held.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// How many slow polls were not reported since the last report, because there were too many in a second.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }
}

impl fmt::Display for SlowPoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_main_future() { "the main future" } else { "task" })?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        match (self.location, self.what) {
            (Some(location), Polled::Task) => write!(f, " spawned at {location}")?,
            (Some(location), Polled::MainFuture) => write!(f, " of block_on at {location}")?,
            (None, _) => {}
        }
        if self.is_over {
            return write!(f, " took {:?} in one go and held worker {} meanwhile", self.elapsed, self.worker);
        }
        write!(
            f,
            " has been in one poll for {:?} and holds worker {}: move what blocks or computes there into `spawn_blocking`, or split it with \
             `yield_now`",
            self.elapsed, self.worker
        )?;
        if self.suppressed > 0 {
            write!(f, " ({} more slow polls since the last report)", self.suppressed)?;
        }
        Ok(())
    }
}

/// A function that is told of slow polls. The monitor's thread calls it.
pub(crate) type SlowPollHook = Arc<dyn Fn(&SlowPoll) + Send + Sync>;

/// Tells `hook`, or stderr.
pub(crate) fn report_slow_poll(hook: Option<&SlowPollHook>, slow: &SlowPoll) {
    match hook {
        Some(hook) => {
            catch(ExceptionKind::Loop, || hook(slow));
        }
        None => print(slow),
    }
}

/// A function that is told of exceptions. Any thread calls it; it should not block.
pub(crate) type Handler = Arc<dyn Fn(&Exception) + Send + Sync>;

/// What a runtime does with exceptions: the handler that its builder was told, and one set later in its place.
#[derive(Default)]
pub(crate) struct Hooks {
    /// The builder's; `None`: a line on stderr. Never changes.
    default: Option<Handler>,
    /// Any thread sets and reads it.
    custom: Mutex<Option<Handler>>,
}

impl Hooks {
    pub(crate) fn new(default: Option<Handler>) -> Arc<Hooks> {
        Arc::new(Hooks { default, custom: Mutex::new(None) })
    }

    /// Puts `handler` in the place of the one before, which comes back; `None` gives the word to the default again.
    pub(crate) fn set(&self, handler: Option<Handler>) -> Option<Handler> {
        std::mem::replace(&mut *self.custom.lock(), handler)
    }

    pub(crate) fn custom(&self) -> Option<Handler> {
        self.custom.lock().clone()
    }

    /// Tells the handler. One that panics is told of to the default handler, with what it had been told.
    pub(crate) fn tell(&self, exception: &Exception) {
        let Some(handler) = self.custom() else { return self.tell_default(exception) };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| handler(exception))) {
            self.tell_default(&broken("exception handler", &*payload, exception));
            drop_payload(payload);
        }
    }

    /// Tells the default handler. If that panics a line on stderr says so, and it ends there.
    pub(crate) fn tell_default(&self, exception: &Exception) {
        let Some(handler) = &self.default else { return print(exception) };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| handler(exception))) {
            print(&broken("default exception handler", &*payload, exception));
            drop_payload(payload);
        }
    }

    /// These hooks as a thread's handler.
    pub(crate) fn handler(self: &Arc<Self>) -> Handler {
        let hooks = self.clone();
        Arc::new(move |exception| hooks.tell(exception))
    }
}

fn broken(which: &str, payload: &(dyn Any + Send), exception: &Exception) -> Exception {
    let panic = panic_text(payload);
    Exception::new(
        ExceptionKind::Handler,
        format!("Unhandled error in {which}: {panic}; it had been told of: {exception}"),
    )
}

std::thread_local! {
    /// The handler of the runtime this thread works for. Written and read by this thread only.
    static HANDLER: RefCell<Option<Handler>> = const { RefCell::new(None) };
}

/// Makes `handler` this thread's, and gives back the one before.
pub(crate) fn set_thread_handler(handler: Option<Handler>) -> Option<Handler> {
    HANDLER.try_with(|cell| cell.replace(handler)).ok().flatten()
}

/// Tells this thread's handler.
#[cold]
pub(crate) fn report(exception: &Exception) {
    let handler = HANDLER.try_with(|cell| cell.borrow().clone()).ok().flatten();
    let Some(handler) = handler else {
        return print(exception);
    };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| handler(exception))) {
        print(exception);
        drop_payload(payload);
    }
}

fn print(what: &dyn fmt::Display) {
    use std::io::Write;
    // stderr may be closed; there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "eddies: {what}");
}

/// Runs `f`, which calls user code; a panic is told as `kind` and answered with `None`.
#[inline]
pub(crate) fn catch<R>(kind: ExceptionKind, f: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => Some(value),
        Err(payload) => {
            panicked(kind, payload);
            None
        }
    }
}

/// Tells of a panic that was caught, and drops what it carried.
#[cold]
pub(crate) fn panicked(kind: ExceptionKind, payload: Box<dyn Any + Send>) {
    report(&Exception::panic(kind, &*payload));
    drop_payload(payload);
}

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn the_threads_handler_hears_a_caught_panic_once() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = heard.clone();
        set_thread_handler(Some(Arc::new(move |exception| ears.lock().unwrap().push(exception.to_string()))));
        assert_eq!(catch(ExceptionKind::Waker, || -> u32 { panic!("no {}", 7) }), None);
        assert_eq!(catch(ExceptionKind::Waker, || 3), Some(3));
        set_thread_handler(None);
        assert_eq!(*heard.lock().unwrap(), ["waker panicked: no 7"]);
    }
}
