//! The task: one future, one allocation, one word of state.
//!
//! A spawn makes a cell with a [`Runnable`] (the single right to poll the future) and a [`Task`] (the handle). The Runnable goes to a
//! queue; running it polls the future once. If that answers Pending the Runnable is gone, and the next wake makes a new one. This island knows
//! nothing of queues and threads: it reaches them through [`Schedule`]. The states and invariants T1-T6 are in [`state`], the rules on who
//! may touch which field in [`cell`], the list of live tasks in [`registry`].
//!
//! Rejected: a reference to the scheduler counted by every task (two read-modify-writes on a line that all workers share; a task that is
//! not complete keeps its runtime alive by being registered instead); a lock per task (three words more, and wakes from any thread would
//! contend with polls); alignment to 128 bytes (it makes malloc several times dearer, and tasks of one worker lie together anyway).

mod cancellation;
mod catch_cancel;
mod cell;
mod context;
mod extension;
mod frame;
pub(crate) mod join;
mod label;
pub(crate) mod registry;
pub(crate) mod runnable;
pub(crate) mod scope;
mod state;
mod waits;
mod waker;

use std::future::Future;
use std::panic::Location;
use std::ptr::NonNull;

pub use catch_cancel::{CatchCancel, ResumeCancel, catch_cancel, resume_cancel};
pub use context::{Context, ContextVar, ForeignToken, Token};
pub use join::{Task, TaskHandle, TaskId, current_task};
pub(crate) use runnable::{Outcome, Runnable};
pub(crate) use waker::{is_waker_of, prefetch};

use cell::Header;

/// How a task reaches its queue and its registry. Cloning it should be a copy: it is done for each wake of an idle task.
pub(crate) trait Schedule: Clone {
    /// Whether this is the scheduler of tasks proper: they show up as the current task, and one that is asked to end while it runs for the last time
    /// does not give its value. `false` for what is run once and never waits, blocking jobs and callbacks.
    const IS_TASK: bool = true;

    /// Takes the Runnable of a task that was woken. Any thread, also while user code runs; it must not call user code itself.
    ///
    /// Called on a clone that lies outside of the task's cell: whoever runs the Runnable may free the cell before this returns.
    fn schedule(&self, runnable: Runnable);

    /// The task completes: take it out of the registry. Whether it was in there, so that its reference is now the caller's.
    fn release(&self, task: TaskRef) -> bool;
}

/// Where a task is in its life; asyncio's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskState {
    /// It waits: for its turn, or for something to happen.
    Pending,
    /// It is being polled at this moment, by some thread.
    Running,
    /// It has finished, with a value or a panic.
    Done,
    /// It was cancelled, and has ended.
    Cancelled,
}

impl std::fmt::Display for TaskState {
    /// asyncio's word for it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TaskState::Pending => "pending",
            TaskState::Running => "running",
            TaskState::Done => "finished",
            TaskState::Cancelled => "cancelled",
        })
    }
}

/// Names a task to the registry. Only valid while somebody holds a reference; the maker of one sees to that.
#[derive(Clone, Copy)]
pub(crate) struct TaskRef(NonNull<Header>);

impl Runnable {
    /// Names this Runnable's task.
    pub(crate) fn task_ref(&self) -> TaskRef {
        TaskRef(self.raw())
    }
}

/// What a spawn was told.
pub(crate) struct Spawn {
    pub(crate) name: Option<String>,
    pub(crate) location: &'static Location<'static>,
    /// The context to run in; `None`: a copy of the current one.
    pub(crate) context: Option<Context>,
    /// The first poll is made by the spawn itself, on a thread that runs a loop.
    pub(crate) is_eager: bool,
}

impl Spawn {
    /// What is spawned at `location`, with nothing else said.
    pub(crate) fn at(location: &'static Location<'static>) -> Self {
        Spawn { name: None, location, context: None, is_eager: false }
    }
}

/// Makes a task. With `registered` the count includes a reference for a [`registry::Registry`], into which the caller inserts it before the
/// Runnable goes anywhere.
pub(crate) fn spawn<F, S>(future: F, scheduler: S, spawn: Spawn, registered: bool) -> (Runnable, Task<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Schedule + Send + Sync + 'static,
{
    make(future, scheduler, spawn, registered)
}

/// Makes a task of a future that stays on its thread.
///
/// # Safety
///
/// The scheduler lets the Runnable be run and dropped on the calling thread only.
#[allow(unsafe_code, reason = "the contract is the caller's to keep")]
pub(crate) unsafe fn spawn_local<F, S>(future: F, scheduler: S, spawn: Spawn) -> (Runnable, Task<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule + Send + Sync + 'static,
{
    make(future, scheduler, spawn, true)
}

#[allow(unsafe_code, reason = "the pointer becomes a Runnable and a handle here, once")]
fn make<F, S>(future: F, scheduler: S, spawn: Spawn, registered: bool) -> (Runnable, Task<F::Output>)
where
    F: Future + 'static,
    S: Schedule + Send + Sync + 'static,
{
    let header = cell::allocate(future, scheduler, spawn, registered);
    // SAFETY: the new task is SCHEDULED and counted with a reference for its one Runnable.
    let runnable = unsafe { Runnable::from_raw(header) };
    // SAFETY: the new task has JOIN set and is counted with a reference for its handle; its output is an `F::Output`.
    let task = unsafe { Task::from_raw(header) };
    (runnable, task)
}

#[cfg(all(test, eddies_loom))]
#[path = "../loom-tests/models/task.rs"]
mod models;

#[cfg(all(test, eddies_loom))]
#[path = "../loom-tests/models/cancel.rs"]
mod cancel_models;

#[cfg(all(test, eddies_loom))]
#[path = "../loom-tests/models/local_tasks.rs"]
mod local_models;
