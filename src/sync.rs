//! Primitives with which tasks wait for each other: asyncio's, on many threads.
//!
//! | | what it is |
//! |---|---|
//! | [`Lock`] | one at a time, with the value inside |
//! | [`Event`] | a flag to wait for |
//! | [`Condition`] | waiting for a change of what a lock guards |
//! | [`Semaphore`], [`BoundedSemaphore`] | so many at once |
//! | [`Barrier`] | so many meet |
//!
//! All of them are `Send + Sync` where what they hold is `Send`, belong to no event loop, and work outside a runtime too: they need
//! nothing but a waker. All are fair: first come (first polled), first served, and nobody overtakes. And all hand on: a waiter that is
//! dropped (a `timeout`, an `abort`) passes what had already reached it to the next. Memory grows with the number of those that wait at
//! once and with nothing else.
//!
//! # Difference from asyncio
//!
//! What asyncio releases by a call, a guard releases by its drop, so releasing twice or without having acquired cannot be written. A
//! primitive is not bound to the loop that first used it, so that error does not exist either.

mod barrier;
mod condition;
mod errors;
mod event;
mod lock;
mod semaphore;
mod wait_list;

pub use barrier::Barrier;
pub use condition::Condition;
pub use errors::{BrokenBarrier, Locked, NoPermits, NotTaken};
pub use event::Event;
pub use lock::{Lock, LockGuard, OwnedLockGuard};
pub use semaphore::{BoundedSemaphore, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
