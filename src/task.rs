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

mod cell;
pub(crate) mod join;
mod label;
pub(crate) mod registry;
pub(crate) mod runnable;
mod state;
mod waker;

use std::future::Future;
use std::panic::Location;
use std::ptr::NonNull;

pub use join::{AbortHandle, Task, TaskId};
use label::Label;
pub(crate) use runnable::{Outcome, Runnable};

use cell::Header;

/// How a task reaches its queue and its registry. Cloning it should be a copy: it is done for each wake of an idle task.
pub(crate) trait Schedule: Clone {
    /// Takes the Runnable of a task that was woken. Any thread, also while user code runs; it must not call user code itself.
    ///
    /// Called on a clone that lies outside of the task's cell: whoever runs the Runnable may free the cell before this returns.
    fn schedule(&self, runnable: Runnable);

    /// The task completes: take it out of the registry. Whether it was in there, so that its reference is now the caller's.
    fn release(&self, task: TaskRef) -> bool;
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

/// Makes a task. With `registered` the count includes a reference for a [`registry::Registry`], into which the caller inserts it before the
/// Runnable goes anywhere.
pub(crate) fn spawn<F, S>(
    future: F,
    scheduler: S,
    name: Option<String>,
    location: &'static Location<'static>,
    registered: bool,
) -> (Runnable, Task<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Schedule + Send + Sync + 'static,
{
    make(future, scheduler, name, location, registered)
}

/// Makes a task of a future that stays on its thread.
///
/// # Safety
///
/// The scheduler lets the Runnable be run and dropped on the calling thread only.
#[allow(unsafe_code, reason = "the contract is the caller's to keep")]
pub(crate) unsafe fn spawn_local<F, S>(
    future: F,
    scheduler: S,
    name: Option<String>,
    location: &'static Location<'static>,
) -> (Runnable, Task<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule + Send + Sync + 'static,
{
    make(future, scheduler, name, location, true)
}

#[allow(unsafe_code, reason = "the pointer becomes a Runnable and a handle here, once")]
fn make<F, S>(
    future: F,
    scheduler: S,
    name: Option<String>,
    location: &'static Location<'static>,
    registered: bool,
) -> (Runnable, Task<F::Output>)
where
    F: Future + 'static,
    S: Schedule + Send + Sync + 'static,
{
    let header = cell::allocate(future, scheduler, Label::new(location, name), registered);
    // SAFETY: the new task is SCHEDULED and counted with a reference for its one Runnable.
    let runnable = unsafe { Runnable::from_raw(header) };
    // SAFETY: the new task has JOIN set and is counted with a reference for its handle; its output is an `F::Output`.
    let task = unsafe { Task::from_raw(header) };
    (runnable, task)
}

#[cfg(all(test, eddies_loom))]
#[path = "../loom-tests/models/task.rs"]
mod models;
