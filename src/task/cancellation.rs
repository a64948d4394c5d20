//! Cancellations that were asked for, and who takes them: the book of one task, kept under the lock of its extension.
//!
//! Every request has a number. A *scope* (one `catch_cancel` that waits) remembers the newest number it has nothing to do with any more; it is *due*
//! when a newer one was asked for and no scope within it waits. A due scope drops its future and *takes* the request, which settles it for
//! all scopes around it too. Two scopes beside each other, as under `gather`, both take it.
//!
//! - **N1** A request is unsettled from `ask` until somebody takes it or it is withdrawn. A task with an unsettled request is not polled again unless
//!   a scope in it waits, and does not finish with a value.
//! - **N2** A scope stores its waker in the critical section in which it sees that it is not due. So whoever asks finds the waker, or the scope finds
//!   the request.
//! - **N3** A request is *announced* once the wakers of the scopes that were due have been woken. A poll that begins after that and leaves the
//!   request unsettled, with nobody going to poll the task again, proves that no scope will take it: a scope was left behind unpolled, and the
//!   request is the whole task's.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::error::Cancelled;

/// The book. Read and written under the extension's lock.
#[derive(Default)]
pub(super) struct Cancellation {
    /// Requests that were not taken back: asyncio's `cancelling()`.
    requests: usize,
    /// The number of the newest request; 0 before the first.
    asked: u64,
    /// The newest request that was taken or withdrawn.
    settled: u64,
    /// The newest request whose wakers have been woken.
    announced: u64,
    /// The newest request's.
    reason: Cancelled,
    scopes: BTreeMap<u64, Scope>,
    /// The last number given to a scope.
    last_scope: u64,
}

struct Scope {
    /// The scope around it, 0 if none.
    parent: u64,
    /// How many scopes wait within it.
    children: usize,
    /// Requests up to this one do not concern it.
    seen: u64,
    /// To be woken when the scope becomes due.
    waker: Option<Waker>,
}

/// What the runner of a task does about a cancellation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is unsettled.
    Poll,
    /// A scope may take it in this poll, or a later one; the number is that of the newest request that was announced.
    PollForScopes(u64),
    /// Nobody can take it: the task ends.
    End,
}

impl Cancellation {
    /// One request more. Returns its number, and the wakers of the scopes that are due now; whoever calls wakes them, without the lock, and then
    /// calls [`announce`](Cancellation::announce).
    pub(super) fn ask(&mut self, reason: Cancelled) -> (u64, Vec<Waker>) {
        self.requests += 1;
        self.asked += 1;
        self.reason = reason;
        let due = self.scopes.values_mut().filter(|scope| scope.children == 0);
        (self.asked, due.filter_map(|scope| scope.waker.take()).collect())
    }

    /// The wakers of request `number` have been woken.
    pub(super) fn announce(&mut self, number: u64) {
        self.announced = self.announced.max(number);
    }

    /// One request less. The last one, if it was not taken yet, is withdrawn. Returns how many are left.
    pub(super) fn take_back(&mut self) -> usize {
        self.requests = self.requests.saturating_sub(1);
        if self.requests == 0 {
            self.settled = self.asked;
            self.scopes.values_mut().for_each(|scope| scope.seen = self.asked);
        }
        self.requests
    }

    pub(super) fn requests(&self) -> usize {
        self.requests
    }

    /// The task ends: whatever was asked for is settled by that.
    pub(super) fn take_for_task(&mut self) -> Cancelled {
        self.settled = self.asked;
        self.reason.clone()
    }

    /// Whether somebody took request `number`, or it was withdrawn.
    pub(super) fn is_settled(&self, number: u64) -> bool {
        self.settled >= number
    }

    pub(super) fn is_unsettled(&self) -> bool {
        self.asked > self.settled
    }

    /// Before a poll.
    pub(super) fn verdict(&self) -> Verdict {
        match (self.is_unsettled(), self.scopes.is_empty()) {
            (false, _) => Verdict::Poll,
            (true, true) => Verdict::End,
            (true, false) => Verdict::PollForScopes(self.announced),
        }
    }

    /// After a poll that began with `PollForScopes(announced)` and answered Pending: whether nobody has taken a request that was announced before it.
    pub(super) fn is_forsaken(&self, announced: u64) -> bool {
        self.settled < announced
    }

    /// A scope begins to wait, within `parent` if that is not 0. It takes the requests that nobody has settled yet.
    pub(super) fn enter(&mut self, parent: u64) -> u64 {
        if let Some(parent) = self.scopes.get_mut(&parent) {
            parent.children += 1;
        }
        self.last_scope += 1;
        self.scopes.insert(self.last_scope, Scope { parent, children: 0, seen: self.settled, waker: None });
        self.last_scope
    }

    /// A scope waits no more. Returns its waker, to be dropped without the lock.
    pub(super) fn leave(&mut self, scope: u64) -> Option<Waker> {
        let scope = self.scopes.remove(&scope)?;
        if let Some(parent) = self.scopes.get_mut(&scope.parent) {
            parent.children -= 1;
        }
        scope.waker
    }

    /// Whether the scope has a request to take.
    pub(super) fn is_due(&self, scope: u64) -> bool {
        self.scopes.get(&scope).is_some_and(|scope| scope.children == 0 && scope.seen < self.asked)
    }

    /// A due scope takes the request.
    pub(super) fn take(&mut self, scope: u64) -> Cancelled {
        self.settled = self.asked;
        let mut next = scope;
        while let Some(scope) = self.scopes.get_mut(&next) {
            scope.seen = self.asked;
            next = scope.parent;
        }
        self.reason.clone()
    }

    /// The scope is not due, and will be woken when it is (N2). Returns the waker of before, to be dropped without the lock.
    pub(super) fn wait(&mut self, scope: u64, waker: Waker) -> Option<Waker> {
        self.scopes.get_mut(&scope)?.waker.replace(waker)
    }
}

#[cfg(all(test, not(eddies_loom)))]
mod tests {
    use super::*;

    fn ask(book: &mut Cancellation) -> usize {
        let (number, wakers) = book.ask(Cancelled::default());
        book.announce(number);
        wakers.len()
    }

    fn waiting(book: &mut Cancellation, parent: u64) -> u64 {
        let scope = book.enter(parent);
        assert!(book.wait(scope, Waker::noop().clone()).is_none());
        scope
    }

    #[test]
    fn without_a_scope_the_task_ends() {
        let mut book = Cancellation::default();
        assert_eq!(book.verdict(), Verdict::Poll);
        assert_eq!(ask(&mut book), 0);
        assert_eq!(book.verdict(), Verdict::End);
        assert_eq!(book.take_back(), 0);
        assert_eq!(book.verdict(), Verdict::Poll, "withdrawn before anybody took it");
        assert_eq!(book.take_back(), 0, "never below zero");
    }

    #[test]
    fn the_innermost_scope_takes_it_and_settles_it_for_those_around() {
        let mut book = Cancellation::default();
        let outer = waiting(&mut book, 0);
        let inner = waiting(&mut book, outer);
        assert_eq!(ask(&mut book), 1, "the outer one is not woken");
        assert!(book.is_due(inner) && !book.is_due(outer));
        assert_eq!(book.verdict(), Verdict::PollForScopes(1));
        let _ = book.take(inner);
        book.leave(inner);
        assert!(!book.is_due(outer) && !book.is_unsettled());
        assert_eq!((book.requests(), book.verdict()), (1, Verdict::Poll));
        assert_eq!(ask(&mut book), 1);
        assert!(book.is_due(outer));
    }

    #[test]
    fn scopes_beside_each_other_all_take_it() {
        let mut book = Cancellation::default();
        let (left, right) = (waiting(&mut book, 0), waiting(&mut book, 0));
        assert_eq!(ask(&mut book), 2);
        let _ = book.take(left);
        assert!(book.is_due(right));
        let late = book.enter(0);
        assert!(!book.is_due(late), "it came after the request was settled");
    }

    #[test]
    fn a_scope_entered_before_anybody_took_it_takes_it() {
        let mut book = Cancellation::default();
        ask(&mut book);
        let scope = book.enter(0);
        assert!(book.is_due(scope));
    }

    #[test]
    fn a_request_that_no_poll_brought_to_a_scope_is_forsaken() {
        let mut book = Cancellation::default();
        let scope = waiting(&mut book, 0);
        let (number, _) = book.ask(Cancelled::default());
        assert_eq!(book.verdict(), Verdict::PollForScopes(0));
        assert!(!book.is_forsaken(0), "its scopes have not been woken yet");
        book.announce(number);
        assert_eq!(book.verdict(), Verdict::PollForScopes(1));
        assert!(book.is_forsaken(1));
        let _ = book.take(scope);
        assert!(!book.is_forsaken(1));
    }
}
