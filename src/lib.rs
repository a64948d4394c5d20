//! `eddies`: an async runtime whose every worker thread is an event loop, and whose loops share their work.

#![cfg_attr(eddies_loom, allow(dead_code, unused_imports, reason = "a model build leaves layers out"))]

#[cfg(not(unix))]
compile_error!(
    "eddies registers plain file descriptors with mio (`mio::unix::SourceFd`) and so needs a unix system; mio's Windows sources must be \
     registered through their own wrapper types, which is not written yet"
);

mod blocking;
pub mod coop;
mod error;
#[cfg(not(eddies_loom))]
mod event_loop;
pub mod future;
/// Checks of what reads text and bytes, for a fuzzer; not part of the interface.
#[cfg(all(any(test, fuzzing), not(eddies_loom)))]
#[path = "../fuzz/checks/tape.rs"]
pub mod fuzzing;
#[cfg(all(feature = "hyper", not(eddies_loom)))]
pub mod hyper;
#[cfg(not(eddies_loom))]
pub mod io;
mod loom;
#[cfg(not(eddies_loom))]
pub mod net;
#[cfg(not(eddies_loom))]
pub mod policy;
#[cfg(not(eddies_loom))]
pub mod process;
#[cfg(not(eddies_loom))]
pub mod protocols;
mod queue;
#[cfg(not(eddies_loom))]
mod rand;
mod reactor;
mod report;
#[cfg(not(eddies_loom))]
mod runner;
#[cfg(not(eddies_loom))]
mod runtime;
#[cfg(not(eddies_loom))]
mod scheduler;
/// The part of the scheduler that models check; the rest needs threads and sockets.
#[cfg(eddies_loom)]
mod scheduler {
    pub(crate) mod attendance;
    pub(crate) mod drowse;
    pub(crate) mod park;
    pub(crate) mod rescue;
    pub(crate) mod signals;
    pub(crate) mod sleep;
    pub(crate) mod thread_waker;
}
#[cfg(not(eddies_loom))]
pub mod signal;
#[cfg(not(eddies_loom))]
mod spawn;
#[cfg(not(eddies_loom))]
mod standing;
#[cfg(not(eddies_loom))]
pub mod streams;
pub mod sync;
mod task;
#[cfg(not(eddies_loom))]
pub mod testing;
#[cfg(not(eddies_loom))]
pub mod time;

pub use blocking::BlockingCounters;
pub use error::{
    Cancelled, Elapsed, LoopClosed, LoopRunning, NoEventLoop, NoRuntime, Overloaded, RunError, StillRunning, TaskError,
    TaskPanic, VirtualTimeRefused,
};
#[cfg(not(eddies_loom))]
pub use event_loop::{CallHandle, EventLoop, ExceptionHandler, RemoteCallHandle, RemoteTask, ScopedCall, TimerHandle};
#[cfg(not(eddies_loom))]
pub use future::{
    CallbackId, FutureError, InvalidState, LoopFuture, When, ensure_future, shield, staggered, task_group, wait,
};
pub use future::{as_completed, gather, try_gather};
#[cfg(not(eddies_loom))]
pub use policy::{get_event_loop, get_running_loop, new_event_loop, set_event_loop};
pub use report::{Exception, ExceptionKind, SlowPoll};
#[cfg(not(eddies_loom))]
pub use runner::Runner;
#[cfg(not(eddies_loom))]
pub use runtime::{Builder, EnterGuard, LoopHandle, Runtime, block_in_place};
#[cfg(not(eddies_loom))]
pub use scheduler::executor::Executor;
#[cfg(not(eddies_loom))]
pub use spawn::{
    TaskBuilder, YieldNow, all_tasks, run, spawn, spawn_blocking, spawn_local, try_spawn_blocking, yield_now,
};
pub use task::{
    CatchCancel, Context, ContextVar, ForeignToken, ResumeCancel, Task, TaskHandle, TaskId, TaskState, Token,
    catch_cancel, current_task, resume_cancel,
};
#[cfg(not(eddies_loom))]
pub use time::{interval, interval_at, now, sleep, sleep_until, timeout, timeout_at, with_deadline};

/// Runs an async `main` on a runtime.
///
/// ```
/// #[eddies::main(workers = 2)]
/// async fn main() -> Result<(), eddies::TaskError> {
///     let task = eddies::spawn(async { 40 + 2 });
///     assert_eq!(task.await?, 42);
///     Ok(())
/// }
/// ```
#[cfg(all(feature = "macros", not(eddies_loom)))]
pub use eddies_macros::main;

/// Runs an async test on a runtime of its own.
///
/// ```
/// #[eddies::test]
/// async fn a_task_gives_its_output() {
///     assert_eq!(eddies::spawn(async { 42 }).await.unwrap(), 42);
/// }
///
/// /// An hour that takes no time: see [virtual time](eddies::time#virtual-time).
/// #[eddies::test(virtual_time)]
/// async fn a_server_that_never_answers_is_given_up() {
///     let hour = std::time::Duration::from_secs(3600);
///     assert!(eddies::timeout(hour, std::future::pending::<()>()).await.is_err());
/// }
/// # fn main() {}
/// ```
#[cfg(all(feature = "macros", not(eddies_loom)))]
pub use eddies_macros::test;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(doctest)]
#[doc = include_str!("../docs/from-asyncio.md")]
mod from_asyncio {}
