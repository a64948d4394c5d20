//! What the primitives of `sync` answer when they refuse.

use std::error::Error;
use std::fmt;

/// An error that says one thing.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $text:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub(super) ());

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($text)
            }
        }

        impl Error for $name {}
    )*};
}

refusals! {
    /// A [`Lock`](super::Lock) cannot be had without waiting.
    Locked: "the lock is held by somebody else";
    /// Permits of a semaphore cannot be had without waiting.
    NoPermits: "the semaphore has not that many free permits, or others wait for them";
    /// A [`BoundedSemaphore`](super::BoundedSemaphore) was given a permit that nobody took and forgot.
    NotTaken: "a bounded semaphore was released more often than permits of it were forgotten";
    /// A [`Barrier`](super::Barrier) was aborted, or reset while this waited.
    BrokenBarrier: "the barrier was aborted, or reset while this waited";
    /// A queue's `task_done` was called more often than items were put.
    TooManyDone: "task_done was called more often than items were put into the queue";
    /// A [`OneshotReceiver`](super::OneshotReceiver) gets nothing: its sender was dropped, or it was closed, or it was read before.
    NotSent: "no value was sent, and none will be";
}

/// An error that hands something back: what it is called in `Debug`, and what it says. What it hands back does not show.
macro_rules! handed_back {
    ($($name:ident, $text:expr;)*) => {$(
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text: fn(&$name<T>) -> (&'static str, &'static str) = $text;
                f.write_str(text(self).0)
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text: fn(&$name<T>) -> (&'static str, &'static str) = $text;
                f.write_str(text(self).1)
            }
        }

        impl<T> Error for $name<T> {}
    )*};
}

const SHUT_DOWN: &str = "the queue was shut down";
const CLOSED: &str = "the receiver of the channel is gone or closed";

/// A queue was shut down; the item that could not be put comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct QueueShutDown<T = ()>(pub T);

/// Why an item was not put without waiting; it comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TryPutError<T> {
    /// There is no room now.
    Full(T),
    /// The queue was shut down.
    ShutDown(T),
}

impl<T> TryPutError<T> {
    /// The item.
    ///
    /// ```
    /// let queue = eddies::sync::Queue::new(1);
    /// queue.put_nowait('a').unwrap();
    /// assert_eq!(queue.put_nowait('b').unwrap_err().into_item(), 'b');
    /// ```
    pub fn into_item(self) -> T {
        match self {
            TryPutError::Full(item) | TryPutError::ShutDown(item) => item,
        }
    }
}

/// The receiver of a channel is gone or closed; the item comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// Why an item was not sent without waiting; it comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// There is no room now.
    Full(T),
    /// The receiver is gone or closed.
    Closed(T),
}

impl<T> TrySendError<T> {
    /// The item.
    ///
    /// ```
    /// let (sender, _receiver) = eddies::sync::channel(1);
    /// sender.try_send('a').unwrap();
    /// assert_eq!(sender.try_send('b').unwrap_err().into_item(), 'b');
    /// ```
    pub fn into_item(self) -> T {
        match self {
            TrySendError::Full(item) | TrySendError::Closed(item) => item,
        }
    }
}

handed_back! {
    QueueShutDown, |_| ("QueueShutDown(..)", SHUT_DOWN);
    SendError, |_| ("SendError(..)", CLOSED);
    TryPutError, |error| match error {
        TryPutError::Full(_) => ("Full(..)", "the queue has no room now"),
        TryPutError::ShutDown(_) => ("ShutDown(..)", SHUT_DOWN),
    };
    TrySendError, |error| match error {
        TrySendError::Full(_) => ("Full(..)", "the channel has no room now"),
        TrySendError::Closed(_) => ("Closed(..)", CLOSED),
    };
}

/// Why no item was taken out of a queue without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryGetError {
    /// There is none for this caller now.
    Empty,
    /// There is none for this caller, and there will be none: the queue was shut down.
    ShutDown,
}

impl fmt::Display for TryGetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryGetError::Empty => "the queue has no item now",
            TryGetError::ShutDown => SHUT_DOWN,
        })
    }
}

impl Error for TryGetError {}

/// Why nothing was received without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryReceiveError {
    /// Nothing is there now.
    Empty,
    /// Nothing is there, and nothing will be: no sender is left, or the receiver was closed.
    Closed,
}

impl fmt::Display for TryReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryReceiveError::Empty => "nothing is there now",
            TryReceiveError::Closed => "nothing is there, and nobody is left to send",
        })
    }
}

impl Error for TryReceiveError {}
