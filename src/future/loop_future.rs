//! asyncio's `Future`: a result to come, that many may wait for and read, with callbacks.
//!
//! [`LoopFuture`] is a counted handle to a [`FutureCell`]: a [`Completion`], the loop that callbacks are queued on, and, when it stands for a
//! task, that task's handle. The protocol (who answers, who is told, in which order) is the completion's; the way from a task to its future is
//! the [`relay`]'s. Any thread may do anything with it.
//!
//! It is no `Future` but an [`IntoFuture`](std::future::IntoFuture): a future has one place for one waker, and this has as many
//! [`Awaiting`](super::Awaiting)s as are asked for. And
//! the difference lets [`ensure_future`](crate::ensure_future) tell the two apart.
//!
//! What it deliberately does not do: run a callback from within a call, be it `set_result` or `add_done_callback` (they are queued on the
//! loop); cancel anything because an await or a handle is dropped; limit itself to its loop, as asyncio's does: the answer may come from, and
//! be awaited on, any thread and any runtime.
//!
//! Rejected: a lock around the value, so that it need not be `Sync` (its `Clone` would run under it, or in turns, for each of many readers);
//! a task that awaits the task and answers (a spawn for what is one wake).

use std::error::Error;
use std::panic::Location;
use std::sync::Arc;
use std::task::Waker;

use super::completion::{Completion, Place};
use super::failure::{FutureError, InvalidState, Refusal};
use super::relay::relay;
use crate::error::{Cancelled, TaskError};
use crate::loom::Mutex;
use crate::report::{self, Exception, ExceptionKind};
use crate::scheduler::current::{self, LoopShared};
use crate::{Context, LoopHandle, Task, TaskHandle, TaskState};

/// What a future was answered with.
pub(super) type Answer<T> = Result<T, FutureError>;

/// A result to come, which many may wait for and read: asyncio's `Future`, and its `Task` when it stands for one.
///
/// It comes from [`LoopFuture::new`], and is then answered once by [`set_result`](LoopFuture::set_result), [`set_error`](LoopFuture::set_error)
/// or [`cancel`](LoopFuture::cancel); or from [`Task::share`] and [`ensure_future`](crate::ensure_future), and is then answered by the task.
/// [`Task`] itself is the cheaper handle, for one who awaits; this one can be cloned, awaited many times by many tasks, read without being
/// used up, and told to call back.
///
/// Awaiting it, or a reference to it, gives `Result<T, FutureError>` with a clone of the value; [`result_ref`](LoopFuture::result_ref) reads
/// a value that cannot be cloned. Any thread, and a task of any runtime, may answer, await and read it: a future that is awaited on another
/// loop, asyncio's frequent mistake, just works. **Dropping an await, or a handle, cancels nothing.** (In asyncio a task that is cancelled
/// cancels what it waits for.)
///
/// A future that nobody answers is waited for without end, also when all who could have answered it have dropped it, as in asyncio: those who wait
/// hold it as well. [`oneshot`](crate::sync::oneshot) has one who answers, and tells when he is gone; a [`timeout`](crate::timeout) ends any wait; and
/// `Debug` of a task shows what it waits for. Two tasks that await each other wait for ever, too. A task that awaits itself, and a task
/// of another event loop of the same thread, which cannot run meanwhile, are errors: [`FutureError::AwaitsItself`],
/// [`FutureError::OtherLoop`].
///
/// Nobody is called from within `set_result` or the like: those who wait are made ready, and callbacks are queued on the future's loop, in the
/// order in which they came.
///
/// An error that nobody read is reported to the exception handler when the last handle is dropped. Reading it, awaiting it and
/// cancelling the future count as reading.
///
/// `Debug` shows what asyncio's `repr` does: state, result or error, callbacks; of a task also its name and where it was spawned.
///
/// ```
/// use eddies::LoopFuture;
///
/// eddies::run(async {
///     let future = LoopFuture::new();
///     let other = future.clone();
///     eddies::spawn(async move { other.set_result("Done!").unwrap() });
///     assert_eq!((&future).await.unwrap(), "Done!");
///     assert_eq!(future.result().unwrap(), "Done!");
///     assert_eq!(format!("{future:?}"), r#"<Future finished result="Done!">"#);
/// });
/// ```
pub struct LoopFuture<T> {
    cell: Arc<FutureCell<T>>,
}

/// What the handles share.
pub(super) struct FutureCell<T> {
    completion: Completion<Answer<T>, DoneCallback<T>>,
    /// Where callbacks go.
    home: Arc<LoopShared>,
    /// The task that answers, if one does.
    task: Option<TaskHandle>,
    /// Where the future was made, or its task spawned.
    made_at: &'static Location<'static>,
    /// Whether an error in the answer was read. Any thread that reads it writes.
    is_heard: Mutex<bool>,
}

type Call<T> = dyn FnOnce(&LoopFuture<T>) + Send;

struct DoneCallback<T> {
    call: Box<Call<T>>,
    /// Where it was added.
    added_at: &'static Location<'static>,
    /// A copy of the context in which it was added, if that was not empty.
    context: Option<Context>,
}

/// Names a callback to [`LoopFuture::remove_done_callback`]. Closures cannot be compared, so this takes the place of asyncio's equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallbackId {
    /// The future's address, so that another's callback is not removed by mistake.
    future: usize,
    number: u64,
}

impl<T> LoopFuture<T> {
    /// A future that waits to be answered, whose callbacks run on the calling thread's loop.
    ///
    /// # Panics
    ///
    /// Outside of any runtime.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::new();
    ///     future.set_result(1).unwrap();
    ///     assert_eq!(future.await.unwrap(), 1);
    /// });
    /// ```
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it needs a runtime, and a default should not panic")]
    pub fn new() -> Self {
        LoopFuture::on(here("LoopFuture::new"))
    }

    /// A future that waits to be answered, and belongs to this loop.
    #[track_caller]
    pub(crate) fn on(home: Arc<LoopShared>) -> Self {
        LoopFuture::make(home, None, Location::caller())
    }

    fn make(home: Arc<LoopShared>, task: Option<TaskHandle>, made_at: &'static Location<'static>) -> Self {
        let is_heard = Mutex::new(false);
        LoopFuture { cell: Arc::new(FutureCell { completion: Completion::new(), home, task, made_at, is_heard }) }
    }

    /// A future on the same loop, made by the caller.
    #[track_caller]
    pub(super) fn sibling(&self) -> Self {
        LoopFuture::on(self.cell.home.clone())
    }

    pub(super) fn cell(&self) -> &Arc<FutureCell<T>> {
        &self.cell
    }

    pub(super) fn from_cell(cell: Arc<FutureCell<T>>) -> Self {
        LoopFuture { cell }
    }

    /// Whether the future is done: it has a value or an error, or was cancelled.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::new();
    ///     assert!(!future.is_finished());
    ///     future.set_result(()).unwrap();
    ///     assert!(future.is_finished());
    /// });
    /// ```
    #[doc(alias = "done")]
    pub fn is_finished(&self) -> bool {
        self.cell.completion.get().is_some()
    }

    /// Whether the future was cancelled. A task that was asked to cancel and still cleans up is not, and one that refused never is.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::<()>::new();
    ///     future.cancel(None);
    ///     assert!(future.cancelled());
    /// });
    /// ```
    pub fn cancelled(&self) -> bool {
        matches!(self.cell.completion.get(), Some(Err(FutureError::Cancelled(_))))
    }

    /// Where the future is in its life. `Running` is only said of a task that is being polled.
    ///
    /// ```
    /// use eddies::TaskState;
    ///
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::new();
    ///     assert_eq!(future.state(), TaskState::Pending);
    ///     future.set_result(()).unwrap();
    ///     assert_eq!(future.state(), TaskState::Done);
    /// });
    /// ```
    pub fn state(&self) -> TaskState {
        match (self.cell.completion.get(), &self.cell.task) {
            (Some(Err(FutureError::Cancelled(_))), _) => TaskState::Cancelled,
            (Some(_), _) => TaskState::Done,
            (None, Some(task)) if task.state() == TaskState::Pending => TaskState::Pending,
            // Also in the moment between the end of the task and the answer.
            (None, Some(_)) => TaskState::Running,
            (None, None) => TaskState::Pending,
        }
    }

    /// The value, cloned. It can be read any number of times.
    ///
    /// # Errors
    ///
    /// What became of the future instead, or [`FutureError::NotReady`] when it has no answer yet.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::new();
    ///     assert!(future.result().is_err());
    ///     future.set_result(7).unwrap();
    ///     assert_eq!(future.result().unwrap() + future.result().unwrap(), 14);
    /// });
    /// ```
    pub fn result(&self) -> Answer<T>
    where
        T: Clone,
    {
        self.result_ref().cloned()
    }

    /// The value, where it lies: for values that cannot be cloned.
    ///
    /// # Errors
    ///
    /// Like [`result`](LoopFuture::result).
    ///
    /// ```
    /// struct NotClone(u32);
    ///
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::new();
    ///     future.set_result(NotClone(7)).unwrap();
    ///     assert_eq!(future.result_ref().unwrap().0, 7);
    /// });
    /// ```
    pub fn result_ref(&self) -> Result<&T, FutureError> {
        match self.cell.completion.get() {
            None => Err(FutureError::NotReady),
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => {
                self.hear();
                Err(error.clone())
            }
        }
    }

    /// The error of [`result`](LoopFuture::result): `None` says that there is a value. asyncio's `exception`.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::<()>::new();
    ///     assert!(matches!(future.error(), Some(eddies::FutureError::NotReady)));
    ///     future.set_error("broken").unwrap();
    ///     assert_eq!(future.error().unwrap().to_string(), "broken");
    /// });
    /// ```
    #[doc(alias = "exception")]
    pub fn error(&self) -> Option<FutureError> {
        self.result_ref().err()
    }

    /// The value itself, when this is the only handle.
    ///
    /// # Errors
    ///
    /// The handle comes back when there are others, an await among them, or when there is no value yet.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::new();
    ///     future.set_result(vec![1, 2]).unwrap();
    ///     assert_eq!(future.into_result().unwrap().unwrap(), [1, 2]);
    /// });
    /// ```
    pub fn into_result(mut self) -> Result<Answer<T>, Self> {
        let answer = Arc::get_mut(&mut self.cell).and_then(|cell| cell.completion.take());
        answer.ok_or(self)
    }

    /// The handle of the task that the future stands for, if it does.
    ///
    /// ```
    /// eddies::run(async {
    ///     let task = eddies::TaskBuilder::new().name("reader").spawn(async {});
    ///     let future = task.share();
    ///     assert_eq!(future.task().unwrap().name(), Some("reader"));
    ///     assert!(eddies::LoopFuture::<()>::new().task().is_none());
    ///     future.await.unwrap();
    /// });
    /// ```
    pub fn task(&self) -> Option<&TaskHandle> {
        self.cell.task.as_ref()
    }

    /// Where the future was made, or its task spawned.
    pub fn made_at(&self) -> &'static Location<'static> {
        self.cell.made_at
    }

    /// The runtime of the loop that the future belongs to, or `None` when that is gone.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::<()>::new();
    ///     assert!(future.get_loop().is_some());
    /// });
    /// ```
    pub fn get_loop(&self) -> Option<LoopHandle> {
        self.cell.home.runtime().map(LoopHandle::new)
    }

    /// Whether both are handles to one future.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::<()>::new();
    ///     assert!(future.ptr_eq(&future.clone()));
    ///     assert!(!future.ptr_eq(&eddies::LoopFuture::new()));
    /// });
    /// ```
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cell, &other.cell)
    }

    /// Why the answer would never come if `current`, which is the running task if one runs, waited for it.
    pub(super) fn wait_in_vain(&self, current: Option<&TaskHandle>) -> Option<FutureError> {
        let task = self.cell.task.as_ref()?;
        if current == Some(task) {
            return Some(FutureError::AwaitsItself);
        }
        self.cell.home.never_runs(task).then_some(FutureError::OtherLoop)
    }

    fn hear(&self) {
        *self.cell.is_heard.lock() = true;
    }

    /// Whether the answer is a failure, without reading it.
    pub(super) fn has_failed(&self) -> bool {
        self.cell.completion.get().is_some_and(|answer| answer.as_ref().is_err_and(FutureError::is_failure))
    }

    /// [`Completion::poll`].
    pub(super) fn poll_finished(&self, place: &mut Option<Place>, waker: &Waker) -> bool {
        self.cell.completion.poll(place, waker)
    }

    /// [`Completion::leave`].
    pub(super) fn leave(&self, place: &mut Option<Place>) {
        self.cell.completion.leave(place);
    }

    /// What was answered, without reading it.
    pub(super) fn peek(&self) -> Option<&Answer<T>> {
        self.cell.completion.get()
    }

    /// Where the callbacks were added, in order, and how many awaits there are.
    pub(super) fn parties(&self) -> (Vec<&'static Location<'static>>, usize) {
        self.cell.completion.parties(|callback| callback.added_at)
    }

    /// The address, as the future's identity.
    pub(super) fn address(&self) -> usize {
        Arc::as_ptr(&self.cell).addr()
    }
}

impl<T: Send + Sync + 'static> LoopFuture<T> {
    /// Answers with a value: the future is done.
    ///
    /// # Errors
    ///
    /// [`InvalidState`] with the value when the future is done already, or stands for a task. Whoever answers a future that may have been
    /// cancelled meanwhile, a timer say, ignores it.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::new();
    ///     assert!(future.set_result(1).is_ok());
    ///     assert_eq!(future.set_result(2).unwrap_err().into_value(), 2);
    /// });
    /// ```
    pub fn set_result(&self, value: T) -> Result<(), InvalidState<T>> {
        if self.cell.task.is_some() {
            return Err(InvalidState::new(Refusal::OfTask, value));
        }
        match self.answer(Ok(value)) {
            Err(Ok(value)) => Err(InvalidState::new(self.refusal(), value)),
            _ => Ok(()),
        }
    }

    /// Answers with an error: the future is done, and has failed. asyncio's `set_exception`.
    ///
    /// An error becomes [`FutureError::Failed`]. A [`FutureError`] or [`Cancelled`] is passed on as it is.
    ///
    /// # Errors
    ///
    /// Like [`set_result`](LoopFuture::set_result); the error comes back, as a [`FutureError`].
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::<u32>::new();
    ///     future.set_error(std::io::Error::other("cable pulled")).unwrap();
    ///     let error = future.await.unwrap_err();
    ///     assert!(error.downcast_ref::<std::io::Error>().is_some());
    /// });
    /// ```
    #[doc(alias = "set_exception")]
    pub fn set_error<E>(&self, error: E) -> Result<(), InvalidState<FutureError>>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let error = FutureError::of(error.into());
        if self.cell.task.is_some() {
            return Err(InvalidState::new(Refusal::OfTask, error));
        }
        match self.answer(Err(error)) {
            Err(Err(error)) => Err(InvalidState::new(self.refusal(), error)),
            _ => Ok(()),
        }
    }

    /// Cancels the future, or asks its task to: see [`TaskHandle::cancel`]. Whether it had an effect: `false` when the future was done.
    ///
    /// A future without a task is cancelled when this returns. A task is cancelled when it has unwound, and it may refuse.
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::<u32>::new();
    ///     assert!(future.cancel("too late"));
    ///     assert!(!future.cancel(None));
    ///     match future.await {
    ///         Err(eddies::FutureError::Cancelled(cancelled)) => assert_eq!(cancelled.reason(), Some("too late")),
    ///         other => unreachable!("{other:?}"),
    ///     }
    /// });
    /// ```
    pub fn cancel<'a>(&self, reason: impl Into<Option<&'a str>>) -> bool {
        let is_cancelled = match &self.cell.task {
            Some(task) => task.cancel(reason),
            None => self.answer(Err(FutureError::Cancelled(Cancelled::new(reason.into())))).is_ok(),
        };
        if !is_cancelled {
            // Who cancels does not care any more for what became of it.
            self.hear();
        }
        is_cancelled
    }

    /// Has `callback` called with the future once it is done: on the future's loop, from its queue of callbacks, and never from within this
    /// call or the one that answers. When the future is done already, it is queued now.
    ///
    /// Callbacks run in the order in which they were added, each in a copy of the [`Context`] in which it was added. One that panics is reported, and the others run. One that is added when the loop
    /// is closed, or whose loop closes before its turn, is dropped. A callback need not hold the future, which it is given; one that does
    /// keeps a future that is never answered in memory.
    ///
    /// ```
    /// use eddies::sync::oneshot;
    ///
    /// eddies::run(async {
    ///     let (sender, receiver) = oneshot();
    ///     let task = eddies::ensure_future(async { "Future is done!" });
    ///     task.add_done_callback(move |future| sender.send(future.result().unwrap()).unwrap());
    ///     assert_eq!(receiver.await.unwrap(), "Future is done!");
    /// });
    /// ```
    #[track_caller]
    pub fn add_done_callback<F>(&self, callback: F) -> CallbackId
    where
        F: FnOnce(&LoopFuture<T>) + Send + 'static,
    {
        let callback =
            DoneCallback { call: Box::new(callback), added_at: Location::caller(), context: Context::inherited() };
        let (number, left) = self.cell.completion.add(callback);
        if let Some(callback) = left {
            self.queue(callback);
        }
        CallbackId { future: self.address(), number }
    }

    /// Takes a callback away. `false`: it was queued already, or removed before, or is another future's.
    ///
    /// (asyncio takes away all that are equal and gives their number. Here each has its own id.)
    ///
    /// ```
    /// eddies::run(async {
    ///     let future = eddies::LoopFuture::new();
    ///     let id = future.add_done_callback(|_| unreachable!());
    ///     assert!(future.remove_done_callback(id));
    ///     assert!(!future.remove_done_callback(id));
    ///     future.set_result(()).unwrap();
    /// });
    /// ```
    pub fn remove_done_callback(&self, id: CallbackId) -> bool {
        id.future == self.address() && self.cell.completion.remove(id.number).is_some()
    }

    /// A clone of the answer. The future has one.
    pub(super) fn answered(&self) -> Answer<T>
    where
        T: Clone,
    {
        self.result()
    }

    /// Answers, and tells everybody. The answer comes back when there was one.
    pub(super) fn answer(&self, answer: Answer<T>) -> Result<(), Answer<T>> {
        self.cell.completion.answer(answer, |callback| self.queue(callback))
    }

    fn queue(&self, callback: DoneCallback<T>) {
        let future = self.clone();
        let DoneCallback { call, added_at, context } = callback;
        // A loop that is closed drops it, and nobody has to know.
        self.cell.home.call_soon_from(move || call(&future), added_at, context);
    }

    /// Why an answer was refused by a future that has one.
    fn refusal(&self) -> Refusal {
        match self.cell.completion.get() {
            Some(Err(FutureError::Cancelled(_))) => Refusal::IsCancelled,
            Some(Err(_)) => Refusal::HasError,
            _ => Refusal::HasValue,
        }
    }

    /// The future of a task, with callbacks on `home`.
    pub(crate) fn of_task(task: Task<T>, home: Arc<LoopShared>) -> Self {
        LoopFuture::of_task_with(task, home, |output| output.map_err(FutureError::from))
    }

    /// The future of a task that may fail: its `Err` is the future's error.
    pub(super) fn of_fallible_task<E>(task: Task<Result<T, E>>, home: Arc<LoopShared>) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
    {
        LoopFuture::of_task_with(task, home, |output| output?.map_err(|error| FutureError::of(error.into())))
    }

    /// The future of a task, where `convert` says what the task's output means; it runs on the thread that completes the task.
    fn of_task_with<O: Send + 'static>(
        task: Task<O>,
        home: Arc<LoopShared>,
        convert: impl FnOnce(Result<O, TaskError>) -> Answer<T> + Send + 'static,
    ) -> Self {
        let future = LoopFuture::make(home, Some(task.handle()), task.spawned_at());
        let to_answer = future.clone();
        relay(task, move |output| {
            // Nobody else answers it.
            let _ = to_answer.answer(convert(output));
        });
        future
    }
}

/// The loop that serves the calling thread.
#[track_caller]
pub(super) fn here(operation: &'static str) -> Arc<LoopShared> {
    match current::home(operation) {
        Ok(home) => home,
        Err(error) => panic!("{error}"),
    }
}

impl<T> Clone for LoopFuture<T> {
    fn clone(&self) -> Self {
        LoopFuture { cell: self.cell.clone() }
    }
}

impl<T> Drop for FutureCell<T> {
    /// Reports an error that nobody read.
    fn drop(&mut self) {
        let Some(Err(error)) = self.completion.get() else { return };
        if !error.is_failure() || *self.is_heard.lock() {
            return;
        }
        let exception = match error {
            FutureError::Panicked(panic) => Exception::new(ExceptionKind::Task, panic.message()),
            _ => Exception::new(ExceptionKind::Future, error.to_string()),
        };
        let name = self.task.as_ref().and_then(TaskHandle::name);
        report::report(&exception.of_task(name, self.made_at));
    }
}
