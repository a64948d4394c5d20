//! What runs on this thread at this moment: the task, the scope of `catch_cancel` within it, the context that was entered.
//!
//! One thread-local value, the *frame*. Whoever runs a task puts a frame of its own in place, and puts back the one before, so that frames nest as
//! the calls do: a task that blocks on a runtime in the middle of its poll runs others on top of its own frame.
//!
//! - **C1** The pointers of a frame are alive while it is in place: the runner of the task holds a reference, and `Context::run` and the poll of a scope
//!   borrow what they enter for the length of the call. Each is put in place by a guard, which is dropped before either ends.

#![allow(unsafe_code, reason = "thread-local pointers to what runs on this thread's stack")]

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::cell::Header;
use super::context::Context;
use super::scope::Scope;
use crate::loom::thread_local;

/// Written and read by its thread only.
#[derive(Clone, Copy)]
struct Frame {
    task: Option<NonNull<Header>>,
    /// The innermost scope that is being polled.
    scope: Option<NonNull<Scope>>,
    context: Option<NonNull<Context>>,
}

const EMPTY: Frame = Frame { task: None, scope: None, context: None };

thread_local! {
    static FRAME: Cell<Frame> = const { Cell::new(EMPTY) };
}

/// Puts back the frame before.
#[must_use]
pub(super) struct Leave<'a> {
    before: Frame,
    /// Borrows what the frame points to, and stays on its thread.
    _borrow: PhantomData<(&'a (), *const ())>,
}

impl Drop for Leave<'_> {
    #[inline]
    fn drop(&mut self) {
        let _ = FRAME.try_with(|frame| frame.set(self.before));
    }
}

#[inline]
fn replace<'a>(change: impl FnOnce(Frame) -> Frame) -> Leave<'a> {
    // A thread that is being torn down has no frame any more, and nothing to put back.
    let before = FRAME.try_with(|frame| frame.replace(change(frame.get()))).unwrap_or(EMPTY);
    Leave { before, _borrow: PhantomData }
}

/// This thread runs `task` until the guard is dropped.
///
/// # Safety
///
/// The caller holds a reference to the task for longer than the guard lives.
#[inline]
pub(super) unsafe fn enter_task<'a>(task: NonNull<Header>) -> Leave<'a> {
    replace(|_| Frame { task: Some(task), scope: None, context: None })
}

/// This thread polls what is within `scope` until the guard is dropped.
pub(super) fn enter_scope(scope: &Scope) -> Leave<'_> {
    replace(|frame| Frame { scope: Some(NonNull::from(scope)), ..frame })
}

/// `context` is the current one until the guard is dropped.
pub(super) fn enter_context(context: &Context) -> Leave<'_> {
    replace(|frame| Frame { context: Some(NonNull::from(context)), ..frame })
}

#[inline]
fn get() -> Frame {
    FRAME.try_with(Cell::get).unwrap_or(EMPTY)
}

/// The task that this thread runs. Whoever keeps the pointer beyond the current call counts a reference first.
#[inline]
pub(super) fn task() -> Option<NonNull<Header>> {
    get().task
}

/// Calls `f` with the task that this thread runs.
#[inline]
pub(super) fn with_task<R>(f: impl FnOnce(Option<&Header>) -> R) -> R {
    // SAFETY: C1: the frame stays in place for the call, for what `f` puts on top of it is put back before `f` returns.
    f(get().task.map(|task| unsafe { task.as_ref() }))
}

/// Calls `f` with the innermost scope that this thread polls.
pub(super) fn with_scope<R>(f: impl FnOnce(Option<&Scope>) -> R) -> R {
    // SAFETY: C1, as in `with_task`.
    f(get().scope.map(|scope| unsafe { scope.as_ref() }))
}

/// Whether there may be a context on this thread: one that was entered, or that of the task that runs, or, outside of any, that of the thread.
#[inline]
pub(super) fn may_have_context(thread_has_one: bool) -> bool {
    let frame = get();
    frame.context.is_some()
        || match frame.task {
            // SAFETY: C1, as in `with_task`.
            Some(task) => unsafe { task.as_ref() }.extension.get().is_some(),
            None => thread_has_one,
        }
}

/// Calls `f` with the context that was entered on this thread, if one was since the task's poll began.
pub(super) fn with_context<R>(f: impl FnOnce(Option<&Context>) -> R) -> R {
    // SAFETY: C1, as in `with_task`.
    f(get().context.map(|context| unsafe { context.as_ref() }))
}
