//! The handles of a task: [`Task`] awaits its output, [`TaskHandle`] only names it; both cancel it, and dropped they let it run on.

#![allow(unsafe_code, reason = "a handle is a counted reference to a task's cell, with a claim to its output")]

use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker, ready};

use super::cancellation::Cancellation;
use super::cell::Header;
use super::label::Label;
use super::state::Wake;
use super::waker::release;
use super::{TaskState, frame};
use crate::coop;
use crate::error::{Cancelled, TaskError};
use crate::loom::Mutex;
use crate::report::{self, ExceptionKind};

/// Identifies a task among those that are alive: two tasks never have the same id at the same time, and an id may come again once its task
/// and all handles to it are gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(usize);

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({:x})", self.0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A running task, and the way to its output. **Dropping it detaches the task**, which runs on.
///
/// Awaiting it gives `Ok(output)`, or a [`TaskError`] when the task was cancelled or panicked. Dropping what awaits it does not cancel it. Any thread may await, cancel or drop it.
/// A panic that no handle was asked for is reported to the runtime's exception handler.
///
/// # Cancel safety
///
/// Dropping a `&mut Task` that is being awaited loses nothing; the task runs on and can be awaited again.
///
/// # Panics
///
/// Polling it again after it gave its output panics; so does a task that awaits itself, which would never be woken.
///
/// ```
/// eddies::run(async {
///     let task = eddies::spawn(async { 6 * 7 });
///     assert_eq!(task.await.unwrap(), 42);
/// });
/// ```
#[doc(alias = "JoinHandle")]
pub struct Task<T> {
    /// The only reference with the JOIN right. Given up by `drop`, together with that.
    handle: ManuallyDrop<TaskHandle>,
    output: PhantomData<T>,
}

// SAFETY: a handle gives its holder the output, which is Send, and otherwise only what any thread may do with a task.
unsafe impl<T: Send> Send for Task<T> {}
// SAFETY: through a shared reference a handle gives no access to the output (`result` asks for an exclusive one).
unsafe impl<T: Send> Sync for Task<T> {}

impl<T> Unpin for Task<T> {}

impl<T> Task<T> {
    /// # Safety
    ///
    /// The caller gives up the handle's reference and the JOIN right of a task whose output has type `T`.
    pub(super) unsafe fn from_raw(header: NonNull<Header>) -> Self {
        Task { handle: ManuallyDrop::new(TaskHandle { header }), output: PhantomData }
    }

    /// A handle that names the task without a claim to its output.
    pub fn handle(&self) -> TaskHandle {
        TaskHandle::clone(&self.handle)
    }

    /// Looks at the output without taking it: `None` while the task is not finished, and after its output was taken by awaiting it. It can
    /// be read many times.
    ///
    /// It takes the handle exclusively because neither the output nor the payload of a panic need be `Sync`.
    ///
    /// ```
    /// eddies::run(async {
    ///     let mut task = eddies::spawn(async { 6 * 7 });
    ///     while !task.is_finished() {
    ///         eddies::yield_now().await;
    ///     }
    ///     assert!(matches!(task.result(), Some(Ok(42))));
    ///     assert_eq!(task.await.unwrap(), 42);
    /// });
    /// ```
    pub fn result(&mut self) -> Option<Result<&T, &TaskError>> {
        if !self.is_finished() {
            return None;
        }
        // SAFETY: the task is complete, and while there is a handle the output is its own (T3).
        let output = unsafe { (self.header().vtable.peek_output)(self.handle.header) }?;
        // SAFETY: a `Result<T, TaskError>` by the contract of `from_raw`. It lies in the cell, which lives as long as the handle (T5), and only
        // the handle takes or drops it (T3), which the borrow of the handle forbids meanwhile.
        let output: &Result<T, TaskError> = unsafe { output.cast().as_ref() };
        Some(output.as_ref())
    }

    /// Whether the task is complete; if not, `waker` will be woken when it is. One waker at a time: this one takes the place of the last.
    pub(crate) fn poll_complete(&self, waker: &Waker) -> bool {
        let header = self.header();
        let now = header.state.load();
        if now.is_complete() {
            return true;
        }
        if now.has_join_waker() {
            let same = header.join_waker.with(|slot| {
                // SAFETY: only this handle writes the slot while the task is not complete, and it does not write now (T4).
                unsafe { (*slot).as_ref() }.is_some_and(|stored| stored.will_wake(waker))
            });
            if same {
                return false;
            }
            if !header.state.unset_join_waker() {
                return true;
            }
        }
        let new = waker.clone();
        let old = header.join_waker.with_mut(|slot| {
            // SAFETY: JOIN_WAKER is clear: the slot is the handle's (T4).
            unsafe { (*slot).replace(new) }
        });
        drop(old);
        if header.state.set_join_waker() {
            return false;
        }
        header.empty_join_waker();
        true
    }
}

/// What can be asked of a task, and asked of it, without its output: all that a [`TaskHandle`] can.
impl<T> Deref for Task<T> {
    type Target = TaskHandle;

    fn deref(&self) -> &TaskHandle {
        &self.handle
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let unit = ready!(coop::poll_proceed(cx));
        if !self.poll_complete(cx.waker()) {
            assert!(
                frame::task() != Some(self.handle.header),
                "a task awaits itself, which is ready only when the task is finished: that would be never. Await it in another task, or name it \
                 with `current_task`, which takes no output"
            );
            return Poll::Pending;
        }
        unit.made_progress();
        let mut output: Option<Self::Output> = None;
        let into = NonNull::from(&mut output).cast();
        // SAFETY: the task is complete and the output the handle's (T3), of type `T` by the contract of `from_raw`.
        unsafe { (self.header().vtable.take_output)(self.handle.header, into) };
        Poll::Ready(output.expect("a Task was polled again after it had given its output"))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        let header = self.header();
        if header.state.drop_join_at_once() {
            return;
        }
        let duties = header.state.drop_join();
        if duties.waker {
            header.empty_join_waker();
        }
        if duties.output {
            // SAFETY: the task is complete and its output was the handle's (T3).
            unsafe { (header.vtable.drop_output)(self.handle.header) };
        }
        // SAFETY: the handle is not used again.
        unsafe { ManuallyDrop::drop(&mut self.handle) };
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (*self.handle).fmt(f)
    }
}

/// Names a task: to cancel it, or to see how it is. Any thread; cheap to clone. It keeps the task's allocation, not the task, alive.
///
/// ```
/// eddies::run(async {
///     let task = eddies::spawn(std::future::pending::<()>());
///     let handle = task.handle();
///     assert!(handle.cancel(None));
///     assert!(task.await.unwrap_err().is_cancelled());
///     assert_eq!(handle.state(), eddies::TaskState::Cancelled);
/// });
/// ```
#[doc(alias = "AbortHandle")]
pub struct TaskHandle {
    /// A counted reference.
    header: NonNull<Header>,
}

// SAFETY: what a handle does with a task, any thread may do; it gives no access to the output.
unsafe impl Send for TaskHandle {}
// SAFETY: as above.
unsafe impl Sync for TaskHandle {}

impl TaskHandle {
    /// # Safety
    ///
    /// The caller holds a reference to the task.
    pub(super) unsafe fn new(header: NonNull<Header>) -> Self {
        // SAFETY: the caller's reference.
        unsafe { header.as_ref() }.state.retain();
        TaskHandle { header }
    }

    /// The task, or callback, that this thread runs.
    pub(super) fn running() -> Option<TaskHandle> {
        // SAFETY: the frame's task is referenced by its runner, which is on this thread's stack (C1).
        frame::task().map(|header| unsafe { TaskHandle::new(header) })
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: the handle is a reference.
        unsafe { self.header.as_ref() }
    }

    pub(super) fn cancellation(&self) -> &Mutex<Cancellation> {
        &self.header().extension.get_or_make().cancellation
    }

    pub(crate) fn label(&self) -> &Label {
        &self.header().label
    }

    /// Asks the task to end, and tells it why. `false`: it is complete already.
    ///
    /// Where the task waits inside of a [`catch_cancel`](crate::catch_cancel), the innermost one drops its future and gives
    /// [`Cancelled`](crate::Cancelled): the task can clean up, with further awaits, and it can refuse. A task that waits in none is dropped whole,
    /// without another poll, and ends as cancelled; one that was never polled never is. A task that runs at the moment is cancelled at its next wait,
    /// and if there is none, instead of giving its value.
    ///
    /// Each call counts as one request; several that come before the task has reacted to the first are caught as one, with the reason of the last. A
    /// [`spawn_blocking`](crate::spawn_blocking) job can only be cancelled before it begins.
    ///
    /// It does not wait; await the task for that. Any thread may call it, the task itself too.
    ///
    /// ```
    /// eddies::run(async {
    ///     let task = eddies::spawn(std::future::pending::<()>());
    ///     assert!(task.cancel("not needed any more"));
    ///     assert_eq!(task.await.unwrap_err().to_string(), "the task was cancelled: not needed any more");
    /// });
    /// ```
    pub fn cancel<'a>(&self, reason: impl Into<Option<&'a str>>) -> bool {
        cancel(self.header, Cancelled::new(reason.into()))
    }

    /// How many requests to cancel the task were not taken back.
    pub fn cancelling(&self) -> usize {
        self.header().extension.get().map_or(0, |extension| extension.cancellation.lock().requests())
    }

    /// Takes one request to cancel the task back, and returns how many are left. When none is left, one that the task has not reacted to yet is
    /// withdrawn. For whoever asked, and has been answered: a time limit, a group.
    ///
    /// ```
    /// eddies::run(async {
    ///     let task = eddies::spawn(async { 7 });
    ///     task.cancel(None);
    ///     assert_eq!((task.cancelling(), task.uncancel(), task.cancelling()), (1, 0, 0));
    /// #   let _ = task.await;
    /// });
    /// ```
    pub fn uncancel(&self) -> usize {
        self.header().extension.get().map_or(0, |extension| extension.cancellation.lock().take_back())
    }

    /// Drops the task: at its next turn, without another poll, its future is dropped whole, scopes of [`catch_cancel`](crate::catch_cancel) and all,
    /// and it ends as cancelled. A task that is complete stays so; one that finishes in the poll that runs now does finish.
    pub fn abort(&self) {
        abort(self.header);
    }

    /// Where the task is in its life, as seen at this moment.
    pub fn state(&self) -> TaskState {
        self.header().state.load().task_state()
    }

    /// Whether the task is complete: it has its value, has panicked, or was cancelled.
    pub fn is_finished(&self) -> bool {
        self.header().state.load().is_complete()
    }

    /// Whether the task has ended as cancelled. A task that was asked to, and has not ended yet or refused, was not.
    pub fn cancelled(&self) -> bool {
        self.state() == TaskState::Cancelled
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        TaskId(self.header.addr().get())
    }

    /// The name given with `TaskBuilder::name`, if any.
    pub fn name(&self) -> Option<&str> {
        self.header().label.name()
    }

    /// Where the task was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.header().label.location()
    }
}

impl Clone for TaskHandle {
    fn clone(&self) -> Self {
        // SAFETY: the handle is a reference, from which another is made.
        unsafe { TaskHandle::new(self.header) }
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        // SAFETY: the handle's reference.
        unsafe { release(self.header) };
    }
}

impl PartialEq for TaskHandle {
    /// Whether both name one task.
    fn eq(&self, other: &Self) -> bool {
        self.header == other.header
    }
}

impl Eq for TaskHandle {}

impl Hash for TaskHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.header.hash(state);
    }
}

impl fmt::Debug for TaskHandle {
    /// As Python prints a task: `<Task pending name="reader" spawned at src/main.rs:3:5>`, and ` wait_for=…` where it awaits a
    /// [`LoopFuture`](crate::LoopFuture).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_finished() && self.cancelling() > 0 {
            f.write_str("<Task cancelling")?;
        } else {
            write!(f, "<Task {}", self.state())?;
        }
        if let Some(name) = self.name() {
            write!(f, " name={name:?}")?;
        }
        write!(f, " spawned at {}", self.spawned_at())?;
        self.show_waits(f)?;
        f.write_str(">")
    }
}

/// Cancels the task; the caller holds a reference.
pub(super) fn cancel(task: NonNull<Header>, reason: Cancelled) -> bool {
    // SAFETY: the caller's reference.
    let header = unsafe { task.as_ref() };
    if header.state.load().is_complete() {
        return false;
    }
    let book = &header.extension.get_or_make().cancellation;
    // First the book and the scopes, then the task: a poll that begins after the last edge finds the scopes woken (N3).
    let (number, wakers) = book.lock().ask(reason);
    for waker in wakers {
        report::catch(ExceptionKind::Waker, || waker.wake());
    }
    book.lock().announce(number);
    // Complete by now: it may be so because a scope took this very request.
    let Some(wake) = header.state.cancel() else { return book.lock().is_settled(number) };
    if wake == Wake::Schedule {
        header.state.retain();
        // SAFETY: the edge went from idle to SCHEDULED, and the reference just made is given to the Runnable.
        unsafe { (header.vtable.schedule)(task) };
    }
    true
}

/// Aborts the task; the caller holds a reference.
pub(super) fn abort(task: NonNull<Header>) {
    // SAFETY: the caller's reference.
    let header = unsafe { task.as_ref() };
    if header.state.abort() == Wake::Schedule {
        header.state.retain();
        // SAFETY: the edge went from idle to SCHEDULED, and the reference just made is given to the Runnable.
        unsafe { (header.vtable.schedule)(task) };
    }
}

/// The task that the calling thread runs, `None` outside of any: asyncio's `current_task`.
///
/// A callback, a job of the blocking pool and the main future of `block_on` are no tasks.
///
/// ```
/// eddies::run(async {
///     assert!(eddies::current_task().is_none());
///     let task = eddies::TaskBuilder::new().name("me").spawn(async { eddies::current_task().unwrap() });
///     let handle = task.handle();
///     let seen = task.await.unwrap();
///     assert_eq!(seen, handle);
///     assert_eq!(seen.name(), Some("me"));
/// });
/// ```
pub fn current_task() -> Option<TaskHandle> {
    TaskHandle::running().filter(|task| task.header().vtable.is_task)
}
