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
}
