//! The handle of a task: await its output, abort it; dropped, it lets the task run on.

#![allow(unsafe_code, reason = "a handle is a counted reference to a task's cell, with a claim to its output")]

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker, ready};

use super::cell::Header;
use super::label::Label;
use super::state::Wake;
use super::waker::release;
use crate::coop;
use crate::error::TaskError;

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
/// Awaiting it gives `Ok(output)`, or a [`TaskError`] when the task was aborted or panicked. Any thread may await, abort or drop it. A panic
/// that no handle was asked for is reported to the runtime's exception handler.
///
/// # Cancel safety
///
/// Dropping a `&mut Task` that is being awaited loses nothing; the task runs on and can be awaited again.
///
/// # Panics
///
/// Polling it again after it gave its output panics.
///
/// ```
/// eddies::run(async {
///     let task = eddies::spawn(async { 6 * 7 });
///     assert_eq!(task.await.unwrap(), 42);
/// });
/// ```
#[doc(alias = "JoinHandle")]
pub struct Task<T> {
    /// A counted reference; the only one with the JOIN right.
    header: NonNull<Header>,
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
        Task { header, output: PhantomData }
    }

    fn header(&self) -> &Header {
        // SAFETY: the handle is a reference.
        unsafe { self.header.as_ref() }
    }

    /// Asks that the task be dropped: at its next turn, without another poll, its future is dropped whole, and the handle gives
    /// [`TaskError::Cancelled`]. A task that is complete stays so; one that finishes in the poll that runs now does finish.
    pub fn abort(&self) {
        abort(self.header);
    }

    /// A handle that can abort the task and nothing else.
    pub fn abort_handle(&self) -> AbortHandle {
        // SAFETY: the handle is a reference, from which another is made.
        unsafe { AbortHandle::new(self.header) }
    }

    /// Whether the output, or the error, is there.
    pub fn is_finished(&self) -> bool {
        self.header().state.load().is_complete()
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
        let output = unsafe { (self.header().vtable.peek_output)(self.header) }?;
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

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let unit = ready!(coop::poll_proceed(cx));
        if !self.poll_complete(cx.waker()) {
            return Poll::Pending;
        }
        unit.made_progress();
        let mut output: Option<Self::Output> = None;
        let into = NonNull::from(&mut output).cast();
        // SAFETY: the task is complete and the output the handle's (T3), of type `T` by the contract of `from_raw`.
        unsafe { (self.header().vtable.take_output)(self.header, into) };
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
            unsafe { (header.vtable.drop_output)(self.header) };
        }
        // SAFETY: the handle's reference.
        unsafe { release(self.header) };
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({}, {:?})", self.header().label, self.header().state.load())
    }
}

/// Aborts a task from afar; see [`Task::abort`]. It keeps the task's allocation, not the task, alive.
pub struct AbortHandle {
    /// A counted reference.
    header: NonNull<Header>,
}

// SAFETY: any thread may abort a task, and that is all that this handle does.
unsafe impl Send for AbortHandle {}
// SAFETY: as above.
unsafe impl Sync for AbortHandle {}

impl AbortHandle {
    /// # Safety
    ///
    /// The caller holds a reference to the task.
    pub(super) unsafe fn new(header: NonNull<Header>) -> Self {
        // SAFETY: the caller's reference.
        unsafe { header.as_ref() }.state.retain();
        AbortHandle { header }
    }

    pub(crate) fn label(&self) -> &Label {
        // SAFETY: the handle is a reference.
        &unsafe { self.header.as_ref() }.label
    }

    /// Asks that the task be dropped; see [`Task::abort`].
    pub fn abort(&self) {
        abort(self.header);
    }

    /// Whether the task is complete.
    pub fn is_finished(&self) -> bool {
        // SAFETY: the handle is a reference.
        unsafe { self.header.as_ref() }.state.load().is_complete()
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        TaskId(self.header.addr().get())
    }
}

impl Clone for AbortHandle {
    fn clone(&self) -> Self {
        // SAFETY: the handle is a reference, from which another is made.
        unsafe { AbortHandle::new(self.header) }
    }
}

impl Drop for AbortHandle {
    fn drop(&mut self) {
        // SAFETY: the handle's reference.
        unsafe { release(self.header) };
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AbortHandle({})", self.id())
    }
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
