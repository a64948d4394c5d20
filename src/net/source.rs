//! The bridge between a non-blocking object of the operating system and the reactor of the loop that waits for it.
//!
//! Every socket type holds one [`IoSource`]. Tasks call it from any thread, several at once. An operation is tried first; the object is
//! registered when one would block for the first time, with the reactor of the worker that met it, and stays there. So placement follows
//! scheduling: an accepted connection belongs to the loop on which its task happens to run, a socket that never blocks belongs to none,
//! and a task that moves to another worker later keeps being woken from the old one, which costs it nothing but locality.
//!
//! The pattern of each operation:
//!
//! 1. take the readiness and its tick (a source that is not registered: nothing is known);
//! 2. try the operation; a signal's interruption is tried again;
//! 3. "would block": clear the readiness, if the tick is unchanged (R2); register, if that has not happened; wait, and start again.
//!
//! Two families: the `poll_` methods keep one waker per direction, the last caller's, which is what `poll_read` can offer; the futures keep a
//! place each and may wait by the hundred. Both take a unit of the cooperative budget for every operation that completes, and transfers more of them for
//! many bytes.
//!
//! # Edge-triggered transfers
//!
//! After a *short* read the socket's buffer is known to be empty, so `poll_transfer` and `transfer` clear the readiness at once and save
//! the call that would have answered "would block". That is sound for TCP streams and pipes. It is not for datagrams (a short datagram says
//! nothing of the next) and not for *reads* of Unix streams: the kernel ends those early at a message that carries descriptors. TCP urgent
//! bytes end a read early too: a peer that sends them may have what follows them read only when its next bytes arrive.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::BitOr;
use std::os::fd::AsRawFd;
use std::task::{Context, Poll, ready};

use crate::coop::{self, poll_proceed};
use crate::loom::{Arc, Mutex, OnceLock};
pub(crate) use crate::reactor::readiness::Direction;
use crate::reactor::readiness::{Readiness, ReadyEvent};
use crate::reactor::{Reactor, Registration};
use crate::scheduler::current;

/// What to wait for on a socket.
///
/// ```
/// use eddies::net::Interest;
///
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.is_readable() && both.is_writable());
/// assert!(!Interest::READABLE.is_writable());
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Interest(Readiness);

impl Interest {
    /// Something to read: bytes, a datagram, a connection to accept, or the end of the stream.
    pub const READABLE: Interest = Interest(Readiness::READABLE);
    /// Room to write, or the news that nobody reads any more.
    pub const WRITABLE: Interest = Interest(Readiness::WRITABLE);

    /// Whether reading is part of it.
    pub fn is_readable(self) -> bool {
        self.0.intersects(Readiness::READABLE)
    }

    /// Whether writing is part of it.
    pub fn is_writable(self) -> bool {
        self.0.intersects(Readiness::WRITABLE)
    }

    /// Both interests together; the same as `|`.
    #[must_use = "the sum is a new value"]
    #[allow(clippy::should_implement_trait, reason = "tokio's spelling, beside which `|` is offered too")]
    pub const fn add(self, other: Interest) -> Interest {
        Interest(self.0.or(other.0))
    }

    /// The bits that end the wait.
    fn readiness(self) -> Readiness {
        [(self.is_readable(), Direction::Read), (self.is_writable(), Direction::Write)]
            .into_iter()
            .filter(|(is_wanted, _)| *is_wanted)
            .fold(Readiness::EMPTY, |bits, (_, direction)| bits | direction.readiness())
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        self.add(other)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a socket is ready for: the answer of `ready(Interest)`.
///
/// A hint: between the answer and the operation another task may have taken the bytes, so the operation may still have to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ready(Readiness);

impl Ready {
    /// Whether a read is worth a try; also true when the other side has closed, for a read then reports that.
    pub fn is_readable(self) -> bool {
        self.0.intersects(Direction::Read.readiness())
    }

    /// Whether a write is worth a try; also true when nobody reads any more, for a write then reports that.
    pub fn is_writable(self) -> bool {
        self.0.intersects(Direction::Write.readiness())
    }

    /// Whether the other side will send no more. What it sent before may still be there to read.
    pub fn is_read_closed(self) -> bool {
        self.0.intersects(Readiness::READ_CLOSED)
    }

    /// Whether writes reach nobody any more.
    pub fn is_write_closed(self) -> bool {
        self.0.intersects(Readiness::WRITE_CLOSED)
    }

    /// Whether the system reported an error condition; the next operation, or `take_error`, tells which.
    pub fn is_error(self) -> bool {
        self.0.intersects(Readiness::ERROR)
    }

    /// Whether nothing is ready.
    pub fn is_empty(self) -> bool {
        self.0 == Readiness::EMPTY
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A non-blocking object of the operating system and its lazy registration. Any thread, several at once.
pub(crate) struct IoSource<S: AsRawFd> {
    /// Set once, by the first who would block or asks for readiness; read by all. Declared, and so dropped, before `io` (R4).
    registration: OnceLock<Registration>,
    /// Held by the one task that is registering, so that there is only one.
    registering: Mutex<()>,
    /// The object. In non-blocking mode.
    io: S,
}

impl<S: AsRawFd> IoSource<S> {
    /// Takes over `io`, which is in non-blocking mode already. Registers nothing yet and needs no runtime.
    pub(crate) fn new(io: S) -> IoSource<S> {
        IoSource { registration: OnceLock::new(), registering: Mutex::new(()), io }
    }

    /// The object.
    pub(crate) fn get_ref(&self) -> &S {
        &self.io
    }

    /// Deregisters and gives the object back, in non-blocking mode still.
    pub(crate) fn into_inner(self) -> S {
        let IoSource { registration, io, .. } = self;
        drop(registration);
        io
    }

    /// Runs `op` as soon as it does not answer "would block"; until then the task of `cx`, and it alone for this direction, is told when to
    /// poll again. `op` may run several times, and must answer `WouldBlock` only if the object did.
    ///
    /// # Errors
    ///
    /// What `op` answers; and, when it would block: the task runs in no runtime, the object cannot be waited for, or its runtime has
    /// shut down.
    pub(crate) fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut op: impl FnMut(&S) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_attempt(cx, direction, |io, _| op(io))
    }

    /// As [`poll_io`](IoSource::poll_io), for an `op` that moves at most `wanted` bytes of a stream and says how many it did: fewer mean that
    /// the next call would block, and it is saved. See the top of the file for where that holds.
    pub(crate) fn poll_transfer(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        wanted: usize,
        mut op: impl FnMut(&S) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.poll_attempt(cx, direction, |io, event| {
            let moved = op(io)?;
            self.note_moved(event, direction, moved, wanted);
            coop::charge_for(moved);
            Ok(moved)
        })
    }

    /// Ready when an operation in `direction` is worth a try; until then the task of `cx`, and it alone for this direction, waits.
    /// May be ready without cause.
    ///
    /// # Errors
    ///
    /// The task runs in no runtime, the object cannot be waited for, or its runtime has shut down.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        let unit = ready!(poll_proceed(cx));
        let answer = match self.registration(None) {
            Ok(registration) => ready!(registration.poll_ready(cx, direction)).check(),
            Err(error) => Err(error),
        };
        unit.made_progress();
        Poll::Ready(answer)
    }

    /// Runs `op` once, unless it is known that it would block; a "would block" of `op` clears the readiness. Never waits, needs no runtime.
    ///
    /// # Errors
    ///
    /// What `op` answers, `WouldBlock` among it.
    pub(crate) fn try_io<R>(&self, direction: Direction, op: impl FnOnce(&S) -> io::Result<R>) -> io::Result<R> {
        current::note_io();
        let Some(registration) = self.registration.get() else {
            return op(&self.io);
        };
        let Some(event) = registration.ready_now(direction) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let answer = op(&self.io);
        if is_would_block(&answer) {
            registration.clear_ready(event, direction)?;
        }
        answer
    }

    /// [`poll_io`](IoSource::poll_io) with the event that `op` starts from: `None` while nothing is registered.
    fn poll_attempt<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut op: impl FnMut(&S, Option<ReadyEvent>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let unit = ready!(poll_proceed(cx));
        let answer = loop {
            let answer = self.attempt(direction, &mut op);
            if !is_would_block(&answer) {
                break answer;
            }
            let registration = match self.registration(Some(direction)) {
                Ok(registration) => registration,
                Err(error) => break Err(error),
            };
            ready!(registration.poll_ready(cx, direction));
        };
        unit.made_progress();
        Poll::Ready(answer)
    }

    /// Steps 1 to 3 of the pattern, without the waiting. "Would block" comes back if it has to wait, and only then.
    fn attempt<R>(
        &self,
        direction: Direction,
        op: &mut impl FnMut(&S, Option<ReadyEvent>) -> io::Result<R>,
    ) -> io::Result<R> {
        current::note_io();
        let Some(registration) = self.registration.get() else {
            return uninterrupted(|| op(&self.io, None));
        };
        let Some(event) = registration.ready_now(direction) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let answer = uninterrupted(|| op(&self.io, Some(event)));
        if is_would_block(&answer) {
            registration.clear_ready(event, direction)?;
        }
        answer
    }

    fn note_moved(&self, event: Option<ReadyEvent>, direction: Direction, moved: usize, wanted: usize) {
        if let (Some(event), Some(registration)) = (event, self.registration.get())
            && 0 < moved
            && moved < wanted
        {
            registration.clear_drained(event, direction);
        }
    }

    /// Registers the object now, if it is not yet, with the reactor of the calling worker: a fault shows here, and not at the first wait.
    ///
    /// # Errors
    ///
    /// The thread is inside no runtime, the object cannot be waited for, or the runtime has shut down.
    pub(crate) fn register(&self) -> io::Result<()> {
        self.registration(None).map(drop)
    }

    /// The registration, made now if there is none. `blocked`: the direction in which an operation just blocked, if that is why; the
    /// other one may be tried before the kernel reported anything.
    fn registration(&self, blocked: Option<Direction>) -> io::Result<&Registration> {
        current::note_io();
        if let Some(registration) = self.registration.get() {
            return Ok(registration);
        }
        let home = current::home("waiting for a socket")?;
        let registration = self.register_on(&home.reactor, blocked)?;
        home.nudge();
        Ok(registration)
    }

    /// The registration, made now, with `reactor`, if there is none.
    fn register_on(&self, reactor: &Arc<Reactor>, blocked: Option<Direction>) -> io::Result<&Registration> {
        let _registering = self.registering.lock();
        if let Some(registration) = self.registration.get() {
            return Ok(registration);
        }
        let registration = Reactor::register(reactor, self.io.as_raw_fd())?;
        if let Some(direction) = blocked {
            registration.assume_ready(direction.opposite());
        }
        // Only the holder of `registering` sets it, so it is this one that is there afterwards.
        Ok(self.registration.get_or_init(|| registration))
    }
}

impl<S: AsRawFd> IoSource<S> {
    /// As [`poll_io`](IoSource::poll_io), for any number of tasks at once.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has done nothing.
    pub(crate) async fn io<'a, R, F>(&'a self, direction: Direction, mut op: F) -> io::Result<R>
    where
        F: FnMut(&S) -> io::Result<R> + 'a,
    {
        self.attempt_until_ready(direction, |io, _| op(io)).await
    }

    /// Waits until one of `interest` is ready; any number of tasks at once. May be ready without cause.
    ///
    /// # Errors
    ///
    /// The task runs in no runtime, the object cannot be waited for, or its runtime has shut down.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: readiness stays until an operation would block.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        poll_fn(poll_proceed).await.made_progress();
        let wanted = interest.readiness();
        let event = self.registration(None)?.readiness(wanted).await;
        event.check()?;
        Ok(Ready(event.readiness().and(wanted | Readiness::ERROR)))
    }

    async fn attempt_until_ready<R>(
        &self,
        direction: Direction,
        mut op: impl FnMut(&S, Option<ReadyEvent>) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            {
                let unit = poll_fn(poll_proceed).await;
                let answer = self.attempt(direction, &mut op);
                if !is_would_block(&answer) {
                    unit.made_progress();
                    return answer;
                }
            }
            self.registration(Some(direction))?.readiness(direction.readiness()).await;
        }
    }
}

impl<S: AsRawFd + fmt::Debug> fmt::Debug for IoSource<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoSource").field("io", &self.io).field("registration", &self.registration.get()).finish()
    }
}

fn is_would_block<R>(answer: &io::Result<R>) -> bool {
    matches!(answer, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Runs `op` until no signal interrupts it.
fn uninterrupted<R>(mut op: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match op() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests;
