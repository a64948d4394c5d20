//! Every public error type of the crate, worded for the person who meets it.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The calling thread is inside no runtime, and the operation needs one.
///
/// Sockets answer with this inside an [`std::io::Error`]; `spawn`, `sleep` and the like panic with the same text at the call site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRuntime {
    operation: &'static str,
    thread: String,
}

impl NoRuntime {
    /// An error about `operation`, tried on the calling thread.
    pub(crate) fn new(operation: &'static str) -> Self {
        let thread = std::thread::current();
        NoRuntime { operation, thread: thread.name().unwrap_or("unnamed").to_owned() }
    }
}

impl fmt::Display for NoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} needs an eddies runtime, and thread `{}` is inside none: call it from `eddies::run`, from a task, or while the guard of \
             `LoopHandle::enter` lives",
            self.operation, self.thread
        )
    }
}

impl Error for NoRuntime {}

impl From<NoRuntime> for std::io::Error {
    fn from(error: NoRuntime) -> Self {
        std::io::Error::other(error)
    }
}

/// Somebody asked that this work end, and why, if they said so.
///
/// ```
/// eddies::run(async {
///     let task = eddies::spawn(std::future::pending::<()>());
///     task.cancel("no longer needed");
///     let error = task.await.unwrap_err();
///     assert!(error.is_cancelled());
///     assert_eq!(error.to_string(), "the task was cancelled: no longer needed");
/// });
/// ```
#[derive(Clone, Default)]
#[must_use = "a cancellation that is caught is one's duty to end soon"]
pub struct Cancelled {
    reason: Option<Arc<str>>,
    /// Where a scope took it: the address of its book, and the request after which it began.
    taken: Option<(usize, u64)>,
}

impl PartialEq for Cancelled {
    /// Whether the reasons are equal.
    fn eq(&self, other: &Self) -> bool {
        self.reason == other.reason
    }
}

impl Eq for Cancelled {}

impl Cancelled {
    pub(crate) fn new(reason: Option<&str>) -> Self {
        Cancelled { reason: reason.map(Arc::from), taken: None }
    }

    /// The same, as a scope took it out of the book at this address.
    pub(crate) fn taken_from(self, book: usize, from: u64) -> Self {
        Cancelled { taken: Some((book, from)), ..self }
    }

    pub(crate) fn taken(&self) -> Option<(usize, u64)> {
        self.taken
    }

    /// What was given to `cancel`.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            None => f.write_str("Cancelled"),
            Some(reason) => f.debug_tuple("Cancelled").field(&reason).finish(),
        }
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            None => f.write_str("cancelled"),
            Some(reason) => write!(f, "cancelled: {reason}"),
        }
    }
}

impl Error for Cancelled {}

/// Virtual time was asked for in a runtime that cannot have it: [`Builder::build`](crate::Builder::build) answers with this inside an
/// [`std::io::Error`] of the kind `InvalidInput`.
///
/// A virtual clock moves when nothing runs, and with several workers nobody can say when that is.
///
/// ```
/// use eddies::VirtualTimeRefused;
///
/// let error = eddies::Runtime::builder().workers(4).virtual_time(true).build().unwrap_err();
/// assert!(error.get_ref().is_some_and(|inner| inner.is::<VirtualTimeRefused>()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualTimeRefused {
    pub(crate) workers: usize,
    pub(crate) spare_workers: usize,
}

impl fmt::Display for VirtualTimeRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "virtual time needs a runtime of one worker and no spare workers, for its clock moves when nothing runs, and this one was to have \
             {} and {}: leave `workers` and `spare_workers` away, or virtual time",
            self.workers, self.spare_workers
        )
    }
}

impl Error for VirtualTimeRefused {}

/// An event loop was used after its `close`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopClosed {
    operation: &'static str,
}

impl LoopClosed {
    pub(crate) fn new(operation: &'static str) -> Self {
        LoopClosed { operation }
    }

    /// The name of the function that was called.
    pub fn operation(&self) -> &'static str {
        self.operation
    }
}

impl fmt::Display for LoopClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event loop is closed: `{}` was called after `close`", self.operation)
    }
}

impl Error for LoopClosed {}

impl From<LoopClosed> for std::io::Error {
    fn from(error: LoopClosed) -> Self {
        std::io::Error::other(error)
    }
}

/// An event loop that runs cannot be closed: stop it first, and close it when the run has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopRunning(());

impl LoopRunning {
    pub(crate) fn new() -> Self {
        LoopRunning(())
    }
}

impl fmt::Display for LoopRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cannot close a running event loop: call `stop`, and `close` when the run has returned")
    }
}

impl Error for LoopRunning {}

/// Why a run of an event loop did not begin, or ended without the output of its future.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// The loop is closed. Nothing ran.
    Closed(LoopClosed),
    /// The loop is running already, below this call. Nothing ran.
    AlreadyRunning,
    /// Another loop, or a runtime's `block_on`, is running on this thread. Nothing ran.
    OtherLoopRunning,
    /// The main task was cancelled, and not by Ctrl-C: only from `Runner::run`.
    Cancelled,
    /// `stop` was called before the future was complete. A future that was passed by reference can be run again.
    Stopped,
    /// Ctrl-C, or `interrupt`, ended the run at once. What was queued waits for the next run.
    Interrupted,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Closed(error) => error.fmt(f),
            RunError::AlreadyRunning => f.write_str(
                "This event loop is already running: inside of it, `.await` the future or spawn it, and leave the run with `stop`",
            ),
            RunError::OtherLoopRunning => f.write_str(
                "Cannot run the event loop while another loop is running on this thread: `.await` there, or use a thread of its own",
            ),
            RunError::Cancelled => f.write_str("the main task was cancelled"),
            RunError::Stopped => f.write_str("Event loop stopped before Future completed."),
            RunError::Interrupted => f.write_str("the run of the event loop was interrupted"),
        }
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            RunError::Closed(error) => Some(error),
            _ => None,
        }
    }
}

impl From<LoopClosed> for RunError {
    fn from(error: LoopClosed) -> Self {
        RunError::Closed(error)
    }
}

impl From<RunError> for std::io::Error {
    fn from(error: RunError) -> Self {
        std::io::Error::other(error)
    }
}

/// The calling thread has no event loop: none runs there, or none is set and the policy makes none there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoEventLoop {
    thread: String,
    why: NoLoop,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum NoLoop {
    NoneSet,
    NoneRuns,
    NotMade(String),
}

impl NoEventLoop {
    fn new(why: NoLoop) -> Self {
        NoEventLoop { thread: std::thread::current().name().unwrap_or("unnamed").to_owned(), why }
    }

    /// None is set for the calling thread: for policies.
    pub fn current() -> Self {
        NoEventLoop::new(NoLoop::NoneSet)
    }

    /// None runs on the calling thread.
    pub(crate) fn running() -> Self {
        NoEventLoop::new(NoLoop::NoneRuns)
    }

    /// It could not be made: for policies.
    pub fn not_made(error: std::io::Error) -> Self {
        NoEventLoop::new(NoLoop::NotMade(error.to_string()))
    }
}

impl fmt::Display for NoEventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thread = &self.thread;
        match &self.why {
            NoLoop::NoneSet => write!(
                f,
                "There is no current event loop in thread `{thread}`: make one with `new_event_loop` and keep it, or `set_event_loop` it"
            ),
            NoLoop::NoneRuns => write!(
                f,
                "no running event loop in thread `{thread}`: ask in `eddies::run`, in a task or in a callback, or ask `get_event_loop`"
            ),
            NoLoop::NotMade(error) => write!(f, "no event loop could be made for thread `{thread}`: {error}"),
        }
    }
}

impl Error for NoEventLoop {}

impl From<NoEventLoop> for std::io::Error {
    fn from(error: NoEventLoop) -> Self {
        std::io::Error::other(error)
    }
}

/// Why a task has no output.
#[derive(Clone)]
#[non_exhaustive]
pub enum TaskError {
    /// The task was cancelled before it finished: by `cancel`, by `abort`, or because its runtime shut down.
    Cancelled(Cancelled),
    /// The task panicked.
    Panicked(TaskPanic),
}

impl TaskError {
    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, TaskError::Cancelled(_))
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, TaskError::Panicked(_))
    }

    /// The payload of the task's panic, to be passed to [`std::panic::resume_unwind`]; see [`TaskPanic::take_payload`].
    ///
    /// # Errors
    ///
    /// Gives the error back when the task did not panic, or when the payload was taken from a clone of the error.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send + 'static>, TaskError> {
        match self {
            TaskError::Panicked(panic) => panic.take_payload().ok_or(TaskError::Panicked(panic)),
            other => Err(other),
        }
    }
}

/// A panic of a task, of a child of a group, as everybody who is told of it sees it. Clones share the payload.
///
/// ```
/// eddies::run(async {
///     let task = eddies::spawn(async { if true { panic!("no luck") } });
///     match task.await {
///         Err(eddies::TaskError::Panicked(panic)) => assert_eq!(panic.message(), "no luck"),
///         other => unreachable!("{other:?}"),
///     }
/// });
/// ```
#[derive(Clone)]
pub struct TaskPanic(Arc<Payload>);

struct Payload {
    message: String,
    /// Taken by the first who asks for it. Any thread.
    payload: Mutex<Option<Box<dyn Any + Send>>>,
}

impl TaskPanic {
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        let message = panic_text(&*payload).to_owned();
        TaskPanic(Arc::new(Payload { message, payload: Mutex::new(Some(payload)) }))
    }

    /// The panic's message, where it has one.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The payload, for [`resume_unwind`](std::panic::resume_unwind). There is one for all clones: the first who asks gets it.
    ///
    /// ```
    /// # eddies::run(async {
    /// # let task = eddies::spawn(async { if true { panic!("no luck") } });
    /// # let Err(eddies::TaskError::Panicked(panic)) = task.await else { unreachable!() };
    /// let payload = panic.take_payload().unwrap();
    /// assert_eq!(payload.downcast_ref::<&str>(), Some(&"no luck"));
    /// assert!(panic.take_payload().is_none());
    /// # });
    /// ```
    pub fn take_payload(&self) -> Option<Box<dyn Any + Send>> {
        self.0.payload.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        if let Some(payload) = self.payload.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            drop_payload(payload);
        }
    }
}

impl fmt::Debug for TaskPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panicked").field(&self.message()).finish()
    }
}

impl fmt::Display for TaskPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.message())
    }
}

/// Drops a panic's payload, whose destructor may panic in turn.
pub(crate) fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // A destructor that panics with a payload whose destructor panics: leaking is the only way to end this.
        std::mem::forget(second);
    }
}

/// The text of a panic payload, where it has one.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "a payload that is no string"
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Cancelled(cancelled) => cancelled.fmt(f),
            TaskError::Panicked(panic) => panic.fmt(f),
        }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Cancelled(cancelled) => write!(f, "the task was {cancelled}"),
            TaskError::Panicked(panic) => write!(f, "the task {panic}"),
        }
    }
}

impl Error for TaskError {}

impl From<TaskError> for std::io::Error {
    fn from(error: TaskError) -> Self {
        std::io::Error::other(error.to_string())
    }
}

/// The time given to `timeout` ran out before the future was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed(());

impl Elapsed {
    pub(crate) fn new() -> Self {
        Elapsed(())
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(error: Elapsed) -> Self {
        std::io::Error::new(std::io::ErrorKind::TimedOut, error)
    }
}

/// The blocking pool's bounded queue is full, or the pool is shut down; the closure comes back to the caller.
pub struct Overloaded<F>(pub F);

impl<F> fmt::Debug for Overloaded<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Overloaded(..)")
    }
}

impl<F> fmt::Display for Overloaded<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the blocking pool takes no more jobs now: its queue is full, its runtime has shut down, or no thread can be started",
        )
    }
}

impl<F> Error for Overloaded<F> {}

/// A shutdown's deadline passed while something still ran. The threads named here were left to finish on their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StillRunning {
    pub(crate) waited: Duration,
    pub(crate) what: Vec<String>,
}

impl StillRunning {
    /// One line for each task or blocking job that still ran: its name and where it was spawned.
    pub fn what(&self) -> &[String] {
        &self.what
    }
}

impl fmt::Display for StillRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "still running {:?} after the shutdown began: {}", self.waited, self.what.join(", "))
    }
}

impl Error for StillRunning {}
