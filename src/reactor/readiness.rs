//! One registered descriptor as its waiters see it: what is known to be ready, since when, and whom to tell.
//!
//! A [`Source`] is shared by the registration (the tasks that read and write, on any thread) and the table (whoever turns the reactor).
//! Its *word* holds the readiness bits and a tick, the number of events delivered so far:
//!
//! ```text
//!   usize::BITS .. 8                                  7 .. 0
//!  ┌────────────────────────────────────────────────┬────────────────────────────────────────────────────────────────┐
//!  │ tick: +1 for each delivered event (wraps)      │ 0  0  SHUTDOWN  ERROR  WRITE_CLOSED  READ_CLOSED  WRITABLE  READABLE │
//!  └────────────────────────────────────────────────┴────────────────────────────────────────────────────────────────┘
//! ```
//!
//! | edge | who | word | then |
//! |---|---|---|---|
//! | [`deliver`](Source::deliver) | the turn, `shutdown` | bits set, tick + 1 | lock; takes the wakers of those who wait for one of the bits |
//! | [`clear_blocked`](Source::clear_blocked) | a task whose operation would block | the direction's bits go, if the tick is still the same | - |
//! | [`clear_drained`](Source::clear_drained) | a task whose stream gave less than asked for | only READABLE or WRITABLE goes, if the tick is still the same | - |
//! | [`assume`](Source::assume) | the registering task | bits set | - |
//! | [`poll_ready`](Source::poll_ready), [`poll_keyed`](Source::poll_keyed) | a task | read; again under the lock before it waits (R1) | - |
//!
//! A bit says "try it", never "it will succeed": all waiters of a direction are woken by one event, and the first takes the bytes.
//!
//! Waiting is of two kinds. `poll_read` and its like have nowhere to keep a place in a list, so each direction has one waker for them:
//! the last one that polled is told. Futures have a place (a key) each, so any number of tasks can wait on one socket.
//!
//! The waiters sit behind a small lock, not in atomic cells: it is almost never contended (a task that waits and the turn that delivers to
//! it), costs about ten nanoseconds, and makes R1 an argument about one lock instead of about fences.

use std::fmt;
use std::io;
use std::ops::BitOr;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::loom::Mutex;
use crate::loom::atomic::{AtomicUsize, Ordering};

/// A set of readiness bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Readiness(usize);

impl Readiness {
    /// Nothing.
    pub(crate) const EMPTY: Readiness = Readiness(0);
    /// A read may find something.
    pub(crate) const READABLE: Readiness = Readiness(1);
    /// A write may find room.
    pub(crate) const WRITABLE: Readiness = Readiness(1 << 1);
    /// The other side will send no more, or the connection is gone.
    pub(crate) const READ_CLOSED: Readiness = Readiness(1 << 2);
    /// What is written reaches nobody any more.
    pub(crate) const WRITE_CLOSED: Readiness = Readiness(1 << 3);
    /// The kernel reported an error condition; it always comes with READABLE and WRITABLE, because either operation may report it.
    pub(crate) const ERROR: Readiness = Readiness(1 << 4);
    /// The reactor is shut down and will deliver nothing more. Never cleared.
    pub(crate) const SHUTDOWN: Readiness = Readiness(1 << 5);

    const ALL: Readiness = Readiness((1 << 6) - 1);

    /// Whether one of `other`'s bits is in this set.
    #[inline]
    pub(crate) fn intersects(self, other: Readiness) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits of either set.
    #[inline]
    pub(crate) const fn or(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }

    /// The bits in both sets.
    #[inline]
    pub(crate) fn and(self, other: Readiness) -> Readiness {
        Readiness(self.0 & other.0)
    }
}

impl BitOr for Readiness {
    type Output = Readiness;

    #[inline]
    fn bitor(self, other: Readiness) -> Readiness {
        self.or(other)
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(Readiness, &str); 6] = [
            (Readiness::READABLE, "READABLE"),
            (Readiness::WRITABLE, "WRITABLE"),
            (Readiness::READ_CLOSED, "READ_CLOSED"),
            (Readiness::WRITE_CLOSED, "WRITE_CLOSED"),
            (Readiness::ERROR, "ERROR"),
            (Readiness::SHUTDOWN, "SHUTDOWN"),
        ];
        let mut separator = "";
        for (_, name) in NAMES.iter().filter(|(bit, _)| self.intersects(*bit)) {
            write!(f, "{separator}{name}")?;
            separator = " | ";
        }
        if separator.is_empty() { f.write_str("EMPTY") } else { Ok(()) }
    }
}

/// Which way an operation moves bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the socket: reads, receives, accepts.
    Read,
    /// To the socket: writes, sends, connects.
    Write,
}

impl Direction {
    /// The bits that end a wait in this direction, but for SHUTDOWN, which ends every wait.
    #[inline]
    pub(crate) fn readiness(self) -> Readiness {
        match self {
            Direction::Read => Readiness::READABLE | Readiness::READ_CLOSED,
            Direction::Write => Readiness::WRITABLE | Readiness::WRITE_CLOSED,
        }
    }

    /// The other way.
    #[inline]
    pub(crate) fn opposite(self) -> Direction {
        match self {
            Direction::Read => Direction::Write,
            Direction::Write => Direction::Read,
        }
    }
}

/// The readiness that an operation starts from, with the tick at which it was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadyEvent {
    /// The tick of the word.
    tick: usize,
    /// All bits of the word, also those nobody asked for.
    readiness: Readiness,
}

impl ReadyEvent {
    /// What was ready.
    pub(crate) fn readiness(&self) -> Readiness {
        self.readiness
    }

    /// Whether the reactor is shut down: an operation may be tried still, but not waited for.
    pub(crate) fn is_shutdown(&self) -> bool {
        self.readiness.intersects(Readiness::SHUTDOWN)
    }

    /// An error if the reactor is shut down.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.is_shutdown() { Err(shut_down_error()) } else { Ok(()) }
    }
}

/// What a wait on a socket of a runtime that is gone answers.
pub(super) fn shut_down_error() -> io::Error {
    io::Error::other("the runtime of this socket has shut down")
}

/// One more delivered event.
const TICK_ONE: usize = 1 << 8;

/// The readiness bits of a word.
const READINESS_MASK: usize = TICK_ONE - 1;

fn event_of(word: usize) -> ReadyEvent {
    ReadyEvent { tick: word & !READINESS_MASK, readiness: Readiness(word & READINESS_MASK) }
}

/// A registered descriptor: its readiness and its waiters. Any thread.
pub(crate) struct Source {
    /// Readiness bits and tick, as drawn above. Written by the turn (`deliver`) and by tasks (`clear_*`, `assume`), read by both.
    word: AtomicUsize,
    /// Who waits. Tasks put themselves in and take themselves out; the turn takes wakers out.
    waiters: Mutex<Waiters>,
}

struct Waiters {
    /// The last task that polled for reading.
    reader: Option<Waker>,
    /// The last task that polled for writing.
    writer: Option<Waker>,
    /// Futures that wait, each under its own key for as long as it lives.
    keyed: Slab<Waiter>,
}

struct Waiter {
    /// What it waits for, SHUTDOWN included.
    interest: Readiness,
    /// Its task; `None` from the event that woke it to its next poll.
    waker: Option<Waker>,
}

impl Waiters {
    fn slot(&mut self, direction: Direction) -> &mut Option<Waker> {
        match direction {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }

    /// Moves the wakers of those who wait for one of the bits of `readiness` to `wakers`.
    fn take(&mut self, readiness: Readiness, wakers: &mut Vec<Waker>) {
        for direction in [Direction::Read, Direction::Write] {
            if readiness.intersects(direction.readiness() | Readiness::SHUTDOWN) {
                wakers.extend(self.slot(direction).take());
            }
        }
        for (_, waiter) in &mut self.keyed {
            if readiness.intersects(waiter.interest) {
                wakers.extend(waiter.waker.take());
            }
        }
    }
}

impl Source {
    /// A source of which nothing is known to be ready: it is registered because an operation on it would block, and the kernel reports
    /// at once what is ready at the moment of registration.
    pub(crate) fn new() -> Source {
        Source {
            word: AtomicUsize::new(0),
            waiters: Mutex::new(Waiters { reader: None, writer: None, keyed: Slab::new() }),
        }
    }

    /// The current readiness, if one of `interest`'s bits (or SHUTDOWN) is set.
    #[inline]
    pub(crate) fn ready_now(&self, interest: Readiness) -> Option<ReadyEvent> {
        // Ordering: Acquire, pairs with the CAS of `readiness.rs::deliver`: the operation that the caller tries next happens after the event
        // that set the bits. With Relaxed the tick could be newer than what the operation saw, and `clear` would wipe out a new event (R2).
        let event = event_of(self.word.load(Ordering::Acquire));
        event.readiness.intersects(interest | Readiness::SHUTDOWN).then_some(event)
    }

    /// Ready when the direction may be tried; else the task of `cx`, and it alone for this direction, is woken when that changes.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<ReadyEvent> {
        let interest = direction.readiness();
        if let Some(event) = self.ready_now(interest) {
            return Poll::Ready(event);
        }
        // Cloned and dropped outside the lock (R6).
        let mut waker = Some(cx.waker().clone());
        let mut waiters = self.waiters.lock();
        // R1: an event whose `deliver` took the lock before us is in the word now; one that takes it after us finds the waker.
        if let Some(event) = self.ready_now(interest) {
            drop(waiters);
            return Poll::Ready(event);
        }
        std::mem::swap(waiters.slot(direction), &mut waker);
        drop(waiters);
        Poll::Pending
    }

    /// As [`poll_ready`](Source::poll_ready) for a future that keeps `key` between its polls and gives it back with
    /// [`forget`](Source::forget): any number of them wait beside each other.
    pub(crate) fn poll_keyed(
        &self,
        cx: &mut Context<'_>,
        interest: Readiness,
        key: &mut Option<usize>,
    ) -> Poll<ReadyEvent> {
        if let Some(event) = self.ready_now(interest) {
            return Poll::Ready(event);
        }
        // Cloned and dropped outside the lock (R6).
        let mut waker = Some(cx.waker().clone());
        let mut waiters = self.waiters.lock();
        // R1, as in `poll_ready`.
        if let Some(event) = self.ready_now(interest) {
            drop(waiters);
            return Poll::Ready(event);
        }
        match *key {
            Some(key) => std::mem::swap(&mut waiters.keyed[key].waker, &mut waker),
            None => {
                let waiter = Waiter { interest: interest | Readiness::SHUTDOWN, waker: waker.take() };
                *key = Some(waiters.keyed.insert(waiter));
            }
        }
        drop(waiters);
        Poll::Pending
    }

    /// The future that got `key` waits no longer.
    pub(crate) fn forget(&self, key: usize) {
        let waiter = self.waiters.lock().keyed.remove(key);
        // The guard is gone at the end of the statement above; the waker is dropped here (R6).
        drop(waiter);
    }

    /// Sets the bits of `readiness`, counts the event, and moves the wakers of those who waited for it to `wakers`.
    pub(crate) fn deliver(&self, readiness: Readiness, wakers: &mut Vec<Waker>) {
        // Ordering: Relaxed, only the first guess of the CAS below.
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let next = (word | readiness.0).wrapping_add(TICK_ONE);
            // Ordering: AcqRel, pairs with the loads of `readiness.rs::ready_now` and the CAS of `readiness.rs::clear`: what the kernel
            // did before it reported the event is visible to who reads the bits; Acquire keeps the chain through a concurrent `clear`.
            match self.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(current) => word = current,
            }
        }
        // R1: after the word. Who is not in the list yet will read the word under this lock.
        self.waiters.lock().take(readiness, wakers);
    }

    /// The operation that started from `event` would block: the direction is not ready, unless an event came since (R2).
    pub(crate) fn clear_blocked(&self, event: ReadyEvent, direction: Direction) {
        self.clear(event, direction.readiness() | Readiness::ERROR);
    }

    /// The operation that started from `event` moved less than it could have: the stream is drained (or full), unless an event came
    /// since (R2). An end of the stream or an error that `event` already told of is still to be met, and stays.
    pub(crate) fn clear_drained(&self, event: ReadyEvent, direction: Direction) {
        if !event.readiness.intersects(Readiness::ERROR) {
            self.clear(event, direction.readiness().and(Readiness::READABLE | Readiness::WRITABLE));
        }
    }

    fn clear(&self, event: ReadyEvent, bits: Readiness) {
        // Ordering: Relaxed, only the first guess of the CAS below.
        let mut word = self.word.load(Ordering::Relaxed);
        // R2: a newer event may be about bytes that the operation has not seen.
        while event_of(word).tick == event.tick {
            let next = word & !bits.0;
            // Ordering: AcqRel, pairs with the CAS of `readiness.rs::deliver`: Release keeps the operation that failed before the clearing,
            // Acquire orders this clearing after the one or the event whose word it replaces.
            match self.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(current) => word = current,
            }
        }
    }

    /// Sets bits of which nothing is known, so that the first operation is tried before it waits. Only before the source has waiters.
    pub(crate) fn assume(&self, readiness: Readiness) {
        // Ordering: AcqRel, pairs with the loads of `readiness.rs::ready_now`; keeps the release chain of an event that came first.
        self.word.fetch_or(readiness.and(Readiness::ALL).0, Ordering::AcqRel);
    }

    /// Moves every waker to `wakers`: the registration goes away.
    pub(crate) fn take_waiters(&self, wakers: &mut Vec<Waker>) {
        self.waiters.lock().take(Readiness::ALL, wakers);
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ordering: Relaxed, for show only.
        let event = event_of(self.word.load(Ordering::Relaxed));
        f.debug_struct("Source").field("readiness", &event.readiness).field("tick", &(event.tick / TICK_ONE)).finish()
    }
}
