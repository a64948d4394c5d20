//! The task's one allocation: header, scheduler, and the future or its output.
//!
//! Who may touch what:
//!
//! | field | may be touched by |
//! |---|---|
//! | `node` | the queue that holds the Runnable (its one owner at a time, T1) |
//! | `state` | any reference holder, through its edges |
//! | `vtable`, `label`, `scheduler` | written once at the start; any reference holder reads |
//! | `links` | the registry, under its lock |
//! | `extension` | any reference holder, as its parts say |
//! | `join_waker` | the slot's owner (T4) |
//! | `stage` | the Runnable's holder before COMPLETE (T1); after it whoever owns the output (T3) |
//!
//! The pointer that circulates is `NonNull<Header>`; the functions in [`Vtable`] know the whole type. The header is the first field of a
//! `repr(C)` struct, so the two pointers have one address.

#![allow(unsafe_code, reason = "a task is one manually managed allocation behind a type-erased pointer")]

use std::future::Future;
use std::mem::{ManuallyDrop, needs_drop};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};

use super::cancellation::Verdict;
use super::extension::ExtensionSlot;
use super::label::Label;
use super::runnable::{Outcome, Runnable};
use super::state::{EndPoll, StartPoll, State};
use super::waker::borrowed_waker;
use super::{Schedule, Spawn, TaskRef, context, frame};
use crate::coop;
use crate::error::{Cancelled, TaskError, TaskPanic};
use crate::loom::UnsafeCell;
use crate::queue::inbox::Node;
use crate::report::{self, Exception, ExceptionKind};

/// The part of a task that does not depend on its types.
#[repr(C)]
pub(crate) struct Header {
    /// Links the Runnable into an inbox.
    pub(super) node: Node,
    pub(super) state: State,
    pub(super) vtable: &'static Vtable,
    pub(super) links: UnsafeCell<Links>,
    pub(super) label: Label,
    pub(super) extension: ExtensionSlot,
    pub(super) join_waker: UnsafeCell<Option<Waker>>,
}

/// A task's place in its registry's list.
#[derive(Default)]
pub(super) struct Links {
    pub(super) previous: Option<NonNull<Header>>,
    pub(super) next: Option<NonNull<Header>>,
}

/// What is done to a cell by those who do not know its type.
pub(super) struct Vtable {
    /// Runs the Runnable: one poll, or the drop of an aborted future. Consumes the Runnable's reference.
    pub(super) run: unsafe fn(NonNull<Header>) -> Outcome,
    /// Hands a new Runnable to the task's scheduler. Consumes one reference.
    pub(super) schedule: unsafe fn(NonNull<Header>),
    /// Moves the output into the `Option<Result<T, TaskError>>` behind the pointer.
    pub(super) take_output: unsafe fn(NonNull<Header>, NonNull<()>),
    /// Where the `Result<T, TaskError>` lies, unless it was taken.
    pub(super) peek_output: unsafe fn(NonNull<Header>) -> Option<NonNull<()>>,
    /// Drops the output, and reports a panic that was in it.
    pub(super) drop_output: unsafe fn(NonNull<Header>),
    /// Frees the cell.
    pub(super) free: unsafe fn(NonNull<Header>),
    /// [`Schedule::IS_TASK`].
    pub(super) is_task: bool,
}

/// The whole allocation.
#[repr(C)]
struct Cell<F: Future, S> {
    header: Header,
    scheduler: S,
    stage: UnsafeCell<Stage<F>>,
}

/// What the cell holds at the time.
enum Stage<F: Future> {
    /// The future, pinned by the allocation.
    Polling(F),
    /// The output, until somebody takes it.
    Finished(Result<F::Output, TaskError>),
    /// Nothing.
    Consumed,
}

/// Allocates a task. The caller owns its references, as [`State::new`] counts them.
pub(super) fn allocate<F, S>(future: F, scheduler: S, spawn: Spawn, registered: bool) -> NonNull<Header>
where
    F: Future,
    S: Schedule,
{
    let header = Header {
        node: Node::new(),
        state: State::new(registered),
        vtable: const {
            &Vtable {
                run: run::<F, S>,
                schedule: schedule::<F, S>,
                take_output: take_output::<F, S>,
                peek_output: peek_output::<F, S>,
                drop_output: drop_output::<F, S>,
                free: free::<F, S>,
                is_task: S::IS_TASK,
            }
        },
        links: UnsafeCell::new(Links::default()),
        label: Label::new(spawn.location, spawn.name),
        extension: ExtensionSlot::new(match spawn.context {
            Some(context) => Some(context),
            None => context::inherit(),
        }),
        join_waker: UnsafeCell::new(None),
    };
    let cell = Box::new(Cell { header, scheduler, stage: UnsafeCell::new(Stage::Polling(future)) });
    NonNull::from(Box::leak(cell)).cast()
}

/// The cell behind `header`.
///
/// # Safety
///
/// `header` points to a live cell made by [`allocate`] with the same `F` and `S`, and the caller holds a reference for `'a`.
unsafe fn cell<'a, F: Future, S>(header: NonNull<Header>) -> &'a Cell<F, S> {
    // SAFETY: the caller's contract; the header is the first field of the `repr(C)` cell. Everything mutable in it is behind a cell or
    // an atomic, so a shared reference is all anybody ever makes.
    unsafe { header.cast().as_ref() }
}

/// [`Vtable::run`].
///
/// # Safety
///
/// The caller holds the task's Runnable, and gives it up.
unsafe fn run<F: Future, S: Schedule>(header: NonNull<Header>) -> Outcome {
    // SAFETY: the Runnable is a reference, and the vtable's functions know their types.
    let task = unsafe { cell::<F, S>(header) };
    let before = match task.header.state.start_poll() {
        StartPoll::Poll => Verdict::Poll,
        StartPoll::AskExtension => task.header.cancellation_verdict(),
        StartPoll::Abort => Verdict::End,
    };
    let references = {
        // SAFETY: the runner's reference outlives the guard.
        let _frame = unsafe { frame::enter_task(header) };
        let output = if before == Verdict::End { Some(abort_future(task)) } else { poll_future(task, header) };
        output.map(|output| finish(task, header, output))
    };
    let references = match references {
        Some(references) => references,
        None => match task.header.state.end_poll(task.header.is_forsaken(&before)) {
            EndPoll::Idle => return Outcome::Idle,
            // SAFETY: `end_poll` made this poller's reference the new Runnable's.
            EndPoll::Reschedule => return Outcome::Reschedule(unsafe { Runnable::from_raw(header) }),
            EndPoll::Abort => {
                // SAFETY: the runner's reference outlives the guard.
                let _frame = unsafe { frame::enter_task(header) };
                finish(task, header, abort_future(task))
            }
        },
    };
    if task.header.state.release(references) {
        // SAFETY: that was the last reference (T5). No argument of a running function refers to the cell any more.
        unsafe { free::<F, S>(header) };
    }
    Outcome::Finished
}

/// One poll, and if it gave the output, the end of the future. `None`: the future waits. Else the stage is empty.
#[inline]
fn poll_future<F: Future, S>(task: &Cell<F, S>, header: NonNull<Header>) -> Option<Result<F::Output, TaskError>> {
    // It lies outside of what is caught, so that a panic in the future's destructor does not drop it while it unwinds.
    let mut output = None;
    let poll = || {
        task.stage.with_mut(|at| {
            // SAFETY: the task is RUNNING and this thread its runner, so the stage is this thread's alone (T1).
            let stage = unsafe { &mut *at };
            let Stage::Polling(future) = stage else { unreachable!("a task that is not complete has a future") };
            // SAFETY: the future never moves: it is dropped in place, and the allocation is stable.
            let future = unsafe { Pin::new_unchecked(future) };
            // SAFETY: the runner's reference outlives the borrowed waker.
            let waker = unsafe { borrowed_waker(header) };
            if let Poll::Ready(value) = coop::with_budget(|| future.poll(&mut Context::from_waker(&waker))) {
                output = Some(value);
                // SAFETY: the stage is this thread's alone (T1), and no reference into it is left.
                unsafe { empty(at) };
            }
        });
    };
    match catch_unwind(AssertUnwindSafe(poll)) {
        Ok(()) => output.map(Ok),
        Err(payload) => Some(Err(after_panic(task, payload, output))),
    }
}

/// Cleans up after a panic of the future: in its poll, or, if there is an output, in its destructor.
#[cold]
fn after_panic<F: Future, S>(
    task: &Cell<F, S>,
    payload: Box<dyn std::any::Any + Send>,
    output: Option<F::Output>,
) -> TaskError {
    if output.is_some() {
        report::catch(ExceptionKind::Drop, || drop(output));
    } else if let Err(second) = drop_stage(task) {
        // Two panics, one report: the first tells why.
        report::drop_payload(second);
    }
    TaskError::Panicked(TaskPanic::new(payload))
}

/// Drops the future of an aborted task.
#[cold]
fn abort_future<F: Future, S>(task: &Cell<F, S>) -> Result<F::Output, TaskError> {
    let cancelled = task.header.take_cancellation();
    match drop_stage(task) {
        Ok(()) => Err(TaskError::Cancelled(cancelled)),
        Err(payload) => Err(TaskError::Panicked(TaskPanic::new(payload))),
    }
}

/// Drops what is in the stage; a destructor's panic comes back.
fn drop_stage<F: Future, S>(task: &Cell<F, S>) -> Result<(), Box<dyn std::any::Any + Send>> {
    let drop_in_place = || {
        task.stage.with_mut(|stage| {
            // SAFETY: the caller owns the stage (T1 before COMPLETE, T3 after).
            unsafe { empty(stage) };
        });
    };
    catch_unwind(AssertUnwindSafe(drop_in_place))
}

/// Drops what is in the stage, in its place. A destructor's panic passes through, and leaves the stage empty too: it must not run twice.
///
/// # Safety
///
/// The stage is the caller's, and nothing refers into it.
#[inline]
unsafe fn empty<F: Future>(stage: *mut Stage<F>) {
    struct Empty<F: Future>(*mut Stage<F>);
    impl<F: Future> Drop for Empty<F> {
        #[inline]
        fn drop(&mut self) {
            // SAFETY: the contents were dropped in place (a panicking destructor counts as run), so writing over them loses nothing.
            unsafe { self.0.write(Stage::Consumed) };
        }
    }
    let _empty = Empty(stage);
    // SAFETY: the caller's contract, and `Empty` keeps it from being dropped again.
    unsafe { stage.drop_in_place() };
}

/// Stores the output in the empty stage and completes the task. Returns how many references the runner has to release: its own and, it may be, the registry's.
fn finish<F: Future, S: Schedule>(
    task: &Cell<F, S>,
    header: NonNull<Header>,
    output: Result<F::Output, TaskError>,
) -> usize {
    let output = match output {
        Ok(output) if S::IS_TASK && task.header.state.load().has_cancel() => refuse_late_output(task, output),
        output => output,
    };
    let (is_error, is_cancelled) = (output.is_err(), matches!(output, Err(TaskError::Cancelled(_))));
    task.stage.with_mut(|stage| {
        // SAFETY: still RUNNING, still this thread's (T1); the stage is `Consumed` and needs no drop.
        unsafe { stage.write(Stage::Finished(output)) };
    });
    let registered = task.scheduler.release(TaskRef(header));
    let before = task.header.state.complete(is_cancelled);
    if !before.has_join() {
        // An output without a destructor goes with the cell.
        if needs_drop::<F::Output>() || is_error {
            // SAFETY: complete and without a handle: the output is the completer's (T3).
            unsafe { drop_output::<F, S>(header) };
        }
    } else if before.has_join_waker() {
        task.header.wake_joiner();
    }
    if registered { 2 } else { 1 }
}

/// A task that was asked to end while it ran for the last time does not finish with a value, though it never waited (N1). A blocking job does: it
/// could not know.
#[cold]
fn refuse_late_output<F: Future, S>(task: &Cell<F, S>, output: F::Output) -> Result<F::Output, TaskError> {
    if task.header.cancellation_verdict() == Verdict::Poll {
        return Ok(output);
    }
    let cancelled = task.header.take_cancellation();
    match catch_unwind(AssertUnwindSafe(|| drop(output))) {
        Ok(()) => Err(TaskError::Cancelled(cancelled)),
        Err(payload) => Err(TaskError::Panicked(TaskPanic::new(payload))),
    }
}

impl Header {
    /// What is to be done about the cancellations that were asked for. Only by the runner.
    #[cold]
    fn cancellation_verdict(&self) -> Verdict {
        self.extension.get().map_or(Verdict::Poll, |extension| extension.cancellation.lock().verdict())
    }

    /// After a poll that began with `before`: whether a cancellation waits that no scope has taken, though all were woken. Only by the runner.
    #[inline]
    fn is_forsaken(&self, before: &Verdict) -> bool {
        let (Verdict::PollForScopes(announced), Some(extension)) = (before, self.extension.get()) else { return false };
        extension.cancellation.lock().is_forsaken(*announced)
    }

    /// The task ends as cancelled: takes every request, and gives the reason of the last, if there was one. Only by the runner.
    fn take_cancellation(&self) -> Cancelled {
        self.extension.get().map(|extension| extension.cancellation.lock().take_for_task()).unwrap_or_default()
    }

    /// Wakes whoever awaits the handle. Only by the completer, which owns the slot (T4).
    fn wake_joiner(&self) {
        self.join_waker.with(|slot| {
            // SAFETY: JOIN_WAKER is set and the task complete: the slot is the completer's, and the handle at most reads it (T4).
            if let Some(waker) = unsafe { &*slot } {
                report::catch(ExceptionKind::Waker, || waker.wake_by_ref());
            }
        });
        if !self.state.release_join_waker().has_join() {
            // The handle was dropped meanwhile and left the slot to us.
            self.empty_join_waker();
        }
    }

    /// Drops the waker in the slot. Only by the slot's owner (T4).
    pub(super) fn empty_join_waker(&self) {
        let waker = self.join_waker.with_mut(|slot| {
            // SAFETY: the caller owns the slot (T4).
            unsafe { (*slot).take() }
        });
        if let Some(waker) = waker {
            report::catch(ExceptionKind::Waker, || drop(waker));
        }
    }
}

/// [`Vtable::schedule`].
///
/// # Safety
///
/// The caller holds a reference that it gives up, and the state says that a Runnable is to be made.
unsafe fn schedule<F: Future, S: Schedule>(header: NonNull<Header>) {
    // SAFETY: the caller's reference; it passes to the Runnable, which keeps the cell alive until `schedule` has taken it.
    let task = unsafe { cell::<F, S>(header) };
    // SAFETY: the state was idle before the caller's edge, so there is no other Runnable (T1), and the reference is the caller's to give.
    let runnable = unsafe { Runnable::from_raw(header) };
    // A clone, for once the Runnable is in a queue the cell may be freed by another thread, and a `&self` must not dangle while its function runs.
    let scheduler = task.scheduler.clone();
    scheduler.schedule(runnable);
}

/// [`Vtable::take_output`].
///
/// # Safety
///
/// The task is complete, its output the caller's (T3), and `into` points to an `Option<Result<F::Output, TaskError>>`.
unsafe fn take_output<F: Future, S>(header: NonNull<Header>, into: NonNull<()>) {
    // SAFETY: the caller holds a reference.
    let task = unsafe { cell::<F, S>(header) };
    let stage = task.stage.with_mut(|stage| {
        // SAFETY: the output is the caller's (T3); the stage is left empty, to be dropped by nobody else.
        unsafe { stage.replace(Stage::Consumed) }
    });
    if let Stage::Finished(output) = stage {
        // SAFETY: the caller's contract on `into`.
        unsafe { into.cast::<Option<Result<F::Output, TaskError>>>().write(Some(output)) };
    }
}

/// [`Vtable::peek_output`]. What it points to is a `Result<F::Output, TaskError>`, and stays there until its owner takes it.
///
/// # Safety
///
/// The task is complete and its output the caller's (T3).
unsafe fn peek_output<F: Future, S>(header: NonNull<Header>) -> Option<NonNull<()>> {
    // SAFETY: the caller holds a reference.
    let task = unsafe { cell::<F, S>(header) };
    task.stage.with(|stage| {
        // SAFETY: the output is the caller's (T3), who does not write it now.
        match unsafe { &*stage } {
            Stage::Finished(output) => Some(NonNull::from(output).cast()),
            Stage::Polling(_) | Stage::Consumed => None,
        }
    })
}

/// [`Vtable::drop_output`].
///
/// # Safety
///
/// The task is complete and its output the caller's (T3).
unsafe fn drop_output<F: Future, S>(header: NonNull<Header>) {
    // SAFETY: the caller holds a reference.
    let task = unsafe { cell::<F, S>(header) };
    let panic = task.stage.with(|stage| {
        // SAFETY: the output is the caller's (T3), who does not write it now.
        match unsafe { &*stage } {
            Stage::Finished(Err(TaskError::Panicked(panic))) => Some(panic.clone()),
            _ => None,
        }
    });
    if let Some(panic) = panic {
        let label = &task.header.label;
        let exception = Exception::new(ExceptionKind::Task, panic.message());
        report::report(&exception.of_task(label.name(), label.location()));
    }
    if let Err(payload) = drop_stage(task) {
        report::panicked(ExceptionKind::Drop, payload);
    }
}

/// [`Vtable::free`].
///
/// # Safety
///
/// Nobody holds a reference any more.
unsafe fn free<F: Future, S>(header: NonNull<Header>) {
    // SAFETY: `allocate` leaked this box, and the last reference is gone (T5). Future and output are gone too: a cell is only freed after
    // COMPLETE, since the registry or the Runnable holds a reference until then, and an output is dropped by its owner (T3).
    drop(unsafe { Box::from_raw(header.cast::<Cell<F, S>>().as_ptr()) });
}

/// A waker that borrows its task.
pub(super) type BorrowedWaker = ManuallyDrop<Waker>;
