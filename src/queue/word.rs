//! Items of one pointer.
//!
//! The deque of [`chase_lev`](super::chase_lev) and the slot of [`run_next`](super::run_next) keep their items in atomic pointers: a
//! thief may then read a slot that it loses a moment later, and nothing is torn and nothing is a data race. For that an item must turn
//! into one pointer and back, as a task's `Runnable` does. What owns the item between the two is the queue.
//!
//! Rejected: slots of any type, copied bit by bit before it is known who owns them. That is what crossbeam-deque does; it is undefined
//! behaviour by the letter of the memory model, and no checker can follow it.

#![allow(unsafe_code, reason = "an item is made from its pointer again, which only the queue knows to happen once")]

use std::ptr::NonNull;

/// An item that fits in one pointer, which is never null.
pub(crate) trait Word: Send {
    /// Gives the item up for the pointer that stands for it. Not turning it back leaks it.
    fn into_ptr(self) -> NonNull<()>;

    /// The item that `ptr` stands for.
    ///
    /// # Safety
    ///
    /// `ptr` came from [`into_ptr`](Word::into_ptr) of the same type, and is turned back this once. The call happens after that one.
    unsafe fn from_ptr(ptr: NonNull<()>) -> Self;
}

#[cfg(test)]
impl<T: Send> Word for Box<T> {
    fn into_ptr(self) -> NonNull<()> {
        NonNull::from(Box::leak(self)).cast()
    }

    unsafe fn from_ptr(ptr: NonNull<()>) -> Self {
        // SAFETY: the caller promises that the pointer is that of a box of `T`, leaked by `into_ptr` and claimed by nobody else.
        unsafe { Box::from_raw(ptr.cast().as_ptr()) }
    }
}

/// A number as an item, for tests: taken twice it is a failed assertion and not a double free.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) usize);

#[cfg(test)]
impl Word for Token {
    fn into_ptr(self) -> NonNull<()> {
        NonNull::new(std::ptr::without_provenance_mut(self.0 + 1)).expect("a number plus one")
    }

    unsafe fn from_ptr(ptr: NonNull<()>) -> Self {
        Token(ptr.addr().get() - 1)
    }
}
