//! Primitives with which tasks wait for each other: asyncio's, on many threads.
//!
//! | | what it is |
//! |---|---|
//! | [`Lock`] | one at a time, with the value inside |
//! | [`Event`] | a flag to wait for |
//! | [`Condition`] | waiting for a change of what a lock guards |
//! | [`Semaphore`], [`BoundedSemaphore`] | so many at once |
//! | [`Barrier`] | so many meet |
//! | [`Queue`], [`LifoQueue`], [`PriorityQueue`] | many producers, many consumers, three orders |
//! | [`channel`], [`unbounded_channel`] | many senders, one receiver; ends when they are dropped |
//! | [`oneshot`] | one value, once |
//!
//! All of them are `Send + Sync` where what they hold is `Send`, belong to no event loop, and work outside a runtime too: they need
//! nothing but a waker. All are fair: first come (first polled), first served, and nobody overtakes. And all hand on: a waiter that is
//! dropped (a `timeout`, an `abort`) passes what had already reached it to the next. Memory grows with the number of those that wait at
//! once, with what lies in a queue, and with nothing else; the queues without a limit say so.
//!
//! # Difference from asyncio
//!
//! What asyncio releases by a call, a guard releases by its drop, so releasing twice or without having acquired cannot be written. A
//! primitive is not bound to the loop that first used it, so that error does not exist either.

mod barrier;
mod channel;
mod condition;
mod errors;
mod event;
mod lock;
mod oneshot;
mod queues;
mod semaphore;
mod shelf;
pub(crate) mod wait_list;

pub use barrier::Barrier;
pub use channel::{Receiver, Sender, UnboundedSender, channel, unbounded_channel};
pub use condition::Condition;
pub use errors::{
    BrokenBarrier, Locked, NoPermits, NotSent, NotTaken, QueueShutDown, SendError, TooManyDone, TryGetError,
    TryPutError, TryReceiveError, TrySendError,
};
pub use event::Event;
pub use lock::{Lock, LockGuard, OwnedLockGuard};
pub use oneshot::{OneshotReceiver, OneshotSender, oneshot};
pub use queues::{LifoQueue, PriorityQueue, Queue};
pub use semaphore::{BoundedSemaphore, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

#[cfg(all(test, eddies_loom))]
#[path = "../loom-tests/models/sync.rs"]
mod models;

#[cfg(all(test, eddies_loom))]
#[path = "../loom-tests/models/sync_queues.rs"]
mod queue_models;
