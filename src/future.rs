//! Several futures or tasks at once: [`gather`], [`try_gather`], [`wait`], [`as_completed`], [`task_group`], [`staggered`]; and asyncio's own
//! future, a result that many wait for: [`LoopFuture`], with [`ensure_future`] and [`shield`].
//!
//! | | takes | gives | returns |
//! |---|---|---|---|
//! | [`gather`] | futures of one type | all outputs, in the order of the arguments | when all are ready |
//! | [`try_gather`] | futures of `Result`s | all values, or the first error | when all are ready, or at the first error |
//! | [`as_completed`] | futures of one type | one output after the other, in the order of completion | for each |
//! | [`wait`] | tasks or [`LoopFuture`]s | these, divided into finished and unfinished | when one, one that panicked, or all are finished, or after a time |
//! | [`task_group`] | a body that spawns tasks | the body's value, or all that failed | when all have ended; a failure cancels the others |
//! | [`staggered`] | functions that make futures of `Result`s | the first value, or all errors | when one has succeeded, or all have failed |
//!
//! A plain future makes progress only while the task that gathers it is polled: such futures run concurrently, not in parallel. A spawned
//! task runs by itself, perhaps on another worker, and gathering it is waiting for it. A [`Task`](crate::Task) is a future as well, so
//! everything here takes tasks.
//!
//! Each child has a waker of its own, and a poll of the parent polls only the children that were woken since the last one: a thousand
//! children of which one is ready cost one child's poll.
//!
//! # Differences from asyncio
//!
//! - [`gather`] is `gather(..., return_exceptions=True)`: the output of a task is a `Result`, and its error is one of the outputs.
//!   [`try_gather`] is the other form. As in asyncio the first error leaves the other *tasks* running.
//! - A coroutine handed to asyncio's functions becomes a task. A future handed to these does not: it runs in place, and is dropped
//!   when the wait is. To make it a task, [`spawn`](crate::spawn) it.
//! - Dropping a wait never cancels a task; asyncio cancels the children of a cancelled `gather`. For tasks that end together there is
//!   [`task_group`]; or call [`cancel`](crate::TaskHandle::cancel). To keep the handles when a wait is dropped, wait for `&mut Task`s or
//!   `&LoopFuture`s.
//! - There is no form for futures of different types. Give them one type (`Box::pin(..)` as `Pin<Box<dyn Future<Output = T>>>`), spawn them and
//!   await one after the other, or use `futures_util::join!`, which needs nothing of the runtime.

// What the waits share is in `children`: it keeps the children's futures, their wakers, and the list of those that were woken. What is behind
// a `LoopFuture` is in `completion`, and the way there from a task in `relay`.
//
// Rejected: polling every child at every wake (quadratic for many children); an intrusive list of children, one allocation for future and
// waker together, as in `FuturesUnordered` (saves an allocation for each child, and needs unsafe code); spawning every child (no borrows
// from the caller, and a task where a poll would do).

mod as_completed;
#[cfg(not(eddies_loom))]
mod awaiting;
mod children;
mod completion;
#[cfg(not(eddies_loom))]
mod ensure;
#[cfg(not(eddies_loom))]
mod failure;
mod gather;
#[cfg(not(eddies_loom))]
mod loop_future;
#[cfg(not(eddies_loom))]
mod of_loop;
mod relay;
mod roster;
#[cfg(not(eddies_loom))]
mod share;
#[cfg(not(eddies_loom))]
mod shield;
#[cfg(not(eddies_loom))]
mod show;
#[cfg(not(eddies_loom))]
mod staggered;
#[cfg(not(eddies_loom))]
mod task_group;
#[cfg(not(eddies_loom))]
mod wait;

pub use as_completed::{AsCompleted, as_completed};
#[cfg(not(eddies_loom))]
pub use awaiting::Awaiting;
#[cfg(not(eddies_loom))]
pub use ensure::{EnsureFuture, ensure_future};
#[cfg(not(eddies_loom))]
pub use failure::{FutureError, InvalidState};
pub use gather::{Gather, TryGather, gather, try_gather};
#[cfg(not(eddies_loom))]
pub use loop_future::{CallbackId, LoopFuture};
#[cfg(not(eddies_loom))]
pub use shield::shield;
#[cfg(not(eddies_loom))]
pub use staggered::staggered;
#[cfg(not(eddies_loom))]
pub use task_group::{
    Child, ChildError, Failure, GroupClosed, Ready, StartError, TaskGroup, TaskGroupError, TaskGroupFuture, task_group,
};
#[cfg(not(eddies_loom))]
pub use wait::{Wait, Waitable, When, wait};

#[cfg(all(test, eddies_loom))]
#[path = "../loom-tests/models/gather.rs"]
mod models;
