//! What a run queue promises: order, capacity, who may call.
//!
//! A loop has four places where a runnable task can wait, all generic over the item so that models run on integers:
//!
//! - its *deque* ([`Deque`]): one owner pushes at the back and pops at the front; any thread steals from the front through a
//!   [`DequeStealer`]. Unbounded, FIFO. Our own [`chase_lev`], or crossbeam-deque with the feature of that name;
//! - its *run-next slot* ([`run_next`]): one item, filled by the owner only while it is empty, so that tasks woken by one poll keep their
//!   order;
//! - its *inbox* ([`inbox`]): any thread pushes, any thread takes all of it with one swap;
//! - its *yielded queue* ([`locked`]): under a lock, for tasks that yielded after a long poll.
//!
//! None of them orders more than its items. Who pushes and then looks for a sleeper, and who announces its sleep and then looks here,
//! bring a `fence(SeqCst)` each.

#[cfg(any(test, eddies_loom, not(feature = "crossbeam-deque")))]
pub(crate) mod chase_lev;
#[cfg(all(not(eddies_loom), any(test, feature = "crossbeam-deque")))]
pub(crate) mod crossbeam;
pub(crate) mod inbox;
pub(crate) mod locked;
pub(crate) mod run_next;
pub(crate) mod word;

/// The deque of the run queues.
#[cfg(any(eddies_loom, not(feature = "crossbeam-deque")))]
pub(crate) type DefaultDeque<T> = chase_lev::ChaseLev<T>;

/// The deque of the run queues.
#[cfg(all(not(eddies_loom), feature = "crossbeam-deque"))]
pub(crate) type DefaultDeque<T> = crossbeam::CrossbeamDeque<T>;

/// The owner's end of a work-stealing deque. `!Sync`: one thread at a time holds it.
pub(crate) trait Deque<T>: Sized {
    /// The end that any thread may hold.
    type Stealer: DequeStealer<T, Owner = Self>;

    /// An empty deque.
    fn new() -> Self;

    /// Adds `item` at the back.
    fn push(&self, item: T);

    /// Takes the item at the front; `None` when there is none left (a thief may have been faster).
    fn pop(&self) -> Option<T>;

    /// How many items the owner sees now.
    fn len(&self) -> usize;

    /// Gives back the memory that a burst left, if the deque is empty. Cheap where there is none: for an owner with nothing else to do.
    fn trim(&self);

    /// A stealing end.
    fn stealer(&self) -> Self::Stealer;
}

/// What an attempt to steal brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stolen<T> {
    /// The victim had nothing.
    Empty,
    /// Another thread was faster: the victim may still have something.
    Retry,
    /// The front item. Up to `limit - 1` that followed it are in the thief's own deque.
    Taken(T),
}

/// A thief's end of a deque. Any thread.
pub(crate) trait DequeStealer<T>: Send + Sync {
    /// The owner's end of the same kind of deque.
    type Owner;

    /// Takes up to half of the victim's items, at most `limit` (at least 1): returns the oldest, puts the others, in order, into `into`.
    fn steal_into(&self, into: &Self::Owner, limit: usize) -> Stolen<T>;

    /// Takes the front item alone: what stress tests and models of the two deques begin with.
    #[cfg(test)]
    fn steal(&self) -> Stolen<T>;

    /// Whether the deque looks empty now. Cheap: no read-modify-write. Callers that rely on it bring their own fence: crossbeam-deque happens
    /// to have one inside, and our own deque has none.
    fn is_empty(&self) -> bool;
}

#[cfg(all(test, not(eddies_loom)))]
mod histories;
#[cfg(all(test, not(eddies_loom)))]
mod stress;
