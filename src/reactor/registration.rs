//! The owning end of one registered descriptor.
//!
//! A [`Registration`] is made by [`Reactor::register`] and lives in the object whose descriptor it is about; the tasks that use the object
//! call it from any thread, also from workers other than the one whose reactor holds it. Dropping it deregisters (R4), so it must go before
//! the descriptor is closed.

use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Reactor;
use super::readiness::{Direction, Readiness, ReadyEvent, Source};
use super::table::SourceToken;
use crate::loom::Arc;

/// A descriptor in a reactor. Any thread.
#[derive(Debug)]
pub(crate) struct Registration {
    /// The reactor that holds it.
    reactor: Arc<Reactor>,
    /// What its waiters and the reactor share.
    source: Arc<Source>,
    /// Its slot in the reactor's table.
    token: SourceToken,
    /// The descriptor, open for as long as the registration lives; not owned.
    fd: RawFd,
}

impl Registration {
    pub(super) fn new(reactor: Arc<Reactor>, source: Arc<Source>, token: SourceToken, fd: RawFd) -> Registration {
        Registration { reactor, source, token, fd }
    }

    /// Ready when an operation in `direction` is worth a try; else the task of `cx` is woken when it is. One task per direction: the
    /// last one that polled. After shutdown it is ready, with an event that says so.
    #[inline]
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<ReadyEvent> {
        self.source.poll_ready(cx, direction)
    }

    /// What is known of the readiness in `direction`, without waiting. `None`: nothing, an operation would block.
    #[inline]
    pub(crate) fn ready_now(&self, direction: Direction) -> Option<ReadyEvent> {
        self.source.ready_now(direction.readiness())
    }

    /// The operation that started from `event` would block. An event that came since survives.
    ///
    /// # Errors
    ///
    /// The reactor is shut down, and nobody would ever tell when the operation is worth another try.
    #[inline]
    pub(crate) fn clear_ready(&self, event: ReadyEvent, direction: Direction) -> io::Result<()> {
        event.check()?;
        self.source.clear_blocked(event, direction);
        Ok(())
    }

    /// The operation that started from `event`, on a stream, moved less than it asked for: the next one would block. An event that came
    /// since survives, and so does an end of the stream or an error that is still to be met.
    #[inline]
    pub(crate) fn clear_drained(&self, event: ReadyEvent, direction: Direction) {
        self.source.clear_drained(event, direction);
    }

    /// Of `direction` nothing is known: let the first operation be tried before it waits. Only while nobody else uses the registration.
    pub(crate) fn assume_ready(&self, direction: Direction) {
        self.source.assume(direction.readiness().and(Readiness::READABLE | Readiness::WRITABLE));
    }

    /// Waits until one of the bits of `interest` is set. Any number of tasks may wait.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes its place back; no event is lost, for all who wait are told of each.
    pub(crate) fn readiness(&self, interest: Readiness) -> ReadinessFuture<'_> {
        ReadinessFuture { source: &self.source, interest, key: None }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.reactor.deregister(self.fd, self.token);
        // Whoever polled through `&self` once and still waits learns by its next poll that the object is gone.
        let mut wakers = Vec::new();
        self.source.take_waiters(&mut wakers);
        for waker in wakers {
            waker.wake();
        }
    }
}

/// The future of [`Registration::readiness`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub(crate) struct ReadinessFuture<'a> {
    source: &'a Source,
    interest: Readiness,
    /// Its place among the waiters, from the first Pending on.
    key: Option<usize>,
}

impl Future for ReadinessFuture<'_> {
    /// The event to start the operation from; after shutdown it says so.
    type Output = ReadyEvent;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ReadyEvent> {
        let this = &mut *self;
        this.source.poll_keyed(cx, this.interest, &mut this.key)
    }
}

impl Drop for ReadinessFuture<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.source.forget(key);
        }
    }
}
