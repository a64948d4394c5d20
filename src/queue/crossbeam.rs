//! crossbeam-deque behind the crate's own traits: the deque to compare our own with.
//!
//! The owner holds a [`CrossbeamDeque`], any thread a [`CrossbeamStealer`]. Both are newtypes over crossbeam's FIFO flavour and add
//! nothing: an attempt that lost a race is passed on as [`Stolen::Retry`], for the scheduler to decide whether to try again or to look
//! elsewhere.
//!
//! crossbeam-deque cannot be compiled against loom, so the models run on [`chase_lev`](super::chase_lev), which orders no more than this
//! one does. What stands for crossbeam's own code is the stress test that both deques pass (`queue/stress.rs`) and upstream's tests.

use crossbeam_deque::{Steal, Stealer, Worker};

use super::{Deque, DequeStealer, Stolen};

/// The owner's end of a FIFO crossbeam deque.
#[derive(Debug)]
pub(crate) struct CrossbeamDeque<T>(Worker<T>);

impl<T: Send> Deque<T> for CrossbeamDeque<T> {
    type Stealer = CrossbeamStealer<T>;

    fn new() -> Self {
        CrossbeamDeque(Worker::new_fifo())
    }

    #[inline]
    fn push(&self, item: T) {
        self.0.push(item);
    }

    #[inline]
    fn pop(&self) -> Option<T> {
        self.0.pop()
    }

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing: it halves its buffer at every `pop` that finds it filled to a quarter.
    fn trim(&self) {}

    fn stealer(&self) -> CrossbeamStealer<T> {
        CrossbeamStealer(self.0.stealer())
    }
}

/// A thief's end of a crossbeam deque.
#[derive(Debug)]
pub(crate) struct CrossbeamStealer<T>(Stealer<T>);

impl<T: Send> DequeStealer<T> for CrossbeamStealer<T> {
    type Owner = CrossbeamDeque<T>;

    #[inline]
    fn steal_into(&self, into: &CrossbeamDeque<T>, limit: usize) -> Stolen<T> {
        self.0.steal_batch_with_limit_and_pop(&into.0, limit).into()
    }

    #[cfg(test)]
    fn steal(&self) -> Stolen<T> {
        self.0.steal().into()
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> From<Steal<T>> for Stolen<T> {
    fn from(steal: Steal<T>) -> Self {
        match steal {
            Steal::Empty => Stolen::Empty,
            Steal::Retry => Stolen::Retry,
            Steal::Success(item) => Stolen::Taken(item),
        }
    }
}
