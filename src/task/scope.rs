//! A scope: a part of a task, or of a main future, that can be cancelled by itself. `catch_cancel`, a task group and a deadline are each a future within one.
//!
//! A scope is an entry in a *book* (`super::cancellation`). That is the task's; where no task is, in a main future, the outermost scope makes a book of
//! its own, in which nobody can ask the whole. Only the thread that polls the scope's owner touches the scope; the book is shared with whoever cancels.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::cancellation::{Cancellation, Taken, Unheard};
use super::frame;
use super::join::TaskHandle;
use crate::error::Cancelled;
use crate::loom::{Arc, Mutex, MutexGuard};
use crate::report::{self, ExceptionKind};

/// Where a scope is written down.
#[derive(Clone)]
enum Book {
    Task(TaskHandle),
    /// Of a main future.
    Own(Arc<Mutex<Cancellation>>),
}

impl Book {
    fn lock(&self) -> MutexGuard<'_, Cancellation> {
        self.mutex().lock()
    }

    fn mutex(&self) -> &Mutex<Cancellation> {
        match self {
            Book::Task(task) => task.cancellation(),
            Book::Own(book) => book,
        }
    }

    /// Tells books apart that are alive at the same time.
    fn address(&self) -> usize {
        std::ptr::from_ref(self.mutex()).addr()
    }

    /// The book of what this thread polls: of the scope around, else of the task.
    fn here() -> Option<(Book, u64)> {
        frame::with_scope(|around| around.map(|around| (around.book.clone(), around.number)))
            .or_else(|| TaskHandle::running().map(|task| (Book::Task(task), 0)))
    }
}

/// An entry in a book; it goes with this value.
pub(crate) struct Scope {
    book: Book,
    number: u64,
}

/// A request that a scope has taken.
#[derive(Debug)]
pub(crate) struct Caught {
    pub(crate) cancelled: Cancelled,
    /// What the scope had seen before; for [`Scope::pass_on`].
    pub(crate) from: u64,
    /// Whether somebody further out was asked, so that it is to be passed on.
    pub(crate) beyond: bool,
}

impl Scope {
    /// Enters a scope that catches, within the scope that this thread polls. `None` where nobody could ask.
    pub(super) fn enter_if_any() -> Option<Scope> {
        let (book, parent) = Book::here()?;
        let number = book.lock().enter(parent, None);
        Some(Scope { book, number })
    }

    /// Enters a scope within the one that this thread polls: one that catches, or one that stands for a deadline.
    pub(crate) fn enter(limit: Option<SharedLimit>) -> Scope {
        let (book, parent) = Book::here().unwrap_or_else(|| (Book::Own(Arc::default()), 0));
        let number = book.lock().enter(parent, limit);
        Scope { book, number }
    }

    /// Whether the scope belongs where this thread polls. If not, its future has moved to another task since.
    pub(crate) fn is_here(&self) -> bool {
        let around = frame::with_scope(|around| around.map(|around| around.book.address() == self.book.address()));
        around.unwrap_or_else(|| {
            frame::with_task(|running| match (&self.book, running) {
                (Book::Task(task), Some(running)) => std::ptr::eq(task.header(), running),
                (Book::Own(_), None) => true,
                (Book::Task(_), None) | (Book::Own(_), Some(_)) => false,
            })
        })
    }

    /// Polls `future` as what is within the scope.
    pub(crate) fn poll_within<F: Future>(&self, future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _leave = frame::enter_scope(self);
        future.poll(cx)
    }

    /// Whether there is a request for the scope to take.
    pub(crate) fn is_due(&self) -> bool {
        self.book.lock().is_due(self.number)
    }

    /// Takes the request that the scope is due for, if it is.
    pub(crate) fn take(&self) -> Option<Caught> {
        let mut book = self.book.lock();
        let taken = book.is_due(self.number).then(|| book.take(self.number))?;
        drop(book);
        Some(self.caught(taken))
    }

    /// Takes the request that the scope is due for, or waits to be woken for one (N2).
    pub(crate) fn take_or_wait(&self, cx: &Context<'_>) -> Option<Caught> {
        let waker = cx.waker().clone();
        let mut book = self.book.lock();
        if book.is_due(self.number) {
            let taken = book.take(self.number);
            drop(book);
            return Some(self.caught(taken));
        }
        let old = book.wait(self.number, waker);
        drop(book);
        drop(old);
        None
    }

    /// Takes what was asked of the scope if those within it have left it for too long; if they have only left it so far, has the scope polled again (N6).
    pub(crate) fn take_unheard(&self, cx: &Context<'_>) -> Option<Caught> {
        let mut book = self.book.lock();
        let taken = match book.is_unheard(self.number) {
            Unheard::No => return None,
            Unheard::SoFar => None,
            Unheard::ForTooLong => Some(book.take(self.number)),
        };
        drop(book);
        if taken.is_none() {
            cx.waker().wake_by_ref();
        }
        taken.map(|taken| self.caught(taken))
    }

    fn caught(&self, taken: Taken) -> Caught {
        let cancelled = taken.reason.taken_from(self.book.address(), taken.from);
        Caught { cancelled, from: taken.from, beyond: taken.beyond }
    }

    /// Asks what is within the scope to end, and then the scope itself. In a poll of its owner (N4).
    pub(crate) fn ask(&self, reason: Cancelled) {
        wake(self.book.lock().ask_scope(self.number, reason));
    }

    /// The scope's deadline has passed, and so it may be have those of others around it. In a poll of its owner (N4).
    pub(crate) fn expire(&self, now: Instant) {
        wake(self.book.lock().expire(self.number, now));
    }

    /// Whether somebody around the scope was asked and has not taken it yet. If nobody does in this poll, the task ends, or is polled again.
    pub(crate) fn is_outdone(&self) -> bool {
        self.book.lock().is_outdone(self.number)
    }

    /// Leaves, and gives what was taken to those around that it was for; they take it when the owner's poll answers Pending. `None`: there are none (any
    /// more).
    pub(crate) fn pass_on(self, from: u64, cx: &Context<'_>) -> Option<PassedOn> {
        let parent = self.book.lock().pass_on(self.number, from)?;
        let passed = PassedOn { book: self.book.clone(), parent, from };
        drop(self);
        // The task may have nobody else who could take it: its runner looks before the next poll.
        cx.waker().wake_by_ref();
        Some(passed)
    }
}

/// A request that was given on, and will be taken by somebody further out.
#[derive(Debug)]
pub(crate) struct PassedOn {
    book: Book,
    /// Where it was put back.
    parent: u64,
    from: u64,
}

impl PassedOn {
    /// Whether it was withdrawn before anybody took it, so that nobody will.
    pub(crate) fn is_withdrawn(&self) -> bool {
        !self.book.lock().is_concerned(self.parent, self.from)
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let waker = self.book.lock().leave(self.number);
        drop(waker);
    }
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Book::Task(task) => task.fmt(f),
            Book::Own(_) => f.write_str("main future"),
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({})", self.number)
    }
}

/// Puts a request that was caught here back, for those around whom it was for. `None`: there are none (any more).
///
/// The book is told by its address, which another task's may have by now: then it is a request to that one that is put back, or there is none. Either
/// way the caller is cancelled, as it wants to be.
pub(super) fn put_back(cancelled: &Cancelled) -> Option<PassedOn> {
    let ((address, from), (book, parent)) = (cancelled.taken()?, Book::here()?);
    let passed = book.address() == address && book.lock().put_back(parent, from);
    passed.then_some(PassedOn { book, parent, from })
}

fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        report::catch(ExceptionKind::Waker, || waker.wake());
    }
}

/// A deadline that can be moved. Held by its scope, its owner and whoever may move it; nothing of the user's runs under its lock.
pub(crate) type SharedLimit = Arc<Mutex<TimeLimit>>;

/// What is known of a deadline.
#[derive(Debug)]
pub(crate) struct TimeLimit {
    /// `None`: never. Written by whoever moves it.
    when: Option<Instant>,
    /// Whether it has passed while it was active. Written by the book, in a poll of a scope.
    has_expired: bool,
    /// Whether what it was for is over. Written by the owner.
    is_over: bool,
    /// Of the owner; taken by whoever moves the deadline.
    waker: Option<Waker>,
}

impl TimeLimit {
    pub(crate) fn new(when: Option<Instant>) -> SharedLimit {
        Arc::new(Mutex::new(TimeLimit { when, has_expired: false, is_over: false, waker: None }))
    }

    pub(crate) fn when(&self) -> Option<Instant> {
        self.when
    }

    pub(crate) fn has_expired(&self) -> bool {
        self.has_expired
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Moves it. Returns the owner's waker; `None`: it is too late.
    pub(crate) fn reschedule(&mut self, when: Option<Instant>) -> Option<Option<Waker>> {
        if self.has_expired || self.is_over {
            return None;
        }
        self.when = when;
        Some(self.waker.take())
    }

    /// The owner waits. Returns when for, if it still does, and its waker of before.
    pub(crate) fn wait(&mut self, waker: Waker) -> (Option<Instant>, Option<Waker>) {
        let when = if self.has_expired { None } else { self.when };
        (when, self.waker.replace(waker))
    }

    /// What it was for is over. Returns the owner's waker, to be dropped without the lock.
    pub(crate) fn end(&mut self) -> Option<Waker> {
        self.is_over = true;
        self.waker.take()
    }

    /// Whether it passes by this.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let expires = !self.has_expired && !self.is_over && self.when.is_some_and(|when| when <= now);
        self.has_expired |= expires;
        expires
    }
}
